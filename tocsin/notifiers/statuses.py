"""What an HTTP answer means for a delivery: one table for every receiver.

| answer | meaning |
|---|---|
| 2xx | accepted |
| 408, 425, 429, 5xx | try again, as told by ``Retry-After`` |
| anything else | refused: the same message would be refused again |
| no answer | try again; it may have arrived |
"""

from __future__ import annotations

from collections.abc import Mapping
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
        return Outcome(Said.AGAIN, detail, retry_after(answer.headers))
    return Outcome(Said.REFUSED, detail)


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """Return how long ``Retry-After`` asks to wait, at most an hour; None when it is absent or cannot be read.

    Given as a date, it is measured against the answer's own ``Date``: whose clock is wrong does not matter.
    """
    asked = headers.get("retry-after", "").strip()
    try:
        wait = timedelta(seconds=int(asked)) if asked.isdigit() else _date(asked) - _date(headers.get("date", ""))
    except OverflowError:
        return _LONGEST_WAIT
    except ValueError:
        return None
    return max(timedelta(), min(wait, _LONGEST_WAIT))


def _date(text: str) -> datetime:
    at = parsedate_to_datetime(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
