"""What can be done to a Container App besides its killswitch: a variable, its scale, and its revisions.

Variables that hold production back (``KILLSWITCH…``, ``HITL…``) are nobody's to set here: the killswitch is released by
its own action, behind its gate, and the approval of side effects is never loosened by a policy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tocsin.actuators.connections import Connections
from tocsin.actuators.revisions import Deactivate, Reactivate, Restart
from tocsin.actuators.rollback import Rollback
from tocsin.actuators.steady import Change, Template, look_at, value_of
from tocsin.actuators.stopping import Start, Stop
from tocsin.core.action import Arg, Order, Takes, Undo
from tocsin.core.container import SECRET, App, Look, with_variable
from tocsin.core.template import scale_of, with_scale, without_variable
from tocsin.ports import Actuator

SETTABLE = (
    r"(?!(?i:KILLSWITCH|HITL)(?:_|$))"
    r"(?!.*(?i:TOCSIN))"
    r"(?!.*(?i:KEY|SECRET|TOKEN|PASSWORD|PASSWD|PWD|CREDENTIAL|CONNECTION))"
    r"[A-Za-z_][A-Za-z0-9_]{0,127}"
)
"""Names of variables that an action may set."""

SETTABLE_IS = (
    "a variable that an action may set: none of the killswitch's or the approval's, none whose name speaks of a "
    "secret, letters, digits and _"
)

_COUNT = r"0|[1-9]\d{0,2}|1000"


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of the watched container, with its value or (None) gone."""

    order: Order
    name: str
    value: str | None
    already = "already so"

    @property
    def variables(self) -> tuple[str, ...]:
        """The one variable."""
        return (self.name,)

    def has(self, template: Template) -> bool:
        """Return whether the variable has its value, or is gone."""
        return self._found(template) == self.value

    def make(self, template: Template) -> dict[str, Any]:
        """Return the template with the one variable set, or without it."""
        container = self.order.target.container
        if self.value is None:
            return without_variable(template, container, self.name)
        return with_variable(template, container, self.name, self.value)

    def changes(self, template: Template) -> tuple[str, ...]:
        """Return what the variable was and will be."""
        return (f"{self.name}: {_shown(self._found(template))} → {_shown(self.value)}",)

    def undo(self, template: Template) -> Undo:
        """Return the action that sets the value it had, or removes it again."""
        old = self._found(template)
        return Undo("container_app.set_env", {"name": self.name, **({} if old is None else {"value": old})})

    def look(self, app: App) -> Look:
        """Return whether all that serves has it."""
        return look_at(app, self.has, f"{self.name} is {_shown(self.value)}")

    def _found(self, template: Template) -> str | None:
        return value_of(template, self.order.target.container, self.name)


@dataclass(frozen=True, slots=True)
class Scale:
    """The least and the most replicas; None leaves one as it is."""

    least: int | None
    most: int | None
    variables = ()
    already = "already so"

    def has(self, template: Template) -> bool:
        """Return whether the template's figures are these."""
        least, most = scale_of(template)
        return self.least in (None, least) and self.most in (None, most)

    def make(self, template: Template) -> dict[str, Any]:
        """Return the template with these figures; its rules of scaling are kept."""
        return with_scale(template, self.least, self.most)

    def changes(self, template: Template) -> tuple[str, ...]:
        """Return each figure that changes, with what it was."""
        least, most = scale_of(template)
        found = (("least", least, self.least), ("most", most, self.most))
        return tuple(f"{name} replicas: {old} → {new}" for name, old, new in found if new not in (None, old))

    def undo(self, template: Template) -> Undo:
        """Return the action that sets the figures it had, of those that were set."""
        least, most = scale_of(template)
        old = {"min": (self.least, least), "max": (self.most, most)}
        return Undo("container_app.scale", {name: str(was) for name, (set_, was) in old.items() if set_ is not None})

    def look(self, app: App) -> Look:
        """Return whether all that serves has these figures."""
        return look_at(app, self.has, "the scale is as wanted")


def _shown(value: str | None) -> str:
    return "unset" if value is None else "a secret" if value == SECRET else f"'{value}'"


def _variable(order: Order) -> Variable:
    name = order.args["name"]
    if not re.fullmatch(SETTABLE, name):
        raise ValueError(f"{name} is not {SETTABLE_IS}")
    return Variable(order, name, order.args.get("value"))


def _scale(order: Order) -> Scale:
    least, most = (int(order.args[name]) if name in order.args else None for name in ("min", "max"))
    return Scale(least, most)


_READ = ("Microsoft.App/containerApps/read", "Microsoft.App/containerApps/revisions/read")
_WRITE = (*_READ, "Microsoft.App/containerApps/write")
_AT = "Microsoft.App/containerApps/revisions"
_TURN = (*_READ, "Microsoft.App/containerApps/stop/action", "Microsoft.App/containerApps/start/action")
_REVISION = r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?"
_NAMED = Arg(pattern=_REVISION, says="the whole name of a revision")
_EITHER = Arg(pattern=_REVISION, says="the whole name of a revision", needed=False)
_REPLICAS = Arg(pattern=_COUNT, says="a number of replicas from 0 to 1000", needed=False)

ACTIONS: Mapping[str, tuple[Takes, Callable[[Connections], Actuator]]] = {
    "set_env": (
        Takes(
            {
                "name": Arg(pattern=SETTABLE, says=SETTABLE_IS),
                "value": Arg(pattern=r"(?s).*", says="a text; without it the variable is removed", needed=False),
            },
            undone=True,
            changes="Sets one variable of the watched container, or removes it, in a new revision.",
            needs=_WRITE,
        ),
        lambda connections: Change(connections.apps, _variable),
    ),
    "scale": (
        Takes(
            {"min": _REPLICAS, "max": _REPLICAS},
            one_of=("min", "max"),
            undone=True,
            changes="Sets the least and the most replicas, in a new revision; the rules of scaling are kept.",
            needs=_WRITE,
        ),
        lambda connections: Change(connections.apps, _scale),
    ),
    "restart": (
        Takes(
            changes="Restarts the replicas of every revision that serves, those made since the order excepted.",
            needs=(*_READ, f"{_AT}/restart/action", f"{_AT}/replicas/read"),
        ),
        lambda connections: Restart(connections.apps),
    ),
    "rollback": (
        Takes(
            {"to": _EITHER},
            undone=True,
            changes="Lets the last healthy earlier version serve, or the one named: with several revisions by moving "
            "all traffic, else as a new revision made from it. The killswitch and the approval stay as they are now.",
            needs=(*_WRITE, f"{_AT}/activate/action"),
        ),
        lambda connections: Rollback(connections.apps),
    ),
    "deactivate_revision": (
        Takes(
            {"revision": _EITHER},
            undone=True,
            changes="Deactivates the revision named, or the one unhealthy revision there is; never one with traffic.",
            needs=(*_READ, f"{_AT}/deactivate/action"),
        ),
        lambda connections: Deactivate(connections.apps),
    ),
    "activate_revision": (
        Takes(
            {"revision": _NAMED},
            undone=True,
            changes="Activates a revision again, unless its killswitch or approval differ from what serves.",
            needs=(*_READ, f"{_AT}/activate/action"),
        ),
        lambda connections: Reactivate(connections.apps),
    ),
    "stop": (
        Takes(
            undone=True,
            changes="Stops the whole app: the last resort, once an engaged killswitch failed or was not proven in its "
            "time. Nothing answers any more, and running work is lost. Always asked, for one target at a time; a "
            "person starts it again (`tocsin killswitch start`), when the evals allow it.",
            needs=_TURN,
        ),
        lambda connections: Stop(connections.apps),
    ),
    "start": (
        Takes(
            undone=True,
            changes="Starts an app that was stopped, with the variables it has. For a person, never for a policy.",
            needs=_TURN,
        ),
        lambda connections: Start(connections.apps),
    ),
}
"""The actions of this file, ``container_app.set_env`` and so on."""
