"""What must hold at every change of the world, and what must hold in the end, judged by what was seen to happen.

The witness knows the world and the store and none of the engine's own judgements. What a process read before another
wrote is excused for that tick: nobody can know what happens between their look and their hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.simulation.chance import MINUTE, T0
from tests.simulation.seams import Process
from tests.simulation.setting import SWITCH
from tocsin.core.action import Order
from tocsin.core.alert import State, Verdict
from tocsin.core.audit import broken
from tocsin.core.config import Target
from tocsin.core.fields import Automation
from tocsin.core.message import Kind, Notice, Settled
from tocsin.core.policy import Policy
from tocsin.core.remedy import CONSENT_HOLDS, Execution

if TYPE_CHECKING:
    from tests.simulation.world import World

OLDEST = 9 * MINUTE
"""How old the newest sign of life may be when something is done: ``fresh_within``, what a slot may be late, and lag."""

_LOCKED = timedelta(minutes=2)
_SAYS = (Kind.FIRED, Kind.RESOLVED)
_BADLY = ("failed", "unverified")


class Wrong(BaseException):
    """Something was done that must never be: no handler of the engine's may hide it."""


class Witness:
    """Sees everything. ``moment`` counts what was written, so that one can say what came before what."""

    def __init__(self, world: World) -> None:
        self.world, self.moment = world, 0
        self.fired: dict[str, datetime] = {}
        """Episode → when it began; all there ever were."""
        self.breached: dict[str, int | None] = {}
        """Episode → the moment until which its newest verdict was a breach; None while it is."""
        self.releases: list[tuple[int, datetime, str]] = []
        self.done_of: dict[tuple[str, ...], int] = {}
        """Execution and action → how often the world had been changed back when it was done last."""
        self.taken: dict[str, int] = {}
        """Target → how often somebody else took away what was done there."""
        self.silences: list[tuple[int, str, datetime, datetime]] = []
        """Silences that say that nothing is to be done: the moment, the target, and when they begin and end."""
        self.orders: dict[Process, tuple[str, Order]] = {}
        self._inside: dict[str, list[tuple[Process, datetime]]] = {}

    # What is seen

    def wrote(self, what: str) -> None:
        """Note that something was written."""
        self.moment += 1
        if what != "commit":
            return
        alerts = [each for each in self.world.store.open_alerts() if each.open and each.episode]
        burning = {a.episode for a in alerts if a.state is State.FIRING and a.last is Verdict.BREACHED}
        for each in alerts:
            self.fired.setdefault(each.episode, each.fired or self.world.now)
        for episode in self.fired:
            if episode in burning:
                self.breached[episode] = None
            elif self.breached.get(episode, 0) is None:
                self.breached[episode] = self.moment

    def released(self, target: Target) -> None:
        """Note that a person released the switch."""
        self.moment += 1
        self.releases.append((self.moment, self.world.now, target.name))

    def silenced(self, target: Target, ends: datetime) -> None:
        """Note that a person said that nothing is to be done on the target."""
        self.moment += 1
        self.silences.append((self.moment, target.name, self.world.now, ends))

    def taken_away(self, target: Target) -> None:
        """Note that somebody changed the app so that the switch is gone."""
        self.taken[target.name] = self.taken.get(target.name, 0) + 1

    # What is done

    @contextmanager
    def applying(self, process: Process, action: str, order: Order) -> Iterator[None]:
        """While this lasts the process carries out an order: alone on its target."""
        name, now = order.target.name, self.world.now
        others = [each for each in self._inside.get(name, []) if now - each[1] < _LOCKED and not each[0].dead]
        self._must(not others, f"two at once change {name}")
        mine = (process, now)
        self._inside.setdefault(name, []).append(mine)
        self.orders[process] = (action, order)
        try:
            yield
        finally:
            self._inside[name].remove(mine)
            del self.orders[process]

    def patched(self, process: Process, target: Target, before: Mapping[str, Any], sent: Mapping[str, Any]) -> None:
        """Hold a change of a template to what it may be: one variable, of the template as it was."""
        app, kept = self.world.arm._app(target), [before]
        if app.multiple:  # production is what serves, whatever template was written last
            kept += [each.template for each in app.revisions if each.active and each.weight]
        same = any(_besides(each, target.container) == _besides(sent, target.container) for each in kept)
        self._must(same, f"more than {SWITCH} is changed on {target.name}")
        if process in self.orders:
            self.done(process, target)

    def done(self, process: Process, target: Target) -> None:
        """Hold what was done just now to what must hold of any act."""
        action, order = self.orders[process]
        execution = self._execution(order)
        key, taken = (execution, action), self.taken.get(target.name, 0)
        again = key in self.done_of and (not action.startswith("killswitch.") or self.done_of[key] == taken)
        self._must(not again, f"{action} is done twice for {execution}")
        self.done_of[key] = taken
        self.world.story.count(f"did {action}")
        self.intended(process)
        if action != "dial.back":
            self._permitted(process, execution, target)

    def intended(self, process: Process) -> None:
        """Hold what was done just now to a record from before of its intent."""
        action, order = self.orders[process]
        execution = self._execution(order)
        mine = [each for each in self.world.store.audit() if each["detail"].get("correlation") == execution]
        if action == "dial.back":
            said = any(each["event"].endswith("taking back") for each in mine)
        else:
            said = any(each["event"] == "intended" and each["detail"].get("action") == action for each in mine)
        self._must(said, f"{action} is done and no record says that it was intended: {execution}")

    def _execution(self, order: Order) -> str:
        """Return which execution an order is of."""
        whole = [each.id for each in self.world.store.executions() if f"{order.id}/".startswith(f"{each.id}/")]
        return max(whole, key=len, default=f"{order.facts.get('policy', '')}/{order.facts.get('episode', '')}")

    def _permitted(self, process: Process, execution: str, target: Target) -> None:
        """The alert burns, is known to, and was when this process began; a person has not said otherwise."""
        policy, _, episode = execution.partition("~")[0].partition("/")
        until = self.breached.get(episode, 0)
        burns = until is None or until >= process.begun
        self._must(burns, f"done for {episode}, whose newest verdict was no breach")
        known = self._known(episode.partition("/")[0], target)
        self._must(process.at - known <= OLDEST, f"done for {episode} on what is known from {known:%H:%M:%S}")
        self._must(not self._silenced(process, target), f"done for {episode} though a silence says that nothing is")
        began = self.fired.get(episode, self.world.now)
        since = [at for moment, at, name in self.releases if name == target.name and moment <= process.begun]
        self._must(not any(at >= began for at in since), f"done for {episode} against a person who released it")
        stored = self.world.store.execution(execution)
        self._must(self._may(process, policy, stored), f"done for {episode} though {policy} may not do so by itself")

    def _silenced(self, process: Process, target: Target) -> bool:
        """Return whether nothing was to be done on the target, from before this process began until now."""
        return any(
            name == target.name and moment <= process.begun and begins <= process.at and self.world.now < ends
            for moment, name, begins, ends in self.silences
        )

    def _known(self, rule: str, target: Target) -> datetime:
        """Return from when the newest evidence is: what the target is set to, or sent."""
        truth = self.world.truth[target.name]
        inspected = truth.inspected.get(rule, T0)
        return inspected if rule == "killswitch_drift" else max(inspected, truth.signed)

    def _may(self, process: Process, name: str, stored: Execution | None) -> bool:
        policy: Policy | None = next((each for each in process.project.policies if each.id == name), None)
        if policy is None or stored is None:
            return False
        config, given, begun = process.project.config, stored.consent, stored.first_intended
        if given is not None and (self.world.now - given.at < CONSENT_HOLDS or (begun and begun >= given.at)):
            return True
        return Automation.ACT is config.automation and policy.guard.mode is Automation.ACT

    # What must hold in the end

    def end(self) -> None:
        """Hold the end of the story to what was promised in it."""
        world = self.world
        self._must(broken(world.store.audit()) is None, "the chain of the audit is broken")
        open_ = [each.id for each in world.store.executions() if each.phase.acting]
        self._must(not open_, f"still under way: {', '.join(open_)}")
        waiting = [each.id for each in world.store.deliveries(10_000) if each.state is Settled.WAITING]
        self._must(not waiting, f"never told: {', '.join(waiting)}")
        self._told()
        failed = [
            f"{name} {fields}"
            for name, fields in world.log.events
            if "failed" in name and fields.get("error") not in world.faults
        ]
        self._must(not failed, f"the engine failed by itself: {'; '.join(failed)}")

    def _told(self) -> None:
        got = [notice for inbox in self.world.inboxes.values() for notice in inbox.got]
        heard = {notice.episode for notice in got}
        hushed = {name for _, name, _, _ in self.silences}  # of these nobody need hear anything for a while
        loud = [each for each in self.fired if each.split("/")[1] not in hushed]
        silent = [each for each in loud if each not in heard and not self._still_open(each, got)]
        self._must(not silent, f"nobody heard of {', '.join(silent)}")
        failures = [f"{notice.id}/" for notice in got if notice.kind is Kind.FAILED]
        badly = [each["detail"]["correlation"] for each in self.world.store.audit() if each["event"] in _BADLY]
        unheard = [
            each
            for each in badly
            if not any(told.startswith(f"{each}/") for told in failures) and not hushed.intersection(each.split("/"))
        ]
        self._must(not unheard, f"nobody heard of the failure of {', '.join(unheard)}")

    def _still_open(self, episode: str, got: list[Notice]) -> bool:
        """Return whether people had heard that the alert fires, and not of an end, when this episode began."""
        alert, began = episode.rpartition("/")[0], self.fired[episode]
        told = [each for each in got if each.episode.rpartition("/")[0] == alert and each.at < began]
        ends = [each.kind for each in sorted(told, key=lambda each: each.at) if each.kind in _SAYS]
        return ends[-1:] == [Kind.FIRED]

    def _must(self, holds: bool, words: str) -> None:
        if not holds:
            self.world.tell("WRONG", words)
            raise Wrong(words)


def _besides(template: Mapping[str, Any], container: str) -> Any:
    """Return a template without the switch and without the name of its revision; null is as good as absent."""
    found = _plain(template)
    found.pop("revisionSuffix", None)
    for each in found["containers"]:
        if each["name"] == container:
            each["env"] = [entry for entry in each["env"] if entry["name"] != SWITCH]
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items() if each is not None}
    return [_plain(each) for each in value] if isinstance(value, list) else value
