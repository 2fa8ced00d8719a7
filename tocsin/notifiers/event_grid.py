"""An Azure Event Grid custom topic that takes CloudEvents 1.0: for programs, which hear everything by subscribing.

One event a notice, ``tocsin.alert.fired`` and so on; its id is the notice's, so a copy sent twice can be recognised.
Texts are as telemetry has them, cut where one event would be more than 60 KB: whoever shows them escapes them.
"""

# The Event Grid SDK is not used: importing it costs a cold start more than this file does, it retries by itself for
# longer than a delivery is held, and only ``connections`` may import Azure.

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tocsin.connections.http import Http, checked
from tocsin.core.message import Notice, Outcome
from tocsin.notifiers.plain import cut
from tocsin.notifiers.prose import shortened
from tocsin.notifiers.statuses import outcome

OPTIONS: Mapping[str, bool] = {"endpoint": True, "key_setting": True}
"""``endpoint`` is the topic's (``https://….eventgrid.azure.net/api/events``), ``key_setting`` names its access key's
app setting."""

LIMIT = 60_000
"""Bytes of the data: Event Grid takes 1 MB and charges by 64 KB."""

_VERSION = "api-version=2018-01-01"


@dataclass(frozen=True, slots=True)
class EventGrid:
    """Publishes to one topic."""

    endpoint: str
    key: str
    http: Http

    def __repr__(self) -> str:
        return "EventGrid(key=…)"

    def deliver(self, notice: Notice) -> Outcome:
        """Publish one event. The same notice always has the same id."""
        headers = {"content-type": "application/cloudevents+json; charset=utf-8", "aeg-sas-key": self.key}
        return outcome(self.http.post(self.endpoint, content=json.dumps(event(notice)).encode(), headers=headers))


def payload(notice: Notice) -> dict[str, Any]:
    """Return what is sent."""
    return event(notice)


def make(options: Mapping[str, str], secret: Callable[[str], str], http: Http) -> EventGrid:
    """Return the notifier of a receiver. Raises LookupError for a setting that is not set, ValueError for a bad one."""
    key, endpoint = secret(options["key_setting"]).strip(), checked(options["endpoint"])
    if not key or not key.isascii() or not key.isprintable():
        raise ValueError(f"{options['key_setting']} must hold one of the topic's access keys")
    return EventGrid(endpoint if "?" in endpoint else f"{endpoint}?{_VERSION}", key, http)


def event(notice: Notice) -> dict[str, Any]:
    """Return the notice as a CloudEvent in structured form."""
    told = shortened(notice, LIMIT)
    return {
        "specversion": "1.0",
        "id": cut(notice.id, 500),
        "source": f"/tocsin/{quote(cut(notice.target, 200), safe='')}",
        "type": f"tocsin.{told['type']}",
        "subject": cut(f"{notice.rule}/{notice.target}", 500),
        "time": told["timestamp"],
        "datacontenttype": "application/json",
        "data": told["data"],
    }
