"""A rule's one condition, held against one measured value: breached, clear, or not to be said."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tocsin.core.alert import Seen, Verdict
from tocsin.core.rule import BurnRate, Rule, Unusual, When

NO_EVENTS = "no `events` to hold against `minimum`"
"""Why a query of one's own cannot be judged: it says nothing of how many events there were."""


@dataclass(frozen=True, slots=True)
class Point:
    """One measured value: how many events it rests on (None: not counted) and a safe word of evidence."""

    value: float | None
    events: int | None = None
    detail: str = ""
    refused: str = ""
    """Why a part of it could not be read: what is left proves a breach, and never that all is well."""


def judge(rule: Rule, now: Point, beside: Mapping[int, Point], *, counting: bool, opened: bool) -> Seen:
    """Return what the value says. ``beside`` are the points that it is held against, by their window's number.

    ``counting`` values rest on however few events there are; all others on at least ``minimum``. While the alert is
    ``opened`` a rule with ``resolve`` is clear by that condition alone.
    """
    if rule.when.absent_for:
        return Seen(Verdict.CLEAR, now.value, "it is there")
    if rule.when.change:
        return _few(rule, now) or _changed(rule, now, beside, counting)
    if rule.when.unusual:
        return (None if counting else _few(rule, now)) or _unusual(rule.when, rule.when.unusual, now, beside, counting)
    if rule.when.burn_rate:
        return _burning(rule.when.burn_rate, rule, {0: now, **beside})
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
    if len(seen) == 1:
        return seen[0]
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
        return Seen(Verdict.UNKNOWN, point.value, NO_EVENTS) if least else None
    return Seen(Verdict.UNKNOWN, point.value, "too little traffic") if point.events < max(1, least or 1) else None


def _changed(rule: Rule, now: Point, beside: Mapping[int, Point], counting: bool) -> Seen:
    """Judge a rise against the same window earlier: a fall is none. The value seen is the rise as a share of then.

    Of a sum that began within the earlier window nobody knows what it would have been: something has to be there
    before. Of a count the engine says from when on no row means none.
    """
    change, then = rule.when.change, beside.get(1)
    if change is None or now.value is None:
        return Seen(Verdict.UNKNOWN, reason="no value")
    if then is None or not then.value:
        return Seen(Verdict.UNKNOWN, reason="nothing to compare with")
    if _few(rule, then):
        return Seen(Verdict.UNKNOWN, reason="too little traffic to compare with")
    if not counting and not _there(beside.get(2)):
        return Seen(Verdict.UNKNOWN, reason="nothing is known from before the earlier window: it may not be whole")
    rise = (now.value - then.value) / abs(then.value)
    detail = f"{now.value:.6g} against {then.value:.6g} before"
    return _verdict(rise > change.more_than, replace(now, value=rise, detail=detail))


def _unusual(when: When, how: Unusual, now: Point, beside: Mapping[int, Point], counting: bool) -> Seen:
    """Judge how far the value is above what is usual. The value seen is the score.

    A window in which a count has no row is one in which it did not happen; of it a whole event counts as a deviation.
    The oldest window with a value is left out where nothing is known from before it: it may not be whole.
    """
    backs = how.looks(when.over)
    looks = {part: each for part, each in beside.items() if part <= len(backs)}
    known = {part: each.value for part, each in looks.items() if each.value is not None}
    if known and not counting and not _there(beside.get(len(backs) + 1)):
        del known[max(known, key=lambda part: backs[part - 1])]
    values = list(known.values())
    if counting:
        values += [0.0] * (len(backs) - len(looks))
    if now.value is None or len(values) < how.history:
        return Seen(Verdict.UNKNOWN, reason=f"{len(values)} earlier windows with a value, {how.history} are needed")
    found = score(now.value, values, 1.0 if counting else 0.0)
    detail = f"{now.value:.6g} against a usual {statistics.median(values):.6g} in {len(values)} windows"
    return _verdict(found > how.score, replace(now, value=found, detail=detail))


def _there(point: Point | None) -> bool:
    """Return whether anything happened: an author's own query may answer with 0 where nothing did."""
    return point is not None and bool(point.value if point.events is None else point.events)


def score(value: float, usual: Sequence[float], least: float = 0.0) -> float:
    """Return how many deviations ``value`` is above the median of ``usual``: Iglewicz and Hoaglin's modified z-score.

    0.6745 (x − median) / MAD; where more than half are alike the mean absolute deviation takes the MAD's place. A tenth
    of the median counts as a deviation at least, and ``least``: what hardly varies is not unusual for a small rise.
    """
    median = statistics.median(usual)
    deviations = [abs(each - median) for each in usual]
    mad = statistics.median(deviations)
    spread = mad / 0.6745 if mad else 1.2533 * statistics.fmean(deviations)
    return (value - median) / max(spread, abs(median) / 10, least, 1e-9)


def _burning(how: BurnRate, rule: Rule, points: Mapping[int, Point]) -> Seen:
    """Judge whether a budget burns too fast over a long window and its short one. The value seen is the worst ratio."""
    known = [(points.get(part), limit) for part, (_, limit) in enumerate(how.windows)]
    burning = [
        point is not None and point.value is not None and not _few(rule, point) and point.value > limit
        for point, limit in known
    ]
    values = [point.value for point, _ in known if point is not None and point.value is not None]
    if any(long and short for long, short in zip(burning[::2], burning[1::2], strict=True)):
        return Seen(Verdict.BREACHED, max(values), "condition holds")
    longest = known[0][0]
    if longest is None or _few(rule, longest):
        return Seen(Verdict.UNKNOWN, max(values, default=None), "too little traffic")
    return Seen(Verdict.CLEAR, max(values), "condition does not hold")


def _verdict(breached: bool, point: Point) -> Seen:
    if breached:
        return Seen(Verdict.BREACHED, point.value, "condition holds", point.detail)
    return Seen(Verdict.CLEAR, point.value, "condition does not hold")
