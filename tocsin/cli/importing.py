"""``tocsin import``: alerts from elsewhere become rules that `tocsin check` accepts, or it is said why not."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from tocsin import files
from tocsin.app import known
from tocsin.cli import kql_parser
from tocsin.cli.output import Exit, Output, emit_json, say, stop
from tocsin.cli.project import find_root, load_settings
from tocsin.core.errors import Problem, printable, render
from tocsin.document import parse
from tocsin.linting import lint
from tocsin.porting.outcome import Outcome
from tocsin.porting.reading import Imported, imported

LARGEST = 8 * 1024 * 1024
"""How large a file may be: a subscription's whole list is one."""

_NAMES = frozenset({"unknown-table", "unknown-column", "unknown-function", "missing-column", "bad-kql"})
"""What is said of names that the workspace does not have."""


def run(
    paths: Sequence[Path], *, into: Path | None, dry_run: bool, parser: bool | None, root: Path | None, output: Output
) -> None:
    """Import files; exit 1 when anything was refused, 2 where a file cannot be read at all."""
    folder = find_root(root)
    target = into or folder / "rules"
    lacking = kql_parser.missing()
    if parser and lacking:
        stop(Exit.USAGE, f"--kql-parser: {lacking}")
    asked = parser if parser is not None else not lacking
    read = _all(paths)
    checked = accepted([each for found in read for each in found.outcomes], folder, parser=asked)
    outcomes = [_free(each, target) for each in checked]
    if not dry_run:
        _write(outcomes, target)
    problems = [each for found in read for each in found.problems]
    others = sorted(each for found in read for each in found.passed_over)
    if output is Output.JSON:
        emit_json(report(outcomes, others, problems, with_text=dry_run))
    else:
        _show(outcomes, others, problems, target, dry_run=dry_run)
    if problems or any(each.text is None for each in outcomes):
        raise typer.Exit(int((Exit.USAGE if not outcomes else Exit.BAD_NEWS).value))


def report(
    outcomes: Iterable[Outcome], others: Sequence[str], problems: Sequence[Problem], *, with_text: bool = False
) -> dict[str, Any]:
    """Return all of it as values that JSON knows."""
    told = [{**each.as_dict(), **({"text": each.text} if with_text else {})} for each in outcomes]
    return {"rules": told, "passed_over": list(others), "problems": [each.as_dict() for each in problems]}


def _all(paths: Sequence[Path]) -> list[Imported]:
    taken: set[str] = set()
    found = []
    for path in paths:
        try:
            data = path.read_bytes()
        except OSError as error:
            stop(Exit.USAGE, f"{path} cannot be read: {error.strerror}")
        if len(data) > LARGEST:
            stop(Exit.USAGE, f"{path} is larger than {LARGEST // 1024 // 1024} MiB")
        found.append(read(str(path), data, taken))
        taken |= {each.rule for each in found[-1].outcomes}
    return found


def read(shown: str, data: bytes, taken: Iterable[str] = ()) -> Imported:
    """Return what becomes of one file's content."""
    parsed = parse(shown, data)
    if parsed.node is None or not parsed.whole:
        return Imported("", problems=parsed.problems)
    return imported(parsed.node, tuple(taken))


def accepted(outcomes: Sequence[Outcome], root: Path, *, parser: bool) -> list[Outcome]:
    """Return the outcomes as `tocsin check` sees them beside the project's own files: what it refuses is refused."""
    made = {each.rule: each.text for each in outcomes if each.text is not None}
    found = _problems(made, root, parser) if made else {}
    return [_judged(each, found.get(each.rule, ())) if each.text is not None else each for each in outcomes]


def _problems(made: Mapping[str, str], root: Path, parser: bool) -> dict[str, tuple[Problem, ...]]:
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        for name in ("tocsin.yaml", *(each.name for each in root.glob("*accelerator*.yaml"))):
            if (root / name).is_file():
                shutil.copy(root / name, here)
        for name in ("rules", "remediations"):
            if (root / name).is_dir():
                shutil.copytree(root / name, here / name)
        (here / "rules").mkdir(exist_ok=True)
        for rule, text in made.items():
            (here / "rules" / f"{rule}.yaml").write_text(text, encoding="utf-8")
        names = known()
        written = files.read_written(here, load_settings(root).values, names)
        said = [*written.project.problems, *lint(written, names.signals, datetime.now(UTC), parsed=parser)]
        if parser:
            said += kql_parser.problems(written)
    return {rule: tuple(each for each in said if each.path == f"rules/{rule}.yaml") for rule in made}


def _judged(outcome: Outcome, problems: Sequence[Problem]) -> Outcome:
    doubts = tuple(each for each in problems if not each.is_error and each.id not in _NAMES)
    refusals = []
    for each in problems:
        if each.is_error or each.id in _NAMES:
            identity = "not-in-the-workspace" if each.id in _NAMES else "not-accepted"
            words = f"{each.message} ({each.id})"
            refusals.append(Problem(outcome.path, outcome.line, 1, identity, words, hint=each.hint))
    outcome = replace(outcome, warnings=doubts)
    return outcome.refused(*dict.fromkeys(refusals)) if refusals else outcome


def _free(outcome: Outcome, target: Path) -> Outcome:
    path = target / f"{outcome.rule}.yaml"
    if outcome.text is None or not path.exists():
        return outcome
    words = f"{path.name} is there already, and nothing is overwritten"
    return outcome.refused(Problem(outcome.path, outcome.line, 1, "name-taken", words))


def _write(outcomes: Iterable[Outcome], target: Path) -> None:
    path = target
    try:
        target.mkdir(parents=True, exist_ok=True)
        for each in outcomes:
            if each.text is not None:
                path = target / f"{each.rule}.yaml"
                with path.open("x", encoding="utf-8", newline="\n") as file:
                    file.write(each.text)
    except OSError as error:
        stop(Exit.USAGE, f"{path} cannot be written: {error.strerror}")


def _show(
    outcomes: Sequence[Outcome], others: Sequence[str], problems: Sequence[Problem], target: Path, *, dry_run: bool
) -> None:
    if problems:
        say(render(problems))
    for each in outcomes:
        say("\n".join(_lines(each, target, dry_run)))
    for kind in dict.fromkeys(others):
        say(f"passed over: {printable(kind)} (no alert rule)")
    made = sum(each.text is not None for each in outcomes)
    differs = sum(len(each.differences) for each in outcomes if each.text is not None)
    said = "would be written" if dry_run else "written"
    say(f"{made} rules {said}, {len(outcomes) - made} refused; {differs} differences in meaning (docs/porting.md)")


def _lines(outcome: Outcome, target: Path, dry_run: bool) -> list[str]:
    source = f"'{printable(outcome.source)}' ({printable(outcome.path)}:{outcome.line})"
    if outcome.text is None:
        return [f"refused: {source}", *(f"  {line}" for line in render(outcome.refusals).splitlines())]
    lines = [f"{target / outcome.rule}.yaml from {source}"]
    lines += [f"  same: {', '.join(outcome.carried)}"] if outcome.carried else []
    lines += [
        f"  differs [{each.id}] {each.field or '(all of it)'}: {printable(each.words)}" for each in outcome.differences
    ]
    lines += [f"  warning [{each.id}]: {printable(each.message)}" for each in outcome.warnings]
    return [*lines, *(f"  | {line}" for line in outcome.text.splitlines() if dry_run)]
