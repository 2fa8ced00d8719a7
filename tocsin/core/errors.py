"""A problem in an operator's file, with its place and the valid choices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong in one place. ``line`` and ``column`` count from 1; ``id`` is stable and documented."""

    path: str
    line: int
    column: int
    id: str
    message: str
    source: str = ""
    width: int = 1
    hint: str = ""
    choices: tuple[str, ...] = ()


class BadFiles(Exception):
    """The operator's files have problems: all of them, in order of place."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__(f"{len(self.problems)} problems in the files")
