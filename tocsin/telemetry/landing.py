"""How rows lie in DuckDB: a landing table for each known one, and the view through which questions see it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from tocsin.core.schema import TABLES

INGESTED = "_IngestedAt"
"""The column that says when a row arrived; the service has a function instead, ``ingestion_time()``."""

EVER = datetime(9999, 12, 31, tzinfo=UTC)
"""Later than every row."""

SQL_TYPES = {
    "datetime": "TIMESTAMP",
    "string": "VARCHAR",
    "dynamic": "JSON",
    "int": "INTEGER",
    "long": "BIGINT",
    "real": "DOUBLE",
    "bool": "BOOLEAN",
}
_KQL_TYPES = {sql: kql for kql, sql in SQL_TYPES.items()} | {
    "HUGEINT": "long",
    "UBIGINT": "long",
    "FLOAT": "real",
    "INTERVAL": "timespan",
    "UUID": "guid",
    '"NULL"': "dynamic",
}


def prepare(database: Any, given: Collection[str] = ()) -> None:
    """Make every known table but those that are ``given``, and the view of its name through which questions see it.

    The views read three variables of the asking session: ``asked_from`` and ``asked_to`` bound what was emitted,
    ``asked_at`` what has been ingested by then.
    """
    database.execute("CREATE SCHEMA IF NOT EXISTS landed")
    for table in TABLES:
        lines = ", ".join(f'"{name}" {SQL_TYPES[kind]}' for name, kind in columns(table).items())
        if table not in given:
            database.execute(f'CREATE TABLE IF NOT EXISTS landed."{table}" ({lines})')
        database.execute(
            f'CREATE OR REPLACE VIEW "{table}" AS SELECT * FROM landed."{table}" '
            "WHERE \"TimeGenerated\" >= getvariable('asked_from')::TIMESTAMP "
            "AND \"TimeGenerated\" < getvariable('asked_to')::TIMESTAMP "
            f"AND \"{INGESTED}\" <= getvariable('asked_at')::TIMESTAMP"
        )


Row = list[Any]


def ready(table: str, rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return the rows as the table keeps them. Raises ValueError for rows that do not fit."""
    types = columns(table)
    return [_row(table, types, each) for each in rows]


def insert(session: Any, table: str, rows: list[Row]) -> None:
    """Append rows that are ``ready``, in one statement."""
    # One list a column: tens of times faster than one statement a row.
    unnested = ", ".join(f"unnest(?::{SQL_TYPES[kind]}[])" for kind in columns(table).values())
    by_column = [list(each) for each in zip(*rows, strict=True)]
    session.execute(f'INSERT INTO landed."{table}" SELECT {unnested}', by_column)


def empty(session: Any) -> None:
    """Remove every row of every table."""
    session.execute(";".join(f'DELETE FROM landed."{table}"' for table in TABLES))


def columns(table: str) -> dict[str, str]:
    """Return the table's columns with their KQL types. Raises ValueError for a table there is not."""
    if table not in TABLES:
        raise ValueError(f"no table {table!r}; there are {', '.join(TABLES)}")
    return {**TABLES[table], INGESTED: "datetime"}


def kql_type(sql: str) -> str:
    """Return the KQL type of a result column, by its DuckDB type."""
    if sql.startswith("DECIMAL"):
        return "decimal"
    return "dynamic" if sql.endswith("]") else _KQL_TYPES.get(sql, "string")


def _row(table: str, types: Mapping[str, str], given: Mapping[str, Any]) -> Row:
    if unknown := given.keys() - types.keys():
        raise ValueError(f"{table} has no column {', '.join(sorted(unknown))}")
    if "TimeGenerated" not in given:
        raise ValueError(f"a row of {table} needs TimeGenerated")
    whole = {"ItemCount": 1, INGESTED: given["TimeGenerated"], **given}
    return [_stored(kind, whole.get(name)) for name, kind in types.items()]


def _stored(kind: str, value: Any) -> Any:
    if kind == "datetime":
        return naive(value)
    if kind == "dynamic":
        return None if value is None else json.dumps(value, ensure_ascii=False)
    return "" if value is None and kind == "string" else value


def naive(moment: datetime) -> datetime:
    """Return the moment as the database keeps it: in UTC, without a zone. Raises ValueError when it has none."""
    if moment.tzinfo is None:
        raise ValueError("a datetime without a zone has no place in telemetry")
    return moment.astimezone(UTC).replace(tzinfo=None)


def recorded(record: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    """Return the row of ``AppTraces`` that an Application Insights message record becomes when emitted ``at``."""
    return {
        "TimeGenerated": at,
        "AppRoleName": record["tags"]["ai.cloud.role"],
        "Message": record["message"],
        "SeverityLevel": record["severityLevel"],
        "Properties": record["properties"],
    }
