"""One rule under many settings: how often each would have fired, and which is the calmest that misses nothing."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import prod
from typing import Any

from tocsin.backtest.episodes import Episode, episodes
from tocsin.backtest.grid import grid
from tocsin.backtest.study import Studies, Watched
from tocsin.core import units
from tocsin.core.limits import bound
from tocsin.core.rule import Rule

KEYS = ("threshold", "for", "keep_firing_for", "over", "minimum")
"""What can be swept; ``threshold`` is whatever number the rule's condition holds its value against."""

STEPS = 6
MOST_CELLS = 400

_RANGE = re.compile(r"([a-z_]+)=(\S+?)\.\.([^\s/]+?)(?:/(\d+))?$")
_LIST = re.compile(r"([a-z_]+)=(\S+)$")
_TIMES = ("for", "keep_firing_for", "over")


@dataclass(frozen=True, slots=True)
class Axis:
    """One setting and the values it takes, as numbers or lengths, with how an operator writes them."""

    key: str
    values: tuple[Any, ...]
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """What the rule came to under one choice of settings, over all targets."""

    settings: Mapping[str, str]
    values: Mapping[str, Any]
    episodes: tuple[Episode, ...]
    burning: timedelta

    @property
    def flaps(self) -> int:
        """How many episodes began right after another."""
        return sum(each.flap for each in self.episodes)


@dataclass(frozen=True, slots=True)
class Sweep:
    """Every cell of the axes' product, and the one that is recommended, with the reason."""

    rule: str
    axes: tuple[Axis, ...]
    cells: tuple[Cell, ...]
    recommended: Cell | None
    """None where no setting finds anything."""
    why: str


def axis(text: str) -> Axis:
    """Return the axis that ``key=from..to``, ``key=from..to/steps`` or ``key=a,b,c`` means. Raises ValueError."""
    spans, listed = _RANGE.match(text), _LIST.match(text)
    key = (spans or listed or [""] * 2)[1]
    if not key or key not in KEYS:
        raise ValueError(
            f"'{text}' is not like threshold=1%..10% or for=1m,5m,15m; what can be swept: {', '.join(KEYS)}"
        )
    if spans:
        count = int(spans[4] or STEPS)
        values = _spread(key, _value(key, spans[2]), _value(key, spans[3]), count)
    else:
        values = [_value(key, part) for part in (listed or ["", "", ""])[2].split(",")]
    percent = "%" in text
    return Axis(key, tuple(values), tuple(_words(key, each, percent=percent) for each in values))


def _value(key: str, text: str) -> Any:
    if key in _TIMES and text in ("0", "0s", "0m"):
        return timedelta()
    try:
        return (units.duration if key in _TIMES else units.number)(text)
    except ValueError as error:
        raise ValueError(f"'{text}' is no value of {key}: {error}") from None


def _spread(key: str, first: Any, last: Any, count: int) -> list[Any]:
    """Return ``count`` values from one to the other, evenly; lengths in whole minutes or seconds."""
    if not 2 <= count <= MOST_CELLS or last <= first:
        raise ValueError(f"{key} goes from the smaller value to the larger, in 2 to {MOST_CELLS} steps")
    found = [first + (last - first) * number / (count - 1) for number in range(count)]
    if key in _TIMES:
        unit = timedelta(minutes=1) if (last - first) >= timedelta(minutes=count) else timedelta(seconds=1)
        found = [round(each / unit) * unit for each in found]
    elif key == "minimum":
        found = [round(each) for each in found]
    return list(dict.fromkeys(found))


def _words(key: str, value: Any, *, percent: bool) -> str:
    if isinstance(value, timedelta):
        return units.spell(value) if value else "0m"
    if percent and key == "threshold":
        return f"{value * 100:.4g}%"
    return f"{value:.6g}"


def with_settings(rule: Rule, settings: Mapping[str, Any]) -> Rule:
    """Return the rule under other settings. Raises ValueError for one it has not, or that nobody can write."""
    for key, value in settings.items():
        _possible(rule, key, value)
        if key == "threshold":
            rule = rule.model_copy(update={"when": _bounded(rule, value)})
        elif key in ("over", "minimum"):
            rule = rule.model_copy(update={"when": rule.when.model_copy(update={key: value})})
        elif key == "for" and rule.in_:
            raise ValueError(f"{rule.id} counts slots (in: {rule.in_.hits} of {rule.in_.slots}) and has no `for`")
        else:
            rule = rule.model_copy(update={{"for": "for_"}.get(key, key): value})
    return rule


def _possible(rule: Rule, key: str, value: Any) -> None:
    when = rule.when
    if key == "over" and (when.burn_rate or when.absent_for):
        raise ValueError(f"{rule.id} says itself how long it looks and has no `over`")
    if key == "over" and not value:
        raise ValueError("a window of no length holds nothing: `over` is longer than 0")
    if key == "over" and when.unusual and not when.unusual.looks(value):
        raise ValueError(f"{rule.id} learns from {units.spell(when.unusual.baseline)}, and `over` is longer than that")
    if key == "minimum" and (value < 0 or value != int(value)):
        raise ValueError(f"{value:g} is no number of events: `minimum` is a whole number of at least 0")
    if key == "threshold" and when.burn_rate and not 0 < value < 1:
        raise ValueError(f"{rule.id} has an objective for its threshold: more than 0% and less than 100%")


def _bounded(rule: Rule, value: float) -> Any:
    when = rule.when
    if when.limit:
        return when.model_copy(update={when.limit[0].value: value})
    if when.change:
        return when.model_copy(update={"change": when.change.model_copy(update={"more_than": value})})
    if when.unusual:
        return when.model_copy(update={"unusual": when.unusual.model_copy(update={"score": value})})
    if when.burn_rate:
        return when.model_copy(update={"burn_rate": when.burn_rate.model_copy(update={"objective": value})})
    raise ValueError(f"{rule.id} looks for an absence and has no threshold")


def sweep(
    studies: Studies, watched: Sequence[Watched], axes: Sequence[Axis], moved: Callable[[], None] = lambda: None
) -> Sweep:
    """Return what the rule came to under every choice of settings. ``watched`` are its targets; all of one rule.

    Raises ValueError for a setting the rule does not have, or for more cells than make sense.
    """
    twice = [key for key, count in Counter(each.key for each in axes).items() if count > 1]
    if twice:
        raise ValueError(f"{', '.join(twice)} is there twice: one axis each, or all values in one list")
    count = prod(len(each.values) for each in axes)
    if count > MOST_CELLS:
        raise ValueError(f"{count} choices are too many: {MOST_CELLS} at most, with /STEPS or a list of values")
    choices = list(itertools.product(*(range(len(each.values)) for each in axes)))
    cells = []
    for choice in choices:
        values = {each.key: each.values[number] for each, number in zip(axes, choice, strict=True)}
        words = {each.key: each.words[number] for each, number in zip(axes, choice, strict=True)}
        cells.append(_cell(studies, watched, values, words))
        moved()
    best, why = _recommended(cells, watched[0].rule)
    return Sweep(watched[0].rule.id, tuple(axes), tuple(cells), best, why)


def _cell(studies: Studies, watched: Sequence[Watched], values: Mapping[str, Any], words: Mapping[str, str]) -> Cell:
    changed = []
    for each in watched:
        rule = with_settings(each.rule, values)
        slots = grid(rule, each.target.name, studies.start, studies.end)
        changed += [replace(each, rule=rule, grid=slots)] if slots else []
    studied = studies.study(changed)
    if not studied.courses:  # no setting makes anything of a history that says nothing: none is calmer than another
        raise ValueError(f"nothing was replayed, {', '.join(dict.fromkeys(each.why for each in studied.unplayed))}")
    found = [each for course in studied.courses for each in episodes(course)]
    burning = sum((each.lasted(studies.end) for each in found), timedelta())
    return Cell(words, values, tuple(found), burning)


# Which is recommended


def _recommended(cells: Sequence[Cell], rule: Rule) -> tuple[Cell | None, str]:
    """Return the calmest of the cells that find what most of the settings agree on, and of those the soonest.

    Where none finds anything there is none: the calmest of a quiet history would be the one that never fires.
    """
    if not any(each.episodes for each in cells):
        return None, "none of these settings finds anything in this history"
    agreed = _agreed(cells)
    finding = [each for each in cells if all(_finds(each, incident) for incident in agreed)]
    best = min(
        finding or cells, key=lambda each: (len(each.episodes), each.flaps, _late(each, agreed), _far(each, rule))
    )
    if not agreed:
        return best, "they agree on no incident, so that nothing tells them apart but how calm they are"
    extra = len(best.episodes) - len(agreed)
    noise = f", and {extra} besides" if extra > 0 else ""
    return best, f"it finds all {len(agreed)} incidents that at least half of these settings agree on{noise}"


Incident = tuple[str, Any, datetime, datetime]


def _agreed(cells: Sequence[Cell]) -> list[Incident]:
    """Return stretches in which at least half of the cells have an episode open, by target and instance."""
    edges: dict[tuple[str, Any], list[tuple[datetime, int]]] = {}
    for cell in cells:
        for each in cell.episodes:
            own = edges.setdefault((each.target, each.by), [])
            own += [(each.fired, 1), (each.ended or datetime.max.replace(tzinfo=each.fired.tzinfo), -1)]
    return [found for key, own in edges.items() for found in _stretches(key, own, -(-len(cells) // 2))]


def _stretches(key: tuple[str, Any], own: list[tuple[datetime, int]], enough: int) -> Iterator[Incident]:
    depth, begun = 0, None
    for at, step in sorted(own, key=lambda edge: (edge[0], -edge[1])):
        depth += step
        if begun is None and depth >= enough:
            begun = at
        elif begun is not None and depth < enough:
            yield (*key, begun, at)
            begun = None


def _finds(cell: Cell, incident: Incident) -> bool:
    target, by, begun, ended = incident
    own = (each for each in cell.episodes if (each.target, each.by) == (target, by))
    return any(each.fired < ended and (each.ended is None or each.ended > begun) for each in own)


def _late(cell: Cell, agreed: Sequence[Incident]) -> timedelta:
    """Return how long after each incident began it is found, all added up: of two as calm the sooner is better."""
    found = timedelta()
    for target, by, begun, ended in agreed:
        own = [each.fired for each in cell.episodes if (each.target, each.by) == (target, by) and each.fired < ended]
        found += max(timedelta(), min((each for each in own if each >= begun), default=begun) - begun)
    return found


def _far(cell: Cell, rule: Rule) -> float:
    """Return how far the settings are from the rule's own, so that of equals the nearest is recommended."""
    objective = rule.when.burn_rate.objective if rule.when.burn_rate else None
    own = {"threshold": objective or bound(rule), "for": rule.for_, "keep_firing_for": rule.keep_firing_for,
           "over": rule.when.over, "minimum": rule.when.minimum}  # fmt: skip
    distance = 0.0
    for key, value in cell.values.items():
        now, then = _plain(own[key]), _plain(value)
        distance += abs(then - now) / max(abs(now), abs(then), 1e-12)
    return distance


def _plain(value: Any) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else float(value or 0)


def document(found: Sweep) -> dict[str, Any]:
    """Return the sweep as plain values."""
    return {
        "rule": found.rule,
        "axes": [{"key": each.key, "values": list(each.words)} for each in found.axes],
        "cells": [_cell_document(each) for each in found.cells],
        "recommended": dict(found.recommended.settings) if found.recommended else None,
        "why": found.why,
    }


def _cell_document(each: Cell) -> dict[str, Any]:
    return {"settings": dict(each.settings), "episodes": len(each.episodes), "flaps": each.flaps,
            "seconds_firing": each.burning.total_seconds()}  # fmt: skip
