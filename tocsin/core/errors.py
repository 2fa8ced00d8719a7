"""A problem in an operator's file, with its place and the valid choices."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

_MOST_CHOICES = 40


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong in one place. ``line`` and ``column`` count from 1; each ``id`` is in ``docs/problems.md``.

    ``choices`` are what would be valid there and ``listed`` says what they are: ``signals``, ``keys``. What is an
    ``error`` is left out; a ``warning`` is about what runs, and hardly does what its author meant.
    """

    path: str
    line: int
    column: int
    id: str
    message: str
    source: str = ""
    width: int = 1
    hint: str = ""
    choices: tuple[str, ...] = ()
    listed: str = ""
    severity: Literal["error", "warning"] = "error"

    @property
    def is_error(self) -> bool:
        """Whether what it is about cannot be used."""
        return self.severity == "error"

    def as_dict(self) -> dict[str, Any]:
        """Return the problem as values that JSON knows."""
        return {**asdict(self), "choices": list(self.choices)}


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the choice closest to ``word``, or an empty text when none is close."""
    return did_you_mean(nearest_of(word, choices))


def nearest_of(word: str, choices: Iterable[str]) -> str:
    """Return the choice closest to ``word``, or an empty text when none is close."""
    folded = {choice.casefold(): choice for choice in choices}
    found = difflib.get_close_matches(word.casefold()[:100], folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else ""


def did_you_mean(word: str) -> str:
    """Return the hint that offers a word; empty for none."""
    return f"did you mean '{word}'?" if word else ""


def render(problems: Iterable[Problem]) -> str:
    """Return the report an operator reads: each problem with its place, its line, a caret, and what would be valid."""
    return "\n".join(_render(problem) for problem in sorted(problems))


def render_line(problem: Problem) -> str:
    """Return a problem of something that stands in no file, on one line: what is wrong, and what would be valid."""
    known = f"; known: {_listing(problem.choices)}" if problem.choices and not problem.hint else ""
    return printable(problem.message) + (f"; {printable(problem.hint)}" if problem.hint else known)


def _render(problem: Problem) -> str:
    place = f"{printable(problem.path)}:{problem.line}:{problem.column}"
    lines = [f"{place}: {problem.severity}[{problem.id}]: {printable(problem.message)}"]
    if problem.source:
        lines.append(f"{problem.line:>3} | {printable(problem.source)}")
        lines.append(f"{'':>3} | {_carets(problem)} {printable(problem.hint)}".rstrip())
    elif problem.hint:
        lines.append(f"    = {printable(problem.hint)}")
    if problem.choices:
        lines.append(f"    = {' '.join(['known', problem.listed]).strip()}: {_listing(problem.choices)}")
    return "\n".join(lines)


def _carets(problem: Problem) -> str:
    """Underline the place; a wide letter takes two columns of a terminal."""
    start = problem.column - 1
    before, under = problem.source[:start], problem.source[start : start + problem.width]
    return " " * (_columns(before) + start - len(before)) + "^" * max(1, _columns(under))


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _listing(choices: tuple[str, ...]) -> str:
    more = f", … ({len(choices) - _MOST_CHOICES} more)" if len(choices) > _MOST_CHOICES else ""
    return printable(", ".join(choices[:_MOST_CHOICES])) + more


def printable(text: str) -> str:
    """Return ``text`` on one line and without what could move a terminal's cursor or colour it."""
    return "".join(letter if letter.isprintable() else " " if letter.isspace() else "·" for letter in text)
