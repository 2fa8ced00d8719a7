"""Addresses that do not answer as they should."""

from types import MappingProxyType

from tocsin.core.signal import Gauge, Signal

SIGNAL = Signal(
    name="probe_failures",
    summary="Probes that fail: no answer, another status, or too slow. Without `by`, 1 if any does.",
    unit="count",
    sources=(Gauge(meter="probes", reading="failures"),),
    dimensions=MappingProxyType({"probe": "the probe's name"}),
    needs="the target's `probes` in `tocsin.yaml`.",
)
