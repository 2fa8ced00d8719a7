"""``tocsin routes test``: who would be told of an alert with some labels, and by which route."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tocsin import files
from tocsin.app import known
from tocsin.cli.output import Exit, Output, emit_json, say, stop
from tocsin.cli.project import find_root, load_settings
from tocsin.core import group as groups
from tocsin.core.fields import Severity
from tocsin.core.read import Project
from tocsin.core.route import GROUP_WAIT, Node, ends
from tocsin.core.units import spell
from tocsin.engine import standing


def run(given: Sequence[str], *, expect: str, root: Path | None, output: Output) -> None:
    """Show the routes; exit 1 when the receivers are not those expected, or nobody would be told."""
    folder = find_root(root)
    project = files.read_project(folder, load_settings(folder).values, known())
    labels = completed(_pairs(given), project)
    found = [_row(node, labels) for node in ends(standing.audience(project.config).tree, labels)]
    receivers = list(dict.fromkeys(name for row in found for name in row["to"]))
    wanted = [name.strip() for name in expect.split(",") if name.strip()]
    good = set(receivers) == set(wanted) if wanted else bool(receivers)
    if output is Output.JSON:
        emit_json({"labels": labels, "routes": found, "receivers": receivers, "expected": wanted, "as_expected": good})
    else:
        _show(labels, found, receivers)
    if not good:
        stop(Exit.BAD_NEWS, f"expected {', '.join(wanted)}" if wanted else "nobody would be told")


def completed(labels: dict[str, str], project: Project) -> dict[str, str]:
    """Return the labels with those that the named target and rule give an alert; what is given wins."""
    target = next((each for each in project.config.targets if each.name == labels.get("target")), None)
    rule = next((each for each in project.rules if each.id == labels.get("rule")), None)
    more = {**(target.labels if target else {}), **({**rule.labels, "severity": rule.severity.value} if rule else {})}
    return {**more, **labels}


def _pairs(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not name or not equals:
            stop(Exit.USAGE, f"'{each}' is no label; write it like severity=P1")
        found[name.strip()] = value.strip()
    if found.get("severity", "P1") not in set(Severity):
        stop(Exit.USAGE, f"no severity '{found['severity']}'; known: {', '.join(Severity)}")
    return found


def _row(node: Node, labels: dict[str, str]) -> dict[str, Any]:
    return {
        "place": node.place,
        "why": node.why,
        "to": list(node.to),
        "group": dict(node.group(labels)),
        "group_wait": _wait(node, labels),
        "group_interval": spell(node.group_interval),
        "repeat_interval": spell(node.repeat_interval),
    }


def _wait(node: Node, labels: dict[str, str]) -> str:
    if "severity" in labels or node.group_wait is not None:
        return spell(groups.wait(node, Severity(labels.get("severity", "P3"))))
    return f"{spell(GROUP_WAIT)}; P0 and P1: 0s"


def _show(labels: dict[str, str], found: list[dict[str, Any]], receivers: list[str]) -> None:
    say(f"labels     {_joined(labels)}")
    for row in found:
        say(f"route      {row['place']} ({row['why']}) → {', '.join(row['to']) or 'nobody'}")
        say(f"  group    {_joined(row['group']) or 'all alerts together'}")
        timing = ("group_wait", "group_interval", "repeat_interval")
        say(f"  timing   {', '.join(f'{name} {row[name]}' for name in timing)}")
    say(f"receivers  {', '.join(receivers) or 'nobody'}")


def _joined(labels: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in labels.items())
