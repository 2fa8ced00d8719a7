"""The stories: incidents, and what must be seen for each to have come true."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from tocsin.core import audit
from tocsin.core.alert import Change
from tocsin.core.answer import Query, Rows
from tocsin.core.container import engaged
from tocsin.core.message import Kind, Said
from tocsin.core.remedy import Phase
from tocsin.core.sight import SIGHT
from tocsin.local.accelerator import PLANTED
from tocsin.local.play import MINUTE, SWITCH, Claim, Milestone, Stage, Step, Story
from tocsin.local.releasing import approve, release, run_evals
from tocsin.notifiers.plain import defang, unlinked

RULE = "hitl_misconfigured"
MISCONFIGURED = "Message == 'tool.hitl_misconfigured'"

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


def _verified(prefix: str) -> Callable[[Stage], datetime | None]:
    def when(stage: Stage) -> datetime | None:
        found = (each for each in stage.engine.store.audit() if each["event"] == Phase.VERIFIED.value)
        first = next((each["at"] for each in found if each["subject"].startswith(prefix)), None)
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


def _nothing_refused(stage: Stage) -> bool:
    return stage.witness.count("delivery", kind=Kind.FAILED.value) == 0


def _nothing_leaked(stage: Stage) -> bool:
    """Search every message as received, every log event and every audit record for planted names and addresses."""
    world = stage.world
    return not leaked(
        repr(world.teams.cards),
        repr(world.pagerduty.received),
        repr(world.pagerduty.changes),
        repr(stage.witness.events),
        repr(stage.engine.store.audit()),
    )


def leaked(*texts: str) -> list[str]:
    """Return the planted names and addresses in ``texts``, as they are or as messages show them: not to be followed."""
    shown = {planted: {planted, unlinked(planted), defang(planted)} for planted in PLANTED}
    return [planted for planted, forms in shown.items() if any(form in text for form in forms for text in texts)]


def _one_variable(stage: Stage) -> bool:
    before, after = stage.deployed, dict(stage.world.template_env())
    return {key for key in before | after if before.get(key) != after.get(key)} <= {SWITCH}


def _no_tool_after(stage: Stage) -> bool:
    since = stage.serving
    if since is None:
        return False
    tools = ", ".join(f"'{tool}'" for tool in stage.world.target().side_effect_tools)
    where = f"Message == 'tool.executed' and tostring(Properties.external_system) in ({tools})"
    until = stage.started + _PROVISIONED
    between = " .. ".join(f"datetime({at:%Y-%m-%dT%H:%M:%SZ})" for at in (since, until))
    late = f"{where} and TimeGenerated between ({between})"
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

_UNSET = Step(
    timedelta(minutes=2, seconds=40),
    "a deployment drops HITL_APPROVER_ENDPOINT in production",
    lambda stage: stage.world.unset_approver(),
)

# Loose, because the app's configuration may show it before any tool was called.
_SEEN = Milestone("first misconfigured event", lambda stage: _first_row(stage, MISCONFIGURED), loose=True)

_PROVISIONED = 22 * MINUTE

_MISSION = Story(
    "mission",
    "production runs without a human approver; the switch is engaged, held, and released by a person after the evals",
    66 * MINUTE,
    (
        _UNSET,
        Step(
            _PROVISIONED,
            "azd provision mends the approver, and writes its template without the switch",
            lambda stage: stage.world.provision(),
        ),
        Step(33 * MINUTE, "the evals fail in one red-team case", lambda stage: run_evals(stage, failing=1)),
        Step(36 * MINUTE, "ada opens the link and presses Release", release),
        Step(
            40 * MINUTE,
            "a deployment mends what the case found, and keeps the switch",
            lambda stage: stage.world.deploy("2026.11.1"),
        ),
        Step(47 * MINUTE, "the evals pass", lambda stage: run_evals(stage, failing=0)),
        Step(60 * MINUTE, "ada opens the link and presses Release", release),
    ),
    (
        _SEEN,
        *_ENGAGED,
        Milestone("drift told", _told("fired", "team", "killswitch_drift")),
        Milestone("engaged again, proven", _verified("hold_killswitch/")),
        Milestone("release refused, evals red", lambda stage: stage.witness.first("release", said="refused")),
        Milestone("release ordered, evals green", lambda stage: stage.witness.first("release", said="ordered")),
        Milestone("released, proven", _verified("person/")),
    ),
    (
        Claim("engage, hold and release are one PATCH each", lambda stage: len(stage.world.arm.patches) == 3),
        Claim(f"no variable but {SWITCH} was changed by Tocsin", _one_variable),
        Claim("no side-effect tool ran behind the engaged switch", _no_tool_after),
        Claim("the switch is off at the end", lambda stage: not engaged(stage.world.serving_env().get(SWITCH))),
        *ALWAYS,
    ),
)

_CONFIGURATION = Story(
    "configuration",
    "no event is ever emitted: what the app is set to is enough",
    22 * MINUTE,
    (
        Step(
            timedelta(minutes=2, seconds=40),
            "a deployment drops HITL_APPROVER_ENDPOINT and leaves HITL_DEV_MODE on",
            lambda stage: stage.world.bypass_approver(),
        ),
    ),
    _ENGAGED,
    (
        *_ONCE,
        Claim("no event was ever emitted", lambda stage: _first_row(stage, MISCONFIGURED) is None),
        Claim("no action was reported as not done", _nothing_refused),
        *ALWAYS,
    ),
    fork="flagship",
)


def _breaks(kind: str) -> Callable[[Stage], None]:
    return lambda stage: stage.world.break_telemetry(kind)


_OUTAGE = Story(
    "outage",
    "telemetry answers with errors and partial results: nobody is paged for a rule, nothing is switched",
    26 * MINUTE,
    (
        Step(
            4 * MINUTE,
            "the workspace answers every query with an error",
            _breaks("error"),
        ),
        Step(
            10 * MINUTE,
            "the workspace answers with partial results",
            _breaks("partial"),
        ),
        Step(16 * MINUTE, "the workspace answers again", lambda stage: stage.world.mend_telemetry()),
    ),
    (
        Milestone("blind note accepted", _told("blind", "team", SIGHT.id)),
        Milestone("sight regained", _told("resolved", "team", SIGHT.id)),
    ),
    (
        Claim("nobody was paged for a rule", lambda stage: _pages(stage) == 0),
        Claim("exactly one blind note a receiver", lambda stage: _blind_notes(stage) == {"oncall": 1, "team": 1}),
        Claim("the killswitch was not touched", lambda stage: not stage.world.arm.patches),
        *ALWAYS,
    ),
)


def _blind_notes(stage: Stage) -> dict[str, int]:
    counted = {name: stage.witness.count("delivery", kind="blind", receiver=name) for name in stage.engine.notifiers}
    return {name: count for name, count in counted.items() if count}


_RECOVERS = Story(
    "recovers",
    "the approver is set again: the page resolves, and the switch stays on until a person releases it",
    48 * MINUTE,
    (_UNSET, Step(21 * MINUTE, "a person sets HITL_APPROVER_ENDPOINT again", lambda stage: stage.world.set_approver())),
    (
        _SEEN,
        *_ENGAGED,
        Milestone("rule resolved", _changed(Change.RESOLVED)),
        Milestone("page resolved at PagerDuty", _told("resolved", "oncall")),
    ),
    (
        Claim("the page is closed", lambda stage: stage.world.pagerduty.open() == []),
        Claim("the killswitch stays on", lambda stage: engaged(stage.world.serving_env().get(SWITCH))),
        Claim("exactly one PATCH was sent by Tocsin", lambda stage: len(stage.world.arm.patches) == 1),
        *ALWAYS,
    ),
)

_LAST = "last_resort/"


def _asked(prefix: str) -> Callable[[Stage], datetime | None]:
    def when(stage: Stage) -> datetime | None:
        asked = (each for each in stage.engine.store.audit() if each["event"] == Phase.ASKED.value)
        first = next((each["at"] for each in asked if each["subject"].startswith(prefix)), None)
        return datetime.fromisoformat(first) if first else None

    return when


def _started(stage: Stage) -> datetime | None:
    """Return when the switch was first said to be starting; it is proven nowhere until then."""
    return stage.witness.first("execution", phase="starting")


def _said_stopped(stage: Stage) -> datetime | None:
    return stage.witness.first("alert", rule=SIGHT.id, change=Change.FIRED.value) if _names_who(stage) else None


def _names_who(stage: Stage) -> bool:
    """Return whether the blind note says who stopped the app."""
    return any("the app is stopped, by policy last_resort" in repr(card) for card in stage.world.teams.cards)


def _silent_once_stopped(stage: Stage) -> bool:
    stopped = _verified(_LAST)(stage)
    if stopped is None:
        return False
    late = f"isnotempty(Message) and TimeGenerated > datetime({stopped:%Y-%m-%dT%H:%M:%SZ})"
    return _first_row(stage, late) is None


_LAST_RESORT = Story(
    "last_resort",
    "Foundry is down, so that no revision with the switch comes up: a person approves that the whole app is stopped",
    37 * MINUTE,
    (
        Step(timedelta(seconds=40), _UNSET.words, _UNSET.do),
        Step(3 * MINUTE, "Foundry goes down: nothing gets ready any more", lambda stage: stage.world.lose_foundry()),
        Step(timedelta(minutes=28, seconds=30), "ada opens the link and presses Approve", approve),
    ),
    (
        _SEEN,
        Milestone("rule firing", _changed(Change.FIRED)),
        Milestone("page accepted by PagerDuty", _told("fired", "oncall")),
        Milestone("PATCH sent", _patched),
        Milestone("switch starting", _started),
        Milestone("not proven in the time of its probes", _audited(Phase.UNVERIFIED.value)),
        Milestone("last resort asked", _asked(_LAST)),
        Milestone("approved by a person", lambda stage: stage.witness.first("decide", said="approved")),
        Milestone("app stopped, proven", _verified(_LAST)),
        Milestone("blind, and it says who stopped it", _said_stopped),
    ),
    (
        Claim("the switch was sent once", lambda stage: len(stage.world.arm.patches) == 1),
        Claim("the old revision never had the switch", lambda stage: stage.serving is None),
        Claim("the app was stopped once", lambda stage: [verb for verb, _ in stage.world.arm.acts] == ["stop"]),
        Claim("the app is stopped at the end", lambda stage: stage.world.arm.down(stage.world.target())),
        Claim("nothing of it says a word once it is stopped", _silent_once_stopped),
        Claim("what it was stopped for is not called over", lambda stage: _changed(Change.RESOLVED)(stage) is None),
        *ALWAYS,
    ),
)

STORIES = {story.name: story for story in (_MISSION, _CONFIGURATION, _OUTAGE, _RECOVERS, _LAST_RESORT)}
"""Every story by name."""
