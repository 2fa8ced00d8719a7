"""What a plot of one rule's course needs: its values, the limit they were held against, and the states it was in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np

from tocsin.backtest.replay import Course
from tocsin.backtest.series import Array, Values
from tocsin.core import units
from tocsin.core.alert import Instance, State
from tocsin.core.instance import shown
from tocsin.core.limits import comparison
from tocsin.core.rule import Op, Rule, Unusual

_MOST_POINTS = 3_000
_MOST_LINES = 8
"""How many instances are drawn: those with the highest values."""


def plotted(course: Course) -> dict[str, Any]:
    """Return a rule's values over time for a plot: in each stretch the value nearest to, or furthest past, its limit.

    ``start`` and ``step`` are seconds since 1970 and between points; ``lines`` hold a value or null a point. ``limit``
    is one number for all of them, or null where each line has its own in ``limits``. ``bands`` are stretches outside
    ``inactive``: from, to, state, of all instances the gravest. ``unit`` is that of the values: a rule on how unusual
    they are is held against a score, and drawn as the values themselves with the limit that the score comes to.
    """
    grid, down = course.grid, comparison(course.rule) in (Op.BELOW, Op.AT_MOST)
    step = max(1, -(-grid.count // _MOST_POINTS))
    named = _lines(course, downwards=down)
    worst = sorted(named, key=lambda name: _extreme(named[name].value[0], downwards=down), reverse=True)[:_MOST_LINES]
    found: dict[str, Any] = {
        "start": grid.first.timestamp(),
        "step": step * grid.every.total_seconds(),
        "unit": course.signal.unit if course.signal else "count",
        "lines": {},
        "condition": condition(course),
        "limit": _fixed(course.rule),
        "limits": {},
        "bands": bands(course),
        "left_out": len(named) - len(worst),
    }
    for name in sorted(worst):
        drawn = _thinning(named[name].value[0], step, downwards=down)
        found["lines"][name] = _taken(named[name].value[0], drawn)
        own = _moving(course, named[name])
        if own is not None:
            found["limits"][name] = _taken(own, drawn)
    return found


def _lines(course: Course, *, downwards: bool) -> dict[str, Values]:
    """Return each instance's values: of several sources the one furthest past the limit, for each can breach alone.

    A source that only denies what others say has no value that could be past anything.
    """
    found: dict[str, Values] = {}
    for source in course.sources:
        for by, own in () if source.denies else source.instances.items():
            name, (now, *beside) = _named(by), own.value
            if name in found:
                now = (np.fmin if downwards else np.fmax)(found[name].value[0], now)
            found[name] = Values((now, *beside), own.events)
    return found


def _named(by: Instance) -> str:
    return ", ".join(f"{name} {value}" for name, value in shown(by).items()) or "value"


def _extreme(values: Array, *, downwards: bool) -> float:
    known = values[np.isfinite(values)]
    if not len(known):
        return -np.inf
    return float(-known.min() if downwards else known.max())


def _thinning(values: Array, step: int, *, downwards: bool) -> Array:
    """Return which slot is drawn of each stretch of ``step`` slots."""
    empty = np.inf if downwards else -np.inf
    filled = np.concatenate([np.where(np.isfinite(values), values, empty), np.full(-len(values) % step, empty)])
    rows = filled.reshape(-1, step)
    return (rows.argmin(axis=1) if downwards else rows.argmax(axis=1)) + np.arange(len(rows)) * step


def _taken(values: Array, drawn: Array) -> list[float | None]:
    return [float(f"{each:.6g}") if np.isfinite(each) else None for each in values[np.minimum(drawn, len(values) - 1)]]


# Limits


def condition(course: Course) -> str:
    """Return in words what values are held against, as a plot shows it."""
    when, unit = course.rule.when, course.signal.unit if course.signal else "count"
    if when.change:
        return f"limit {units.amount(when.change.more_than, 'ratio')} above {units.spell(when.change.versus)} earlier"
    if when.unusual:
        return f"limit at a score of {when.unusual.score:g} above what is usual"
    if when.burn_rate:
        return f"objective {units.amount(when.burn_rate.objective, 'ratio')}; the limit is of the first window"
    if when.absent_for:
        return f"nothing for {units.spell(when.absent_for)}"
    return f"limit {when.limit[0].value.replace('_', ' ')} {units.amount(when.limit[1], unit)}" if when.limit else ""


def _fixed(rule: Rule) -> float | None:
    if rule.when.burn_rate:
        return rule.when.burn_rate.windows[0][1]
    return rule.when.limit[1] if rule.when.limit else None


def _moving(course: Course, values: Values) -> Array | None:
    """Return the limit in each slot where it follows from earlier values; NaN where those are too few."""
    when = course.rule.when
    if when.change:
        return np.where(values.events[1] > 0, values.value[1] * (1 + when.change.more_than), np.nan)
    if not when.unusual:
        return None
    counting = bool(course.signal and course.signal.counting)
    nothing = 0.0 if counting else np.nan
    pairs = zip(values.value[1:], values.events[1:], strict=True)
    earlier = np.stack([np.where(events > 0, value, nothing) for value, events in pairs])
    return _unusual(when.unusual, earlier, 1.0 if counting else 0.0)


def _unusual(how: Unusual, earlier: Array, least: float) -> Array:
    """Return the value that has just the score the rule asks for: see ``core.condition.score``."""
    found = np.full(earlier.shape[1], np.nan)
    enough = np.flatnonzero(np.sum(~np.isnan(earlier), axis=0) >= how.history)
    if not len(enough):
        return found
    known = earlier[:, enough]
    median = np.nanmedian(known, axis=0)
    apart = np.abs(known - median)
    mad = np.nanmedian(apart, axis=0)
    spread = np.where(mad > 0, mad / 0.6745, 1.2533 * np.nanmean(apart, axis=0))
    found[enough] = median + how.score * np.maximum(spread, np.maximum(np.abs(median) / 10, max(least, 1e-9)))
    return found


# States

_GRAVEST = (State.FIRING, State.RECOVERING, State.PENDING)


def bands(course: Course) -> list[tuple[float, float, str]]:
    """Return the stretches in which any instance was not inactive, with the gravest state of all of them."""
    stretches = list(_stretches(course))
    marks = sorted({at for begin, end, _ in stretches for at in (begin, end)})
    ends, found = {begin: [one for one in stretches if one[0] == begin] for begin in marks}, []
    running: list[tuple[datetime, datetime, State]] = []
    for begin, end in pairwise(marks):
        running = [one for one in running if one[1] > begin] + ends[begin]
        states = {one[2] for one in running}
        if states:
            gravest = next(state for state in _GRAVEST if state in states)
            found.append((begin.timestamp(), end.timestamp(), gravest.value))
    return _joined(found)


def _stretches(course: Course) -> Iterator[tuple[datetime, datetime, State]]:
    """Yield how long each instance stayed in each state that is not inactive."""
    until = course.grid.slot(course.grid.count - 1) + course.grid.every
    by_instance: dict[Instance, list[tuple[datetime, State]]] = {}
    for each in course.changes:
        if each.alert.slot:
            by_instance.setdefault(each.alert.by, []).append((each.alert.slot, each.alert.state))
    for own in by_instance.values():
        for (begin, state), (end, _) in pairwise([*own, (until, State.INACTIVE)]):
            if state is not State.INACTIVE and end > begin:
                yield begin, end, state


def _joined(found: list[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    joined: list[tuple[float, float, str]] = []
    for begin, end, state in found:
        if joined and joined[-1][1] == begin and joined[-1][2] == state:
            joined[-1] = (joined[-1][0], end, state)
        else:
            joined.append((begin, end, state))
    return joined
