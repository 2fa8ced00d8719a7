"""The labels of an alert: the one set that routes, silences, inhibitions, policies, the guard and every display use."""

from __future__ import annotations

from collections.abc import Mapping

from tocsin.core.alert import Instance
from tocsin.core.config import Target
from tocsin.core.instance import texts
from tocsin.core.rule import Rule

ALWAYS = frozenset({"rule", "severity", "target"})
"""Labels that every alert has, whatever telemetry says."""


def alert_labels(rule: Rule, target: Target, by: Instance = ()) -> dict[str, str]:
    """Return everything that can be matched on; what the rule and the target are called no other label can replace."""
    return complete(given_labels(rule, target, by), rule.id, rule.severity.value, target.name)


def given_labels(rule: Rule, target: Target, by: Instance = ()) -> dict[str, str]:
    """Return the labels beside the three that every alert has: what a notice carries."""
    return {**target.labels, **rule.labels, **texts(by)}


def complete(labels: Mapping[str, str], rule: str, severity: str, target: str) -> dict[str, str]:
    """Return ``labels`` with the three that every alert has."""
    return {**labels, "rule": rule, "severity": severity, "target": target}
