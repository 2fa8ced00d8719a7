"""Restarting, deactivating and activating revisions of a Container App."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from tocsin.actuators.steady import refused, steady
from tocsin.connections.arm import ContainerApps
from tocsin.core.action import Order, Preview, Undo
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.config import Target
from tocsin.core.container import App, Revision
from tocsin.core.remedy import Applied, Did
from tocsin.core.template import holding_back


@dataclass(frozen=True, slots=True)
class Restart:
    """Restarts what serves, once for each order: the platform then makes new replicas and lets the old ones go.

    That it was done is read from when the replicas were created. While some are older and some newer than the order, it
    may be under way, or the app has only grown: then nothing is sent again, and a person hears if it stays so.
    """

    apps: ContainerApps
    readable: ClassVar[bool] = True
    finishes: ClassVar[bool] = False

    def preview(self, order: Order) -> Preview | NoAnswer:
        """Return each revision that would be restarted, with its number of replicas."""
        app = self.apps.get(order.target)
        found = app if isinstance(app, NoAnswer) else self._ages(app, order)
        if isinstance(found, NoAnswer):
            return found
        due = [(name, ages) for name, ages in found.items() if ages and not any(_made(ages, order))]
        return Preview(tuple(f"{name}: {len(ages)} replicas restart" for name, ages in due))

    def apply(self, order: Order) -> Applied:
        """Restart each serving revision that no replica was made of since the order."""
        if order.since is None:
            return Applied(Did.FAILED, "a restart needs the time at which it was intended")
        app = steady(self.apps, order.target)
        if isinstance(app, Applied):
            return app
        if not app.serving:
            return Applied(Did.FAILED, "no revision serves")
        found = self._ages(app, order)
        return refused(found) if isinstance(found, NoAnswer) else self._restart(found, order)

    def holds(self, order: Order) -> bool | None:
        """Return whether every replica that serves was made since the order; None while only some were."""
        app = self.apps.get(order.target)
        found = app if isinstance(app, NoAnswer) else self._ages(app, order)
        if isinstance(found, NoAnswer) or order.since is None:
            return None
        made = [each for ages in found.values() for each in _made(ages, order)]
        return None if any(made) and not all(made) else all(made)

    def _restart(self, found: dict[str, tuple[datetime, ...]], order: Order) -> Applied:
        done = []
        for name, ages in found.items():
            if ages and not any(_made(ages, order)):
                sent = self.apps.act(order.target, name, "restart")
                if isinstance(sent, NoAnswer):
                    return refused(sent, sending=True)
                done.append(name)
        if done:
            return Applied(Did.DONE, f"restarted {', '.join(done)}", after=", ".join(done))
        if all(all(_made(ages, order)) for ages in found.values()):
            return Applied(Did.ALREADY, f"every replica was made since: {', '.join(found)}")
        return Applied(Did.BUSY, "some replicas are older than the order and some are not: a restart may be under way")

    def _ages(self, app: App, order: Order) -> dict[str, tuple[datetime, ...]] | NoAnswer:
        found = {}
        for each in app.serving:
            ages = self.apps.replicas(order.target, each.name)
            if isinstance(ages, NoAnswer):
                return ages
            found[each.name] = ages
        return found


def _made(ages: tuple[datetime, ...], order: Order) -> list[bool]:
    """Return of each replica whether it was made since the order; the platform tells whole seconds."""
    since = order.since.replace(microsecond=0) if order.since else None
    return [since is not None and age >= since for age in ages]


@dataclass(frozen=True, slots=True)
class _Turned:
    """What activating and deactivating share: one revision, and the state it is to have."""

    apps: ContainerApps
    readable: ClassVar[bool] = True
    finishes: ClassVar[bool] = False
    verb: ClassVar[Literal["activate", "deactivate"]]
    opposite: ClassVar[str]

    def choose(self, app: App, order: Order) -> Revision | None:
        """Return the revision it is about, None when there is none left; raises ValueError when it must not be."""
        raise NotImplementedError

    def preview(self, order: Order) -> Preview | NoAnswer:
        """Return the one revision that would be turned on or off."""
        app = self.apps.get(order.target)
        if isinstance(app, NoAnswer):
            return app
        try:
            found = self.choose(app, order)
        except ValueError as error:
            return NoAnswer(Why.BROKEN, str(error))
        if found is None or self._is_so(found):
            return Preview(())
        return Preview((f"{found.name}: {self.verb}d; it is {found.state}",), self._undo(found))

    def apply(self, order: Order) -> Applied:
        """Turn it on or off, or say why not."""
        app = steady(self.apps, order.target)
        if isinstance(app, Applied):
            return app
        try:
            found = self.choose(app, order)
        except ValueError as error:
            return Applied(Did.FAILED, str(error))
        if found is None:
            return Applied(Did.ALREADY, "no active revision without traffic is unhealthy")
        if self._is_so(found):
            return Applied(Did.ALREADY, f"{found.name} is {found.state}")
        sent = self.apps.act(order.target, found.name, self.verb)
        if isinstance(sent, NoAnswer):
            return refused(sent, sending=True)
        return Applied(Did.DONE, f"{self.verb}d {found.name}", after=found.name, undo=self._undo(found))

    def holds(self, order: Order) -> bool | None:
        """Return whether it is turned on or off; None when that cannot be read."""
        app = self.apps.get(order.target)
        if isinstance(app, NoAnswer):
            return None
        try:
            found = self.choose(app, order)
        except ValueError:
            return None
        return found is None or self._is_so(found)

    def _is_so(self, revision: Revision) -> bool:
        return revision.active == (self.verb == "activate")

    def _undo(self, revision: Revision) -> Undo:
        return Undo(f"container_app.{self.opposite}_revision", {"revision": revision.name})


class Deactivate(_Turned):
    """Deactivates a revision that has no traffic: the one named, or the only unhealthy one there is."""

    verb = "deactivate"
    opposite = "activate"

    def choose(self, app: App, order: Order) -> Revision | None:
        """Return the revision; raises ValueError for one with traffic, and when several might be meant."""
        if "revision" in order.args:
            found = named(app, order.args["revision"], order.target)
            if found.serving:
                raise ValueError(f"{found.name} serves {found.weight}% of the traffic: move that first")
            return found
        ill = [each for each in app.revisions if each.active and each.failed and not each.serving]
        if len(ill) > 1:
            names = ", ".join(each.name for each in ill)
            raise ValueError(f"several revisions are unhealthy: {names}; say which with `revision`")
        return ill[0] if ill else None


class Reactivate(_Turned):
    """Activates a revision again. One that would be held back less than what serves is left to a person."""

    verb = "activate"
    opposite = "deactivate"

    def choose(self, app: App, order: Order) -> Revision | None:
        """Return the revision; raises ValueError for one whose killswitch or approval are not those that serve."""
        found, container = named(app, order.args["revision"], order.target), order.target.container
        kept = [holding_back(each.template, container) for each in app.serving]
        if not found.active and any(each != holding_back(found.template, container) for each in kept):
            raise ValueError(f"{found.name} has another killswitch or approval than what serves: roll back to it")
        return found


def named(app: App, name: str, target: Target) -> Revision:
    """Return the revision of this name; raises ValueError, which names those there are, when there is none."""
    found = next((each for each in app.revisions if each.name == name), None)
    if found is None:
        names = ", ".join(each.name for each in app.revisions[-5:]) or "none"
        raise ValueError(f"{target.container_app} has no revision {name}; the newest are {names}")
    return found
