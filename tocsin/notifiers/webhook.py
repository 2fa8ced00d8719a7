"""Any HTTPS endpoint, signed as Standard Webhooks describe: the receiver can tell who sent it and drop repeats.

``webhook-id`` is the notice's id, the same at every attempt; ``webhook-timestamp`` is when it was sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tocsin.connections.http import Http, checked
from tocsin.connections.standard_webhooks import checked_key, sending_time, signed
from tocsin.core.message import Notice, Outcome
from tocsin.notifiers.plain import document
from tocsin.notifiers.statuses import outcome

OPTIONS: Mapping[str, bool] = {"url_setting": True, "secret_setting": True}
"""App settings that hold the address, and the shared secret (``whsec_…``: 24 to 64 bytes in base64)."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Posts notices as JSON to one endpoint."""

    url: str
    secret: str
    http: Http
    clock: Callable[[], datetime] = sending_time

    def __repr__(self) -> str:
        return "Webhook(url=…, secret=…)"

    def deliver(self, notice: Notice) -> Outcome:
        """Post one notice. The same notice always has the same ``webhook-id``."""
        body = json.dumps(document(notice))
        headers = signed(notice.id, body, self.secret, self.clock())
        return outcome(self.http.post(self.url, content=body.encode(), headers=headers))


def payload(notice: Notice) -> dict[str, Any]:
    """Return what is sent, without its signature."""
    return document(notice)


def make(options: Mapping[str, str], secret: Callable[[str], str], http: Http) -> Webhook:
    """Return the notifier of a receiver. Raises LookupError for a setting that is not set, ValueError for a bad one."""
    key = checked_key(secret(options["secret_setting"]), options["secret_setting"])
    return Webhook(checked(secret(options["url_setting"])), key, http)
