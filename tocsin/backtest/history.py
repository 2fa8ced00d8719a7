"""The history in exported files, read once a table and asked in bins."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from tocsin.backtest.aggregates import Ranked, Sum
from tocsin.backtest.grid import Grid
from tocsin.backtest.measures import Measure, NotAnswered, numbers, text, told_apart
from tocsin.backtest.series import Array, Bins
from tocsin.core.alert import Instance
from tocsin.core.compile import ARRIVED, FRESHNESS_TABLES, Part, stretch
from tocsin.core.config import Target
from tocsin.core.fuse import columns_of, expressions, properties, through
from tocsin.core.schema import TABLES
from tocsin.ports import Telemetry
from tocsin.telemetry import landing
from tocsin.telemetry.embedded import EmbeddedTelemetry


@dataclass(frozen=True, slots=True)
class _Table:
    """The rows of one table that some measures of a target read, with each property read once.

    ``few`` holds the same rows added up by minute and by everything that has few values; None where that helps little.
    """

    name: str
    columns: tuple[str, ...]
    hoisted: Mapping[str, str]
    few: str | None = None
    few_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class App:
    """Who emitted rows of a recording. Some recordings do not say of which component: it is empty then."""

    component: str
    role: str

    @property
    def said(self) -> str:
        """Who it is, in words."""
        role = self.role or "no name"
        return f"{role} of {self.component.rpartition('/')[2]}" if self.component else role


_MANY_ROWS = 100_000
_FEW = 40
"""A column with at most this many values is one that rows are added up by."""
_LINEAR = re.compile(r"sum\(ItemCount\)|sumif\(ItemCount,.*\)|sum\(.*\* ItemCount\)", re.DOTALL)


class FileHistory:
    """The history in exported files: see ``recording``. Not for several threads at once."""

    def __init__(self, telemetry: EmbeddedTelemetry) -> None:
        self._telemetry = telemetry
        self._scope = telemetry.session()
        self._session = self._scope.__enter__()
        self._session.execute("SET preserve_insertion_order = false")
        self._tables: dict[tuple[str, ...], _Table] = {}
        self._numbers = count()

    @property
    def telemetry(self) -> Telemetry:
        """The same rows, for whole queries."""
        return self._telemetry

    def close(self) -> None:
        """Let go of what was read."""
        self._scope.__exit__(None, None, None)
        self._telemetry.close()

    def span(self) -> tuple[datetime, datetime] | None:
        """Return when the first and the last row were emitted, of any table; None when there is no row."""
        parts = " UNION ALL ".join(f'SELECT min("TimeGenerated") a, max("TimeGenerated") b FROM landed."{t}"'
                                   for t in TABLES)  # fmt: skip
        first, last = self._session.execute(f"SELECT min(a), max(b) FROM ({parts})").fetchone()
        return None if first is None else (first.replace(tzinfo=UTC), last.replace(tzinfo=UTC))

    def apps(self) -> list[App]:
        """Return the apps that emitted something."""
        named = 'lower("_ResourceId") c, "AppRoleName" r'
        parts = " UNION ".join(f'SELECT DISTINCT {named} FROM landed."{t}"' for t in FRESHNESS_TABLES)
        return [App(*row) for row in self._session.execute(f"{parts} ORDER BY r, c").fetchall()]

    def minutes(self, target: Target, start: datetime, end: datetime) -> list[datetime]:
        """Return the minutes of ``[start, end)`` in which the target emitted anything, in order."""
        parts = " UNION ".join(
            f'SELECT DISTINCT epoch_us("TimeGenerated") // 60000000 AS m FROM landed."{table}" '
            f'WHERE {_own(target)} AND "TimeGenerated" >= $start AND "TimeGenerated" < $end'
            for table in FRESHNESS_TABLES
        )
        found = self._session.execute(f"{parts} ORDER BY m", _bound(target, start, end)).fetchnumpy()["m"]
        return [datetime.fromtimestamp(int(minute) * 60, UTC) for minute in found]

    def takes(self, measure: Measure) -> bool:  # noqa: ARG002
        """Return that every measure that can be taken apart can be asked in bins."""
        return True

    def expect(self, target: Target, measures: Sequence[Measure], start: datetime, end: datetime) -> None:
        """Read the rows that the measures need out of the files, once a table."""
        by_table: dict[str, list[Measure]] = {}
        for each in measures:
            by_table.setdefault(each.part.table, []).append(each)
        for table, own in by_table.items():
            key = _key_of(target, table)
            if key in self._tables:
                self._drop(self._tables.pop(key))
            self._tables[key] = self._read(table, target, [each.part for each in own], start, end)

    def _drop(self, table: _Table) -> None:
        for name in filter(None, (table.name, table.few)):
            self._session.execute(f"DROP TABLE {name}")

    def _read(self, table: str, target: Target, parts: Sequence[Part], start: datetime, end: datetime) -> _Table:
        hoisted = properties(parts)
        keys = {name: key for expression, name in hoisted.items() if (key := _key(expression))}
        read = " ".join(through(text_, hoisted) for part in parts for text_ in expressions(part))
        own = [*columns_of(parts, hoisted), *(["TimeGenerated"] if "TimeGenerated" in read else [])]
        paths = ", ".join(_text(f'$."{key}"') for key in keys.values())
        named = [f"coalesce(_p[{at}], '') AS {name}" for at, name in enumerate(keys, 1)]
        named += [f'"{landing.INGESTED}" AS {name}' for text_, name in hoisted.items() if text_ == ARRIVED]
        figures = [f"{name}n" for name in hoisted.values() if f"todouble({name})" in read]
        named += [f"TRY_CAST({name[:-1]} AS DOUBLE) AS {name}" for name in figures]
        moments = ['epoch_us("TimeGenerated") AS _us']
        taken = f', json_extract_string("Properties", [{paths}]) AS _p' if keys else ""
        first, last = start, end
        if any(part.arrivals for part in parts):
            moments.append(f'epoch_us("{landing.INGESTED}") AS _ius')
            first, last = stretch(Part((), arrivals=True), start, end)
        name = f"_h{next(self._numbers)}"
        self._session.execute(
            f"CREATE TEMP TABLE {name} AS SELECT {', '.join([*moments, *(_quoted(c) for c in own), *named])} FROM "
            f'(SELECT *{taken} FROM landed."{table}" WHERE {_own(target)} AND "TimeGenerated" >= $start AND '
            '"TimeGenerated" < $end)',
            _bound(target, first, last),
        )
        made = _Table(name, (*own, *hoisted.values(), *figures), hoisted)
        return self._added_up(made)

    def _added_up(self, table: _Table) -> _Table:
        """Return the table with its rows added up by what has few values, where there are many rows."""
        rows = self._session.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0]
        others = [c for c in table.columns if c not in ("TimeGenerated", "ItemCount")]
        if rows < _MANY_ROWS or "ItemCount" not in table.columns or not others:
            return table
        counted = ", ".join(f"count(DISTINCT {_quoted(each)})" for each in others)
        sample = f"SELECT {counted} FROM (SELECT * FROM {table.name} LIMIT {_MANY_ROWS})"
        found = self._session.execute(sample).fetchone()
        few = [each for each, values in zip(others, found, strict=True) if values <= _FEW]
        named = ", ".join(_quoted(each) for each in few)
        self._session.execute(
            f'CREATE TEMP TABLE {table.name}f AS SELECT _us // 60000000 * 60000000 AS _us, sum("ItemCount")::BIGINT '
            f'AS "ItemCount"{", " + named if named else ""} FROM {table.name} GROUP BY ALL'
        )
        return replace(table, few=f"{table.name}f", few_columns=("ItemCount", *few))

    def bins(self, target: Target, measure: Measure, grid: Grid) -> dict[Instance, Bins]:
        """Return each instance's bins. Raises NotAnswered when the engine cannot run the measure."""
        table = self._tables[_key_of(target, measure.part.table)]
        name, columns = self._source(table, measure, grid)
        width, moment = grid.width // timedelta(microseconds=1), "_ius" if measure.part.arrivals else "_us"
        begin = int(grid.origin.timestamp()) * 1_000_000
        self._session.execute(
            f"CREATE OR REPLACE TEMP VIEW _rows AS SELECT *, ({moment} - {begin}) // {width} AS _bin FROM {name} "
            f"WHERE {moment} >= {begin} AND {moment} < {begin + width * grid.bins}"
        )
        schema = {"_rows": [*columns, "_bin"]}
        found = self._fetched(text(measure, table.hoisted, "_rows", "_bin"), schema)
        ranked = isinstance(measure.value, Ranked)
        singles = self._fetched(numbers(measure, table.hoisted, "_rows", "_bin"), schema) if ranked else {}
        return told_apart(measure, found, singles)

    def _source(self, table: _Table, measure: Measure, grid: Grid) -> tuple[str, Sequence[str]]:
        """Return where to read: of rows that were added up by the minute, if the measure can be made of them."""
        words = set(re.findall(r"\w+", " ".join(through(each, table.hoisted) for each in expressions(measure.part))))
        whole = not grid.origin.second and not grid.width % timedelta(minutes=1)
        linear = isinstance(measure.value, Sum) and all(_LINEAR.fullmatch(each.text) for each in measure.partials)
        needed = words & set(table.columns)
        if table.few and whole and linear and needed <= set(table.few_columns) and not measure.part.arrivals:
            return table.few, table.few_columns
        return table.name, table.columns

    def _fetched(self, question: str, schema: Mapping[str, list[str]]) -> dict[str, Array]:
        import duckdb
        import duckdb_kql

        # A number that is read out of a text is read once for all: see ``_read``.
        question = re.sub(r"todouble\((_x\d+)\)", r"\1n", question)
        try:
            sql = str(duckdb_kql.to_sql(question, schema=dict(schema), allow_write=False, query_now=landing.EVER))
            kinds = self._session.execute(f"DESCRIBE {sql}").fetchall()
            cast = ", ".join(_cast(name, kind) for name, kind, *_ in kinds)
            found: dict[str, Array] = self._session.execute(f"SELECT {cast} FROM ({sql})").fetchnumpy()
        except (duckdb.Error, duckdb_kql.KqlError) as error:
            raise NotAnswered(str(error).splitlines()[0]) from error
        return found


def _cast(name: str, kind: str) -> str:
    wanted = {"HUGEINT": "BIGINT", "INTEGER": "BIGINT", "VARCHAR": "VARCHAR", "BIGINT": "BIGINT"}.get(kind, "DOUBLE")
    return f"CAST({_quoted(name)} AS {wanted}) AS {_quoted(name)}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _key(expression: str) -> str:
    """Return the property that ``tostring(Properties.key)`` reads; empty for what is no property."""
    found = re.fullmatch(r"tostring\(Properties(?:\.(\w+)|\['([^']*)'\])\)", expression)
    return (found[1] or found[2]) if found else ""


def _key_of(target: Target, table: str) -> tuple[str, ...]:
    return target.name, target.application_insights, target.role_name, table


def _own(target: Target) -> str:
    """Return what ``core.compile.own`` says, as SQL over rows as they were exported."""
    resource = ['lower("_ResourceId") = $component'] if target.application_insights else []
    role = ['"AppRoleName" = $role'] if target.role_name else []
    return " AND ".join([*resource, *role]) or "false"


def _bound(target: Target, start: datetime, end: datetime) -> dict[str, Any]:
    found_by = {"component": target.application_insights.lower(), "role": target.role_name}
    own = {name: value for name, value in found_by.items() if value}
    return {**own, "start": landing.naive(start), "end": landing.naive(end)}
