"""Text from outside, made fit for labels, rows and messages: visible, on one line, and not endless."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

LONGEST_LABEL = 256
"""Bytes of a label's value. A row of the store holds 32 KiB a property, and a group keeps the labels of its members."""
LONGEST_TEXT = 4_096
"""Bytes of any other text from outside: what a signal lists as safe to show, a cell of an answer, a description."""

_LONGEST = 1_000
_READ = 65_536
"""Letters that are looked at one by one: beyond them only the digest tells two texts apart."""
PLACEHOLDER = re.compile(r"\{(\w+)\}")
"""What a text has in place of a value that is known only once an alert fires: ``{target}``."""
_MARKS = 2
"""Marks on one letter; more would be drawn over the lines above and below."""
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0") | frozenset(
    map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
)
"""Letters that show nothing, though Unicode counts them neither as spaces nor as control characters."""


def normalize(text: str, most: int = LONGEST_LABEL) -> str:
    """Return ``text`` as labels, matchers, the store and every display spell it: at most ``most`` bytes of UTF-8.

    Whitespace of every kind is one space, and none at the ends; control, zero-width and bidirectional characters are
    gone; half a surrogate pair is U+FFFD; letters are in NFC. What is too long ends in a digest of the whole, so that
    two long texts stay two. Normalizing twice changes nothing.
    """
    line = one_line(text)
    if len(line.encode()) <= most and len(text) <= _READ:
        return line
    return _cut(line, line + text[_READ:], most)


def bounded(text: str, most: int = LONGEST_TEXT) -> str:
    """Return ``text`` as it is but for half surrogate pairs, cut to ``most`` bytes of UTF-8 as ``normalize`` cuts."""
    whole = text.encode("utf-8", "replace").decode()
    return whole if len(whole.encode()) <= most else _cut(whole, whole, most)


def _cut(text: str, whole: str, most: int) -> str:
    ending = "…" + hashlib.sha256(whole.encode("utf-8", "replace")).hexdigest()[:12]
    return text.encode()[: most - len(ending.encode())].decode("utf-8", "ignore").rstrip() + ending


def scrub(text: str, longest: int = _LONGEST) -> str:
    """Return ``text`` on one line for people to read, cut to ``longest`` letters. Two texts may become one."""
    return cut(one_line(text), longest)


def cut(text: str, longest: int) -> str:
    """Return at most ``longest`` letters of a text, the last of which shows that there was more."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def one_line(text: str) -> str:
    """Return ``text`` without what cannot be seen, on one line, in NFC; of a very long one the beginning."""
    if text.isascii() and text.isprintable():
        return " ".join(text[:_READ].split())
    # Before the letters are counted, and again: what was between two of them may be gone.
    seen = "".join(_kept(unicodedata.normalize("NFC", text[:_READ])))
    return " ".join(unicodedata.normalize("NFC", seen).split())


def _kept(text: str) -> Iterator[str]:
    marks = 0
    for letter in text:
        category = unicodedata.category(letter)
        marks = marks + 1 if category[0] == "M" else 0
        if category == "Cs":
            yield "\ufffd"
        elif letter.isspace():
            yield " "
        elif category[0] != "C" and letter not in _BLANK and marks <= _MARKS:
            yield letter


def redacted(text: str, secrets: Iterable[str]) -> str:
    """Return ``text`` with an ellipsis in place of each secret, in whichever case somebody repeats it."""
    longest_first = sorted(filter(None, secrets), key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), "…", text, flags=re.IGNORECASE) if longest_first else text


def fill(template: str, values: Mapping[str, str]) -> str:
    """Return ``template`` with each ``{name}`` replaced by its value as plain text; an unknown name stays as it is."""
    return PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)
