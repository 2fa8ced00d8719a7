"""Who is not told, and why: inhibited by another alert, in quiet hours, or silenced. Muting never touches the state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from tocsin.core.inhibition import Inhibit, Inhibited, inhibited
from tocsin.core.matching import Index, Labels, Matcher, accepted, candidates, indexed
from tocsin.core.recurrence import recurrence

FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
"""When a silence ends that comes again without an end."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """Hours in which what ``matchers`` accept is not told. Without ``weekdays`` or ``dates`` on every day.

    ``start`` after ``end`` goes over midnight; the night belongs to the day on which it began. Both become UTC as RFC
    5545 has it: a time that the clock skips takes the offset from before the gap, one that comes twice is the first.
    """

    name: str
    matchers: tuple[Matcher, ...]
    zone: str
    start: time = time(0)
    end: time = time(0)
    weekdays: frozenset[int] = frozenset()
    dates: tuple[tuple[date, date], ...] = ()


@dataclass(frozen=True, slots=True)
class Silence:
    """Somebody does not want to hear of what ``matchers`` accept, from ``starts`` to ``ends``.

    With ``rule`` (an RFC 5545 RRULE, from ``starts`` on in ``zone``) it recurs until ``ends``. Each time it begins at a
    local time and lasts for ``lasts`` as a stopwatch counts it, also where the clock is changed meanwhile.
    ``actions`` says that policies do not act either; ``ended_by`` names who ended it before its time.
    """

    id: str
    matchers: tuple[Matcher, ...]
    author: str
    comment: str
    starts: datetime
    ends: datetime
    rule: str = ""
    lasts: timedelta = timedelta()
    zone: str = "UTC"
    actions: bool = False
    ended_by: str = ""


@dataclass(frozen=True, slots=True)
class Muting:
    """Everything that mutes, at one moment. ``firing`` holds the labels of every alert that fires."""

    inhibits: Sequence[Inhibit] = ()
    quiet: Sequence[Quiet] = ()
    silences: Sequence[Silence] = ()
    firing: Sequence[Labels] = ()
    _inhibited_at: dict[datetime, Inhibited] = field(default_factory=dict, compare=False, repr=False)
    """What was found once for a moment: each of thousands of alerts is asked about."""
    _index: Index = field(init=False, repr=False, compare=False)
    _until: dict[datetime, dict[int, datetime | None]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_index", indexed([each.matchers for each in self.silences]))
        object.__setattr__(self, "_until", {})

    def reason(self, labels: Labels, now: datetime) -> str:
        """Return why an alert with these labels is not told, or an empty text: the first reason in this order."""
        if not (self.inhibits or self.quiet or self.silences):
            return ""
        return self._inhibited(labels, now) or self._hushed(labels, now)

    def _inhibited(self, labels: Labels, now: datetime) -> str:
        if now not in self._inhibited_at:
            self._inhibited_at[now] = inhibited(self.inhibits, self.firing, lambda each: bool(self._hushed(each, now)))
        source = self._inhibited_at[now].by(labels)
        return f"inhibited by {source.get('rule', 'an alert')} on {source.get('target', '?')}" if source else ""

    def _hushed(self, labels: Labels, now: datetime) -> str:
        return self._quieted(labels, now) or self._silenced(labels, now)

    def _quieted(self, labels: Labels, now: datetime) -> str:
        found = next((each for each in self.quiet if accepted(each.matchers, labels) and quiet(each, now)), None)
        return f"quiet hours: {found.name}" if found else ""

    def _silenced(self, labels: Labels, now: datetime) -> str:
        ends = self._until.setdefault(now, {})
        for number in candidates(self._index, labels):
            silence = self.silences[number]
            if ends.get(number, now) is None or not accepted(silence.matchers, labels):
                continue
            if number not in ends:  # reckoned once, however many alerts it accepts
                ends[number] = in_force_until(silence, now)
            if end := ends[number]:
                return f"silenced by {silence.author} until {end:%Y-%m-%d %H:%M} UTC: {silence.comment}"
        return ""


def quiet(hours: Quiet, now: datetime) -> bool:
    """Return whether ``now`` lies within the hours."""
    zone = _zone(hours.zone)
    today = now.astimezone(zone).date()
    return any(_within(hours, today + timedelta(days=number), zone, now) for number in (-1, 0, 1))


def _within(hours: Quiet, day: date, zone: ZoneInfo, now: datetime) -> bool:
    """Return whether ``now`` lies within the hours that begin on the day."""
    if hours.weekdays and day.weekday() not in hours.weekdays:
        return False
    if hours.dates and not any(first <= day <= last for first, last in hours.dates):
        return False
    begins = datetime.combine(day, hours.start, zone)
    ends = datetime.combine(day + timedelta(days=hours.end <= hours.start), hours.end, zone)
    # Both to UTC: two times of one zone are compared by their clock faces.
    return begins.astimezone(UTC) <= now < ends.astimezone(UTC)


def silencer(silences: Iterable[Silence], labels: Labels, now: datetime) -> Silence | None:
    """Return a silence that is in force and accepts these labels."""
    return next((each for each in silences if accepted(each.matchers, labels) and active(each, now)), None)


def active(silence: Silence, now: datetime) -> bool:
    """Return whether a silence is in force; one that recurs, only during an occurrence."""
    return in_force_until(silence, now) is not None


def in_force_until(silence: Silence, now: datetime) -> datetime | None:
    """Return the end of a silence that is in force, or of its newest occurrence, in UTC; None while it is not."""
    if not silence.starts <= now < silence.ends:
        return None
    if not silence.rule:
        return silence.ends
    zone = _zone(silence.zone)
    rule = recurrence(silence.rule, silence.starts.astimezone(zone).replace(tzinfo=None))
    began = rule.newest(now, zone, silence.lasts)
    end = min(began + silence.lasts, silence.ends) if began is not None else now
    return end if now < end else None


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def by_labels(firing: Iterable[Mapping[str, str]]) -> tuple[Mapping[str, str], ...]:
    """Return label sets, each once."""
    return tuple({tuple(sorted(each.items())): each for each in firing}.values())
