"""JSON that somebody sent: read only when it is no larger and no deeper than expected."""

from __future__ import annotations

import json
import re
from typing import Any

_LONGEST = 1024 * 1024
"""Bytes. Event Grid sends at most this in one batch, an action group a quarter of it."""

_DEEPEST = 64
"""Brackets in brackets. Alerts of Azure Monitor have about ten; Python's reader fails at about a thousand."""

_BRACKETS = re.compile(r'(?s)"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]')
"""A string, whole or unfinished, or one bracket outside of any: read in one pass, whatever the text."""


class TooLarge(ValueError):
    """The body has more bytes than are read."""


def parsed(body: bytes, longest: int = _LONGEST) -> Any:
    """Return what the JSON text holds. What is no finite number is None; of a key given twice the last value counts.

    Raises ``TooLarge`` for more than ``longest`` bytes, ValueError for all else that is not read, saying why.
    """
    if len(body) > longest:
        raise TooLarge(f"larger than {longest} bytes")
    try:
        text = body.decode("utf-8-sig")
        deep = _depth(text) > _DEEPEST
        found = None if deep else json.loads(text, parse_constant=_nothing, parse_float=_finite)
    except ValueError as error:
        raise ValueError("not JSON") from error
    if deep:
        raise ValueError(f"deeper than {_DEEPEST} levels")
    return found


def _depth(text: str) -> int:
    depth = deepest = 0
    for match in _BRACKETS.finditer(text):
        first = match[0][0]
        depth += 1 if first in "[{" else -1 if first in "]}" else 0
        deepest = max(deepest, depth)
    return deepest


def _nothing(_constant: str) -> None:
    return None


def _finite(text: str) -> float | None:
    number = float(text)
    return number if abs(number) != float("inf") else None
