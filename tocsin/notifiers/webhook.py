"""Any HTTPS endpoint, signed as Standard Webhooks describe: the receiver can tell who sent it and drop repeats."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tocsin.connections.http import Http
from tocsin.core.message import Notice, Outcome
from tocsin.notifiers.statuses import outcome

OPTIONS: Mapping[str, bool] = {"url_setting": True, "secret_setting": True}
"""App settings that hold the address, and the shared secret (``whsec_…``, base64)."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Posts notices as JSON to one endpoint."""

    url: str
    secret: str
    http: Http

    def __repr__(self) -> str:
        return "Webhook(url=…, secret=…)"

    def deliver(self, notice: Notice) -> Outcome:
        """Post one notice. The same notice always has the same ``webhook-id``."""
        body = json.dumps(document(notice), ensure_ascii=False)
        # Receivers refuse a signature older than minutes: its time is when it is sent, not when the alert fired.
        headers = signed(notice.id, body, self.secret, datetime.now(UTC))
        return outcome(self.http.post(self.url, content=body.encode(), headers=headers))


def make(options: Mapping[str, str], secret: Callable[[str], str], http: Http) -> Webhook:
    """Return the notifier of a receiver. Raises LookupError when a setting is not set, ValueError for a bad secret."""
    made = Webhook(secret(options["url_setting"]), secret(options["secret_setting"]), http)
    signed("probe", "{}", made.secret, datetime.now(UTC))
    return made


def signed(identity: str, body: str, secret: str, at: datetime) -> dict[str, str]:
    """Return the headers of a body sent at ``at`` (UTC). Raises ValueError when the secret is not base64."""
    from standardwebhooks import Webhook as Signer

    return {
        "content-type": "application/json",
        "webhook-id": identity,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Signer(secret).sign(identity, at, body),
    }


def document(notice: Notice) -> dict[str, Any]:
    """Return the notice as JSON values, every text as it is: the receiver escapes for its own readers."""
    return {
        "type": f"alert.{notice.kind.value.replace(' ', '_')}",
        "timestamp": notice.at.isoformat(),
        "data": {
            "id": notice.id,
            "episode": notice.episode,
            "rule": notice.rule,
            "target": notice.target,
            "severity": notice.severity.value,
            "title": notice.title,
            "text": notice.text,
            "facts": {fact.name: fact.value for fact in notice.facts},
            "first_step": notice.first_step,
            "manual": notice.manual,
            "links": dict(notice.links),
            "labels": dict(notice.labels),
            "value": notice.value,
            "provenance": notice.provenance,
        },
    }
