"""The few log alerts of Azure that watch the watcher, over what it says of itself (docs/operations.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tocsin.core import kql
from tocsin.porting.to_azure import alert, iso

_WINDOW = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Own:
    """One of them: a count and its labels, and when it is bad."""

    name: str
    words: str
    severity: int
    metric: str
    labels: Mapping[str, tuple[str, ...]]
    operator: str = "GreaterThan"
    threshold: float = 0

    def query(self, role: str) -> str:
        """Return its query. A metric that stopped is no row, and one never sent no table: either way this says 0."""
        chosen = [f"tostring(Properties.{name}) in {kql.texts(values)}" for name, values in self.labels.items()]
        named = f"AppRoleName == {kql.text(role)} and Name == {kql.text(self.metric)}"
        counted = " | ".join(["AppMetrics", *(f"where {each}" for each in (named, *chosen)), "project Sum"])
        return f"union isfuzzy=true (print Sum = 0.0), ({counted})\n| summarize value = todouble(sum(Sum))"


OWN = (
    Own(
        "tocsin-no-heartbeat",
        "Tocsin has hardly ticked for 15 minutes: nobody watches. docs/operations.md#when-tocsin-itself-is-silent",
        0,
        "tocsin.ticks",
        {"cause": ("timer",), "outcome": ("done",)},
        "LessThan",
        3,
    ),
    Own(
        "tocsin-ticks-fail",
        "Ticks of Tocsin fail: what they had to look at was not looked at.",
        1,
        "tocsin.ticks",
        {"outcome": ("failed",)},
    ),
    Own(
        "tocsin-slots-missed",
        "Tocsin fell so far behind that slots are never judged.",
        1,
        "tocsin.slots.missed",
        {},
    ),
    Own(
        "tocsin-executions-fail",
        "A policy's action failed or could not be proven.",
        1,
        "tocsin.actions",
        {"outcome": ("failed", "unverified")},
    ),
    Own(
        "tocsin-dead-letters",
        "Messages of Tocsin were given up: somebody was not told.",
        1,
        "tocsin.deliveries",
        {"state": ("dead",)},
    ),
)
"""Enough to know that it is dead, blind, powerless or mute."""


def alerts(role: str) -> list[dict[str, Any]]:
    """Return them as resources; ``role`` is the name that the watcher goes by."""
    return [_alert(each, role) for each in OWN]


def _alert(own: Own, role: str) -> dict[str, Any]:
    condition: dict[str, Any] = {
        "query": own.query(role),
        "timeAggregation": "Maximum" if own.operator == "GreaterThan" else "Minimum",
        "metricMeasureColumn": "value",
        "dimensions": [],
        "operator": own.operator,
        "threshold": own.threshold,
        "failingPeriods": {"numberOfEvaluationPeriods": 1, "minFailingPeriodsToAlert": 1},
    }
    return alert(
        own.name,
        {
            "displayName": own.name,
            "description": own.words,
            "severity": own.severity,
            "enabled": True,
            "evaluationFrequency": iso(_WINDOW / 3),
            "windowSize": iso(_WINDOW),
            "scopes": ["[parameters('watcher')]"],
            "criteria": {"allOf": [condition]},
        },
    )
