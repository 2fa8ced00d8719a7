"""How full the app's memory is."""

from types import MappingProxyType

from tocsin.core.signal import Gauge, Signal

SIGNAL = Signal(
    name="memory",
    summary="Share of its memory limit that a replica uses, over the window's minutes on average.",
    unit="ratio",
    sources=(Gauge(meter="metrics", reading="memory", fold="mean", scale=0.01, instant=False),),
    dimensions=MappingProxyType({"replica": "podName of the metric `MemoryPercentage`"}),
    needs="the target's `container_app` in `tocsin.yaml`, and Monitoring Reader on it for the reader's identity.",
)
