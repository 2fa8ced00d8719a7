"""Which numbers a condition can be about: one that can never hold, or always does, was meant in another unit."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tocsin.core.errors import Problem, did_you_mean
from tocsin.core.node import Node
from tocsin.core.rule import BurnRate, Change, Limits, Op, Rule
from tocsin.core.signal import Signal
from tocsin.core.units import amount

_SHARE = 10.0
"""A change above so many times is written with a percent sign, or is a slip: ``20`` for ``20%``."""


def condition_problems(rule: Rule, node: Node, signal: Signal | None) -> Iterator[Problem]:
    """Yield what a rule's numbers cannot be in the unit of what is measured."""
    when, unit = node.at("when"), signal.unit if signal else rule.when.unit
    yield from limit_problems(rule.when, when, unit, open_ended=signal is None)
    if rule.when.limit and signal is not None and always(rule.when, unit):
        place = when.at(rule.when.limit[0].value)
        yield place.problem("always-holds", f"values are {_range(unit)}: every one of them would be a breach")
    if rule.resolve:
        yield from limit_problems(rule.resolve, node.at("resolve"), unit, open_ended=signal is None)
        yield from _resolve_problems(rule.when, rule.resolve, node.at("resolve"))
    if rule.when.change:
        yield from _change_problems(rule.when.change, when.at("change", "more_than"))
    if rule.when.unusual and rule.when.unusual.score <= 0:
        place = when.at("unusual", "score")
        yield place.problem("always-holds", "a score of 0 or less: whatever is usual would be unusual")
    if rule.when.burn_rate:
        yield from _burn_problems(rule.when.burn_rate, when.at("burn_rate"))


def limit_problems(limits: Limits, node: Node, unit: str, *, open_ended: bool = False) -> Iterator[Problem]:
    """Yield a comparison that can never hold for values of this unit, and a percentage of what is no share.

    ``open_ended`` says that a query of one's own gives the values, which may be anything.
    """
    for op, limit in limits.limits:
        place = node.at(op.value)
        if (place.text or "").endswith("%") and unit not in ("", "ratio"):
            words = f"it is measured in {unit}: {place.text} would be {limit:g} {unit}"
            hint = did_you_mean(f"{limit * 100:g}") if unit == "percent" else f"write the number in {unit}"
            yield place.problem("bad-unit", words, hint)
        elif open_ended:
            continue
        elif limit > _most(unit) or (limit < 0 and unit not in ("", "days")):
            words = f"values are {_range(unit)}: '{op.value} {place.text}' {_holds(op, limit)}"
            meant = f"{limit:g}%" if unit == "ratio" and 1 < limit <= 100 else ""
            yield place.problem("out-of-range", words, did_you_mean(meant))
        elif (op is Op.ABOVE and limit == _most(unit)) or (op is Op.BELOW and limit == 0 and unit not in ("", "days")):
            yield place.problem("out-of-range", f"values are {_range(unit)}: '{op.value} {place.text}' never holds")


def always(limits: Limits, unit: str) -> bool:
    """Return whether every value of this unit satisfies a comparison."""
    least = [op is Op.AT_LEAST and limit == 0 and unit not in ("", "days") for op, limit in limits.limits]
    return any(least) or any(op is Op.AT_MOST and limit == _most(unit) for op, limit in limits.limits)


def _most(unit: str) -> float:
    return 1.0 if unit == "ratio" else math.inf


def _range(unit: str) -> str:
    return "between 0% and 100%" if unit == "ratio" else "0 or more"


def _holds(op: Op, limit: float) -> str:
    return "never holds" if (op in (Op.ABOVE, Op.AT_LEAST)) == (limit > 0) else "always holds"


def _resolve_problems(when: Limits, resolve: Limits, node: Node) -> Iterator[Problem]:
    """An alert that fires must not be over at the same value: it would come and go at every look."""
    if when.limit is None or resolve.limit is None:
        return
    (op, limit), (out, edge) = when.limit, resolve.limit
    high, falls = op in (Op.ABOVE, Op.AT_LEAST), out in (Op.BELOW, Op.AT_MOST)
    apart = edge <= limit if high else edge >= limit
    touching = edge == limit and op in (Op.AT_LEAST, Op.AT_MOST) and out in (Op.AT_LEAST, Op.AT_MOST)
    if high == falls and apart and not touching:
        return
    words = f"it fires {op.value} {limit:g} and would be over {out.value} {edge:g}: both hold for some values"
    better = f"`below: {limit:g}` or less" if high else f"`above: {limit:g}` or more"
    yield node.at(out.value).problem("bad-resolve", words, f"write the other side of the limit: {better}")


def _change_problems(change: Change, place: Node) -> Iterator[Problem]:
    if change.more_than < 0:
        yield place.problem("out-of-range", "only a rise is looked for: its share is 0% or more")
    elif change.more_than >= _SHARE and not (place.text or "").endswith("%"):
        words = f"'{place.text}' is a rise by {amount(change.more_than, 'ratio')}"
        yield place.problem("out-of-range", words, did_you_mean(f"{change.more_than:g}%"))


def _burn_problems(burn: BurnRate, node: Node) -> Iterator[Problem]:
    if all(limit >= 1 for _, _, limit in burn.pairs):
        words = "its limits are above 100% of all: no share of failures burns so large a budget so fast"
        yield node.at("objective").problem("out-of-range", words, "raise the objective, or say `alert: ticket`")
