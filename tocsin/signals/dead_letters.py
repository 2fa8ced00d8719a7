"""Messages that nobody could work off."""

from types import MappingProxyType

from tocsin.core.signal import Gauge, Signal

SIGNAL = Signal(
    name="dead_letters",
    summary="Messages in a queue's `…-poison` queue, or dead-lettered by Service Bus; without `by`, in the worst.",
    unit="count",
    sources=(Gauge(meter="queues", reading="dead"),),
    dimensions=MappingProxyType({"queue": "the queue's name"}),
    needs="the target's `queues` in `tocsin.yaml`, and Storage Queue Data Reader (Service Bus: Monitoring Reader) "
    "for the "
    "reader's identity.",
)
