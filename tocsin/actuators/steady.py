"""What every change of a Container App shares: an app read twice alike, one template sent back, refusals as outcomes.

The app is read again immediately before writing, because the platform offers no reliable ETag: a template that changed
in between is never overwritten. What is sent is the whole template as just read; secrets, registries and identity are
never sent. Where several revisions may serve, the template is what production runs, and the traffic follows it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

from tocsin.connections.arm import LATEST, ContainerApps
from tocsin.core.action import Order, Preview, Undo
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.config import Target
from tocsin.core.container import DEPLOYING, SECRET, App, Look, Revision, environment, what_runs
from tocsin.core.remedy import Applied, Did
from tocsin.core.starting import patience, starting

_AGAIN = frozenset({Why.BUSY, Why.THROTTLED, Why.FAILED, Why.UNREACHABLE, Why.TIMEOUT})
"""Answers after which the next tick reads the world and tries again; any other ends the execution."""

_UNCLEAR = frozenset({Why.FAILED, Why.UNREACHABLE, Why.TIMEOUT})
"""Answers to a change that leave open whether it was made."""

_READS = 3

Template = Mapping[str, Any]


class Wish(Protocol):
    """What is wanted of a template. One order makes one, and it is the same at every attempt."""

    @property
    def variables(self) -> Collection[str]:
        """The variables it may change, of the watched container."""

    @property
    def already(self) -> str:
        """What is said when there is nothing left to do, such as `already engaged`."""

    def has(self, template: Template) -> bool:
        """Return whether the template is as wanted."""

    def make(self, template: Template) -> dict[str, Any]:
        """Return the template as wanted; raises LookupError or ValueError, in words, when that cannot be."""

    def changes(self, template: Template) -> tuple[str, ...]:
        """Return a sentence for each thing that ``make`` would change in a template that it can change."""

    def undo(self, template: Template) -> Undo | None:
        """Return what takes the change of this template back."""

    def look(self, app: App) -> Look:
        """Return whether all that serves is as wanted and runs."""


@dataclass(frozen=True, slots=True)
class Change:
    """Brings the template of an app to what a wish wants, and the traffic with it."""

    apps: ContainerApps
    wish: Callable[[Order], Wish]
    """Makes the wish of an order; raises ValueError, in words, for one that nobody may have."""

    readable: ClassVar[bool] = True
    finishes: ClassVar[bool] = True

    def preview(self, order: Order) -> Preview | NoAnswer:
        """Return every thing that would change, or why that cannot be told."""
        app = self.apps.get(order.target)
        if isinstance(app, NoAnswer):
            return app
        try:
            wish = self.wish(order)
            if _wanted(app, order.target, wish):
                return Preview(())
            base = _base(app, order.target, wish)
            wish.make(base)
        except (LookupError, ValueError) as error:
            return NoAnswer(Why.BROKEN, str(error))
        changes = tuple(f"{order.target.container_app}: {each}" for each in wish.changes(base))
        return Preview((*changes, *moves(app, order.target, "the new revision")), wish.undo(base))

    def apply(self, order: Order) -> Applied:
        """Bring the template and what serves to what is wanted, or say why not.

        ``ALREADY`` when the template has it, whoever put it there; ``BUSY`` when somebody else is changing the app, or
        when it is not clear whether a change arrived: nothing is sent again before the app was read.
        """
        try:
            return self._bring(order, self.wish(order))
        except (LookupError, ValueError) as error:
            return Applied(Did.FAILED, str(error))

    def holds(self, order: Order) -> bool | None:
        """Return whether the app's template already is as wanted; None when that cannot be read."""
        app = self.apps.get(order.target)
        try:
            wish = self.wish(order)
        except ValueError:
            return None
        if isinstance(app, NoAnswer) or any(app.env.get(name) == SECRET for name in wish.variables):
            return None
        return _wanted(app, order.target, wish)

    def look(self, order: Order) -> Look:
        """Return whether all that serves, and what serves next, is as wanted and runs."""
        app = self.apps.get(order.target)
        try:
            wish = self.wish(order)
        except ValueError as error:
            return Look(False, str(error))
        if isinstance(app, NoAnswer):
            return Look(False, f"the app could not be read: {app.why.value}")
        if app.template_serves and not wish.has(app.template):
            return Look(False, "what serves next does not have it")
        look = wish.look(app)
        return look if look.holds else replace(look, starts=starting(app, lambda each: wish.has(each.template)))

    def _bring(self, order: Order, wish: Wish) -> Applied:
        target = order.target
        app = steady(self.apps, target, lambda app: _wanted(app, target, wish))
        if isinstance(app, Applied):
            return app
        if _wanted(app, target, wish):
            return self._settle(target, app, wish)
        base = _base(app, target, wish)
        made = wish.make(base)
        sent = self.apps.patch_template(target, app, made)
        if isinstance(sent, NoAnswer):
            return refused(sent, sending=True)
        words, undo = f"{'; '.join(wish.changes(base))}, from the next revision", wish.undo(base)
        return Applied(Did.DONE, words, app.latest, operation=sent.operation, undo=undo, starts=patience(made))

    def _settle(self, target: Target, app: App, wish: Wish) -> Applied:
        """The template has it. Where old revisions keep their traffic, give it to the newest once that one runs."""
        look, new = wish.look(app), app.newest
        where = "" if look.holds else " in the template"
        starts = None if look.holds else starting(app, lambda each: wish.has(each.template))
        already = Applied(Did.ALREADY, f"{wish.already}{where}; {look.words}", after=app.latest, starts=starts)
        if look.holds or not app.multiple or not app.traffic or app.provisioning in DEPLOYING:
            return already
        if new is None or not (new.active and new.running and wish.has(new.template)):
            return already
        return give_traffic(self.apps, target, app, new.name)


def steady(apps: ContainerApps, target: Target, enough: Callable[[App], bool] | None = None) -> App | Applied:
    """Return the app once it is ``enough``, or as read twice in a row alike with no operation under way."""
    app = apps.get(target)
    for _ in range(_READS):
        if isinstance(app, NoAnswer):
            return refused(app)
        if enough is not None and enough(app):
            return app
        if app.provisioning in DEPLOYING:
            return Applied(Did.BUSY, f"a deployment is in progress: {app.provisioning}")
        again = apps.get(target)
        if isinstance(again, App) and _alike(again, app):
            return again
        app = again
    return Applied(Did.BUSY, "a deployment is in progress: the app changed each time it was read")


def give_traffic(apps: ContainerApps, target: Target, app: App, revision: str, undo: Undo | None = None) -> Applied:
    """Give all traffic to one revision, or let it follow the newest (``LATEST``).

    An app that follows its newest revision goes on doing so when it is the newest that gets the traffic.
    """
    follows = app.follows and revision == app.latest
    sent = apps.patch_traffic(target, app, LATEST if follows else revision)
    if isinstance(sent, NoAnswer):
        return refused(sent, sending=True)
    words = f"all traffic to {'the newest revision' if revision == LATEST else revision}; it was {shares(app)}"
    return Applied(Did.DONE, words, after=revision, operation=sent.operation, undo=undo)


def moves(app: App, target: Target, to: str) -> tuple[str, ...]:
    """Return the sentence that traffic moves, where it does not move by itself with the newest revision."""
    itself = not app.multiple or not app.traffic or (app.follows and len(app.traffic) == 1)
    return () if itself else (f"{target.container_app}: all traffic to {to}; it is {shares(app)}",)


def shares(app: App) -> str:
    """Return how traffic is shared out, so that a person can bring it back; labels of revisions are in it."""
    found = [
        f"{entry.get('revisionName') or 'the newest'} {entry.get('weight') or 0}%"
        + (f" (label {entry['label']})" if entry.get("label") else "")
        for entry in app.traffic
    ]
    return ", ".join(found)


def refused(answer: NoAnswer, *, sending: bool = False) -> Applied:
    """Return what a refusal means. An unclear one is BUSY: the world is read before anything is sent again."""
    did = Did.BUSY if answer.why in _AGAIN else Did.FAILED
    unclear = "; whether the change was made is unknown until the app is read again"
    after = f"; again in {answer.retry_after:g} s, it says" if answer.retry_after else ""
    words = f"{answer.why.value}: {answer.detail}{after}"
    return Applied(did, words + (unclear if sending and answer.why in _UNCLEAR else ""))


def look_at(app: App, has: Callable[[Template], bool], what: str) -> Look:
    """Return whether every revision that serves has what is wanted and runs; without any, nothing is proven."""
    if not app.serving:
        return Look(False, app.silence)
    wrong = [each.name for each in app.serving if not (each.template and has(each.template))]
    down = [f"{each.name} ({each.state or 'state unknown'})" for each in app.serving if not each.running]
    if wrong:
        return Look(False, f"not yet on {', '.join(wrong)}")
    if down:
        return Look(False, f"not running yet: {', '.join(down)}")
    return Look(True, f"{what} on {', '.join(each.name for each in app.serving)}")


def value_of(template: Template, container: str, name: str) -> str | None:
    """Return the value of a variable, None where there is none, ``SECRET`` for a reference.

    A revision from before the container had its name has no variables.
    """
    try:
        return environment(template, container).get(name)
    except LookupError:
        return None


def _wanted(app: App, target: Target, wish: Wish) -> bool:
    """Return whether nothing has to be written: all that serves has it, or the template does, which then serves.

    Old revisions that still have it do not help where a deployment's template without it is about to take over.
    Where traffic is shared out, a template may be of a revision that nobody has let serve yet. It is none of ours.
    """
    if wish.look(app).holds and (wish.has(app.template) or not app.template_serves):
        return True
    stray = app.multiple and any(not _same(each, app.template, target, wish) for each in app.serving)
    return wish.has(app.template) and not stray


def _base(app: App, target: Target, wish: Wish) -> Template:
    """Return the template to change: the app's, or what production runs where that is another one.

    Raises ValueError when the revisions that serve differ among themselves: one of them would have to go.
    """
    if not app.multiple or not app.serving or not all(each.template for each in app.serving):
        return app.template
    first, *others = app.serving
    differing = [each.name for each in others if not _same(each, first.template, target, wish)]
    if differing:
        names, besides = ", ".join([first.name, *differing]), " and ".join(wish.variables) or "their scale"
        raise ValueError(f"{names} share the traffic and differ in more than {besides}: a person must set it on each")
    return app.template if _same(first, app.template, target, wish) else first.template


def _same(one: Revision, other: Template, target: Target, wish: Wish) -> bool:
    """Return whether two templates run the same but for the wish; one that is not told is no witness against it."""
    if not one.template or not other:
        return True
    runs = [what_runs(each, target.container, wish.variables) for each in (one.template, other)]
    return runs[0] == runs[1]


def _alike(one: App, other: App) -> bool:
    return (one.template, one.latest, one.provisioning) == (other.template, other.latest, other.provisioning)
