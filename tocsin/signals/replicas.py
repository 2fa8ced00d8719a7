"""How many replicas run."""

from types import MappingProxyType

from tocsin.core.signal import Gauge, Signal

SIGNAL = Signal(
    name="replicas",
    summary="Replicas of a revision, the most there were within the window.",
    unit="count",
    sources=(Gauge(meter="metrics", reading="replicas", instant=False),),
    dimensions=MappingProxyType({"revision": "revisionName of the metric `Replicas`"}),
    needs="the target's `container_app` in `tocsin.yaml`, and Monitoring Reader on it for the reader's identity.",
)
