"""The platform as one process reaches it: apps that take time, answers that are late, lost, old or refused.

The apps are those of the local world, called without a network; the switch that acts on them is the real one.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from tests.simulation.chance import SECOND
from tests.simulation.seams import Process
from tocsin.actuators.killswitch import Switch
from tocsin.actuators.steady import Change
from tocsin.connections import arm
from tocsin.connections.arm import ContainerApps, Sent
from tocsin.core.action import Order, Preview, Undo
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.config import Target
from tocsin.core.container import App
from tocsin.core.remedy import Applied, Did

if TYPE_CHECKING:
    from tests.simulation.world import World

_BEFORE = (Why.THROTTLED, Why.BUSY, Why.FAILED, Why.UNREACHABLE, Why.FORBIDDEN)
"""Refusals of a change that was not made; the last of them ends an execution."""


def read(world: World, target: Target) -> App:
    """Return the app as it is."""
    app = world.arm._settled(world.arm._app(target))
    return arm._app(app.document(world.now), [app.revision(each, world.now) for each in app.revisions], target)


class Apps(ContainerApps):
    """The apps as one process sees them."""

    def __init__(self, world: World, process: Process) -> None:
        self._world, self._process = world, process

    def get(self, target: Target) -> App | NoAnswer:
        """Return the app as it is, or as it was a moment ago, or why it cannot be read.

        What is old is shown once: the next look is at the truth, and nobody is shown less than they have seen.
        """
        world, process = self._world, self._process
        world.seam(process, f"read {target.name}")
        if world.chance.fault(0.008):
            why = world.chance.one((Why.TIMEOUT, Why.THROTTLED, Why.FAILED, Why.UNREACHABLE))
            world.tell(process.name, f"{target.name} cannot be read: {why.value}")
            return NoAnswer(why)
        version, shown = world.version[target.name], world.shown.get(target.name)
        old = shown is not None and process.read.get(target.name, 0) <= shown[0] < version
        if old and target.name not in process.stale and world.chance.fault(0.3):
            process.stale.add(target.name)
            world.tell(process.name, f"{target.name} is read as it was before")
            world.story.count("stale read")
            return shown[1]
        process.stale.discard(target.name)
        process.read[target.name] = version
        app = read(world, target)
        if process.judging == target.name:
            world.truth[target.name].inspected |= dict.fromkeys(_judged(app), world.now)
        if not world.chance.fault(0.5):
            world.shown[target.name] = (version, app)
        return app

    def _patch(self, target: Target, body: Mapping[str, Any]) -> Sent | NoAnswer:
        world, process = self._world, self._process
        world.seam(process, f"change {target.name}")
        if world.chance.fault(0.08):
            why = world.chance.one(_BEFORE)
            world.tell(process.name, f"a change of {target.name} is refused: {why.value}")
            world.story.count("change refused")
            return NoAnswer(why)
        sent = patched(world, process, target, body)
        if isinstance(sent, Sent):
            self._late(target)
            if world.chance.fault(0.1):
                world.tell(process.name, "no answer to it in time")
                world.story.count("answer lost")
                return NoAnswer(Why.TIMEOUT)
        return sent

    def _late(self, target: Target) -> None:
        """Let the answer take so long that locks end and others come by."""
        if self._world.chance.fault(0.05):
            self._world.tell(self._process.name, "waits for the answer for minutes")
            self._world.now += self._world.chance.whole(60, 240) * SECOND
        self._world.seam(self._process, f"changed {target.name}", likely=8)


def _judged(app: App) -> list[str]:
    """Return the rules that what the app is set to may breach."""
    approved = all(each.env.get("HITL_APPROVER_ENDPOINT") for each in app.serving)
    return ["killswitch_drift"] if approved else ["killswitch_drift", "hitl_misconfigured"]


def patched(world: World, process: Process, target: Target, body: Mapping[str, Any]) -> Sent | NoAnswer:
    """Let a change arrive: the witness sees the app before and after."""
    app = world.arm._settled(world.arm._app(target))
    before = copy.deepcopy(app.template)
    world.rollout()
    response = world.arm._patched(app, body, "https://platform")
    if response.status_code == 409:
        world.tell(process.name, f"{target.name} is busy: 409")
        return NoAnswer(Why.BUSY)
    world.changed(target)
    template = body["properties"].get("template")
    world.tell(process.name, f"changes {'the template' if template else 'the traffic'} of {target.name}")
    if template:
        world.witness.patched(process, target, before, app.template)
    elif process in world.witness.orders:
        world.witness.intended(process)
    return Sent(response.headers.get("azure-asyncoperation", ""))


@dataclass
class Watched:
    """An actuator of one process whose orders the witness knows of."""

    world: World
    process: Process
    inner: Any
    action: str

    @property
    def readable(self) -> bool:
        return bool(self.inner.readable)

    @property
    def finishes(self) -> bool:
        return bool(self.inner.finishes)

    def preview(self, order: Order) -> Preview | NoAnswer:
        found: Preview | NoAnswer = self.inner.preview(order)
        return found

    def holds(self, order: Order) -> bool | None:
        self.world.broken(self.process, f"reading {self.action}")
        return self.inner.holds(order)

    def apply(self, order: Order) -> Applied:
        self.world.broken(self.process, f"applying {self.action}", 0.01)
        with self.world.witness.applying(self.process, self.action, order):
            outcome: Applied = self.inner.apply(order)
        if outcome.did in (Did.DONE, Did.FAILED):
            self.world.story.count(f"{self.action} {outcome.did.value}")
        return outcome


@dataclass
class Dials:
    """Something else that can be turned, read and turned back: one dial a target."""

    at: dict[str, str] = field(default_factory=dict)


@dataclass
class Dial:
    """Turns one dial, as one process reaches it."""

    world: World
    process: Process
    to: str
    readable: ClassVar[bool] = True
    finishes: ClassVar[bool] = False

    def preview(self, order: Order) -> Preview:
        return Preview(() if self.holds(order) else (f"dial → {self.to}",))

    def holds(self, order: Order) -> bool | None:
        self.world.seam(self.process, f"read dial of {order.target.name}")
        if self.world.chance.fault(0.01):
            return None
        return self.world.dials.at.get(order.target.name, "fast") == self.to

    def apply(self, order: Order) -> Applied:
        world, name = self.world, order.target.name
        refused = refusal(world, self.process, f"the dial of {name}")
        if refused:
            return refused
        if world.dials.at.get(name, "fast") == self.to:
            return Applied(Did.ALREADY, f"already {self.to}")
        world.dials.at[name] = self.to
        world.tell(self.process.name, f"turns the dial of {name} to {self.to}")
        world.witness.done(self.process, order.target)
        undo = Undo("dial.back", {}) if self.to == "slow" else None
        return lost(world, self.process, "turned") or Applied(Did.DONE, self.to, undo=undo)


@dataclass
class Partner:
    """Calls somebody who knows a repetition by its id, and of whom nothing can be read."""

    world: World
    process: Process
    readable: ClassVar[bool] = False
    finishes: ClassVar[bool] = False

    def preview(self, order: Order) -> Preview:
        return Preview(("a call",))

    def holds(self, order: Order) -> None:
        return None

    def apply(self, order: Order) -> Applied:
        world = self.world
        refused = refusal(world, self.process, "the partner")
        if refused:
            return refused
        if order.id not in world.called:
            world.called.append(order.id)
            world.tell(self.process.name, f"calls the partner: {order.id}")
            world.witness.done(self.process, order.target)
        return lost(world, self.process, "called") or Applied(Did.DONE, "called")


def refusal(world: World, process: Process, what: str) -> Applied | None:
    """Return a refusal of what was not done, drawn by lot."""
    world.seam(process, f"reach {what}")
    if not world.chance.fault(0.15):
        return None
    did = world.chance.one((Did.BUSY, Did.BUSY, Did.FAILED))
    world.tell(process.name, f"{what} refuses: {did.value}")
    return Applied(did, "refused")


def lost(world: World, process: Process, what: str) -> Applied | None:
    """Return that no answer came to what was done, drawn by lot."""
    world.seam(process, what, likely=8)
    return Applied(Did.BUSY, "no answer came") if world.chance.fault(0.1) else None


def switch(apps: Apps, on: bool) -> Change:
    """Return the real switch on these apps."""
    return Change(apps, lambda order: Switch(order, on=on))


def actuators(world: World, process: Process, apps: Apps) -> dict[str, Watched]:
    """Return everything one process can do."""
    found = {
        "killswitch.engage": switch(apps, True),
        "killswitch.release": switch(apps, False),
        "dial.turn": Dial(world, process, "slow"),
        "dial.back": Dial(world, process, "fast"),
        "partner.call": Partner(world, process),
    }
    return {name: Watched(world, process, each, name) for name, each in found.items()}
