"""Measuring one target: what each rule needs is prepared, asked in few queries, and read together with the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

from tocsin.core import gauge as gauges
from tocsin.core.answer import NoAnswer, Rows, Why
from tocsin.core.compile import Ask, Window, beginning, compile_logs, freshness, held_against_the_past, windows
from tocsin.core.config import Target
from tocsin.core.container import FINDINGS, App
from tocsin.core.evaluate import Freshness, Heard, Measured, measure
from tocsin.core.failing import Subject
from tocsin.core.fields import Severity
from tocsin.core.gauge import Reading
from tocsin.core.rule import Rule
from tocsin.core.schedule import Due
from tocsin.core.signal import Configured, Gauge, Signal, Source
from tocsin.engine.asking import Answers, Asker, affordable
from tocsin.engine.failing import Failures
from tocsin.ports import Configuration, Log, Meter, Telemetry

T = TypeVar("T")

_OUTAGE = frozenset(why.value for why in (Why.TIMEOUT, Why.UNREACHABLE, Why.THROTTLED, Why.FORBIDDEN, Why.MISSING))
"""Answers to the first question after which no other is asked: the same answer would cost the tick its time."""

_NEVER = timedelta(days=3650)


@dataclass(slots=True)
class World:
    """What was read of one target during one tick: the app at most once, freshness over all the slots due."""

    target: Target
    configuration: Configuration
    meters: Mapping[str, Meter] = field(default_factory=dict)
    fresh: Freshness = field(default_factory=Freshness)
    failures: Failures = field(default_factory=Failures)
    _app: App | NoAnswer | None = None
    _read: dict[tuple[object, ...], Sequence[Reading] | NoAnswer] = field(default_factory=dict)

    def app(self) -> App | NoAnswer:
        """Return the Container App as it is now, read once a tick."""
        if self._app is None:
            self._app = self.isolated("configuration", lambda: self.configuration.read(self.target))
        return self._app

    def readings(self, gauge: Gauge, start: datetime, end: datetime) -> Sequence[Reading] | NoAnswer:
        """Return what the gauge's meter reads; of one instant all readings at once, and once a tick."""
        key = (gauge.meter,) if gauge.instant else (gauge.meter, gauge.reading, start, end)
        if key not in self._read:
            self._read[key] = self.isolated(
                f"meter {gauge.meter}",
                lambda: self.meters[gauge.meter].read(self.target, gauge.reading, start, end),
            )
        return self._read[key]

    def isolated(self, adapter: str, read: Callable[[], T]) -> T | NoAnswer:
        """Return what was read. A defect in one adapter is no answer, and no reason to judge nothing else."""
        broken = NoAnswer(Why.BROKEN, "the adapter failed")
        return self.failures.attempt(Subject(adapter, target=self.target.name), read, broken)


@dataclass(frozen=True, slots=True)
class Gauged:
    """A gauge, and the windows in which it has to be read."""

    gauge: Gauge
    asks: tuple[Ask, ...]


Wanted = Configured | Gauged | tuple[Ask, ...]
"""What a source has to be asked."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """One rule that is due, with what its sources have to be asked, or why they cannot be."""

    rule: Rule
    due: Due
    signal: Signal | None
    sources: tuple[Wanted, ...]
    refused: NoAnswer | None = None
    overdue: timedelta = _NEVER
    """How much longer than ``every`` it has not been evaluated; for ever where it never was."""

    @property
    def asks(self) -> list[Ask]:
        """Every query of the rule."""
        return [ask for source in self.sources if isinstance(source, tuple) for ask in source]

    @property
    def patience(self) -> tuple[int, timedelta, str]:
        """How well the rule can wait, the least first. Only what is not P0 ever waits for what has waited longer."""
        rank = 2 * list(Severity).index(self.rule.severity)
        waited = min(self.overdue, timedelta(hours=1)) // timedelta(minutes=1)
        return (max(1, rank - waited) if rank else 0, -self.overdue, self.rule.id)


@dataclass(frozen=True, slots=True)
class Measurer:
    """Asks what rules need to know. One rule that cannot be asked never keeps the others from being asked."""

    signals: Mapping[str, Signal]
    telemetry: Telemetry
    asker: Asker
    log: Log
    failures: Failures = field(default_factory=Failures)

    def prepared(self, rule: Rule, due_: Due, target: Target, last: datetime | None, now: datetime) -> Prepared:
        """Return the rule with the queries that its sources need, or with what is wrong with them."""
        signal = self.signals.get(rule.when.signal or "")
        sources: Sequence[Source | None] = signal.asked(rule.when.only) if signal else (None,)

        def asked() -> Prepared:
            spans = windows(rule, due_.slots, last)
            found = [_wanted(rule, signal, source, target, spans) for source in sources]
            return Prepared(rule, due_, signal, tuple(found), overdue=_overdue(rule, last, now))

        refused = Prepared(rule, due_, signal, (), NoAnswer(Why.BROKEN, "it failed by itself"))
        return self.failures.attempt(Subject("rule", rule.id, target.name), asked, refused)

    def within_budget(self, prepared: Sequence[Prepared], budget: int, target: Target) -> list[Prepared]:
        """Leave the least severe rules to a later tick when all would take too many queries, and say so.

        Their slots stay due and are caught up; the longer a rule has waited, the more it counts, except before P0.
        """
        late = self.failures.attempt(
            Subject("query budget", target=target.name), lambda: self._late(prepared, budget, target), []
        )
        if late:
            self.log.warning("stretched", target=target.name, rules=late, budget=budget)
        return [each for each in prepared if each.rule.id not in late]

    def _late(self, prepared: Sequence[Prepared], budget: int, target: Target) -> list[str]:
        ordered = sorted(prepared, key=lambda each: each.patience)
        first = sum(1 for each in prepared if each.rule.severity is Severity.P0)
        count = affordable([each.asks for each in ordered], budget, first + 1, target)
        return sorted(each.rule.id for each in ordered[count:])

    def measured(self, prepared: Sequence[Prepared], sight: Sequence[datetime], world: World) -> list[Measured | None]:
        """Return what the sources of each rule say of every slot due; freshness, over those of ``sight`` too, first.

        None stands for a rule that failed by itself.
        """
        asked = [slot for each in prepared for slot in each.due.slots]
        world.fresh = replace(self._freshness(world, [*asked, *sight]), since=self._since(prepared, world))
        numbered = dict(enumerate(ask for each in prepared for ask in each.asks))
        answers: Answers
        if world.fresh.minutes is None and world.fresh.why in _OUTAGE:
            answers = dict.fromkeys(numbered, NoAnswer(Why(world.fresh.why)))
        else:
            answers = self.asker.ask(numbered, world.target)
        heard = {id(ask): answers[number] for number, ask in numbered.items()}
        of = lambda each: Subject("rule", each.rule.id, world.target.name)  # noqa: E731
        return self.failures.each(prepared, of, lambda each: self._heard(each, heard, world), None)

    def _heard(self, each: Prepared, answers: Mapping[int, Rows | NoAnswer], world: World) -> Measured:
        if each.refused is not None:
            return measure(each.rule, each.signal, [Heard(refused=each.refused)])
        heard = []
        for source in each.sources:
            if isinstance(source, Configured):
                heard.append(self._inspect(source, world, each.due.slots[-1]))
            elif isinstance(source, Gauged):
                heard.append(_gauged(each, source, world))
            else:
                heard.append(Heard(tuple((ask, answers[id(ask)]) for ask in source)))
        why = {found.why.value for said in heard for _, found in said.answers if isinstance(found, NoAnswer)}
        for each_why in sorted(why):
            self.log.warning("no answer", rule=each.rule.id, target=world.target.name, why=each_why)
        return measure(each.rule, each.signal, heard, each.due.slots[-1])

    def _inspect(self, source: Configured, world: World, at: datetime) -> Heard:
        """Return what the app's configuration says; a target that names no app has none to inspect."""
        if not world.target.container_app:
            return Heard(findings=())
        app = world.app()
        if isinstance(app, NoAnswer):
            return Heard(refused=app)
        if not app.serving:
            return Heard(refused=NoAnswer(Why.MISSING, app.silence))
        return Heard(findings=tuple(FINDINGS[source.finding](app, world.target, at)))

    def _since(self, prepared: Sequence[Prepared], world: World) -> datetime | None:
        """Return when the target is first known, where a count is held against windows of the past; else None.

        Where that is not answered nothing is known of any of them.
        """
        counts = [each for each in prepared if each.signal and each.signal.counting]
        asks = [ask for each in counts if held_against_the_past(each.rule.when) for ask in each.asks]
        spans = [window for ask in asks for window in ask.windows]
        if not spans:
            return None
        start, end = min(window.start for window in spans), max(window.end for window in spans)
        query = beginning(world.target, start, end)
        answer = world.isolated("telemetry", lambda: self.telemetry.ask(query, world.target))
        if isinstance(answer, NoAnswer):
            self.log.warning("no answer", target=world.target.name, why=answer.why.value, asked="when the target began")
            return end
        began = next((row["began"] for row in answer.dicts()), None)
        return end if began is None else began.replace(second=0, microsecond=0)

    def _freshness(self, world: World, slots: Sequence[datetime]) -> Freshness:
        target = world.target
        if not slots:
            return Freshness()
        asked = freshness(target, min(slots) - target.fresh_within, max(slots))
        return Freshness.of(world.isolated("telemetry", lambda: self.telemetry.ask(asked, target)))


def _wanted(
    rule: Rule, signal: Signal | None, source: Source | None, target: Target, spans: Sequence[Window]
) -> Wanted:
    if isinstance(source, Configured):
        return source
    if isinstance(source, Gauge):
        return Gauged(source, gauges.asks(spans))
    return compile_logs(rule, signal, source, target, spans)


def _gauged(each: Prepared, source: Gauged, world: World) -> Heard:
    """Return what the gauge read in each window."""
    when, newest = each.rule.when, each.due.slots[-1]
    heard: list[tuple[Ask, Rows | NoAnswer]] = []
    for ask in source.asks:  # each window by itself: the longer the stretch, the coarser is what a service tells of it
        found = world.readings(source.gauge, ask.query.start, ask.query.end)
        if not isinstance(found, NoAnswer):
            kept = [reading for reading in found if when.counts(reading.labels)]
            heard.append((ask, gauges.answer(source.gauge, kept, ask, when.by, newest)))
        else:
            heard.append((ask, found))
    return Heard(tuple(heard))


def _overdue(rule: Rule, last: datetime | None, now: datetime) -> timedelta:
    return _NEVER if last is None else max(timedelta(), now - last - rule.every)
