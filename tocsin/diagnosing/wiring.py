"""Which rules can ever fire on a target, by what it was seen to emit; and how to wire what it was not.

An event that only comes when something is wrong is not missed where others of the same place in the code were seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tocsin.core.answer import NoAnswer, Query, Rows
from tocsin.core.compile import bounds, let, owns, tables
from tocsin.core.config import Target
from tocsin.core.rule import Rule
from tocsin.core.schedule import asleep, selects
from tocsin.core.signal import Configured, Gauge, Logs, Signal, Source

CONFIGURATION = "the app's configuration"
"""What ``Sighted.unanswered`` calls it."""

LOOKED_BACK = timedelta(days=30)
"""What was not seen for so long is taken for never emitted; a workspace forgets a table after the same time."""

_NAMED = re.compile(r"event_name\)\s*(?:==\s*('[\w.]+')|in\s*\(([^)]*)\))")
_TEXT = re.compile(r"'([\w.]+)'")


@dataclass(frozen=True, slots=True)
class Event:
    """An event of the accelerator: how it comes to be emitted, and which others prove that it would be."""

    wire: str
    proven_by: tuple[str, ...] = ()


_CHECKPOINT = "the approval checkpoint emits it: call tools that have side effects through `hitl.checkpoint`"
_SEVERAL = ("tool.hitl_approved", "tool.hitl_rejected", "tool.hitl_skipped", "tool.hitl_misconfigured")

EVENTS: Mapping[str, Event] = {
    "request.received": Event("the workflow emits it where a request enters"),
    "supervisor.routed": Event("the supervisor emits it when it has chosen its workers"),
    "worker.completed": Event("the supervisor emits it when a worker ends, with `ok` and the agent's name"),
    "worker.skipped": Event("the supervisor emits it for a failed dependency", ("worker.completed",)),
    "retrieval.query": Event("the retrieval module emits it for each search"),
    "retrieval.returned": Event("the retrieval module emits it for each search", ("retrieval.query",)),
    "tool.executed": Event("each tool emits it when it has run"),
    "tool.failed": Event("each tool emits it when it raises", ("tool.executed",)),
    "tool.hitl_approved": Event(_CHECKPOINT, _SEVERAL),
    "tool.hitl_rejected": Event(_CHECKPOINT, _SEVERAL),
    "tool.hitl_skipped": Event(_CHECKPOINT, _SEVERAL),
    "tool.hitl_misconfigured": Event(_CHECKPOINT, _SEVERAL),
    "agent.version_lookup_failed": Event(
        "the accelerator emits it when Foundry does not say an agent's version", ("request.received",)
    ),
    "response.returned": Event("the workflow emits it when it answers or fails, with `ok` and milliseconds"),
    "cost.call": Event("nobody emits it by default: call `record_call_cost` where the model is called, and give the "
                       "model its price"),
    "eval.result": Event("nobody emits it by default: let the eval runner emit one event a case"),
}  # fmt: skip
"""The events that signals know. An event of the fork's own is wired where its author emits it."""


@dataclass(frozen=True, slots=True)
class Sighted:
    """What a target emitted of late: events and rows by table. ``tables`` lacks what could not be asked."""

    events: Mapping[str, int] = field(default_factory=dict)
    tables: Mapping[str, int] = field(default_factory=dict)
    unread: str = ""
    """Why the events are not known; empty when they are."""
    unanswered: Mapping[str, str] = field(default_factory=dict)
    """What else of the target could not be read, and why: ``configuration``, or a meter."""


@dataclass(frozen=True, slots=True)
class Blind:
    """Why a rule can never fire on a target, and how to wire it; ``known`` is False when that could not be told."""

    rule: Rule
    why: str
    how: str = ""
    known: bool = True


@dataclass(frozen=True, slots=True)
class _Sees:
    """Whether a source can see anything; None when that is not known."""

    at_all: bool | None
    why: str = ""
    how: str = ""


def events_of(source: Source) -> tuple[str, ...]:
    """Return the events that a source's value rests on; none for one that takes rows of any kind.

    Where ``events`` names some it is those, for without them there is no value; else those that ``where`` picks.
    """
    if not isinstance(source, Logs):
        return ()
    return _named(source.events) or _named(source.where)


def _named(text: str) -> tuple[str, ...]:
    found = [each for match in _NAMED.finditer(text) for each in _TEXT.findall(match[1] or match[2])]
    return tuple(dict.fromkeys(found))


def events_query(target: Target, now: datetime) -> Query:
    """Return the query for what the target emitted: ``event``, how often (``events``) and when last (``newest``)."""
    start, named = now - LOOKED_BACK, "tostring(Properties.event_name)"
    text = f"AppTraces\n| where {bounds(target)}\n| where isnotempty({named})"
    summed = f"summarize events = sum(ItemCount), newest = max(TimeGenerated) by event = {named}"
    return Query(f"{let(start, now)}{text}\n| {summed}", start, now)


def table_query(table: str, now: datetime) -> Query:
    """Return the query for whose rows a table holds.

    A row is a component (``resource``) and a ``role``, with how many rows of theirs (``events``) and the ``newest``.
    """
    start = now - LOOKED_BACK
    text = f"{table}\n| where TimeGenerated >= _from and TimeGenerated < _to"
    by = "role = AppRoleName, resource = tolower(_ResourceId)"
    summed = f"summarize events = sum(ItemCount), newest = max(TimeGenerated) by {by}"
    return Query(f"{let(start, now)}{text}\n| {summed}", start, now)


def lag_query(table: str, target: Target, now: datetime) -> Query:
    """Return the query for how many seconds a day's rows took to arrive, all but a twentieth of them (``lag``)."""
    start = now - timedelta(days=1)
    text = f"{table}\n| where {bounds(target)}"
    summed = "summarize lag = percentile((ingestion_time() - TimeGenerated) / 1s, 95), events = sum(ItemCount)"
    return Query(f"{let(start, now)}{text}\n| {summed}", start, now)


def sighted(target: Target, events: Rows | NoAnswer, found: Mapping[str, Rows | NoAnswer]) -> Sighted:
    """Return what a target emitted, out of the answers to ``events_query`` and to ``table_query`` by table."""
    seen = {} if isinstance(events, NoAnswer) else {str(row["event"]): int(row["events"]) for row in events.dicts()}
    rows = {
        table: sum(int(row["events"]) for row in of_target(target, answer))
        for table, answer in found.items()
        if isinstance(answer, Rows)
    }
    return Sighted(seen, rows, f"{events.why.value} {events.detail}" if isinstance(events, NoAnswer) else "")


def of_target(target: Target, answer: Rows) -> list[dict[str, Any]]:
    """Return what the answer to ``table_query`` says of the target, newest first."""
    found = [row for row in answer.dicts() if row["events"] and owns(target, row["resource"], row["role"])]
    return sorted(found, key=lambda row: row["newest"], reverse=True)


def watching(rules: Iterable[Rule], target: Target, now: datetime) -> list[Rule]:
    """Return the rules that run on a target now."""
    return [rule for rule in rules if selects(rule, target) and not asleep(rule, now)]


def tables_of(rules: Iterable[Rule], signals: Mapping[str, Signal]) -> tuple[str, ...]:
    """Return the tables that rules read, in order."""
    found: dict[str, None] = {}
    for rule in rules:
        signal = signals.get(rule.when.signal or "")
        sources = signal.asked(rule.when.only) if signal else ()
        found |= dict.fromkeys(each.table for each in sources if isinstance(each, Logs))
        found |= dict.fromkeys(tables(rule.when.kql) if rule.when.kql else ())
    return tuple(sorted(found))


def blind(rule: Rule, signal: Signal | None, target: Target, seen: Sighted) -> Blind | None:
    """Return why the rule can never fire on the target, or None when it can.

    A rule on an absence is not judged: that nothing comes is what it waits for.
    """
    if rule.when.absent_for:
        return None
    looks = [each for each in _confirming(rule, signal, target, seen) if not each.at_all]
    looks = looks or _looks(rule, signal, target, seen)
    if not looks or any(each.at_all for each in looks):
        return None
    refused = [each for each in looks if each.at_all is False]
    unknown = [each for each in looks if each.at_all is None]
    if unknown:
        return Blind(rule, "; ".join(dict.fromkeys(each.why for each in unknown)), known=False)
    whys, hows = (dict.fromkeys(getattr(each, name) for each in refused) for name in ("why", "how"))
    return Blind(rule, "; ".join(whys), "; ".join(filter(None, hows)))


def _looks(rule: Rule, signal: Signal | None, target: Target, seen: Sighted) -> list[_Sees]:
    if signal is None:
        named = tables(rule.when.kql or "")
        return [_rows(each, target, seen) for each in named]
    return [
        _sees(each, target, seen)
        for each in signal.asked(rule.when.only)
        if not (isinstance(each, Logs) and each.denies) and not (isinstance(each, Gauge) and each.confirms)
    ]


def _confirming(rule: Rule, signal: Signal | None, target: Target, seen: Sighted) -> list[_Sees]:
    """Return what the sources see without each of which there is no breach."""
    sources = signal.asked(rule.when.only) if signal else ()
    return [_sees(each, target, seen) for each in sources if isinstance(each, Gauge) and each.confirms]


def evidence(rule: Rule, signal: Signal | None, target: Target, seen: Sighted) -> str:
    """Return what shows that a rule that is not blind can fire; what nothing was asked about is not claimed."""
    if rule.when.absent_for:
        return "it waits for something that does not come, which no telemetry can show beforehand"
    found = [each.why for each in _looks(rule, signal, target, seen) if each.at_all]
    return "; ".join(dict.fromkeys(found)) or "what it needs is not known: nothing could be asked"


def _sees(source: Source, target: Target, seen: Sighted) -> _Sees:
    if isinstance(source, Configured | Gauge):
        return _configured(source, target, seen)
    rows, names = _rows(source.table, target, seen), events_of(source)
    if rows.at_all is False or not names:
        return rows
    wanted = {each for name in names for each in (name, *EVENTS.get(name, Event("")).proven_by)}
    if wanted & seen.events.keys():
        return _Sees(True, _WAS_SEEN)
    if seen.unread or rows.at_all is None:
        return _Sees(None, f"which events come is not known: {seen.unread or rows.why}")
    listed = " or ".join(f"`{name}`" for name in names)
    return _Sees(False, f"{listed} was not seen in 30 days", "; ".join(_wire(name) for name in names))


def _wire(name: str) -> str:
    known = EVENTS.get(name)
    return f"`{name}`: {known.wire if known else 'emit it where what it says happens'}"


_WAS_SEEN = "what it needs was seen within 30 days"


def _rows(table: str, target: Target, seen: Sighted) -> _Sees:
    if table not in seen.tables:
        return _Sees(None, f"{table} could not be read")
    if seen.tables[table]:
        return _Sees(True, _WAS_SEEN)
    how = f"{table}: Azure Monitor OpenTelemetry in the watched app writes it"
    return _Sees(False, f"{table} has no row of {target.name} in 30 days", how)


_NEEDS_APP = "the target's `subscription`, `resource_group` and `container_app` in tocsin.yaml"


def _configured(source: Configured | Gauge, target: Target, seen: Sighted) -> _Sees:
    what = source.finding if isinstance(source, Configured) else source.meter
    named = {"queues": (target.queues, "queue"), "probes": (target.probes, "probe")}
    if what in named:
        there, one = named[what]
        if not there:
            return _Sees(False, f"the target names no {one}", f"the target's `{what}` in tocsin.yaml")
        return _asked(what, seen)
    if not target.container_app:
        return _Sees(False, "the target names no Container App", _NEEDS_APP)
    if what in ("approver", "unused dev mode") and not (target.production and target.side_effect_tools):
        why = "the target's labels say another `env` than prod, or it names no side-effect tools"
        return _Sees(False, why, "the target's `labels` and `side_effect_tools` in tocsin.yaml")
    return _asked(what if isinstance(source, Gauge) else CONFIGURATION, seen)


def _asked(what: str, seen: Sighted) -> _Sees:
    """Return whether what is read directly, and not from a workspace, answered."""
    why = seen.unanswered.get(what)
    return (
        _Sees(True, f"it reads {what}, which answers")
        if why is None
        else _Sees(None, f"{what} could not be read: {why}")
    )


def meters_of(rules: Sequence[Rule], signals: Mapping[str, Signal]) -> dict[str, str]:
    """Return the meters that rules read, each with one of its readings; switches are the store's own business."""
    sources = (each for rule in rules if (signal := signals.get(rule.when.signal or "")) for each in signal.sources)
    found = {each.meter: each.reading for each in sources if isinstance(each, Gauge)}
    return {meter: reading for meter, reading in found.items() if meter != "switches"}
