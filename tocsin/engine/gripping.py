"""A drill's grip on one switch: it changes it alone, with the intent recorded before, and releases only its own.

Belongs here: the two deeds of a drill and what must hold for them. Does not belong here: what is proven, or told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tocsin.core.action import Order
from tocsin.core.audit import Record
from tocsin.core.config import Target
from tocsin.core.drill import Step
from tocsin.core.remedy import Applied, Did
from tocsin.engine.claiming import Since, claims, written_by_others
from tocsin.engine.locking import HELD_FOR, alone
from tocsin.engine.tick import Engine
from tocsin.ports import StoreUnavailable

PATIENCE = timedelta(minutes=10)
"""How long the platform may take to serve a revision with the switch, or to be free for a change."""

_PAUSE = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is drilled. ``call`` sends one request to the target and returns what was answered, in words."""

    id: str
    target: Target
    scope: str
    by: str
    watch: timedelta
    call: Callable[[], tuple[bool, str]] | None = None
    unusable: Mapping[str, str] = field(default_factory=dict)
    """Receivers that cannot be used, and why."""
    skip: bool = False
    """Whether the revision with the switch starts without its bootstrap, as a policy may say."""


@dataclass(frozen=True, slots=True)
class Hands:
    """What a drill needs of whoever runs it: a clock, a way to wait, and somebody to tell of each step.

    What is done ``whole`` is not interrupted, and from ``ending`` on nothing is: then the drill releases the switch.
    """

    now: Callable[[], datetime]
    pause: Callable[[float], None]
    begins: Callable[[str], None]
    ended: Callable[[Step], None]
    whole: Callable[[], AbstractContextManager[None]] = nullcontext
    ending: Callable[[], None] = lambda: None


@dataclass(slots=True)
class Grip:
    """Holds one switch of one target for one drill."""

    engine: Engine
    plan: Plan
    hands: Hands
    since: Since = field(default_factory=Since)
    maybe_on: bool = False
    """Whether this drill may have engaged the switch and has not seen it released."""
    foreign: str = ""
    """Why the switch is not this drill's to release."""
    _tried: bool = False
    _recorded: set[str] = field(default_factory=set)

    @property
    def target(self) -> Target:
        """The one target that is touched."""
        return self.plan.target

    @property
    def _owner(self) -> str:
        return f"drill {self.plan.id}"

    def patiently(self, verb: str) -> Applied:
        """Do it once the platform is free, within the patience; return what came of it."""
        until = self.hands.now() + PATIENCE
        while True:
            try:
                outcome = self.once(verb)
            except StoreUnavailable as error:  # who else wants the switch on cannot be known now
                outcome = Applied(Did.BUSY, f"the store does not answer: {error}")
            if outcome.did is not Did.BUSY or self.hands.now() >= until:
                return outcome
            self.wait()

    def once(self, verb: str) -> Applied:
        """Do it alone on the target, with the intent recorded before and the outcome after."""
        with self.hands.whole(), alone(self.engine.store, self.target.name, self._owner, self.hands.now()) as mine:
            return self._alone(verb) if mine else Applied(Did.BUSY, "a policy is changing the app at this moment")

    def _alone(self, verb: str) -> Applied:
        if verb == "release":
            found = claims(self.engine, self.target, self.plan.scope, self.since)
            found += written_by_others(self.engine, self.target, self.plan.scope)
            if found:
                self.foreign = "; ".join(found)
                self.record("keeps the switch", {"because": self.foreign})
                return Applied(Did.FAILED, f"not released, because it is no longer the drill's alone: {self.foreign}")
            self.record("release intended", {})
        self.maybe_on = True
        skips = {"bootstrap": "skip"} if self.plan.skip and verb == "engage" else {}
        order = Order(f"drill/{self.plan.id}/{verb}", self.target, {"scope": self.plan.scope, **skips})
        outcome = self.engine.actuators[f"killswitch.{verb}"].apply(order)
        if outcome.did is Did.ALREADY and not self._tried:
            self.maybe_on, self.foreign = False, "somebody else engaged it just before the drill would have"
        self._tried = True
        self.record(f"{verb} {outcome.did.value}", {"detail": outcome.detail})
        return outcome

    def wait(self, seconds: float = _PAUSE) -> None:
        """Wait a little, and go on keeping other drills away."""
        self.hands.pause(seconds)
        with suppress(StoreUnavailable):
            self.hold()

    def hold(self) -> bool:
        """Keep other drills away from the target for a while."""
        return self.engine.store.lock(f"drill/{self.target.name}", self._owner, self.hands.now(), HELD_FOR)

    def let_go(self) -> None:
        """Let other drills have the target."""
        self.engine.store.unlock(f"drill/{self.target.name}", self._owner)

    def record(self, event: str, detail: Mapping[str, str]) -> None:
        """Never called ``engage …`` or ``release …``: by such records policies and the gate know what a person did."""
        kept = {"drill": self.plan.id, "scope": self.plan.scope, **detail}
        if (said := f"{event} {kept}") in self._recorded:  # a platform that is busy says so every few seconds
            return
        entry = Record(self.hands.now(), self.plan.by, f"drill {event}", self.target.name, "killswitch", kept)
        self.engine.store.record(None, [entry])
        self._recorded.add(said)
