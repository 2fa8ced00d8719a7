"""Storage queues: the one module that knows azure-storage-queue. Looks at queues, and puts work into one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tocsin.connections.identity import credential, refuse_leak, storage_key
from tocsin.connections.refusal import no_answer
from tocsin.core.answer import NoAnswer
from tocsin.ports import Unsent

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.storage.queue import QueueClient

WORK = "tocsin-evaluate"
"""The queue over which a tick hands out evaluations; the host puts what it gave up into the one named ``…-poison``."""

_USEFUL = 600
"""Seconds after which nobody needs a piece of work any more: the ticks since have asked again."""

_OPTIONS = {"retry_total": 0, "connection_timeout": 5, "read_timeout": 10}
"""The SDK waits a quarter of a minute before it tries again, whatever it is told: a tick has no time for that."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in a queue: about how much, and since when the oldest does that somebody could take."""

    depth: int
    oldest: datetime | None = None


def look(given: TokenCredential, account: str, queue: str) -> Waiting | NoAnswer:
    """Return what waits in a queue. Raises ValueError for a static token that would leave this machine."""
    from azure.storage.queue import QueueClient

    refuse_leak(given, account)
    try:
        with QueueClient(account, queue, credential=storage_key(given), **_options()) as client:
            depth = client.get_queue_properties().approximate_message_count or 0
            peeked = client.peek_messages(1)
            return Waiting(depth, peeked[0].inserted_on if peeked else None)
    except Exception as error:
        return no_answer(error)


@dataclass(frozen=True, slots=True)
class Work:
    """Sends work. Messages are base64, as the Functions host expects them."""

    client: QueueClient

    def send(self, message: str) -> None:
        """Put a message in; it is gone by itself after ten minutes. Raises ``Unsent``."""
        try:
            self.client.send_message(message, time_to_live=_USEFUL)
        except Exception as error:
            refused = no_answer(error)
            raise Unsent(f"{refused.why.value}: {refused.detail}") from error

    def waiting(self) -> int | NoAnswer:
        """Return about how many messages wait, or why that is not known."""
        try:
            return int(self.client.get_queue_properties().approximate_message_count or 0)
        except Exception as error:
            return no_answer(error)


def work(where: str, client_id: str | None = None) -> Work:
    """Return the work queue at ``where``: a connection string, or the address of a Queue service for an identity."""
    from azure.storage.queue import QueueClient, TextBase64DecodePolicy, TextBase64EncodePolicy

    coded = {"message_encode_policy": TextBase64EncodePolicy(), "message_decode_policy": TextBase64DecodePolicy()}
    options = {**_options(), **coded}
    if where.startswith("https://"):
        return Work(QueueClient(where, WORK, credential=credential(client_id, None, where), **options))
    return Work(QueueClient.from_connection_string(where, WORK, **options))


def _options() -> dict[str, Any]:
    return dict(_OPTIONS)
