"""Standard Webhooks: who signs what, so that the other side can tell who sent it and drop repeats.

``webhook-id`` is the same at every attempt; ``webhook-timestamp`` is when it was sent.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime


def sending_time() -> datetime:
    """Return now: receivers refuse a signature older than minutes, so its time is not that of what it tells."""
    return datetime.now(UTC)


def checked_key(key: str, setting: str) -> str:
    """Return the shared secret. Raises ValueError, naming its setting alone, for one that is too short or too long."""
    if not 24 <= len(_decoded(key)) <= 64:
        raise ValueError(f"{setting} must hold 24 to 64 bytes in base64, like whsec_…")
    return key


def signed(identity: str, body: str, secret: str, at: datetime) -> dict[str, str]:
    """Return the headers of a body sent at ``at`` (UTC)."""
    from standardwebhooks import Webhook as Signer

    return {
        "content-type": "application/json",
        "webhook-id": identity,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Signer(secret).sign(identity, at, body),
    }


def _decoded(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix("whsec_") + "==")
    except ValueError:
        return b""
