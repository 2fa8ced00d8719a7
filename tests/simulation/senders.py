"""Action groups of Azure Monitor: alerts that come late, twice, in any order, by a wrong clock, or without an end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.simulation.chance import MINUTE
from tests.simulation.hostile import NAMES
from tocsin.core import common_alert, native
from tocsin.core.config import Target
from tocsin.core.text import normalize
from tocsin.engine.react import take
from tocsin.engine.tick import Engine

if TYPE_CHECKING:
    from tests.simulation.world import World


_NAME = "post"
"""The process that takes what is posted."""


@dataclass
class Incident:
    """One alert of Azure Monitor. ``fired`` and ``resolved`` say when a message was taken that says so."""

    name: str
    target: str
    kind: str
    resource: str
    began: datetime
    said: datetime | None = None
    """When it fired, as the newest message has it."""
    sent: int = 0
    fired: datetime | None = None
    resolved: datetime | None = None
    ended: bool = False
    """Whether somebody said that it is resolved, whether or not that was taken."""

    def message(self, condition: str, fired: datetime | None, resolved: datetime | None) -> dict[str, Any]:
        """Return the message as it is posted; a stateless log alert has a new origin each time."""
        essentials: dict[str, Any] = {
            "alertRule": self.name,
            "severity": "Sev2",
            "signalType": self.kind,
            "monitorCondition": condition,
            "originAlertId": f"{self.name}/{self.sent if self.kind == 'Log' else 0}",
            "alertTargetIDs": [self.resource],
        }
        times = {"firedDateTime": fired, "resolvedDateTime": resolved}
        essentials |= {key: at.isoformat() for key, at in times.items() if at}
        return {"schemaId": "azureMonitorCommonAlertSchema", "data": {"essentials": essentials, "alertContext": {}}}


@dataclass(frozen=True)
class _Post:
    """A message on its way: whoever sent it tries again until it is taken."""

    incident: Incident
    given: dict[str, Any]
    over: bool


class Senders:
    """Posts alerts, and posts again what was not taken."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.incidents: list[Incident] = []
        self.waiting: list[_Post] = []

    def act(self, target: Target) -> None:
        """Let something be posted: a new alert, one again, or that one is over."""
        chance, open_ = self.world.chance, [each for each in self.incidents if not each.ended]
        what = chance.one(("new", "new", "again", "over", "over")) if open_ else "new"
        if what == "new":
            self._fire(self._new(target))
        elif what == "again":
            self._fire(chance.one(open_))
        else:
            self._end(chance.one(open_))
        self.send()

    def _new(self, target: Target) -> Incident:
        chance = self.world.chance
        app = chance.one((target.app_id, "/subscriptions/x/resourceGroups/y/providers/Microsoft.Compute/disks/d"))
        kind = chance.one(("Metric", "Metric", "Log", "Activity Log"))
        name = f"{len(self.incidents)} {chance.one(NAMES)}"
        made = Incident(name, target.name if app == target.app_id else "unwatched", kind, app, self.world.now)
        self.incidents.append(made)
        return made

    def _fire(self, incident: Incident) -> None:
        chance, now = self.world.chance, self.world.now
        at = chance.one((incident.began, incident.began, now, now + 30 * MINUTE, None))
        incident.said = at or incident.began
        incident.sent += incident.kind == "Log"
        self.waiting.append(_Post(incident, incident.message("Fired", at, None), over=False))
        self.world.story.count(f"{incident.kind} alert posted")

    def _end(self, incident: Incident) -> None:
        if incident.kind != "Metric":  # the others have no end
            return
        incident.ended = True
        resolved = self.world.chance.one((self.world.now, self.world.now, None))
        given = incident.message("Resolved", incident.said, resolved)
        self.waiting.append(_Post(incident, given, over=True))
        self.world.story.count("resolution posted")

    def send(self) -> None:
        """Post what waits, the newest first: nobody promises an order."""
        if any(each.name == _NAME for each in self.world.running):
            return
        posts, self.waiting = self.waiting[::-1], []
        for post in posts:
            found = native.read(post.given, self.world.clock)
            self.world.tell("azure", f"posts that {post.incident.name[:20]!r} {'is over' if post.over else 'fires'}")

            def taken(engine: Engine, found: native.Native | None = found) -> None:
                assert found is not None
                take(engine, found, self.world.clock)

            done = self.world.run(_NAME, taken)
            if done:
                self._took(post)
            if not done or self.world.chance.fault(0.1):  # or the answer was lost
                self.waiting.append(post)

    def _took(self, post: _Post) -> None:
        if post.over:
            post.incident.resolved = post.incident.resolved or self.world.now
        else:
            post.incident.fired = post.incident.fired or self.world.now

    def label(self, incident: Incident) -> str:
        """Return what the alert is called by its label."""
        return normalize(common_alert.text(incident.name))
