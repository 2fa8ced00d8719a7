"""Matchers on labels: ``severity=~"P[01]"``, ``customer!=acme``. A label that is absent is an empty text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

_SHAPE = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_-]*)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|(.*?))\s*')
_LONGEST = 1_000
"""Letters of a label's value that a regular expression looks at: it was written for names, and runs in every tick."""

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition. ``op`` is ``=``, ``!=``, ``=~``, ``!~``, or ``in`` with several ``values``: one of these."""

    label: str
    op: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        if self.op == "in":
            return f"{self.label}={'|'.join(self.values)}"
        return f"{self.label}{self.op}{self.values[0]}"

    def accepts(self, labels: Labels) -> bool:
        """Return whether the label has an accepted value; a regular expression must match all of it."""
        value = labels.get(self.label, "")
        if self.op in ("=", "in"):
            return value in self.values
        if self.op == "!=":
            return value != self.values[0]
        return (_whole(self.values[0]).fullmatch(value[:_LONGEST]) is not None) == (self.op == "=~")

    @property
    def names(self) -> tuple[str, ...]:
        """The values that alone are accepted; empty when others may be, too."""
        return self.values if self.op in ("=", "in") else ()


def parse(text: str) -> Matcher:
    """Return the matcher that ``text`` writes. Raises ValueError for one that is none, or has a bad expression."""
    found = _SHAPE.fullmatch(text)
    if found is None:
        raise ValueError(f"'{text}' is no matcher; write it like severity=P1, env!=test or target=~\"sales-.*\"")
    label, op, quoted, bare = found.groups()
    value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare
    if op in ("=~", "!~"):
        value = quoted.replace('\\"', '"') if quoted is not None else bare
        try:
            _whole(value)
        except re.error as error:
            raise ValueError(f"'{value}' is no regular expression: {error}") from None
    return Matcher(label, op, (value,))


def one_of(label: str, values: Sequence[str]) -> Matcher:
    """Return the matcher that accepts these values."""
    return Matcher(label, "in", tuple(values))


def accepted(matchers: Sequence[Matcher], labels: Labels) -> bool:
    """Return whether every matcher accepts."""
    return all(matcher.accepts(labels) for matcher in matchers)


def spelled(matchers: Sequence[Matcher]) -> str:
    """Return the matchers in words."""
    return ", ".join(map(str, matchers))


@cache
def _whole(expression: str) -> re.Pattern[str]:
    return re.compile(f"(?:{expression})")
