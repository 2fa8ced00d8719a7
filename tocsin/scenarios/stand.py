"""What stands in for the world around the engine: an app, its switches, meters and receivers, all in memory.

They remember what was asked of them. A fault of the case makes them not answer, as their services would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

from tocsin.core.action import Order, Preview
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.config import Target
from tocsin.core.container import SCOPES, App, Revision, engaged
from tocsin.core.gauge import Reading
from tocsin.core.message import Notice, Outcome, Said
from tocsin.core.remedy import Applied, Did
from tocsin.engine import switches
from tocsin.ports import Store
from tocsin.scenarios.format import AppChange, Inject, ReadingOf, RevisionOf

HEALTHY = {"HITL_APPROVER_ENDPOINT": "https://approver.example"}
"""What the app is set to when a case says nothing of it."""

_ANSWERS = {"error": Why.FAILED, "partial": Why.PARTIAL, "throttled": Why.THROTTLED}


@dataclass(slots=True)
class Faults:
    """The faults of a case, and what time it is in it."""

    injected: Sequence[Inject]
    begins: datetime
    now: datetime

    @property
    def moment(self) -> timedelta:
        """How long the case has run."""
        return self.now - self.begins

    def of(self, what: str) -> NoAnswer | None:
        """Return what ``what`` answers now in place of an answer; None when it answers."""
        for each in self.injected:
            if each.answer.kind in _ANSWERS and each.of in ("all", what) and each.covers(self.moment):
                return NoAnswer(_ANSWERS[each.answer.kind], "a fault of the case")
        return None

    def at_work(self, kind: str) -> bool:
        """Return whether a fault of this kind is at work now."""
        return any(each.answer.kind == kind and each.covers(self.moment) for each in self.injected)


@dataclass
class StandInApp:
    """A Container App as the case changes it; its killswitch takes effect at once, on every revision.

    It is its own configuration reader, and the actuator of one scope's switch when asked by ``switch``.
    """

    target: Target
    faults: Faults
    revisions: tuple[Revision, ...] = ()
    env: dict[str, str] = field(default_factory=lambda: dict(HEALTHY))

    def __post_init__(self) -> None:
        self.revisions = (self._revision(RevisionOf(name="r1")),)

    def read(self, target: Target) -> App | NoAnswer:
        """Return the app as it is now, unless a fault is in the way."""
        missing = self.faults.of("configuration")
        if missing is not None:
            return missing
        entries = [{"name": name, "value": value} for name, value in self.env.items()]
        template = {"containers": [{"name": target.container, "image": "app:1", "env": entries}]}
        newest = self.revisions[-1].name if self.revisions else ""
        return App(target.app_id, "westeurope", template, dict(self.env), self.revisions, latest=newest)

    def change(self, change: AppChange, store: Store) -> None:
        """Make a change of the case; a switch that a person engages or releases is known to ``store`` as theirs."""
        if change.revisions:
            self.revisions = tuple(self._revision(each) for each in change.revisions)
        self._set({**change.env, **{SCOPES[scope]: "on" for scope in (change.engage,) if scope}}, change.unset)
        if change.engage:
            who = "person (of the case)"
            calm = replace(self, faults=Faults((), self.faults.begins, self.faults.now))
            calm.revisions, calm.env = self.revisions, self.env
            switches.engaged(store, calm, self.target, change.engage, who, self.faults.now)
        if change.release:
            switches.released(store, self.target, change.release)
            self._set({SCOPES[change.release]: "off"})

    def set(self, variable: str, value: str) -> None:
        """Set a variable on the template and on every revision."""
        self._set({variable: value})

    def _set(self, values: dict[str, str], unset: Sequence[str] = ()) -> None:
        def changed(env: Any) -> dict[str, str]:
            return {name: value for name, value in {**env, **values}.items() if name not in unset}

        self.env = changed(self.env)
        self.revisions = tuple(replace(each, env=changed(each.env)) for each in self.revisions)

    def _revision(self, given: RevisionOf) -> Revision:
        created = None if given.age is None else self.faults.now - given.age
        env = {**self.env, **given.env}
        entries = [{"name": name, "value": value} for name, value in env.items()]
        template = {"containers": [{"name": self.target.container, "image": "app:1", "env": entries}]}
        weight = int(given.weight)
        return Revision(given.name, given.active, weight, given.running, env, created, given.state, given.failed,
                        template)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Switch:
    """Engages or releases one of the app's killswitches."""

    app: StandInApp
    on: bool
    readable: ClassVar[bool] = True
    finishes: ClassVar[bool] = True

    def preview(self, order: Order) -> Preview | NoAnswer:
        """Return the one change there is to make, if any."""
        variable = SCOPES[order.args.get("scope", "tools")]
        holds = self.holds(order)
        return Preview(() if holds else (f"{variable} → {'on' if self.on else 'off'}",))

    def apply(self, order: Order) -> Applied:
        """Set the variable everywhere; say that nothing was done where it is so already, or cannot be."""
        missing = self.app.faults.of("configuration")
        if missing is not None:
            return Applied(Did.BUSY, missing.why.value)
        if self.holds(order):
            return Applied(Did.ALREADY, "it is so already")
        self.app.set(SCOPES[order.args.get("scope", "tools")], "on" if self.on else "off")
        return Applied(Did.DONE, "done")

    def holds(self, order: Order) -> bool | None:
        """Return whether every revision has it as wanted; None while the app cannot be read."""
        if self.app.faults.of("configuration") is not None:
            return None
        variable = SCOPES[order.args.get("scope", "tools")]
        return all(engaged(each.env.get(variable)) == self.on for each in self.app.revisions if each.serving)


@dataclass
class Noted:
    """Any other action: it is noted, and nothing happens."""

    orders: list[Order] = field(default_factory=list)
    readable: ClassVar[bool] = False
    finishes: ClassVar[bool] = False

    def preview(self, order: Order) -> Preview | NoAnswer:
        """Return that something would be done."""
        return Preview((f"{order.id} would be carried out",))

    def apply(self, order: Order) -> Applied:
        """Note the order."""
        self.orders.append(order)
        return Applied(Did.DONE, "noted")

    def holds(self, order: Order) -> bool | None:  # noqa: ARG002
        """Return that nobody knows: nothing was changed that could be read."""
        return None


@dataclass(frozen=True, slots=True)
class StandInMeter:
    """Reads what the case says that one meter reads."""

    name: str
    readings: Sequence[ReadingOf]
    faults: Faults
    instant: bool

    def read(self, target: Target, reading: str, start: datetime, end: datetime) -> Sequence[Reading] | NoAnswer:  # noqa: ARG002
        """Return what is read now, or of one that knows its past what was read within ``[start, end)``."""
        missing = self.faults.of(self.name)
        if missing is not None:
            return missing
        mine = [each for each in self.readings if each.meter == self.name]
        if self.instant:
            moment = self.faults.moment
            return [_reading(each) for each in mine if each.from_ <= moment < each.to]
        return [found for each in mine if each.reading == reading for found in self._within(each, start, end)]

    def _within(self, given: ReadingOf, start: datetime, end: datetime) -> list[Reading]:
        begins = self.faults.begins
        first = max(0, -((begins + given.from_ - start) // given.each))
        at, found = begins + given.from_ + first * given.each, []
        while at < min(end, begins + given.to):
            found += [replace(_reading(given), at=at)] if at >= start else []
            at += given.each
        return found


def _reading(given: ReadingOf) -> Reading:
    why = given.why if given.value is None else ""
    return Reading(given.reading, given.value, given.labels, None, given.detail, why)


@dataclass(frozen=True, slots=True)
class Receiver:
    """Accepts everything and passes it on to whoever notes it."""

    name: str
    note: Callable[[str, Notice], None]

    def deliver(self, notice: Notice) -> Outcome:
        """Note the notice."""
        self.note(self.name, notice)
        return Outcome(Said.ACCEPTED, "noted")


class EngineLog:
    """Keeps what became of alerts, and every error."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, str]] = []
        self.trouble: list[str] = []

    def info(self, event: str, /, **fields: Any) -> None:
        """Keep what became of an alert."""
        if event == "alert":
            self.changes.append((str(fields["rule"]), str(fields["change"])))

    def warning(self, event: str, /, **fields: Any) -> None:
        """Leave out what is only worth a look."""

    def error(self, event: str, /, **fields: Any) -> None:
        """Keep an error."""
        self.trouble.append(f"{event}: {', '.join(f'{name} {value}' for name, value in fields.items())}"[:300])


class Interrupted:
    """A store in front of which another instance runs a whole tick, between this one's reading and its first saving."""

    def __init__(self, inner: Store, other: Callable[[], Any]) -> None:
        self._inner, self._other, self._let = inner, other, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def commit(self, *args: Any, **kwargs: Any) -> None:
        """Let the other one run, once; then save."""
        self.interrupt()
        self._inner.commit(*args, **kwargs)

    def interrupt(self) -> None:
        """Let the other one run if it has not."""
        if not self._let:
            self._let = True
            self._other()
