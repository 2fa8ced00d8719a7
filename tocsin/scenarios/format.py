"""The format of a file of scenarios: rows, readings, faults and expectations, each at a time after the case begins."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from tocsin.core import units
from tocsin.core.audience import Selector
from tocsin.core.fields import Automation, Duration, Flag, Instant, Model, Number, Severity, Some, Texts

T = TypeVar("T")

NIGHT = datetime(2026, 11, 20, 3, tzinfo=UTC)
"""When a case begins unless it says otherwise: a Friday, three in the morning."""


def _moment(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        length = units.duration(text[:100].removeprefix("-"))
    except ValueError:
        words = "'{given}' is no time after the beginning; write it like 0m, 90s, 1h30m, or -7d for before it"
        raise PydanticCustomError("bad-moment", words, {"given": text[:100]}) from None
    return -length if text.startswith("-") else length


_MOMENT = WithJsonSchema({"type": ["string", "integer"], "pattern": r"^-?([0-9]+[wdhms])+$|^0$"})
Moment = Annotated[timedelta, BeforeValidator(_moment), _MOMENT]
"""A time after the case begins: ``20m``; ``-7d`` is before it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong: ``error``, ``partial``, ``throttled``, ``restart``, ``twice``, or ``late`` by how much."""

    kind: str
    by: timedelta = timedelta()


FAULTS = ("error", "partial", "throttled", "late(3m)", "restart", "twice")


_FAULT = WithJsonSchema({"type": "string", "pattern": r"^(error|partial|throttled|restart|twice|late\(\w+\))$"})


def _fault(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    late = re.fullmatch(r"late\((\w{1,20})\)", given)
    try:
        if late and (by := units.duration(late[1])):
            return Fault("late", by)
    except ValueError:
        pass
    if given in FAULTS and not late:
        return Fault(given)
    words = "'{given}' is no fault; known: {known}"
    raise PydanticCustomError("bad-fault", words, {"given": given[:60], "known": ", ".join(FAULTS)})


class Row(Model):
    """Rows of one table: one at each step of ``[from, to)``, or one ``at`` a time; the other keys are its columns."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    table: str = "AppTraces"
    event: str = ""
    from_: Moment = Field(default=timedelta(), alias="from")
    to: Moment | None = None
    each: Duration | None = None
    at: Moment | None = None
    times: Some = 1
    properties: dict[str, str] = {}

    @model_validator(mode="after")
    def _one_way(self) -> Row:
        if (self.at is None) == (self.to is None) or (self.to is None) != (self.each is None):
            raise PydanticCustomError("bad-stretch", "say when: either `at`, or `from`, `to` and `each`")
        if self.to is not None and self.to <= self.from_:
            raise PydanticCustomError("bad-stretch", "`to` is after `from`")
        return self

    @property
    def columns(self) -> dict[str, str]:
        """What the author wrote besides the keys of the format, by name."""
        return {name: str(value) for name, value in (self.model_extra or {}).items()}

    def moments(self) -> list[timedelta]:
        """Return when a row is emitted, after the case begins."""
        if self.to is None or self.each is None:
            return [self.at or timedelta()] * self.times
        count = -((self.from_ - self.to) // self.each)
        return [self.from_ + self.each * number for number in range(count) for _ in range(self.times)]


class RevisionOf(Model):
    """One revision of the app as the platform would tell it; what is not said is that of one that serves and runs."""

    name: str
    weight: Number = 100
    active: Flag = True
    running: Flag = True
    state: str = ""
    failed: Flag = False
    env: dict[str, str] = {}
    age: Duration | None = None
    """How long before the change the revision was made."""


class AppChange(Model):
    """What becomes of the app at a time: variables, revisions, or a switch that a person engages or releases."""

    at: Moment = timedelta()
    env: dict[str, str] = {}
    unset: Texts = ()
    engage: Literal["", "tools", "workflow", "all"] = ""
    release: Literal["", "tools", "workflow", "all"] = ""
    revisions: tuple[RevisionOf, ...] = ()


class ReadingOf(Model):
    """What a meter reads within ``[from, to)``. Without a ``value`` it could not be read, and ``why``."""

    meter: Literal["metrics", "queues", "probes", "approver"]
    reading: str
    from_: Moment = Field(default=timedelta(days=-30), alias="from")
    to: Moment = timedelta(days=365)
    each: Duration = timedelta(minutes=1)
    value: Number | None = None
    why: str = "service error"
    labels: dict[str, str] = {}
    detail: str = ""


Of = Literal["all", "telemetry", "configuration", "metrics", "queues", "probes", "approver"]


class Inject(Model):
    """A fault within ``[from, to)``; without ``to`` it lasts a minute. ``of`` says what does not answer."""

    from_: Moment = Field(default=timedelta(), alias="from")
    to: Moment | None = None
    answer: Annotated[Any, BeforeValidator(_fault), _FAULT]
    of: Of = "all"

    @property
    def ends(self) -> timedelta:
        """When it is over, after the case begins."""
        return self.from_ + timedelta(minutes=1) if self.to is None else self.to

    def covers(self, moment: timedelta) -> bool:
        """Return whether it is at work then."""
        return self.from_ <= moment < self.ends


class SilenceOf(Selector):
    """A silence that a person has made, for a time of the case."""

    from_: Moment = Field(default=timedelta(), alias="from")
    to: Moment = timedelta(days=365)
    author: str = "scenario"
    comment: str = "a silence of the case"
    actions: Literal["", "too"] = ""

    @model_validator(mode="after")
    def _something(self) -> SilenceOf:
        if not self.matching:
            raise PydanticCustomError("silences-all", "say what is silenced: `match` or `matchers`")
        return self


StateName = Literal["inactive", "pending", "firing", "recovering", "unknown"]
KindName = Literal["fired", "resolved", "blind", "acted", "action failed", "acknowledged", "no longer reported"]
PhaseName = Literal[
    "refused", "asked", "observed", "intended", "applied", "undoing", "verified", "unverified", "failed",
    "stood down", "declined",
]  # fmt: skip


class Expect(Model):
    """What has come of it ``at`` a time. ``tells``, ``not_tells`` and ``kinds`` are of the time since the one before.

    ``rule`` is another rule than the file's, as ``telemetry_blind``, which the watcher has by itself.
    """

    at: Moment
    rule: str = ""
    state: StateName | None = None
    verdict: Literal["breached", "clear", "unknown"] | None = None
    why: str | None = None
    severity: Severity | None = None
    instances: tuple[dict[str, str], ...] | None = None
    value: Number | None = None
    tells: Texts | None = None
    not_tells: Texts = ()
    kinds: tuple[KindName, ...] | None = None
    actions: dict[str, PhaseName] | None = None
    silenced: Flag | None = None


def _some(items: tuple[T, ...]) -> tuple[T, ...]:
    if not items:
        raise PydanticCustomError("bad-length", "at least 1 is needed")
    return items


class Case(Model):
    """One story of a rule, and what has to come of it."""

    name: str = Field(min_length=1, max_length=300)
    begins: Instant = NIGHT
    alone: Flag = False
    """Whether it is played without the rows, readings and changes of the app that the file's cases share."""
    target: dict[str, Any] = {}
    automation: Automation | None = None
    rows: tuple[Row, ...] = ()
    app: tuple[AppChange, ...] = ()
    readings: tuple[ReadingOf, ...] = ()
    inject: tuple[Inject, ...] = ()
    silences: tuple[SilenceOf, ...] = ()
    also: Texts = ()
    """Other rules that are evaluated with it, as one that inhibits it."""
    expect: Annotated[tuple[Expect, ...], AfterValidator(_some)]

    @model_validator(mode="after")
    def _in_order(self) -> Case:
        times = [each.at for each in self.expect]
        if times != sorted(times) or times[0] < timedelta():
            raise PydanticCustomError("bad-order", "expectations stand in the order of time, from 0m on")
        return self


class Scenarios(Model):
    """A file of scenarios: one rule's cases, and what all of them begin with.

    Without ``config`` they test the project as it is: its own ``tocsin.yaml``, tuning and policies.
    """

    rule: str
    config: str = ""
    """A file in place of ``tocsin.yaml``, relative to the project; its tuning, receivers and routes count."""
    policies: Texts = ()
    """With a ``config``, the policies there are; without one, all of the project's."""
    target: dict[str, Any] = {}
    rows: tuple[Row, ...] = ()
    app: tuple[AppChange, ...] = ()
    readings: tuple[ReadingOf, ...] = ()
    cases: Annotated[tuple[Case, ...], AfterValidator(_some)]
    file: str = ""
