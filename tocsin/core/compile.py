"""A rule and a target become KQL. No query holds a wall clock: its window is bound by ``_from`` and ``_to``.

Every query answers with one row per window and instance: ``_window`` (the window's start, in seconds after ``_from``),
the ``by`` columns as text, ``value`` (real), ``events`` (long: how many the value rests on) and perhaps ``detail``.
A window without events has no row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tocsin.core import kql
from tocsin.core.answer import Query
from tocsin.core.config import Target
from tocsin.core.rule import Op, Rule, When
from tocsin.core.schema import TABLES
from tocsin.core.signal import TOOLS, Logs, Signal

FRESHNESS_TABLES = ("AppTraces", "AppRequests", "AppDependencies")
"""Where a target that is alive leaves something."""

ARRIVED = "ingestion_time()"
"""When a row arrived. The embedded engine reads a column in its place."""

LATEST, EARLIEST = timedelta(days=2), timedelta(days=1)
"""How long before its arrival, and how long after it, a row can say that it was emitted."""

MOST_IN_PART = 20_000
"""Rows of one part. A flood of values is cut in the query itself, so that the other parts of its answer stay whole."""

COUNTED = "ItemCount = iff(ItemCount > 0, ItemCount, int(1))"
"""A row counts at least once: of a negative weight one row would take others out of the sum."""

_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """The half-open window ``[start, end)`` of one slot. ``part`` counts those it is held against; 0 is its own."""

    slot: datetime
    start: datetime
    end: datetime
    part: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """What a query measures, apart from when: ``table``, ``where`` and aggregates, or an author's ``raw`` text."""

    by: tuple[tuple[str, str], ...]
    table: str = ""
    where: str = ""
    value: str = ""
    events: str = ""
    detail: str = ""
    raw: str = ""
    arrivals: bool = False
    """Whether windows are of when rows arrived, and not of when they were emitted."""
    lowest: bool = False
    """Whether the lowest values are the worst, which stay when there are too many rows."""

    @property
    def most(self) -> str:
        """Return the line that keeps the worst rows, one more than are read; nothing where there is one a window."""
        order = "asc nulls last" if self.lowest else "desc"
        return f"top {MOST_IN_PART + 1} by value {order}" if self.by or self.raw else ""


@dataclass(frozen=True, slots=True)
class Ask:
    """One query, the windows its rows speak of by their ``_window``, and what it measures."""

    query: Query
    windows: tuple[Window, ...]
    part: Part = Part(())

    def at(self, offset: int) -> tuple[Window, ...]:
        """Return the windows whose rows carry ``offset``: one slot's window may be another's earlier one."""
        start = self.query.start + offset * _SECOND
        return tuple(window for window in self.windows if window.start == start)


def windows(rule: Rule, slots: Sequence[datetime], since: datetime | None = None) -> tuple[Window, ...]:
    """Return the windows needed to judge ``slots``: one each, and those that its value is held against.

    A rule that counts arrivals has its first window begin at ``since``, the slot judged before, where that is earlier:
    what arrived while nobody looked is counted, however long that was (a day at most).
    """
    over = rule.when.over
    found = [Window(slot, slot - over, slot) for slot in slots]
    if rule.counting == "arrivals" and since is not None and found:
        first = found[0]
        found[0] = replace(first, start=max(min(first.start, since), first.end - LATEST))
    for part, (back, length) in enumerate(beside(rule.when), 1):
        found += [Window(slot, slot - back - length, slot - back, part) for slot in slots]
    return tuple(found)


def beside(when: When) -> list[tuple[timedelta, timedelta]]:
    """Return, for each window a value is held against, how long before the slot it ends and how long it is.

    The last one of a change, or of what is unusual, is the stretch before all others: what is there proves that the
    oldest of them is whole, and is no window that telemetry begins in.
    """
    if when.change:
        return [(when.change.versus, when.over), _before(when, when.change.versus, when.change.versus)]
    if when.unusual:
        looks = when.unusual.looks(when.over)
        return [*((back, when.over) for back in looks), _before(when, max(looks), when.unusual.baseline)]
    if when.burn_rate:
        return [(timedelta(), length) for length, _ in when.burn_rate.windows[1:]]
    return []


_LONGEST_PAUSE = timedelta(days=3)
"""How long an app may be quiet and still be known to have been there: a weekend and a day."""


def _before(when: When, oldest: timedelta, reach: timedelta) -> tuple[timedelta, timedelta]:
    """Return the stretch before the window that ends ``oldest`` before the slot, no longer than it is looked back."""
    return oldest + when.over, max(when.over, min(reach, _LONGEST_PAUSE))


def held_against_the_past(when: When) -> bool:
    """Return whether earlier windows say what is usual."""
    return when.change is not None or when.unusual is not None


def compile_logs(
    rule: Rule, signal: Signal | None, source: Logs | None, target: Target, spans: Sequence[Window]
) -> tuple[Ask, ...]:
    """Return queries that measure ``spans``: one for a signal, however many windows; one a window for raw ``kql``.

    Raises ValueError for raw ``kql`` that reads past its window, KeyError for a ``by`` the signal has no dimension for.
    """
    if signal is None or source is None:
        raw = Part(tuple((name, name) for name in rule.when.by), raw=author(rule), lowest=_lowest(rule))
        return tuple(Ask(_raw(raw, target, window), (window,), raw) for window in spans)
    part = measured_by(rule, signal, source, target)
    alike = {window.end - window.start: None for window in spans}
    groups = [tuple(each for each in spans if each.end - each.start == length) for length in alike]
    return tuple(Ask(_measured(part, target, group), group, part) for group in groups)


def measured_by(rule: Rule, signal: Signal, source: Logs, target: Target) -> Part:
    """Return what one source of the rule's signal measures. Raises KeyError for a dimension the signal has not."""
    part = _part(source, {name: signal.dimensions[name] for name in rule.when.by}, target)
    only = [
        f"{signal.dimensions[name]} in {kql.texts(values)}"
        for name, values in rule.when.only.items()
        if not (name in source.says and set(source.says[name]) <= set(values))
    ]
    part = replace(part, where=" and ".join([f"({part.where})", *only])) if only else part
    return replace(part, arrivals=rule.counting == "arrivals", lowest=bool(part.by) and _lowest(rule))


def _lowest(rule: Rule) -> bool:
    return rule.when.limit is not None and rule.when.limit[0] in (Op.BELOW, Op.AT_MOST)


def compile_signal(source: Logs, target: Target, start: datetime, end: datetime) -> Query:
    """Return the query that measures one source of a signal over one window, outside any rule."""
    return _measured(_part(source, {}, target), target, [Window(end, start, end)])


def freshness(target: Target, start: datetime, end: datetime) -> Query:
    """Return the query for the minutes of ``[start, end)`` in which the target emitted anything (``minute``).

    ``lag`` is how many seconds all but a hundredth of that minute's rows took to arrive. A table that does not exist
    yet holds nothing, and hides nothing that the others hold.
    """
    kept = f"project TimeGenerated, _lag = ({ARRIVED} - TimeGenerated) / 1s"
    parts = ", ".join(f"({table} | where {bounds(target)} | {kept})" for table in FRESHNESS_TABLES)
    summed = "summarize events = count(), lag = percentile(_lag, 99) by minute = bin(TimeGenerated, 1m)"
    return Query(f"{let(start, end)}union isfuzzy=true {parts}\n| {summed}", start, end)


def beginning(target: Target, start: datetime, end: datetime) -> Query:
    """Return the query for when the target emitted its first row of ``[start, end)``, of any table (``began``)."""
    parts = ", ".join(f"({table} | where {bounds(target)} | project TimeGenerated)" for table in FRESHNESS_TABLES)
    return Query(f"{let(start, end)}union isfuzzy=true {parts}\n| summarize began = min(TimeGenerated)", start, end)


def bounds(target: Target) -> str:
    """Return the condition that holds for the target's rows within the window, and for nothing else."""
    return f"TimeGenerated >= _from and TimeGenerated < _to and {own(target)}"


def own(target: Target) -> str:
    """Return the condition that holds for the target's rows; of a target that names nothing to find them by, for none.

    Azure writes a resource's id in small letters, and people write it as the portal does.
    """
    resource = [f"_ResourceId =~ {kql.text(target.application_insights)}"] if target.application_insights else []
    role = [f"AppRoleName == {kql.text(target.role_name)}"] if target.role_name else []
    return " and ".join([*resource, *role]) or "false"


def owns(target: Target, resource: str, role: str) -> bool:
    """Return whether a row is the target's, as ``own`` says it in KQL."""
    if not (target.application_insights or target.role_name):
        return False
    of_it = resource.lower() == target.application_insights.lower() or not target.application_insights
    return of_it and role == (target.role_name or role)


def stretch(part: Part, start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """Return the bounds of what was emitted that can have arrived within ``[start, end)``.

    The service replaces times that are more than two days old, or more than one ahead.
    """
    return (start - LATEST, end + EARLIEST) if part.arrivals else (start, end)


def let(start: datetime, end: datetime) -> str:
    """Return the statements that bind the window."""
    return f"let _from = {kql.time(start)};\nlet _to = {kql.time(end)};\n"


def summary(part: Part, by: Iterable[str]) -> str:
    """Return the line that makes one row an instance."""
    aggregates = [f"value = todouble({part.value})", f"events = tolong({part.events})"]
    if part.detail:
        aggregates.append(f"detail = {part.detail}")
    split = ", ".join(by)
    return f"summarize {', '.join(aggregates)}" + (f" by {split}" if split else "")


def _part(source: Logs, dimensions: Mapping[str, str], target: Target) -> Part:
    where = source.where.replace(TOOLS, kql.texts(target.side_effect_tools))
    return Part(tuple(dimensions.items()), source.table, where, source.value, source.events, source.detail)


def _measured(part: Part, target: Target, spans: Sequence[Window]) -> Query:
    first, last = min(window.start for window in spans), max(window.end for window in spans)
    start, end = stretch(part, first, last)
    by = [f"{kql.name(name)} = {expression}" for name, expression in part.by]
    lines = [part.table, f"where {bounds(target)}", *_gap(spans), *_weighed(part), f"where {part.where}"]
    if len(spans) > 1:
        lines += [*_expand(part, start, spans), summary(part, ["_window", *by]), "where events > 0"]
    else:
        lines += [f"where {_arrived(first - start, end - last)}"] if part.arrivals else []
        lines += [summary(part, by), "where events > 0", f"extend _window = {(first - start) // _SECOND}"]
    lines += [part.most] if part.most else []
    return Query(let(start, end) + "\n| ".join(lines), start, end)


def _gap(spans: Sequence[Window]) -> list[str]:
    """Leave out the rows between the windows and those earlier that they are compared with, where nothing is asked."""
    before, now = [each for each in spans if each.part], [each for each in spans if not each.part]
    if not before or not now or max(each.end for each in before) >= min(each.start for each in now):
        return []
    earlier = max(each.end for each in before) - min(each.start for each in before)
    later = max(each.end for each in now) - min(each.start for each in now)
    return [f"where TimeGenerated < _from + {kql.span(earlier)} or TimeGenerated >= _to - {kql.span(later)}"]


def weighs(part: Part) -> bool:
    """Return whether a part reads how many rows a row stands for."""
    return re.search(r"\bItemCount\b", " ".join((part.value, part.events, part.raw))) is not None


def _weighed(part: Part) -> list[str]:
    return [f"extend {COUNTED}"] if weighs(part) else []


def rows_of(table: str, part: Part, target: Target) -> str:
    """Return the rows of a table that an author's text may see."""
    return " | ".join([table, f"where {bounds(target)}", *_weighed(part)])


def _arrived(after: timedelta, before: timedelta) -> str:
    return f"{ARRIVED} >= _from + {kql.span(after)} and {ARRIVED} < _to - {kql.span(before)}"


def _expand(part: Part, start: datetime, spans: Sequence[Window]) -> list[str]:
    """Give each row to every window it falls in, in one pass over the table."""
    offsets = ", ".join(str(offset) for offset in sorted({(window.start - start) // _SECOND for window in spans}))
    over = kql.span(spans[0].end - spans[0].start)
    # Named before the expansion, for the time of arrival is the row's own and no column of what becomes of it.
    named, at = ([f"extend _at = {ARRIVED}"], "_at") if part.arrivals else ([], "TimeGenerated")
    return [
        *named,
        f"mv-expand _window = dynamic([{offsets}]) to typeof(long)",
        f"where {at} >= _from + _window * 1s and {at} < _from + _window * 1s + {over}",
    ]


def author(rule: Rule) -> str:
    """Return an author's text. Raises ValueError when it reads past its window and target."""
    text = (rule.when.kql or "").strip().rstrip("; \n")
    past = kql.past_the_window(text)
    if past:
        raise ValueError(f"the query reads past its window and target: {', '.join(past)}")
    return text


def tables(text: str) -> list[str]:
    """Return the tables of the schema that a text names."""
    return [table for table in TABLES if re.search(rf"\b{table}\b", kql.code(text))]


def shape(part: Part, *labels: str) -> str:
    """Return the columns of an author's text as every measurement has them."""
    by = [f"{kql.name(name)} = tostring({kql.name(name)})" for name, _ in part.by]
    counted = ["events = tolong(events)"] if re.search(r"\bevents\b", kql.code(part.raw)) else []
    return ", ".join([*labels, *by, "value = todouble(value)", *counted])


def _raw(part: Part, target: Target, window: Window) -> Query:
    """Wrap an author's text: the tables it names are bound to the window and the target before it sees them."""
    lets = "".join(f"let {table} = {rows_of(table, part, target)};\n" for table in tables(part.raw))
    body = f"{lets}{part.raw}\n| project {shape(part, '_window = 0')}\n| {part.most}"
    return Query(let(window.start, window.end) + body, window.start, window.end)
