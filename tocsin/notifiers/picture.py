"""The course of a value as a small picture, and in words: for receivers that take one with the message.

What is past the limit is a diamond and the limit is dashed: nothing is told by colour alone. Every number may come from
telemetry, so none may make drawing fail: what is not finite is a gap, and what is huge is drawn by its share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from tocsin.core import units
from tocsin.core.message import Notice
from tocsin.notifiers.png import HIGH, Canvas, written

WIDTH, HEIGHT = 480, 160
"""Pixels: a phone shows all of it, and it pushes no words out of sight."""

MOST = 10_000
"""Bytes that a picture may have. One that is larger is left out: what must arrive is the words."""

_MOST_POINTS = 1_000
_PAPER, _GRID, _INK, _VALUE, _LIMIT = range(5)
_COLOURS = (b"\xff\xff\xff", b"\xe4\xe4\xe4", b"\x44\x44\x44", b"\x1f\x5f\xa8", b"\xc4\x31\x1b")
_TOP, _BOTTOM, _RIGHT, _GAP = 14, HEIGHT - 28, WIDTH - 14, 8
_DASH, _SPACE = 8, 6
_REACH, _DOT, _ROOM_FOR_DOTS = 5, 4, 8
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))

Points = Sequence[tuple[datetime, float]]


@dataclass(frozen=True, slots=True)
class Scale:
    """Where the numbers from ``low`` to ``high`` stand between two pixels; where both are the same, in the middle."""

    low: float
    high: float
    first: int
    last: int

    def at(self, number: float) -> int:
        """Return the pixel; halves, because the distance of two finite numbers need not be finite."""
        span = self.high / 2 - self.low / 2
        share = (number / 2 - self.low / 2) / span if span else 0.5
        return self.first + round(share * (self.last - self.first))


def picture(notice: Notice) -> bytes:
    """Return the course of the notice's value with its limit as a PNG; empty where no value is known, or it is large.

    Whatever goes wrong while drawing, the message goes without a picture: it is for the words that people wait.
    """
    try:
        made = draw(notice)
    except Exception:
        return b""
    return made if len(made) <= MOST else b""


def draw(notice: Notice) -> bytes:
    """Return the picture as a PNG whatever its size; empty where no value is known."""
    points = _points(notice)
    values, limit = _known(points), _limit(notice)
    if not values:
        return b""
    low, high = _range([*values, *limit])
    # In the order in which they matter: a label that would cover one before it is left out.
    marked = {each: _label(each, notice.unit) for each in (*limit, max(values), min(values), low, high)}
    left = _GAP + max(map(written, marked.values())) + _GAP
    canvas, up = Canvas(WIDTH, HEIGHT, _COLOURS), Scale(low, high, _BOTTOM, _TOP)
    _frame(canvas, left)
    _numbers(canvas, left, up, marked, limit)
    _times(canvas, left, points)
    for each in limit:
        _dashes(canvas, left, up.at(each))
    _course(canvas, points, _along(points, left), up, notice)
    return canvas.encoded()


def words(notice: Notice) -> str:
    """Return what the picture shows, for whom it is not shown; empty where no value is known."""
    points = _points(notice)
    values = _known(points)
    if not values:
        return ""
    first, last, low, high = (_amount(each, notice.unit) for each in (values[0], values[-1], *_ends(values)))
    begin, end = (points[place][0].astimezone(UTC) for place in (0, -1))
    said = f"The value from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC: {first} → {last}"
    said += f", lowest {low}, highest {high}."
    for limit in _limit(notice):
        past = sum(notice.comparison.holds(value, limit) for value in values)
        said += f" Past the limit of {_amount(limit, notice.unit)}: {past} of {len(values)} values."
    return said


def _amount(number: float, unit: str) -> str:
    # Beyond what anybody measures, all digits of a number are no words.
    return units.amount(number, unit) if abs(number) < 1e12 else _label(number, unit)


def _points(notice: Notice) -> Points:
    """Return the newest values from the oldest on, those before the first and after the last known one left out."""
    points = sorted(notice.series, key=lambda point: point[0])[-_MOST_POINTS:]
    known = [number for number, (_, value) in enumerate(points) if math.isfinite(value)]
    return points[known[0] : known[-1] + 1] if known else []


def _known(points: Points) -> list[float]:
    return [value for _, value in points if math.isfinite(value)]


def _limit(notice: Notice) -> list[float]:
    """Return the limit, if it is one that can be drawn."""
    return [] if notice.threshold is None or not math.isfinite(notice.threshold) else [notice.threshold]


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _range(numbers: Sequence[float]) -> tuple[float, float]:
    """Return from where to where it is drawn: from zero, unless all differ by little as 99.1% and 99.9% do."""
    low, high = _ends(numbers)
    narrow = low != high and high / 2 - low / 2 < max(abs(low), abs(high)) / 8
    return (low, high) if narrow else (min(low, 0.0), max(high, 0.0))


def _label(number: float, unit: str) -> str:
    """Return the number in few digits. Units but for ``%`` are said by the words around the picture."""
    if unit == "ratio":
        return f"{max(-1e300, min(1e300, number)) * 100:.4g}%"
    if unit == "percent":
        return f"{number:.4g}%"
    size, prefix = next(((size, name) for size, name in _PREFIXES if size <= abs(number) < 1e15), (1.0, ""))
    return f"{number / size:.4g}{prefix}"


def _frame(canvas: Canvas, left: int) -> None:
    for quarter in range(1, 5):
        canvas.block((left, _BOTTOM - quarter * (_BOTTOM - _TOP) // 4), (_RIGHT - left, 1), _GRID)
        canvas.block((left + quarter * (_RIGHT - left) // 4, _TOP), (1, _BOTTOM - _TOP), _GRID)
    canvas.block((left, _TOP), (1, _BOTTOM - _TOP + 1), _INK)
    canvas.block((left, _BOTTOM + 1), (_RIGHT - left, 1), _INK)


def _numbers(canvas: Canvas, left: int, up: Scale, marked: dict[float, str], limit: Sequence[float]) -> None:
    taken: list[int] = []
    for number, label in marked.items():
        top = up.at(number) - HIGH // 2
        if all(abs(top - other) >= HIGH + 2 for other in taken):
            taken.append(top)
            canvas.write((left - _GAP - written(label), top), label, _LIMIT if number in limit else _INK)


def _times(canvas: Canvas, left: int, points: Points) -> None:
    begin, end = (points[place][0].astimezone(UTC) for place in (0, -1))
    form = "%H:%M" if begin.date() == end.date() else "%m-%d %H:%M"
    last, top = f"{end:{form}} UTC", _BOTTOM + _GAP + 4
    if begin != end:
        canvas.write((left, top), f"{begin:{form}}", _INK)
    canvas.write((_RIGHT - written(last), top), last, _INK)


def _dashes(canvas: Canvas, left: int, top: int) -> None:
    for place in range(left + 1, _RIGHT, _DASH + _SPACE):
        canvas.block((place, top), (min(_DASH, _RIGHT - place), 2), _LIMIT)


def _along(points: Points, left: int) -> list[int]:
    """Return where each moment stands; marks at the edges are not cut."""
    moments = [(at - points[0][0]).total_seconds() for at, _ in points]
    scale = Scale(moments[0], moments[-1], left + _GAP, _RIGHT - _GAP)
    return [scale.at(each) for each in moments]


def _course(canvas: Canvas, points: Points, places: Sequence[int], up: Scale, notice: Notice) -> None:
    values = [value for _, value in points]
    drawn = [(at, up.at(value)) if math.isfinite(value) else None for at, value in zip(places, values, strict=True)]
    for begin, end in pairwise(drawn):
        if begin and end:
            canvas.line(begin, end, _VALUE)
    dots = len(points) == 1 or (places[-1] - places[0]) // (len(points) - 1) >= _ROOM_FOR_DOTS
    for place, value in zip(drawn, values, strict=True):
        if place and any(notice.comparison.holds(value, limit) for limit in _limit(notice)):
            canvas.diamond(place, _REACH, _LIMIT)
        elif place and dots:
            canvas.block((place[0] - 1, place[1] - 1), (_DOT, _DOT), _VALUE)
