"""Readings become rows: numbers that were read elsewhere than in the workspace, folded by window and instance."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tocsin.core.answer import NoAnswer, Query, Rows, Why
from tocsin.core.compile import Ask, Window
from tocsin.core.signal import Gauge


@dataclass(frozen=True, slots=True)
class Reading:
    """One number as it was read.

    ``at`` is the minute it speaks of, None for now. A ``value`` of None says that it could not be read, and ``why``.
    ``labels`` tell series apart; ``detail`` is a safe word of evidence.
    """

    name: str
    value: float | None
    labels: Mapping[str, str] = field(default_factory=dict)
    at: datetime | None = None
    detail: str = ""
    why: str = ""


def asks(windows: Sequence[Window]) -> tuple[Ask, ...]:
    """Return one ask a window; they hold no query, for there is no text to ask."""
    return tuple(Ask(Query("", window.start, window.end), (window,)) for window in windows)


def answer(gauge: Gauge, readings: Sequence[Reading], ask: Ask, by: Sequence[str], newest: datetime) -> Rows | NoAnswer:
    """Return what the readings say of the ask's window, a row an instance, in the columns that queries answer with.

    What was read now belongs to the newest slot: of an older one nobody knows what would have been read then.
    """
    mine = [each for each in readings if each.name == gauge.reading]
    if gauge.instant and ask.windows[0].slot != newest:
        return NoAnswer(Why.LATER, "nothing was read at that time")
    inside = [each for each in mine if each.at is None or ask.query.start <= each.at < ask.query.end]
    rows = [_row(gauge, label, group) for label, group in _grouped(inside, by)]
    return Rows(("_window", *by, "value", "events", "detail", "refused"), tuple((0, *row) for row in rows))


def _grouped(readings: Iterable[Reading], by: Sequence[str]) -> list[tuple[tuple[str, ...], list[Reading]]]:
    found: dict[tuple[str, ...], list[Reading]] = {}
    for each in readings:
        found.setdefault(tuple(each.labels.get(name, "") for name in by), []).append(each)
    return list(found.items())


_TWO = 2


def _row(gauge: Gauge, label: tuple[str, ...], group: Sequence[Reading]) -> tuple[object, ...]:
    known = [each for each in group if each.value is not None]
    refused = next((each.why for each in group if each.value is None), "")
    if not known:
        return (*label, None, None, "", refused)
    series = _series(known)
    if gauge.fold == "rise":
        if all(len(values) < _TWO for values in series):  # of one value nobody knows whether it rose
            return (*label, None, len(known), "", refused)
        value = sum(_rise(values) for values in series)
    else:
        value = _FOLDS[gauge.fold]([each for values in series for each in values])
    worst = next((each.detail for each in known if each.value == value), "")
    return (*label, value * gauge.scale, len(known), worst, refused)


def _series(readings: Sequence[Reading]) -> list[list[float]]:
    """Return the values of each series in the order of time."""
    found: dict[tuple[tuple[str, str], ...], list[float]] = {}
    for each in sorted(readings, key=lambda each: each.at.timestamp() if each.at else 0.0):
        found.setdefault(tuple(sorted(each.labels.items())), []).append(each.value or 0.0)
    return list(found.values())


def _rise(values: Sequence[float]) -> float:
    """Return by how much a counter rose; where it fell it began anew, as that of a new replica does."""
    return sum(max(0.0, after - before) for before, after in itertools.pairwise(values))


_FOLDS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "max": max,
    "min": min,
    "mean": statistics.fmean,
    "sum": sum,
}
