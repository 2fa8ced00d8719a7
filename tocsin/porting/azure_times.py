"""How Azure writes and means lengths of time."""

from __future__ import annotations

import re
from datetime import timedelta

_MINUTE = timedelta(minutes=1)


def resolves_after(every: timedelta) -> timedelta:
    """Return for how long the condition must not be met before Azure resolves an alert that is looked at so often."""
    if every < 5 * _MINUTE:
        return 10 * _MINUTE
    periods = 3 if every <= 15 * _MINUTE else 2 if every < 11 * 60 * _MINUTE else 1
    return periods * every


def length(text: str) -> timedelta | None:
    """Return an ISO 8601 duration, or one as the command line prints it (``0:05:00``); None where it is neither."""
    iso = re.fullmatch(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?", text)
    if iso and any(iso.groups()):
        days, hours, minutes, seconds = (int(each or 0) for each in iso.groups())
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    clock = re.fullmatch(r"(?:(\d+) days?, )?(\d+):(\d\d):(\d\d)", text)
    if clock:
        days, hours, minutes, seconds = (int(each or 0) for each in clock.groups())
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    return None
