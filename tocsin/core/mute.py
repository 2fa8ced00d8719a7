"""Who is not told, and why: inhibited by another alert, in quiet hours, or silenced. Muting never touches the state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import cache
from typing import TYPE_CHECKING

from tocsin.core.inhibition import Inhibit, Inhibited, inhibited
from tocsin.core.matching import Labels, Matcher, accepted, spelled

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Quiet:
    """Hours in which what ``matchers`` accept is not told. Without ``weekdays`` or ``dates`` on every day.

    ``start`` after ``end`` goes over midnight; the night belongs to the day on which it began.
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

    With ``rule`` (an RFC 5545 RRULE, from ``starts`` on in ``zone``) it recurs for ``lasts`` each time until ``ends``.
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
        found = next((each for each in self.quiet if quiet(each, now) and accepted(each.matchers, labels)), None)
        return f"quiet hours: {found.name}" if found else ""

    def _silenced(self, labels: Labels, now: datetime) -> str:
        found = silencer(self.silences, labels, now)
        return f"silenced by {found.author} until {found.ends:%Y-%m-%d %H:%M} UTC: {found.comment}" if found else ""


def quiet(hours: Quiet, now: datetime) -> bool:
    """Return whether ``now`` lies within the hours, by the clock on the wall there."""
    local = now.astimezone(_zone(hours.zone))
    day, at = local.date(), local.time().replace(tzinfo=None)
    if hours.start < hours.end:
        within = hours.start <= at < hours.end
    else:
        within = at >= hours.start or at < hours.end
        day -= timedelta(days=1) if at < hours.end else timedelta()
    on_day = not hours.weekdays or day.weekday() in hours.weekdays
    in_dates = not hours.dates or any(first <= day <= last for first, last in hours.dates)
    return within and on_day and in_dates


def silencer(silences: Iterable[Silence], labels: Labels, now: datetime) -> Silence | None:
    """Return a silence that is in force and accepts these labels."""
    return next((each for each in silences if active(each, now) and accepted(each.matchers, labels)), None)


def active(silence: Silence, now: datetime) -> bool:
    """Return whether a silence is in force; one that recurs, only during an occurrence."""
    if not silence.starts <= now < silence.ends:
        return False
    if not silence.rule:
        return True
    latest = _latest(silence.rule, silence.starts, silence.zone, now)
    return latest is not None and now < latest + silence.lasts


def _latest(rule: str, starts: datetime, zone: str, now: datetime) -> datetime | None:
    """Return when the newest occurrence began. Reckoned by the wall clock, so that it keeps its hour in summer."""
    local = _zone(zone)
    first = starts.astimezone(local).replace(tzinfo=None)
    found: datetime | None = recurrence(rule, first).before(now.astimezone(local).replace(tzinfo=None), inc=True)
    return found.replace(tzinfo=local) if found else None


@cache
def recurrence(rule: str, first: datetime):  # type: ignore[no-untyped-def]
    """Return the occurrences of an RRULE. Raises ValueError for one that is none."""
    from dateutil.rrule import rrulestr

    return rrulestr(rule, dtstart=first)


@cache
def _zone(name: str) -> ZoneInfo:
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


def in_words(silence: Silence) -> str:
    """Return what a silence is about, on one line."""
    again = f", {silence.rule} for {silence.lasts}" if silence.rule else ""
    return f"{spelled(silence.matchers)} until {silence.ends:%Y-%m-%d %H:%M} UTC{again}"


def by_labels(firing: Iterable[Mapping[str, str]]) -> tuple[Mapping[str, str], ...]:
    """Return label sets, each once."""
    return tuple({tuple(sorted(each.items())): each for each in firing}.values())
