"""The killswitch: one variable of one container, on every revision that serves.

How it is written is in ``actuators.steady``: the whole template as just read, twice alike, and nothing else. Where a
policy says so, ``BOOTSTRAP_SKIP`` goes with the switch, so that the revision with it comes up while what the bootstrap
needs is down. What was found is noted in the template itself: whoever releases puts it back, in the same write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tocsin.actuators.connections import Connections
from tocsin.actuators.steady import Change, Template, value_of
from tocsin.core.action import Arg, Order, Takes, Undo
from tocsin.core.container import (
    BOOTSTRAP,
    FOUND_BOOTSTRAP,
    SCOPES,
    SECRET,
    App,
    Look,
    engaged,
    environment,
    verify,
    with_variable,
)
from tocsin.core.template import as_found, left_over, skipping, skips


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
        done = found != SECRET and engaged(found) == self.on
        return done and (self.on or not left_over(template, self._container))

    def make(self, template: Template) -> dict[str, Any]:
        """Return the template with the switch as wanted; with the last of them off, the bootstrap as it was found."""
        changed = with_variable(template, self._container, self._name, self._value)
        if self.on:
            return skipping(changed, self._container) if "bootstrap" in self.order.args else changed
        return as_found(changed, self._container) if left_over(changed, self._container) else changed

    def changes(self, template: Template) -> tuple[str, ...]:
        """Return what the switch was and will be, and what becomes of the bootstrap."""
        before, after = (environment(each, self._container) for each in (template, self.make(template)))
        names = [name for name in (self._name, BOOTSTRAP, FOUND_BOOTSTRAP) if before.get(name) != after.get(name)]
        return tuple(f"{name}: {before.get(name) or 'unset'} → {after.get(name) or 'unset'}" for name in names)

    def undo(self, template: Template) -> Undo:
        """Return the opposite, whatever the switch was set to before."""
        if self.on:
            return Undo("killswitch.release", {"scope": self.order.args["scope"]})
        ends = skips(template, self._container) and not skips(self.make(template), self._container)
        return Undo("killswitch.engage", {**self.order.args, **({"bootstrap": "skip"} if ends else {})})

    def look(self, app: App) -> Look:
        """Return whether all that serves has the switch and runs."""
        return verify(app, self._name, self.on)

    @property
    def _container(self) -> str:
        return self.order.target.container

    @property
    def _name(self) -> str:
        return SCOPES[self.order.args["scope"]]

    @property
    def _value(self) -> str:
        return "on" if self.on else "off"

    def _found(self, template: Template) -> str | None:
        return value_of(template, self._container, self._name)


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
_BOOTSTRAP = Arg(("skip",), needed=False)

ACTIONS: Mapping[str, tuple[Takes, Callable[[Connections], Change]]] = {
    "engage": (
        Takes(
            {**_SCOPE, "bootstrap": _BOOTSTRAP},
            undone=True,
            changes="Sets one variable of the app to `on`, in a new revision. With `bootstrap: skip` also "
            "`BOOTSTRAP_SKIP` to `1`, so that the revision starts while Foundry or Search are down; a release puts "
            "back what was found. It is left alone where the app skips already, or where it refers to a secret.",
            needs=_NEEDS,
        ),
        _engage,
    ),
    "release": (
        Takes(
            _SCOPE,
            undone=True,
            changes="Sets one variable of the app to `off`, in a new revision; with the last switch that is on, "
            "`BOOTSTRAP_SKIP` goes back to what it was found as.",
            needs=_NEEDS,
        ),
        _release,
    ),
}
"""The actions of this file, ``killswitch.engage`` and ``killswitch.release``."""
