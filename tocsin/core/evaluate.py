"""Rows become verdicts: breached, clear or unknown, per slot and instance. Silence is never health."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from tocsin.core.alert import STORM, Alert, Instance, Seen, State, Verdict, instance
from tocsin.core.answer import NoAnswer, Rows
from tocsin.core.compile import Ask, Window
from tocsin.core.rule import Op, Rule
from tocsin.core.signal import Signal

_MINUTE = timedelta(minutes=1)
_MISSING_SLOTS = 2
"""For how many slots a known instance without a row is unknown; after them it counts as gone."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """When anything arrived from the target: the minutes in which it did, or None and why that is not known."""

    minutes: frozenset[datetime] | None = None
    why: str = "not asked"

    @classmethod
    def of(cls, answer: Rows | NoAnswer) -> Freshness:
        """Return the freshness that the answer to ``compile.freshness`` speaks of."""
        if isinstance(answer, NoAnswer):
            return cls(None, answer.why.value)
        return cls(frozenset(row["minute"] for row in answer.dicts()), "")

    def at(self, slot: datetime, within: timedelta) -> bool | None:
        """Return whether anything arrived in ``[slot − within, slot)``; None when that is not known."""
        if self.minutes is None:
            return None
        return any(slot - within - _MINUTE < minute < slot for minute in self.minutes)


@dataclass(frozen=True, slots=True)
class Heard:
    """What one source said: its answers to each query, or the findings in the configuration."""

    answers: tuple[tuple[Ask, Rows | NoAnswer], ...] = ()
    findings: tuple[str, ...] | None = None
    refused: NoAnswer | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """One measured value: how many events it rests on (None: not counted) and a safe word of evidence."""

    value: float | None
    events: float | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Source:
    """One source made ready: points by window start and instance, or why there are none."""

    points: Mapping[tuple[datetime, bool], Mapping[Instance, Point]] = field(default_factory=dict)
    refused: Mapping[tuple[datetime, bool], str] = field(default_factory=dict)
    always: Point | None = None
    silenced: str = ""
    """Why this source says nothing for any slot."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One rule on one target, over every slot due; ``at`` judges one slot by the alerts as they then stand."""

    rule: Rule
    counting: bool
    sources: tuple[_Source, ...]

    def at(
        self, slot: datetime, alerts: Mapping[Instance, Alert], fresh: Freshness, within: timedelta
    ) -> dict[Instance, Seen]:
        """Return one observation for every instance that has a row, that is known, or that stands for the rule."""
        alive = True if self._any_rows(slot) else fresh.at(slot, within)
        seen = {by: self._instance(by, slot, alerts.get(by), alive, fresh) for by in self._instances(slot, alerts)}
        return _calm(seen, self.rule.max_instances, alerts)

    def _any_rows(self, slot: datetime) -> bool:
        found = (source.points.get((slot, False), {}) for source in self.sources)
        return any(point.events for points in found for point in points.values())

    def _instances(self, slot: datetime, alerts: Mapping[Instance, Alert]) -> list[Instance]:
        known = [by for by, alert in alerts.items() if by != STORM and alert.state is not State.INACTIVE]
        if not self.rule.when.by:
            return [(), *(by for by in known if by)]
        rows = (by for source in self.sources for by in source.points.get((slot, False), {}))
        findings = (
            [_configured(self.rule)] if any(source.always and source.always.value for source in self.sources) else []
        )
        return list(dict.fromkeys([*known, *rows, *findings]))

    def _instance(
        self, by: Instance, slot: datetime, alert: Alert | None, alive: bool | None, fresh: Freshness
    ) -> Seen:
        opened = alert is not None and alert.open
        each = [self._source(source, by, slot, alert, alive, fresh, opened) for source in self.sources]
        return _together([seen for seen in each if seen is not None])

    def _source(
        self,
        source: _Source,
        by: Instance,
        slot: datetime,
        alert: Alert | None,
        alive: bool | None,
        fresh: Freshness,
        opened: bool,
    ) -> Seen | None:
        """Return what one source says of one instance; None when it cannot know that instance."""
        if source.always is not None:
            point: Point | None = source.always
            return None if by not in ((), _configured(self.rule)) else _compare(self.rule, _given(point), opened)
        why = (
            source.silenced
            or source.refused.get((slot, False))
            or (source.refused.get((slot, True)) if self.rule.when.change else None)
        )
        if why:
            return Seen(Verdict.UNKNOWN, reason=why)
        point = source.points.get((slot, False), {}).get(by)
        if point is None or (not point.events and point.events is not None):
            return self._absent(alert, alive, fresh, opened)
        if point.events is not None and point.events < self._minimum():
            return Seen(Verdict.UNKNOWN, point.value, "too little traffic")
        if self.rule.when.change:
            return _changed(self.rule, point, source.points.get((slot, True), {}).get(by))
        return _compare(self.rule, point, opened)

    def _minimum(self) -> int:
        return 1 if self.rule.when.minimum is None else self.rule.when.minimum

    def _absent(self, alert: Alert | None, alive: bool | None, fresh: Freshness, opened: bool) -> Seen:
        """Judge an instance without a row: zero, gone, too little, or nobody knows."""
        if alive is None:
            return Seen(Verdict.UNKNOWN, reason=f"freshness unknown: {fresh.why}")
        if not alive:
            return self._silent()
        if self.counting:
            return _compare(self.rule, Point(0.0, None), opened)
        if not self.rule.when.by or alert is None:
            return Seen(Verdict.UNKNOWN, reason="too little traffic")
        missing = alert.missing + 1
        verdict = Verdict.UNKNOWN if missing <= _MISSING_SLOTS else Verdict.CLEAR
        return Seen(verdict, reason="missing instance", missing=missing)

    def _silent(self) -> Seen:
        verdicts = {"unknown": Verdict.UNKNOWN, "clear": Verdict.CLEAR, "fire": Verdict.BREACHED}
        return Seen(verdicts[self.rule.on_silence], reason="target is silent")


def measure(rule: Rule, signal: Signal | None, heard: Sequence[Heard]) -> Measured:
    """Return the rule's measurements from what each of its sources said."""
    counting = signal.counting if signal else False
    return Measured(rule, counting, tuple(_source(rule, each) for each in heard))


def _source(rule: Rule, heard: Heard) -> _Source:
    if heard.findings is not None:
        return _Source(always=Point(float(len(heard.findings)), None, "; ".join(heard.findings)))
    if heard.refused is not None:
        return _Source(silenced=heard.refused.why.value)
    points: dict[tuple[datetime, bool], dict[Instance, Point]] = {}
    refused: dict[tuple[datetime, bool], str] = {}
    for ask, answer in heard.answers:
        if isinstance(answer, NoAnswer):
            refused.update({_key(window): answer.why.value for window in ask.windows})
            continue
        for row in answer.dicts():
            window = ask.window(int(row.get("_window") or 0))
            if window is not None:
                points.setdefault(_key(window), {})[_by(rule, row)] = _point(row)
    return _Source(points, refused)


def _key(window: Window) -> tuple[datetime, bool]:
    return window.slot, window.earlier


def _by(rule: Rule, row: Mapping[str, Any]) -> Instance:
    return instance({name: str(row.get(name) or "") for name in rule.when.by})


def _point(row: Mapping[str, Any]) -> Point:
    events = row.get("events")
    return Point(_number(row.get("value")), None if events is None else float(events), str(row.get("detail") or ""))


def _number(value: Any) -> float | None:
    """Return a finite number, or None for what is none: NaN and infinity say that nothing was divided by something."""
    number = float(value) if isinstance(value, int | float) else math.nan
    return number if math.isfinite(number) else None


def _given(point: Point | None) -> Point:
    return point or Point(None, None)


def _configured(rule: Rule) -> Instance:
    """Return the instance a finding in the configuration belongs to: it has none of the rows' dimensions."""
    return instance(dict.fromkeys(rule.when.by, "(configuration)"))


def _compare(rule: Rule, point: Point, opened: bool) -> Seen:
    limit = rule.when.limit
    if point.value is None or limit is None:
        return Seen(Verdict.UNKNOWN, reason="no value")
    if opened and rule.resolve and rule.resolve.limit:
        return _verdict(not _holds(rule.resolve.limit, point.value), point)
    return _verdict(_holds(limit, point.value), point)


def _holds(limit: tuple[Op, float], value: float) -> bool:
    return limit[0].holds(value, limit[1])


def _verdict(breached: bool, point: Point) -> Seen:
    if breached:
        return Seen(Verdict.BREACHED, point.value, "condition holds", point.detail)
    return Seen(Verdict.CLEAR, point.value, "condition does not hold")


def _changed(rule: Rule, now: Point, then: Point | None) -> Seen:
    """Judge a rise against the same window earlier; without an earlier value there is nothing to compare with."""
    change = rule.when.change
    if change is None or now.value is None:
        return Seen(Verdict.UNKNOWN, reason="no value")
    if then is None or not then.value:
        return Seen(Verdict.UNKNOWN, reason="nothing to compare with")
    rise = (now.value - then.value) / abs(then.value)
    detail = f"{now.value:.6g} against {then.value:.6g} before"
    return _verdict(rise > change.more_than, replace(now, value=rise, detail=detail))


def _together(seen: Sequence[Seen]) -> Seen:
    """Return the verdict of several sources: a breach in any stands; else an unknown in any; else clear."""
    if not seen:
        return Seen(Verdict.UNKNOWN, reason="no source knows this instance")
    for verdict in (Verdict.BREACHED, Verdict.UNKNOWN):
        found = [each for each in seen if each.verdict is verdict]
        if found:
            return replace(found[0], value=_sum(found), detail="; ".join(each.detail for each in found if each.detail))
    return replace(seen[0], value=_sum(seen))


def _sum(seen: Iterable[Seen]) -> float | None:
    values = [each.value for each in seen if each.value is not None]
    return values[0] if len(values) == 1 else sum(values) if values else None


def _calm(seen: dict[Instance, Seen], most: int, alerts: Mapping[Instance, Alert]) -> dict[Instance, Seen]:
    """Return one storm alert in place of more breached instances than allowed; stored states then stand still."""
    breached = [by for by, each in seen.items() if each.verdict is Verdict.BREACHED]
    if len(breached) > most:
        still = Seen(Verdict.UNKNOWN, reason="storm")
        storm = Seen(
            Verdict.BREACHED, float(len(breached)), "storm", f"{len(breached)} instances, at most {most} alone"
        )
        return {**{by: still for by in seen if by in alerts}, STORM: storm}
    if STORM in alerts:
        return {**seen, STORM: Seen(Verdict.CLEAR, float(len(breached)), "storm is over")}
    return seen
