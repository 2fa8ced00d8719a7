"""Eval results in the target's own telemetry: one ``eval.result`` a case.

Telemetry may be sampled, and does not say when a run is over: both would hide a case that failed, so both refuse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tocsin.core.answer import NoAnswer, Query, Why
from tocsin.core.compile import bounds, let
from tocsin.core.config import Target
from tocsin.core.evallines import telemetry as read
from tocsin.core.evals import RED_FOR, Results
from tocsin.core.text import scrub
from tocsin.core.units import spell
from tocsin.ports import Telemetry

SETTLED = timedelta(minutes=10)
"""How long nothing more must have come, besides the target's lag, before a run counts as over."""

BEFORE = timedelta(hours=6)
"""How long before the engage a run may have begun that still goes on after it, and is seen to."""

BACK = timedelta(days=7)
"""How far back earlier runs are searched, with which a newer one is compared."""

_MOST = 5_000
_KEYS = ("case_id", "suite", "passed", "score", "groundedness", "latency_ms", "cost_usd", "run_id")


def results(telemetry: Telemetry, target: Target, since: datetime, now: datetime) -> Results | NoAnswer:
    """Return the cases told since ``since``; where they say a ``run_id``, those of the newest run, and the earlier."""
    answer = telemetry.ask(query(target, min(since - BEFORE, now - BACK), now), target)
    if isinstance(answer, NoAnswer):
        return answer
    rows = sorted(answer.dicts(), key=lambda row: row["TimeGenerated"])
    if len(rows) > _MOST and rows[0]["TimeGenerated"] > min(since - BEFORE, now - RED_FOR):
        return NoAnswer(Why.PARTIAL, f"more than {_MOST} eval.result events")
    chosen, run = _of_one_run(rows, since)
    if not chosen:
        return NoAnswer(Why.MISSING, "no eval.result event since the engage: run the evals, and have them told")
    others = dict.fromkeys(str(row["run_id"]) for row in rows if row["run_id"])
    earlier = {name: [row for row in rows if row["run_id"] == name] for name in others if scrub(name, 100) != run}
    made = _made(target, run, chosen)
    return replace(
        made,
        problems=(*_doubts(chosen, target, now), *made.problems),
        earlier=tuple(_made(target, scrub(name, 100), found) for name, found in earlier.items()),
    )


def _made(target: Target, run: str, rows: Sequence[Mapping[str, Any]]) -> Results:
    quality, redteam = read(rows)
    return Results(
        source=f"eval.result events of {target.name}",
        run=run,
        target=target.name,
        at=min(row["TimeGenerated"] for row in rows),
        quality=quality.cases,
        redteam=redteam.cases,
        problems=(*quality.problems, *redteam.problems),
    )


def query(target: Target, start: datetime, end: datetime) -> Query:
    """Return the query for the target's ``eval.result`` events, newest first."""
    columns = ", ".join(f'{key} = tostring(Properties["args_redacted.{key}"])' for key in _KEYS)
    wanted = f'{bounds(target)} and tostring(Properties.event_name) == "eval.result"'
    kept = f"project TimeGenerated, ItemCount, {columns}\n| order by TimeGenerated desc\n| take {_MOST + 1}"
    return Query(f"{let(start, end)}AppTraces\n| where {wanted}\n| {kept}", start, end)


def _of_one_run(rows: Sequence[Mapping[str, Any]], since: datetime) -> tuple[list[Mapping[str, Any]], str]:
    """Return the newest run's rows, whenever it began; without run ids, every row from after ``since``."""
    later = [row for row in rows if row["TimeGenerated"] > since]
    if not later:
        return [], ""
    newest = str(later[-1]["run_id"] or "")
    if not newest:
        return later, ""
    unnamed = [row for row in later if not row["run_id"]]
    return [*unnamed, *(row for row in rows if row["run_id"] == newest)], scrub(newest, 100)


def _doubts(rows: Sequence[Mapping[str, Any]], target: Target, now: datetime) -> list[str]:
    found = []
    if any((row["ItemCount"] or 1) > 1 for row in rows):
        found.append("the telemetry is sampled, so that cases are missing: exempt eval.result from sampling")
    quiet = now - max(row["TimeGenerated"] for row in rows)
    needed = SETTLED + max(target.lag, timedelta())
    if quiet < needed:
        wait = spell(timedelta(seconds=(needed - quiet) // timedelta(seconds=1)))
        found.append(f"the newest event is younger than {spell(needed)}, a run may be under way: look again in {wait}")
    return found
