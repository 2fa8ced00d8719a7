"""A policy: what Tocsin may do about a firing alert, how it proves it, and what holds it back."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from tocsin.core.audience import WEEKDAYS, Weekday, some_length
from tocsin.core.fields import (
    Automation,
    ClockTime,
    Duration,
    Flag,
    Labels,
    Model,
    PerTime,
    Radius,
    Rate,
    Severity,
    Spread,
    Wait,
    Zone,
)
from tocsin.core.mute import Quiet, quiet
from tocsin.core.rule import Limits

MOST_STEPS = 10
"""Steps of one policy."""


class Trigger(Model):
    """Which firing alerts the policy answers; every key given must match."""

    rule: str | None = None
    """The rule whose alerts are meant."""
    severity: Severity | None = None
    """The severity of the alerts meant."""
    labels: Labels = {}
    """Labels that the alerts have."""
    firing_for: Wait = timedelta()
    """How long it has to have been breached."""

    @model_validator(mode="after")
    def _says_which(self) -> Trigger:
        if self.rule is None and self.severity is None and not self.labels:
            raise PydanticCustomError("no-trigger", "say which alerts: one of rule, severity, labels")
        return self


class Step(Model):
    """One action, by its name (``killswitch.engage``), with its arguments.

    ``within`` is how long it may take from its intent, and again to be seen done; ``undo_on_failure`` takes it back
    when it or a later step fails.
    """

    action: str
    args: dict[str, str] = {}
    id: str = Field(default="", pattern=r"^([a-z][a-z0-9_]{0,31})?$")
    """What the audit calls it."""
    within: Duration = timedelta(minutes=15)
    """How long it may take, and again to be seen done."""
    undo_on_failure: Flag = False
    """Whether it is taken back when it or a later step fails."""


ABOUT = frozenset({"id", "within", "undo_on_failure"})
"""Keys of a step that are about it; the one beside them is its action."""


def _step(value: Any) -> Any:
    if isinstance(value, Step) or (isinstance(value, dict) and {"action", "args"} <= value.keys()):
        return value
    named = [key for key in value if key not in ABOUT] if isinstance(value, dict) else []
    if len(named) != 1:
        raise PydanticCustomError(
            "bad-step", "a step is one action with its arguments, like `killswitch.engage: {scope: tools}`"
        )
    return {"action": named[0], "args": value[named[0]] or {}, **{key: value[key] for key in ABOUT & value.keys()}}


class Check(Limits):
    """One proof read back from the world: a variable on the revisions that serve, or a signal."""

    container_env: str | None = None
    """The variable that has to be as ``is`` says."""
    is_: Literal["on", "off"] | None = Field(default=None, alias="is")
    """What the variable says."""
    on: Literal["every serving revision"] = "every serving revision"
    """Which revisions are looked at."""
    signal: str | None = None
    """The signal whose value has to compare as said."""
    over: Duration = timedelta(minutes=2)
    """The stretch the signal is measured over."""
    within: Duration
    """How long the proof may take."""

    @model_validator(mode="after")
    def _one_kind(self) -> Check:
        if (self.container_env is None) == (self.signal is None):
            raise PydanticCustomError("bad-check", "a check is about `container_env` or about `signal`")
        if self.container_env and (self.is_ is None or self.limits):
            raise PydanticCustomError("bad-check", "`container_env` needs `is: on` or `is: off`, and no comparison")
        if self.signal and (self.is_ is not None or len(self.limits) != 1):
            raise PydanticCustomError("bad-check", "`signal` needs one of above, at_least, below, at_most, and no `is`")
        return self


class Hours(Model):
    """When the policy may act by itself; at other times it asks. By the wall clock of ``time_zone``."""

    time_zone: Zone = "UTC"
    """Whose clock it is."""
    from_: ClockTime = Field(default=time(0), alias="from")
    """When the hours begin."""
    to: ClockTime = time(0)
    """When they end; before they begin means the next day."""
    weekdays: tuple[Weekday, ...] = ()
    """The days they are on; without any, every day."""

    @model_validator(mode="after")
    def _some_time(self) -> Hours:
        some_length(self.from_, self.to)
        return self

    def open(self, now: datetime) -> bool:
        """Return whether ``now`` lies within them."""
        weekdays = frozenset(WEEKDAYS.index(each) for each in self.weekdays)
        return quiet(Quiet("", (), self.time_zone, self.from_, self.to, weekdays), now)


def _hours(value: Any) -> Any:
    return None if value == "always" else value


class Guard(Model):
    """What must hold before the policy acts.

    Fresh telemetry is needed always. ``blast_radius`` is how many targets the policy may touch in how long, and which
    share of all; one target is never too many.
    """

    mode: Automation
    """How far it may go by itself."""
    at_most: PerTime = Rate(count=1, per=timedelta(hours=1))
    """How often it may act."""
    cooldown: Wait = timedelta(minutes=30)
    """How long after an action there is no other."""
    needs: tuple[Literal["fresh telemetry", "no deployment in progress"], ...] = ("fresh telemetry",)
    """What has to be so besides."""
    hours: Annotated[Hours | None, BeforeValidator(_hours)] = None
    """When it may act by itself; at other times it asks."""
    blast_radius: Radius = Spread(count=3, per=timedelta(minutes=15))
    """How many targets it may touch in how long, and which share of all."""


class Undo(Model):
    """Who may take the action back, and after what."""

    by: Literal["a person"] = "a person"
    """Who takes it back."""
    after: str = ""
    """After what."""


class Failure(Model):
    """Who hears when the policy could not do what it promised."""

    escalate: str
    """The receiver that hears of it; or a severity, like ``P1``: whoever hears of such an alert."""


class Policy(Model):
    """One remediation policy. ``id`` is the file's name without its ending."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    summary: str = Field(min_length=1, max_length=500)
    """What it does, in one line."""
    on: Trigger
    """Which firing alerts it answers."""
    do: Annotated[tuple[Annotated[Step, BeforeValidator(_step)], ...], Field(min_length=1, max_length=MOST_STEPS)]
    """Its steps, one after another."""
    verify: tuple[Check, ...] = ()
    """Proofs read back from the world, in order."""
    guard: Guard
    """What holds it back."""
    undo: Undo = Undo()
    """Who may take it back."""
    if_it_fails: Failure | None = None
    """Who hears when it could not do what it promised."""
    hold: Flag = False
    """Whether it engages again what was engaged and has gone without a person's release."""
    owner: str = ""
    """Who answers for the policy."""
    enabled: Flag = True
    """Whether it answers anything."""
    file: str = ""

    @model_validator(mode="after")
    def _ids_differ(self) -> Policy:
        named = [step.id for step in self.do if step.id]
        if len(set(named)) < len(named):
            raise PydanticCustomError("same-name", "two steps have one id")
        return self
