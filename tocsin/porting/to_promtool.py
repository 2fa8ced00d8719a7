"""Rules and what came of their scenarios, as rule files and tests for ``promtool test rules``.

Prometheus cannot run a rule's query: a test gives it, slot by slot, the value that the scenario's rows came to, and
expects the alert to fire when it does here. What a value alone does not decide is left out, and said.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML

from tocsin.core.alert import Instance, State, Verdict
from tocsin.core.instance import shown, written
from tocsin.core.rule import Op, Rule
from tocsin.core.units import spell
from tocsin.scenarios.playing import Played, Slot

_OPS = {Op.ABOVE: ">", Op.AT_LEAST: ">=", Op.BELOW: "<", Op.AT_MOST: "<="}
_FIRES = (State.FIRING, State.RECOVERING)
"""States in which Prometheus fires: `keep_firing_for` is no state of its own there."""


@dataclass(frozen=True, slots=True)
class Course:
    """One scenario of a rule, played."""

    name: str
    target: str
    played: Played


@dataclass(frozen=True, slots=True)
class Promtool:
    """One rule's two files; both empty where there is no counterpart, and ``why`` says so.

    ``skipped`` are the scenarios that a test cannot tell, each with the reason.
    """

    rule: str
    rules: str = ""
    tests: str = ""
    kept: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    why: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return what is told of it as values that JSON knows."""
        left = [{"case": name, "why": why} for name, why in self.skipped]
        same = "equal" if self.tests else "none"
        return {"rule": self.rule, "counterpart": same, "cases": list(self.kept), "skipped": left, "why": self.why}


class _Skipped(Exception):
    """A scenario cannot be told; the message says why."""


def exported(rule: Rule, courses: Sequence[Course]) -> Promtool:
    """Return a rule's files."""
    if why := impossible(rule):
        return Promtool(rule.id, why=why)
    groups, kept, skipped = [], [], []
    for course in courses:
        try:
            groups.append(_test(rule, course))
            kept.append(course.name)
        except _Skipped as error:
            skipped.append((course.name, str(error)))
    if not groups:
        why = "no scenario of it can be told by values alone" if courses else "it has no scenarios"
        return Promtool(rule.id, skipped=tuple(skipped), why=why)
    tests = {"rule_files": [f"{rule.id}.rules.yml"], "evaluation_interval": spell(rule.every), "tests": groups}
    return Promtool(rule.id, _written(_rules(rule)), _written(tests), tuple(kept), tuple(skipped))


def impossible(rule: Rule) -> str:
    """Return why no scenario of a rule can be told, or an empty text."""
    kind = next((key for key in ("change", "unusual", "burn_rate", "absent_for") if getattr(rule.when, key)), "")
    if kind:
        return f"`{kind}` holds several windows against each other: one series of values does not tell them"
    if rule.in_:
        return "`in` has no equal: Prometheus knows no M of N"
    return "`resolve` ends it by another limit: Prometheus has one expression" if rule.resolve else ""


def _metric(rule: Rule) -> str:
    return f"tocsin_{rule.when.signal or rule.id}"


def _rules(rule: Rule) -> dict[str, Any]:
    assert rule.when.limit is not None
    op, limit = rule.when.limit
    alert: dict[str, Any] = {"alert": rule.id, "expr": f"{_metric(rule)} {_OPS[op]} {limit!r}"}
    if rule.for_:
        alert["for"] = spell(rule.for_)
    if rule.keep_firing_for:
        alert["keep_firing_for"] = spell(rule.keep_firing_for)
    alert["labels"] = {**rule.labels, "severity": rule.severity.value}
    return {"groups": [{"name": rule.id, "interval": spell(rule.every), "rules": [alert]}]}


def _test(rule: Rule, course: Course) -> dict[str, Any]:
    slots = [each for each in course.played.slots if each.rule == rule.id]
    if course.played.trouble or not slots:
        raise _Skipped("it could not be played")
    instances = _instances(rule, slots)
    series = [
        {"series": _series(rule, course.target, by), "values": " ".join(repr(_value(each, by)) for each in slots)}
        for by in instances
    ]
    return {
        "name": course.name,
        "interval": spell(rule.every),
        "input_series": series,
        "alert_rule_test": list(_expected(rule, course.target, slots)),
    }


def _instances(rule: Rule, slots: Sequence[Slot]) -> list[Instance]:
    """Return the instances of all slots. Raises _Skipped where a value alone does not decide."""
    assert rule.when.limit is not None
    op, limit = rule.when.limit
    found = dict.fromkeys(by for each in slots for by in each.seen)
    for before, after in itertools.pairwise(slots):
        if after.slot - before.slot != rule.every:
            raise _Skipped("slots are missing, which Prometheus would skip")
    for slot in slots:
        for by in found:
            seen = slot.seen.get(by)
            if seen is None or seen.verdict is Verdict.UNKNOWN or seen.value is None:
                raise _Skipped("something is unknown in it: there a missing sample ends an alert, here it does not")
            if op.holds(seen.value, limit) != (seen.verdict is Verdict.BREACHED):
                raise _Skipped("more than its value decides")
    return list(found)


def _value(slot: Slot, by: Instance) -> float:
    value = slot.seen[by].value
    assert value is not None
    return value


def _labels(target: str, by: Instance) -> dict[str, str]:
    return {"target": target, **shown(by)}


def _series(rule: Rule, target: str, by: Instance) -> str:
    said = ", ".join(f'{name}="{_escaped(value)}"' for name, value in _labels(target, by).items())
    return f"{_metric(rule)}{{{said}}}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _expected(rule: Rule, target: str, slots: Sequence[Slot]) -> Iterator[dict[str, Any]]:
    """Yield what fires, wherever that changes, just before, at the beginning and at the end."""
    firing = [frozenset(by for by, state in each.states.items() if state in _FIRES) for each in slots]
    told = {0, len(slots) - 1}
    for at in range(1, len(slots)):
        if firing[at] != firing[at - 1]:
            told |= {at - 1, at}
    own = {**rule.labels, "severity": rule.severity.value}
    for at in sorted(told):
        alerts = [{"exp_labels": {**_labels(target, by), **own}} for by in sorted(firing[at], key=written)]
        yield {"eval_time": spell(at * rule.every), "alertname": rule.id, "exp_alerts": alerts}


def _written(value: Any) -> str:
    yaml, out = YAML(typ="safe", pure=True), io.StringIO()
    yaml.default_flow_style, yaml.width, yaml.sort_base_mapping_type_on_output = False, 4096, False  # type: ignore[assignment]
    yaml.dump(value, out)
    return out.getvalue()
