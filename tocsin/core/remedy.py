"""What a policy does about an episode: one execution, a stored value that ticks advance step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from tocsin.core.action import Order, Undo
from tocsin.core.alert import Alert
from tocsin.core.config import Target
from tocsin.core.fields import Automation, Severity
from tocsin.core.policy import Policy
from tocsin.core.rule import Rule
from tocsin.core.units import spell


class Phase(StrEnum):
    """``refused | asked | observed → intended → applied → verified | unverified | failed | stood down``."""

    REFUSED = "refused"
    ASKED = "asked"
    OBSERVED = "observed"
    INTENDED = "intended"
    APPLIED = "applied"
    VERIFIED = "verified"
    UNVERIFIED = "unverified"
    FAILED = "failed"
    STOOD_DOWN = "stood down"

    @property
    def over(self) -> bool:
        """Whether nothing more will be done."""
        return self in (Phase.VERIFIED, Phase.UNVERIFIED, Phase.FAILED, Phase.STOOD_DOWN)

    @property
    def acting(self) -> bool:
        """Whether the world may be, or is being, changed."""
        return self in (Phase.INTENDED, Phase.APPLIED)


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


@dataclass(frozen=True, slots=True)
class Execution:
    """One policy's answer to one episode on one target. ``id`` is ``policy/episode``: what arrives twice acts once."""

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
    version: int = 1
    """How often it was saved; a writer that holds an older version loses and decides again."""
    stopped_by: str = ""
    """The guard's check that stood in the way, so that the same refusal is recorded once."""

    def moved(self, phase: Phase, reason: str, **changes: Any) -> Execution:
        """Return the next version of this execution, in ``phase``."""
        return replace(self, phase=phase, reason=reason, version=self.version + 1, **changes)

    def check_passed(self, name: str) -> datetime | None:
        """Return when the named check was seen to hold, or None."""
        return dict(self.passed).get(name)


def identity(policy: Policy, alert: Alert) -> str:
    """Return the execution's id: the same policy and episode always give the same one."""
    return f"{policy.id}/{alert.episode}"


def answers(policy: Policy, rule: Rule, alert: Alert, labels: Mapping[str, str]) -> bool:
    """Return whether ``policy`` is about this alert (not yet whether it may act)."""
    on = policy.on
    return (
        policy.enabled
        and alert.open
        and on.rule in (None, rule.id)
        and on.severity in (None, rule.severity)
        and all(labels.get(key) == value for key, value in on.labels.items())
    )


def begin(policy: Policy, alert: Alert, now: datetime) -> Execution:
    """Return a new execution of ``policy`` for the alert's episode, before the guard has ruled on it."""
    step = policy.do[0]
    return Execution(
        id=identity(policy, alert),
        policy=policy.id,
        target=alert.target,
        episode=alert.episode,
        action=step.action,
        args=step.args,
        phase=Phase.REFUSED,
        begun=now,
        version=0,
    )


def order(execution: Execution, target: Target) -> Order:
    """Return what the execution's actuator is told: the same at every attempt."""
    facts = {"policy": execution.policy, "rule": execution.episode.split("/")[0], "episode": execution.episode}
    return Order(execution.id, target, execution.args, facts, execution.intended)


def promise(policy: Policy, target: Target, mode: Automation) -> str:
    """Return what the policy will do, in the words of a message, before it is done. ``mode`` is how far it may go."""
    step = policy.do[0]
    args = ", ".join(f"{key} {value}" for key, value in step.args.items())
    if step.action not in target.allow:
        return f"{policy.id} does nothing: {target.name} does not allow {step.action}"
    will = {
        Automation.ACT: "does",
        Automation.ASK: "asks before it does",
        Automation.OBSERVE: "only notes that it would do",
    }
    verb = will.get(mode, "is off and does not do")
    return f"{policy.id} {verb} {step.action} ({args}) once this has fired for {spell(policy.on.firing_for)}"


def lost_policy(execution: Execution) -> Policy:
    """Return what is still known of a policy whose file is gone while its execution is under way."""
    given = {
        "id": execution.policy,
        "summary": "Its policy was removed, or cannot be read, while it was under way.",
        "on": {"rule": execution.episode.split("/")[0]},
        "do": [{"action": execution.action, "args": dict(execution.args)}],
        "guard": {"mode": Automation.OFF},
    }
    return Policy.model_validate(given)


def lost_rule(execution: Execution) -> Rule:
    """Return what is still known of a rule whose file is gone: that somebody was told of its alert."""
    when = {"kql": "-", "above": 0.0, "over": timedelta(minutes=1)}
    name = execution.episode.split("/")[0]
    return Rule.model_validate({"id": name, "summary": "Its rule was removed.", "severity": Severity.P1, "when": when})
