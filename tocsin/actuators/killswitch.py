"""The killswitch: one variable of one container, on every revision that serves.

How it is written is in ``actuators.steady``: the whole template as just read, twice alike, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tocsin.actuators.connections import Connections
from tocsin.actuators.steady import Change, Template, value_of
from tocsin.core.action import Arg, Order, Takes, Undo
from tocsin.core.container import SCOPES, SECRET, App, Look, engaged, verify, with_variable


@dataclass(frozen=True, slots=True)
class Switch:
    """One switch, wanted ``on`` or off."""

    order: Order
    on: bool

    @property
    def variables(self) -> tuple[str, ...]:
        """The one variable that is the switch."""
        return (self._name,)

    @property
    def already(self) -> str:
        """What is said of a switch that is as wanted."""
        return f"already {'engaged' if self.on else 'released'}"

    def has(self, template: Template) -> bool:
        """Return whether the switch is as wanted; a reference to a secret is neither on nor off."""
        found = self._found(template)
        return found != SECRET and engaged(found) == self.on

    def make(self, template: Template) -> dict[str, Any]:
        """Return the template with the switch as wanted."""
        return with_variable(template, self.order.target.container, self._name, self._value)

    def changes(self, template: Template) -> tuple[str, ...]:
        """Return what the switch was and will be."""
        return (f"{self._name}: {self._found(template) or 'unset'} → {self._value}",)

    def undo(self, template: Template) -> Undo:  # noqa: ARG002
        """Return the opposite, whatever the switch was set to before."""
        return Undo("killswitch.release" if self.on else "killswitch.engage", self.order.args)

    def look(self, app: App) -> Look:
        """Return whether all that serves has the switch and runs."""
        return verify(app, self._name, self.on)

    @property
    def _name(self) -> str:
        return SCOPES[self.order.args["scope"]]

    @property
    def _value(self) -> str:
        return "on" if self.on else "off"

    def _found(self, template: Template) -> str | None:
        return value_of(template, self.order.target.container, self._name)


def _engage(connections: Connections) -> Change:
    return Change(connections.apps, lambda order: Switch(order, on=True))


def _release(connections: Connections) -> Change:
    return Change(connections.apps, lambda order: Switch(order, on=False))


_NEEDS = (
    "Microsoft.App/containerApps/read",
    "Microsoft.App/containerApps/write",
    "Microsoft.App/containerApps/revisions/read",
)
_SCOPE = {"scope": Arg(tuple(SCOPES))}

ACTIONS: Mapping[str, tuple[Takes, Callable[[Connections], Change]]] = {
    "engage": (
        Takes(_SCOPE, undone=True, changes="Sets one variable of the app to `on`, in a new revision.", needs=_NEEDS),
        _engage,
    ),
    "release": (
        Takes(_SCOPE, undone=True, changes="Sets one variable of the app to `off`, in a new revision.", needs=_NEEDS),
        _release,
    ),
}
"""The actions of this file, ``killswitch.engage`` and ``killswitch.release``."""
