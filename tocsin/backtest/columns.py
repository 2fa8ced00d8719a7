"""How the columns of an exported file become those of a table: by the workspace's names, or by the classic ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from tocsin.core.schema import CLASSIC, CLASSIC_COLUMNS, TABLES
from tocsin.telemetry import landing

TIMES = ("TimeGenerated", "timestamp", "time")
"""What says when a row was emitted: the workspace's name, the classic one, that of a diagnostic setting."""

KINDS = ("Type", "itemType", "category", "TableName", "SourceTable", "$table")
"""What says which table a row belongs to."""

_SPELLINGS = ["%m/%d/%Y, %I:%M:%S.%g %p", "%m/%d/%Y, %H:%M:%S.%g", "%d/%m/%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f"]
"""How the portal writes times, besides ISO 8601."""

_SINGULAR = {
    "trace": "AppTraces",
    "request": "AppRequests",
    "dependency": "AppDependencies",
    "exception": "AppExceptions",
    "customMetric": "AppMetrics",
}
"""The classic ``itemType`` → table."""

_OTHER = {"resourceId": "_ResourceId"}
"""What a diagnostic setting calls a column → the column."""

NAMES: Mapping[str, str] = {
    name.lower(): table for name, table in [*((table, table) for table in TABLES), *CLASSIC.items(), *_SINGULAR.items()]
}
"""Every word that names a table, in small letters → the table."""

Columns = Mapping[str, tuple[str, str]]
"""The columns of a file that are read, each by the name it should have → its expression and its type."""


def wanted(table: str) -> list[str]:
    """Return every name that a column of the table may have in a file."""
    return list(dict.fromkeys([*landing.columns(table), *CLASSIC_COLUMNS[table], *_OTHER, *TIMES, *KINDS]))


def proper(table: str, names: Iterable[str]) -> dict[str, str]:
    """Return the names that are columns of the table, however they are spelled: as they are → as they should be.

    ``type`` is what a classic file calls the type of an exception or a dependency, and elsewhere the table's name. The
    portal writes "TimeGenerated [UTC]".
    """
    short = {name: re.split(r"\s*\[", name)[0].strip() for name in names}
    classic = "timestamp" in {each.lower() for each in short.values()}
    known = {each.lower(): each for each in reversed(wanted(table)) if each != "type"}
    known |= {"type": "type"} if classic and "type" in wanted(table) else {}
    return {name: known[each.lower()] for name, each in short.items() if each.lower() in known}


def columns(table: str, described: Iterable[tuple[str, ...]]) -> Columns:
    """Return the columns of what DuckDB has described."""
    kinds = {name: kind for name, kind, *_ in described}
    return {each: ('"' + name.replace('"', '""') + '"', kinds[name]) for name, each in proper(table, kinds).items()}


def likely(names: Iterable[str]) -> str | None:
    """Return the only table that has a column which no other has, among these names; None where there is not one."""
    given = {re.split(r"\s*\[", name)[0].strip().lower() for name in names}
    own = {table: {each.lower() for each in (*TABLES[table], *CLASSIC_COLUMNS[table])} for table in TABLES}
    found = [
        table
        for table, has in own.items()
        if (has - set().union(*(others for other, others in own.items() if other != table))) & given
    ]
    return found[0] if len(found) == 1 else None


def moment(there: Columns) -> str | None:
    """Return the expression of when a row was emitted; None where no column says."""
    times = [_moment(*there[name]) for name in TIMES if name in there]
    return f"coalesce({', '.join(times)})" if times else None


def moment_text(there: Columns) -> str:
    """Return the expression of what stands where a row says when it was emitted."""
    return f"coalesce({', '.join(_text(*there[name]) for name in TIMES if name in there)})"


def kind(there: Columns) -> str | None:
    """Return the expression of the name of a row's table, in small letters; None where no column says."""
    names = ", ".join(f"'{name}'" for name in NAMES)
    known = [f"lower({_text(*there[each])})" for each in KINDS if each in there]
    parts = [f"CASE WHEN {each} IN ({names}) THEN {each} END" for each in known]
    return f"coalesce({', '.join(parts)}, '')" if parts else None


def selected(table: str, there: Columns) -> str:
    """Return the list of expressions that make a row of the table, each under its column's name."""
    return ", ".join(f'{_column(table, name, of, there)} AS "{name}"' for name, of in landing.columns(table).items())


def _column(table: str, name: str, of: str, there: Columns) -> str:
    if name == "TimeGenerated":
        return str(moment(there))
    classic = [old for old, new in {**_OTHER, **CLASSIC_COLUMNS[table]}.items() if new == name]
    found = [there[each] for each in (name, *reversed(classic)) if each in there]
    if name == landing.INGESTED:
        return f"coalesce({', '.join([*(_moment(*each) for each in found), str(moment(there))])})"
    if not found:
        given = {"ItemCount": "1"}.get(name, "''" if of == "string" else "NULL")
        return f"CAST({given} AS {landing.SQL_TYPES[of]})"
    if of == "string":
        return f"coalesce({', '.join(_text(*each) for each in found)}, '')"
    parts = ", ".join(_typed(of, *each) for each in found)
    return f"greatest(coalesce({parts}, 1), 1)" if name == "ItemCount" else f"coalesce({parts})"


def _typed(of: str, column: str, given: str) -> str:
    if of == "datetime":
        return _moment(column, given)
    if of == "dynamic":
        return _dynamic(column, given)
    return f"TRY_CAST({_text(column, given)} AS {landing.SQL_TYPES[of]})"


def _dynamic(column: str, given: str) -> str:
    # A text that was cut off on its way is a row without properties, and no end of the replay.
    if given == "VARCHAR":
        return f"TRY_CAST({column} AS JSON)"
    if given != "JSON":
        return f"to_json({column})"
    inner = f"TRY_CAST({column}->>'$' AS JSON)"
    return f"CASE json_type({column}) WHEN 'VARCHAR' THEN {inner} WHEN 'NULL' THEN NULL ELSE {column} END"


def _text(column: str, given: str) -> str:
    return f"({column}->>'$')" if given == "JSON" else f"CAST({column} AS VARCHAR)"


def _moment(column: str, given: str) -> str:
    if given.startswith("TIMESTAMP WITH"):
        return f"({column} AT TIME ZONE 'UTC')"
    if given not in ("VARCHAR", "JSON"):
        return f"CAST({column} AS TIMESTAMP)"
    text = _text(column, given)
    return f"coalesce(TRY_CAST({text} AS TIMESTAMPTZ) AT TIME ZONE 'UTC', try_strptime({text}, {_SPELLINGS!r}))"
