"""``tocsin init rule``: a first rule that passes `tocsin check`, from what an author says or is asked."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import typer

from tocsin.app import known
from tocsin.authoring import template
from tocsin.authoring.layout import Unchanged
from tocsin.authoring.template import Draft
from tocsin.cli.output import Exit, say, stop
from tocsin.cli.project import find_root, load_settings
from tocsin.core.errors import nearest, render
from tocsin.core.fields import Severity
from tocsin.core.signal import Signal
from tocsin.files import read_project


@dataclass(frozen=True, slots=True)
class Said:
    """What the options say; what is empty is asked on a terminal, and has its default elsewhere."""

    name: str = ""
    signal: str = ""
    severity: str = ""
    threshold: str = ""
    over: str = ""
    owner: str = ""
    below: bool | None = None


def run(said: Said, root: Path | None) -> None:
    """Write the rule; exit 2 where there is one already, or where what was said makes no rule."""
    folder = find_root(root)
    signal = _signal(said.signal)
    name = said.name or signal.name
    path = folder / "rules" / f"{name}.yaml"
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
        stop(Exit.USAGE, f"'{name}' cannot be a rule's name: small letters, digits and _, a letter first")
    if path.exists():
        stop(Exit.USAGE, f"rules/{name}.yaml is there already")
    try:
        text = template.rule(_draft(said, signal), signal, modeline=(folder / "schemas" / "rule.schema.json").is_file())
    except Unchanged as error:
        stop(Exit.USAGE, f"that makes no rule: {error}")
    path.parent.mkdir(exist_ok=True)
    _write(path, text)
    found = [
        each
        for each in read_project(folder, load_settings(folder).values, known()).problems
        if each.path == f"rules/{name}.yaml"
    ]
    if found:
        path.unlink()
        stop(Exit.USAGE, f"that makes no rule, and nothing was written:\n{render(found)}")
    say(f"rules/{name}.yaml is written; `tocsin check` says what else there is to say of it")


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        stop(Exit.USAGE, f"rules/{path.name} is there already")


def _signal(name: str) -> Signal:
    signals = known().signals
    name = name or _asked("What is measured (`tocsin schema signals` lists it)", "")
    if not name:
        stop(Exit.USAGE, "say what is measured: --signal NAME; `tocsin schema signals` lists them")
    if name not in signals:
        hint = nearest(name, signals)
        stop(Exit.USAGE, f"--signal: no signal '{name}'; " + (hint or f"known: {', '.join(sorted(signals))}"))
    return signals[name]


def _draft(said: Said, signal: Signal) -> Draft:
    limit, window, low = template.usual(signal)
    severity = said.severity or _asked("How bad it is (P0, P1, P2, P3)", "P2")
    if severity not in set(Severity):
        stop(Exit.USAGE, f"--severity: '{severity}' is none of P0, P1, P2, P3")
    threshold = said.threshold or _asked(f"The limit ({signal.unit})", limit)
    over = said.over or _asked("The window", window)
    owner = said.owner or _asked("Who answers for it", "")
    for option, text in (("threshold", threshold), ("over", over), ("owner", owner)):
        if not re.fullmatch(r"[\w .@%+-]{0,100}", text):
            stop(Exit.USAGE, f"--{option}: '{text}' holds what a rule's file would read as something else")
    return Draft(signal.name, severity, threshold, over, owner, low if said.below is None else said.below)


def _asked(question: str, default: str) -> str:
    """Return the answer of whoever sits there; of nobody, the default."""
    return str(typer.prompt(question, default=default)) if sys.stdin.isatty() else default
