"""Measured bins become windows: the values and event counts of every slot, and the points that verdicts are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tocsin.backtest.aggregates import Fold, Partial, Ranked, Sum
from tocsin.backtest.grid import Grid
from tocsin.core.alert import Instance
from tocsin.core.condition import Point
from tocsin.core.signal import Says

Array = Any
"""A numpy array; its shape is said where it matters."""


@dataclass(frozen=True, slots=True)
class Bins:
    """What one instance's rows came to in bins: the number of each bin that has rows, and each partial's value there.

    ``numbers`` and ``ranks`` hold every single number and the bin it is in, sorted by bin, where a percentile is asked.
    """

    bins: Array
    partials: Mapping[str, Array] = field(default_factory=dict)
    numbers: Array | None = None
    ranks: Array | None = None


@dataclass(frozen=True, slots=True)
class Values:
    """One instance over all slots: for each window the value (NaN where there is none) and how many events it has."""

    value: tuple[Array, ...]
    events: tuple[Array, ...]


def values(bins: Bins, value: Sum | Ranked, events: Sum, grid: Grid) -> Values:
    """Return the instance's values and events in every window of the grid."""
    counted, valued = [], []
    for back, until in grid.windows:
        count = events.of(_folded(bins, events.partials, grid, back, until))
        counted.append(count)
        if isinstance(value, Ranked):
            valued.append(_ranked(bins, value, grid, back, until))
        else:
            valued.append(np.where(count > 0, value.of(_folded(bins, value.partials, grid, back, until)), np.nan))
    return Values(tuple(valued), tuple(counted))


def _folded(bins: Bins, partials: tuple[Partial, ...], grid: Grid, back: int, until: int) -> dict[str, Array]:
    return {each.text: windowed(bins.bins, bins.partials[each.text], each.fold, grid, back, until) for each in partials}


_NOTHING: Mapping[Fold, float] = {"sum": 0, "min": np.inf, "max": -np.inf}
_INTO: Mapping[Fold, np.ufunc] = {"sum": np.add, "min": np.minimum, "max": np.maximum}


def windowed(places: Array, amounts: Array, fold: Fold, grid: Grid, back: int, until: int) -> Array:
    """Return the fold of the bins ``[slot − back, slot − until)`` for every slot."""
    whole = np.issubdtype(amounts.dtype, np.integer)
    dense = np.full(grid.bins, _NOTHING[fold], dtype=np.int64 if whole and fold == "sum" else float)
    inside = places < grid.bins
    _INTO[fold].at(dense, places[inside], amounts[inside])  # an instance of several spellings has a bin several times
    first = grid.place - back
    if whole and fold == "sum":  # exact, so that the difference of two running sums is the sum between them
        running = np.concatenate(([0], np.cumsum(dense)))
        ends = grid.place - until + np.arange(grid.count) * grid.stride
        return running[ends] - running[ends - (back - until)]
    # Added up anew for each window: the difference of running sums is not zero where nothing was added.
    rows = sliding_window_view(dense, back - until)[first :: grid.stride][: grid.count]
    folded = rows.sum(axis=1) if fold == "sum" else rows.min(axis=1) if fold == "min" else rows.max(axis=1)
    return np.where(np.isinf(folded), np.nan, folded) if fold != "sum" else folded


def _ranked(bins: Bins, value: Ranked, grid: Grid, back: int, until: int) -> Array:
    """Return the percentile of every window: of n numbers the ⌈share · n⌉-th smallest, as ``percentile`` has it."""
    assert bins.numbers is not None
    assert bins.ranks is not None
    ends = grid.place - until + np.arange(grid.count) * grid.stride
    begins, stops = np.searchsorted(bins.ranks, ends - (back - until)), np.searchsorted(bins.ranks, ends)
    found = np.full(grid.count, np.nan)
    for slot in np.flatnonzero(stops > begins):
        window = bins.numbers[begins[slot] : stops[slot]]
        place = max(1, len(window) - int(np.floor(len(window) - value.share * len(window)))) - 1
        found[slot] = np.partition(window, place)[place]
    return found


@dataclass(frozen=True, slots=True)
class Recorded:
    """One source of a rule over recorded history: see ``core.evaluate.Series``."""

    grid: Grid
    instances: Mapping[Instance, Values]
    denies: bool = False
    confirms: bool = False
    configured: bool = False
    says: Says = field(default_factory=dict)
    found: Mapping[Instance, Point] | None = None
    unanswered: bool = False
    uncounted: bool = False
    """Whether nothing says how many events a value rests on."""
    _plain: dict[tuple[Instance, int], tuple[list[float], list[int]]] = field(default_factory=dict)
    _newest: dict[datetime, dict[Instance, Point]] = field(default_factory=dict)

    def at(self, slot: datetime) -> Mapping[Instance, Point]:
        """Return the points of one slot's own window.

        Each of a slot's instances asks for them all, so those of the newest slot asked are kept.
        """
        if slot not in self._newest:
            self._newest.clear()
            self._newest[slot] = self._points(slot)
        return self._newest[slot]

    def _points(self, slot: datetime) -> dict[Instance, Point]:
        number = self.grid.number(slot)
        found = {}
        for by in self.instances:
            point = self._point(by, 0, number)
            if point is not None:
                found[by] = point
        return found

    def beside(self, slot: datetime, by: Instance) -> dict[int, Point]:
        """Return the instance's points of the windows that its value is held against."""
        values, number = self.instances.get(by), self.grid.number(slot)
        if values is None:
            return {}
        found = ((part, self._point(by, part, number)) for part in range(1, len(values.value)))
        return {part: point for part, point in found if point is not None}

    def _point(self, by: Instance, part: int, number: int) -> Point | None:
        """Return the point of a window; a window without events has none."""
        value, events = self._plain.get((by, part)) or self._listed(by, part)
        if events[number] <= 0:
            return None
        known = value[number] if isfinite(value[number]) else None
        return Point(known, None if self.uncounted else events[number])

    def _listed(self, by: Instance, part: int) -> tuple[list[float], list[int]]:
        """Return a window's values and events as lists: of an array each single number is slow to come by."""
        own = self.instances[by]
        events = own.events[part].astype(np.int64).tolist()
        self._plain[(by, part)] = (own.value[part].astype(float).tolist(), events)
        return self._plain[(by, part)]

    def cut(self, slot: datetime) -> bool:  # noqa: ARG002
        """Return that all rows were read."""
        return False

    def refusal(self, slot: datetime) -> str:  # noqa: ARG002
        """Return that nothing keeps this source from speaking of any slot."""
        return ""
