"""Slots and the bins their windows are made of: every window of a rule begins and ends where a bin does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from math import gcd

from tocsin.core.compile import beside
from tocsin.core.rule import Rule
from tocsin.core.schedule import jitter, newest_slot

_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Grid:
    """The slots of one rule on one target, and its bins.

    ``origin`` is where bin 0 begins, ``width`` how long each is; slot ``k`` is ``first + k · every``. Windows are given
    as bins before the slot: where they begin and where they end.
    """

    origin: datetime
    width: timedelta
    first: datetime
    every: timedelta
    count: int
    windows: tuple[tuple[int, int], ...]

    @property
    def bins(self) -> int:
        """How many bins there are, to the end of the newest window."""
        return self.place + (self.count - 1) * self.stride

    @property
    def place(self) -> int:
        """The bin before which the first slot lies."""
        return (self.first - self.origin) // self.width

    @property
    def stride(self) -> int:
        """How many bins lie between two slots."""
        return self.every // self.width

    @property
    def end(self) -> datetime:
        """Where the last bin ends."""
        return self.origin + self.bins * self.width

    def slot(self, number: int) -> datetime:
        """Return a slot by its number."""
        return self.first + number * self.every

    def number(self, slot: datetime) -> int:
        """Return the number of a slot; negative before the first."""
        return (slot - self.first) // self.every


def grid(rule: Rule, target: str, start: datetime, end: datetime) -> Grid | None:
    """Return the grid of every slot in ``(start, end]``; None when there is none."""
    shift = jitter(rule.id, target, rule.every)
    before, last = newest_slot(rule.every, shift, start), newest_slot(rule.every, shift, end)
    count = (last - before) // rule.every
    if count <= 0:
        return None
    spans = [(timedelta(), rule.when.over), *beside(rule.when)]
    lengths = [rule.every, *(length for _, length in spans), *(back for back, _ in spans if back)]
    width = reduce(gcd, (length // _SECOND for length in lengths)) * _SECOND
    reach = max(back + length for back, length in spans)
    windows = tuple(((back + length) // width, back // width) for back, length in spans)
    first = before + rule.every
    return Grid(first - reach, width, first, rule.every, count, windows)
