"""Days of made-up telemetry with incidents, as rows and as exported files, for tests of replaying."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tocsin.core.config import Target
from tocsin.telemetry.embedded import EmbeddedTelemetry

T0 = datetime(2026, 11, 2, tzinfo=UTC)
TARGET = Target(name="sales", workspace="w", role_name="sales-api", offset=timedelta(), labels={"env": "prod"})
MINUTE = timedelta(minutes=1)

Row = tuple[str, dict[str, Any]]


def rows(seed: int, length: timedelta, start: datetime = T0, every: float = 9.0) -> Iterator[Row]:
    """Yield tables and rows: a quiet first half hour, then incidents of errors, slowness, cost and silence."""
    chance = random.Random(seed)
    trouble = {
        name: [
            (begin := timedelta(minutes=chance.uniform(30, length / MINUTE)),
             begin + timedelta(minutes=chance.expovariate(1 / 25)), chance.uniform(0.01, 1))
            for _ in range(max(3, int(length / timedelta(hours=1.5))))
        ]
        for name in ("errors", "slow", "cost", "silent", "tools", "hitl", "quiet")
    }  # fmt: skip
    at = timedelta()
    while at < length:
        share = {name: max((s for a, b, s in spans if a <= at < b), default=0.0) for name, spans in trouble.items()}
        at += timedelta(seconds=chance.expovariate(1 / (every * (12 if share["quiet"] else 1))))
        if not share["silent"]:
            yield from _moment(chance, start + at, share)


def _moment(chance: random.Random, at: datetime, share: dict[str, float]) -> Iterator[Row]:
    def trace(event: str, **properties: str) -> Row:
        fixed = {"TimeGenerated": at, "AppRoleName": TARGET.role_name, "ItemCount": chance.choice((1, 1, 1, 3))}
        return "AppTraces", {**fixed, "Message": event, "Properties": {"event_name": event, **properties}}

    agent = chance.choice(("planner", "retriever", "write'r", ""))
    failed = chance.random() < share["errors"]
    slow = 1 + 40 * share["slow"] * chance.random()
    yield trace("request.received")
    if chance.random() > share["errors"] / 3:
        ms = f"{chance.lognormvariate(6.5, 0.6) * slow:.3f}"
        yield trace("response.returned", ok="false" if failed else "true", value=ms, unit="ms")
    yield trace("worker.completed", ok="true" if chance.random() > share["errors"] else "false", external_system=agent)
    usd = f"{chance.lognormvariate(-6, 0.5) * (1 + 30 * share['cost']):.8f}"
    yield trace("cost.call", value=usd, **{"args_redacted.agent": agent, "args_redacted.model": "gpt-4o"})
    if chance.random() < 0.4:
        yield trace("tool.failed" if chance.random() < share["tools"] else "tool.executed", external_system="crm")
    if share["hitl"] and chance.random() < 0.1:
        yield trace(chance.choice(("tool.hitl_rejected", "tool.hitl_misconfigured")), external_system="crm")
    fixed = {"TimeGenerated": at, "AppRoleName": TARGET.role_name, "ItemCount": 1}
    code = "500" if failed else chance.choice(("200", "200", "404"))
    yield "AppRequests", {**fixed, "Name": "POST /chat", "Success": code == "200", "ResultCode": code}
    ok = chance.random() >= share["errors"]
    yield (
        "AppDependencies",
        {**fixed, "DependencyType": "HTTP", "Target": "m", "Success": ok, "ResultCode": "200" if ok else "0"},
    )


def loaded(made: Iterator[Row]) -> EmbeddedTelemetry:
    """Return a workspace that holds the rows."""
    telemetry, by_table = EmbeddedTelemetry(), dict[str, list[dict[str, Any]]]()
    for table, row in made:
        by_table.setdefault(table, []).append(row)
    for table, own in by_table.items():
        telemetry.load(table, own)
    return telemetry


def exported(telemetry: EmbeddedTelemetry, folder: Path, kind: str = "parquet") -> Path:
    """Write every table that holds rows into a folder, as an export would, and return the folder."""
    import duckdb

    folder.mkdir(exist_ok=True)
    plain = duckdb.connect()
    with telemetry.session() as session:
        for (table,) in session.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'landed'"
        ).fetchall():
            found = session.execute(f'SELECT * EXCLUDE "_IngestedAt" FROM landed."{table}"')
            names = [each[0] for each in found.description]
            own = found.fetchall()
            if own:
                _write(plain, folder / f"{table}.{kind}", names, own)
    return folder


def _write(plain: Any, path: Path, names: list[str], own: list[tuple[Any, ...]]) -> None:
    columns = [list(column) for column in zip(*own, strict=True)]
    parts = ", ".join(f'unnest(?) AS "{name}"' for name in names)
    formats = {"parquet": "parquet", "csv": "csv, HEADER", "json": "json"}
    plain.execute(f"CREATE OR REPLACE TEMP TABLE t AS SELECT {parts}", columns)
    plain.execute(f"COPY t TO '{path}' (FORMAT {formats[path.suffix[1:]]})")
