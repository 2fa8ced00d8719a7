"""``tocsin test``: the scenarios of ``tests/rules/`` through the project's own rules, with what they cover."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from tocsin import files, signals
from tocsin.app import known
from tocsin.cli.output import Exit, Output, console, emit_json, say, stop, table
from tocsin.cli.project import find_root, load_settings
from tocsin.core.errors import Problem, printable, render
from tocsin.core.limits import unit_of
from tocsin.core.read import Project
from tocsin.core.rule import Rule
from tocsin.scenarios import junit, suite
from tocsin.scenarios.coverage import Coverage
from tocsin.scenarios.reading import FOLDER, Projects, Read, read
from tocsin.scenarios.suite import Report, Result, Wanted
from tocsin.scenarios.timeline import lines

_LONGEST = 40
"""How many lines of a timeline are shown."""


def run(
    paths: Sequence[Path],
    *,
    choice: str,
    coverage_min: float,
    jobs: int,
    report_to: Path | None,
    timeline: bool,
    root: Path | None,
    output: Output,
) -> None:
    """Play the scenarios; exit 1 when one fails or too little is covered, 2 when the files or the call are wrong."""
    chosen = _chosen(choice)
    folder = find_root(root)
    project = _project(folder)
    found = _read(paths, folder, project)
    off = {
        rule.id
        for each in found
        for rule in each.read.project.rules
        if rule.id == each.scenarios.rule and not rule.enabled
    }
    wanted = [each for each in found if chosen.search(each.name) and each.scenarios.rule not in off]
    if left_out := off & {each.scenarios.rule for each in found}:
        say(f"not played, for the rule is off: {', '.join(sorted(left_out))}", err=output is Output.JSON)
    if not wanted:
        stop(Exit.USAGE, f"no case is chosen by '{choice}'" if found else f"there are no scenarios in {FOLDER}")
    rules = _covered(project, wanted, whole=not paths and not choice)
    screen = console(stderr=output is Output.JSON)
    with _bar(screen, len(wanted)) as moved:
        report = suite.run(wanted, rules, jobs or min(4, os.cpu_count() or 1), moved)
    if report_to is not None:
        _write(report_to, junit.document(report))
    if output is Output.JSON:
        emit_json(_document(report))
    else:
        _show(report, screen, timeline=timeline)
    lacking = [each for each in report.coverage if each.share * 100 < coverage_min - 1e-9]
    if lacking and output is Output.TEXT:
        screen.print(f"covered less than {coverage_min:g}%: {', '.join(each.rule for each in lacking)}")
    if report.failed or lacking:
        raise typer.Exit(int(Exit.BAD_NEWS.value))


def _chosen(choice: str) -> re.Pattern[str]:
    try:
        return re.compile(choice)
    except re.error as error:
        stop(Exit.USAGE, f"--run '{choice}' is no regular expression: {error}")


def _project(folder: Path) -> Project:
    """Return the project; a test of files with problems would test something else than what is written there.

    That a setting is missing is no problem here: nothing is asked of anybody.
    """
    project = files.read_project(folder, load_settings(folder).values, known())
    _stop_at([problem for problem in project.problems if problem.id != "missing-setting"])
    return project


def _stop_at(problems: Sequence[Problem]) -> None:
    if problems:
        stop(Exit.USAGE, f"nothing was played, for the files have problems\n{render(problems)}")


def _read(paths: Sequence[Path], folder: Path, project: Project) -> list[Wanted]:
    found = paths or sorted((folder / FOLDER).glob("*.yaml"))
    projects = Projects(folder, project, known())
    played_with = [projects.of(path) for path in found]
    _stop_at(list(dict.fromkeys(problem for each in played_with if each is not project for problem in each.problems)))
    every = [
        read(path, _shown(path, folder), each, signals.known()) for path, each in zip(found, played_with, strict=True)
    ]
    _stop_at([problem for each in every for problem in each.problems])
    return [Wanted(each, number) for each in every for number in range(_count(each))]


def _count(each: Read) -> int:
    return len(each.scenarios.cases) if each.scenarios else 0


def _shown(path: Path, folder: Path) -> str:
    try:
        return str(path.resolve().relative_to(folder.resolve()))
    except ValueError:
        return str(path)


def _covered(project: Project, wanted: Sequence[Wanted], *, whole: bool) -> list[Rule]:
    """Return the rules whose coverage is told: those with a case, and in a run of everything those without, too."""
    played = {each.scenarios.rule: each.rule for each in wanted}
    rules = {rule.id: rule for rule in project.rules if whole and rule.enabled} | played
    return [rules[name] for name in sorted(rules)]


@contextmanager
def _bar(screen: Console, total: int) -> Iterator[Callable[[], None]]:
    shown = Progress(TextColumn("{task.completed} of {task.total} cases"), BarColumn(), console=screen, transient=True,
                     disable=not screen.is_terminal)  # fmt: skip
    with shown:
        task = shown.add_task("", total=total)
        yield lambda: shown.advance(task)


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        stop(Exit.USAGE, f"{path} cannot be written: {error.strerror}")


# What is shown


def _show(report: Report, screen: Console, *, timeline: bool) -> None:
    for result in report.results:
        if timeline or not result.played.passed:
            _show_case(result, screen)
    for each in report.coverage:
        say(str(each))
    failed = len(report.failed)
    words = f"{len(report.results)} cases, {failed} failed" if failed else f"{len(report.results)} cases passed"
    say(f"{words} in {report.seconds:.1f}s")


def _show_case(result: Result, screen: Console) -> None:
    wanted = result.wanted
    head = "ok  " if result.played.passed else "FAIL"
    say(f"{head} {printable(wanted.name)} ({wanted.read.file}:{wanted.line})")
    for line in junit.failures(result):
        say(f"  {printable(line)}")
    rules = dict.fromkeys((wanted.scenarios.rule, *(each.rule for each in wanted.case.expect if each.rule)))
    for name in rules:
        _show_course(result, name, screen)


def _show_course(result: Result, name: str, screen: Console) -> None:
    rule = next((each for each in result.wanted.read.project.rules if each.id == name), None)
    unit = unit_of(rule, signals.known().get(rule.when.signal or "")) if rule else "count"
    course = [line.words(unit) for line in lines(result.played, name)]
    if not course:
        return
    several = len(course[0]) > len(_COLUMNS)
    columns = (_COLUMNS[0], "instance", *_COLUMNS[1:]) if several else _COLUMNS
    screen.print(table("", columns, course[:_LONGEST]))
    if len(course) > _LONGEST:
        say(f"… {len(course) - _LONGEST} more")


_COLUMNS = ("  at", "verdict", "value", "state", "told")


def _document(report: Report) -> dict[str, Any]:
    return {
        "passed": len(report.results) - len(report.failed),
        "failed": len(report.failed),
        "seconds": round(report.seconds, 3),
        "cases": [_case(each) for each in report.results],
        "coverage": [_coverage(each) for each in report.coverage],
    }


def _case(result: Result) -> dict[str, Any]:
    wanted, played = result.wanted, result.played
    misses = [
        {"at": wanted.case.expect[number].at.total_seconds(), "line": wanted.line_of(number), "what": miss.what,
         "expected": miss.expected, "got": miss.got}
        for number, miss in played.misses
    ]  # fmt: skip
    rule = wanted.rule
    unit = unit_of(rule, signals.known().get(rule.when.signal or ""))
    course = [line.words(unit) for line in lines(played, rule.id)]
    return {"rule": rule.id, "name": wanted.case.name, "file": wanted.read.file, "line": wanted.line,
            "passed": played.passed, "seconds": round(played.seconds, 3), "misses": misses,
            "trouble": list(played.trouble), "timeline": course}  # fmt: skip


def _coverage(each: Coverage) -> dict[str, Any]:
    return {"rule": each.rule, "can": list(each.can), "missing": list(each.missing)}
