"""Windows asked one by one, for what has no bins: an author's own query, a percentile of a workspace.

It is the live query over many windows at a time, and takes the longer the more there are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

import numpy as np

from tocsin.backtest.grid import Grid
from tocsin.backtest.measures import NotAnswered
from tocsin.backtest.series import Array, Recorded, Values
from tocsin.core import kql
from tocsin.core.alert import Instance
from tocsin.core.answer import NoAnswer
from tocsin.core.compile import Ask, author, compile_logs, windows
from tocsin.core.condition import Point
from tocsin.core.config import Target
from tocsin.core.evaluate import TWO_ROWS
from tocsin.core.fuse import fuse
from tocsin.core.points import points_of
from tocsin.core.rule import Rule
from tocsin.core.signal import Logs, Signal
from tocsin.ports import Telemetry
from tocsin.telemetry.embedded import EmbeddedTelemetry

AT_ONCE = 120
"""How many slots one question is about."""


def asked(
    rule: Rule,
    signal: Signal | None,
    source: Logs | None,
    target: Target,
    grid: Grid,
    telemetry: Telemetry,
    moved: Callable[[int], None],
) -> Recorded:
    """Return the source's values in every window; ``moved`` is told how many slots were answered.

    Counting arrivals is no different here: without a gap each window begins where the last one ended. Raises
    NotAnswered, and ValueError for a query that cannot be judged.
    """
    found: dict[Instance, tuple[list[Array], list[Array]]] = {}
    parts = len(grid.windows)
    for begin in range(0, grid.count, AT_ONCE):
        slots = [grid.slot(number) for number in range(begin, min(grid.count, begin + AT_ONCE))]
        asks = compile_logs(rule, signal, source, target, windows(rule, slots))
        for (slot, part), by, point in _points(rule, asks, target, telemetry, bool(signal and signal.counting)):
            values, events = found.setdefault(by, _empty(parts, grid.count))
            number = grid.number(slot)
            values[part][number] = np.nan if point.value is None else point.value
            events[part][number] = 1 if point.events is None else point.events
        moved(len(slots))
    made = {by: Values(tuple(values), tuple(events)) for by, (values, events) in found.items()}
    uncounted = source is None and not _counted(rule)
    return replace(Recorded(grid, made, bool(source and source.denies)), uncounted=uncounted)


def _counted(rule: Rule) -> bool:
    return re.search(r"\bevents\b", kql.code(author(rule))) is not None


def _empty(parts: int, count: int) -> tuple[list[Array], list[Array]]:
    return [np.full(count, np.nan) for _ in range(parts)], [np.zeros(count, dtype=np.int64) for _ in range(parts)]


def _points(
    rule: Rule, asks: tuple[Ask, ...], target: Target, telemetry: Telemetry, counting: bool
) -> list[tuple[tuple[datetime, int], Instance, Point]]:
    numbered: Mapping[int, Ask] = dict(enumerate(asks))
    found: dict[tuple[tuple[datetime, int], Instance], Point] = {}
    # In this process a question costs little, and one that is known already costs no translation.
    alone = [ask.part for ask in asks] if isinstance(telemetry, EmbeddedTelemetry) else []
    for fused in fuse(numbered, target, alone):
        answer = telemetry.ask(fused.query, target)
        if isinstance(answer, NoAnswer):
            raise NotAnswered(f"{answer.why.value} {answer.detail}".strip())
        for number, rows in fused.rows(answer).items():
            for key, by, point in points_of(rule, numbered[number], rows, counting):
                if (key, by) in found:  # live, every such slot is unknown: nothing would ever fire
                    raise ValueError(TWO_ROWS)
                found[(key, by)] = point
    return [(key, by, point) for (key, by), point in found.items()]
