"""What telemetry calls itself beside what the target says, with the line for ``tocsin.yaml`` where the two differ."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from tocsin.core.answer import Rows
from tocsin.core.config import Target
from tocsin.core.text import scrub
from tocsin.diagnosing.finding import Finding, State, bad
from tocsin.diagnosing.wiring import of_target

LATELY = timedelta(days=1)
"""An app that wrote its last row so long before the newest one goes by another name now."""

_MOST = 5


def trouble(target: Target, about: str, answer: Rows) -> Finding | None:
    """Return why the target's rows are not found, or why others are taken for them; None where neither is so.

    ``answer`` is what ``wiring.table_query`` found in the table that every app writes.
    """
    rows = [row for row in answer.dicts() if row["events"]]
    own = of_target(target, answer)
    if not rows:
        return bad("tables", about, State.ERROR, "table-missing", "it holds no row at all of the last 30 days")
    return _shared(target, about, own) if own else _unfound(target, about, rows)


def _shared(target: Target, about: str, own: Sequence[Mapping[str, Any]]) -> Finding | None:
    lately = [row for row in own if own[0]["newest"] - row["newest"] <= LATELY]
    roles, components = _roles(lately), _components(lately)
    if not target.role_name and len(roles) > 1:
        seen, line = f"several apps write to {_last(components[0])}: {_listed(roles)}", _lines("role_name", roles)
    elif not target.application_insights and len(components) > 1:
        seen = f"several components hold rows of {_listed(roles)}: {_listed(map(_last, components))}"
        line = _lines("application_insights", components)
    else:
        return None
    words = f"{seen}; all of their rows count as {target.name}'s"
    return bad("tables", about, State.ERROR, "shared-telemetry", words, line)


def _unfound(target: Target, about: str, rows: Sequence[Mapping[str, Any]]) -> Finding:
    wanted = target.application_insights.lower()
    inside = [row for row in rows if row["resource"] == wanted]
    if target.role_name and (inside or not wanted):
        roles = _roles(inside or rows)
        seen = f"no row of {target.role_name} in 30 days; its rows are of {_listed(roles)}"
        return bad("tables", about, State.ERROR, "role-name", seen, _lines("role_name", roles))
    components = _components(rows)
    there = [f"{_last(each)} ({_listed(_roles(_in(rows, each)))})" for each in components]
    seen = f"no row of {_last(wanted) or target.name} in 30 days; its rows are of {_listed(there)}"
    return bad("tables", about, State.ERROR, "component-name", seen, _lines("application_insights", components))


def calls_itself(own: Sequence[Mapping[str, Any]]) -> str:
    """Return the names that the target's rows carry, in words."""
    return f"its telemetry calls itself {_listed(_roles(own))}"


def _in(rows: Iterable[Mapping[str, Any]], component: str) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["resource"] == component]


def _roles(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(str(row["role"]) for row in rows))


def _components(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(str(row["resource"]) for row in rows))


def _last(component: str) -> str:
    """Return the name of a component; its whole id is long."""
    return component.rpartition("/")[2]


def _listed(names: Iterable[str]) -> str:
    shown = [scrub(each, 100) or "no name" for each in names]
    more = [f"{len(shown) - _MOST} more"] if len(shown) > _MOST else []
    return ", ".join([*shown[:_MOST], *more])


def _lines(key: str, values: Iterable[str]) -> str:
    """Return what to write into the target; a value is quoted as JSON is, which YAML reads alike."""
    lines = [f"`{key}: {json.dumps(each)}`" for each in values if each][:_MOST]
    if not lines:
        return ""
    return f"Add to the target in tocsin.yaml {'one of ' if lines[1:] else ''}{' or '.join(lines)}."
