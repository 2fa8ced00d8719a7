"""How busy the app's processors are."""

from types import MappingProxyType

from tocsin.core.signal import Gauge, Signal

SIGNAL = Signal(
    name="cpu",
    summary="Share of its processor limit that a replica uses, over the window's minutes on average.",
    unit="ratio",
    sources=(Gauge(meter="metrics", reading="cpu", fold="mean", scale=0.01, instant=False),),
    dimensions=MappingProxyType({"replica": "podName of the metric `CpuPercentage`"}),
    needs="the target's `container_app` in `tocsin.yaml`, and Monitoring Reader on it for the reader's identity.",
)
