"""How much waits in a queue."""

from types import MappingProxyType

from tocsin.core.signal import Gauge, Signal

SIGNAL = Signal(
    name="queue_depth",
    summary="Messages that wait in a queue; without `by`, in the fullest.",
    unit="count",
    sources=(Gauge(meter="queues", reading="depth"),),
    dimensions=MappingProxyType({"queue": "the queue's name"}),
    needs="the target's `queues` in `tocsin.yaml`, and Storage Queue Data Reader (Service Bus: Monitoring Reader) for "
    "the reader's identity.",
)
