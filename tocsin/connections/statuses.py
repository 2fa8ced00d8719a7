"""What an HTTP answer asks for: whether to try again, and after how long."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_LONGEST_WAIT = timedelta(hours=1)
_AGAIN = frozenset({408, 425, 429})


def again(status: int) -> bool:
    """Return whether the same request may be answered better later."""
    return status in _AGAIN or status >= 500


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
