"""Nobody could approve."""

from types import MappingProxyType

from tocsin.core.signal import Gauge, Signal

SIGNAL = Signal(
    name="approver_unreachable",
    summary="1 if the human approver of a production target cannot be reached: side effects then fail closed.",
    unit="count",
    sources=(Gauge(meter="approver", reading="unreachable"),),
    dimensions=MappingProxyType({"revision": "the serving revision whose approver it is"}),
    needs="the target's `container_app` and `env: prod`, and that the watcher can reach `HITL_APPROVER_ENDPOINT`. It "
    "is asked with a GET, which decides nothing.",
)
