"""Playing a story against the whole of Tocsin: its script, its witness, and what came of it.

A story moves the local world along a script; the production adapters, engine and store do the rest over real HTTP. It
comes true when every milestone was seen, in order, and no claim was broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tocsin.app import App
from tocsin.core.container import engaged
from tocsin.core.message import Said
from tocsin.engine.tick import Engine
from tocsin.local.world import World

MINUTE = timedelta(minutes=1)
SWITCH = "KILLSWITCH_TOOLS"


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the timeline: when, what kind of thing, and the words."""

    at: datetime
    kind: str
    words: str


@dataclass(slots=True)
class Witness:
    """Sees everything a story does: it is the engine's log, and it watches the world. ``tell`` hears each moment."""

    now: Callable[[], datetime]
    tell: Callable[[Moment], None]
    moments: list[Moment] = field(default_factory=list)
    events: list[tuple[datetime, str, dict[str, Any]]] = field(default_factory=list)

    def info(self, event: str, /, **fields: Any) -> None:
        """Take one event of the engine's log."""
        self.events.append((self.now(), event, fields))
        words = _worded(event, fields)
        if words:
            self.see(*words)

    warning = info
    error = info

    def see(self, kind: str, words: str) -> None:
        """Put a moment on the timeline."""
        moment = Moment(self.now(), kind, words)
        self.moments.append(moment)
        self.tell(moment)

    def first(self, event: str, **wanted: Any) -> datetime | None:
        """Return when an event with these fields was first logged."""
        return next((at for at, name, fields in self.events if name == event and _has(fields, wanted)), None)

    def count(self, event: str, **wanted: Any) -> int:
        """Return how many events with these fields were logged."""
        return sum(1 for _, name, fields in self.events if name == event and _has(fields, wanted))


def _has(fields: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return all(fields.get(key) == value for key, value in wanted.items())


def _worded(event: str, fields: dict[str, Any]) -> tuple[str, str] | None:
    """Return the kind and words a logged event has on the timeline; None for what is not part of the story."""
    if event == "alert":
        detail = f" — {fields['detail']}" if fields.get("detail") else ""
        return str(fields["state"]), f"{fields['rule']} on {fields['target']}: {fields['change']}{detail}"
    if event == "delivery":
        accepted = fields["said"] == Said.ACCEPTED
        words = f"{fields['receiver']}: {fields['kind']}"
        return ("told", words) if accepted else ("not told", f"{words} — {fields['said']}, {fields['detail']}")
    if event == "execution":
        return str(fields["phase"]), f"{fields['id'].split('/')[0]}: {fields['reason']}"
    return None


@dataclass(slots=True)
class Stage:
    """One story under way: the world, the engine in it, its witness, and when the switch was first seen to serve."""

    world: World
    app: App
    witness: Witness
    started: datetime
    deployed: dict[str, str]
    results: Path
    """The folder that those of eval results are relative to."""
    serving: datetime | None = None

    @property
    def engine(self) -> Engine:
        """The engine of the app."""
        return self.app.engine

    def look(self) -> None:
        """Note the moment from which every request meets the engaged switch."""
        if self.serving is None and engaged(self.world.serving_env().get(SWITCH)):
            self.serving = self.world.clock.now()
            self.witness.see("serving", f"a revision with {SWITCH} serves all traffic")


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happens to the world at a point of the story."""

    at: timedelta
    words: str
    do: Callable[[Stage], None]


@dataclass(frozen=True, slots=True)
class Milestone:
    """Something that must be seen; ``when`` returns the moment, or None. ``loose`` ones have no place in the order."""

    name: str
    when: Callable[[Stage], datetime | None]
    loose: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that must hold at the end."""

    name: str
    holds: Callable[[Stage], bool]


@dataclass(frozen=True, slots=True)
class Story:
    """A script, what must be seen, and what must hold."""

    name: str
    summary: str
    length: timedelta
    steps: tuple[Step, ...]
    milestones: tuple[Milestone, ...]
    claims: tuple[Claim, ...]
    fork: str = "older"


@dataclass(frozen=True, slots=True)
class Played:
    """How a story went: each milestone with its moment (None: not seen), each claim, and whether it came true."""

    story: str
    started: datetime
    milestones: tuple[tuple[str, datetime | None], ...]
    claims: tuple[tuple[str, bool], ...]
    moments: tuple[Moment, ...]
    unmet: tuple[str, ...]
    """What kept the story from coming true, in words; empty when it did."""


def play(story: Story, stage: Stage, pace: Callable[[datetime], None]) -> Played:
    """Play the story to its end, one tick a story minute; ``pace`` is called before each step of story time."""
    steps = sorted(story.steps, key=lambda step: step.at)
    for at in _instants(story, steps):
        moment = stage.started + at
        pace(moment)
        stage.world.advance(moment)
        stage.look()
        while steps and steps[0].at <= at:
            step = steps.pop(0)
            stage.witness.see("world", step.words)
            step.do(stage)
            stage.deployed = stage.world.template_env()
        if at % MINUTE == timedelta():
            stage.engine.tick(moment)
    return _judged(story, stage)


def _judged(story: Story, stage: Stage) -> Played:
    milestones = tuple((each.name, each.when(stage)) for each in story.milestones)
    claims = tuple((each.name, each.holds(stage)) for each in story.claims)
    seen = [at for each, (_, at) in zip(story.milestones, milestones, strict=True) if at and not each.loose]
    unmet = [f"not seen: {name}" for name, at in milestones if at is None]
    unmet += [f"broken: {name}" for name, held in claims if not held]
    unmet += ["milestones out of order"] if seen != sorted(seen) else []
    return Played(story.name, stage.started, milestones, claims, tuple(stage.witness.moments), tuple(unmet))


def _instants(story: Story, steps: Iterable[Step]) -> list[timedelta]:
    every = timedelta(seconds=10)
    regular = {every * count for count in range(1, story.length // every + 1)}
    return sorted(regular | {step.at for step in steps})
