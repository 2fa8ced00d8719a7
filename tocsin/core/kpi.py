"""What a solution was bought for: the ``kpis`` of an ``accelerator.yaml``, by the day and held to both their figures.

A KPI is measured by the event of its own name, which the accelerator's KPI registry asks for; a few of the template's
own have events that are there already. What telemetry does not say is unknown, and never a figure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tocsin.core import kql
from tocsin.core.answer import NoAnswer, Query, Rows
from tocsin.core.compile import bounds, let
from tocsin.core.config import Target
from tocsin.core.fields import Number
from tocsin.core.units import amount, spell

DAYS = 30
"""How many days are looked at, today among them."""

_WEEK = 7
_LONG = 10_000.0
_STEADY = 0.02
"""A change of less than so much of the first week's figure is none."""


class Kpi(BaseModel):
    """One of ``kpis``. Other keys are its author's own."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(min_length=1, max_length=100)
    type: str = Field(min_length=1, max_length=40)
    baseline: Number
    target: Number

    @property
    def unit(self) -> str:
        """In what its figures are, as ``units.amount`` writes them."""
        known = {"duration_ms": "ms", "ratio": "ratio", "usd": "usd", "cost_usd": "usd"}
        return known.get(self.type, "count")

    @property
    def rises(self) -> bool:
        """Whether more is better: as its two figures say, but for those whose meaning says otherwise."""
        return _MEASURES[self.name].rises if self.name in _MEASURES else self.target >= self.baseline


@dataclass(frozen=True, slots=True)
class _Measure:
    """How a KPI of the template is measured besides by its own event."""

    where: str
    value: str
    words: str
    rises: bool


_EVENT = "tostring(Properties.event_name)"
_VALUE = "todouble(tostring(Properties.value))"
_SUMMED = "total = sum(_value * ItemCount), events = sum(ItemCount)"
_OK = "tobool(tostring(Properties.ok))"

_MEASURES: Mapping[str, _Measure] = {
    "hitl_approval_rate": _Measure(
        f"{_EVENT} in ('tool.hitl_approved', 'tool.hitl_rejected')",
        f"iff({_EVENT} == 'tool.hitl_approved', 1.0, 0.0)",
        "the share of reviewers' decisions that approved",
        # Its baseline is 1, for everything was done by hand: more rejections are no progress.
        rises=True,
    ),
    "briefing_production_time": _Measure(
        f"{_EVENT} == 'response.returned' and {_OK} == true",
        _VALUE,
        "how long answers took, those that succeeded",
        rises=False,
    ),
}
"""The template's own KPIs that its events tell of already."""


class Standing(StrEnum):
    """How a KPI stands against its two figures."""

    REACHED = "target reached"
    BETTER = "better than the baseline"
    WORSE = "no better than the baseline"
    SHORT = "target not reached"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Day:
    """One day: the mean of what was measured on it, None where nothing was, and how many events that rests on."""

    day: date
    value: float | None
    events: int


@dataclass(frozen=True, slots=True)
class Trend:
    """One KPI over the days. ``measured`` says by what; ``why`` why nothing is known."""

    kpi: Kpi
    days: tuple[Day, ...]
    measured: str = ""
    why: str = ""

    @property
    def value(self) -> float | None:
        """The mean over all days, each by its events."""
        return _mean(self.days)

    @property
    def progress(self) -> float | None:
        """How much of the way from the baseline to the target is done: 1 is all of it."""
        way = self.kpi.target - self.kpi.baseline
        return None if self.value is None or not way else (self.value - self.kpi.baseline) / way

    @property
    def standing(self) -> Standing:
        """How it stands."""
        value, kpi = self.value, self.kpi
        if value is None:
            return Standing.UNKNOWN
        if _reaches(value, kpi.target, kpi.rises):
            return Standing.REACHED
        if kpi.rises != (kpi.target >= kpi.baseline):  # the baseline is on the far side: it is no measure
            return Standing.SHORT
        return Standing.WORSE if _reaches(kpi.baseline, value, kpi.rises) else Standing.BETTER

    @property
    def moving(self) -> str:
        """How the last week's mean differs from the first's that has any: improving, worsening, steady or unknown."""
        first, last = _mean(self.days[:_WEEK]), _mean(self.days[-_WEEK:])
        if first is None or last is None:
            return "unknown"
        if abs(last - first) <= _STEADY * max(abs(first), abs(last)):
            return "steady"
        return "improving" if (last > first) == self.kpi.rises else "worsening"

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        kpi = self.kpi
        return {
            "name": kpi.name,
            "type": kpi.type,
            "unit": kpi.unit,
            "better": "more" if kpi.rises else "less",
            "baseline": kpi.baseline,
            "target": kpi.target,
            "value": self.value,
            "progress": self.progress,
            "standing": self.standing.value,
            "moving": self.moving,
            "measured_by": self.measured,
            "why_unknown": self.why,
            "days": [{"day": each.day.isoformat(), "value": each.value, "events": each.events} for each in self.days],
        }

    def figure(self, value: float | None) -> str:
        """Return a figure of this KPI for people: how long something took as they say it, from ten seconds on."""
        if value is not None and self.kpi.unit == "ms" and value >= _LONG:
            return spell(timedelta(milliseconds=round(value)))
        return amount(value, self.kpi.unit)


def _reaches(value: float, wanted: float, rises: bool) -> bool:
    return value >= wanted if rises else value <= wanted


def _mean(days: Sequence[Day]) -> float | None:
    known = [(each.value, each.events) for each in days if each.value is not None and each.events]
    count = sum(events for _, events in known)
    return math.fsum(value * events for value, events in known) / count if count else None


def stretch(now: datetime) -> tuple[datetime, datetime]:
    """Return what is looked at: whole days in UTC, and today as far as it has come."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=DAYS - 1), now


def query(kpi: Kpi, target: Target, now: datetime) -> Query:
    """Return the query for a KPI: ``total`` and ``events`` by ``day`` and ``source``, the event it was measured by."""
    start, end = stretch(now)
    own, known = f"{_EVENT} == {kql.text(kpi.name)}", _MEASURES.get(kpi.name)
    value = _own_value(kpi)
    if known:
        value = f"iff({own}, {value}, {known.value})"
    lines = [
        "AppTraces",
        f"where {bounds(target)}",
        f"where {own}" + (f" or ({known.where})" if known else ""),
        f"extend _value = {value}, _own = {own}",
        "where isfinite(_value)",
        f"summarize {_SUMMED} by day = bin(TimeGenerated, 1d), own = _own",
    ]
    return Query(let(start, end) + "\n| ".join(lines), start, end)


def _own_value(kpi: Kpi) -> str:
    """Return what an event of the KPI's own says: its value; of a share also by ``ok``, where it has no value."""
    if kpi.unit != "ratio":
        return _VALUE
    return f"iff(isfinite({_VALUE}), {_VALUE}, iff({_OK} == true, 1.0, iff({_OK} == false, 0.0, {_VALUE})))"


def trend(kpi: Kpi, answer: Rows | NoAnswer, now: datetime) -> Trend:
    """Return the KPI by the day. Where its own event was seen, only that counts."""
    start, _ = stretch(now)
    days = [start.date() + timedelta(days=number) for number in range(DAYS)]
    if isinstance(answer, NoAnswer):
        empty = tuple(Day(day, None, 0) for day in days)
        return Trend(kpi, empty, why=f"telemetry did not answer: {answer.why.value}")
    rows = answer.dicts()
    own = any(row["own"] for row in rows)
    found = {row["day"].date(): row for row in rows if bool(row["own"]) == own}
    series = tuple(_day(day, found.get(day)) for day in days)
    if found:
        return Trend(kpi, series, _words(kpi, own))
    return Trend(kpi, series, why=f"nothing was seen in {DAYS} days: {_wiring(kpi)}")


def _day(day: date, row: Mapping[str, Any] | None) -> Day:
    if row is None or not row["events"]:
        return Day(day, None, 0)
    return Day(day, float(row["total"]) / int(row["events"]), int(row["events"]))


def _words(kpi: Kpi, own: bool) -> str:
    return f"the mean of the event {kpi.name}" if own else _MEASURES[kpi.name].words


def _wiring(kpi: Kpi) -> str:
    known = _MEASURES.get(kpi.name)
    also = f", or what shows {known.words}" if known else ""
    what = "`value`, or `ok`" if kpi.unit == "ratio" else "`value`"
    return f"emit an event named {kpi.name} with {what}{also}"


def markdown(target: str, trends: Iterable[Trend], now: datetime, version: str) -> str:
    """Return the report as a page for people."""
    start, _ = stretch(now)
    lines = [
        f"# KPIs of {target}",
        "",
        f"{start:%Y-%m-%d} to {now:%Y-%m-%d %H:%M} UTC, by Tocsin {version}.",
        "",
        "| KPI | baseline | target | 30 days | standing | last week | measured by |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in trends:
        kpi = each.kpi
        cells = (kpi.name, each.figure(kpi.baseline), each.figure(kpi.target), each.figure(each.value),
                 each.standing.value, each.moving, each.measured or each.why)  # fmt: skip
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    for letter in "\\`*_[]<>|":
        text = text.replace(letter, f"\\{letter}")
    return " ".join(text.split())
