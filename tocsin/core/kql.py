"""KQL literals: any value becomes text that reads back as exactly that value, and as nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

_ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def text(value: str) -> str:
    """Return a string literal. Letters beyond ASCII stand as they are. Raises ValueError for NUL and lone surrogates.

    Only escapes that Kusto and the embedded engine read alike are used; NUL has none.
    """
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError("a KQL text cannot hold NUL or half a surrogate pair")
    return "'" + "".join(_ESCAPES.get(letter, letter) for letter in value) + "'"


def texts(values: Iterable[str]) -> str:
    """Return a parenthesised list of string literals, for ``in``; an empty one matches nothing."""
    return "(" + ", ".join(text(value) for value in values or ("",)) + ")"


def time(value: datetime) -> str:
    """Return a datetime literal in UTC, to the microsecond. Raises ValueError for a naive datetime."""
    if value.tzinfo is None:
        raise ValueError("a datetime without a zone has no place in a query")
    return f"datetime({value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z)"


def span(value: timedelta) -> str:
    """Return a timespan literal in whole seconds."""
    return f"{int(value.total_seconds())}s"


def name(value: str) -> str:
    """Return a column name, bracketed where it must be. Raises ValueError where no bracket helps."""
    if _NAME.fullmatch(value):
        return value
    if "'" in value or "\\" in value or "\n" in value:
        raise ValueError(f"'{value}' cannot be a column name")
    return f"['{value}']"
