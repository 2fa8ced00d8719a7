"""How long work waits in a queue."""

from types import MappingProxyType

from tocsin.core.signal import Gauge, Signal

SIGNAL = Signal(
    name="queue_lag",
    summary="Age of the oldest message that waits in a Storage queue, in seconds; without `by`, the greatest.",
    unit="s",
    sources=(Gauge(meter="queues", reading="lag"),),
    dimensions=MappingProxyType({"queue": "the queue's name"}),
    needs="the target's `queues` in `tocsin.yaml`, and Storage Queue Data Reader (Service Bus: Monitoring Reader) "
    "for the "
    "reader's identity. Service Bus does not tell it.",
)
