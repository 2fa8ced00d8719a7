"""KQL as text: any value becomes a literal that reads back as exactly that value, and as nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

_ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_QUIET = re.compile(
    r"""```.*?```|~~~.*?~~~|@"(?:""|[^"])*"|@'(?:''|[^'])*'|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|//[^\n]*""",
    re.DOTALL,
)
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_PAST_THE_WINDOW = (
    re.compile(r"\b(ago|now)\s*\("),
    re.compile(r"\b(cluster|database|workspace|app|resource|adx|arg|table|external_table|materialized_view)\s*\("),
    re.compile(r"\b(externaldata)\b"),
    re.compile(r"(?:^|;|(?<!\w)\()\s*(search|find)\b"),
    re.compile(r"\b(union)\b[^|;]*\*"),
)


def text(value: str) -> str:
    """Return a string literal. Letters beyond ASCII stand as they are. Raises ValueError for NUL and lone surrogates.

    Only escapes that Kusto and the embedded engine read alike are used: of ``\\uXXXX`` the latter makes ``uXXXX``, and
    for NUL they share none.
    """
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError("a KQL text cannot hold NUL or half a surrogate pair")
    return "'" + "".join(_ESCAPES.get(letter, letter) for letter in value) + "'"


def texts(values: Iterable[str]) -> str:
    """Return a parenthesised list of string literals, for ``in``; an empty one matches nothing."""
    listed = ", ".join(text(value) for value in values)
    return f"({listed})" if listed else "(dynamic([]))"


def time(value: datetime) -> str:
    """Return a datetime literal in UTC, to the microsecond. Raises ValueError for a naive datetime."""
    if value.tzinfo is None:
        raise ValueError("a datetime without a zone has no place in a query")
    return f"datetime({value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z)"


def span(value: timedelta) -> str:
    """Return a timespan literal in whole seconds. Raises ValueError when there is a fraction, which would be lost."""
    if value % timedelta(seconds=1):
        raise ValueError(f"{value} is not a whole number of seconds")
    return f"{value // timedelta(seconds=1)}s"


def name(value: str) -> str:
    """Return a column name in brackets, so that it may be any text, a keyword too. Raises ValueError for none."""
    if not value:
        raise ValueError("a column needs a name")
    return f"[{text(value)}]"


def code(query: str) -> str:
    """Return the query with its string literals and comments blanked out, each letter at its place."""
    return _QUIET.sub(lambda quiet: re.sub(r"[^\n]", " ", quiet[0]), query)


def renamed(query: str, names: Mapping[str, str]) -> str:
    """Return the query in which each word of its code that ``names`` knows is another; members after a dot are not."""
    if not names:
        return query
    words = re.compile(rf"(?<![\w.])(?:{'|'.join(map(re.escape, names))})(?!\w)")
    out, last = "", 0
    for found in words.finditer(code(query)):
        out, last = out + query[last : found.start()] + names[found[0]], found.end()
    return out + query[last:]


def statements(query: str) -> list[str] | None:
    """Return the statements between semicolons; None where brackets do not match, so that it cannot be told."""
    parts, depth, begun = [], [], 0
    for at, letter in enumerate(code(query)):
        if letter in _BRACKETS:
            depth.append(_BRACKETS[letter])
        elif letter in _BRACKETS.values() and (not depth or depth.pop() != letter):
            return None
        elif letter == ";" and not depth:
            parts.append(query[begun:at])
            begun = at + 1
    parts.append(query[begun:])
    return None if depth else [part.strip() for part in parts if code(part).strip()]


def past_the_window(query: str) -> tuple[str, ...]:
    """Return the words with which an author's query would read past the window and the target bound outside it.

    These are the wall clock, other databases and tables by name, and operators that read every table. It finds
    mistakes; it does not defend against an author who hides them.
    """
    found = (match[1] for pattern in _PAST_THE_WINDOW for match in pattern.finditer(code(query)))
    return tuple(dict.fromkeys(found))
