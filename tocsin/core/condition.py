"""A rule's one condition, held against one measured value: breached, clear, or not to be said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tocsin.core.alert import Seen, Verdict
from tocsin.core.rule import Rule


@dataclass(frozen=True, slots=True)
class Point:
    """One measured value: how many events it rests on (None: not counted) and a safe word of evidence."""

    value: float | None
    events: int | None = None
    detail: str = ""


def judge(rule: Rule, now: Point, then: Point | None, *, counting: bool, opened: bool) -> Seen:
    """Return what the value says. ``then`` is the one of the same window earlier, for a change.

    ``counting`` values rest on however few events there are; all others on at least ``minimum``. While the alert is
    ``opened`` a rule with ``resolve`` is clear by that condition alone.
    """
    if rule.when.change:
        return _few(rule, now) or _changed(rule, now, then)
    return (None if counting else _few(rule, now)) or compare(rule, now, opened)


def compare(rule: Rule, point: Point, opened: bool) -> Seen:
    """Return whether the value satisfies the rule's comparison; an open alert is held by ``resolve``, if there is one.

    A rule without a comparison, or a value that is none, is unknown.
    """
    if point.value is None or rule.when.limit is None:
        return Seen(Verdict.UNKNOWN, reason="no value")
    if opened and rule.resolve and rule.resolve.limit:
        op, limit = rule.resolve.limit
        return _verdict(not op.holds(point.value, limit), point)
    op, limit = rule.when.limit
    return _verdict(op.holds(point.value, limit), point)


def together(seen: Sequence[Seen]) -> Seen:
    """Return the verdict of several sources: a breach in any stands; else an unknown in any; else clear.

    The value is the sum over the sources that say so.
    """
    if not seen:
        return Seen(Verdict.UNKNOWN, reason="no source knows this instance")
    by_verdict = {verdict: [each for each in seen if each.verdict is verdict] for verdict in Verdict}
    found = by_verdict[Verdict.BREACHED] or by_verdict[Verdict.UNKNOWN] or by_verdict[Verdict.CLEAR]
    values = [each.value for each in found if each.value is not None]
    return replace(
        found[0],
        value=values[0] if len(values) == 1 else sum(values) if values else None,
        detail="; ".join(each.detail for each in found if each.detail),
        missing=max(each.missing for each in found),
    )


def _few(rule: Rule, point: Point) -> Seen | None:
    """Return unknown when the value rests on too few events to mean anything; one is always needed."""
    least = rule.when.minimum
    if point.events is None:
        return Seen(Verdict.UNKNOWN, point.value, "no `events` to hold against `minimum`") if least else None
    return Seen(Verdict.UNKNOWN, point.value, "too little traffic") if point.events < max(1, least or 1) else None


def _changed(rule: Rule, now: Point, then: Point | None) -> Seen:
    """Judge a rise against the same window earlier: a fall is none. The value seen is the rise as a share of then."""
    change = rule.when.change
    if change is None or now.value is None:
        return Seen(Verdict.UNKNOWN, reason="no value")
    if then is None or not then.value:
        return Seen(Verdict.UNKNOWN, reason="nothing to compare with")
    if _few(rule, then):
        return Seen(Verdict.UNKNOWN, reason="too little traffic to compare with")
    rise = (now.value - then.value) / abs(then.value)
    detail = f"{now.value:.6g} against {then.value:.6g} before"
    return _verdict(rise > change.more_than, replace(now, value=rise, detail=detail))


def _verdict(breached: bool, point: Point) -> Seen:
    if breached:
        return Seen(Verdict.BREACHED, point.value, "condition holds", point.detail)
    return Seen(Verdict.CLEAR, point.value, "condition does not hold")
