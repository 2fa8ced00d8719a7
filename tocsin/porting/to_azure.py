"""Rules as log alerts of Azure: those that have a counterpart, with what differs, and why the others have none."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tocsin.core import kql
from tocsin.core.compile import measured_by, own, tables
from tocsin.core.config import Target
from tocsin.core.fields import Severity
from tocsin.core.rule import Rule
from tocsin.core.signal import Logs, Signal
from tocsin.core.units import spell
from tocsin.porting.azure_condition import OPERATORS
from tocsin.porting.azure_times import resolves_after

API = "2023-12-01"
_MINUTES = (1, 5, 10, 15, 30, 45, 60, 120, 180, 240, 300, 360, 1440)
EVERY = tuple(timedelta(minutes=each) for each in _MINUTES)
"""How often Azure looks."""
WINDOWS = (*EVERY, timedelta(days=2))
"""Over how long a stretch Azure measures; two days are the most."""
_PERIODS = 6
_NAMES = {
    "above": "GreaterThan",
    "at_least": "GreaterThanOrEqual",
    "below": "LessThan",
    "at_most": "LessThanOrEqual",
}
assert {each.casefold() for each in _NAMES.values()} == set(OPERATORS)
_NUMBERS = {Severity.P0: 0, Severity.P1: 1, Severity.P2: 2, Severity.P3: 3}


@dataclass(frozen=True, slots=True)
class Exported:
    """One rule on one target. Without a ``resource`` there is no counterpart, and ``why`` says so.

    ``differences`` are ids of ``docs/porting.md`` and words; without any what is decided is the same.
    """

    rule: str
    target: str
    resource: Mapping[str, Any] | None = None
    differences: tuple[tuple[str, str], ...] = ()
    why: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return what is told of it as values that JSON knows."""
        same = "none" if self.resource is None else "near" if self.differences else "equal"
        told = [{"id": identity, "words": words} for identity, words in self.differences]
        return {"rule": self.rule, "target": self.target, "counterpart": same, "differences": told, "why": self.why}


class NoCounterpart(Exception):
    """A rule cannot be said in Azure; the message says why."""


def exported(rule: Rule, signal: Signal | None, target: Target) -> Exported:
    """Return the rule as a log alert on one target's rows, or why there is none."""
    try:
        _possible(rule, signal)
        every, periods, differences = _timing(rule)
        resource = _resource(rule, target, every, periods, _query(rule, signal, target, periods))
    except NoCounterpart as error:
        return Exported(rule.id, target.name, why=str(error))
    return Exported(rule.id, target.name, resource, (*differences, *_ending(rule, every)))


def _possible(rule: Rule, signal: Signal | None) -> None:
    """Raise NoCounterpart for what a log alert cannot be."""
    when = rule.when
    kind = next((key for key in ("change", "unusual", "burn_rate", "absent_for") if getattr(when, key)), "")
    if kind:
        raise NoCounterpart(f"`{kind}` holds a value against other windows: a log alert sees one")
    if signal is not None and not all(isinstance(each, Logs) for each in signal.sources):
        words = "it is read from the platform, queues or probes, and no log alert sees those"
        raise NoCounterpart(f"`{signal.name}` is not in the workspace, or not only: {words}")
    if signal is not None and len(signal.sources) != 1:
        raise NoCounterpart(
            f"`{signal.name}` is measured in {len(signal.sources)} places, each held to the limit itself"
        )
    if rule.counting == "arrivals":
        raise NoCounterpart(
            "`counting: arrivals` counts each row once, however late: a log alert does not see late ones"
        )
    if rule.resolve:
        raise NoCounterpart("`resolve` ends it by another limit: a log alert has one")
    if when.over not in WINDOWS:
        raise NoCounterpart(f"a log alert has no window of {spell(when.over)}")
    if rule.every < EVERY[0]:
        raise NoCounterpart("a log alert looks once a minute at most")
    if signal is not None and "ingestion_time" in repr(signal.sources):
        raise NoCounterpart("it measures how late rows arrive: a log alert does not look again")


def _timing(rule: Rule) -> tuple[timedelta, tuple[int, int], tuple[tuple[str, str], ...]]:
    """Return how often Azure looks, how many of how many periods must fail, and what differs."""
    told: list[tuple[str, str]] = []
    every = max(each for each in EVERY if each <= min(rule.every, rule.when.over))
    if every != rule.every:
        told.append(("frequency", f"Azure looks every {spell(every)}, the rule every {spell(rule.every)}"))
    disjoint = rule.every == rule.when.over == every
    if rule.in_ is not None:
        if not disjoint or rule.in_.slots > _PERIODS:
            words = f"`in` counts looks that overlap, or more than {_PERIODS}: Azure counts periods that do not"
            raise NoCounterpart(words)
        told.append(("bins", "Azure's periods are aligned to the clock"))
        return every, (rule.in_.hits, rule.in_.slots), tuple(told)
    if not rule.for_:
        return every, (1, 1), tuple(told)
    needed = rule.for_ // rule.every + 1
    if disjoint and not rule.for_ % rule.every and needed <= _PERIODS:
        told.append(("bins", "Azure's periods are aligned to the clock"))
        return every, (needed, needed), tuple(told)
    told.append(("for", f"Azure has no wait over windows that overlap: it fires up to {spell(rule.for_)} sooner"))
    return every, (1, 1), tuple(told)


def _ending(rule: Rule, every: timedelta) -> list[tuple[str, str]]:
    told = []
    if rule.keep_firing_for != resolves_after(every):
        words = f"Azure resolves after {spell(resolves_after(every))}, the rule after {spell(rule.keep_firing_for)}"
        told.append(("resolve-delay", words))
    if rule.on_silence != "unknown":
        told.append(("missing-data", f"`on_silence: {rule.on_silence}` has no equal"))
    if rule.snooze:
        told.append(("snooze", f"it is not snoozed until {rule.snooze.until:%Y-%m-%d}"))
    return told


# What it asks


def _query(rule: Rule, signal: Signal | None, target: Target, periods: tuple[int, int]) -> str:
    split = [f"TimeGenerated = bin(TimeGenerated, {kql.span(rule.when.over)})"] if periods[1] > 1 else []
    if signal is None:
        if split:
            raise NoCounterpart("several periods of an own query need times in its result")
        text = (rule.when.kql or "").strip().rstrip("; \n")
        lets = "".join(f"let {table} = {table} | where {own(target)};\n" for table in tables(text))
        return f"{lets}{text}"
    (source,) = signal.sources
    assert isinstance(source, Logs)
    where = measured_by(rule, signal, source, target).where
    by = [*split, *(f"{_word(name)} = {signal.dimensions[name]}" for name in rule.when.by)]
    grouped = f" by {', '.join(by)}" if by else ""
    lines = [source.table, f"where {own(target)}", f"where {where}"]
    lines.append(f"summarize value = todouble({source.value}), counted = tolong({source.events}){grouped}")
    # Of a count no rows are 0, as here; of anything else too few rows say nothing.
    if not signal.counting:
        lines.append(f"where counted >= {max(1, rule.when.minimum or 0)}")
    kept = ["TimeGenerated"] if split else []
    lines.append(f"project {', '.join([*kept, *map(_word, rule.when.by), 'value'])}")
    return "\n| ".join(lines)


def _word(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_]\w*", name) else kql.name(name)


def _resource(rule: Rule, target: Target, every: timedelta, periods: tuple[int, int], query: str) -> dict[str, Any]:
    assert rule.when.limit is not None
    op, limit = rule.when.limit
    high = op.value in ("above", "at_least")
    condition = {
        "query": said(query),
        "timeAggregation": "Maximum" if high else "Minimum",
        "metricMeasureColumn": "value",
        "dimensions": [{"name": name, "operator": "Include", "values": ["*"]} for name in rule.when.by],
        "operator": _NAMES[op.value],
        "threshold": limit,
        "failingPeriods": {"numberOfEvaluationPeriods": periods[1], "minFailingPeriodsToAlert": periods[0]},
    }
    scope = said(target.workspace_resource) if target.workspace_resource else "[parameters('workspace')]"
    title = f"{rule.id} on {target.name}"
    return alert(
        f"tocsin-{rule.id}-{target.name}".replace("_", "-"),
        {
            "displayName": said(title),
            "description": said(" ".join(filter(None, [rule.description, rule.runbook]))),
            "severity": _NUMBERS[rule.severity],
            "enabled": rule.enabled,
            "evaluationFrequency": iso(every),
            "windowSize": iso(rule.when.over),
            "scopes": [scope],
            "criteria": {"allOf": [condition]},
            "customProperties": {"rule": rule.id, "target": target.name, **rule.labels},
        },
    )


def alert(name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return a log alert that resolves by itself and tells the template's action groups."""
    said_ = dict(properties)
    custom = {key: said(value) for key, value in said_.pop("customProperties", {}).items()}
    actions = {"actionGroups": "[parameters('actionGroups')]", "customProperties": custom}
    return {
        "type": "Microsoft.Insights/scheduledQueryRules",
        "apiVersion": API,
        "name": name,
        "location": "[parameters('location')]",
        "kind": "LogAlert",
        # A new workspace has none of the tables yet, and a template that fails says nothing of the rules in it.
        "properties": {**said_, "skipQueryValidation": True, "autoMitigate": True, "actions": actions},
    }


def said(text: str) -> str:
    """Return a text as a template takes it for itself, and for no expression."""
    return f"[{text}" if text.startswith("[") else text


def iso(length: timedelta) -> str:
    """Return a length of time as Azure writes it."""
    seconds = int(length.total_seconds())
    if not seconds % 86_400:
        return f"P{seconds // 86_400}D"
    return f"PT{seconds // 3600}H" if not seconds % 3600 else f"PT{seconds // 60}M"


def template(resources: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a template for a resource group."""
    about = {"workspace": "Resource id of the workspace of targets that name none.", "watcher": _WATCHER}
    named = {name: {"type": "string", "metadata": {"description": words}} for name, words in about.items()}
    groups = {"type": "array", "defaultValue": [], "metadata": {"description": "Resource ids of action groups."}}
    place = {"type": "string", "defaultValue": "[resourceGroup().location]"}
    used = {
        name: value for name, value in named.items() if f"parameters('{name}')" in repr(resources).replace("\\", "")
    }
    return {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {"location": place, "actionGroups": groups, **used},
        "resources": [dict(each) for each in resources],
    }


_WATCHER = "Resource id of the workspace behind the watcher's own Application Insights."
