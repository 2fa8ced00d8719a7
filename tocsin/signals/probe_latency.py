"""How long an address takes to answer."""

from types import MappingProxyType

from tocsin.core.signal import Gauge, Signal

SIGNAL = Signal(
    name="probe_latency",
    summary="Time from connecting to the beginning of the answer, in milliseconds; without `by`, of the slowest probe.",
    unit="ms",
    sources=(Gauge(meter="probes", reading="latency"),),
    dimensions=MappingProxyType({"probe": "the probe's name"}),
    needs="the target's `probes` in `tocsin.yaml`.",
)
