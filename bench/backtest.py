"""Thirty rules over thirty days of one-minute slots and ten million rows, and VictoriaMetrics' replay of the same work.

    python -m bench.backtest [ROWS [SAMPLE_HOURS]]

A seeded generator writes the rows as an export, with incidents: traces with JSON properties, requests, dependencies, in
Parquet. Timed is everything a backtest does, from opening the files to the outcome with its pages. The figure beside
it is of the same threshold rules over the same per-minute series, given to both: Tocsin's verdicts and states against
``vmalert -replay``; how much fires decides how much vmalert has to write, so that share is told. Then the live engine
ticks over some hours of the same files, and every change has to be the one that the backtest found there.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from bench import vmalert
from bench.vmalert import ThresholdRule
from tests.queries import shipped
from tocsin import signals
from tocsin.backtest.history import FileHistory
from tocsin.backtest.outcome import Outcome, outcome
from tocsin.backtest.recording import Recording
from tocsin.backtest.replay import Alive, Course, replayed
from tocsin.backtest.series import Recorded, Values
from tocsin.backtest.study import Studies, Watched
from tocsin.core.alert import State
from tocsin.core.config import Config, Target
from tocsin.core.read import Project
from tocsin.core.rule import Op, Rule
from tocsin.core.signal import Logs
from tocsin.engine.tick import Engine
from tocsin.stores.sqlite import SqliteStore
from tocsin.telemetry.embedded import EmbeddedTelemetry
from tocsin.testing import Heard

START, DAYS, MINUTE = datetime(2026, 10, 1, tzinfo=UTC), 30, timedelta(minutes=1)
END = START + timedelta(days=DAYS)
ROWS, RULES, RUNS, SAMPLE_HOURS = 10_000_000, 30, 3, 2.0
TARGET = Target(name="sales", workspace="w", role_name="sales-api", offset=timedelta(), labels={"env": "prod"})
CONFIG = Config.model_validate(
    {"targets": [TARGET], "routes": {"to": ["oncall"]}, "budgets": {"queries_per_minute": 10_000}}
)

_SPAN = f"TIMESTAMP '{START:%Y-%m-%d}' + to_microseconds((i * {DAYS * 86_400_000_000} / $rows)::BIGINT)"
_CHANCE = "(hash(i * 7919 + $salt) % 1000000) / 1e6"
_TROUBLE = f"(i * {DAYS * 24.0} / $rows) % 31 < 0.7"
"""Forty minutes of every thirty-one hours something is wrong."""

_TRACES = f"""
SELECT {_SPAN} AS TimeGenerated, 'sales-api' AS AppRoleName, 1 + (i % 5 = 0)::INT * 2 AS ItemCount, event AS Message,
  '{{"event_name": "' || event || '", "ok": "' || CASE WHEN {_CHANCE} < CASE WHEN {_TROUBLE} THEN 0.3 ELSE 0.004 END
  THEN 'false' ELSE 'true' END || '", "value": "' || round(CASE event WHEN 'cost.call' THEN 0.004 ELSE 700 END
  * exp(2 * (hash(i) % 1000) / 1000 - 1) * CASE WHEN {_TROUBLE} THEN 6 ELSE 1 END, 6) ||
  '", "external_system": "agent-' || i % 7 || '"}}' AS Properties
FROM (SELECT i, ['request.received', 'response.returned', 'worker.completed', 'cost.call', 'tool.executed',
  'retrieval.returned', 'tool.failed'][1 + (CASE WHEN hash(i * 31) % 100 = 0 THEN 6 ELSE i % 6 END)] AS event
  FROM range($rows) t(i))
"""
_REQUESTS = f"""
SELECT {_SPAN} AS TimeGenerated, 'sales-api' AS AppRoleName, 1 AS ItemCount, 'POST /chat' AS Name,
  {_CHANCE} >= CASE WHEN {_TROUBLE} THEN 0.3 ELSE 0.004 END AS Success, '200' AS ResultCode FROM range($rows) t(i)
"""
_DEPENDENCIES = f"""
SELECT {_SPAN} AS TimeGenerated, 'sales-api' AS AppRoleName, 1 AS ItemCount, 'HTTP' AS DependencyType,
  'model-' || i % 3 AS Target, {_CHANCE} >= CASE WHEN {_TROUBLE} THEN 0.3 ELSE 0.004 END AS Success,
  '200' AS ResultCode FROM range($rows) t(i)
"""
SHARES = {"AppTraces": (_TRACES, 0.5), "AppRequests": (_REQUESTS, 0.2), "AppDependencies": (_DEPENDENCIES, 0.3)}


def written(folder: Path, rows: int) -> int:
    """Write the export and return how many rows it has."""
    import duckdb

    database, total = duckdb.connect(), 0
    for salt, (table, (sql, share)) in enumerate(SHARES.items()):
        own = int(rows * share)
        text = sql.replace("$rows", str(own)).replace("$salt", str(salt))
        database.execute(f"COPY ({text}) TO '{folder / table}.parquet' (FORMAT parquet)")
        total += own
    return total


def rules() -> tuple[Rule, ...]:
    """Return thirty rules that look every minute: the shipped ones that logs answer, and stricter ones of the same."""
    known = signals.known()
    own = [each for each in shipped().values() if each.enabled and _of_logs(each, known)]
    found = [each.model_copy(update={"every": MINUTE, "targets": {}}) for each in own]
    simple = [each for each in found if each.when.limit]
    for number in range(RULES - len(found)):
        each = simple[number % len(simple)]
        op, limit = each.when.limit or (Op.ABOVE, 0.0)
        stricter = limit * (0.8 if op in (Op.ABOVE, Op.AT_LEAST) else 1.1)
        when = each.when.model_copy(update={op.value: stricter})
        found.append(each.model_copy(update={"id": f"{each.id}_{number}", "when": when}))
    return tuple(found[:RULES])


def _of_logs(rule: Rule, known: Any) -> bool:
    signal = known.get(rule.when.signal or "")
    return signal is not None and all(isinstance(source, Logs) for source in signal.sources)


def backtested(folder: Path, project: Project) -> tuple[float, Studies, Outcome]:
    """Return the seconds a whole backtest takes, what it read, and its outcome."""
    begun = time.perf_counter()
    history = FileHistory(EmbeddedTelemetry(recorded=Recording.of(folder).lay))
    studies = Studies(history, signals.known(), START, END)
    found = outcome(studies.study(studies.watched(project)), project)
    return time.perf_counter() - begun, studies, found


# ── The peer ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def same_work(found: Outcome) -> dict[str, Any]:
    """Return how long Tocsin's verdicts and states take over the threshold rules' series, and how long vmalert's."""
    plain = [own.course for own in found.rules if _plain(own.course)]
    alive = Alive.over([START + MINUTE * number for number in range(DAYS * 1440 + 1)])
    ready = [_alone(course) for course in plain]
    times = [_timed(ready, alive) for _ in range(RUNS)]
    courses = times[0][1]
    series = {f"s{number}": _points(each) for number, each in enumerate(courses)}
    peers = [ThresholdRule(f"r{number}", f"s{number}", float(each.rule.when.above or 0), each.rule.for_)
             for number, each in enumerate(courses)]  # fmt: skip
    try:
        peer = vmalert.replay(series, peers, courses[0].grid.slot(0), courses[0].grid.slot(courses[0].grid.count - 1))
    except vmalert.Absent as error:
        return {"vmalert_seconds_same_work": None, "ratio_to_vmalert": None, "why": str(error)}
    ours = statistics.median(seconds for seconds, _ in times)
    firing = sum(state == "firing" for states in peer.alerts.values() for _, state in states)
    agree = [_firing(each) == {slot for slot, state in peer.alerts.get(f"r{number}", []) if state == "firing"}
             for number, each in enumerate(courses)]  # fmt: skip
    return {
        "same_work_rules": len(courses),
        "same_work_seconds": round(ours, 3),
        "vmalert_seconds_same_work": round(peer.seconds, 3),
        "vmalert_cpu_seconds": round(peer.cpu_seconds, 3),
        "ratio_to_vmalert": round(peer.seconds / ours, 2),
        "firing_share": round(firing / (len(courses) * courses[0].grid.count), 4),
        "same_states": sum(agree),
    }


def _plain(course: Course) -> bool:
    when = course.rule.when
    return when.above is not None and not when.by and not course.rule.in_ and course.rule.resolve is None


def _alone(course: Course) -> Watched:
    """Return the rule as vmalert has it: at once over when it is clear."""
    rule = course.rule.model_copy(update={"keep_firing_for": timedelta()})
    return Watched(rule, course.target, course.signal, course.grid)


def _filled(course: Course) -> Recorded:
    """Return the series with a value in every slot: what is not known is a zero, for both."""
    count = course.grid.count
    value = np.zeros(count)
    for source in course.sources:
        for values in source.instances.values():
            enough = values.events[0] >= max(1, course.rule.when.minimum or 1)
            value = np.maximum(value, np.where(enough & np.isfinite(values.value[0]), values.value[0], 0.0))
    return Recorded(course.grid, {(): Values((value,), (np.full(count, 10**9),))})


def _timed(ready: Sequence[Watched], alive: Alive) -> tuple[float, list[Course]]:
    sources = _SOURCES
    begun = time.perf_counter()
    made = [replayed(each.rule, each.target, each.signal, each.grid, [source], alive)
            for each, source in zip(ready, sources, strict=True)]  # fmt: skip
    return time.perf_counter() - begun, made


_SOURCES: list[Recorded] = []


def _points(course: Course) -> list[tuple[datetime, float]]:
    values = next(iter(course.sources[0].instances.values())).value[0]
    return [(course.grid.slot(number), float(value)) for number, value in enumerate(values)]


def _firing(course: Course) -> set[datetime]:
    return {each.slot for alerts in course.open.values() for each in alerts if each.open and each.slot}


# ── The live engine over the same files ───────────────────────────────────────────────────────────────────────────────


class Changes(Heard):
    """Notes what became of alerts."""

    def __init__(self, names: set[str]) -> None:
        super().__init__()
        self.names, self.seen = names, set[tuple[Any, ...]]()

    def info(self, event: str, /, **fields: Any) -> None:
        if event == "alert" and fields["rule"] in self.names:
            self.seen.add((fields["rule"], fields["slot"], fields["change"], fields["state"]))


def agreed(folder: Path, project: Project, found: Outcome, hours: float) -> dict[str, Any]:
    """Return how many changes the live engine makes in a sample that begins calm, and how many differ."""
    begin = _calm(found)
    end = begin + timedelta(hours=hours)
    log = Changes({rule.id for rule in project.rules})
    telemetry = EmbeddedTelemetry(recorded=Recording.of(folder).lay)
    parts: dict[str, Any] = {"configuration": None, "notifiers": {}, "actuators": {}, "owner": "bench"}
    engine = Engine(project, signals.known(), SqliteStore(":memory:"), telemetry, log=log, **parts)
    for minute in range(int((end - begin) / MINUTE)):
        engine.tick(begin + (minute + 1) * MINUTE)
    replay = {
        (step.alert.rule, step.alert.slot, step.change.value, step.alert.state.value)
        for own in found.rules
        for step in own.course.changes
        if step.alert.slot and begin < step.alert.slot <= end
    }
    return {"sample_hours": hours, "sample_changes": len(log.seen), "sample_differences": len(log.seen ^ replay)}


def _calm(found: Outcome) -> datetime:
    """Return a minute in which nothing is open or pending, ten minutes before an incident of the third week."""
    steps = sorted(
        ((step.alert.slot, own.rule.id, step.alert.by, step.alert.state) for own in found.rules
         for step in own.course.changes if step.alert.slot), key=lambda each: each[0])  # fmt: skip
    busy: dict[tuple[Any, ...], State] = {}
    last: datetime | None = START + timedelta(hours=1)
    for slot, rule, by, state in steps:
        if last is not None and not busy and slot > START + timedelta(days=15) and slot - last > 20 * MINUTE:
            return slot - 10 * MINUTE
        busy = {key: each for key, each in {**busy, (rule, by): state}.items() if each is not State.INACTIVE}
        last = None if busy else slot
    return START + timedelta(hours=1)


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    hours = float(sys.argv[2]) if len(sys.argv) > 2 else SAMPLE_HOURS
    project = Project(rules=rules(), config=CONFIG)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begun = time.perf_counter()
        count = written(folder, rows)
        print(f"{count:,} rows written in {time.perf_counter() - begun:.1f} s")
        runs = []
        for _ in range(RUNS):
            seconds, studies, found = backtested(folder, project)
            runs.append(seconds)
            print(f"backtest of {len(project.rules)} rules over {DAYS} days: {seconds:.2f} s, "
                  f"{len(found.episodes)} episodes, {len(found.pages)} messages")  # fmt: skip
            del studies
        _SOURCES[:] = [_filled(own.course) for own in found.rules if _plain(own.course)]
        peer = same_work(found)
        print(f"same work beside vmalert: {peer}")
        sample = agreed(folder, project, replace(found), hours)
        print(f"live engine over {hours:g} h: {sample}")
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps({"rules": len(project.rules), "days": DAYS, "rows": count,
                      "seconds": round(statistics.median(runs), 2), **peer, **sample, "machine": machine}))  # fmt: skip


if __name__ == "__main__":
    main()
