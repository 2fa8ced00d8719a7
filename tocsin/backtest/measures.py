"""What history is asked, and how its answer is told apart by instance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

import numpy as np

from tocsin.backtest.aggregates import Partial, Ranked, Sum
from tocsin.backtest.grid import Grid
from tocsin.backtest.series import Array, Bins
from tocsin.core.alert import Instance, instance
from tocsin.core.compile import Part
from tocsin.core.config import Target
from tocsin.core.fuse import through
from tocsin.ports import Telemetry


class NotAnswered(Exception):
    """History did not say; the message says why."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What is measured in bins: a part, and how its value and its events are taken apart."""

    part: Part
    value: Sum | Ranked
    events: Sum

    @property
    def partials(self) -> tuple[Partial, ...]:
        """Every partial of both."""
        own = self.value.partials if isinstance(self.value, Sum) else ()
        return tuple(dict.fromkeys((*own, *self.events.partials)))


class History(Protocol):
    """Recorded telemetry, as a backtest asks it. ``telemetry`` answers whole queries, for what has no bins."""

    @property
    def telemetry(self) -> Telemetry: ...
    def minutes(self, target: Target, start: datetime, end: datetime) -> list[datetime]: ...
    def expect(self, target: Target, measures: Sequence[Measure], start: datetime, end: datetime) -> None: ...
    def takes(self, measure: Measure) -> bool: ...
    def bins(self, target: Target, measure: Measure, grid: Grid) -> dict[Instance, Bins]: ...


def text(measure: Measure, hoisted: Mapping[str, str], source: str, place: str) -> str:
    """Return the KQL that aggregates rows by instance and by ``place``, the expression for a row's bin."""
    part = measure.part
    by = [f"_by{at} = {through(expression, hoisted)}" for at, (_, expression) in enumerate(part.by)]
    lines = [source, f"where {through(part.where, hoisted)}"]
    split = ", ".join([f"_bin = {place}", *by])
    aggregates = ", ".join(f"_a{at} = {through(each.text, hoisted)}" for at, each in enumerate(measure.partials))
    return " | ".join([*lines, f"summarize {aggregates} by {split}"])


def numbers(measure: Measure, hoisted: Mapping[str, str], source: str, place: str) -> str:
    """Return the KQL for every single number of a percentile, with its bin and its instance."""
    part = measure.part
    assert isinstance(measure.value, Ranked)
    by = [f"_by{at} = {through(expression, hoisted)}" for at, (_, expression) in enumerate(part.by)]
    kept = ", ".join([f"_bin = {place}", *by, f"_number = todouble({through(measure.value.text, hoisted)})"])
    return " | ".join([source, f"where {through(part.where, hoisted)}", f"project {kept}", "where isfinite(_number)"])


def told_apart(measure: Measure, found: Mapping[str, Array], singles: Mapping[str, Array]) -> dict[Instance, Bins]:
    """Return the bins of each instance out of those of all."""
    names = [name for name, _ in measure.part.by]
    columns = {each.text: _plain(found[f"_a{at}"]) for at, each in enumerate(measure.partials)}
    made: dict[Instance, Bins] = {}
    for by, rows in _grouped(found, names):
        order = rows[np.argsort(found["_bin"][rows], kind="stable")]
        made[by] = Bins(
            found["_bin"][order].astype(np.int64), {name: values[order] for name, values in columns.items()}
        )
    for by, rows in _grouped(singles, names) if singles else ():
        order = rows[np.argsort(singles["_bin"][rows], kind="stable")]
        made[by] = replace(made[by], ranks=singles["_bin"][order], numbers=_plain(singles["_number"])[order])
    return made


def _grouped(found: Mapping[str, Array], names: Sequence[str]) -> list[tuple[Instance, Array]]:
    """Return the rows of each instance."""
    count = len(found["_bin"])
    if not names:
        return [((), np.arange(count))] if count else []
    labels = [np.where(column == None, "", column).astype(object)  # noqa: E711  element by element
              for column in (np.asarray(found[f"_by{at}"], dtype=object) for at in range(len(names)))]  # fmt: skip
    rows: dict[tuple[str, ...], list[int]] = {}
    for number, key in enumerate(zip(*labels, strict=True)):
        rows.setdefault(key, []).append(number)
    made: dict[Instance, list[int]] = {}
    for key, own in rows.items():
        made.setdefault(instance(dict(zip(names, map(str, key), strict=True))), []).extend(own)
    return [(by, np.asarray(own)) for by, own in made.items()]


def _plain(column: Array) -> Array:
    """Return a column without a mask: what is missing adds nothing to a sum, and is no number otherwise."""
    if not isinstance(column, np.ma.MaskedArray):
        return column
    return column.filled(0) if np.issubdtype(column.dtype, np.integer) else column.filled(np.nan)
