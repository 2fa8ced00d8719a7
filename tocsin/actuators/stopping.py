"""Stopping a whole Container App, and starting it again: the last resort, when no switch comes to serve.

It fails closed: nothing answers any more. Nothing of the app's template is written, so that an identity may have this
right and no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Literal

from tocsin.actuators.steady import refused, steady
from tocsin.connections.arm import ContainerApps
from tocsin.connections.http import look as asked
from tocsin.core.action import Order, Preview, Undo
from tocsin.core.answer import NoAnswer
from tocsin.core.config import Target
from tocsin.core.container import App, Look
from tocsin.core.remedy import Applied, Did
from tocsin.core.starting import patience


@dataclass(frozen=True, slots=True)
class _Turn:
    """What stopping and starting share. The platform takes a while for either, and says so meanwhile."""

    apps: ContainerApps
    readable: ClassVar[bool] = True
    finishes: ClassVar[bool] = False
    verb: ClassVar[Literal["stop", "start"]]
    opposite: ClassVar[str]
    done: ClassVar[str]

    def is_so(self, app: App) -> bool:
        """Return whether nothing is left to do."""
        raise NotImplementedError

    def preview(self, order: Order) -> Preview | NoAnswer:
        """Return each revision whose replicas would stop or start."""
        app = self.apps.get(order.target)
        if isinstance(app, NoAnswer):
            return app
        if self.is_so(app):
            return Preview(())
        active = [each.name for each in app.revisions if each.active]
        return Preview(tuple(f"{name}: {self.verb}s" for name in active or [order.target.container_app]), self._undo)

    def apply(self, order: Order) -> Applied:
        """Stop or start the app, or say why not; one that is between the two is left alone."""
        app = steady(self.apps, order.target, self.is_so)
        if isinstance(app, Applied):
            return app
        if self.is_so(app):
            return Applied(Did.ALREADY, f"{order.target.container_app} is {self.done}")
        if app.status == "Progressing":
            return Applied(Did.BUSY, "the platform is stopping or starting it")
        sent = self.apps.turn(order.target, self.verb)
        if isinstance(sent, NoAnswer):
            return refused(sent, sending=True)
        words = f"{order.target.container_app}: {app.status or 'Running'} → {self.done}"
        return Applied(Did.DONE, words, app.status, operation=sent.operation, undo=self._undo, starts=self._takes(app))

    def holds(self, order: Order) -> bool | None:
        """Return whether it is so; None while that cannot be read, or the app is between the two."""
        app = self.apps.get(order.target)
        return None if isinstance(app, NoAnswer) or app.status == "Progressing" else self.is_so(app)

    @property
    def _undo(self) -> Undo:
        return Undo(f"container_app.{self.opposite}", {})

    def _takes(self, app: App) -> timedelta | None:
        return patience(app.template) if self.verb == "start" else None


class Stop(_Turn):
    """Stops the app: all of its revisions, whatever they serve."""

    verb, opposite, done = "stop", "start", "stopped"

    def is_so(self, app: App) -> bool:
        """Return whether the platform says that it is stopped."""
        return app.stopped

    def look(self, order: Order) -> Look:
        """Return whether it is stopped, no replica is left, and none of the target's probes is answered as usual."""
        app = self.apps.get(order.target)
        if isinstance(app, NoAnswer):
            return Look(False, f"the app could not be read: {app.why.value}")
        if not app.stopped:
            return Look(False, f"the platform says that it is {app.status or 'running'}")
        left = [f"{each.name} has {each.replicas} replicas" for each in app.revisions if each.replicas]
        left = left or list(_answering(order.target))
        return Look(not left, "; ".join(left) or "stopped: no replica is left, and nothing answers")


class Start(_Turn):
    """Starts the app again, as it was stopped: with the variables that its template has."""

    verb, opposite, done = "start", "stop", "started"

    def is_so(self, app: App) -> bool:
        """Return whether it is neither stopped nor on its way to or from that."""
        return not app.stopped and app.status != "Progressing"

    def look(self, order: Order) -> Look:
        """Return whether something serves and runs."""
        app = self.apps.get(order.target)
        if isinstance(app, NoAnswer):
            return Look(False, f"the app could not be read: {app.why.value}")
        down = [f"{each.name} is {each.state}" for each in app.serving if not each.running]
        if not self.is_so(app) or not app.serving or down:
            words = "; ".join(down) or f"the platform says that it is {app.status}"
            return Look(False, words, patience(app.template))
        return Look(True, f"{', '.join(each.name for each in app.serving)} runs")


def _answering(target: Target) -> Iterator[str]:
    for each in target.probes:
        found = asked(each.url, each.within.total_seconds())
        if found.status == each.status:
            yield f"the probe {each.name} is still answered with {found.status}"
