"""An Azure Event Grid custom topic that takes CloudEvents 1.0: for programs, which hear everything by subscribing.

One event a notice, ``tocsin.alert.fired`` and so on; its id is the notice's, so a copy sent twice can be recognised.
Texts are as telemetry has them, cut where one event would be more than 60 KB: whoever shows them escapes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tocsin.connections.event_grid import address, checked_key, cloud_event, publish
from tocsin.connections.http import Http
from tocsin.core.message import Notice, Outcome
from tocsin.notifiers.plain import cut
from tocsin.notifiers.prose import shortened
from tocsin.notifiers.statuses import outcome

OPTIONS: Mapping[str, bool] = {"endpoint": True, "key_setting": True}
"""``endpoint`` is the topic's (``https://….eventgrid.azure.net/api/events``), ``key_setting`` names its access key's
app setting."""

LIMIT = 60_000
"""Bytes of the data: Event Grid takes 1 MB and charges by 64 KB."""


@dataclass(frozen=True, slots=True)
class EventGrid:
    """Publishes to one topic."""

    endpoint: str
    key: str
    within: float

    def __repr__(self) -> str:
        return "EventGrid(key=…)"

    def deliver(self, notice: Notice) -> Outcome:
        """Publish one event. The same notice always has the same id."""
        return outcome(publish(self.endpoint, event(notice), self.key, self.within))


def payload(notice: Notice) -> list[dict[str, Any]]:
    """Return what is sent: a batch of one event."""
    return [event(notice)]


def make(options: Mapping[str, str], secret: Callable[[str], str], http: Http) -> EventGrid:
    """Return the notifier of a receiver. Raises LookupError for a setting that is not set, ValueError for a bad one."""
    key = checked_key(secret(options["key_setting"]), options["key_setting"])
    return EventGrid(address(options["endpoint"]), key, http.timeout)


def event(notice: Notice) -> dict[str, Any]:
    """Return the notice as a CloudEvent in structured form."""
    told = shortened(notice, LIMIT)
    return cloud_event(
        cut(notice.id, 500),
        cut(notice.target, 200),
        f"tocsin.{told['type']}",
        cut(f"{notice.rule}/{notice.target}", 500),
        told["data"],
        notice.at,
    )
