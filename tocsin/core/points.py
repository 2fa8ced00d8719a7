"""What an answer's rows say: points of instances, one for each however their names are spelled."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from tocsin.core.alert import Instance, instance
from tocsin.core.answer import Rows
from tocsin.core.compile import Ask
from tocsin.core.condition import Point
from tocsin.core.limits import comparison
from tocsin.core.rule import Op, Rule
from tocsin.core.text import normalize

LONGEST_WORD = 1_000
"""Bytes of what a row says in evidence: it is stored with the alert, and told in its messages."""


def points_of(
    rule: Rule, ask: Ask, rows: Rows, counting: bool
) -> Iterator[tuple[tuple[datetime, int], Instance, Point]]:
    """Yield what an answer says: of which slot and which of its windows, of whom, and what.

    Rows whose dimensions differ only in spelling are of one instance, and one point. Rows that do not differ at all are
    as many points: whoever asked cannot tell them apart.
    """
    found: dict[tuple[tuple[datetime, int], Instance], dict[tuple[str, ...], list[Point]]] = {}
    for row in rows.dicts():
        texts = {name: str(row.get(name) or "") for name in rule.when.by}
        by, point = instance(texts), _point(row)
        for window in ask.at(int(row.get("_window") or 0)):
            found.setdefault(((window.slot, window.part), by), {}).setdefault(tuple(texts.values()), []).append(point)
    for (key, by), spellings in found.items():
        first = _one_of([points[0] for points in spellings.values()], rule, counting)
        for point in (first, *(again for points in spellings.values() for again in points[1:])):
            yield key, by, point


def _one_of(points: Sequence[Point], rule: Rule, counting: bool) -> Point:
    """Return what the spellings of one instance say together: counts add up, of all else the worst is believed.

    Of values that need a ``minimum`` the worst is sought among those that have it: one failed call of one is no ratio.
    """
    if len(points) == 1:
        return points[0]
    downwards = comparison(rule) in (Op.BELOW, Op.AT_MOST)
    least = max(1, rule.when.minimum or 1)

    def badness(point: Point) -> tuple[bool, bool, float]:
        enough = point.events is None or point.events >= least
        value = point.value or 0.0
        return enough, point.value is not None, -value if downwards else value

    worst = max(points, key=badness)
    refused = next((each.refused for each in points if each.refused), "")
    if not counting:
        return replace(worst, refused=refused)
    values = [each.value for each in points if each.value is not None]
    events = [each.events for each in points if each.events is not None]
    return Point(sum(values) if values else None, sum(events) if events else None, worst.detail, refused)


def _point(row: Mapping[str, Any]) -> Point:
    events = row.get("events")
    count, said = (
        None if events is None else int(events),
        {key: normalize(str(row.get(key) or ""), LONGEST_WORD) for key in ("detail", "refused")},
    )
    return Point(number(row.get("value")), count, **said)


def number(value: Any) -> float | None:
    """Return a finite number, or None for what is none: NaN and infinity say that nothing was divided by something."""
    number = float(value) if isinstance(value, int | float) else math.nan
    return number if math.isfinite(number) else None
