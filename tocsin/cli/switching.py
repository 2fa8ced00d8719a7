"""``tocsin killswitch``: a person sees, engages or releases the switch, with the same care and audit as a policy."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import typer

from tocsin.app import App
from tocsin.cli.author import account
from tocsin.cli.output import Exit, Output, console, emit_json, say, stop, table
from tocsin.cli.project import load_app
from tocsin.core import action, audit, container
from tocsin.core.answer import NoAnswer
from tocsin.core.audit import Record
from tocsin.core.config import Target
from tocsin.core.container import SCOPES, WHOLE, Look
from tocsin.core.message import Delivery
from tocsin.core.remedy import Applied, Did
from tocsin.core.starting import starting
from tocsin.core.units import spell
from tocsin.engine import switches
from tocsin.engine.locking import alone
from tocsin.ports import Actuator, Provable, StoreUnavailable

_PATIENCE, _PAUSE = 600.0, 5.0


def status(root: Path | None, name: str, output: Output) -> None:
    """Show every switch on every serving revision."""
    app = load_app(root)
    read = _read(app, target_of(app, name))
    rows = [_row(each) for each in read.serving]
    new = read.newest
    coming = [_row(new)] if new and new.active and not new.serving else []
    if output is Output.JSON:
        emit_json({"target": name, "serving": rows, "coming": coming, "template": _switches(read.env)})
        return
    cells = [
        [row["revision"], f"{row['weight']}%", row["state"], *(row[variable] for variable in SCOPES.values())]
        for row in (*rows, *coming)
    ]
    console().print(table(f"killswitch of {name}", ["revision", "traffic", "state", *SCOPES.values()], cells))


def _row(revision: container.Revision) -> dict[str, Any]:
    state = "running" if revision.running else revision.state if revision.failed else "starting"
    shown = {"revision": revision.name, "weight": revision.weight, "running": revision.running, "state": state}
    return {**shown, **_switches(revision.env)}


@dataclass(frozen=True, slots=True)
class Order:
    """What a person wants done to one switch, and why. ``evidence`` stands in the audit beside the intent."""

    target: Target
    verb: str
    scope: str
    reason: str
    wait: bool
    evidence: Mapping[str, str] = field(default_factory=dict)
    shown: Mapping[str, Any] = field(default_factory=dict)
    """What the JSON answer says besides."""
    skip: bool = False
    """Whether the new revision starts without its bootstrap."""

    @property
    def given(self) -> action.Order:
        """What its actuator is told, the same at every attempt."""
        args = {} if self.scope == WHOLE else {"scope": self.scope}
        args |= {"bootstrap": "skip"} if self.skip else {}
        return action.Order(f"person/{self.target.name}/{self.verb}", self.target, args)


_ACTIONS = {"stop": "container_app.stop", "start": "container_app.start"}
"""What is done to the whole app; the other verbs are the killswitch's."""


def engage(root: Path | None, name: str, scope: str, reason: str, *, skip: bool, wait: bool, output: Output) -> None:
    """Engage, in a revision that may ``skip`` its bootstrap.

    Exit 1 when it could not be done or proven, 3 when the state or platform does not answer.
    """
    if scope == WHOLE:
        stop(Exit.USAGE, "the whole app is stopped by `tocsin killswitch stop`")
    app, target = called(root, name, scope, reason)
    carry_out(app, Order(target, "engage", scope, reason, wait, skip=skip), output)


def halt(root: Path | None, name: str, reason: str, *, wait: bool, output: Output) -> None:
    """Stop the whole app; exit 1 when it could not be done or proven, 3 when the state or platform does not answer."""
    app, target = called(root, name, WHOLE, reason)
    carry_out(app, Order(target, "stop", WHOLE, reason, wait), output)


def called(root: Path | None, name: str, scope: str, reason: str) -> tuple[App, Target]:
    """Return the app and the target that a command is about; exit 2 for a wrong call."""
    if scope not in (*SCOPES, WHOLE):
        stop(Exit.USAGE, f"no scope '{scope}'; known: {', '.join(SCOPES)}")
    if not reason.strip():
        stop(Exit.USAGE, "--reason must say why")
    app = load_app(root)
    return app, target_of(app, name)


def carry_out(app: App, order: Order, output: Output) -> None:
    """Do what was ordered, with its intent recorded before and its outcome after; exit 1 and 3 as the command's."""
    target, verb, scope = order.target, order.verb, order.scope
    record(app, target, f"{verb} intended", {"scope": scope, "reason": order.reason, **order.evidence})
    if verb in ("release", "start"):  # before it goes: that it does is no drift
        switches.released(app.engine.store, target, scope)
    outcome = _apply(app, order)
    proven = outcome.did is not Did.FAILED and order.wait and _await(app, order)
    if proven:
        record(app, target, f"{verb} verified", {"scope": scope})
    if proven and verb == "engage":
        switches.engaged(app.engine.store, app.engine.configuration, target, scope, person(), app.clock.now())
    if proven and verb == "stop":
        switches.stopped(app.engine.store, target, person(), app.clock.now())
    _show(outcome, order, proven, output)


def _show(outcome: Applied, order: Order, proven: bool, output: Output) -> None:
    good = outcome.did in (Did.DONE, Did.ALREADY) and (proven or not order.wait)
    name, verb, did = order.target.name, order.verb, outcome.did.value
    if output is Output.JSON:
        said = {"target": name, "verb": verb, "outcome": did, "detail": outcome.detail, "verified": proven}
        emit_json({**said, **order.shown})
    else:
        seen = {"stop": "nothing runs any more", "start": "it runs"}.get(verb, "every serving revision has it")
        proof = seen if proven else "not waited for" if not order.wait else "NOT proven"
        say(f"{name}: {verb}: {did} ({outcome.detail}); {proof}")
    if not good:
        raise typer.Exit(int(Exit.BAD_NEWS.value))


def target_of(app: App, name: str) -> Target:
    """Return the target of that name, which has an app; exit 2 when there is none."""
    targets = app.engine.project.config.targets
    found = next((target for target in targets if target.name == name), None)
    if found is None:
        stop(Exit.USAGE, f"no target '{name}'; known: {', '.join(target.name for target in targets) or 'none'}")
    if not found.container_app:
        stop(Exit.USAGE, f"target '{name}' names no Container App")
    return found


def _read(app: App, target: Target) -> container.App:
    read = app.engine.configuration.read(target)
    if isinstance(read, NoAnswer):
        stop(Exit.NO_ANSWER, f"{target.name} could not be read: {read.why.value} {read.detail}")
    return read


def _switches(env: Any) -> dict[str, str]:
    return {variable: env.get(variable) or "-" for variable in SCOPES.values()}


def _apply(app: App, order: Order) -> Applied:
    """Apply until nobody else is changing the app, at most as long as a person waits; the outcome is recorded."""
    until = time.monotonic() + (_PATIENCE if order.wait else 0)
    while True:
        outcome = _once(app, order, unsaid={Did.BUSY})
        if outcome.did is not Did.BUSY:
            return outcome
        if time.monotonic() >= until:
            _record_outcome(app, order, outcome)
            return outcome
        time.sleep(_PAUSE)


def _once(app: App, order: Order, unsaid: Collection[Did]) -> Applied:
    """Apply under the lock that policies hold, and record the outcome before another may have the lock."""
    target, owner = order.target, f"{person()} {secrets.token_hex(4)}"
    outcome = Applied(Did.BUSY, "a policy, a drill or another person is changing the app at this moment")
    locked = False
    try:
        with alone(app.engine.store, target.name, owner, app.clock.now()) as locked:
            if locked:
                outcome = _actuator(app, order).apply(order.given)
                if outcome.did not in unsaid:
                    _record_outcome(app, order, outcome)
    except StoreUnavailable as error:
        if not locked:  # else it was done and recorded, and only the lock stays until it ends by itself
            return Applied(Did.BUSY, f"whether a policy is changing the app is not known: {error}")
    return outcome


def _record_outcome(app: App, order: Order, outcome: Applied) -> None:
    detail = {"scope": order.scope, "detail": outcome.detail}
    words = f"{order.verb}: {outcome.did.value} ({outcome.detail}), which could not be recorded"
    record(app, order.target, f"{order.verb} {outcome.did.value}", detail, otherwise=words)


def _await(app: App, order: Order) -> bool:
    """Return whether every serving revision was seen with the switch as wanted within the time that a start may take.

    Where traffic is shared out, it follows only once the new revision runs: the same is then applied once more.
    """
    target, began = order.target, time.monotonic()
    with console(stderr=True).status(f"waiting for every serving revision of {target.name} …") as status:
        while True:
            read = _read(app, target)
            seen = _look(app, order, read)
            if seen.holds:
                return True
            if seen.starts:
                status.update(f"{read.latest} is starting, which may take {spell(seen.starts)} by its probes …")
            if time.monotonic() >= began + max(_PATIENCE, seen.starts.total_seconds() if seen.starts else 0):
                return False
            if read.multiple and read.traffic:
                _once(app, order, unsaid={Did.BUSY, Did.ALREADY})
            time.sleep(_PAUSE)


def _look(app: App, order: Order, read: container.App) -> Look:
    """Return whether what was ordered serves, or how long it may still take to start."""
    if order.scope == WHOLE:
        actuator = _actuator(app, order)
        return actuator.look(order.given) if isinstance(actuator, Provable) else Look(False, "")
    variable, on = SCOPES[order.scope], order.verb == "engage"
    starts = starting(read, lambda each: container.engaged(each.env.get(variable)) == on)
    return replace(container.verify(read, variable, on), starts=starts)


def _actuator(app: App, order: Order) -> Actuator:
    return app.engine.actuators[_ACTIONS.get(order.verb, f"killswitch.{order.verb}")]


def person() -> str:
    """Return who the audit says did it."""
    return audit.person(account())


def record(
    app: App,
    target: Target,
    event: str,
    detail: Mapping[str, str],
    deliveries: Iterable[Delivery] = (),
    otherwise: str = "nothing was done: it could not be recorded",
) -> None:
    """Record what a person does, with its notifications; exit 3 and say ``otherwise`` when that fails."""
    entry = Record(app.clock.now(), person(), event, target.name, "killswitch", detail)
    try:
        app.engine.store.record(None, [entry], deliveries)
    except StoreUnavailable as error:
        stop(Exit.NO_ANSWER, f"{otherwise}: {error}")
