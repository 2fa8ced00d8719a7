"""Evaluating one target: ask for what is due, judge it slot by slot, and commit states together with their messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tocsin.core import alert as machine
from tocsin.core import guard, remedy
from tocsin.core.alert import Alert, Change, Instance, Timing, Verdict
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.condition import NO_EVENTS
from tocsin.core.config import Target
from tocsin.core.container import App
from tocsin.core.evaluate import CUT, TWO_ROWS, Freshness, Measured
from tocsin.core.failing import Subject
from tocsin.core.fields import Severity
from tocsin.core.instance import key_of
from tocsin.core.labels import alert_labels
from tocsin.core.message import NEWS, Delivery, Kind, Notice, outbox
from tocsin.core.native import NATIVE, Ended, Native, forgotten
from tocsin.core.notice import compose
from tocsin.core.read import Project
from tocsin.core.rule import Rule
from tocsin.core.schedule import Due, ahead, delay, due, selects
from tocsin.core.sight import (
    BUILT_IN,
    MINOR_RULE_BLIND,
    RULE_BLIND,
    SIGHT,
    UNEVALUATED,
    Judged,
    Reached,
    Sight,
    newest_only,
)
from tocsin.core.signal import Signal
from tocsin.core.unreadable import Unreadable
from tocsin.engine.counting import SILENT
from tocsin.engine.failing import Failures
from tocsin.engine.measuring import Measurer, World
from tocsin.engine.switches import stopped_by
from tocsin.ports import Configuration, Conflict, Loaded, Log, Mark, Meter, Store, Tally

_LONGEST_LAG = timedelta(minutes=15)

_TRIES = 4
"""How often a lost race is decided again before the slot is left to the next tick."""

_REFUSALS = frozenset({*(why.value for why in Why), NO_EVENTS, TWO_ROWS, CUT})
"""Reasons for which a rule is not judged though something could be known."""

_LOST = "a stored alert of it cannot be read"

_TOLD = {
    Change.FIRED: Kind.FIRED,
    Change.RESOLVED: Kind.RESOLVED,
    Change.RULE_CHANGED: Kind.RESOLVED,
    Change.EXPIRED: Kind.EXPIRED,
    Change.ENDLESS: Kind.FIRED,
    Change.BLIND: Kind.BLIND,
}
_TOLD_OF_BLINDNESS = {Change.FIRED: Kind.BLIND, Change.RESOLVED: Kind.RESOLVED}
"""What is told of the watcher's own rules: that nothing is known of blindness itself says nothing new."""


Seeing = Measured | Sight | Judged | Reached | Native | Ended
"""Whatever judges slots."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What evaluating one target came to."""

    slots: int = 0
    unknown: int = 0
    changes: tuple[Change, ...] = ()
    refused: str = ""
    """Why the newest slot of a rule could not be judged, where its telemetry or configuration was refused."""

    def __add__(self, other: Evaluated) -> Evaluated:
        return Evaluated(self.slots + other.slots, self.unknown + other.unknown, self.changes + other.changes)


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Evaluates the rules of one target. One rule that cannot be evaluated never blinds the others."""

    project: Project
    signals: Mapping[str, Signal]
    store: Store
    configuration: Configuration
    log: Log
    measurer: Measurer
    meters: Mapping[str, Meter] = field(default_factory=dict)
    tally: Tally = SILENT
    failures: Failures = field(default_factory=Failures)

    def evaluate(self, target: Target, now: datetime) -> Evaluated:
        """Evaluate every slot due on ``target`` and commit what came of it."""
        mark = self._mark(target)
        target = target if mark.lag is None else target.model_copy(update={"lag": mark.lag})
        stored = self.store.load_all(target.name)
        rules = self._rules(target)
        dues = self._dues(rules, target, mark, stored, now)
        waiting = [rule for rule in rules if rule.id in dues and dues[rule.id].slots]
        sight = newest_only(dues.get(SIGHT.id, Due()))
        if not waiting and not sight.slots:
            return Evaluated()
        world = World(target, self.configuration, self.meters, failures=self.failures)
        every = [self.measurer.prepared(rule, dues[rule.id], target, mark.slots.get(rule.id), now) for rule in waiting]
        prepared = self.measurer.within_budget(every, self.project.config.queries_a_tick - 1, target)
        measured = self.measurer.measured(prepared, sight.slots, world)
        if stopped := self._stopped(world):
            world.fresh = Freshness(None, stopped, stopped=True)
        total, done, blind = Evaluated(), self._known(mark), dict[str, str]()
        for each, seen in zip(prepared, measured, strict=True):
            judged = None if seen is None else self._judge(each.rule, each.due, seen, world, stored, now)
            if seen is None or judged is None:
                blind[each.rule.id] = "it failed by itself"
                continue
            total += judged
            if not (seen.unanswered and each.rule.counting == "arrivals"):  # what came meanwhile is still to be counted
                done[each.rule.id] = each.due.slots[-1]
            blind |= {each.rule.id: judged.refused} if judged.refused else {}
        left = {each.rule.id for each in every} - {each.rule.id for each in prepared}
        blind |= dict.fromkeys(left, "left out, for all rules take more queries than the budget allows")
        for rule, judge in self._watchers(rules, {each.rule.id for each in prepared}, blind):
            due_ = newest_only(dues.get(rule.id, Due()))
            if due_.slots and self._judge(rule, due_, judge, world, stored, now) is not None:
                done[rule.id] = due_.slots[-1]
        self._save_mark(target, done, self._lag(world, mark), mark.etag)
        return total

    def enter(
        self, rule: Rule, seen: Native | Ended | Reached, slots: tuple[datetime, ...], target: Target, now: datetime
    ) -> bool:
        """Commit what was heard from outside of one alert; return whether no other writer was faster each time.

        Raises ``StoreUnavailable``, and whatever else keeps this one alert from being entered.
        """
        stored = {rule.id: self.store.load(rule.id, target.name)}
        world = World(target, self.configuration, self.meters, failures=self.failures)
        judged = self._committed(rule, Due(slots), seen, world, stored, now)
        return judged is not None and judged.refused != _LOST

    def _mark(self, target: Target) -> Mark:
        """Return what was evaluated last. One that cannot be read is begun anew: to wait for it would be silence."""
        try:
            return self.store.mark(target.name)
        except Unreadable as lost:
            self.failures.add(lost.subject, lost)
            return Mark(etag=lost.etag)

    def _stopped(self, world: World) -> str:
        """Return who stopped the whole app, while it is stopped: that nothing arrives is then no sign of health."""
        subject = Subject("switches", target=world.target.name)
        why = self.failures.attempt(subject, lambda: stopped_by(self.store, world.target), "")
        app = world.app() if why else None
        return why if isinstance(app, App) and app.stopped else ""

    def _known(self, mark: Mark) -> dict[str, datetime]:
        """Return the newest slots of rules that there are: those of all that ever were would be ever more."""
        names = {rule.id for rule in (*self.project.rules, *BUILT_IN)}
        return {name: slot for name, slot in mark.slots.items() if name in names}

    def _lag(self, world: World, mark: Mark) -> timedelta | None:
        """Return how long telemetry takes to arrive: at once what was seen when it is more, slowly when it is less."""
        lag, before, target = world.fresh.lag, mark.lag, world.target
        if world.fresh.minutes and lag > (offset := delay(SIGHT, target)):
            self.log.warning("late", target=target.name, lag=lag.total_seconds(), offset=offset.total_seconds())
        if not world.fresh.minutes:
            return before
        return min(_LONGEST_LAG, lag if before is None else max(lag, 0.9 * before))

    def _watchers(
        self, rules: Sequence[Rule], asked: Collection[str], blind: Mapping[str, str]
    ) -> list[tuple[Rule, Sight | Judged | Reached]]:
        """Return the rules that watch the watching, each with what it judges by."""
        waiting = frozenset(rule.id for rule in rules) - frozenset(asked)
        urgent = {rule.id for rule in rules if rule.severity in (Severity.P0, Severity.P1)}
        major = {name: why for name, why in blind.items() if name in urgent}
        minor = {name: why for name, why in blind.items() if name not in urgent}
        return [
            (SIGHT, Sight()),
            (RULE_BLIND, Judged(major, waiting)),
            (MINOR_RULE_BLIND, Judged(minor, waiting)),
            (UNEVALUATED, Reached()),
        ]

    def _rules(self, target: Target) -> list[Rule]:
        def held(rule: Rule) -> Rule | None:
            return self.project.held_to(rule, target.name) if selects(rule, target) else None

        found = self.failures.each(self.project.rules, lambda rule: _subject(rule, target), held, None)
        return [rule for rule in found if rule is not None]

    def _dues(
        self, rules: Sequence[Rule], target: Target, mark: Mark, stored: Mapping[str, Loaded], now: datetime
    ) -> dict[str, Due]:
        """Return what is due by the rule's id; nothing for a rule that failed by itself."""

        def one(rule: Rule) -> Due:
            found = self._due(rule, target, mark.slots.get(rule.id), now)
            return found if rule in BUILT_IN else _unseen(rule, found, stored.get(rule.id), now)

        every = (*rules, *BUILT_IN)
        found = self.failures.each(every, lambda rule: _subject(rule, target), one, None)
        return {rule.id: due_ for rule, due_ in zip(every, found, strict=True) if due_ is not None}

    def _due(self, rule: Rule, target: Target, last: datetime | None, now: datetime) -> Due:
        signal = self.signals.get(rule.when.signal or "")
        wait = delay(rule, target, instant=signal is not None and signal.instant)
        return due(rule, target.name, last, now, wait, self.project.config.catch_up)

    # Judging

    def _judge(
        self, rule: Rule, due_: Due, seen: Seeing, world: World, stored: Mapping[str, Loaded], now: datetime
    ) -> Evaluated | None:
        """Commit the rule's new states; None when that failed, which is an alert of its own."""
        subject = _subject(rule, world.target)
        return self.failures.attempt(subject, lambda: self._committed(rule, due_, seen, world, stored, now), None)

    def _committed(
        self, rule: Rule, due_: Due, seen: Seeing, world: World, stored: Mapping[str, Loaded], now: datetime
    ) -> Evaluated | None:
        """Decide; a lost race is decided again from what the other writer left."""
        loaded = stored.get(rule.id, Loaded({}, None))
        for _ in range(_TRIES):
            try:
                return self._decide(rule, due_, seen, world, loaded, now)
            except Conflict:
                loaded = self.store.load(rule.id, world.target.name)
        self.log.warning("lost every race", rule=rule.id, target=world.target.name)
        return None

    def _decide(self, rule: Rule, due_: Due, seen: Seeing, world: World, loaded: Loaded, now: datetime) -> Evaluated:
        alerts, changes = self._adopt(rule, dict(loaded.alerts), due_, now)
        unknown, refused, lost, verdicts = 0, "", "", Counter[Verdict]()
        for slot in due_.slots:
            found = seen.at(slot, alerts, world.fresh, world.target.fresh_within)
            verdicts.update(each.verdict for each in found.values())
            unknown += any(each.verdict is Verdict.UNKNOWN for each in found.values())
            refused = next((each.reason for each in found.values() if each.reason in _REFUSALS), "")
            for by, observation in found.items():
                if any(each.stands_for(key_of(by)) for each in loaded.lost):
                    lost = _LOST  # it may fire already: unknown, and neither begun anew nor overwritten
                    continue
                before = alerts.get(by) or new_alert(rule, world.target, by)
                alerts[by], change = machine.transition(before, observation, Timing.of(rule), slot)
                changes.append((alerts[by], change))
        if rule in NATIVE:
            alerts |= forgotten(alerts)
        dirty = [each for by, each in alerts.items() if each != loaded.alerts.get(by) and _matters(each, loaded.alerts)]
        told = [delivery for each, change in changes for delivery in self._tell(each, change, rule, world, now)]
        if dirty or told:
            self.store.commit(rule.id, world.target.name, dirty, told, loaded.etag)
        self._report(changes)
        if rule not in BUILT_IN:
            self._count(world.target, due_, verdicts)
        told_of = tuple(change for _, change in changes if change is not Change.STEADY)
        return Evaluated(len(due_.slots), unknown, told_of, refused or lost)

    def _adopt(
        self, rule: Rule, alerts: dict[Instance, Alert], due_: Due, now: datetime
    ) -> tuple[dict[Instance, Alert], list[tuple[Alert, Change]]]:
        """Bring stored alerts up to this rule: those of another measure are resolved, missed slots are told."""
        changes: list[tuple[Alert, Change]] = []
        newest = due_.slots[-1]
        for by, stored in list(alerts.items()):
            each = stored
            if each.slot is not None and ahead(each.slot, now):
                self.log.warning("clock was ahead", rule=rule.id, target=each.target, slot=each.slot)
                each = alerts[by] = replace(each, slot=None)
            if each.signature != machine.signature(rule):
                alerts[by], change = machine.rule_changed(each, newest, machine.signature(rule))
            elif due_.missed and due_.missed_until:
                alerts[by], change = machine.missed(each, due_.missed, due_.missed_until, Timing.of(rule))
            else:
                continue
            changes.append((alerts[by], change))
        return alerts, changes

    # Telling

    def _tell(self, alert: Alert, change: Change, rule: Rule, world: World, now: datetime) -> list[Delivery]:
        kind = (_TOLD_OF_BLINDNESS if rule in BUILT_IN else _TOLD).get(change)
        if kind is None or not alert.episode:
            return []
        labels = alert_labels(rule, world.target, alert.by)
        return outbox(self._notice(alert, change, kind, rule, world, labels), [NEWS], now)

    def _notice(
        self, alert: Alert, change: Change, kind: Kind, rule: Rule, world: World, labels: Mapping[str, str]
    ) -> Notice:
        signal = self.signals.get(rule.when.signal or "")
        own = rule in BUILT_IN  # no policy acts on what the watcher says of itself
        answering = remedy.answering(() if own else self.project.policies, rule, alert, labels)
        automation = self.project.config.automation
        promises = [
            remedy.promise(each, world.target, guard.mode_of(each, world.target, automation)) for each in answering
        ]
        will = "; ".join(promises) or "nothing by itself: no policy answers this rule"
        app = world.app() if world.target.container_app else NoAnswer(Why.MISSING)
        return compose(alert, change, kind, rule, world.target, signal, will=will, app=app)

    def _report(self, changes: Iterable[tuple[Alert, Change]]) -> None:
        for each, change in changes:
            if change not in (Change.STEADY, Change.OLD_SLOT):
                self.log.info(
                    "alert",
                    rule=each.rule,
                    target=each.target,
                    state=each.state.value,
                    change=change.value,
                    slot=each.slot,
                    value=each.value,
                    reason=each.reason,
                    detail=each.detail,
                )

    def _count(self, target: Target, due_: Due, verdicts: Mapping[Verdict, int]) -> None:
        self.tally.count("slots", len(due_.slots), target=target.name)
        self.tally.count("slots.late", len(due_.slots) - 1, target=target.name)
        self.tally.count("slots.missed", due_.missed, target=target.name)
        for verdict, number in verdicts.items():
            self.tally.count("verdicts", number, target=target.name, verdict=verdict.value)

    def _save_mark(
        self, target: Target, slots: Mapping[str, datetime], lag: timedelta | None, etag: str | None
    ) -> None:
        """Losing this race costs a repeated look at slots the alerts have already seen, and nothing else."""
        try:
            self.store.save_mark(target.name, slots, etag, lag)
        except Conflict:
            self.log.info("another instance marked first", target=target.name)


def _subject(rule: Rule, target: Target) -> Subject:
    return Subject("rule", rule.id, target.name)


def _unseen(rule: Rule, due_: Due, stored: Loaded | None, now: datetime) -> Due:
    """Return what is due without the slots of arrivals that were judged already, though without an answer.

    They would be passed over, and with them what arrived in the windows that begin where the last answer ended.
    """
    alerts = stored.alerts.values() if stored else ()
    # A slot from a clock that was far ahead is not believed here either: see ``_adopt``.
    slots = [each.slot for each in alerts if each.slot and not ahead(each.slot, now)]
    if rule.counting != "arrivals" or not slots:
        return due_
    return replace(due_, slots=tuple(slot for slot in due_.slots if slot > max(slots)))


def new_alert(rule: Rule, target: Target, by: Instance) -> Alert:
    """Return an alert that has seen nothing yet."""
    return Alert(rule.id, target.name, by, signature=machine.signature(rule))


def _matters(alert: Alert, stored: Mapping[Instance, Alert]) -> bool:
    return not alert.idle or alert.by in stored
