"""Text from telemetry, made fit to stand in a message: visible, on one line, and not endless."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping

_LONGEST = 1_000
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_MARKS = 2
"""Marks on one letter; more would be drawn over the lines above and below."""
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
"""Letters that show nothing, though Unicode counts them neither as spaces nor as control characters."""


def scrub(text: str, longest: int = _LONGEST) -> str:
    """Return ``text`` without control, bidirectional and invisible characters, on one line, cut to ``longest``."""
    line = " ".join("".join(_kept(text)).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _kept(text: str) -> Iterator[str]:
    marks = 0
    for letter in text:
        category = unicodedata.category(letter)[0]
        marks = marks + 1 if category == "M" else 0
        if letter.isspace() or (category != "C" and letter not in _BLANK and marks <= _MARKS):
            yield letter


def fill(template: str, values: Mapping[str, str]) -> str:
    """Return ``template`` with each ``{name}`` replaced by its value as plain text; an unknown name stays as it is."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)
