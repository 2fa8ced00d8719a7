"""A policy: what Tocsin may do about a firing alert, how it proves it, and what holds it back."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from tocsin.core.fields import Automation, Duration, Flag, Model, PerTime, Rate, Severity, Wait
from tocsin.core.rule import Limits


class Trigger(Model):
    """Which firing alerts the policy answers; every key given must match."""

    rule: str | None = None
    severity: Severity | None = None
    labels: dict[str, str] = {}
    firing_for: Wait = timedelta()

    @model_validator(mode="after")
    def _says_which(self) -> Trigger:
        if self.rule is None and self.severity is None and not self.labels:
            raise PydanticCustomError("no-trigger", "say which alerts: one of rule, severity, labels")
        return self


class Step(Model):
    """One action, by its name (``killswitch.engage``), with its arguments."""

    action: str
    args: dict[str, str] = {}


_LATER = frozenset({"id", "undo", "undo_on_failure", "within"})
"""Keys of a step that are part of the language, but not of this version."""


def _step(value: Any) -> Any:
    if isinstance(value, Step):
        return value
    later = sorted(_LATER & value.keys()) if isinstance(value, dict) else ()
    if later:
        said = {"key": later[0], "at": later[0]}
        raise PydanticCustomError("not-yet", "'{key}' is part of the language, but not of this version", said)
    if isinstance(value, dict) and len(value) == 1 and "action" not in value:
        ((action, args),) = value.items()
        return {"action": action, "args": args or {}}
    if isinstance(value, dict) and set(value) == {"action", "args"}:
        return value
    raise PydanticCustomError(
        "bad-step", "a step is one action with its arguments, like `killswitch.engage: {scope: tools}`"
    )


class Check(Limits):
    """One proof read back from the world: a variable on the revisions that serve, or a signal."""

    container_env: str | None = None
    is_: Literal["on", "off"] | None = Field(default=None, alias="is")
    on: Literal["every serving revision"] = "every serving revision"
    signal: str | None = None
    over: Duration = timedelta(minutes=2)
    within: Duration

    @model_validator(mode="after")
    def _one_kind(self) -> Check:
        if (self.container_env is None) == (self.signal is None):
            raise PydanticCustomError("bad-check", "a check is about `container_env` or about `signal`")
        if self.container_env and (self.is_ is None or self.limits):
            raise PydanticCustomError("bad-check", "`container_env` needs `is: on` or `is: off`, and no comparison")
        if self.signal and (self.is_ is not None or len(self.limits) != 1):
            raise PydanticCustomError("bad-check", "`signal` needs one of above, at_least, below, at_most, and no `is`")
        return self


class Guard(Model):
    """What must hold before the policy acts."""

    mode: Automation
    at_most: PerTime = Rate(count=1, per=timedelta(hours=1))
    cooldown: Wait = timedelta(minutes=30)


class Undo(Model):
    """Who may take the action back, and after what."""

    by: Literal["a person"] = "a person"
    after: str = ""


class Failure(Model):
    """Who hears when the policy could not do what it promised."""

    escalate: str


class Policy(Model):
    """One remediation policy. ``id`` is the file's name without its ending."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    summary: str = Field(min_length=1, max_length=500)
    on: Trigger
    do: Annotated[tuple[Annotated[Step, BeforeValidator(_step)], ...], Field(min_length=1, max_length=1)]
    verify: tuple[Check, ...] = ()
    guard: Guard
    undo: Undo = Undo()
    if_it_fails: Failure | None = None
    owner: str = ""
    enabled: Flag = True
    file: str = ""
