"""Rows become verdicts: breached, clear or unknown, per slot and instance. Silence is never health."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from tocsin.core.alert import STORM, Alert, Instance, Seen, Verdict, instance
from tocsin.core.answer import NoAnswer, Rows
from tocsin.core.compile import Ask, Window, beside, held_against_the_past
from tocsin.core.condition import Point, compare, judge, together
from tocsin.core.container import Finding
from tocsin.core.instance import Special
from tocsin.core.points import LONGEST_WORD, number, points_of
from tocsin.core.rule import Rule
from tocsin.core.signal import Configured, Gauge, Logs, Says, Signal, Source
from tocsin.core.text import normalize

TWO_ROWS = "two rows for one instance: the `by` columns do not tell them apart"
"""Why an answer cannot be judged."""

CUT = "more rows than are read"
"""Why nothing is known of an instance that is not among the rows that were."""

_MINUTE = timedelta(minutes=1)
_MISSING_SLOTS = 2
"""For how many slots a known instance without a row is unknown; after them it counts as gone."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """When anything arrived from the target: the minutes in which it did, or None and why that is not known."""

    minutes: frozenset[datetime] | None = None
    why: str = "not asked"
    lag: timedelta = timedelta()
    """How long rows took to arrive, in the worst of those minutes."""
    since: datetime | None = None
    """From when on no row means that nothing happened; None where nobody had to ask."""
    stopped: bool = False
    """Whether the whole app is stopped, as ``why`` says: that nothing arrives is then no sign that all is well."""

    @classmethod
    def of(cls, answer: Rows | NoAnswer) -> Freshness:
        """Return the freshness that the answer to ``compile.freshness`` speaks of."""
        if isinstance(answer, NoAnswer):
            return cls(None, answer.why.value)
        rows = answer.dicts()
        lag = max((found for row in rows if (found := number(row.get("lag"))) is not None), default=0.0)
        return cls(frozenset(row["minute"] for row in rows), "", timedelta(seconds=max(0.0, lag)))

    def at(self, slot: datetime, within: timedelta) -> bool | None:
        """Return whether anything arrived in ``[slot − within, slot)``, to the minute; None when that is not known."""
        if self.minutes is None:
            return None
        return any(slot - within - _MINUTE < minute < slot for minute in self.minutes)


@dataclass(frozen=True, slots=True)
class Heard:
    """What one source said: its answers to each query, or the findings in the configuration, or why it said nothing."""

    answers: tuple[tuple[Ask, Rows | NoAnswer], ...] = ()
    findings: tuple[Finding, ...] | None = None
    refused: NoAnswer | None = None


_Key = tuple[datetime, int]
"""A slot, and which of its windows is meant: 0 is its own."""


class Series(Protocol):
    """What one source says of every slot: see the fields of ``_Source``, which the live engine measures by."""

    @property
    def configured(self) -> bool: ...
    @property
    def denies(self) -> bool: ...
    @property
    def confirms(self) -> bool: ...
    @property
    def says(self) -> Says: ...
    @property
    def found(self) -> Mapping[Instance, Point] | None: ...
    @property
    def unanswered(self) -> bool: ...
    def at(self, slot: datetime) -> Mapping[Instance, Point]: ...
    def beside(self, slot: datetime, by: Instance) -> dict[int, Point]: ...
    def refusal(self, slot: datetime) -> str: ...
    def cut(self, slot: datetime) -> bool: ...


@dataclass(frozen=True, slots=True)
class _Source:
    """One source made ready: its points, or why there are none.

    ``found`` is what the configuration holds now, by instance; ``says`` which values its findings can have.
    """

    configured: bool = False
    denies: bool = False
    """Whether it says only that what the other sources see is no breach."""
    confirms: bool = False
    """Whether it says only that what the other sources see is one."""
    points: Mapping[_Key, Mapping[Instance, Point]] = field(default_factory=dict)
    refused: Mapping[_Key, str] = field(default_factory=dict)
    says: Says = field(default_factory=dict)
    found: Mapping[Instance, Point] | None = None
    silenced: str = ""
    """Why this source says nothing for any slot."""
    parts: tuple[int, ...] = ()
    """The numbers of the windows that a value is held against."""
    unfinished: frozenset[datetime] = frozenset()
    """The slots of which more rows were answered than are read."""

    @property
    def unanswered(self) -> bool:
        """Whether telemetry did not answer for some window; what the app is set to is another question."""
        return not self.configured and bool(self.silenced or self.refused)

    def cut(self, slot: datetime) -> bool:
        """Return whether instances of the slot may be missing only because not all rows were read."""
        return slot in self.unfinished

    def at(self, slot: datetime) -> Mapping[Instance, Point]:
        """Return the points of one slot's window."""
        return self.points.get((slot, 0), {})

    def beside(self, slot: datetime, by: Instance) -> dict[int, Point]:
        """Return the instance's points of the windows that its value is held against."""
        found = {part: self.points.get((slot, part), {}).get(by) for part in self.parts}
        return {part: point for part, point in found.items() if point is not None}

    def refusal(self, slot: datetime) -> str:
        """Return why this source says nothing of the slot, or an empty text."""
        return self.silenced or next((why for (at, _), why in self.refused.items() if at == slot), "")


@dataclass(frozen=True, slots=True)
class _Liveness:
    """What one slot knows of the target's telemetry: whether it is alive, or why nobody can say."""

    slot: datetime
    alive: bool | None
    why: str
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """One rule on one target, over every slot due; ``at`` judges one slot by the alerts as they then stand."""

    rule: Rule
    counting: bool
    sources: tuple[Series, ...]
    newest: datetime | None = None
    """The slot that a reading of the configuration belongs to; None when it belongs to whichever is judged."""

    @property
    def unanswered(self) -> bool:
        """Whether telemetry did not answer for some window; what the app is set to is another question."""
        return any(source.unanswered for source in self.sources)

    def at(
        self, slot: datetime, alerts: Mapping[Instance, Alert], fresh: Freshness, within: timedelta
    ) -> dict[Instance, Seen]:
        """Return one observation for every instance that has a row, that is known, or that stands for the rule.

        Call it slot by slot, oldest first, with the alerts as the slot before left them: hysteresis and missing
        instances depend on them.
        """
        rows_prove = self.rule.when.over <= within and self._any_rows(slot)
        live = _Liveness(slot, True if rows_prove else fresh.at(slot, within), fresh.why, fresh.since)
        seen = {by: self._instance(by, alerts.get(by), live) for by in self._instances(live, alerts)}
        return self._calm(seen, alerts, live)

    def _any_rows(self, slot: datetime) -> bool:
        return any(point.events for source in self.sources for point in source.at(slot).values())

    def _instances(self, live: _Liveness, alerts: Mapping[Instance, Alert]) -> list[Instance]:
        known = [by for by, alert in alerts.items() if by != STORM and not alert.idle]
        if not self.rule.when.by:
            return [(), *(by for by in known if by)]
        rows = [by for source in self.sources for by in source.at(live.slot)]
        found = [by for source in self.sources for by in source.found or ()]
        # Nobody to fire on is no reason to stay silent about silence.
        nobody: list[Instance] = [()] if live.alive is False and self.rule.on_silence == "fire" and not known else []
        return list(dict.fromkeys([*known, *rows, *found, *nobody]))

    def _of_configuration(self, by: Instance) -> bool:
        """Return whether only a finding in the configuration can be of this instance, and no row."""

        def owns(source: Series) -> bool:
            return all(value is Special.CONFIGURATION or value in source.says.get(name, ()) for name, value in by)

        return bool(by) and any(source.configured and owns(source) for source in self.sources)

    # One instance

    def _instance(self, by: Instance, alert: Alert | None, live: _Liveness) -> Seen:
        """A rule with ``by`` asks the configuration of its own instances only, and the rows of all the others."""
        own = self._of_configuration(by)
        measuring = [source for source in self.sources if not (source.denies or source.confirms)]
        asked = [source for source in measuring if not by or source.configured == own]
        seen = together([self._source(source, by, alert, live) for source in asked])
        return self._confirmed(self._denied(seen, live.slot), live.slot)

    def _denied(self, seen: Seen, slot: datetime) -> Seen:
        """Return clear for a breach that another source denies. One that does not answer denies nothing."""
        denials = (source.at(slot).get(()) for source in self.sources if source.denies)
        if seen.verdict is Verdict.BREACHED and any(point is not None and point.value for point in denials):
            return Seen(Verdict.CLEAR, seen.value, "denied by telemetry", seen.detail)
        return seen

    def _confirmed(self, seen: Seen, slot: datetime) -> Seen:
        """Return the breach if every source that has to confirm it does; unknown where one was not read, else clear."""
        for source in self.sources if seen.verdict is Verdict.BREACHED else ():
            if not source.confirms:
                continue
            point = source.at(slot).get(())
            if source.refusal(slot) or point is None or point.value is None:
                return Seen(Verdict.UNKNOWN, seen.value, source.refusal(slot) or "what confirms it was not read")
            if not point.value:
                return Seen(Verdict.CLEAR, seen.value, "not confirmed by what else was read", seen.detail)
        return seen

    def _source(self, source: Series, by: Instance, alert: Alert | None, live: _Liveness) -> Seen:
        refusal = source.refusal(live.slot)
        if refusal:
            return Seen(Verdict.UNKNOWN, reason=refusal)
        if source.found is not None:
            return self._found(source.found.get(by, Point(0.0)), alert, live.slot)
        point = source.at(live.slot).get(by)
        if point is None and source.cut(live.slot):
            return Seen(Verdict.UNKNOWN, reason=CUT)
        if point is None or self._made_of_nothing(point, live):
            return self._absent(alert, live)
        earlier = {**source.beside(live.slot, by), **self._not_whole(live)}
        seen = judge(self.rule, point, earlier, counting=self.counting, opened=_opened(alert))
        if point.refused and seen.verdict is not Verdict.BREACHED:
            return Seen(Verdict.UNKNOWN, reason=point.refused)
        return seen

    def _not_whole(self, live: _Liveness) -> dict[int, Point]:
        """Return the earlier windows of a count that begin before the target did: of them no row does not mean none."""
        when = self.rule.when
        if live.since is None or not self.counting or not held_against_the_past(when):
            return {}
        windows = enumerate(beside(when), 1)
        return {part: Point(None) for part, (back, length) in windows if live.slot - back - length < live.since}

    def _found(self, point: Point, alert: Alert | None, slot: datetime) -> Seen:
        """Judge the configuration. It was read once, now: an older slot is known if the slot before it says the same.

        Between two readings that agree nothing is assumed to have changed and changed back; where they differ, nobody
        knows when it changed.
        """
        seen = compare(self.rule, point, _opened(alert))
        before = alert.last if alert and not alert.idle else Verdict.CLEAR
        if self.newest is None or slot >= self.newest or seen.verdict is before:
            return seen
        return Seen(Verdict.UNKNOWN, reason="the configuration was read later")

    def _made_of_nothing(self, point: Point, live: _Liveness) -> bool:
        """Whether the point proves no telemetry: a raw query's sum is 0 over no rows, on a target that is silent."""
        if point.events is None and not point.refused:
            return not point.value and live.alive is not True
        return point.events == 0

    def _absent(self, alert: Alert | None, live: _Liveness) -> Seen:
        """Judge an instance without a row: zero, gone, too little, or nobody knows."""
        if live.alive is None:
            return Seen(Verdict.UNKNOWN, reason=f"freshness unknown: {live.why}")
        if not live.alive:
            return self._silent()
        if self.rule.when.absent_for:
            return Seen(Verdict.BREACHED, 0.0, "nothing of it while the target is alive")
        if self.counting and self.rule.when.unusual:
            return Seen(Verdict.CLEAR, 0.0, "it did not happen")
        if self.counting and self.rule.when.limit:
            return compare(self.rule, Point(0.0), _opened(alert))
        vanishes = self.rule.when.by or self.rule.when.kql is not None
        if alert is None or alert.idle or not vanishes:
            return Seen(Verdict.UNKNOWN, reason="too little traffic")
        missing = alert.missing + 1
        verdict = Verdict.UNKNOWN if missing <= _MISSING_SLOTS else Verdict.CLEAR
        return Seen(verdict, reason="missing instance", missing=missing)

    def _silent(self) -> Seen:
        verdicts = {"unknown": Verdict.UNKNOWN, "clear": Verdict.CLEAR, "fire": Verdict.BREACHED}
        return Seen(verdicts[self.rule.on_silence], reason="target is silent")

    # Too many at once

    def _calm(
        self, seen: dict[Instance, Seen], alerts: Mapping[Instance, Alert], live: _Liveness
    ) -> dict[Instance, Seen]:
        """Return one storm alert in place of new instances where there are more than allowed; known ones go on.

        Those that are not over yet count, too: else a few under other names each minute would become any number.
        """
        most = self.rule.max_instances
        known = {by for by, alert in alerts.items() if by != STORM and not alert.idle}
        number = float(len(known | {by for by, each in seen.items() if each.verdict is Verdict.BREACHED}))
        if number > most:
            known |= {by for by in seen if self._of_configuration(by)}
            storm = Seen(Verdict.BREACHED, number, "storm", f"{number:.0f} instances, at most {most} alone")
            return {**{by: each for by, each in seen.items() if by in known}, STORM: storm}
        if STORM not in alerts or alerts[STORM].idle:
            return seen
        blind = self._blind(live)
        over = Seen(Verdict.UNKNOWN, reason=blind) if blind else Seen(Verdict.CLEAR, number, "storm is over")
        return {**seen, STORM: over}

    def _blind(self, live: _Liveness) -> str:
        """Return why few breached instances prove nothing in this slot, or an empty text."""
        refusals = (source.refusal(live.slot) for source in self.sources)
        unsure = f"freshness unknown: {live.why}" if live.alive is None else "" if live.alive else "target is silent"
        return next(filter(None, refusals), unsure)


def _opened(alert: Alert | None) -> bool:
    return alert is not None and alert.open


def measure(rule: Rule, signal: Signal | None, heard: Sequence[Heard], newest: datetime | None = None) -> Measured:
    """Return the rule's measurements from what each of its sources said, in the order of the signal's sources.

    ``newest`` is the newest slot due, to which a reading of the configuration belongs.
    """
    asked = signal.asked(rule.when.only) if signal else ()
    kinds = asked if len(asked) == len(heard) else (None,) * len(heard)
    counting = signal.counting if signal else False
    sources = (_source(rule, each, kind, counting) for kind, each in zip(kinds, heard, strict=True))
    return Measured(rule, counting, tuple(sources), newest)


def _source(rule: Rule, heard: Heard, kind: Source | None, counting: bool) -> _Source:
    configured, denies = isinstance(kind, Configured), isinstance(kind, Logs) and kind.denies
    confirms = isinstance(kind, Gauge) and kind.confirms
    says = kind.says if isinstance(kind, Configured) else {}
    if heard.findings is not None:
        return _Source(True, says=says, found=_findings(rule, heard.findings))
    if heard.refused is not None:
        return _Source(configured, denies, confirms, says=says, silenced=heard.refused.why.value)
    points: dict[_Key, dict[Instance, Point]] = {}
    refused: dict[_Key, str] = {}
    for ask, answer in heard.answers:
        if isinstance(answer, NoAnswer):
            refused.update({_key(window): answer.why.value for window in ask.windows})
            continue
        for key, by, point in points_of(rule, ask, answer, counting):
            if by in points.setdefault(key, {}):
                refused[key] = TWO_ROWS
            points[key][by] = point
    parts = sorted({window.part for ask, _ in heard.answers for window in ask.windows} - {0})
    cut = (
        window.slot for ask, found in heard.answers if isinstance(found, Rows) and found.cut for window in ask.windows
    )
    return _Source(False, denies, confirms, points, refused, parts=tuple(parts), unfinished=frozenset(cut))


def _findings(rule: Rule, findings: Sequence[Finding]) -> dict[Instance, Point]:
    """Return what was found, by instance: of a dimension that a finding says nothing of, it is the configuration's."""
    words: dict[Instance, list[str]] = {}
    for each in findings:
        if rule.when.counts(each.labels):
            by = instance({name: each.labels.get(name, Special.CONFIGURATION) for name in rule.when.by})
            words.setdefault(by, []).append(each.words)
    return {by: Point(float(len(said)), None, normalize("; ".join(said), LONGEST_WORD)) for by, said in words.items()}


def _key(window: Window) -> _Key:
    return window.slot, window.part
