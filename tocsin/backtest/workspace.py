"""The history in a live workspace: one binned query a measure and stretch of days."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from tocsin.backtest.aggregates import Sum
from tocsin.backtest.grid import Grid
from tocsin.backtest.measures import Measure, NotAnswered, text, told_apart
from tocsin.backtest.series import Array, Bins
from tocsin.core import kql
from tocsin.core.alert import Instance
from tocsin.core.answer import NoAnswer, Query, Rows
from tocsin.core.compile import ARRIVED, bounds, freshness, let, stretch
from tocsin.core.config import Target
from tocsin.ports import Telemetry

_CHUNK = timedelta(days=5)
"""How much of a workspace's history one query reads: a query answers with half a million rows at most."""


class WorkspaceHistory:
    """The history in a live workspace: one binned query a measure and stretch of days."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    @property
    def telemetry(self) -> Telemetry:
        """The workspace."""
        return self._telemetry

    def minutes(self, target: Target, start: datetime, end: datetime) -> list[datetime]:
        """Return the minutes in which the target emitted anything. Raises NotAnswered."""
        found: set[datetime] = set()
        for begin, finish in _stretches(start, end):
            found |= {row["minute"] for row in self._asked(freshness(target, begin, finish), target).dicts()}
        return sorted(found)

    def expect(self, target: Target, measures: Sequence[Measure], start: datetime, end: datetime) -> None:
        """Nothing is read before it is asked."""

    def takes(self, measure: Measure) -> bool:
        """Return whether the measure can be asked in bins: not a percentile, which takes every single number."""
        return isinstance(measure.value, Sum)

    def bins(self, target: Target, measure: Measure, grid: Grid) -> dict[Instance, Bins]:
        """Return each instance's bins. Raises NotAnswered."""
        columns: dict[str, list[Any]] = {}
        for begin, finish in _stretches(grid.origin, grid.end, grid.width):
            rows = self._asked(_binned(measure, target, grid, begin, finish), target)
            first = (begin - grid.origin) // grid.width
            for name in rows.columns:
                place = rows.columns.index(name)
                found = [row[place] for row in rows.rows]
                columns.setdefault(name, []).extend(number + first for number in found) if name == "_bin" else (
                    columns.setdefault(name, []).extend(found)
                )
        return told_apart(measure, {name: _array(each) for name, each in columns.items()}, {}) if columns else {}

    def _asked(self, query: Query, target: Target) -> Rows:
        answer = self._telemetry.ask(query, target)
        if isinstance(answer, NoAnswer):
            raise NotAnswered(f"{answer.why.value} {answer.detail}".strip())
        return answer


def _array(column: list[Any]) -> Array:
    if all(isinstance(each, int) for each in column):
        return np.asarray(column, dtype=np.int64)
    if any(isinstance(each, str) for each in column):
        return np.asarray(column, dtype=object)
    return np.asarray([np.nan if each is None else each for each in column], dtype=float)


def _stretches(
    start: datetime, end: datetime, width: timedelta = timedelta(minutes=1)
) -> list[tuple[datetime, datetime]]:
    length, found = max(1, _CHUNK // width) * width, []
    while start < end:
        found.append((start, min(end, start + length)))
        start += length
    return found


def _binned(measure: Measure, target: Target, grid: Grid, start: datetime, end: datetime) -> Query:
    """Return the query for one stretch; bins are numbered from its start."""
    first, last = stretch(measure.part, start, end)
    moment = ARRIVED if measure.part.arrivals else "TimeGenerated"
    begin, finish = kql.time(start), kql.time(end)
    source = f"{measure.part.table} | where {bounds(target)} | where {moment} >= {begin} and {moment} < {finish}"
    place = f"tolong(({moment} - {begin}) / {kql.span(grid.width)})"
    return Query(let(first, last) + text(measure, {}, source, place), first, last)
