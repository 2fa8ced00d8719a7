"""Stories: incidents played against the whole of Tocsin, and what must be seen for each to have come true.

A story moves the local world along a script; the production adapters, engine and store do the rest over real HTTP. It
comes true when every milestone was seen, in order, and no claim was broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tocsin.core import audit
from tocsin.core.alert import Change
from tocsin.core.answer import Query, Rows
from tocsin.core.container import engaged
from tocsin.core.message import Said
from tocsin.core.remedy import Phase
from tocsin.core.sight import SIGHT
from tocsin.engine.tick import Engine
from tocsin.local.accelerator import PLANTED
from tocsin.local.world import World

MINUTE = timedelta(minutes=1)
SWITCH = "KILLSWITCH_TOOLS"
RULE = "hitl_misconfigured"


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
    engine: Engine
    witness: Witness
    started: datetime
    serving: datetime | None = None
    deployed: dict[str, str] = field(default_factory=dict)

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
    do: Callable[[World], None]


@dataclass(frozen=True, slots=True)
class Milestone:
    """Something that must be seen; ``when`` returns the moment, or None."""

    name: str
    when: Callable[[Stage], datetime | None]


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

    @property
    def true(self) -> bool:
        """Whether everything was seen, in order, and every claim holds."""
        seen = [at for _, at in self.milestones if at is not None]
        return len(seen) == len(self.milestones) and seen == sorted(seen) and all(held for _, held in self.claims)


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
            step.do(stage.world)
            stage.deployed = stage.world.template_env()
        if at % MINUTE == timedelta():
            stage.engine.tick(moment)
    milestones = tuple((each.name, each.when(stage)) for each in story.milestones)
    claims = tuple((each.name, each.holds(stage)) for each in (*story.claims, *ALWAYS))
    return Played(story.name, stage.started, milestones, claims, tuple(stage.witness.moments))


def _instants(story: Story, steps: Iterable[Step]) -> list[timedelta]:
    every = timedelta(seconds=10)
    regular = {every * count for count in range(1, story.length // every + 1)}
    return sorted(regular | {step.at for step in steps})


# What is looked for


def _first_row(stage: Stage, where: str) -> datetime | None:
    world = stage.world
    text = f"AppTraces | where {where} | summarize earliest = min(TimeGenerated)"
    answer = world.telemetry.ask(Query(text, stage.started - MINUTE, world.clock.now() + MINUTE), world.target())
    if not isinstance(answer, Rows):
        raise AssertionError(f"the world did not answer its own question: {answer}")
    value = answer.rows[0][0] if answer.rows else None
    return value if isinstance(value, datetime) else None


def _audited(event: str) -> Callable[[Stage], datetime | None]:
    def when(stage: Stage) -> datetime | None:
        found = (entry["at"] for entry in stage.engine.store.audit() if entry["event"] == event)
        first = next(found, None)
        return datetime.fromisoformat(first) if first else None

    return when


def _changed(change: Change) -> Callable[[Stage], datetime | None]:
    return lambda stage: stage.witness.first("alert", rule=RULE, change=change.value)


def _told(kind: str, receiver: str, rule: str = RULE) -> Callable[[Stage], datetime | None]:
    wanted = {"kind": kind, "receiver": receiver, "rule": rule, "said": Said.ACCEPTED.value}
    return lambda stage: stage.witness.first("delivery", **wanted)


def _patched(stage: Stage) -> datetime | None:
    return stage.world.arm.patches[0].at if stage.world.arm.patches else None


def _pages(stage: Stage) -> int:
    return stage.witness.count("delivery", kind="fired", said=Said.ACCEPTED.value)


def _nothing_leaked(stage: Stage) -> bool:
    """Search every message as received, every log event and every audit record for planted names and addresses."""
    world = stage.world
    texts = [
        repr(world.teams.cards),
        repr(world.pagerduty.received),
        repr(world.pagerduty.changes),
        repr(stage.witness.events),
        repr(stage.engine.store.audit()),
    ]
    return not any(planted in text for planted in PLANTED for text in texts)


def _one_variable(stage: Stage) -> bool:
    before, after = stage.deployed, dict(stage.world.template_env())
    return {key for key in before | after if before.get(key) != after.get(key)} <= {SWITCH}


def _no_tool_after(stage: Stage) -> bool:
    since = stage.serving
    if since is None:
        return False
    tools = ", ".join(f"'{tool}'" for tool in stage.world.target().side_effect_tools)
    where = f"Message == 'tool.executed' and tostring(Properties.external_system) in ({tools})"
    late = f"{where} and TimeGenerated >= datetime({since:%Y-%m-%dT%H:%M:%SZ})"
    return _first_row(stage, late) is None and _first_row(stage, where) is not None


ALWAYS = (
    Claim("the audit chain is whole", lambda stage: audit.broken(stage.engine.store.audit()) is None),
    Claim("no name or address of a customer left the telemetry", _nothing_leaked),
)

_ENGAGED = (
    Milestone("rule pending", _changed(Change.PENDING)),
    Milestone("rule firing", _changed(Change.FIRED)),
    Milestone("page accepted by PagerDuty", _told("fired", "oncall")),
    Milestone("page accepted by Teams", _told("fired", "team")),
    Milestone("intent recorded", _audited("intended")),
    Milestone("PATCH sent", _patched),
    Milestone("revision serving", lambda stage: stage.serving),
    Milestone("tools seen stopped", _audited(Phase.VERIFIED.value)),
)

_ONCE = (
    Claim("exactly one PATCH was sent", lambda stage: len(stage.world.arm.patches) == 1),
    Claim(f"no variable but {SWITCH} was changed by Tocsin", _one_variable),
)

_UNSET = Step(timedelta(minutes=3), "a deployment drops HITL_APPROVER_ENDPOINT in production", World.unset_approver)

_MISSION = Story(
    "mission",
    "production runs without a human approver; the switch is engaged and proven",
    22 * MINUTE,
    (_UNSET,),
    (
        Milestone("first misconfigured event", lambda stage: _first_row(stage, "Message == 'tool.hitl_misconfigured'")),
        *_ENGAGED,
    ),
    (*_ONCE, Claim("no side-effect tool ran behind the engaged switch", _no_tool_after)),
)

_CONFIGURATION = Story(
    "configuration",
    "no event is ever emitted: only the variable is missing, and that is enough",
    22 * MINUTE,
    (_UNSET,),
    _ENGAGED,
    (
        *_ONCE,
        Claim(
            "no event was ever emitted", lambda stage: _first_row(stage, "Message == 'tool.hitl_misconfigured'") is None
        ),
    ),
    fork="flagship",
)

_OUTAGE = Story(
    "outage",
    "telemetry answers with errors and partial results: nobody is paged for a rule, nothing is switched",
    26 * MINUTE,
    (
        Step(
            4 * MINUTE, "the workspace answers every query with an error", lambda world: world.break_telemetry("error")
        ),
        Step(10 * MINUTE, "the workspace answers with partial results", lambda world: world.break_telemetry("partial")),
        Step(16 * MINUTE, "the workspace answers again", lambda world: world.mend_telemetry()),
    ),
    (
        Milestone("blind note accepted", _told("blind", "team", SIGHT.id)),
        Milestone("sight regained", _told("resolved", "team", SIGHT.id)),
    ),
    (
        Claim("nobody was paged for a rule", lambda stage: _pages(stage) == 0),
        Claim("exactly one blind note a receiver", lambda stage: _blind_notes(stage) == {"oncall": 1, "team": 1}),
        Claim("the killswitch was not touched", lambda stage: not stage.world.arm.patches),
    ),
)


def _blind_notes(stage: Stage) -> dict[str, int]:
    counted = {name: stage.witness.count("delivery", kind="blind", receiver=name) for name in stage.engine.notifiers}
    return {name: count for name, count in counted.items() if count}


_RECOVERS = Story(
    "recovers",
    "the approver is set again: the page resolves, and the switch stays on until a person releases it",
    48 * MINUTE,
    (_UNSET, Step(21 * MINUTE, "a person sets HITL_APPROVER_ENDPOINT again", World.set_approver)),
    (
        *_MISSION.milestones,
        Milestone("rule resolved", _changed(Change.RESOLVED)),
        Milestone("page resolved at PagerDuty", _told("resolved", "oncall")),
    ),
    (
        Claim("the page is closed", lambda stage: stage.world.pagerduty.open() == []),
        Claim("the killswitch stays on", lambda stage: engaged(stage.world.serving_env().get(SWITCH))),
        Claim("exactly one PATCH was sent by Tocsin", lambda stage: len(stage.world.arm.patches) == 1),
    ),
)

STORIES = {story.name: story for story in (_MISSION, _CONFIGURATION, _OUTAGE, _RECOVERS)}
"""Every story by name."""


def unmet(played: Played) -> Sequence[str]:
    """Return what kept the story from coming true, in words."""
    missing = [f"not seen: {name}" for name, at in played.milestones if at is None]
    broken = [f"broken: {name}" for name, held in played.claims if not held]
    seen = [at for _, at in played.milestones if at]
    return [*missing, *broken, *(["milestones out of order"] if seen != sorted(seen) else [])]
