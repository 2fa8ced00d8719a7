"""A problem in an operator's file, with its place and the valid choices."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong in one place. ``line`` and ``column`` count from 1; each ``id`` is in ``docs/problems.md``."""

    path: str
    line: int
    column: int
    id: str
    message: str
    source: str = ""
    width: int = 1
    hint: str = ""
    choices: tuple[str, ...] = ()


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the choice closest to ``word``, or an empty text when none is close."""
    found = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f"did you mean '{found[0]}'?" if found else ""


def render(problems: Iterable[Problem]) -> str:
    """Return the report an operator reads: each problem with its place, its line, a caret, and what would be valid."""
    return "\n".join(_render(problem) for problem in sorted(problems))


def _render(problem: Problem) -> str:
    lines = [f"{problem.path}:{problem.line}:{problem.column}: error[{problem.id}]: {problem.message}"]
    if problem.source:
        gutter = f"{problem.line:>3}"
        carets = " " * (problem.column - 1) + "^" * max(1, problem.width)
        lines.append(f"{gutter} | {problem.source}")
        lines.append(f"{'':>3} | {carets} {problem.hint}".rstrip())
    elif problem.hint:
        lines.append(f"    = {problem.hint}")
    if problem.choices:
        lines.append(f"    = known: {', '.join(problem.choices)}")
    return "\n".join(lines)
