"""Rolling back: the last healthy earlier version serves again, held back exactly as what serves now is.

Activating an old revision brings its old variables back: a killswitch that was engaged since would be released, an
approver set since would be gone. Where those differ, and always where one revision alone may be active, the old version
comes back as a new revision made from the old one's template, with the variables that hold production back as they
serve now. Its suffix is the order's own, so the same order never makes a second one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from tocsin.actuators.revisions import named
from tocsin.actuators.steady import give_traffic, moves, refused, shares, steady
from tocsin.connections.arm import LATEST, ContainerApps
from tocsin.core.action import Order, Preview, Undo
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.container import DEPLOYING, App, Revision, engaged, renamed, what_runs
from tocsin.core.remedy import Applied, Did
from tocsin.core.starting import patience
from tocsin.core.template import (
    GUARDS,
    as_found,
    guards,
    holding_back,
    looser,
    skipping,
    skips,
    touched,
    with_guards,
)

_ACTION = "container_app.rollback"


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is left to do: give traffic to ``revision``, or make a new one from ``template``; neither: nothing."""

    words: str = ""
    revision: Revision | None = None
    template: Mapping[str, Any] | None = None
    undo: Undo | None = None


@dataclass(frozen=True, slots=True)
class Rollback:
    """Lets an earlier version serve."""

    apps: ContainerApps
    readable: ClassVar[bool] = True
    finishes: ClassVar[bool] = False

    def preview(self, order: Order) -> Preview | NoAnswer:
        """Return all that would change: traffic, an activation, each part of the template that differs."""
        app = self.apps.get(order.target)
        if isinstance(app, NoAnswer):
            return app
        try:
            plan = _plan(app, order)
        except (LookupError, ValueError) as error:
            return NoAnswer(Why.BROKEN, str(error))
        return Preview(_changes(app, plan, order), plan.undo)

    def apply(self, order: Order) -> Applied:
        """Take one step: make or activate the revision, then give it the traffic once it runs."""
        app = steady(self.apps, order.target, lambda app: _own(app, order) is not None)
        if isinstance(app, Applied):
            return app
        try:
            plan = _plan(app, order)
        except (LookupError, ValueError) as error:
            return Applied(Did.FAILED, str(error))
        if plan.revision is not None:
            return self._serve(app, plan.revision, plan, order)
        return self._make(app, plan, order) if plan.template is not None else Applied(Did.ALREADY, plan.words)

    def holds(self, order: Order) -> bool | None:
        """Return whether nothing is left to change; None when that cannot be read."""
        app = self.apps.get(order.target)
        if isinstance(app, NoAnswer):
            return None
        try:
            plan = _plan(app, order)
        except (LookupError, ValueError):
            return None
        return plan.revision is None and plan.template is None

    def _serve(self, app: App, revision: Revision, plan: _Plan, order: Order) -> Applied:
        if not revision.active:
            sent = self.apps.act(order.target, revision.name, "activate")
            if isinstance(sent, NoAnswer):
                return refused(sent, sending=True)
            return Applied(Did.BUSY, f"activated {revision.name}; traffic moves once it runs")
        if not revision.running:
            return Applied(Did.BUSY, f"traffic waits for {revision.name}, which is {revision.state}")
        if app.provisioning in DEPLOYING:
            return Applied(Did.BUSY, f"a deployment is in progress: {app.provisioning}")
        to = LATEST if order.args.get("to") == LATEST else revision.name
        return give_traffic(self.apps, order.target, app, to, plan.undo)

    def _make(self, app: App, plan: _Plan, order: Order) -> Applied:
        sent = self.apps.patch_template(order.target, app, plan.template or {})
        if isinstance(sent, NoAnswer):
            return refused(sent, sending=True)
        if app.multiple and app.traffic:
            return Applied(Did.BUSY, f"{plan.words}; traffic moves once it runs", operation=sent.operation)
        starts = patience(plan.template or {})
        return Applied(Did.DONE, plan.words, app.latest, operation=sent.operation, undo=plan.undo, starts=starts)


def _plan(app: App, order: Order) -> _Plan:
    """Return what is left to do. Raises ValueError, in words, when it is nobody's but a person's."""
    own, container = _own(app, order), order.target.container
    if own is not None:
        return _bring(app, own, order)
    kept = _kept(app, order)
    if order.args.get("to") == LATEST:
        return _latest(app, order, kept)
    wanted = named(app, order.args["to"], order.target) if "to" in order.args else _last_healthy(app, order)
    if all(_runs(each, order) == _runs(wanted, order) for each in app.serving) and _stays(app):
        return _Plan(f"{', '.join(each.name for each in app.serving)} already runs what {wanted.name} does")
    if app.multiple and holding_back(wanted.template, container) == kept:
        return _Plan("", wanted, undo=_undo(app))
    template = with_guards(wanted.template, container, _guards(app, container))
    # The bootstrap is skipped with a switch that is on, and with no other.
    template = skipping(template, container) if skips(app.template, container) else as_found(template, container)
    words = f"a new revision from {wanted.name}"
    return _Plan(words, template=renamed(template, _suffix(order)), undo=_undo(app, made=True))


def _kept(app: App, order: Order) -> dict[str, str]:
    """Return what holds production back now. Raises ValueError where that is not one and the same."""
    if not app.serving:
        raise ValueError("no revision serves: what holds production back cannot be carried over")
    if app.multiple and not app.traffic:
        raise ValueError("several revisions may work and none has traffic: a person must choose")
    kept = [holding_back(each.template, order.target.container) for each in app.serving]
    if any(each != kept[0] for each in kept):
        raise ValueError("revisions that serve together differ in their killswitch or approval: a person must look")
    return kept[0]


def _guards(app: App, container: str) -> dict[str, dict[str, Any]]:
    """Return the variables that hold back what serves, and a killswitch that is engaged in what comes next."""
    coming = guards(app.template, container).items()
    engaging = {name: each for name, each in coming if name.startswith("KILLSWITCH") and engaged(each.get("value"))}
    return {**guards(app.serving[0].template, container), **engaging}


def _bring(app: App, own: Revision, order: Order) -> _Plan:
    """The revision of this order is there: let it serve, where traffic does not go to it by itself."""
    others, container = [each for each in app.serving if each.name != own.name], order.target.container
    if not others or not app.multiple or not app.traffic:
        return _Plan(f"{own.name} is made and is {own.state}")
    held = holding_back(own.template, container)
    if any(looser(held, holding_back(each.template, container)) for each in others):
        raise ValueError(f"the killswitch or approval was changed since {own.name} was made: a person must look")
    return _Plan("", own, undo=_undo(app, made=True))


def _latest(app: App, order: Order, kept: Mapping[str, str]) -> _Plan:
    """Let traffic follow the newest revision again: the way back where it did so before."""
    new = app.newest
    if new is None or not app.multiple:
        raise ValueError("traffic can follow the newest revision only where several may be active")
    if app.follows and len(app.traffic) == 1:
        return _Plan(f"traffic already follows the newest revision, {new.name}")
    if holding_back(new.template, order.target.container) != kept:
        raise ValueError(f"{new.name} has another killswitch or approval than what serves")
    return _Plan("", new, undo=_undo(app))


def _last_healthy(app: App, order: Order) -> Revision:
    """Return the newest revision of an earlier version that did not fail.

    A version is as old as the first revision that ran it: what was itself rolled back from is never rolled back to.
    """
    told = sorted((each for each in app.revisions if each.created and each.template), key=_age)
    if not told:
        raise ValueError("the platform tells no revision's age")
    first = next(each for each in told if _runs(each, order) == _runs(told[-1], order))
    earlier = [each for each in told if _age(each) < _age(first) and not each.failed]
    fit = [each for each in earlier if each.running or not each.active]
    if not fit:
        raise ValueError(f"no version earlier than that of {told[-1].name} is known to have been healthy")
    return fit[-1]


def _age(revision: Revision) -> datetime:
    return revision.created or datetime.min.replace(tzinfo=UTC)


def _stays(app: App) -> bool:
    """Return whether what serves goes on serving: no revision is coming up that would take its place by itself."""
    follows, new = not app.multiple or app.follows, app.newest
    return not follows or new is None or new.serving or new.failed


def _runs(revision: Revision, order: Order) -> dict[str, Any]:
    """Return what tells versions apart; the variables that hold production back do not."""
    entries = [entry for each in revision.template.get("containers") or () for entry in each.get("env") or ()]
    kept = {entry["name"] for entry in entries if GUARDS.fullmatch(entry["name"])}
    return what_runs(revision.template, order.target.container, kept)


def _undo(app: App, *, made: bool = False) -> Undo | None:
    """Return the way back to what serves now, where one revision has it all; shares are for a person to restore."""
    if len(app.serving) != 1 or len(app.traffic) > 1 or any(entry.get("label") for entry in app.traffic):
        return None
    follows = app.multiple and app.follows and not made
    return Undo(_ACTION, {"to": LATEST if follows else app.serving[0].name})


def _changes(app: App, plan: _Plan, order: Order) -> tuple[str, ...]:
    name = order.target.container_app
    if plan.revision is not None:
        wakes = () if plan.revision.active else (f"{plan.revision.name}: activated; it is {plan.revision.state}",)
        to = "the newest revision" if order.args.get("to") == LATEST else plan.revision.name
        return (*wakes, f"{name}: all traffic to {to}; it is {shares(app)}")
    if plan.template is None:
        return ()
    parts = tuple(f"{name}: {each}" for each in touched(app.template, plan.template))
    return (*parts, *moves(app, order.target, "the new revision"))


def _suffix(order: Order) -> str:
    return f"rollback-{hashlib.sha256(order.id.encode()).hexdigest()[:10]}"


def _own(app: App, order: Order) -> Revision | None:
    """Return the revision that this order made, if it did."""
    return next((each for each in app.revisions if each.name.endswith(f"--{_suffix(order)}")), None)
