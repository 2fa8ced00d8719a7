"""A rule and a target become KQL. No query holds a wall clock: its window is bound by ``_from`` and ``_to``.

Every query answers with one row per window and instance: ``_window`` (the window's start, in seconds after ``_from``),
the ``by`` columns as text, ``value`` (real), ``events`` (how many the value rests on) and ``detail``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tocsin.core import kql
from tocsin.core.answer import Query
from tocsin.core.config import Target
from tocsin.core.rule import Rule
from tocsin.core.schema import TABLES
from tocsin.core.signal import Logs, Signal

FRESHNESS_TABLES = ("AppTraces", "AppRequests", "AppDependencies")
"""Where a target that is alive leaves something."""


@dataclass(frozen=True, slots=True)
class Window:
    """The half-open window ``[start, end)`` of one slot; ``earlier`` for the one a change is compared with."""

    slot: datetime
    start: datetime
    end: datetime
    earlier: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """One query and the windows its rows speak of, by their ``_window``."""

    query: Query
    windows: tuple[Window, ...]

    def window(self, offset: int) -> Window | None:
        """Return the window whose rows carry ``offset``."""
        at = self.query.start + timedelta(seconds=offset)
        return next((window for window in self.windows if window.start == at), None)


def windows(rule: Rule, slots: Sequence[datetime]) -> tuple[Window, ...]:
    """Return the windows needed to judge ``slots``: one each, and for a change the same one earlier."""
    over = rule.when.over
    found = [Window(slot, slot - over, slot) for slot in slots]
    if rule.when.change:
        back = rule.when.change.versus
        found += [Window(slot, slot - over - back, slot - back, earlier=True) for slot in slots]
    return tuple(found)


def compile_logs(
    rule: Rule, signal: Signal | None, source: Logs | None, target: Target, spans: Sequence[Window]
) -> tuple[Ask, ...]:
    """Return queries that measure ``spans``: one for a signal, however many windows; one a window for raw ``kql``."""
    if signal is None or source is None:
        return tuple(Ask(_raw(rule, target, window), (window,)) for window in spans)
    dimensions = {name: signal.dimensions[name] for name in rule.when.by}
    return (Ask(_signal(source, dimensions, target, spans), tuple(spans)),)


def compile_signal(source: Logs, target: Target, start: datetime, end: datetime) -> Query:
    """Return the query that measures one source of a signal over one window, outside any rule."""
    return _signal(source, {}, target, [Window(end, start, end)])


def freshness(target: Target, start: datetime, end: datetime) -> Query:
    """Return the query for the minutes of ``[start, end)`` in which anything arrived from the target (``minute``)."""
    parts = ", ".join(f"({table} | where {_bounds(target)} | project TimeGenerated)" for table in FRESHNESS_TABLES)
    text = f"{_let(start, end)}union {parts}\n| summarize events = count() by minute = bin(TimeGenerated, 1m)"
    return Query(text, start, end)


def _let(start: datetime, end: datetime) -> str:
    return f"let _from = {kql.time(start)};\nlet _to = {kql.time(end)};\n"


def _bounds(target: Target) -> str:
    return f"TimeGenerated >= _from and TimeGenerated < _to and AppRoleName == {kql.text(target.role_name)}"


def _signal(source: Logs, dimensions: dict[str, str], target: Target, spans: Sequence[Window]) -> Query:
    start, end = min(window.start for window in spans), max(window.end for window in spans)
    where = source.where.replace("{side_effect_tools}", kql.texts(target.side_effect_tools))
    lines = [source.table, f"where {_bounds(target)}", f"where {where}"]
    many = len(spans) > 1
    if many:
        lines += _expand(start, spans)
    by = [f"{kql.name(name)} = {expression}" for name, expression in dimensions.items()]
    lines.append(_summary(source, [*by, *(["_window"] if many else [])]))
    if not many:
        lines.append("extend _window = 0")
    return Query(_let(start, end) + "\n| ".join(lines), start, end)


def _expand(start: datetime, spans: Sequence[Window]) -> list[str]:
    """Give each row to every window it falls in, in one pass over the table."""
    offsets = ", ".join(str(int((window.start - start).total_seconds())) for window in spans)
    over = kql.span(spans[0].end - spans[0].start)
    return [
        f"mv-expand _window = dynamic([{offsets}]) to typeof(long)",
        f"where TimeGenerated >= _from + _window * 1s and TimeGenerated < _from + _window * 1s + {over}",
    ]


def _summary(source: Logs, by: Iterable[str]) -> str:
    aggregates = [f"value = todouble({source.value})", f"events = {source.events}"]
    if source.detail:
        aggregates.append(f"detail = {source.detail}")
    split = ", ".join(by)
    return f"summarize {', '.join(aggregates)}" + (f" by {split}" if split else "")


def _raw(rule: Rule, target: Target, window: Window) -> Query:
    """Wrap an author's text: the tables it names are bound to the window and the target before it sees them."""
    text = (rule.when.kql or "").strip().rstrip(";")
    named = [table for table in TABLES if re.search(rf"\b{table}\b", text)]
    lets = "".join(f"let {table} = {table} | where {_bounds(target)};\n" for table in named)
    by = [f"{kql.name(name)} = tostring({kql.name(name)})" for name in rule.when.by]
    shape = ", ".join([*by, "value = todouble(value)", "_window = 0"])
    return Query(f"{_let(window.start, window.end)}{lets}{text}\n| project {shape}", window.start, window.end)
