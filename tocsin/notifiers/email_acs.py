"""E-mail through Azure Communication Services, 30 a minute and 100 an hour unless Microsoft has allowed more.

Its SDK waits in loops of its own, and a request takes ten lines to sign. An attempt within four minutes of the first
repeats its request, ids and all, which the service then does not send again; later ones have the same ``Message-ID``.
A 202 says that the mail is queued, not that it was delivered. The course of the value is a picture inside the HTML, as
with ``email_smtp``; a mail that is refused with it is sent without.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, ClassVar
from urllib.parse import urlsplit

from tocsin.connections.http import Http, Reply, Unreached, checked
from tocsin.connections.statuses import retry_after
from tocsin.core.message import Notice, Outcome, Said
from tocsin.notifiers.mail import EXAMPLE, Picture, address, addresses, mail
from tocsin.notifiers.statuses import outcome

OPTIONS: Mapping[str, bool] = {"connection_setting": True, "sender": True, "to": True}
"""``connection_setting`` names the app setting with the connection string; ``to`` may be several, with commas."""

PATH = "/emails:send?api-version=2025-09-01"
"""The first version for production that shows an attachment inside the HTML, by ``contentId``."""

_UNREADABLE = frozenset({400, 413})
"""What the service answers where it cannot take a mail as it is, or finds it too large."""

_REPEATABLE = timedelta(minutes=4)
"""The service remembers a request for five minutes from the time it says it was first sent."""

_NAMESPACE = uuid.UUID("b9d4a1f0-2f57-4a3c-9d3e-6a5c1f0e8b77")
_CODE = re.compile(r'"code"\s*:\s*"([A-Za-z]{1,60})"')


def _sending_time() -> datetime:
    # A signature is good for minutes only: its time is when it is sent, not when the alert fired.
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Acs:
    """Sends mail from one address to the same people."""

    together: ClassVar[bool] = True
    endpoint: str
    key: str
    sender: str
    to: tuple[str, ...]
    http: Http
    clock: Callable[[], datetime] = _sending_time

    def __repr__(self) -> str:
        return "Acs(endpoint=…, key=…)"

    def deliver(self, notice: Notice) -> Outcome:
        """Queue one mail. 409 says that an attempt before this one is still under way."""
        asked = request(notice, self.sender, self.to)
        answer = self._asked(asked, notice)
        if isinstance(answer, Reply) and answer.status in _UNREADABLE and "attachments" in asked:
            # Another request for the service; for whoever reads it the same mail, with the same Message-ID.
            worded = request(replace(notice, series=()), self.sender, self.to)
            answer = self._asked(worded, replace(notice, id=f"{notice.id}/words"))
        if isinstance(answer, Reply) and answer.status == 409:
            return Outcome(Said.AGAIN, "409 an attempt is under way", retry_after(answer.headers))
        return outcome(answer, _words(answer) if isinstance(answer, Reply) else "")

    def _asked(self, asked: Mapping[str, Any], named: Notice) -> Reply | Unreached:
        now, body = self.clock(), json.dumps(asked).encode()
        headers = {**repeatable(named, now), **signed(self.endpoint, body, self.key, now)}
        return self.http.post(self.endpoint + PATH, content=body, headers=headers)


def payload(notice: Notice) -> dict[str, Any]:
    """Return what is sent, between addresses of nobody."""
    return request(notice, *EXAMPLE)


def make(options: Mapping[str, str], secret: Callable[[str], str], http: Http) -> Acs:
    """Return the notifier of a receiver. Raises LookupError for a setting that is not set, ValueError for a bad one."""
    named = options["connection_setting"]
    endpoint, key = _connection(secret(named), named)
    return Acs(endpoint, key, address(options["sender"]), addresses(options["to"]), http)


def request(notice: Notice, sender: str, to: tuple[str, ...]) -> dict[str, Any]:
    """Return the mail as the API takes it."""
    written = mail(notice, sender)
    return {
        "senderAddress": sender,
        "recipients": {"to": [{"address": each} for each in to]},
        "content": {"subject": written.subject, "plainText": written.text, "html": written.html},
        "headers": {"Message-ID": written.id},
        # Tracking would put its own addresses in place of the notice's links.
        "userEngagementTrackingDisabled": True,
        **({"attachments": [_attachment(written.picture)]} if written.picture else {}),
    }


def _attachment(shown: Picture) -> dict[str, str]:
    content = base64.b64encode(shown.png).decode()
    return {"name": shown.name, "contentType": "image/png", "contentInBase64": content, "contentId": shown.id}


def repeatable(notice: Notice, now: datetime) -> dict[str, str]:
    """Return the headers that make a repeated request one request: the same for every attempt in the same four minutes.

    Nothing is remembered from one attempt to the next; so a retry across the edge of two such times is a new request.
    """
    first = notice.at + (now - notice.at) // _REPEATABLE * _REPEATABLE
    identity = str(uuid.uuid5(_NAMESPACE, f"{notice.id}/{first.isoformat()}"))
    sent = format_datetime(first.astimezone(UTC), usegmt=True)
    return {"Operation-Id": identity, "Repeatability-Request-ID": identity, "Repeatability-First-Sent": sent}


def signed(endpoint: str, body: bytes, key: str, at: datetime) -> dict[str, str]:
    """Return the headers of a body sent at ``at`` (UTC), signed with an access key."""
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    date = format_datetime(at.astimezone(UTC), usegmt=True)
    text = f"POST\n{PATH}\n{date};{urlsplit(endpoint).netloc};{digest}"
    signature = base64.b64encode(hmac.digest(base64.b64decode(key), text.encode(), "sha256")).decode()
    return {
        "content-type": "application/json",
        "x-ms-date": date,
        "x-ms-content-sha256": digest,
        "authorization": f"HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={signature}",
    }


def _connection(text: str, named: str) -> tuple[str, str]:
    """Return the endpoint and the key. Raises ValueError that names the setting and shows nothing of it."""
    parts = {
        name.strip().lower(): value.strip() for name, _, value in (each.partition("=") for each in text.split(";"))
    }
    try:
        endpoint, key = checked(parts["endpoint"]).rstrip("/"), parts["accesskey"]
        if not base64.b64decode(key, validate=True) or urlsplit(endpoint).path or urlsplit(endpoint).query:
            raise ValueError
    except (KeyError, ValueError):
        raise ValueError(f"{named} must be like endpoint=https://NAME.communication.azure.com/;accesskey=…") from None
    return endpoint, key


def _words(reply: Reply) -> str:
    """Return the service's code for what is wrong; its sentences may repeat what it was sent."""
    code = _CODE.search(reply.text)
    return code[1] if code else ""
