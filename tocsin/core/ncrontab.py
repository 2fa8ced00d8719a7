"""When a timer is due: the six-field expressions of the Functions host, second first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("weekday", 0, 7, _DAYS),
)
_FURTHEST = 5 * 366
"""Days that are looked through: the 29th of February comes within them."""


@dataclass(frozen=True, slots=True)
class Timetable:
    """The instants a timer is due at, in UTC."""

    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    def after(self, moment: datetime) -> datetime:
        """Return the first instant it is due after ``moment``. Raises ValueError when there is none in five years."""
        at = moment.replace(microsecond=0) + timedelta(seconds=1)
        for _ in range(_FURTHEST):
            if self._day(at) and (found := self._within(at)):
                return found
            at = (at + timedelta(days=1)).replace(hour=0, minute=0, second=0)
        raise ValueError("such a day never comes")

    def _day(self, at: datetime) -> bool:
        return at.day in self.days and at.month in self.months and at.isoweekday() % 7 in self.weekdays

    def _within(self, at: datetime) -> datetime | None:
        """Return the first instant of the day from ``at`` on, or None."""
        for hour in sorted(each for each in self.hours if each >= at.hour):
            first = at.minute if hour == at.hour else 0
            for minute in sorted(each for each in self.minutes if each >= first):
                least = at.second if (hour, minute) == (at.hour, at.minute) else 0
                second = min((each for each in self.seconds if each >= least), default=None)
                if second is not None:
                    return at.replace(hour=hour, minute=minute, second=second)
        return None


def timetable(expression: str) -> Timetable:
    """Return the instants of an expression such as ``0 */5 * * * *``. Raises ValueError, saying what is wrong."""
    parts = expression.split()
    if len(parts) != len(_FIELDS):
        raise ValueError(f"a schedule has six fields, second first: '{expression}' has {len(parts)}")
    second, minute, hour, day, month, weekday = (
        _values(part, *field) for part, field in zip(parts, _FIELDS, strict=True)
    )
    return Timetable(second, minute, hour, day, month, frozenset(each % 7 for each in weekday))


def _values(part: str, name: str, least: int, most: int, names: tuple[str, ...]) -> frozenset[int]:
    found: set[int] = set()
    for piece in part.split(","):
        span, _, step = piece.partition("/")
        first, _, last = span.partition("-")
        if span == "*":
            low, high = least, most
        else:
            low = _number(first, names, least)
            high = _number(last, names, least) if last else most if step else low
        if not least <= low <= high <= most or (step and (not step.isdigit() or int(step) == 0)):
            raise ValueError(f"'{part}' is no {name} from {least} to {most}")
        found |= set(range(low, high + 1, int(step or 1)))
    return frozenset(found)


def _number(text: str, names: tuple[str, ...], least: int) -> int:
    if text.lower() in names:
        return names.index(text.lower()) + least
    return int(text) if text.isascii() and text.isdigit() else -1
