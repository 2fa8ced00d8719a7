"""What a policy does about an episode: one execution, a stored value that ticks advance step by step."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import rfc8785

from tocsin.core import container
from tocsin.core.action import Order, Undo
from tocsin.core.alert import Alert
from tocsin.core.config import Target
from tocsin.core.fields import POSTED, Automation
from tocsin.core.instance import texts
from tocsin.core.policy import Policy, Step, Trigger
from tocsin.core.rule import Rule
from tocsin.core.text import cut, fill
from tocsin.core.units import spell

LAST_RESORT = frozenset({"container_app.stop"})
"""Actions for when a killswitch failed: always asked, and of one target at a time."""


class Phase(StrEnum):
    """``refused | asked | observed → intended → applied → verified | unverified | failed | stood down | declined``.

    With several steps ``applied`` is followed by ``intended`` of the next; ``undoing`` comes before ``failed`` where
    something has to be taken back.
    """

    REFUSED = "refused"
    ASKED = "asked"
    OBSERVED = "observed"
    INTENDED = "intended"
    APPLIED = "applied"
    UNDOING = "undoing"
    VERIFIED = "verified"
    UNVERIFIED = "unverified"
    FAILED = "failed"
    STOOD_DOWN = "stood down"
    DECLINED = "declined"

    @property
    def over(self) -> bool:
        """Whether nothing more will be done."""
        return self in _OVER

    @property
    def acting(self) -> bool:
        """Whether the world may be, or is being, changed."""
        return self in (Phase.INTENDED, Phase.APPLIED, Phase.UNDOING)

    @property
    def waiting(self) -> bool:
        """Whether it may still be begun."""
        return self in (Phase.REFUSED, Phase.ASKED, Phase.OBSERVED)


_OVER = frozenset({Phase.VERIFIED, Phase.UNVERIFIED, Phase.FAILED, Phase.STOOD_DOWN, Phase.DECLINED})


class Did(StrEnum):
    """What an actuator found."""

    DONE = "done"
    ALREADY = "already so"
    BUSY = "busy"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Applied:
    """The outcome of one apply. ``BUSY`` means nothing was changed and a later tick tries again."""

    did: Did
    detail: str = ""
    before: str = ""
    after: str = ""
    operation: str = ""
    """Where the platform reports on a long-running change; empty when there is none."""
    undo: Undo | None = None
    """What takes it back; None when nothing was changed, or nothing can."""
    starts: timedelta | None = None
    """How long the new revision may take to serve; None when the change makes none."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One step as it was when the execution began: a policy edited meanwhile changes nothing of it."""

    action: str
    args: Mapping[str, str]
    name: str
    within: timedelta
    undo_on_failure: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """A step that changed something. ``undo`` takes it back when a later step fails."""

    name: str
    at: datetime
    undo: Undo | None = None


@dataclass(frozen=True, slots=True)
class Consent:
    """A person's word on what was asked."""

    by: str
    at: datetime

    def lapsed(self, now: datetime) -> bool:
        """Return whether it is too old to be acted upon."""
        return now - self.at >= CONSENT_HOLDS


Change = tuple[str, tuple[tuple[str, tuple[tuple[str, str], ...]], ...]]
"""A target, and each action with its arguments."""

_LONGEST = 4_000
"""Letters of what an actuator or a check said: with them an execution fits one row of the store."""

CONSENT_HOLDS = timedelta(minutes=15)
"""How long after a person's consent it may be acted upon: the world they saw is not that of an hour later."""


@dataclass(frozen=True, slots=True)
class Execution:
    """One policy's answer to one episode on one target. ``id`` is ``policy/episode``: what arrives twice acts once.

    ``action``, ``args``, ``intended``, ``applied``, ``before``, ``after`` and ``passed`` are those of the step under
    way, ``step`` of ``plan``.
    """

    id: str
    policy: str
    target: str
    episode: str
    action: str
    args: Mapping[str, str]
    phase: Phase
    reason: str = ""
    begun: datetime | None = None
    intended: datetime | None = None
    applied: datetime | None = None
    ended: datetime | None = None
    passed: tuple[tuple[str, datetime], ...] = ()
    """Which checks of ``verify`` were seen to hold, and when."""
    before: str = ""
    after: str = ""
    operation: str = ""
    attempts: int = 0
    sending: datetime | None = None
    """Since when an attempt is under way that cannot be read back; it stays where the process died in between."""
    version: int = 1
    """How often it was saved; a writer that holds an older version loses and decides again."""
    stopped_by: str = ""
    """The guard's check that stood in the way, so that the same refusal is recorded once."""
    stopped: datetime | None = None
    """Since when it has stood in the way."""
    plan: tuple[Planned, ...] = ()
    step: int = 0
    done: tuple[Done, ...] = field(default=())
    consent: Consent | None = None
    by: str = ""
    """The person who ordered it; empty for a policy's."""
    stormy: bool = False
    """Whether it was ever asked because too much was wanted at once: from then on it is never done unasked."""
    starts_by: datetime | None = None
    """Until when the revision that the step under way made may take to serve, by the app's own probes."""

    def moved(self, phase: Phase, reason: str, **changes: Any) -> Execution:
        """Return the next version of this execution, in ``phase``."""
        bounded: dict[str, Any] = {
            key: cut(value, _LONGEST) if isinstance(value, str) else value for key, value in changes.items()
        }
        return replace(self, phase=phase, reason=cut(reason, _LONGEST), version=self.version + 1, **bounded)

    def check_passed(self, name: str) -> datetime | None:
        """Return when the named check was seen to hold, or None."""
        return dict(self.passed).get(name)

    @property
    def starting(self) -> bool:
        """Whether it is applied, and the app has time to start a revision with it."""
        return self.phase is Phase.APPLIED and self.starts_by is not None and not self.passed

    @property
    def state(self) -> str:
        """What people read of its phase."""
        return "starting" if self.starting else self.phase.value

    @property
    def planned(self) -> Planned:
        """The step under way."""
        if self.step < len(self.plan):
            return self.plan[self.step]
        return Planned(self.action, self.args, self.action, Step(action=self.action).within)

    @property
    def actions(self) -> list[str]:
        """Every action of its plan; one that was stored before there were plans has its own alone."""
        return [step.action for step in self.plan] or [self.action]

    @property
    def changes(self) -> Change:
        """What it changes and where: of executions with the same changes one does them, and the others find it done."""
        plan = self.plan or (self.planned,)
        return self.target, tuple((step.action, tuple(sorted(step.args.items()))) for step in plan)

    @property
    def last_step(self) -> bool:
        """Whether nothing follows the step under way."""
        return self.step + 1 >= len(self.plan)

    @property
    def asks(self) -> str:
        """Names the execution and its plan: what a person consents to is this plan and no other."""
        plan = [[step.action, sorted(step.args.items()), step.name, step.undo_on_failure] for step in self.plan]
        return f"{self.id}#{hashlib.sha256(rfc8785.dumps(_lists(plan))).hexdigest()[:16]}"

    @property
    def first_intended(self) -> datetime | None:
        """When it first set out to change something."""
        return self.done[0].at if self.done else self.intended

    @property
    def found_so(self) -> bool:
        """Whether all that it was applied for was found to be so already: it has changed nothing."""
        return bool(self.plan) and self.applied is not None and not self.done

    def to_undo(self) -> tuple[Done, ...]:
        """Return what has to be taken back once it has failed, the newest first, also what nothing can take back."""
        wanted = {each.name for each in self.plan if each.undo_on_failure}
        return tuple(each for each in reversed(self.done) if each.name in wanted)

    def next_step(self, reason: str, now: datetime) -> Execution:
        """Return it with the next step intended."""
        step = self.plan[self.step + 1]
        fresh: dict[str, Any] = {"applied": None, "passed": (), "before": "", "after": "", "operation": ""}
        fresh["starts_by"] = None
        changes = {"action": step.action, "args": step.args, "step": self.step + 1, "intended": now, "attempts": 0}
        return self.moved(Phase.INTENDED, reason, **fresh, **changes)


def _lists(value: Any) -> Any:
    return [_lists(each) for each in value] if isinstance(value, list | tuple) else value


def identity(policy: Policy, alert: Alert, number: int = 1) -> str:
    """Return the execution's id: the same policy and episode always give the same one.

    Only what holds a switch acts several times in one episode, by ``number``: the switch may go again as it is held.
    """
    return f"{policy.id}/{alert.episode}" + (f"~{number}" if number > 1 else "")


def goes_on(policy: Policy, alert: Alert, newest: Execution | None) -> bool:
    """Return whether a further execution answers the same episode: what was held is seen to be gone once more."""
    done = newest is not None and newest.phase is Phase.VERIFIED
    return policy.hold and done and bool(newest and newest.ended and alert.slot and alert.slot > newest.ended)


def answers(policy: Policy, rule: Rule, alert: Alert, labels: Mapping[str, str]) -> bool:
    """Return whether ``policy`` is about this alert (not yet whether it may act)."""
    on = policy.on
    return (
        policy.enabled
        and alert.open
        and means(on, rule)
        and not (policy.hold and texts(alert.by).get("scope") == container.WHOLE)  # nothing is stopped unasked
        and all(labels.get(key) == value for key, value in on.labels.items())
    )


def is_last_resort(policy: Policy) -> bool:
    """Return whether the policy is for when a killswitch has failed."""
    return any(step.action in LAST_RESORT for step in policy.do)


def answering(policies: Iterable[Policy], rule: Rule, alert: Alert, labels: Mapping[str, str]) -> list[Policy]:
    """Return the policies that are about this alert, the last resort after all others."""
    found = [each for each in policies if answers(each, rule, alert, labels)]
    return sorted(found, key=is_last_resort)


def means(on: Trigger, rule: Rule) -> bool:
    """Return whether a policy is about a rule, before its labels are compared.

    Alerts of Azure Monitor are what somebody posted. A policy acts on them only if it names them, by ``rule`` or by the
    label ``source``: a severity or a label of the target is not enough.
    """
    if POSTED in rule.labels.items() and on.rule is None and POSTED not in on.labels.items():
        return False
    return on.rule in (None, rule.id) and on.severity in (None, rule.severity)


def begin(
    policy: Policy, alert: Alert, now: datetime, number: int = 1, declared: Mapping[str, str] | None = None
) -> Execution:
    """Return a new execution of ``policy`` for the alert's episode, before the guard has ruled on it.

    ``declared`` are the labels that the operator's own files give the alert: they, and nothing from telemetry, stand in
    its arguments where these have ``{name}``.
    """
    known = {**(declared or {}), "rule": alert.rule, "target": alert.target, **_scope(policy, alert)}
    plan = tuple(_planned(step, number, known) for number, step in enumerate(policy.do, 1))
    return Execution(
        id=identity(policy, alert, number),
        policy=policy.id,
        target=alert.target,
        episode=alert.episode,
        action=plan[0].action,
        args=plan[0].args,
        phase=Phase.REFUSED,
        begun=now,
        version=0,
        plan=plan,
    )


def _scope(policy: Policy, alert: Alert) -> dict[str, str]:
    """Return which switch has gone, for a policy that holds it: one of those that there are, whoever says so."""
    said = texts(alert.by).get("scope")
    return {"scope": said} if said and policy.hold and said in container.SCOPES else {}


def _planned(step: Step, number: int, known: Mapping[str, str]) -> Planned:
    args = {name: fill(value, known) for name, value in step.args.items()}
    return Planned(step.action, args, step.id or f"step {number}", step.within, step.undo_on_failure)


def ordered(by: str, identity: str, target: Target, action: str, args: Mapping[str, str], now: datetime) -> Execution:
    """Return what a person ordered, intended: the same ``identity`` is carried out once."""
    step = Planned(action, args, "step 1", Step(action=action).within)
    return Execution(
        id=f"person/{identity}",
        policy=f"person {by}",
        target=target.name,
        episode=f"ordered/{target.name}/{identity}",
        action=action,
        args=args,
        phase=Phase.INTENDED,
        reason=f"ordered by {by}",
        begun=now,
        intended=now,
        plan=(step,),
        by=by,
    )


def order(execution: Execution, target: Target) -> Order:
    """Return what the execution's actuator is told: the same at every attempt, but for their number."""
    name = f"{execution.id}/{execution.planned.name}" if execution.step else execution.id
    return Order(name, target, execution.args, _facts(execution), execution.intended, execution.attempts)


def order_of(execution: Execution, step: Planned, target: Target) -> Order:
    """Return what the actuator of a step that was done is asked whether the world still is as the step left it."""
    return Order(f"{execution.id}/{step.name}", target, step.args, _facts(execution), execution.intended)


def order_to_undo(execution: Execution, done: Done, target: Target) -> Order:
    """Return the order that takes a step back."""
    undo = done.undo
    return Order(
        f"{execution.id}/{done.name}/undo", target, undo.args if undo else {}, _facts(execution), execution.intended
    )


def _facts(execution: Execution) -> dict[str, str]:
    return {"policy": execution.policy, "rule": execution.episode.split("/")[0], "episode": execution.episode}


def promise(policy: Policy, target: Target, mode: Automation) -> str:
    """Return what the policy will do, in the words of a message, before it is done. ``mode`` is how far it may go."""
    forbidden = [step.action for step in policy.do if step.action not in target.allow]
    if forbidden:
        return f"{policy.id} does nothing: {target.name} does not allow {forbidden[0]}"
    will = {
        Automation.ACT: "does",
        Automation.ASK: "asks before it does",
        Automation.OBSERVE: "only notes that it would do",
    }
    verb = will.get(mode, "is off and does not do")
    steps = ", then ".join(spelled(step.action, step.args) for step in policy.do)
    when = f"once this has fired for {spell(policy.on.firing_for)}"
    if is_last_resort(policy):
        when = "should a killswitch that is engaged for this fail, or not be proven in its time"
    return f"{policy.id} {verb} {steps} {when}"


def spelled(action: str, args: Mapping[str, str]) -> str:
    """Return an action with its arguments, for people."""
    given = ", ".join(f"{key} {value}" for key, value in args.items())
    return f"{action} ({given})" if given else action
