"""From what a case says to rows of the workspace: columns as they are typed, the accelerator's fields as properties."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tocsin.core import units
from tocsin.core.config import Target
from tocsin.core.schema import TABLES
from tocsin.scenarios.format import Inject, Row

FIELDS = (
    "ok", "value", "unit", "error", "external_system", "logger_name", "request_id", "session_id", "trace_id",
)  # fmt: skip
"""Fields of the accelerator's events that need no ``properties``; ``args_redacted.…`` is one, too."""

ARGUMENTS = "args_redacted."

MOST = 500_000
"""How many rows a case may have."""

_FIXED = frozenset({"TimeGenerated", "AppRoleName", "Properties", "_ResourceId"})
"""Columns that no author writes: they follow from the case."""


def columns(table: str) -> tuple[str, ...]:
    """Return what an author may write in a row of ``table``; of one that there is not, nothing."""
    return tuple(name for name in TABLES.get(table, {}) if name not in _FIXED)


def fits(table: str, name: str, text: str) -> str:
    """Return what is expected of a column instead of ``text``, or an empty text where it fits."""
    kind = TABLES.get(table, {}).get(name, "string")
    if kind == "bool" and text not in ("true", "false"):
        return "true or false"
    if kind in ("int", "long", "real"):
        try:
            units.number(text)
        except ValueError:
            return "a number"
    return ""


def rows_of(
    rows: Iterable[Row], begins: datetime, target: Target, late: Sequence[Inject]
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield each table with the target's rows, as telemetry takes them; those of a ``late`` stretch arrive later."""
    by_table: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        fixed = _row(row, target)
        found = by_table.setdefault(row.table, [])
        found += [_at(fixed, moment, begins, late) for moment in row.moments()]
    yield from by_table.items()


def _at(fixed: Mapping[str, Any], moment: timedelta, begins: datetime, late: Sequence[Inject]) -> dict[str, Any]:
    behind = max((each.answer.by for each in late if each.covers(moment)), default=timedelta())
    at = begins + moment
    return {**fixed, "TimeGenerated": at, "_IngestedAt": at + behind}


def _row(row: Row, target: Target) -> dict[str, Any]:
    own = TABLES[row.table]
    given = {name: _typed(own[name], text) for name, text in row.columns.items() if name in own}
    properties = {name: text for name, text in row.columns.items() if name not in own} | row.properties
    if row.event:
        properties = {"event_name": row.event, **properties}
        given = {"Message": row.event, **given} if "Message" in own else given
    found_by = {"AppRoleName": target.role_name, "_ResourceId": target.application_insights.lower()}
    return {**found_by, **given, "Properties": properties}


def _typed(kind: str, text: str) -> Any:
    if kind == "bool":
        return text == "true"
    if kind in ("int", "long"):
        return int(units.number(text))
    return units.number(text) if kind == "real" else text
