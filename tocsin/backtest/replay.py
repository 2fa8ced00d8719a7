"""One rule on one target over recorded history: the live engine's verdicts and states, slot by slot.

While nothing is open and no slot is breached, nothing can happen: those slots are passed over. Which slots may be
breached is worked out for all of them at once, and never leaves one out that is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from tocsin.backtest.breaches import breaches
from tocsin.backtest.grid import Grid
from tocsin.backtest.series import Array, Recorded
from tocsin.core import alert as machine
from tocsin.core.alert import Alert, Change, Instance, State, Timing
from tocsin.core.config import Target
from tocsin.core.evaluate import Freshness, Measured
from tocsin.core.rule import Rule
from tocsin.core.signal import Signal

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Alive(Freshness):
    """The minutes of recorded history in which a target emitted anything, in order."""

    known: Sequence[datetime] = ()

    @classmethod
    def over(cls, minutes: Sequence[datetime]) -> Alive:
        """Return the freshness that these minutes make."""
        return cls(frozenset(), known=minutes)

    def at(self, slot: datetime, within: timedelta) -> bool:
        """Return whether anything arrived in ``[slot − within, slot)``, to the minute."""
        newest = bisect_left(self.known, slot) - 1
        return newest >= 0 and self.known[newest] > slot - within - _MINUTE

    def over_slots(self, grid: Grid, within: timedelta) -> Array:
        """Return for every slot whether anything arrived before it."""
        known = np.asarray([minute.timestamp() for minute in self.known])
        slots = grid.first.timestamp() + np.arange(grid.count) * grid.every.total_seconds()
        newest = np.searchsorted(known, slots) - 1
        ages = slots - known[np.maximum(newest, 0)] if len(known) else np.full(grid.count, np.inf)
        return (newest >= 0) & (ages < (within + _MINUTE).total_seconds())


@dataclass(frozen=True, slots=True)
class Step:
    """What one slot made of one alert: the alert after it, and what changed."""

    alert: Alert
    change: Change


@dataclass(slots=True)
class Course:
    """One rule on one target over its slots: every change, and every slot of every alert that was open.

    ``known`` is in how many slots something was known of the target; ``skipped`` how many were passed over.
    """

    rule: Rule
    target: Target
    signal: Signal | None
    grid: Grid
    sources: tuple[Recorded, ...]
    changes: list[Step] = field(default_factory=list)
    open: dict[str, list[Alert]] = field(default_factory=dict)
    """Every episode by its id: the alert after each of its slots."""
    spent: dict[State, timedelta] = field(default_factory=dict)
    """How long the rule stood in each state: the gravest of its instances' in each slot."""
    known: int = 0
    stepped: int = 0


def replayed(
    rule: Rule, target: Target, signal: Signal | None, grid: Grid, sources: Sequence[Recorded], alive: Alive
) -> Course:
    """Return the rule's course. The same verdicts and transitions as live, over whatever history holds."""
    counting = signal.counting if signal else False
    measured = Measured(rule, counting, tuple(sources))
    course = Course(rule, target, signal, grid, tuple(sources))
    living = alive.over_slots(grid, target.fresh_within)
    may, known = breaches(rule, sources, counting=counting, living=living)
    course.known = int(known.sum())
    timing, signature = Timing.of(rule), machine.signature(rule)
    alerts: dict[Instance, Alert] = {}
    for number in _stops(np.flatnonzero(may), grid.count, alerts):
        slot = grid.slot(number)
        course.stepped += 1
        for by, seen in measured.at(slot, alerts, alive, target.fresh_within).items():
            before = alerts.get(by) or Alert(rule.id, target.name, by, signature=signature)
            after, change = machine.transition(before, seen, timing, slot)
            alerts[by] = after
            _note(course, before, after, change)
        _spend(course, alerts)
        for by in [by for by, each in alerts.items() if each.idle]:
            del alerts[by]
    spent = sum(course.spent.values(), timedelta())
    course.spent[State.INACTIVE] = course.spent.get(State.INACTIVE, timedelta()) + grid.count * grid.every - spent
    return course


def _stops(may: Array, count: int, alerts: Mapping[Instance, Alert]) -> Iterator[int]:
    """Yield the slots that have to be judged: those that may be breached, and all while an alert is not idle."""
    number, at = -1, 0
    while True:
        if alerts:
            number += 1
        else:
            at = int(np.searchsorted(may, number + 1)) if at < len(may) else at
            if at >= len(may):
                return
            number = int(may[at])
        if number >= count:
            return
        yield number


def _note(course: Course, before: Alert, after: Alert, change: Change) -> None:
    if change not in (Change.STEADY, Change.OLD_SLOT):
        course.changes.append(Step(after, change))
    if after.open:
        course.open.setdefault(after.episode, []).append(after)
    elif before.open:
        course.open[before.episode].append(after)


_GRAVEST = (State.FIRING, State.RECOVERING, State.PENDING, State.INACTIVE)


def _spend(course: Course, alerts: Mapping[Instance, Alert]) -> None:
    states = {each.state for each in alerts.values()}
    gravest = next((state for state in _GRAVEST if state in states), State.INACTIVE)
    course.spent[gravest] = course.spent.get(gravest, timedelta()) + course.grid.every
