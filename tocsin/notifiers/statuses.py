"""What an HTTP answer means for a delivery: one table for every receiver.

| answer | meaning |
|---|---|
| 2xx | accepted |
| 408, 425, 429, 5xx | try again, as told by ``Retry-After`` |
| anything else | refused: the same message would be refused again |
| no answer | try again; it may have arrived |
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from tocsin.connections.http import Reply, Unreached
from tocsin.core.message import Outcome, Said

_LONGEST_WAIT = timedelta(hours=1)
_AGAIN = frozenset({408, 425, 429})


def outcome(answer: Reply | Unreached, words: str = "") -> Outcome:
    """Return what came of one attempt; ``words`` are the receiver's own and hold no secret."""
    if isinstance(answer, Unreached):
        return Outcome(Said.AGAIN, answer.reason + (" (it may have arrived)" if answer.maybe else ""))
    detail = f"{answer.status} {words}".strip()
    if 200 <= answer.status < 300:
        return Outcome(Said.ACCEPTED, detail)
    if answer.status in _AGAIN or answer.status >= 500:
        return Outcome(Said.AGAIN, detail, retry_after(answer.headers.get("retry-after")))
    return Outcome(Said.REFUSED, detail)


def retry_after(header: str | None) -> timedelta | None:
    """Return how long a ``Retry-After`` asks to wait, in seconds or until a date; at most an hour, None when absent."""
    if header is None:
        return None
    try:
        waits = timedelta(seconds=int(header)) if header.strip().isdigit() else _until(header)
    except (ValueError, OverflowError):
        return None
    return max(timedelta(), min(waits, _LONGEST_WAIT))


def _until(header: str) -> timedelta:
    at = parsedate_to_datetime(header)
    # The receiver's date is measured against this machine's clock, whatever time a story plays at.
    return (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)
