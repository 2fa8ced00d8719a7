"""Recurrence rules of RFC 5545 (RRULE): when the newest occurrence began.

An occurrence is a local time, which becomes UTC once (section 3.3.5): a time that the clock skips takes the offset from
before the gap, and a time that comes twice is the first. The search goes backwards from a moment, a day at a time and
within the day by arithmetic: its cost depends on how far back it looks, not on a rule's age or frequency.
"""

from __future__ import annotations

from bisect import bisect_right
from calendar import isleap, monthrange
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property, lru_cache
from itertools import islice, product
from typing import TypeVar
from zoneinfo import ZoneInfo

T = TypeVar("T")

_FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY")
_YEARLY, _MONTHLY, _WEEKLY, _DAILY, _HOURLY, _MINUTELY, _SECONDLY = range(7)
_STEP = {_HOURLY: 3600, _MINUTELY: 60, _SECONDLY: 1}
_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_RANGES = {
    "BYSECOND": range(60),
    "BYMINUTE": range(60),
    "BYHOUR": range(24),
    "BYMONTHDAY": range(-31, 32),
    "BYYEARDAY": range(-366, 367),
    "BYWEEKNO": range(-53, 54),
    "BYMONTH": range(1, 13),
    "BYSETPOS": range(-366, 367),
}
_PARTS = ("FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYDAY", *_RANGES)
_LAST_SECOND = 86_399
_DAY, _SECOND = timedelta(days=1), timedelta(seconds=1)
_MOST_STEPS = 25_000
"""Days and times that are tried to find the end of a COUNT, once: a tenth of a second."""
_RULES, _MOMENTS = 4_000, 1_000
"""How many rules are kept as they were read, and moments with their offsets: the silences of a tick share them."""


@dataclass(frozen=True)
class Recurrence:
    """One rule from ``first`` on, a local time. An empty set restricts nothing; ``until`` may be local or in UTC."""

    first: datetime
    frequency: int
    interval: int
    week_start: int
    months: frozenset[int]
    month_days: frozenset[int]
    year_days: frozenset[int]
    weeks: frozenset[int]
    weekdays: frozenset[int]
    nth_weekdays: frozenset[tuple[int, int]]
    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    seconds: tuple[int, ...]
    positions: tuple[int, ...]
    until: datetime | None = None

    def newest(self, now: datetime, zone: ZoneInfo, back: timedelta) -> datetime | None:
        """Return when the newest occurrence began, in UTC; None when none began by ``now`` or all before ``back``."""
        until = self.until if self.until is not None and self.until.tzinfo else now
        return _Search(self, min(now, until).astimezone(UTC), zone, back).newest()

    def latest(self, at: datetime, oldest: datetime) -> datetime | None:
        """Return the newest occurrence from ``oldest`` to ``at``, all in local time."""
        oldest = max(oldest, self.first)
        if self.until is not None and not self.until.tzinfo:
            at = min(at, self.until)
        for ordinal in range(at.toordinal(), oldest.toordinal() - 1, -1):
            day = date.fromordinal(ordinal)
            if self._on(day):
                limit = _of_day(at) if ordinal == at.toordinal() else _LAST_SECOND
                second = self._time(day, limit, _of_day(oldest) if ordinal == oldest.toordinal() else 0)
                if second is not None:
                    return datetime.combine(day, time()) + second * _SECOND
        return None

    def ending(self, count: int) -> Recurrence:
        """Return the rule with occurrence number ``count`` as its last. Raises ValueError when that is too far off."""
        for found in islice(self._every(), _MOST_STEPS):
            count -= found is not None
            if not count:
                return replace(self, until=found)
        raise ValueError("the last occurrence of COUNT is too far off; write UNTIL or `ends`")

    # Days

    def _on(self, day: date) -> bool:
        """Return whether occurrences may be on the day."""
        return (
            (self.interval == 1 or self._in_step(day))
            and (not self.months or day.month in self.months)
            and (not self.month_days or _counted(day.day, _length(day), self.month_days))
            and (not self.year_days or _counted(day.timetuple().tm_yday, 365 + isleap(day.year), self.year_days))
            and (not self.weeks or _counted(*_week(day, self.week_start), self.weeks))
            and (not (self.weekdays or self.nth_weekdays) or day.weekday() in self.weekdays or self._nth(day))
        )

    def _in_step(self, day: date) -> bool:
        return self.frequency > _DAILY or (self._period(day) - self._period(self.first)) % self.interval == 0

    def _period(self, day: date) -> int:
        """Return the number of the year, month, week or day that a day belongs to."""
        if self.frequency == _YEARLY:
            return day.year
        if self.frequency == _MONTHLY:
            return 12 * day.year + day.month
        return (day.toordinal() - 1 - self.week_start) // 7 if self.frequency == _WEEKLY else day.toordinal()

    def _nth(self, day: date) -> bool:
        if self.frequency == _MONTHLY or self.months:
            number, most = day.day, _length(day)
        else:
            number, most = day.timetuple().tm_yday, 365 + isleap(day.year)
        places = ((number - 1) // 7 + 1, -((most - number) // 7 + 1))
        return any((day.weekday(), place) in self.nth_weekdays for place in places)

    # Times of a day, as seconds

    def _time(self, day: date, limit: int, least: int) -> int | None:
        """Return the newest second of the day from ``least`` to ``limit`` at which an occurrence is."""
        if self.frequency > _DAILY:
            return self._stepped(day, limit, least)
        times = self._times_on(day)
        place = bisect_right(times, limit)
        return times[place - 1] if place and times[place - 1] >= least else None

    def _times_on(self, day: date) -> tuple[int, ...]:
        if not self.positions:
            return self._times
        return _chosen(self, self._period(day)).get(day, ())

    @cached_property
    def _times(self) -> tuple[int, ...]:
        """The times of every day, or for what recurs within a day: the seconds of every step."""
        parts = (self.hours, self.minutes, self.seconds)[max(0, self.frequency - _DAILY) :]
        made = sorted(_seconds(each) for each in product(*parts))
        return tuple(_placed(made, self.positions)) if self.frequency > _DAILY else tuple(made)

    def _stepped(self, day: date, limit: int, least: int) -> int | None:
        """Walk back over the steps of the interval, and at once out of an hour or a minute that is left out."""
        size, before = _STEP[self.frequency], self._steps_before(day)
        step = limit // size
        while self._times and step * size > least - size:
            step -= (before + step) % self.interval
            if step < 0:
                break
            skipped = self._left_out(step * size)
            if skipped:
                step = step * size // skipped * skipped // size - 1
                continue
            place = bisect_right(self._times, limit - step * size)
            if place and step * size + self._times[place - 1] >= least:
                return step * size + self._times[place - 1]
            step -= 1
        return None

    def _steps_before(self, day: date) -> int:
        """Return how many steps lie between the first one and the beginning of the day."""
        size = _STEP[self.frequency]
        return (day.toordinal() - self.first.toordinal()) * 86_400 // size - _of_day(self.first) // size

    def _left_out(self, second: int) -> int:
        """Return the length of the hour, minute or second that holds no step at this time; 0 where one may be."""
        if self.hours and second // 3600 not in self.hours:
            return 3600
        if self.frequency >= _MINUTELY and self.minutes and second // 60 % 60 not in self.minutes:
            return 60
        return int(self.frequency == _SECONDLY and bool(self.seconds) and second % 60 not in self.seconds)

    # Forward, for COUNT alone

    def _every(self) -> Iterator[datetime | None]:
        """Yield every occurrence, oldest first, and None for each day or step without one."""
        for ordinal in range(self.first.toordinal(), date.max.toordinal()):
            day = date.fromordinal(ordinal)
            for second in self._ascending(day) if self._on(day) else ():
                at = None if second is None else datetime.combine(day, time()) + second * _SECOND
                yield at if at is not None and at >= self.first else None
            yield None

    def _ascending(self, day: date) -> Iterator[int | None]:
        if self.frequency <= _DAILY:
            yield from self._times_on(day)
            return
        size = _STEP[self.frequency]
        for step in range(-self._steps_before(day) % self.interval, 86_400 // size, self.interval):
            yield None  # a step that holds nothing is a step, too
            if not self._left_out(step * size):
                yield from (step * size + second for second in self._times)


@dataclass(frozen=True, slots=True)
class _Search:
    """The search for the newest occurrence up to ``now``, in UTC.

    In UTC occurrences have the order of their local times, but for those in a gap: they come after the change, and so
    among those of the first local times behind the gap.
    """

    rule: Recurrence
    now: datetime
    zone: ZoneInfo
    back: timedelta

    def newest(self) -> datetime | None:
        change = _change(self.now, self.zone)
        local = self._latest(_offset(self.now, self.zone), self._behind(change) if change else None)
        if local is None and change:
            local = self._ahead(change)
        return None if local is None else self._or_in_gap(local)

    def _or_in_gap(self, local: datetime) -> datetime:
        """Return the occurrence in UTC, or one in the gap before it that is newer in UTC."""
        found = local.replace(tzinfo=self.zone).astimezone(UTC)
        change = _change(found, self.zone)
        other = self._ahead(change) if change and local >= self._behind(change) else None
        return found if other is None else max(found, self._or_in_gap(other))

    def _ahead(self, change: datetime) -> datetime | None:
        """Return the newest local time that has the offset from before the change."""
        return self._latest(_offset(change - _SECOND, self.zone), None, self._behind(change) - _SECOND)

    def _latest(self, offset: timedelta, oldest: datetime | None, most: datetime | None = None) -> datetime | None:
        at = self.now.replace(tzinfo=None) + offset
        return self.rule.latest(min(at, most or at), oldest or at - self.back - 2 * _DAY)

    def _behind(self, change: datetime) -> datetime:
        """Return the first local time that has the offset from after the change."""
        return change.replace(tzinfo=None) + max(_offset(change - _SECOND, self.zone), _offset(change, self.zone))


@lru_cache(_MOMENTS)
def _change(at: datetime, zone: ZoneInfo) -> datetime | None:
    """Return when the clock was changed within the day before ``at``, or None. No change is of more than a day."""
    low, high = at - _DAY, at
    after = _offset(high, zone)
    if _offset(low, zone) == after:
        return None
    while high - low > _SECOND:
        middle = low + (high - low) // _SECOND // 2 * _SECOND
        low, high = (low, middle) if _offset(middle, zone) == after else (middle, high)
    return high.replace(microsecond=0)


@lru_cache(_MOMENTS)
def _offset(at: datetime, zone: ZoneInfo) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta()


@lru_cache(1_000)
def _chosen(rule: Recurrence, period: int) -> dict[date, tuple[int, ...]]:
    """Return the times that BYSETPOS chooses in one year, month, week or day, by their day."""
    if rule.frequency == _YEARLY:
        first, length = date(period, 1, 1), 366
    elif rule.frequency == _MONTHLY:
        first, length = date((period - 1) // 12, (period - 1) % 12 + 1, 1), 31
    else:
        weekly = rule.frequency == _WEEKLY
        first, length = date.fromordinal(7 * period + 1 + rule.week_start if weekly else period), 7 if weekly else 1
    days = (date.fromordinal(first.toordinal() + number) for number in range(length))
    every = [(day, second) for day in days if rule._period(day) == period and rule._on(day) for second in rule._times]
    found: dict[date, tuple[int, ...]] = {}
    for day, second in _placed(every, rule.positions):
        found[day] = (*found.get(day, ()), second)
    return found


def _placed(every: list[T], positions: tuple[int, ...]) -> list[T]:
    size = len(every)
    wanted = {place - 1 if place > 0 else size + place for place in positions}
    return [every[place] for place in sorted(wanted) if 0 <= place < size] if positions else every


def _counted(number: int, most: int, wanted: frozenset[int]) -> bool:
    """Return whether a number of so many is wanted, counted from the beginning or from the end."""
    return number in wanted or number - most - 1 in wanted


def _length(day: date) -> int:
    return monthrange(day.year, day.month)[1]


def _week(day: date, week_start: int) -> tuple[int, int]:
    """Return the number of the day's week in the year that most of the week is in, and how many weeks that year has."""
    year = date.fromordinal(day.toordinal() + 3 - (day.weekday() - week_start) % 7).year
    first, next_ = _first_week(year, week_start), _first_week(year + 1, week_start)
    return (day.toordinal() - first) // 7 + 1, (next_ - first) // 7


def _first_week(year: int, week_start: int) -> int:
    """Return the ordinal of the first day of the first week, which is the one with the fourth of January in it."""
    fourth = date(year, 1, 4)
    return fourth.toordinal() - (fourth.weekday() - week_start) % 7


def _of_day(at: datetime) -> int:
    return 3600 * at.hour + 60 * at.minute + at.second


def _seconds(parts: tuple[int, ...]) -> int:
    """Return the seconds of (hour, minute, second), of (minute, second), of (second,) or of nothing."""
    return sum(part * 60**power for power, part in enumerate(reversed(parts)))


# ── Reading ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@lru_cache(_RULES)
def recurrence(text: str, first: datetime) -> Recurrence:
    """Return the rule that ``text`` writes (``FREQ=WEEKLY;BYDAY=SU``) from the local time ``first`` on.

    Raises ValueError for what is no rule, saying what is wrong.
    """
    parts = _parts(text)
    first = first.replace(microsecond=0)
    frequency = _FREQUENCIES.index(_one_of("FREQ", parts.pop("FREQ", ""), _FREQUENCIES))
    weekdays, nth = _byday(parts.get("BYDAY", ""), frequency)
    if "UNTIL" in parts and "COUNT" in parts:
        raise ValueError("UNTIL and COUNT exclude each other")
    found = {name: frozenset(_numbers(name, parts[name])) if name in parts else frozenset[int]() for name in _RANGES}
    if not (weekdays or nth or any(found[name] for name in ("BYMONTHDAY", "BYYEARDAY", "BYWEEKNO"))):
        found["BYMONTH"] = found["BYMONTH"] or frozenset({first.month} if frequency == _YEARLY else ())
        found["BYMONTHDAY"] = frozenset({first.day} if frequency in (_YEARLY, _MONTHLY) else ())
        weekdays = frozenset({first.weekday()} if frequency == _WEEKLY else ())
    rule = Recurrence(
        first,
        frequency,
        _whole("INTERVAL", parts.get("INTERVAL", "1")),
        _WEEKDAYS.index(_one_of("WKST", parts.get("WKST", "MO"), _WEEKDAYS)),
        found["BYMONTH"],
        found["BYMONTHDAY"],
        found["BYYEARDAY"],
        found["BYWEEKNO"],
        weekdays,
        nth,
        _clock(found["BYHOUR"], first.hour, frequency < _HOURLY),
        _clock(found["BYMINUTE"], first.minute, frequency < _MINUTELY),
        _clock(found["BYSECOND"], first.second, frequency < _SECONDLY),
        tuple(sorted(found["BYSETPOS"])),
        _until(parts["UNTIL"]) if "UNTIL" in parts else None,
    )
    return rule.ending(_whole("COUNT", parts["COUNT"])) if "COUNT" in parts else rule


def _parts(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.strip().upper().removeprefix("RRULE:").removesuffix(";").split(";"):
        name, equals, value = part.partition("=")
        _one_of("its parts", name, _PARTS)
        if not equals or not value or name in found:
            raise ValueError(f"'{part}' is not NAME=VALUE, each name once")
        found[name] = value
    return found


def _one_of(what: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(f"{what} must be one of {', '.join(choices)}, and not '{value}'")
    return value


def _whole(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < len(text) < 7 or not int(text):
        raise ValueError(f"{name} must be a whole number from 1 to 999999, and not '{text}'")
    return int(text)


def _numbers(name: str, text: str) -> Iterator[int]:
    valid = _RANGES[name]
    for each in text.split(","):
        digits = each.removeprefix("-").removeprefix("+")
        number = int(each) if digits.isascii() and digits.isdigit() and len(digits) < 4 else 999
        if number not in valid or (number == 0 and valid[0] != 0):
            raise ValueError(f"{name} must be from {valid[0]} to {valid[-1]}, and not '{each}'")
        yield number


def _byday(text: str, frequency: int) -> tuple[frozenset[int], frozenset[tuple[int, int]]]:
    weekdays, nth = set[int](), set[tuple[int, int]]()
    for each in text.split(",") if text else ():
        day, number = _WEEKDAYS.index(_one_of("BYDAY", each[-2:], _WEEKDAYS)), each[:-2]
        if not number:
            weekdays.add(day)
            continue
        if frequency > _MONTHLY:
            raise ValueError(f"BYDAY={each} needs FREQ=MONTHLY or FREQ=YEARLY")
        (place,) = _numbers("BYWEEKNO", number)
        nth.add((day, place))
    return frozenset(weekdays), frozenset(nth)


def _clock(given: frozenset[int], first: int, fixed: bool) -> tuple[int, ...]:
    """Return the hours, minutes or seconds that are meant; where the rule steps over them, all when none is given."""
    return tuple(sorted(given or ({first} if fixed else ())))


def _until(text: str) -> datetime:
    """Return the last moment: in UTC with ``Z``, else local; a day includes all of its hours."""
    try:
        if "T" not in text:
            return datetime.strptime(text, "%Y%m%d") + _DAY - _SECOND  # noqa: DTZ007 - a local time
        at = datetime.strptime(text.removesuffix("Z"), "%Y%m%dT%H%M%S")  # noqa: DTZ007 - a local time
    except (ValueError, OverflowError):
        raise ValueError(f"UNTIL must be like 20271231T235959Z, and not '{text}'") from None
    return at.replace(tzinfo=UTC) if text.endswith("Z") else at
