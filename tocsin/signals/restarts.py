"""Containers that were restarted."""

from types import MappingProxyType

from tocsin.core.signal import Gauge, Signal

SIGNAL = Signal(
    name="restarts",
    summary="Restarts of the app's containers within the window, over all replicas.",
    unit="count",
    sources=(Gauge(meter="metrics", reading="restarts", fold="rise", instant=False),),
    dimensions=MappingProxyType({"revision": "revisionName of the metric `RestartCount`"}),
    needs="the target's `container_app` in `tocsin.yaml`, and Monitoring Reader on it for the reader's identity.",
)
