"""How much waits in a target's queues, for how long, and what was given up: Storage queues and Service Bus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tocsin.connections.metrics import Asked, Metrics
from tocsin.connections.queues import Waiting
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.config import Queue, Target
from tocsin.core.gauge import Reading

_AT_ONCE = 8
_NAMESPACE = "Microsoft.ServiceBus/namespaces"
_NEWEST = timedelta(minutes=10)
"""How far back a metric's newest minute is looked for: they come a few minutes late."""

_BUS = {"depth": "ActiveMessages", "dead": "DeadletteredMessages"}


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class QueueDepths:
    """Reads each queue by itself: one that refuses hides no other.

    A Storage queue tells its approximate depth, the age of its oldest visible message, and the depth of the queue
    named ``…-poison``; a Service Bus entity its active and its dead-lettered messages.
    """

    look: Callable[[str, str], Waiting | NoAnswer]
    """Looks at a Storage account's queue."""
    metrics: Metrics
    now: Callable[[], datetime] = _now

    def read(self, target: Target, reading: str, start: datetime, end: datetime) -> Sequence[Reading]:  # noqa: ARG002
        """Return the readings ``depth``, ``lag`` (seconds) and ``dead`` of every queue, as it is now."""
        if not target.queues:
            return ()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return [
                each for readings in pool.map(lambda queue: self._queue(queue, end), target.queues) for each in readings
            ]

    def _queue(self, queue: Queue, end: datetime) -> list[Reading]:
        return list(self._storage(queue) if queue.storage else self._bus(queue, end))

    def _storage(self, queue: Queue) -> Iterator[Reading]:
        of = {"queue": queue.queue}
        found = self.look(queue.storage, queue.queue)
        if isinstance(found, NoAnswer):
            yield from (Reading(name, None, of, why=found.why.value) for name in ("depth", "lag", "dead"))
            return
        age = max(0.0, (self.now() - found.oldest).total_seconds()) if found.oldest else 0.0
        yield Reading("depth", float(found.depth), of, detail=f"{found.depth} messages in {queue.queue}")
        yield Reading("lag", age, of, detail=f"the oldest message in {queue.queue}")
        yield self._poisoned(queue, of)

    def _poisoned(self, queue: Queue, of: dict[str, str]) -> Reading:
        found = self.look(queue.storage, f"{queue.queue}-poison")
        if isinstance(found, NoAnswer) and found.why is not Why.MISSING:
            return Reading("dead", None, of, why=found.why.value)
        # The host makes it when the first message is given up.
        depth = 0 if isinstance(found, NoAnswer) else found.depth
        return Reading("dead", float(depth), of, detail=f"{depth} messages in {queue.queue}-poison")

    def _bus(self, queue: Queue, end: datetime) -> Iterator[Reading]:
        of = {"queue": queue.queue}
        for name, metric in _BUS.items():
            asked = Asked(queue.service_bus, _NAMESPACE, metric, "Maximum", ("EntityName",))
            found = self.metrics.series(asked, end - _NEWEST, end)
            if isinstance(found, NoAnswer):
                yield Reading(name, None, of, why=found.why.value)
                continue
            own = [each for each in found if each.of["EntityName"].lower() == queue.queue.lower() and each.values]
            if own:
                yield Reading(name, max(own[0].values)[1], of, detail=f"{metric} of {queue.queue}")
            else:
                yield Reading(name, None, of, why=Why.MISSING.value)
