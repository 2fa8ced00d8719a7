"""Which of a rule's alerts is meant: its ``by`` values, and what stands for those that no row has."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from tocsin.core.text import normalize


class Special(Enum):
    """What stands in place of a ``by`` value that no row has. It equals no text, so that no telemetry can spell it."""

    STORM = "too many instances"
    CONFIGURATION = "(configuration)"
    """What the app is set to, which has none of the rows' dimensions."""


Instance = tuple[tuple[str, str | Special], ...]
"""The ``by`` values of one alert, sorted by name; empty for a rule without ``by``."""

STORM: Instance = (("storm", Special.STORM),)
"""The one instance that stands for all of a rule's, when there are more than ``max_instances``."""


def written(by: Instance) -> list[list[str]]:
    """Return an instance as it is stored and hashed: a text that looks like a special value gets a line feed after it.

    No normalized text has one. Stores from before there were special values hold the same form.
    """
    return [[name, _written(value)] for name, value in by]


def key_of(by: Instance) -> str:
    """Return the text by which an instance is stored."""
    return json.dumps(written(by))


def _written(value: str | Special) -> str:
    if isinstance(value, Special):
        return value.value
    return f"{value}\n" if value.rstrip("\n") in _SPECIAL else value


def _read(stored: Any) -> Any:
    """Return the instance that ``written`` wrote; anything else as it is, for pydantic to judge."""
    if not isinstance(stored, list):
        return stored
    return tuple((name, _SPECIAL.get(value) or _plain(value)) for name, value in stored)


def _plain(value: str) -> str:
    return value.removesuffix("\n") if value.rstrip("\n") in _SPECIAL else value


_SPECIAL = {each.value: each for each in Special}


def by_hash(by: Instance) -> str:
    """Return twelve hexadecimal digits that stand for the ``by`` values; ``all`` when there are none."""
    texts = tuple((name, value) for name, value in written(by))
    return hashlib.sha256(repr(texts).encode()).hexdigest()[:12] if by else "all"


def instance(values: Mapping[str, str | Special]) -> Instance:
    """Return the instance that has these ``by`` values, each text normalized: here telemetry becomes an identity."""
    found = ((name, value if isinstance(value, Special) else normalize(value)) for name, value in values.items())
    return tuple(sorted(found, key=lambda pair: pair[0]))


def texts(by: Instance) -> dict[str, str]:
    """Return the ``by`` values that are texts, by name: what labels are made of."""
    return {name: value for name, value in by if isinstance(value, str)}


def shown(by: Instance) -> dict[str, str]:
    """Return all ``by`` values in words, by name: for people to read, never to compare."""
    return {name: value.value if isinstance(value, Special) else value for name, value in by}


Stored = Annotated[Instance, BeforeValidator(_read), PlainSerializer(written)]
"""An instance as a field of what is stored."""
