"""Telemetry by truth: what a target did, minute by minute, and what of it can be seen when somebody asks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tests.simulation.chance import MINUTE, SECOND, T0
from tests.simulation.seams import Process
from tocsin.core.answer import NoAnswer, Query, Rows, Why
from tocsin.core.config import Target

if TYPE_CHECKING:
    from tests.simulation.world import World

OVER = timedelta(minutes=2)
"""The window of the rule that is judged by logs."""

_REFUSALS = (Why.TIMEOUT, Why.UNREACHABLE, Why.THROTTLED, Why.FAILED, Why.PARTIAL, Why.BROKEN, Why.FORBIDDEN)
_COLUMNS = ("_window", "value", "events", "detail")


@dataclass
class Truth:
    """What one target did. Spans are half open; one without an end goes on."""

    burning: list[tuple[datetime, datetime | None]] = field(default_factory=list)
    """When it told of tools without an approver."""
    silent: list[tuple[datetime, datetime]] = field(default_factory=list)
    """When nothing of it arrives at all: an outage that looks like health."""
    lag: timedelta = timedelta()
    safe_since: datetime | None = None
    """Since when its side-effect tools are switched off on all that serves."""
    alive: datetime = T0 - timedelta(days=1)
    """The newest minute of it that anybody was shown."""
    signed: datetime = T0 - timedelta(days=1)
    """The newest time of which anybody was shown that it burned: such rows prove as well that it lives."""
    agents: list[tuple[str, datetime, datetime]] = field(default_factory=list)
    """Agents that fail, as telemetry spells them, with when they begin and end."""
    inspected: dict[str, datetime] = field(default_factory=dict)
    """Rule → when its app was last seen to be set as the rule judges, by whoever judged it."""

    def burns(self, start: datetime, end: datetime) -> bool:
        """Return whether it told of it within ``[start, end)``."""
        return any(began < end and (ended is None or ended > start) for began, ended in self.burning)

    def burned(self, start: datetime, end: datetime) -> bool:
        """Return whether it told of it all the time, and all of that arrived."""
        always = any(began <= start and (ended is None or ended >= end) for began, ended in self.burning)
        return always and not any(began < end and start < over for began, over in self.silent)

    def quiet(self, at: datetime) -> bool:
        """Return whether nothing arrives of this minute."""
        return any(start <= at < end for start, end in self.silent)

    def light(self, now: datetime) -> None:
        """Let it burn."""
        if not self.alight:
            self.burning.append((now, None))

    def quench(self, now: datetime) -> None:
        """Let it burn no more."""
        if self.alight:
            self.burning[-1] = (self.burning[-1][0], now)

    @property
    def alight(self) -> bool:
        """Whether it burns."""
        return bool(self.burning) and self.burning[-1][1] is None


class Workspace:
    """Answers as one process is answered."""

    def __init__(self, world: World, process: Process) -> None:
        self._world, self._process = world, process

    def ask(self, query: Query, target: Target) -> Rows | NoAnswer:
        """Return rows of what has arrived, or why there are none."""
        world, truth = self._world, self._world.truth[target.name]
        world.seam(self._process, f"ask {target.name}")
        world.broken(self._process, f"asking telemetry of {target.name}")
        if world.chance.fault(0.015):
            why = world.chance.one(_REFUSALS)
            world.tell(self._process.name, f"telemetry of {target.name}: {why.value}")
            world.story.count("telemetry refused")
            return NoAnswer(why)
        if "minute = bin" in query.text:
            return self._minutes(query, truth)
        if "by agent" in query.text:
            return self._agents(query, truth)
        world.look(target)
        if "tool.executed" in query.text:
            start = query.start
            ran = truth.safe_since is None or truth.safe_since > start
            return Rows(("value", "events"), ((3.0 if ran else 0.0, 3),))
        return self._signs(query, truth)

    def _minutes(self, query: Query, truth: Truth) -> Rows:
        now, rows = self._world.now, []
        at = query.end.replace(second=0, microsecond=0)
        while at >= query.start:
            if at < query.end and at + truth.lag <= now and not truth.quiet(at):
                rows.append((at, 5, truth.lag.total_seconds()))
            at -= MINUTE
        if rows:
            truth.alive = max(truth.alive, rows[0][0])
        return Rows(("minute", "events", "lag"), tuple(rows))

    def _agents(self, query: Query, truth: Truth) -> Rows:
        until = min(query.end, self._world.now - truth.lag)
        seen = [name for name, begins, ends in truth.agents if begins < until and ends > query.start]
        rows = [(0, name, 3.0, 3) for name in dict.fromkeys(seen)] if not truth.quiet(query.end - SECOND) else []
        return Rows(("_window", "agent", "value", "events"), tuple(rows))

    def _signs(self, query: Query, truth: Truth) -> Rows:
        seen_until = self._world.now - truth.lag
        rows, offset = [], timedelta()
        while query.start + offset + OVER <= query.end:
            start = query.start + offset
            if truth.burns(start, min(start + OVER, seen_until)) and not truth.quiet(start + OVER - SECOND):
                rows.append((offset // SECOND, 3.0, 3, "event tool.hitl_misconfigured"))
                truth.signed = max(truth.signed, min(start + OVER, seen_until))
            offset += MINUTE
        return Rows(_COLUMNS, tuple(rows))
