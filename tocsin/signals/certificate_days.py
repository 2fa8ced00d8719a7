"""How long certificates are still valid."""

from types import MappingProxyType

from tocsin.core.signal import Gauge, Signal

SIGNAL = Signal(
    name="certificate_days",
    summary="Days until a probe's certificate expires, 0 once it has; without `by`, the fewest.",
    unit="days",
    sources=(Gauge(meter="probes", reading="certificate_days", fold="min"),),
    dimensions=MappingProxyType({"probe": "the probe's name"}),
    needs="the target's `probes` in `tocsin.yaml`. Of an `https` address, as the watcher's own trust store sees it.",
)
