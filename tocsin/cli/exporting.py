"""``tocsin export``: rules as alerts of Azure beside those that watch the watcher, or as tests for promtool."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from tocsin import files, signals
from tocsin.app import known
from tocsin.cli.output import Exit, Output, emit_json, json_text, say, stop
from tocsin.cli.project import find_root, load_settings
from tocsin.core.config import Target
from tocsin.core.errors import nearest, render
from tocsin.core.read import Project
from tocsin.core.rule import Rule
from tocsin.core.schedule import selects
from tocsin.porting import to_azure, to_promtool, watcher
from tocsin.porting.to_azure import Exported
from tocsin.porting.to_promtool import Course, Promtool
from tocsin.scenarios.playing import play
from tocsin.scenarios.reading import FOLDER, Projects, read, target_of
from tocsin.telemetry.embedded import EmbeddedTelemetry


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to export, and of which rules and target; of none, all."""

    to: str
    rules: tuple[str, ...] = ()
    target: str = ""
    choice: str = ""
    watcher_only: bool = False


def run(wanted: Wanted, into: Path | None, root: Path | None, output: Output) -> None:
    """Export; exit 2 for a rule or target that is not there, and for a file that is there already."""
    _belonging(wanted)
    folder = find_root(root)
    project = _project(folder)
    rules = _chosen(project, wanted)
    if wanted.to == "azure":
        role = load_settings(folder).get("TOCSIN_ROLE_NAME") or ""
        _azure(project, rules, wanted, into, output, role)
    else:
        _promtool(courses(project, rules, folder, _pattern(wanted.choice)), into, output)


def _belonging(wanted: Wanted) -> None:
    """Stop at an option that means nothing to what is written: it was not typed to be passed over."""
    foreign: dict[str, dict[str, str | bool]] = {
        "azure": {"--run": wanted.choice},
        "promtool": {"--target": wanted.target, "--watcher-only": wanted.watcher_only},
    }
    for option, value in foreign[wanted.to].items():
        if value:
            stop(Exit.USAGE, f"{option} is not for --to {wanted.to}")
    if wanted.watcher_only and wanted.rules:
        stop(Exit.USAGE, "--watcher-only and --rule exclude each other: nothing would be left to write")


def _project(folder: Path) -> Project:
    project = files.read_project(folder, load_settings(folder).values, known())
    problems = [each for each in project.problems if each.id != "missing-setting"]
    if problems:
        stop(Exit.USAGE, f"nothing was exported, for the files have problems\n{render(problems)}")
    return project


def _chosen(project: Project, wanted: Wanted) -> list[Rule]:
    names = {each.id for each in project.rules}
    for name in wanted.rules:
        if name not in names:
            stop(Exit.USAGE, f"no rule '{name}'; {nearest(name, names) or 'rules/ has none like it'}")
    targets = {each.name for each in project.config.targets}
    if wanted.target and wanted.target not in targets:
        stop(Exit.USAGE, f"no target '{wanted.target}'; known: {', '.join(sorted(targets))}")
    return [each for each in project.rules if not wanted.rules or each.id in wanted.rules]


# Azure


def azure(project: Project, rules: Sequence[Rule], targets: Sequence[Target]) -> list[Exported]:
    """Return every rule on every target that it watches, as it is judged there."""
    known_ = signals.known()
    return [
        to_azure.exported(project.held_to(rule, target.name), known_.get(rule.when.signal or ""), target)
        for rule in rules
        for target in targets
        if selects(rule, target)
    ]


def _azure(
    project: Project, rules: Sequence[Rule], wanted: Wanted, into: Path | None, output: Output, role: str
) -> None:
    targets = [each for each in project.config.targets if wanted.target in ("", each.name)]
    found = [] if wanted.watcher_only else azure(project, rules, targets)
    own = [] if wanted.rules else watcher.alerts(role)
    made = to_azure.template([*own, *(each.resource for each in found if each.resource is not None)])
    told = [each.as_dict() for each in found]
    if into is not None:
        _write(into, json.dumps(made, indent=2, ensure_ascii=False) + "\n")
    if output is Output.JSON:
        emit_json({"watcher": [each["name"] for each in own], "rules": told, "template": made})
        return
    if into is None:
        typer.echo(json_text(made))
    for line in _azure_lines(found, len(own)):
        say(line, err=into is None)


def _azure_lines(found: Sequence[Exported], own: int) -> list[str]:
    lines = []
    for each in found:
        name = f"{each.rule} on {each.target}"
        if each.resource is None:
            lines.append(f"no counterpart: {name}: {each.why}")
        else:
            lines.append(f"{'near' if each.differences else 'equal'}: {name}")
            lines += [f"  differs [{identity}]: {words}" for identity, words in each.differences]
    made = sum(each.resource is not None for each in found)
    equal = sum(each.resource is not None and not each.differences for each in found)
    return [
        *lines,
        f"{made} rules ({equal} decide the same while everything is known), {len(found) - made} without a counterpart; "
        f"{own} alerts watch the watcher (docs/porting.md)",
    ]


# promtool


def _pattern(choice: str) -> re.Pattern[str]:
    try:
        return re.compile(choice)
    except re.error as error:
        stop(Exit.USAGE, f"--run '{choice}' is no regular expression: {error}")


def courses(project: Project, rules: Sequence[Rule], folder: Path, choice: re.Pattern[str]) -> list[Promtool]:
    """Play the chosen scenarios of rules that can be told, and return each rule's files for promtool."""
    telemetry, found = EmbeddedTelemetry(), []
    try:
        for rule in rules:
            told = to_promtool.impossible(rule)
            played = [] if told else _played(project, rule, folder, choice, telemetry)
            # A rule of which --run chose nothing was not asked for: that says nothing of its counterpart.
            if told or played or not choice.pattern:
                found.append(to_promtool.exported(rule, played))
    finally:
        telemetry.close()
    if not any(each.kept or each.skipped for each in found) and choice.pattern:
        stop(Exit.USAGE, f"no scenario is chosen by --run '{choice.pattern}'")
    return found


def _played(
    project: Project, rule: Rule, folder: Path, choice: re.Pattern[str], telemetry: EmbeddedTelemetry
) -> list[Course]:
    known_, path = signals.known(), folder / FOLDER / f"{rule.id}.yaml"
    if not path.is_file():
        return []
    # A file is checked against what it was written for, and played as the project is.
    checked = Projects(folder, project, known()).of(path)
    made = read(path, f"{FOLDER}/{path.name}", checked, known_)
    if made.scenarios is None:
        stop(Exit.USAGE, f"nothing was exported, for the scenarios have problems\n{render(made.problems)}")
    return [
        Course(
            case.name,
            target_of(made.scenarios, case.target, project).name,
            play(made.scenarios, number, project, known_, telemetry),
        )
        for number, case in enumerate(made.scenarios.cases)
        if choice.search(f"{rule.id}: {case.name}")
    ]


def _promtool(found: Sequence[Promtool], into: Path | None, output: Output) -> None:
    written: dict[str, str] = {}
    for each in found:
        if each.tests:
            written |= {f"{each.rule}.rules.yml": each.rules, f"{each.rule}.test.yml": each.tests}
    if into is not None:
        for name, text in written.items():
            _write(into / name, text)
    if output is Output.JSON:
        told: dict[str, Any] = {"rules": [each.as_dict() for each in found]}
        emit_json({**told, **({"files": written} if into is None else {"files": sorted(written)})})
        return
    for name, text in written.items() if into is None else ():
        say(f"# {name}\n{text}")
    for line in _promtool_lines(found):
        say(line, err=into is None)


def _promtool_lines(found: Sequence[Promtool]) -> list[str]:
    lines = []
    for each in found:
        lines.append(
            f"{each.rule}: {len(each.kept)} scenarios" if each.tests else f"no counterpart: {each.rule}: {each.why}"
        )
        lines += [f"  left out: {name} ({why})" for name, why in each.skipped]
    made = [each for each in found if each.tests]
    kept, left = sum(len(each.kept) for each in found), sum(len(each.skipped) for each in found)
    return [*lines, f"{len(made)} rules with {kept} scenarios; {left} scenarios left out (docs/porting.md)"]


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        stop(Exit.USAGE, f"{path} is there already, and nothing is overwritten")
    except OSError as error:
        stop(Exit.USAGE, f"{path} cannot be written: {error.strerror}")
