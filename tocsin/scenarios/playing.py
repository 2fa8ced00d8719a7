"""Playing one case: the engine ticks by the clock of the case, and everything it saw, told and did is kept."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from tocsin import actuators
from tocsin.core import telling
from tocsin.core.alert import Alert, Instance, Seen, State
from tocsin.core.answer import NoAnswer, Query, Rows
from tocsin.core.config import Target
from tocsin.core.group import Group
from tocsin.core.labels import alert_labels
from tocsin.core.limits import unit_of
from tocsin.core.message import Notice
from tocsin.core.mute import Silence
from tocsin.core.read import Project
from tocsin.core.rule import Rule
from tocsin.core.schedule import delay, jitter, newest_slot
from tocsin.core.sight import BUILT_IN
from tocsin.core.signal import Gauge, Signal
from tocsin.engine import standing
from tocsin.engine.tick import Ticked
from tocsin.ports import Actuator, Meter
from tocsin.scenarios import rows
from tocsin.scenarios.format import Case, Scenarios
from tocsin.scenarios.judging import Look, Miss, Told, judge
from tocsin.scenarios.listening import Foreseen, ListeningEngine
from tocsin.scenarios.reading import looked_at, target_of
from tocsin.scenarios.stand import (
    EngineLog,
    Faults,
    Interrupted,
    Noted,
    Receiver,
    StandInApp,
    StandInMeter,
    Switch,
)
from tocsin.stores.sqlite import SqliteStore
from tocsin.telemetry.embedded import EmbeddedTelemetry

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot of a rule: when it was evaluated, what each instance was judged to be, and its state after it."""

    rule: str
    slot: timedelta
    at: timedelta
    seen: Mapping[Instance, Seen]
    states: Mapping[Instance, State]


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a case. ``misses`` holds every expectation that was not met, by its number."""

    misses: tuple[tuple[int, Miss], ...] = ()
    slots: tuple[Slot, ...] = ()
    told: tuple[Told, ...] = ()
    changes: tuple[tuple[str, str], ...] = ()
    """Rules and what became of their alerts, in the words of ``core.alert.Change``."""
    trouble: tuple[str, ...] = ()
    """What the engine called an error."""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether everything came as expected, and nothing failed on the way."""
        return not self.misses and not self.trouble


def play(
    scenarios: Scenarios,
    number: int,
    project: Project,
    signals: Mapping[str, Signal],
    telemetry: EmbeddedTelemetry,
    *,
    foresee: bool = True,
) -> Played:
    """Play one case of a file and return what came of it. ``telemetry`` is emptied first.

    Without ``foresee`` every question is asked when it is due.
    """
    begun = time.perf_counter()
    try:
        play_ = _Play(scenarios, scenarios.cases[number], project, signals, telemetry)
        play_.load(foresee=foresee)
        played = play_.through()
    except Exception as error:  # whatever is wrong with one case, the others are still played
        played = Played(trouble=(f"the case could not be played: {type(error).__name__}: {error}"[:500],))
    return replace(played, seconds=time.perf_counter() - begun)


@dataclass
class _Play:
    """One case under way."""

    scenarios: Scenarios
    case: Case
    given: Project
    signals: Mapping[str, Signal]
    telemetry: EmbeddedTelemetry
    store: SqliteStore = field(default_factory=lambda: SqliteStore(":memory:"))
    log: EngineLog = field(default_factory=EngineLog)
    slots: dict[tuple[str, datetime], Slot] = field(default_factory=dict)
    told: list[Told] = field(default_factory=list)
    misses: list[tuple[int, Miss]] = field(default_factory=list)
    foreseen: Foreseen = field(default_factory=Foreseen)
    values: dict[tuple[str, Instance], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        case, file = self.case, self.scenarios
        self.target = target_of(file, case.target, self.given)
        self.faults = Faults(case.inject, case.begins, case.begins)
        self.app = StandInApp(self.target, self.faults)
        self.project = self._project()
        self.rules = self.project.rules
        self.end = case.expect[-1].at
        self._shared = Scenarios(rule=file.rule, cases=(case,)) if case.alone else file
        self._changes = sorted((*self._shared.app, *case.app), key=lambda each: each.at)
        self._watched = any(each.rule in {rule.id for rule in BUILT_IN} for each in case.expect)
        self._newest: dict[str, datetime] = {}
        self._noted: list[tuple[str, datetime, Mapping[Instance, Alert], Mapping[Instance, Seen]]] = []
        self._since = timedelta(days=-1)
        self._engine = self._made()

    # What there is to play with

    def _project(self) -> Project:
        wanted = (self.scenarios.rule, *self.case.also)
        # A rule that snoozes now is tested as it will be: the case has a time of its own.
        awake = {"snooze": None}
        rules = tuple(rule.model_copy(update=awake) for rule in self.given.rules if rule.id in wanted)
        config = self.given.config
        automation = self.case.automation or config.automation
        changes = {"targets": (self.target,), "watchdog": None, "automation": automation}
        asked = self.given.terms.get(looked_at(self.scenarios.rule, self.given).name)
        terms = {self.target.name: asked} if asked else {}
        return replace(self.given, rules=rules, config=config.model_copy(update=changes), terms=terms)

    def _made(self, store: Any = None) -> ListeningEngine:
        """Return an engine as a process that has just begun has it: all it knows is in the store."""
        receivers = {name: Receiver(name, self._tell) for name in self.project.config.receivers}
        return ListeningEngine(
            project=self.project,
            signals=self.signals,
            store=store or self.store,
            telemetry=self,
            configuration=self.app,
            notifiers=receivers,
            actuators=self._actuators(),
            log=self.log,
            owner="scenario",
            meters=self._meters(),
            takes=actuators.known(),
            note=lambda *noted: self._noted.append(noted),
            foreseen=self.foreseen,
            refused=lambda: self.faults.of("telemetry"),
        )

    def _actuators(self) -> dict[str, Actuator]:
        noted: dict[str, Actuator] = {name: Noted() for name in actuators.known()}
        return {**noted, "killswitch.engage": Switch(self.app, True), "killswitch.release": Switch(self.app, False)}

    def _meters(self) -> dict[str, Meter]:
        readings = (*self._shared.readings, *self.case.readings)
        gauges = [source for each in self.signals.values() for source in each.sources if isinstance(source, Gauge)]
        instant = {gauge.meter: gauge.instant for gauge in gauges}
        return {name: StandInMeter(name, readings, self.faults, now) for name, now in instant.items()}

    def ask(self, query: Query, target: Target) -> Rows | NoAnswer:
        """Answer as the workspace does, unless a fault is in the way."""
        return self.faults.of("telemetry") or self.telemetry.ask(query, target)

    def load(self, *, foresee: bool) -> None:
        """Put the rows into the workspace, the silences into the store, and look ahead where that is right."""
        case, begins = self.case, self.case.begins
        late = [each for each in case.inject if each.answer.kind == "late"]
        self.telemetry.forget()
        self.telemetry.now = None
        for table, found in rows.rows_of((*self._shared.rows, *case.rows), begins, self.target, late):
            self.telemetry.load(table, found)
        for number, each in enumerate(case.silences):
            until = (begins + each.from_, begins + each.to)
            silence = Silence(f"case-{number}", each.matching, each.author, each.comment, *until,
                              actions=each.actions == "too")  # fmt: skip
            self.store.keep(Silence, silence.id, silence, None)
        if foresee and not late:
            self._foresee()
        self.telemetry.now = lambda: self.faults.now

    def _foresee(self) -> None:
        begins = self.case.begins
        # To the end of the longest case: with as many windows in each, the file's cases ask by one text.
        last = begins + max(case.expect[-1].at for case in self.scenarios.cases)
        for rule in self.rules:
            held = self.project.held_to(rule, self.target.name)
            signal, slots = self.signals.get(rule.when.signal or ""), self._slots(rule, begins, last)
            if signal is not None and slots:
                self.foreseen.look(held, signal, slots, self.target, self.telemetry)
        early = begins - self.target.fresh_within - timedelta(hours=2)
        start = early.replace(second=0, microsecond=0)
        self.foreseen.look_for_life(start, last.replace(second=0, microsecond=0) + MINUTE, self.target, self.telemetry)

    def _slots(self, rule: Rule, first: datetime, last: datetime) -> list[datetime]:
        """Return every slot that is due between two ticks."""
        newest = newest_slot(rule.every, jitter(rule.id, self.target.name, rule.every), last - self._wait(rule))
        oldest = newest_slot(rule.every, jitter(rule.id, self.target.name, rule.every), first - self._wait(rule))
        count = (newest - oldest) // rule.every
        return [oldest + rule.every * number for number in range(count + 1)]

    def _wait(self, rule: Rule) -> timedelta:
        signal = self.signals.get(rule.when.signal or "")
        return delay(rule, self.target, instant=signal is not None and signal.instant)

    # Playing

    def through(self) -> Played:
        """Tick to the end of the case."""
        moment, busy = timedelta(), 0
        while moment <= self.end:
            self.faults.now = now = self.case.begins + moment
            self._change_app(moment)
            if self._up(moment) and (busy or self._due(now)):
                ticked = self._tick(now)
                busy = 2 if ticked.changes or ticked.delivered or ticked.acted else max(0, busy - 1)
            self._look(moment, now)
            moment += MINUTE
        ordered = tuple(sorted(self.slots.values(), key=lambda each: (each.slot, each.rule)))
        trouble = tuple(dict.fromkeys(self.log.trouble))
        return Played(tuple(self.misses), ordered, tuple(self.told), tuple(self.log.changes), trouble)

    def _change_app(self, moment: timedelta) -> None:
        while self._changes and self._changes[0].at <= moment:
            self.app.change(self._changes.pop(0), self.store)

    def _up(self, moment: timedelta) -> bool:
        """Return whether the process runs; once it is back, it has begun anew."""
        for each in self.case.inject:
            if each.answer.kind == "restart" and each.from_ <= moment:
                if each.to is not None and moment < each.to:
                    return False
                if moment - (each.to or each.from_) < MINUTE:
                    self._engine = self._made()
        return True

    def _due(self, now: datetime) -> bool:
        """Return whether a tick has anything to do: a slot, a group that is due, or an action under way."""
        newest = {rule.id: self._slots(rule, now, now)[-1] for rule in self.rules}
        due, self._newest = newest != self._newest, newest
        if due or self._watched or any(each.phase.acting for each in self.store.executions()):
            return True
        return bool(telling.due([each.value for each in self.store.kept(Group).values()], now))

    def _tick(self, now: datetime) -> Ticked:
        if self.faults.at_work("twice"):
            other = self._made()
            store = Interrupted(self.store, lambda: other.tick(now))
            ticked = self._made(store).tick(now)
            store.interrupt()
        else:
            ticked = self._engine.tick(now)
        self._keep(now)
        return ticked

    def _keep(self, now: datetime) -> None:
        """Keep what was noted in this tick, each slot with the states after it."""
        at = now - self.case.begins
        after = {rule.id: self.store.load(rule.id, self.target.name).alerts for rule in self.rules}
        for name, slot, _, seen in self._noted:
            later = [alerts for rule, other, alerts, _ in self._noted if rule == name and other > slot]
            alerts = later[0] if later else after.get(name, {})
            states = {by: alerts[by].state if by in alerts else State.INACTIVE for by in {**seen, **alerts}}
            self.slots[(name, slot)] = Slot(name, slot - self.case.begins, at, seen, states)
            self.values |= {(name, by): each.value for by, each in seen.items() if each.value is not None}
        self._noted.clear()

    def _tell(self, receiver: str, notice: Notice) -> None:
        self.told.append(Told(self.faults.moment, receiver, notice.kind.value, notice.rule, notice.episode))

    # Judging

    def _look(self, moment: timedelta, now: datetime) -> None:
        for number, expect in enumerate(self.case.expect):
            if moment <= expect.at < moment + MINUTE:
                name = expect.rule or self.scenarios.rule
                self.misses += [(number, miss) for miss in judge(expect, self._seen(name, now))]
                last = number + 1 == len(self.case.expect) or self.case.expect[number + 1].at > expect.at
                self._since = moment if last else self._since

    def _seen(self, name: str, now: datetime) -> Look:
        rule = next(each for each in (*self.project.rules, *self.given.rules, *BUILT_IN) if each.id == name)
        alerts = self.store.load(name, self.target.name).alerts
        slots = [each for each in self.slots.values() if each.rule == name]
        newest = max(slots, key=lambda each: each.slot, default=None)
        told = [each for each in self.told if each.rule == name and each.at > self._since]
        executions = {each.policy: each.phase.value for each in self.store.executions()}
        values = {by: value for (of, by), value in self.values.items() if of == name}
        muted = "; ".join(dict.fromkeys(filter(None, self._muted(rule, alerts, now))))
        unit = unit_of(rule, self.signals.get(rule.when.signal or ""))
        seen, evaluated = newest.seen if newest else {}, newest is not None or rule in BUILT_IN
        return Look(rule, alerts, seen, values, told, executions, unit, evaluated, muted)

    def _muted(self, rule: Rule, alerts: Mapping[Instance, Alert], now: datetime) -> Iterator[str]:
        groups = [each.value for each in self.store.kept(Group).values()]
        muting = standing.muting(self.project.config, self.store, groups, now)
        some: Sequence[Alert] = [*alerts.values()] or [Alert(rule.id, self.target.name)]
        for each in some:
            yield muting.reason(alert_labels(rule, self.target, each.by), now)
