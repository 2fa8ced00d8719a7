"""``tocsin check``: every problem of every file, and every warning that nobody has put off, in one run."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import typer

from tocsin import files
from tocsin.app import known
from tocsin.cli import changes, kql_parser, reports
from tocsin.cli.output import Exit, emit_json, say, stop
from tocsin.cli.project import find_root, load_settings
from tocsin.cli.reports import Report
from tocsin.core.errors import Problem, render
from tocsin.core.read import Written
from tocsin.linting import LINTS, lint
from tocsin.linting.snooze import awake


@dataclass(frozen=True, slots=True)
class Checking:
    """How to look: ``changed`` is a commit to compare with, ``parser`` whether Microsoft's parser is to be asked."""

    report: Report = Report.TEXT
    changed: str = ""
    strict: bool = False
    parser: bool | None = None


def run(folder: Path | None, how: Checking) -> None:
    """Check the folder; exit 1 when something in it cannot be used, or with ``strict`` when anything is doubtful."""
    root, now = find_root(folder), datetime.now(UTC)
    parser = _parser(how.parser)
    written, problems = _found(root, root, now, parser)
    if how.changed:
        try:
            problems = changes.touched(problems, root, how.changed, lambda old: _found(old, root, now, parser)[1])
        except changes.NoBase as error:
            stop(Exit.USAGE, f"--changed {how.changed}: {error}")
    _show(written, problems, how, root)
    if any(how.strict or each.is_error for each in problems):
        raise typer.Exit(int(Exit.BAD_NEWS.value))


def _parser(wanted: bool | None) -> bool:
    """Return whether Microsoft's parser is asked: as wished, else where it is."""
    lacking = kql_parser.missing()
    if wanted and lacking:
        stop(Exit.USAGE, f"--kql-parser: {lacking}")
    return wanted if wanted is not None else not lacking


def found(folder: Path, root: Path, now: datetime) -> tuple[Problem, ...]:
    """Return everything there is to say of a folder's files, read with the settings of ``root``."""
    return _found(folder, root, now, _parser(None))[1]


def _found(folder: Path, root: Path, now: datetime, parser: bool) -> tuple[Written, tuple[Problem, ...]]:
    """Return what stands in a folder, read with the settings of ``root``, and everything there is to say of it."""
    names = known()
    written = files.read_written(folder, load_settings(root).values, names)
    parsed: tuple[Problem, ...] = ()
    if parser:
        try:
            parsed = kql_parser.problems(written)
        except kql_parser.ParserFailed as error:
            parser = False
            say(f"tocsin: Microsoft's KQL parser did not answer ({error}): names are looked for instead", err=True)
    elif any(rule.when.kql is not None for rule, _ in written.rules):
        why = kql_parser.missing() or "--no-kql-parser"
        say(f"tocsin: the queries in `kql:` were not parsed, only looked through ({why})", err=True)
    doubts = lint(written, names.signals, now, parsed=parser, pages=_pages(folder))
    every = (*written.project.problems, *parsed, *doubts)
    return written, awake(every, written.texts, LINTS, now)


def _pages(folder: Path) -> Callable[[str], str | None] | None:
    """Return what reads the project's documents; None for a copy that has none of them."""
    if not (folder / "docs").is_dir():
        return None

    def read(path: str) -> str | None:
        try:
            return (folder / path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None

    return lru_cache(read)


def _show(written: Written, problems: Sequence[Problem], how: Checking, root: Path) -> None:
    project = written.project
    found = {"rules": len(project.rules), "policies": len(project.policies), "targets": len(project.config.targets)}
    if how.report is Report.JSON:
        emit_json({**found, "problems": [each.as_dict() for each in problems]})
    elif how.report is Report.TEXT:
        if problems:
            say(render(problems))
        counts = ", ".join(f"{count} {name}" for name, count in found.items())
        say(f"{counts}: {_counted(problems)}" + (" that this change touches" if how.changed else ""))
    else:
        for text in reports.lines(how.report, problems, tuple(written.texts), _prefix(root), strict=how.strict):
            say(text)


def _counted(problems: Sequence[Problem]) -> str:
    errors = sum(each.is_error for each in problems)
    doubts = len(problems) - errors
    said = [f"{errors} problem{'s' * (errors != 1)}"] * bool(errors) + [
        f"{doubts} warning{'s' * (doubts != 1)}"
    ] * bool(doubts)
    return " and ".join(said) or "no problems"


def _prefix(root: Path) -> str:
    """Return where the folder stands in its repository, with a slash; empty where it is the repository, or in none."""
    try:
        asked = subprocess.run(["git", "rev-parse", "--show-prefix"], cwd=root, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return asked.stdout.decode("utf-8", "replace").strip()
