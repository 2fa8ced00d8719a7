"""Episodes of a course: when each began and ended, how bad it was, and whether it came back at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tocsin.backtest.replay import Course
from tocsin.core.alert import Alert, Instance
from tocsin.core.limits import comparison
from tocsin.core.rule import Op

FLAP = timedelta(minutes=15)
"""An episode that begins within this after the one before it, or within three slots, is a flap."""


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode of one alert. ``ended`` is None where history ends before it; ``worst`` is its worst value."""

    id: str
    rule: str
    target: str
    by: Instance
    fired: datetime
    ended: datetime | None
    worst: float | None
    flap: bool = False

    def lasted(self, until: datetime) -> timedelta:
        """Return how long it lasted, at most to ``until``."""
        return (self.ended or until) - self.fired


def episodes(course: Course) -> list[Episode]:
    """Return the course's episodes, oldest first."""
    found: list[Episode] = []
    ended: dict[Instance, datetime] = {}
    for identity, alerts in sorted(course.open.items(), key=lambda each: each[1][0].slot or course.grid.first):
        made = _episode(course, identity, alerts)
        before = ended.get(made.by)
        close = before is not None and made.fired - before <= max(FLAP, 3 * course.grid.every)
        found.append(replace(made, flap=close))
        if made.ended:
            ended[made.by] = made.ended
    return found


def _episode(course: Course, identity: str, alerts: Sequence[Alert]) -> Episode:
    first, last = alerts[0], alerts[-1]
    begun = first.fired or course.grid.first
    values = [each.value for each in alerts[: len(alerts) - (not last.open)] if each.value is not None]
    downwards = comparison(course.rule) in (Op.BELOW, Op.AT_MOST)
    worst = (min if downwards else max)(values, default=first.fired_value)
    return Episode(identity, first.rule, first.target, first.by, begun, None if last.open else last.slot, worst)
