"""Proof that an action took hold: read from the platform and from telemetry, never from memory of what was sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from tocsin.core import container
from tocsin.core.action import Order
from tocsin.core.answer import NoAnswer, Rows
from tocsin.core.compile import compile_signal, freshness
from tocsin.core.config import Target
from tocsin.core.container import Look
from tocsin.core.policy import Check
from tocsin.core.remedy import Execution, order
from tocsin.core.schedule import settled
from tocsin.core.signal import Logs, Signal
from tocsin.core.starting import starting
from tocsin.core.units import spell
from tocsin.ports import Actuator, Configuration, Provable, Telemetry

SWITCH_WITHIN = timedelta(minutes=10)
"""How long the platform may take to serve a revision with the switch, where a policy does not say."""

Passed = tuple[tuple[str, datetime], ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What one look found: the checks that hold, the first that does not, and whether its time is up.

    ``again`` says that the platform needs the action applied once more to finish (traffic still on old revisions);
    ``starts_by`` until when the revision with the change may take to serve, while it only starts.
    """

    passed: Passed
    missing: str | None
    words: str
    late: bool = False
    again: bool = False
    starts_by: datetime | None = None


def proofs(execution: Execution, checks: Sequence[Check]) -> tuple[Check, ...]:
    """Return the checks of a policy, before them the one that its own switch has on what serves unless it is there.

    A policy that says little, that was edited meanwhile or is gone must not make an unproven switch look proven.
    """
    kind, _, verb = execution.action.partition(".")
    variable = container.SCOPES.get(execution.args.get("scope", ""))
    wanted: Literal["on", "off"] = "on" if verb == "engage" else "off"
    if kind != "killswitch" or variable is None:
        return tuple(checks)
    if any((each.container_env, each.is_) == (variable, wanted) for each in checks):
        return tuple(checks)
    return (Check(container_env=variable, is_=wanted, within=SWITCH_WITHIN), *checks)


def named(checks: Sequence[Check]) -> list[tuple[str, Check]]:
    """Return the checks by their names; the second about one thing has its number, for it is a check of its own."""
    about = [check.container_env or check.signal or "" for check in checks]
    numbers = [about[: at + 1].count(name) for at, name in enumerate(about)]
    return [
        (name if number == 1 else f"{name} ({number})", check)
        for name, number, check in zip(about, numbers, checks, strict=True)
    ]


def _reads_back(actuator: Actuator, execution: Execution) -> bool:
    """Return whether the action's own state is still to be read; a switch is proven on the revisions that serve."""
    name = execution.action
    return actuator.readable and not name.startswith("killswitch.") and execution.check_passed(name) is None


def _look(actuator: Actuator, given: Order) -> Look:
    if isinstance(actuator, Provable):
        look = actuator.look(given)
        return replace(look, words=f": {look.words}")
    return Look(bool(actuator.holds(given)), "")


_AS_KNOWN = timedelta()
"""How long a start may take where nothing new is known of it: as long as was known when it was applied."""


def _timed(found: Found, execution: Execution, starts: timedelta | None, within: timedelta, now: datetime) -> Found:
    """Return whether it is late: a revision that only starts has the time of its own probes, if that is longer."""
    applied = execution.applied
    if applied is None:
        return found
    starts_by = None if starts is None else max(applied + starts, execution.starts_by or applied)
    return replace(found, late=now > max(applied + within, starts_by or applied), starts_by=starts_by)


@dataclass(frozen=True, slots=True)
class Verifier:
    """Looks whether a policy's checks hold, in their order: a later one counts only after the earlier was seen."""

    configuration: Configuration
    telemetry: Telemetry
    signals: Mapping[str, Signal]

    def look(
        self,
        execution: Execution,
        checks: Sequence[Check],
        target: Target,
        now: datetime,
        actuator: Actuator | None = None,
    ) -> Found:
        """Return how far the proof has come at ``now``. What was done comes first: ``actuator`` reads it back."""
        name, passed, began = execution.action, execution.passed, execution.applied or now
        if actuator is not None and _reads_back(actuator, execution):
            look = _look(actuator, order(execution, target))
            if not look.holds:
                seen = replace(look, words=f"{name} is not seen in force yet{look.words}")
                found = Found(passed, name, seen.words, again=actuator.finishes)
                return _timed(found, execution, seen.starts, execution.planned.within, now)
            passed = (*passed, (name, now))
        slow = timedelta()
        for name, check in named(proofs(execution, checks)):
            if name not in dict(passed):
                since = passed[-1][1] if passed else began
                seen, again = self._holds(check, target, since, now)
                if not seen.holds:
                    found = Found(passed, name, seen.words, again=again)
                    return _timed(found, execution, seen.starts, check.within + slow, now)
                passed = (*passed, (name, now))
            slow = max(slow, dict(passed)[name] - began - check.within)
        words = "; ".join(f"{name} seen at {at:%H:%M:%S}" for name, at in passed)
        return Found(passed, None, words or "the other side accepted it; nothing of it can be read back")

    def _holds(self, check: Check, target: Target, since: datetime, now: datetime) -> tuple[Look, bool]:
        if check.container_env:
            return self._variable(check, target)
        return Look(*self._signal(check, target, since, now)), False

    def _variable(self, check: Check, target: Target) -> tuple[Look, bool]:
        app = self.configuration.read(target)
        if isinstance(app, NoAnswer):
            return Look(False, f"the app could not be read: {app.why}", _AS_KNOWN), False
        name, wanted = check.container_env or "", check.is_ == "on"
        seen = container.verify(app, name, wanted)
        again = not seen.holds and app.multiple and container.engaged(app.env.get(name)) == wanted
        if not seen.holds:
            seen = replace(seen, starts=starting(app, lambda each: container.engaged(each.env.get(name)) == wanted))
        return seen, again

    def _signal(self, check: Check, target: Target, since: datetime, now: datetime) -> tuple[bool, str]:
        """The window begins after ``since`` and ends where ingestion is complete; silence in it proves nothing."""
        end = now - settled(target, target.offset)
        start = end - check.over
        if start < since:
            return False, f"waiting for {spell(check.over)} of telemetry after {since:%H:%M:%S}"
        signal = self.signals[check.signal or ""]
        sources = [source for source in signal.sources if isinstance(source, Logs)]
        answers = [self.telemetry.ask(compile_signal(source, target, start, end), target) for source in sources]
        alive = self.telemetry.ask(freshness(target, start, end), target)
        refused = next((each for each in (*answers, alive) if isinstance(each, NoAnswer)), None)
        if refused or not isinstance(alive, Rows):
            return False, f"telemetry did not answer: {refused.why if refused else 'no rows'}"
        if not alive.rows:
            return False, "the target sent no telemetry at all in the window"
        value = sum(float(row.get("value") or 0) for each in answers if isinstance(each, Rows) for row in each.dicts())
        op, limit = check.limit or (None, 0.0)
        words = f"{check.signal} is {value:g} over {spell(check.over)} up to {end:%H:%M:%S}"
        return (op is not None and op.holds(value, limit)), words
