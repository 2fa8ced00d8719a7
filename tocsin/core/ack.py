"""Somebody has taken an alert on: nobody is reminded of its episode, and nobody else is called."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tocsin.core.schedule import CLOCK_STEP


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Who took an episode on, and until when; it ends by itself when the episode does."""

    episode: str
    by: str
    at: datetime
    until: datetime
    comment: str = ""


def in_force(given: Acknowledgement, now: datetime) -> bool:
    """Return whether the acknowledgement still holds. One from a clock that was ahead would hold for too long."""
    return given.at - now <= CLOCK_STEP and now < given.until


@dataclass(frozen=True, slots=True)
class Used:
    """A link that has done what it was for: it does nothing a second time."""

    token: str
    at: datetime
