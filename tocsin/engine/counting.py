"""Keeping count of what the watcher does. Where nobody asked for it, nothing is kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tocsin.core.answer import NoAnswer, Query, Rows
from tocsin.core.config import Target
from tocsin.ports import Counted, Tally, Telemetry

T = TypeVar("T")


class Silent:
    """A tally that keeps nothing."""

    def count(self, what: Counted, number: int = 1, /, **labels: str) -> None:
        """Do nothing."""

    def ticked(self, seconds: float, /, **labels: str) -> None:
        """Do nothing."""

    def flush(self) -> None:
        """Do nothing."""


SILENT = Silent()


@dataclass(frozen=True, slots=True)
class CountedTelemetry:
    """Telemetry whose questions are counted by target and by what was answered."""

    inner: Telemetry
    tally: Tally

    def ask(self, query: Query, target: Target) -> Rows | NoAnswer:
        """Return what the telemetry within returns."""
        said = "defect"
        try:
            answer = self.inner.ask(query, target)
            said = answer.why.value if isinstance(answer, NoAnswer) else "answered"
            return answer
        finally:
            self.tally.count("queries", target=target.name, outcome=said)


def counted(tally: Tally, cause: str, tick: Callable[[], T]) -> T:
    """Return what ``tick`` returns, counted with its time and outcome and handed over at its end."""
    begun, outcome = time.monotonic(), "failed"
    try:
        ticked = tick()
        outcome = "ignored" if ticked is None else "done"
        return ticked
    finally:
        tally.count("ticks", cause=cause, outcome=outcome)
        tally.ticked(time.monotonic() - begun, cause=cause)
        tally.flush()
