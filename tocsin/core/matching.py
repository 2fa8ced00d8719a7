"""Matchers on labels: ``severity=~"P[01]"``, ``customer!=acme``. A label that is absent is an empty text.

Regular expressions are RE2's, as the Alertmanager's are: whatever the pattern and the value, the time to match is
proportional to the length of the value. No label can make a tick slow.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import chain
from typing import TYPE_CHECKING

from tocsin.core.text import normalize

if TYPE_CHECKING:
    import re2

_SHAPE = re.compile(r"(?s)([A-Za-z_][A-Za-z0-9_-]*+)\s*+(=~|!~|!=|=)\s*+(.*)")
_QUOTED = re.compile(r'(?s)"((?:[^"\\]|\\.)*+)"')
_ESCAPED = {"n": "\n", '"': '"', "\\": "\\"}
"""What a backslash means within quotation marks, as in the Alertmanager; before any other letter it is one itself."""
_MARKS = ('"', "'", "`")
_SURROGATE = re.compile("[\ud800-\udfff]")
_MOST_MEMORY = 256 * 1024
"""Bytes that one compiled pattern may use. A pattern that needs more is refused."""
_PATTERNS, _ANSWERS = 1_000, 10_000
"""How many compiled patterns are kept, and how many answers: the same labels are matched again in the next tick."""
_LONGEST_KEPT = 300
"""Letters of the longest value whose answers are kept."""

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition. ``op`` is ``=``, ``!=``, ``=~``, ``!~``, or ``in`` with several ``values``: one of these."""

    label: str
    op: str
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.op in ("=", "!=", "in"):  # a label is spelled so, too
            object.__setattr__(self, "values", tuple(map(normalize, self.values)))

    def __str__(self) -> str:
        if self.op == "in":
            return f"{self.label}={'|'.join(self.values)}"
        return f"{self.label}{self.op}{self.values[0]}"

    def accepts(self, labels: Labels) -> bool:
        """Return whether the label has an accepted value; a regular expression must match all of it.

        A stored pattern that is not in RE2's dialect accepts nothing, neither with ``=~`` nor with ``!~``.
        """
        value = labels.get(self.label, "")
        if self.op in ("=", "in"):
            return value in self.values
        if self.op == "!=":
            return value != self.values[0]
        match = _known_answer if len(value) <= _LONGEST_KEPT else _matches
        return match(self.values[0], value) is (self.op == "=~")

    @property
    def names(self) -> tuple[str, ...]:
        """The values that alone are accepted; empty when others may be, too."""
        return self.values if self.op in ("=", "in") else ()


def parse(text: str) -> Matcher:
    """Return the matcher that ``text`` writes. Raises ValueError for one that is none, or has a bad expression."""
    found = _SHAPE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"'{text}' is no matcher; write it like severity=P1, env!=test or target=~\"sales-.*\"")
    label, op, written = found.groups()
    value = read_value(label, op, written)
    if op in ("=~", "!~") and isinstance(wrong := _compiled(value), str):
        raise ValueError(f"'{value}' is no regular expression of RE2's dialect: {wrong}; {_DIALECT}")
    return Matcher(label, op, (value,))


def read_value(label: str, op: str, written: str) -> str:
    """Return the value that stands after a label and an operator, with or without quotation marks around it.

    Raises ValueError for what is surely meant otherwise: ``==``, and quotation marks that are no pair of ``"``.
    """
    if quoted := _QUOTED.fullmatch(written):
        return re.sub(r"(?s)\\(.)", lambda found: _ESCAPED.get(found[1], found[0]), quoted[1])
    if written.startswith("="):
        raise ValueError(f"'{label}{op}{written}' has one '=' too many; write {label}{op}{written.lstrip('= ')}")
    if written.startswith(_MARKS) or written.endswith(_MARKS):
        within = written.strip("".join(_MARKS)).replace('"', '\\"')
        words = f"'{label}{op}{written}': the quotation marks around the value are no pair of \""
        raise ValueError(f'{words}; write {label}{op}"{within}"')
    return written


def one_of(label: str, values: Sequence[str]) -> Matcher:
    """Return the matcher that accepts these values."""
    return Matcher(label, "in", tuple(values))


def accepted(matchers: Sequence[Matcher], labels: Labels) -> bool:
    """Return whether every matcher accepts."""
    return all(matcher.accepts(labels) for matcher in matchers)


Index = Mapping[str, Mapping[str, Sequence[int]]]
"""Label → value → which of many lists of matchers may accept it. A list that names no value stands under ""."""


def indexed(every: Sequence[Sequence[Matcher]]) -> Index:
    """Return an index of lists of matchers, by the values of one label of each: the one that most of all name."""
    named = [{each.label: each.names for each in matchers if each.names} for matchers in every]
    often = Counter(chain.from_iterable(named))
    index: dict[str, dict[str, list[int]]] = {}
    for number, found in enumerate(named):
        label = max(sorted(found), key=lambda each: often[each], default="")
        by_value = index.setdefault(label, {})
        for value in dict.fromkeys(found.get(label, ("",))):
            by_value.setdefault(value, []).append(number)
    return index


def candidates(index: Index, labels: Labels) -> list[int]:
    """Return which lists of matchers may accept the labels, in order."""
    found = (by_value.get(labels.get(label, ""), ()) for label, by_value in index.items())
    return sorted(chain.from_iterable(found))


def spelled(matchers: Sequence[Matcher]) -> str:
    """Return the matchers in words."""
    return ", ".join(map(str, matchers))


_DIALECT = "it has no backreferences and no lookaround, and repeats something at most 1000 times"


def _matches(expression: str, value: str) -> bool | None:
    """Return whether the expression matches the whole value; None for one that is not in the dialect."""
    pattern = _compiled(expression)
    return None if isinstance(pattern, str) else pattern.fullmatch(_encodable(value)) is not None


_known_answer = lru_cache(_ANSWERS)(_matches)


@lru_cache(_PATTERNS)
def _compiled(expression: str) -> re2._Regexp | str:
    """Return the compiled pattern, or what RE2 says is wrong with it."""
    import re2  # costs 8 ms, and most installations have no regular expression

    try:
        return re2.compile(_encodable(expression), _options())
    except re2.error as error:
        return str(error.args[0], "utf-8", "replace")


@cache
def _options() -> re2.Options:
    import re2

    options = re2.Options()
    options.log_errors, options.never_capture, options.max_mem = False, True, _MOST_MEMORY
    return options


def _encodable(text: str) -> str:
    """Return the text with every lone surrogate replaced: RE2 reads UTF-8, which has none."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)
