"""Comments that put a warning off: ``# tocsin: snooze count-of-rows until 2026-12-01: the table is not sampled``.

One stands on the line it is about, or alone on the line above. Errors cannot be put off, and no warning for ever.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from tocsin.core.errors import Problem, nearest

_COMMENT = re.compile(r"(?:^|\s)(?:#|//)\s*tocsin:(.*)$")
_SNOOZE = re.compile(r"\s*snooze\s+([a-z0-9-]+)\s+until\s+(\S+?):\s+(\S.*)")
_UNSURE = frozenset({"unknown-table", "unknown-column", "unknown-function", "missing-column"})
"""Warnings that are not given where Microsoft's parser is there: a comment about one is not needless for that."""


@dataclass(frozen=True, slots=True)
class Snooze:
    """One comment: which warning it puts off, until when, and at which lines."""

    comment: Problem
    about: str
    until: date
    lines: tuple[int, ...]

    def hides(self, problem: Problem) -> bool:
        """Return whether the comment is about this problem."""
        return (problem.path, problem.id) == (self.comment.path, self.about) and problem.line in self.lines


def awake(
    problems: Sequence[Problem], texts: Mapping[str, str], lints: Collection[str], now: datetime
) -> tuple[Problem, ...]:
    """Return the problems that nobody has put off, and what is wrong with the comments that do.

    On the day it names a comment no longer holds: the warning is back, and ``expired-snooze`` with it.
    """
    read = [found for path, text in texts.items() for found in _comments(path, text, lints)]
    snoozes = [each for each in read if isinstance(each, Snooze)]
    today = now.astimezone(UTC).date()
    held = [each for each in snoozes if today < each.until]
    kept = [each for each in problems if each.is_error or not any(snooze.hides(each) for snooze in held)]
    kept += [each for each in read if isinstance(each, Problem)]
    kept += [_expired(each) for each in snoozes if each not in held]
    kept += [_needless(each) for each in held if not any(map(each.hides, problems)) and each.about not in _UNSURE]
    return tuple(sorted(kept))


def _comments(path: str, text: str, lints: Collection[str]) -> Iterator[Snooze | Problem]:
    for number, line in enumerate(text.splitlines(), 1):
        found = _COMMENT.search(line)
        if found is None:
            continue
        start = len(line) - len(line[found.start() :].lstrip())
        alone = not line[:start].strip()
        yield _read(path, number, start, line, found[1], alone, lints)


def _read(
    path: str, number: int, start: int, line: str, said: str, alone: bool, lints: Collection[str]
) -> Snooze | Problem:
    def bad(message: str, hint: str = "") -> Problem:
        width, source = len(line) - start, line[:200]
        return Problem(path, number, start + 1, "bad-snooze", message, source, width, hint, severity="warning")

    match = _SNOOZE.fullmatch(said)
    if match is None:
        return bad("a comment to Tocsin is like `tocsin: snooze ID until 2026-12-01: why`")
    if match[1] not in lints:
        return bad(f"'{match[1]}' is no warning that can be put off", nearest(match[1], lints))
    try:
        until = date.fromisoformat(match[2])
    except ValueError:
        return bad(f"'{match[2]}' is not a day; write it like 2026-12-01")
    return Snooze(bad(match[3]), match[1], until, (number, number + 1) if alone else (number,))


def _expired(snooze: Snooze) -> Problem:
    words = f"'{snooze.about}' was put off until {snooze.until}: {snooze.comment.message}"
    return _at(snooze, "expired-snooze", words)


def _needless(snooze: Snooze) -> Problem:
    return _at(snooze, "needless-snooze", f"there is no '{snooze.about}' here to put off: take the comment away")


def _at(snooze: Snooze, identity: str, message: str) -> Problem:
    place = snooze.comment
    return Problem(
        place.path, place.line, place.column, identity, message, place.source, place.width, severity="warning"
    )
