"""Stored values as JSON text and back, the same for every store."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from pydantic import TypeAdapter

T = TypeVar("T")

_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def dump(value: Any) -> str:
    """Return ``value`` (a frozen dataclass of ``core``) as JSON text."""
    return _adapter(type(value)).dump_json(value).decode()


def load(kind: type[T], text: str) -> T:
    """Return the value of type ``kind`` that ``dump`` wrote. Raises pydantic's ValidationError on anything else."""
    return cast(T, _adapter(kind).validate_json(text))
