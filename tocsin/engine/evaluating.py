"""Evaluating one target: ask for what is due, judge it slot by slot, and commit states together with their messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tocsin.core import alert as machine
from tocsin.core import remedy
from tocsin.core.alert import Alert, Change, Instance, Timing, Verdict
from tocsin.core.answer import NoAnswer, Rows, Why
from tocsin.core.compile import Ask, compile_logs, freshness, windows
from tocsin.core.config import Target
from tocsin.core.container import FINDINGS, App
from tocsin.core.evaluate import Freshness, Heard, Measured, measure
from tocsin.core.fields import Severity
from tocsin.core.message import Delivery, Kind, Notice
from tocsin.core.notice import compose
from tocsin.core.read import Project
from tocsin.core.route import receivers
from tocsin.core.rule import Rule
from tocsin.core.schedule import Due, due
from tocsin.core.sight import SIGHT, Sight, newest_only
from tocsin.core.signal import Configured, Logs, Signal
from tocsin.engine.acting import labels_of
from tocsin.engine.asking import Asker, affordable
from tocsin.engine.notifying import outbox
from tocsin.ports import Configuration, Conflict, Log, Store, StoreUnavailable, Telemetry

_TRIES = 4
"""How often a lost race is decided again before the slot is left to the next tick."""

_TOLD = {
    Change.FIRED: Kind.FIRED,
    Change.RESOLVED: Kind.RESOLVED,
    Change.RULE_CHANGED: Kind.RESOLVED,
    Change.BLIND: Kind.BLIND,
}


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What evaluating one target came to."""

    slots: int = 0
    unknown: int = 0
    changes: tuple[Change, ...] = ()

    def __add__(self, other: Evaluated) -> Evaluated:
        return Evaluated(self.slots + other.slots, self.unknown + other.unknown, self.changes + other.changes)


@dataclass(slots=True)
class World:
    """What was read of one target during one tick: the app at most once, freshness over all the slots due."""

    target: Target
    configuration: Configuration
    fresh: Freshness = field(default_factory=Freshness)
    _app: App | NoAnswer | None = None

    def app(self) -> App | NoAnswer:
        """Return the Container App as it is now, read once a tick."""
        if self._app is None:
            self._app = self.configuration.read(self.target)
        return self._app


@dataclass(frozen=True, slots=True)
class Prepared:
    """One rule that is due, with what its sources have to be asked, or why they cannot be."""

    rule: Rule
    due: Due
    signal: Signal | None
    sources: tuple[Configured | tuple[Ask, ...], ...]
    refused: NoAnswer | None = None
    new: bool = False
    """Whether it was never evaluated: only its newest slot is due then, however long it has waited."""

    @property
    def asks(self) -> list[Ask]:
        """Every query of the rule."""
        return [ask for source in self.sources if not isinstance(source, Configured) for ask in source]

    @property
    def patience(self) -> tuple[int, str]:
        """How well the rule can wait, the least first. Only what is not P0 ever waits for what has waited longer."""
        rank = 2 * list(Severity).index(self.rule.severity)
        waited = rank if self.new else len(self.due.slots) - 1
        return (max(1, rank - waited) if rank else 0, self.rule.id)


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Evaluates the rules of one target. One rule that cannot be evaluated never blinds the others."""

    project: Project
    signals: Mapping[str, Signal]
    store: Store
    telemetry: Telemetry
    configuration: Configuration
    log: Log
    asker: Asker

    def evaluate(self, target: Target, now: datetime) -> Evaluated:
        """Evaluate every slot due on ``target`` and commit what came of it."""
        mark = self.store.mark(target.name)
        rules = self._rules(target)
        dues = {rule.id: self._due(rule, target, mark.slots.get(rule.id), now) for rule in (*rules, SIGHT)}
        waiting = [rule for rule in rules if dues[rule.id].slots]
        sight = newest_only(dues[SIGHT.id])
        if not waiting and not sight.slots:
            return Evaluated()
        every = [self._prepared(rule, dues[rule.id], target, rule.id not in mark.slots) for rule in waiting]
        prepared = self._within_budget(every, target)
        world = World(target, self.configuration)
        asked = [slot for each in prepared for slot in each.due.slots]
        world.fresh = self._freshness(target, [*asked, *sight.slots])
        measured = self._measured(prepared, world)
        total, done = Evaluated(), dict(mark.slots)
        judging: list[tuple[Rule, Due, Measured | Sight]] = [
            (each.rule, each.due, seen) for each, seen in zip(prepared, measured, strict=True)
        ]
        judging += [(SIGHT, sight, Sight())] if sight.slots else []
        for rule, due_, seen in judging:
            judged = self._judge(rule, due_, seen, world, now)
            if judged is not None:
                total, done[rule.id] = total + judged, due_.slots[-1]
        self._save_mark(target, done, mark.etag)
        return total

    def _rules(self, target: Target) -> list[Rule]:
        return [rule for rule in self.project.rules if selects(rule, target)]

    def _due(self, rule: Rule, target: Target, last: datetime | None, now: datetime) -> Due:
        offset = rule.offset if rule.offset is not None else target.offset
        return due(rule, target.name, last, now, offset, self.project.config.catch_up)

    def _freshness(self, target: Target, slots: Sequence[datetime]) -> Freshness:
        if not slots:
            return Freshness()
        answer = self.telemetry.ask(freshness(target, min(slots) - target.fresh_within, max(slots)), target)
        return Freshness.of(answer)

    # Asking

    def _prepared(self, rule: Rule, due_: Due, target: Target, new: bool) -> Prepared:
        """Return the rule with the queries that its sources need, or with what is wrong with them."""
        signal = self.signals.get(rule.when.signal or "")
        sources: Sequence[Logs | Configured | None] = signal.sources if signal else (None,)
        try:
            spans = windows(rule, due_.slots)
            found = [
                source if isinstance(source, Configured) else compile_logs(rule, signal, source, target, spans)
                for source in sources
            ]
            return Prepared(rule, due_, signal, tuple(found), new=new)
        except Exception as error:  # whatever is wrong with one rule, the others are still evaluated
            self.log.error("rule failed", rule=rule.id, target=target.name, error=repr(error)[:200])
            return Prepared(rule, due_, signal, (), NoAnswer(Why.BROKEN, type(error).__name__))

    def _within_budget(self, prepared: list[Prepared], target: Target) -> list[Prepared]:
        """Leave the least severe rules to a later tick when all would take too many queries, and say so.

        Their slots stay due and are caught up; the longer a rule has waited, the more it counts, except before P0.
        """
        budget = max(1, self.project.config.queries_a_tick - 1)
        ordered = sorted(prepared, key=lambda each: each.patience)
        first = sum(1 for each in prepared if each.rule.severity is Severity.P0)
        count = affordable([each.asks for each in ordered], budget, first + 1, target)
        late = sorted(each.rule.id for each in ordered[count:])
        if late:
            self.log.warning("stretched", target=target.name, rules=late, budget=budget)
        return [each for each in prepared if each.rule.id not in late]

    def _measured(self, prepared: Sequence[Prepared], world: World) -> list[Measured]:
        """Return what the sources of each rule say of every slot due."""
        numbered = dict(enumerate(ask for each in prepared for ask in each.asks))
        answers = self.asker.ask(numbered, world.target)
        heard = {id(ask): answers[number] for number, ask in numbered.items()}
        return [self._heard(each, heard, world) for each in prepared]

    def _heard(self, each: Prepared, answers: Mapping[int, Rows | NoAnswer], world: World) -> Measured:
        if each.refused is not None:
            return measure(each.rule, each.signal, [Heard(refused=each.refused)])
        heard = []
        for source in each.sources:
            if isinstance(source, Configured):
                heard.append(self._inspect(source, world))
            else:
                heard.append(Heard(tuple((ask, answers[id(ask)]) for ask in source)))
        why = {found.why.value for said in heard for _, found in said.answers if isinstance(found, NoAnswer)}
        for each_why in sorted(why):
            self.log.warning("no answer", rule=each.rule.id, target=world.target.name, why=each_why)
        return measure(each.rule, each.signal, heard, each.due.slots[-1])

    def _inspect(self, source: Configured, world: World) -> Heard:
        """Return what the app's configuration says; a target that names no app has none to inspect."""
        if not world.target.container_app:
            return Heard(findings=())
        app = world.app()
        if isinstance(app, NoAnswer):
            return Heard(refused=app)
        return Heard(findings=tuple(FINDINGS[source.finding](app, world.target)))

    # Judging

    def _judge(self, rule: Rule, due_: Due, seen: Measured | Sight, world: World, now: datetime) -> Evaluated | None:
        """Commit the rule's new states; a lost race is decided again from what the other writer left."""
        for _ in range(_TRIES):
            try:
                return self._decide(rule, due_, seen, world, now)
            except Conflict:
                continue
            except StoreUnavailable:
                raise
            except Exception as error:
                self.log.error("rule failed", rule=rule.id, target=world.target.name, error=repr(error)[:200])
                return None
        self.log.warning("lost every race", rule=rule.id, target=world.target.name)
        return None

    def _decide(self, rule: Rule, due_: Due, seen: Measured | Sight, world: World, now: datetime) -> Evaluated:
        loaded = self.store.load(rule.id, world.target.name)
        alerts, changes = self._adopt(rule, dict(loaded.alerts), due_)
        unknown = 0
        for slot in due_.slots:
            found = seen.at(slot, alerts, world.fresh, world.target.fresh_within)
            unknown += any(each.verdict is Verdict.UNKNOWN for each in found.values())
            for by, observation in found.items():
                before = alerts.get(by) or new_alert(rule, world.target, by)
                alerts[by], change = machine.transition(before, observation, Timing.of(rule), slot)
                changes.append((alerts[by], change))
        dirty = [each for by, each in alerts.items() if each != loaded.alerts.get(by) and _matters(each, loaded.alerts)]
        told = [delivery for each, change in changes for delivery in self._tell(each, change, rule, world, now)]
        if dirty or told:
            self.store.commit(rule.id, world.target.name, dirty, told, loaded.etag)
        self._report(changes)
        return Evaluated(
            len(due_.slots), unknown, tuple(change for _, change in changes if change is not Change.STEADY)
        )

    def _adopt(
        self, rule: Rule, alerts: dict[Instance, Alert], due_: Due
    ) -> tuple[dict[Instance, Alert], list[tuple[Alert, Change]]]:
        """Bring stored alerts up to this rule: those of another measure are resolved, missed slots are told."""
        changes: list[tuple[Alert, Change]] = []
        newest = due_.slots[-1]
        for by, each in list(alerts.items()):
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
        kind = Kind.BLIND if rule is SIGHT and change is Change.FIRED else _TOLD.get(change)
        if kind is None or not alert.episode:
            return []
        labels = labels_of(alert, rule, world.target)
        names = [matched.receiver for matched in receivers(self.project.config.routes, labels)]
        return outbox(self._notice(alert, change, kind, rule, world, labels), names or _fallback(self.project), now)

    def _notice(
        self, alert: Alert, change: Change, kind: Kind, rule: Rule, world: World, labels: Mapping[str, str]
    ) -> Notice:
        signal = self.signals.get(rule.when.signal or "")
        answering = [each for each in self.project.policies if remedy.answers(each, rule, alert, labels)]
        will = "; ".join(remedy.promise(each) for each in answering) or "nothing by itself: no policy answers this rule"
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

    def _save_mark(self, target: Target, slots: Mapping[str, datetime], etag: str | None) -> None:
        """Losing this race costs a repeated look at slots the alerts have already seen, and nothing else."""
        try:
            self.store.save_mark(target.name, slots, etag)
        except Conflict:
            self.log.info("another instance marked first", target=target.name)


def selects(rule: Rule, target: Target) -> bool:
    """Return whether the rule applies to this target: every selector key equals the target's label (or its name)."""
    own = {**target.labels, "target": target.name, "name": target.name}
    return all(own.get(key) == value for key, value in rule.targets.items())


def new_alert(rule: Rule, target: Target, by: Instance) -> Alert:
    """Return an alert that has seen nothing yet."""
    return Alert(rule.id, target.name, by, signature=machine.signature(rule))


def _matters(alert: Alert, stored: Mapping[Instance, Alert]) -> bool:
    return not alert.idle or alert.by in stored


def _fallback(project: Project) -> list[str]:
    return [project.config.fallback] if project.config.fallback else []
