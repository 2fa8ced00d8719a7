"""A killswitch that is on wherever requests go."""

from types import MappingProxyType

from tocsin.core.signal import Gauge, Signal

SIGNAL = Signal(
    name="killswitch_engaged",
    summary="Killswitches that are on at a revision that serves, whoever engaged them.",
    unit="count",
    sources=(Gauge(meter="switches", reading="engaged"),),
    dimensions=MappingProxyType({"scope": "the switch's scope: tools, workflow or all"}),
    needs="the target's Container App in `tocsin.yaml`.",
)
