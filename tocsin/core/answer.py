"""What telemetry says when asked: rows, or no answer with its reason. A partial result is never data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class Query:
    """One question: KQL text, and the bounds ``[start, end)`` in UTC that the service applies besides it."""

    text: str
    start: datetime
    end: datetime


MOST_ROWS = 100_000
"""Rows of one answer that are read. Forty rules of two hundred instances over ten slots make eighty thousand."""


@dataclass(frozen=True, slots=True)
class Rows:
    """An answer: column names and rows, with plain Python values (``datetime`` in UTC, ``float``, ``int``, ``str``).

    ``statistics`` is what the service said of its own work, where it did.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    statistics: Mapping[str, Any] = field(default_factory=dict, compare=False, hash=False)
    cut: bool = False
    """Whether there were more rows than ``MOST_ROWS``: what is not among these is not known to be absent."""

    def dicts(self) -> list[dict[str, Any]]:
        """Return one mapping a row, column name → value."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


class Why(StrEnum):
    """Why there is no answer. None of these is ever read as health."""

    BROKEN = "query refused"
    FORBIDDEN = "no permission"
    THROTTLED = "throttled"
    PARTIAL = "partial result"
    TIMEOUT = "time-out"
    UNREACHABLE = "unreachable"
    FAILED = "service error"
    MISSING = "not found"
    BUSY = "another operation runs"
    LATER = "not read at that time"


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Telemetry did not answer. ``detail`` is for the operator's log and may hold the service's words."""

    why: Why
    detail: str = ""
    retry_after: float | None = None
