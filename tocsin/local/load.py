"""The load on a simulated accelerator: requests from a seed, or from a recorded trace."""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")

_BUSIEST = 15
"""The hour of the day (UTC) with the most requests; twelve hours later there are fewest."""

_SWING = 0.5
"""How far the rate is above its mean at the busiest hour, and below it at the quietest, as a share of it."""

_BURST = 3.0
"""How many times as many requests come during a burst."""

_BETWEEN_BURSTS = 480.0
_BURST_SECONDS = (20.0, 90.0)


@dataclass(frozen=True, slots=True)
class Request:
    """One request, with the tokens that decide how long it takes and what it costs."""

    at: datetime
    context_tokens: int
    generated_tokens: int


def seeded(seed: int, start: datetime, per_minute: float = 20.0) -> Iterator[Request]:
    """Yield requests from ``start`` on, for ever; the same seed gives the same requests.

    They arrive at random, more by day than by night and more during bursts; their sizes have a long tail.
    ``per_minute`` is the mean over a day between bursts. Raises ValueError unless it is above 0.
    """
    if not per_minute > 0:
        raise ValueError(f"a load needs more than 0 requests a minute, not {per_minute}")
    chance = random.Random(seed)
    for at in _arrivals(chance, start, per_minute / 60):
        context = min(8_000, int(chance.lognormvariate(7.0, 0.7)))
        yield Request(at, context, min(2_000, 1 + int(chance.lognormvariate(4.5, 0.9))))


def _arrivals(chance: random.Random, start: datetime, mean: float) -> Iterator[datetime]:
    """Yield the instants of a Poisson process whose rate (a second) changes, by thinning one with the highest rate."""
    highest = mean * (1 + _SWING) * _BURST
    at, (begins, ends) = start, _burst(chance, start)
    while True:
        at += timedelta(seconds=chance.expovariate(highest))
        if at >= ends:
            begins, ends = _burst(chance, at)
        rate = mean * _by_day(at) * (_BURST if at >= begins else 1)
        if chance.random() * highest < rate:
            yield at


def _burst(chance: random.Random, after: datetime) -> tuple[datetime, datetime]:
    begins = after + timedelta(seconds=chance.expovariate(1 / _BETWEEN_BURSTS))
    return begins, begins + timedelta(seconds=chance.uniform(*_BURST_SECONDS))


def _by_day(at: datetime) -> float:
    """Return the rate at this time of the day as a share of the day's mean."""
    hour = at.hour + at.minute / 60
    return 1 + _SWING * math.cos((hour - _BUSIEST) * math.tau / 24)


def from_trace(path: Path, start: datetime) -> Iterator[Request]:
    """Yield the requests of a recorded trace with their own gaps, the first at ``start``; it ends when the trace does.

    A trace is CSV with the columns ``TIMESTAMP,ContextTokens,GeneratedTokens``, in order of time. Raises ValueError
    with path and line for a file that is none, as soon as that line is reached; OSError when it cannot be read.
    """
    first = previous = None
    for line, row in _lines(path):
        try:
            recorded, context, generated = _moment(row[0]), _tokens(row[1]), _tokens(row[2])
            if previous is not None and recorded < previous:
                raise ValueError("this request came before the one above it")
        except (IndexError, ValueError) as error:
            said = "a request has three columns" if isinstance(error, IndexError) else error
            raise ValueError(f"{path}:{line}: {said}") from error
        first, previous = first or recorded, recorded
        yield Request(start + (recorded - first), context, generated)
    if first is None:
        raise ValueError(f"{path}:2: a trace needs at least one request")


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines below the heading with their numbers, blank ones left out."""
    with path.open(newline="", encoding="utf-8-sig") as opened:
        rows = csv.reader(opened)
        try:
            if tuple(next(rows, ())) != COLUMNS:
                raise ValueError(f"{path}:1: a trace has the columns {','.join(COLUMNS)}")
            yield from ((rows.line_num, row) for row in rows if row)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}:{rows.line_num + 1}: not a CSV file in UTF-8") from error


def _moment(text: str) -> datetime:
    """Return a time as the trace writes it: seven digits of a second, of which six can be kept."""
    whole, _, fraction = text.partition(".")
    try:
        return datetime.fromisoformat(f"{whole}.{fraction[:6]:0<6}").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not a time like 2023-11-16 18:17:03.9799600") from None


def _tokens(text: str) -> int:
    count = int(text) if text.strip().isdecimal() else -1
    if count < 0:
        raise ValueError(f"{text[:40]!r} is not a number of tokens")
    return count
