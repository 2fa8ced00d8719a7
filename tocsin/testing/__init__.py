"""For tests, of Tocsin and of what is built on it: a clock that stands still, and contracts every adapter must keep.

Belongs here: public helpers for tests. Does not belong here: anything the deployed function imports.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(slots=True)
class FrozenClock:
    """A clock that moves only when told to."""

    at: datetime

    def now(self) -> datetime:
        """Return the instant it stands at."""
        return self.at

    def advance(self, by: timedelta) -> datetime:
        """Move forward and return the new instant."""
        self.at += by
        return self.at


class Heard:
    """A log that remembers: ``events`` holds each event's name and fields, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def info(self, event: str, /, **fields: object) -> None:
        """Remember an event."""
        self.events.append((event, fields))

    warning = info
    error = info

    def named(self, event: str) -> list[dict[str, object]]:
        """Return the fields of every event with this name."""
        return [fields for name, fields in self.events if name == event]
