"""How much waits in a target's queues, for how long, and what was given up: Storage queues and Service Bus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tocsin.connections.identity import refuse_leak, storage_key
from tocsin.connections.metrics import Asked, Metrics
from tocsin.connections.refusal import no_answer
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.config import Queue, Target
from tocsin.core.gauge import Reading
from tocsin.ports import Regions

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.storage.queue import QueueClient

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

    credential: TokenCredential
    metrics: Metrics
    region: Regions
    now: Callable[[], datetime] = _now

    def read(self, target: Target, reading: str, start: datetime, end: datetime) -> Sequence[Reading]:  # noqa: ARG002
        """Return the readings ``depth``, ``lag`` (seconds) and ``dead`` of every queue, as it is now."""
        found: list[Reading] = []
        for queue in target.queues:
            found += self._storage(queue) if queue.storage else self._bus(queue, target, end)
        return found

    def _storage(self, queue: Queue) -> Iterator[Reading]:
        of = {"queue": queue.queue}
        try:
            with self._opened(queue, queue.queue) as client:
                depth = client.get_queue_properties().approximate_message_count or 0
                oldest = client.peek_messages(1)
            yield Reading("depth", float(depth), of, detail=f"{depth} messages in {queue.queue}")
            yield Reading("lag", self._age(oldest), of, detail=f"the oldest message in {queue.queue}")
            yield Reading("dead", float(self._poisoned(queue)), of, detail=f"{queue.queue}-poison")
        except Exception as error:
            yield from _unread(of, no_answer(error))

    def _age(self, oldest: Sequence[object]) -> float:
        since = getattr(oldest[0], "inserted_on", None) if oldest else None
        return max(0.0, (self.now() - since).total_seconds()) if since else 0.0

    def _poisoned(self, queue: Queue) -> int:
        from azure.core.exceptions import ResourceNotFoundError

        try:
            with self._opened(queue, f"{queue.queue}-poison") as client:
                return client.get_queue_properties().approximate_message_count or 0
        except ResourceNotFoundError:  # the host makes it when the first message is given up
            return 0

    def _opened(self, queue: Queue, name: str) -> QueueClient:
        from azure.storage.queue import QueueClient

        refuse_leak(self.credential, queue.storage)
        key = storage_key(self.credential)
        return QueueClient(queue.storage, name, credential=key, retry_total=0, connection_timeout=5, read_timeout=10)

    def _bus(self, queue: Queue, target: Target, end: datetime) -> Iterator[Reading]:
        of, region = {"queue": queue.queue}, self.region(target)
        for name, metric in _BUS.items():
            asked = Asked(queue.service_bus, _NAMESPACE, metric, "Maximum", ("EntityName",))
            found = region if isinstance(region, NoAnswer) else self.metrics.series(asked, region, end - _NEWEST, end)
            if isinstance(found, NoAnswer):
                yield Reading(name, None, of, why=found.why.value)
                continue
            own = [each for each in found if each.of["EntityName"].lower() == queue.queue.lower() and each.values]
            if own:
                yield Reading(name, max(own[0].values)[1], of, detail=f"{metric} of {queue.queue}")
            else:
                yield Reading(name, None, of, why=Why.MISSING.value)


def _unread(of: dict[str, str], why: NoAnswer) -> list[Reading]:
    return [Reading(name, None, of, why=why.why.value) for name in ("depth", "lag", "dead")]
