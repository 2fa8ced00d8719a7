"""What must hold at every change of the world, and what must hold in the end, judged by what was seen to happen.

The witness knows the world and the store and none of the engine's own judgements. What a process read before another
wrote is excused for that tick: nobody can know what happens between their look and their hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from unicodedata import category

from tests.simulation.chance import MINUTE, T0
from tests.simulation.hostile import Hush
from tests.simulation.seams import Process
from tests.simulation.setting import SWITCH
from tocsin.core import container
from tocsin.core.action import Order
from tocsin.core.alert import State, Verdict
from tocsin.core.audit import broken
from tocsin.core.config import Target
from tocsin.core.fields import Automation
from tocsin.core.group import Group
from tocsin.core.message import OWN_ERROR, Delivery, Kind, Notice, Settled
from tocsin.core.policy import Policy
from tocsin.core.remedy import CONSENT_HOLDS, Execution
from tocsin.core.unreadable import Unreadable

if TYPE_CHECKING:
    from tests.simulation.world import World

OLDEST = 9 * MINUTE
"""How old the newest sign of life may be when something is done: ``fresh_within``, what a slot may be late, and lag."""

_LOCKED = timedelta(minutes=2)
_ODD = ("Cc", "Cs", "Co", "Cn")
"""Kinds of letters that no message holds; those of format may stand in what we write ourselves."""
_LONGEST = 100_000
_SHOWN = 40
"""Letters of a row's place that every message about it shows."""
_LOOKS = 3
_PROVEN = 8 * MINUTE
"""For how long a fire has to burn in full sight until nobody may say that it is over: windows, lag, and a late slot."""
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
        self.silences: list[Hush] = []
        self.open: set[str] = set()
        """The episodes that are open."""
        self.muted: dict[str, set[str]] = {}
        """Episode → the episodes that kept it from being told at some time, or an empty text for a silence."""
        self.bare: dict[str, int] = {}
        """Episode → how many whole looks came to their end while nothing did."""
        self.taken_by: dict[tuple[str, str], int] = {}
        """Receiver and message → the moment at which it was settled that the receiver took it."""
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
            self.fired.setdefault(each.episode, each.fired or self.world.clock)
        self.open = {each.episode for each in alerts}
        for episode in self.fired:
            if episode in burning:
                self.breached[episode] = None
            elif self.breached.get(episode, 0) is None:
                self.breached[episode] = self.moment

    def looked(self, *, whole: bool) -> None:
        """Note at the end of a look which open alerts something keeps from being told."""
        for episode in sorted(self.open):
            if muting := self._muting(episode):
                self.muted.setdefault(episode, set()).update(muting)
            elif whole:
                self.bare[episode] = self.bare.get(episode, 0) + 1

    def released(self, target: Target) -> None:
        """Note that a person released the switch."""
        self.moment += 1
        self.releases.append((self.moment, self.world.clock, target.name))

    def silenced(self, target: Target, rule: str, spans: tuple[tuple[datetime, datetime], ...]) -> None:
        """Note that a person said that nothing is to be done on the target, for one rule of it or for all."""
        self.moment += 1
        self.silences.append(Hush(self.moment, target.name, rule, spans))

    def settled(self, delivery: Delivery) -> None:
        """Note that it is written down that a receiver took a message."""
        if delivery.state is Settled.DELIVERED:
            self.taken_by.setdefault((delivery.receiver, delivery.notice.id), self.moment)

    def told(self, process: Process, receiver: str, notice: Notice) -> None:
        """Hold a message to what may be told: once, and in text that every receiver can take."""
        taken = self.taken_by.get((receiver, notice.id))
        self.must(taken is None or taken > process.begun, f"{receiver} is told again of {notice.id}")
        lines = [notice.title, notice.text, notice.first_step, *(each.value for each in notice.facts)]
        odd = [each for each in lines if any(category(letter) in _ODD for letter in each.replace("\n", ""))]
        self.must(not odd, f"{receiver} is told in letters that are none: {odd[:1]!r}")
        self.must(len(repr(notice)) < _LONGEST, f"{receiver} is told too much: {notice.id}")
        if notice.kind is Kind.RESOLVED and notice.rule == "hitl_misconfigured":
            self._over(notice)

    def _over(self, notice: Notice) -> None:
        """Hold what is called resolved to what its telemetry said, where the clock was never wrong."""
        truth, stepped = self.world.truth[notice.target], "clock stepped" in self.world.story.counts
        burns = truth.burned(notice.at - _PROVEN, notice.at)
        self.must(stepped or not burns, f"{notice.episode} is called resolved and burns")

    def taken_away(self, target: Target) -> None:
        """Note that somebody changed the app so that the switch is gone."""
        self.taken[target.name] = self.taken.get(target.name, 0) + 1

    def missing(self, target: Target) -> str:
        """Return what was promised of a fire and is not there yet: that somebody was notified, and the policy acted."""
        burns = [each for each in self.fired if each.startswith(f"hitl_misconfigured/{target.name}/")]
        if not burns or not all(self._heard(each, self._got()) for each in burns):
            return "nobody was notified"
        engaged = container.engaged(self.world.arm.template_env(target).get(SWITCH))
        return "" if engaged else "nothing was done"

    # What is done

    @contextmanager
    def applying(self, process: Process, action: str, order: Order) -> Iterator[None]:
        """While this lasts the process carries out an order: alone on its target."""
        name, now = order.target.name, self.world.now
        others = [each for each in self._inside.get(name, []) if now - each[1] < _LOCKED and not each[0].dead]
        self.must(not others, f"two at once change {name}")
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
        self.must(same, f"more than {SWITCH} is changed on {target.name}")
        if process in self.orders:
            self.done(process, target)

    def done(self, process: Process, target: Target) -> None:
        """Hold what was done just now to what must hold of any act."""
        action, order = self.orders[process]
        execution = self._execution(order)
        key, taken = (execution, action), self.taken.get(target.name, 0)
        again = key in self.done_of and (not action.startswith("killswitch.") or self.done_of[key] == taken)
        self.must(not again, f"{action} is done twice for {execution}")
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
        self.must(said, f"{action} is done and no record says that it was intended: {execution}")

    def _execution(self, order: Order) -> str:
        """Return which execution an order is of."""
        whole = [each.id for each in self.world.store.executions() if f"{order.id}/".startswith(f"{each.id}/")]
        return max(whole, key=len, default=f"{order.facts.get('policy', '')}/{order.facts.get('episode', '')}")

    def _permitted(self, process: Process, execution: str, target: Target) -> None:
        """The alert burns, is known to, and was when this process began; a person has not said otherwise."""
        policy, _, episode = execution.partition("~")[0].partition("/")
        until = self.breached.get(episode, 0)
        burns = until is None or until >= process.begun
        self.must(burns, f"done for {episode}, whose newest verdict was no breach")
        known = self._known(episode.partition("/")[0], target)
        clock = process.at + min(self.world.ahead, timedelta())  # behind, nobody can know that there is anything newer
        self.must(clock - known <= OLDEST, f"done for {episode} on what is known from {known:%H:%M:%S}")
        rule = episode.partition("/")[0]
        self.must(
            not self._silenced(process, rule, target), f"done for {episode} though a silence says that nothing is"
        )
        began = self.fired.get(episode, self.world.clock)
        since = [at for moment, at, name in self.releases if name == target.name and moment <= process.begun]
        self.must(not any(at >= began for at in since), f"done for {episode} against a person who released it")
        stored = self.world.store.execution(execution)
        self.must(self._may(process, policy, stored), f"done for {episode} though {policy} may not do so by itself")

    def _silenced(self, process: Process, rule: str, target: Target) -> bool:
        """Return whether nothing was to be done on the target, from before this process began until now."""
        return any(
            each.moment <= process.begun and begins <= process.at + self.world.ahead and self.world.clock < ends
            for each in self.silences
            if each.accepts(rule, target.name)
            for begins, ends in each.spans
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
        if given is not None and (self.world.clock - given.at < CONSENT_HOLDS or (begun and begun >= given.at)):
            return True
        return Automation.ACT is config.automation and policy.guard.mode is Automation.ACT

    # What must hold in the end

    def end(self) -> None:
        """Hold the end of the story to what was promised in it."""
        world = self.world
        self.must(broken(world.store.audit()) is None, "the chain of the audit is broken")
        open_ = self.under_way()
        self.must(not open_, f"still under way: {', '.join(open_)}")
        waiting = [each.id for each in world.store.deliveries(10_000) if each.state is Settled.WAITING]
        self.must(not waiting, f"never told: {', '.join(waiting)}")
        self._told()
        self._told_of_azure()
        failed = [
            f"{name} {fields}" for name, fields in world.log.events if "failed" in name and not self._meant(fields)
        ]
        self.must(not failed, f"the engine failed by itself: {'; '.join(failed)}")

    def under_way(self) -> list[str]:
        """Return the executions that have still to come to their end: one whose alert cannot be read waits for it."""
        every = self.world.store.executions()
        return [each.id for each in every if each.phase.acting and not self.world.lost(each.episode)]

    def _meant(self, fields: Mapping[str, Any]) -> bool:
        """Return whether it failed by what was done to it."""
        error = str(fields.get("error"))
        spoiled = ("Unreadable(", "malformed JSON", "could not be entered") if self.world.spoiled else ()
        return error in self.world.faults or any(each in error for each in (*spoiled, "Nowhere"))

    def _got(self) -> list[Notice]:
        return [notice for inbox in self.world.inboxes.values() for notice in inbox.got]

    def _told(self) -> None:
        got = self._got()
        lost = self.world.lost
        silent = [
            each
            for each in self.fired
            if not lost(each)
            and not self._heard(each, got)
            and not self._still_open(each, got)
            and not self._muted(each, got)
        ]
        self.must(not silent, f"nobody heard of {', '.join(silent)}")
        failures = [f"{notice.id}/" for notice in got if notice.kind is Kind.FAILED]
        badly = [each["detail"]["correlation"] for each in self.world.store.audit() if each["event"] in _BADLY]
        unheard = [
            each for each in badly if not lost(each) and not any(told.startswith(f"{each}/") for told in failures)
        ]
        self.must(not unheard, f"nobody heard of the failure of {', '.join(unheard)}")
        left = [each.subject.name for each in self._unreadable()]
        said = [fact.value for notice in got if notice.rule == OWN_ERROR for fact in notice.facts]
        unsaid = [each for each in left if not any(each[:_SHOWN] in value for value in said)]
        self.must(not unsaid, f"nobody heard that a row cannot be read: {', '.join(unsaid)}")

    def _unreadable(self) -> list[Unreadable]:
        """Return the rows that cannot be read now; of settled messages nobody reads any."""
        store = self.world.store
        store.open_alerts(), store.executions(), store.waiting(self.world.now), store.kept(Group)
        return [each for each in store.unreadable() if each.what in ("alert", "execution", "message", "Group")]

    def _heard(self, episode: str, got: list[Notice]) -> bool:
        """Return whether somebody was told of an episode, by itself or in the digest of a flood."""
        rule, began = episode.partition("/")[0], self.fired[episode]
        return any(
            each.episode == episode
            or (
                each.episode.startswith("flood/")
                and each.at >= began
                and any(rule in fact.value for fact in each.facts)
            )
            for each in got
        )

    def _muted(self, episode: str, got: list[Notice]) -> bool:
        """Return whether an episode was silenced, or inhibited by one that was heard of, in all but a few looks.

        A look whose writes another was faster with notifies nobody: the next one does.
        """
        lost = self.world.lost
        known = any(
            not each or lost(each) or self._heard(each, got) or self._still_open(each, got)
            for each in self.muted.get(episode, ())
        )
        return known and self.bare.get(episode, 0) < _LOOKS

    def _muting(self, episode: str) -> set[str]:
        """Return the open episodes that keep an episode from being told now, and an empty text for a silence."""
        rule, target, *_ = episode.split("/")
        now = self.world.clock
        silences = [span for each in self.silences if each.accepts(rule, target) for span in each.spans]
        above = tuple(f"{each}/{target}/" for each in self._above(rule))
        inhibiting = {each for each in self.open if above and each.startswith(above)}
        return inhibiting | ({""} if any(begins <= now < ends for begins, ends in silences) else set())

    def _above(self, rule: str) -> list[str]:
        """Return the rules that inhibit another."""
        every = [each.rule for each in self.world.project.config.inhibit]
        mine = [each for each in every if any(rule in matcher.values for matcher in each.target)]
        return [value for each in mine for matcher in each.source for value in matcher.values]

    def _told_of_azure(self) -> None:
        """Hold what people were told of Azure Monitor's alerts to what it said."""
        world, got, lost = self.world, self._got(), self.world.lost
        open_ = [dict(each.by).get("alert") for each in world.store.open_alerts() if each.open]
        for each in world.senders.incidents:
            label = world.senders.label(each)
            mine = [notice for notice in got if notice.labels.get("alert") == label]
            ends = [notice for notice in mine if notice.kind is Kind.RESOLVED]
            self.must(not ends or each.ended, f"{label} is called resolved, and nobody said so")
            began = {notice.episode for notice in mine if notice.kind is Kind.FIRED}
            if each.kind != "Metric":
                self.must(len(began) <= 1, f"{label} has no end and began {len(began)} times")
            if each.fired and not each.ended:
                self.must(label in open_ or lost(label), f"{label} was taken and nobody knows of it")
            if each.resolved and each.fired:
                self.must(label not in open_ or lost(label), f"{label} was resolved and is still open")

    def _still_open(self, episode: str, got: list[Notice]) -> bool:
        """Return whether people had heard that the alert fires, and not of an end, when this episode began."""
        alert, began = episode.rpartition("/")[0], self.fired[episode]
        told = [each for each in got if each.episode.rpartition("/")[0] == alert and each.at < began]
        ends = [each.kind for each in sorted(told, key=lambda each: each.at) if each.kind in _SAYS]
        return ends[-1:] == [Kind.FIRED]

    def must(self, holds: bool, words: str) -> None:
        """End the story here unless this holds."""
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
