"""The killswitch: one variable of one container, on every revision that serves.

``engage`` and ``release`` read the app, change the one variable in the whole template as just read, and send that back;
secrets, registries and identity are never sent. The app is read again immediately before writing, because the platform
offers no reliable ETag: a template that changed in between is never overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tocsin.connections.arm import ContainerApps
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.config import Target
from tocsin.core.container import SCOPES, App, engaged, verify, with_variable
from tocsin.core.remedy import Applied, Did

_AGAIN = frozenset({Why.BUSY, Why.THROTTLED, Why.FAILED, Why.UNREACHABLE, Why.TIMEOUT})
"""Answers after which the next tick reads the world and tries again; any other ends the execution."""

_READS = 3


@dataclass(frozen=True, slots=True)
class Switch:
    """Brings one switch to ``on`` or ``off``."""

    apps: ContainerApps
    on: bool

    def apply(self, target: Target, args: Mapping[str, str]) -> Applied:
        """Bring the switch to the wanted state on every serving revision, or say why not.

        ``ALREADY`` when the template has it; ``BUSY`` when somebody else is changing the app, and nothing was sent.
        """
        variable = SCOPES[args["scope"]]
        app = self._steady(target)
        if isinstance(app, Applied):
            return app
        if engaged(app.env.get(variable)) == self.on:
            return self._settle(target, app, variable)
        try:
            template = with_variable(app.template, target.container, variable, "on" if self.on else "off")
        except (LookupError, ValueError) as error:
            return Applied(Did.FAILED, str(error))
        sent = self.apps.patch_template(target, app, template)
        if isinstance(sent, NoAnswer):
            return _not_sent(sent)
        words = (
            f"{variable} was {app.env.get(variable) or 'unset'}, is {'on' if self.on else 'off'} from the next revision"
        )
        return Applied(Did.DONE, words, before=app.latest, operation=sent.operation)

    def holds(self, target: Target, args: Mapping[str, str]) -> bool | None:
        """Return whether the app's template already has the switch as wanted; None when it cannot be read."""
        app = self.apps.get(target)
        return None if isinstance(app, NoAnswer) else engaged(app.env.get(SCOPES[args["scope"]])) == self.on

    def _steady(self, target: Target) -> App | Applied:
        """Return the app as read twice in a row with the same template and no operation under way."""
        app = self.apps.get(target)
        for _ in range(_READS):
            if isinstance(app, NoAnswer):
                return _not_sent(app)
            if app.provisioning != "Succeeded":
                return Applied(Did.BUSY, f"another operation is under way: {app.provisioning}")
            again = self.apps.get(target)
            if isinstance(again, App) and again.template == app.template and again.latest == app.latest:
                return again
            app = again
        return Applied(Did.BUSY, "the app is being changed by somebody else")

    def _settle(self, target: Target, app: App, variable: str) -> Applied:
        """The template has it. Where old revisions keep their traffic, give it to the newest once that one runs."""
        look = verify(app, variable, self.on)
        already = Applied(
            Did.ALREADY, f"already {'engaged' if self.on else 'released'}; {look.words}", after=app.latest
        )
        ready = next((each for each in app.revisions if each.name == app.latest and each.active and each.running), None)
        if look.holds or not app.multiple or ready is None:
            return already
        sent = self.apps.patch_traffic(target, app, ready.name)
        if isinstance(sent, NoAnswer):
            return _not_sent(sent)
        weights = ", ".join(f"{each.name} {each.weight}%" for each in app.serving)
        return Applied(
            Did.DONE, f"all traffic to {ready.name} (was {weights})", after=ready.name, operation=sent.operation
        )


def _not_sent(answer: NoAnswer) -> Applied:
    """Return what a refusal means. An unclear one is BUSY: the world is read before anything is sent again."""
    did = Did.BUSY if answer.why in _AGAIN else Did.FAILED
    return Applied(did, f"{answer.why.value}: {answer.detail}")


def _engage(apps: ContainerApps) -> Switch:
    return Switch(apps, on=True)


def _release(apps: ContainerApps) -> Switch:
    return Switch(apps, on=False)


ACTIONS: Mapping[str, Callable[[ContainerApps], Switch]] = {"engage": _engage, "release": _release}
"""The actions of this file, ``killswitch.engage`` and ``killswitch.release``."""

ARGS: Mapping[str, tuple[str, ...]] = {"scope": tuple(SCOPES)}
"""What each action takes: name → the values there are."""
