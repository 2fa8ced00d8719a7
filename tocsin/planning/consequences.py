"""What follows from a change: queries that read otherwise, and alerts that other people are told of."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from tocsin.core.labels import alert_labels
from tocsin.core.notice import query_behind
from tocsin.core.read import Project
from tocsin.core.route import Node, ends
from tocsin.core.schedule import selects
from tocsin.core.signal import Signal
from tocsin.engine.standing import audience

_AT = datetime(2026, 1, 1, tzinfo=UTC)
"""Any moment: both queries are of the same window."""


@dataclass(frozen=True, slots=True)
class Query:
    """The query of one rule before and after, as a unified diff."""

    rule: str
    target: str
    diff: str


@dataclass(frozen=True, slots=True)
class Told:
    """Who is told of one rule on one target before and after; empty where the rule does not watch it."""

    rule: str
    target: str
    severity: str
    before: tuple[str, ...]
    after: tuple[str, ...]


def queries(before: Project, after: Project, signals: Mapping[str, Signal]) -> list[Query]:
    """Return each query that differs, on the first target it is asked of: targets differ by their names alone."""
    found = []
    for rule in sorted({each.id for each in (*before.rules, *after.rules)}):
        old, new = _query(before, rule, signals), _query(after, rule, signals)
        if old[1] != new[1]:
            lines = difflib.unified_diff(old[1].splitlines(), new[1].splitlines(), "before", "after", lineterm="")
            found.append(Query(rule, new[0] or old[0], "\n".join(lines)))
    return found


def _query(project: Project, name: str, signals: Mapping[str, Signal]) -> tuple[str, str]:
    rule = next((each for each in project.rules if each.id == name and each.enabled), None)
    target = next((each for each in project.config.targets if rule and selects(rule, each)), None)
    if rule is None or target is None:
        return "", ""
    query = query_behind(rule, signals.get(rule.when.signal or ""), target, _AT)
    return target.name, query.text if query else ""


def routing(before: Project, after: Project) -> list[Told]:
    """Return each rule and target of which other receivers are told, or that is watched on one side alone."""
    old, new = _receivers(before), _receivers(after)
    severities = {each.id: each.severity.value for each in (*before.rules, *after.rules)}
    return [
        Told(rule, target, severities[rule], old.get((rule, target), ()), new.get((rule, target), ()))
        for rule, target in sorted({*old, *new})
        if old.get((rule, target)) != new.get((rule, target))
    ]


def _receivers(project: Project) -> dict[tuple[str, str], tuple[str, ...]]:
    tree = audience(project.config).tree
    return {
        (rule.id, target.name): _told(ends(tree, alert_labels(rule, target)))
        for rule in project.rules
        for target in project.config.targets
        if rule.enabled and selects(rule, target)
    }


def _told(nodes: Iterable[Node]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(to for node in nodes for to in node.to))
