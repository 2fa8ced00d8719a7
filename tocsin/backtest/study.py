"""A whole backtest: every rule on every target it watches, over one history, and what could not be replayed and why."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tocsin.backtest.aggregates import Sum, apart
from tocsin.backtest.grid import Grid, grid
from tocsin.backtest.measures import History, Measure, NotAnswered
from tocsin.backtest.one_by_one import asked
from tocsin.backtest.replay import Alive, Course, replayed
from tocsin.backtest.series import Bins, Recorded, values
from tocsin.core.alert import Instance
from tocsin.core.compile import held_against_the_past, measured_by
from tocsin.core.config import Target
from tocsin.core.read import Project
from tocsin.core.rule import Rule
from tocsin.core.schedule import selects
from tocsin.core.signal import Configured, Gauge, Logs, Signal


@dataclass(frozen=True, slots=True)
class Unplayed:
    """A rule, or a part of what it measures, that history says nothing of."""

    rule: str
    target: str
    why: str
    unanswered: bool = False
    """Whether history was asked and did not say, and might if it is asked again."""


@dataclass(frozen=True, slots=True)
class Study:
    """What came of a backtest over ``[start, end)``."""

    start: datetime
    end: datetime
    courses: tuple[Course, ...]
    unplayed: tuple[Unplayed, ...]
    partly: tuple[Unplayed, ...] = ()
    """Rules that were judged by a part of what they measure."""


@dataclass(frozen=True, slots=True)
class Watched:
    """One rule on one target, as it is judged there."""

    rule: Rule
    target: Target
    signal: Signal | None
    grid: Grid


def nothing(_: int) -> None:
    """Take no notice."""


_Place = tuple[str, str, str, str, timedelta]


def _place(target: Target) -> _Place:
    """Return whose rows a target's are: under one name, before and after a change, they may be another role's."""
    return target.name, target.workspace, target.application_insights, target.role_name, target.fresh_within


@dataclass(slots=True)
class Studies:
    """Backtests over one history. What was read for one is not read again for the next."""

    history: History
    signals: Mapping[str, Signal]
    start: datetime
    end: datetime
    moved: Callable[[int], None] = nothing
    """Told how many slots were worked through."""
    _series: dict[tuple[object, ...], Recorded] = field(default_factory=dict)
    _alive: dict[_Place, Alive] = field(default_factory=dict)
    _bins: dict[tuple[object, ...], tuple[Grid, dict[Instance, Bins]]] = field(default_factory=dict)
    _read: dict[_Place, tuple[timedelta, dict[Measure, None]]] = field(default_factory=dict)
    """What was read of each target: how far before the start, and for which measures."""

    def watched(self, project: Project, rules: Collection[str] | None = None) -> list[Watched]:
        """Return every enabled rule (or of those the named ones) on every target it is about."""
        found = []
        for target in project.config.targets:
            for rule in project.rules:
                wanted = rule.enabled and (rules is None or rule.id in rules) and selects(rule, target)
                slots = grid(rule, target.name, self.start, self.end) if wanted else None
                if slots:
                    held = project.held_to(rule, target.name)
                    found.append(Watched(held, target, self.signals.get(rule.when.signal or ""), slots))
        return found

    def study(self, watched: Sequence[Watched]) -> Study:
        """Replay them and return what came of it. Raises NotAnswered when history says nothing at all."""
        self._expect(watched)
        courses, unplayed, partly = [], [], []
        for each in watched:
            name = each.rule.id, each.target.name
            try:
                sources = [self._source(each, source) for source in _replayable(each)]
            except (NotAnswered, ValueError) as error:
                unplayed.append(Unplayed(*name, str(error), isinstance(error, NotAnswered)))
                continue
            finally:
                self.moved(each.grid.count)
            missing = _missing(each)
            if all(source.denies for source in sources) or _unconfirmed(each):
                unplayed.append(Unplayed(*name, missing))
                continue
            partly += [Unplayed(*name, missing)] if missing else []
            alive = replace(self._living(each.target), since=self._since(each))
            courses.append(replayed(each.rule, each.target, each.signal, each.grid, sources, alive))
        return Study(self.start, self.end, tuple(courses), tuple(unplayed), tuple(partly))

    def _expect(self, watched: Sequence[Watched]) -> None:
        for place, target in {_place(each.target): each.target for each in watched}.items():
            own = [each for each in watched if _place(each.target) == place]
            measures = [made for each in own for source in _replayable(each) if (made := self._measure(each, source))]
            before, read = self._read.get(place, (timedelta(), {}))
            reach = max([before, *(each.grid.first - each.grid.origin for each in own)])
            if reach > before or any(each not in read for each in measures):
                self._read[place] = reach, {**read, **dict.fromkeys(measures)}
                self.history.expect(target, list(self._read[place][1]), self.start - reach, self.end)

    def _measure(self, each: Watched, source: Logs | None) -> Measure | None:
        if each.signal is None or source is None:
            return None
        part = measured_by(each.rule, each.signal, source, each.target)
        value, events = apart(part.value), apart(part.events)
        if value is None or not isinstance(events, Sum):
            return None
        made = Measure(part, value, events)
        return made if self.history.takes(made) else None

    def _source(self, each: Watched, source: Logs | None) -> Recorded:
        measure = self._measure(each, source)
        if measure is None:
            return asked(each.rule, each.signal, source, each.target, each.grid, self.history.telemetry, nothing)
        key = (_place(each.target), measure, each.grid)
        if key not in self._series:
            whole, bins = self._binned(each.target, measure, each.grid)
            made = {by: values(own, measure.value, measure.events, whole) for by, own in bins.items()}
            self._series[key] = Recorded(each.grid, made, bool(source and source.denies))
        return self._series[key]

    def _binned(self, target: Target, measure: Measure, own: Grid) -> tuple[Grid, dict[Instance, Bins]]:
        """Return the bins of a grid as part of those of the farthest reach, which serve every rule that measures it."""
        reach = self._read[_place(target)][0] // own.width * own.width
        whole = replace(own, origin=min(own.origin, own.first - reach))
        key = (_place(target), measure, whole.origin, whole.width)
        known = self._bins.get(key)
        if known is None or known[0].bins < whole.bins:
            self._bins[key] = known = whole, self.history.bins(target, measure, whole)
        return whole, known[1]

    def _living(self, target: Target) -> Alive:
        place = _place(target)
        if place not in self._alive:
            begin = self.start - target.fresh_within - timedelta(minutes=1)
            self._alive[place] = Alive.over(self.history.minutes(target, begin, self.end))
        return self._alive[place]

    def _since(self, each: Watched) -> datetime | None:
        """Return when the target is first known, for a count that is held against the past: see the live engine's."""
        if each.signal is None or not each.signal.counting or not held_against_the_past(each.rule.when):
            return None
        return next(iter(self.history.minutes(each.target, each.grid.origin, self.end)), self.end)


def _replayable(each: Watched) -> list[Logs | None]:
    """Return the sources whose rows are in the logs; None stands for an author's own query."""
    if each.signal is None:
        return [None]
    return [source for source in each.signal.asked(each.rule.when.only) if isinstance(source, Logs)]


def _unconfirmed(each: Watched) -> bool:
    """Return whether a breach counts only where something confirms it that history does not hold."""
    sources = each.signal.asked(each.rule.when.only) if each.signal else ()
    return any(isinstance(source, Gauge) and source.confirms for source in sources)


def _missing(each: Watched) -> str:
    """Return what the rule measures besides that history does not hold."""
    sources = each.signal.asked(each.rule.when.only) if each.signal else ()
    kinds = [
        *("the app's configuration" for source in sources if isinstance(source, Configured)),
        *(f"{source.meter}" for source in sources if isinstance(source, Gauge)),
    ]
    return f"no history of {' and '.join(dict.fromkeys(kinds))}" if kinds else ""
