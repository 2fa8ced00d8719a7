"""The live engine, listened to: what every slot was judged to be, and by which answers.

Rows of a case never change, and without lateness each is there as soon as it is emitted. What a window holds is then
the same whenever it is asked, so all windows of a case are asked at once, by the query with which the engine catches
up; one at a time would take most of a run's time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tocsin.core.alert import Alert, Instance, Seen
from tocsin.core.answer import NoAnswer, Query, Rows
from tocsin.core.compile import Ask, Part, compile_logs, freshness, windows
from tocsin.core.config import Target
from tocsin.core.evaluate import Freshness, Measured
from tocsin.core.rule import Rule
from tocsin.core.signal import Logs, Signal
from tocsin.engine.asking import Answers, Asker
from tocsin.engine.evaluating import Evaluator
from tocsin.engine.failing import Failures
from tocsin.engine.measuring import Measurer, Prepared, World
from tocsin.engine.tick import Engine
from tocsin.ports import Telemetry

Hears = Callable[[str, datetime, Mapping[Instance, Alert], Mapping[Instance, Seen]], None]
"""Takes a rule's id, a slot, the alerts before it, and what it was judged to be."""

_MINUTE = timedelta(minutes=1)
_Key = tuple[Part, datetime, datetime]


@dataclass(slots=True)
class Foreseen:
    """Answers to what will be asked: rows by what is measured and window, and in which minutes anything arrived."""

    columns: dict[Part, tuple[str, ...]] = field(default_factory=dict)
    rows: dict[_Key, list[tuple[object, ...]]] = field(default_factory=dict)
    minutes: Rows | None = None
    within: tuple[datetime, datetime] | None = None

    def look(self, rule: Rule, signal: Signal, slots: Sequence[datetime], target: Target, telemetry: Telemetry) -> None:
        """Ask everything that judging ``slots`` takes. What cannot be asked is left to be asked when it is due."""
        for source in signal.asked(rule.when.only):
            asks = compile_logs(rule, signal, source, target, windows(rule, slots)) if isinstance(source, Logs) else ()
            for ask in asks:
                answer = telemetry.ask(ask.query, target)
                if isinstance(answer, Rows):
                    self._keep(ask, answer)

    def look_for_life(self, start: datetime, end: datetime, target: Target, telemetry: Telemetry) -> None:
        """Ask in which minutes of ``[start, end)`` anything arrived."""
        found = telemetry.ask(freshness(target, start, end), target)
        if isinstance(found, Rows):
            self.minutes, self.within = found, (start, end)

    def _keep(self, ask: Ask, answer: Rows) -> None:
        self.columns[ask.part] = answer.columns
        for window in ask.windows:
            self.rows.setdefault((ask.part, window.start, window.end), [])
        place = answer.columns.index("_window")
        for row in answer.rows:
            start = ask.query.start + timedelta(seconds=int(row[place]))
            spans = {(each.start, each.end) for each in ask.windows if each.start == start}
            for first, last in spans:
                self.rows[(ask.part, first, last)].append(row)

    def answer(self, ask: Ask) -> Rows | None:
        """Return the rows of the ask's windows, or None when one was not foreseen."""
        if any((ask.part, each.start, each.end) not in self.rows for each in ask.windows):
            return None
        columns = self.columns[ask.part]
        place, found = columns.index("_window"), []
        for first, last in dict.fromkeys((each.start, each.end) for each in ask.windows):
            offset = int((first - ask.query.start).total_seconds())
            rows = self.rows[(ask.part, first, last)]
            found += [(*row[:place], offset, *row[place + 1 :]) for row in rows]
        return Rows(columns, tuple(found))

    def life(self, query: Query) -> Rows | None:
        """Return in which minutes anything arrived within the query's bounds, or None when that was not foreseen."""
        whole = all(not (each.second or each.microsecond) for each in (query.start, query.end))
        if not whole or self.minutes is None or self.within is None:
            return None
        if query.start < self.within[0] or query.end > self.within[1]:
            return None
        place = self.minutes.columns.index("minute")
        kept = tuple(row for row in self.minutes.rows if query.start <= row[place] < query.end)
        return Rows(self.minutes.columns, kept)


@dataclass(slots=True)
class ForeseeingAsker(Asker):
    """Asks only what was not foreseen; while ``refused`` says why there is no answer, nothing is answered."""

    foreseen: Foreseen = field(default_factory=Foreseen)
    refused: NoAnswer | None = None

    def ask(self, asks: Mapping[int, Ask], target: Target) -> Answers:
        """Return what every ask heard."""
        known = {number: self.foreseen.answer(ask) for number, ask in asks.items()} if self.refused is None else {}
        found: Answers = {number: rows for number, rows in known.items() if rows is not None}
        left = {number: ask for number, ask in asks.items() if number not in found}
        return found | (Asker.ask(self, left, target) if left else {})


@dataclass(frozen=True, slots=True)
class Listened(Measured):
    """Measurements that say what they judge."""

    note: Hears = field(default=lambda *_: None)

    def at(
        self, slot: datetime, alerts: Mapping[Instance, Alert], fresh: Freshness, within: timedelta
    ) -> dict[Instance, Seen]:
        """Return what the measurements say, and note it."""
        found = Measured.at(self, slot, alerts, fresh, within)
        self.note(self.rule.id, slot, dict(alerts), found)
        return found


@dataclass(frozen=True, slots=True)
class ListeningMeasurer(Measurer):
    """Measures as the engine does, noting every verdict, and looking up what was foreseen."""

    note: Hears = field(default=lambda *_: None)
    foreseen: Foreseen = field(default_factory=Foreseen)
    refused: NoAnswer | None = None

    def measured(self, prepared: Sequence[Prepared], sight: Sequence[datetime], world: World) -> list[Measured | None]:
        """Return the measurements, each of which says what it judges."""
        found = Measurer.measured(self, prepared, sight, world)
        return [each and self._listened(each) for each in found]

    def _listened(self, measured: Measured) -> Measured:
        return Listened(**{name: getattr(measured, name) for name in Measured.__slots__}, note=self.note)

    def _freshness(self, world: World, slots: Sequence[datetime]) -> Freshness:
        target = world.target
        if self.refused is None and slots:
            known = self.foreseen.life(freshness(target, min(slots) - target.fresh_within, max(slots)))
            if known is not None:
                return Freshness.of(known)
        return Measurer._freshness(self, world, slots)


@dataclass(frozen=True, slots=True)
class ListeningEngine(Engine):
    """The engine as it is deployed, whose measurements say what they judge."""

    note: Hears = field(default=lambda *_: None)
    foreseen: Foreseen = field(default_factory=Foreseen)
    refused: Callable[[], NoAnswer | None] = field(default=lambda: None)

    def _evaluator(self, failures: Failures | None = None) -> Evaluator:
        evaluator, refused = Engine._evaluator(self, failures), self.refused()
        heard = evaluator.failures
        asker = ForeseeingAsker(
            self.telemetry,
            self.log,
            self.project.config.budgets.queries_at_once,
            self.guilty,
            heard,
            self.foreseen,
            refused,
        )
        measurer = ListeningMeasurer(
            self.signals, self.telemetry, asker, self.log, heard, self.note, self.foreseen, refused
        )
        return replace(evaluator, measurer=measurer)
