"""A killswitch that was engaged and has gone, though nobody released it."""

from types import MappingProxyType

from tocsin.core.signal import Gauge, Signal

SIGNAL = Signal(
    name="killswitch_drift",
    summary="Killswitches that were engaged and have gone though no person released them: provisioning writes the "
    "template's variables back.",
    unit="count",
    sources=(Gauge(meter="switches", reading="drifted"),),
    dimensions=MappingProxyType(
        {"scope": "the switch's scope: tools, workflow or all; app is the whole app, which was stopped"}
    ),
    needs="the target's Container App in `tocsin.yaml`.",
)
