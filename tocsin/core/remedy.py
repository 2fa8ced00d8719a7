"""What a policy does about an episode: one execution, a stored value that ticks advance step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from tocsin.core.alert import Alert, State
from tocsin.core.policy import Policy
from tocsin.core.rule import Rule


class Phase(StrEnum):
    """``planned → refused | asked | intended → applied → verified | unverified | failed``."""

    REFUSED = "refused"
    ASKED = "asked"
    OBSERVED = "observed"
    INTENDED = "intended"
    APPLIED = "applied"
    VERIFIED = "verified"
    UNVERIFIED = "unverified"
    FAILED = "failed"

    @property
    def over(self) -> bool:
        """Whether nothing more will be done."""
        return self in (Phase.VERIFIED, Phase.UNVERIFIED, Phase.FAILED)

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
    seen: str = ""
    evidence: Mapping[str, str] = field(default_factory=dict)


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


def firing(alert: Alert) -> bool:
    """Return whether the alert fires at this moment, not merely recovers."""
    return alert.state is State.FIRING
