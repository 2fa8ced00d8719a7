"""Which slots may be breached, for all slots at once: never too few of them, so that the rest can be passed over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

import numpy as np

from tocsin.backtest.series import Array, Recorded, Values
from tocsin.core.rule import BurnRate, Change, Op, Rule, Unusual

_SLACK = 1e-9
"""How far a value may lie below its limit and still be looked at: a sum depends on the order of what is added."""


def breaches(rule: Rule, sources: Sequence[Recorded], *, counting: bool, living: Array) -> tuple[Array, Array]:
    """Return for every slot whether the rule may be breached in it while nothing is open, and whether it is known."""
    may = np.zeros(len(living), dtype=bool)
    known = np.zeros(len(living), dtype=bool)
    if rule.on_silence == "fire":
        may |= ~living
    for source in sources:
        if source.denies:
            continue
        some = np.zeros(len(living), dtype=bool)
        for values in source.instances.values():
            enough = values.events[0] >= (1 if counting else max(1, rule.when.minimum or 1))
            found = values.events[0] > 0
            may |= found & _breached(rule, values, counting=counting)
            known |= enough
            some |= found
        known |= _known_absent(rule, counting=counting) & living & ~some
        may |= _breached_absent(rule, counting=counting) & ~some
    return may, known


def _known_absent(rule: Rule, *, counting: bool) -> bool:
    """Whether something is known of a slot without rows, on a target that is alive."""
    return rule.when.absent_for is not None or counting


def _breached_absent(rule: Rule, *, counting: bool) -> bool:
    """Whether a slot without rows may be breached."""
    if rule.when.by:
        return False
    if rule.when.absent_for:
        return True
    return bool(counting and rule.when.limit and rule.when.limit[0].holds(0.0, rule.when.limit[1]))


def _breached(rule: Rule, values: Values, *, counting: bool) -> Array:
    when = rule.when
    if when.absent_for:
        return np.zeros(len(values.value[0]), dtype=bool)
    if when.change:
        return _changed(when.change, values)
    if when.unusual:
        return _unusual(when.unusual, values, when.unusual.looks(when.over), counting=counting)
    if when.burn_rate:
        return _burning(when.burn_rate, values)
    if when.limit is None:
        return np.zeros(len(values.value[0]), dtype=bool)
    return _beyond(*when.limit, values.value[0])


def _beyond(op: Op, limit: float, value: Array) -> Array:
    slack = _SLACK * max(1.0, abs(limit))
    holds: dict[Op, Callable[[Array], Array]] = {
        Op.ABOVE: lambda found: found > limit - slack,
        Op.AT_LEAST: lambda found: found >= limit - slack,
        Op.BELOW: lambda found: found < limit + slack,
        Op.AT_MOST: lambda found: found <= limit + slack,
    }
    return holds[op](value)


def _changed(change: Change, values: Values) -> Array:
    now, then = values.value[0], np.where(values.events[1] > 0, values.value[1], np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (now - then) / np.abs(then) > change.more_than - _SLACK


def _leave_out_the_oldest(earlier: Array, backs: Sequence[timedelta], whole: Array) -> None:
    """Leave out the oldest value of each slot before whose windows nothing is known."""
    order = np.argsort([-back.total_seconds() for back in backs], kind="stable")
    there = ~np.isnan(earlier[order])
    slots = np.flatnonzero(there.any(axis=0) & ~whole)
    earlier[order[there.argmax(axis=0)[slots]], slots] = np.nan


def _unusual(how: Unusual, values: Values, backs: Sequence[timedelta], *, counting: bool) -> Array:
    """A score above the limit is a value above the median by that many tenths of it, and more than so many others."""
    now = values.value[0]
    earlier = np.stack([np.where(events > 0, value, 0.0 if counting else np.nan)
                        for value, events in zip(values.value[1:-1], values.events[1:-1], strict=True)])  # fmt: skip
    if not counting:
        _leave_out_the_oldest(earlier, backs, values.events[-1] > 0)
    enough = np.flatnonzero(np.sum(~np.isnan(earlier), axis=0) >= how.history)
    may = np.zeros(len(now), dtype=bool)
    if len(enough):
        median = np.nanmedian(earlier[:, enough], axis=0)
        least = median + how.score * np.maximum(np.abs(median) / 10, 1.0 if counting else 0.0)
        may[enough] = now[enough] > least - _SLACK * np.maximum(1.0, np.abs(least))
    return may


def _burning(how: BurnRate, values: Values) -> Array:
    over = [
        (events > 0) & (value > limit - _SLACK)
        for value, events, (_, limit) in zip(values.value, values.events, how.windows, strict=True)
    ]
    return np.any([long & short for long, short in zip(over[::2], over[1::2], strict=True)], axis=0)
