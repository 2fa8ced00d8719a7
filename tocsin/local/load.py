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


@dataclass(frozen=True, slots=True)
class Request:
    """One request, with the tokens that decide how long it takes and what it costs."""

    at: datetime
    context_tokens: int
    generated_tokens: int


def seeded(seed: int, start: datetime, per_minute: float = 20.0) -> Iterator[Request]:
    """Yield requests from ``start`` on, for ever: random arrivals whose rate breathes with the hour, long-tailed sizes.

    The same seed gives the same requests.
    """
    chance, at = random.Random(seed), start
    while True:
        wave = 1 + 0.4 * math.sin((at - start).total_seconds() / 600)
        at += timedelta(seconds=chance.expovariate(per_minute * wave / 60))
        context = min(8_000, int(chance.lognormvariate(7.0, 0.7)))
        yield Request(at, context, min(2_000, 1 + int(chance.lognormvariate(4.5, 0.9))))


def from_trace(path: Path, start: datetime) -> Iterator[Request]:
    """Yield the requests of a recorded trace with their own gaps, the first at ``start``.

    Raises ValueError with the place for a file that is no trace (columns ``TIMESTAMP,ContextTokens,GeneratedTokens``).
    """
    with path.open(newline="", encoding="utf-8") as lines:
        rows = csv.DictReader(lines)
        if tuple(rows.fieldnames or ()) != COLUMNS:
            raise ValueError(f"{path.name}:1: a trace has the columns {','.join(COLUMNS)}")
        first: datetime | None = None
        for number, row in enumerate(rows, start=2):
            try:
                recorded = _moment(row["TIMESTAMP"])
                first = first or recorded
                yield Request(start + (recorded - first), int(row["ContextTokens"]), int(row["GeneratedTokens"]))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{path.name}:{number}: {error}") from error


def _moment(text: str) -> datetime:
    """Return a time as the trace writes it: seven digits of a second, of which six can be kept."""
    whole, _, fraction = text.partition(".")
    return datetime.fromisoformat(f"{whole}.{fraction[:6]:0<6}").replace(tzinfo=UTC)
