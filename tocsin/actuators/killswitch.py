"""The killswitch: one variable of one container, on every revision that serves.

``engage`` and ``release`` read the app, change the one variable in the whole template as just read, and send that back;
secrets, registries and identity are never sent. The app is read again immediately before writing, because the platform
offers no reliable ETag: a template that changed in between is never overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tocsin.actuators.connections import Connections
from tocsin.connections.arm import ContainerApps
from tocsin.core.action import Arg, Order, Preview, Takes, Undo
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.config import Target
from tocsin.core.container import DEPLOYING, SCOPES, SECRET, App, engaged, verify, what_runs, with_variable
from tocsin.core.remedy import Applied, Did

_AGAIN = frozenset({Why.BUSY, Why.THROTTLED, Why.FAILED, Why.UNREACHABLE, Why.TIMEOUT})
"""Answers after which the next tick reads the world and tries again; any other ends the execution."""

_UNCLEAR = frozenset({Why.FAILED, Why.UNREACHABLE, Why.TIMEOUT})
"""Answers to a change that leave open whether it was made."""

_READS = 3


@dataclass(frozen=True, slots=True)
class Switch:
    """Brings one switch to ``on`` or ``off``."""

    apps: ContainerApps
    on: bool

    readable: ClassVar[bool] = True

    def preview(self, order: Order) -> Preview | NoAnswer:
        """Return the one variable that would change, or why the app could not be read."""
        app, variable = self.apps.get(order.target), SCOPES[order.args["scope"]]
        if isinstance(app, NoAnswer):
            return app
        if self._wanted(app, order.target, variable):
            return Preview(())
        change = f"{order.target.container_app}: {variable}: {app.env.get(variable) or 'unset'} → {self._value}"
        return Preview((change,), self._opposite(order))

    def apply(self, order: Order) -> Applied:
        """Bring the switch to the wanted state on every serving revision, or say why not.

        ``ALREADY`` when the template has it, whoever put it there; ``BUSY`` when somebody else is changing the app, or
        when it is not clear whether a change arrived: nothing is sent again before the app was read.
        """
        target, variable = order.target, SCOPES[order.args["scope"]]
        app = self._steady(target, variable)
        if isinstance(app, Applied):
            return app
        if self._wanted(app, target, variable):
            return self._settle(target, app, variable)
        try:
            template = with_variable(_base(app, target, variable), target.container, variable, self._value)
        except (LookupError, ValueError) as error:
            return Applied(Did.FAILED, str(error))
        sent = self.apps.patch_template(target, app, template)
        if isinstance(sent, NoAnswer):
            return _refused(sent, sending=True)
        words = f"{variable} was {app.env.get(variable) or 'unset'}, is {self._value} from the next revision"
        return Applied(Did.DONE, words, before=app.latest, operation=sent.operation, undo=self._opposite(order))

    def holds(self, order: Order) -> bool | None:
        """Return whether the app's template already has the switch as wanted; None when that cannot be read."""
        app, variable = self.apps.get(order.target), SCOPES[order.args["scope"]]
        if isinstance(app, NoAnswer) or app.env.get(variable) == SECRET:
            return None
        return self._wanted(app, order.target, variable)

    def _opposite(self, order: Order) -> Undo:
        return Undo("killswitch.release" if self.on else "killswitch.engage", order.args)

    @property
    def _value(self) -> str:
        return "on" if self.on else "off"

    def _has(self, app: App, variable: str) -> bool:
        return app.env.get(variable) != SECRET and engaged(app.env.get(variable)) == self.on

    def _wanted(self, app: App, target: Target, variable: str) -> bool:
        """Return whether nothing has to be written: all that serves has it, or the template does, which then serves.

        What serves is no answer while a revision with the opposite is on its way to take its place.
        Where traffic is shared out, a template may be of a revision that nobody has let serve yet. It is none of ours.
        """
        if verify(app, variable, self.on).holds and (self._has(app, variable) or not _follows(app)):
            return True
        stray = app.multiple and any(not _same(each.template, app.template, target, variable) for each in app.serving)
        return self._has(app, variable) and not stray

    def _steady(self, target: Target, variable: str) -> App | Applied:
        """Return the app once it has the switch, or as read twice in a row alike with no operation under way."""
        app = self.apps.get(target)
        for _ in range(_READS):
            if isinstance(app, NoAnswer):
                return _refused(app)
            if self._wanted(app, target, variable):
                return app
            if app.provisioning in DEPLOYING:
                return Applied(Did.BUSY, f"a deployment is in progress: {app.provisioning}")
            again = self.apps.get(target)
            if isinstance(again, App) and _alike(again, app):
                return again
            app = again
        return Applied(Did.BUSY, "a deployment is in progress: the app changed each time it was read")

    def _settle(self, target: Target, app: App, variable: str) -> Applied:
        """The template has it. Where old revisions keep their traffic, give it to the newest once that one runs."""
        look, new = verify(app, variable, self.on), app.newest
        where = "" if look.holds else " in the template"
        words = f"already {'engaged' if self.on else 'released'}{where}; {look.words}"
        already = Applied(Did.ALREADY, words, after=app.latest)
        if look.holds or not app.multiple or not app.traffic or app.provisioning in DEPLOYING:
            return already
        if new is None or not (new.active and new.running and engaged(new.env.get(variable)) == self.on):
            return already
        sent = self.apps.patch_traffic(target, app, new.name)
        if isinstance(sent, NoAnswer):
            return _refused(sent, sending=True)
        words = f"all traffic to {new.name}; it was {_shares(app)}"
        return Applied(Did.DONE, words, after=new.name, operation=sent.operation)


def _follows(app: App) -> bool:
    """Return whether requests go to the newest revision by themselves, once that is ready."""
    return not app.multiple or any(entry.get("latestRevision") for entry in app.traffic)


def _base(app: App, target: Target, variable: str) -> Mapping[str, Any]:
    """Return the template to change: the app's, or what production runs where that is another one.

    Raises ValueError when the revisions that serve differ among themselves: one of them would have to go.
    """
    if not app.multiple or not app.serving or not all(each.template for each in app.serving):
        return app.template
    first, *others = app.serving
    differing = [each.name for each in others if not _same(each.template, first.template, target, variable)]
    if differing:
        names = ", ".join([first.name, *differing])
        raise ValueError(f"{names} share the traffic and differ in more than {variable}: a person must set it on each")
    return app.template if _same(first.template, app.template, target, variable) else first.template


def _same(one: Mapping[str, Any], other: Mapping[str, Any], target: Target, variable: str) -> bool:
    """Return whether two templates run the same but for the switch; one that is not told is no witness against it."""
    if not one or not other:
        return True
    return what_runs(one, target.container, variable) == what_runs(other, target.container, variable)


def _alike(one: App, other: App) -> bool:
    return (one.template, one.latest, one.provisioning) == (other.template, other.latest, other.provisioning)


def _shares(app: App) -> str:
    """Return how traffic was shared out, so that a person can bring it back; labels of revisions are in it."""
    shares = [
        f"{entry.get('revisionName') or 'the newest'} {entry.get('weight') or 0}%"
        + (f" (label {entry['label']})" if entry.get("label") else "")
        for entry in app.traffic
    ]
    return ", ".join(shares)


def _refused(answer: NoAnswer, *, sending: bool = False) -> Applied:
    """Return what a refusal means. An unclear one is BUSY: the world is read before anything is sent again."""
    did = Did.BUSY if answer.why in _AGAIN else Did.FAILED
    unclear = "; whether the change was made is unknown until the app is read again"
    after = f"; again in {answer.retry_after:g} s, it says" if answer.retry_after else ""
    words = f"{answer.why.value}: {answer.detail}{after}"
    return Applied(did, words + (unclear if sending and answer.why in _UNCLEAR else ""))


def _engage(connections: Connections) -> Switch:
    return Switch(connections.apps, on=True)


def _release(connections: Connections) -> Switch:
    return Switch(connections.apps, on=False)


_TAKES = Takes({"scope": Arg(tuple(SCOPES))}, undone=True)

ACTIONS: Mapping[str, tuple[Takes, Callable[[Connections], Switch]]] = {
    "engage": (_TAKES, _engage),
    "release": (_TAKES, _release),
}
"""The actions of this file, ``killswitch.engage`` and ``killswitch.release``."""
