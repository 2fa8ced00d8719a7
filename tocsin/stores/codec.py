"""Stored values as JSON text and back, the same for every store."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter

from tocsin.core import group_rows
from tocsin.core.audit import End, lines_of
from tocsin.core.group import Group
from tocsin.core.group_rows import Part
from tocsin.ports import Diverged

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


_DIVIDED: Mapping[Any, tuple[Any, Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    Group: (Part, group_rows.divided, group_rows.united)
}
"""Kinds of values that grow: what their parts are, and how one is taken apart and put together."""


def has_parts(kind: type[Any]) -> bool:
    """Return whether values of a kind have parts, each of which is a row of its own."""
    return kind in _DIVIDED


def divide(value: Any) -> tuple[str, dict[str, str]]:
    """Return the text of a value without its parts, and the text of each part by its key."""
    if not has_parts(type(value)):
        return dump(value), {}
    head, parts = _DIVIDED[type(value)][1](value)
    return dump(head), {part.key: dump(part) for part in parts}


def unite(kind: type[T], head: str, parts: Iterable[str]) -> T:
    """Return the value that ``divide`` wrote. Raises pydantic's ValidationError on anything else."""
    if not has_parts(kind):
        return load(kind, head)
    part, _, united = _DIVIDED[kind]
    return cast(T, united(load(kind, head), [load(part, text) for text in parts]))


class Audited:
    """What every store says of its audit chain, once it can say the lines."""

    @abstractmethod
    def audit_lines(self, since: int = 0, most: int | None = None) -> list[str]:
        """Return the audit chain's lines of the ``most`` places after record ``since``, oldest first, as stored."""

    def audit(self, since: int = 0, most: int | None = None) -> list[dict[str, Any]]:
        """Return the records of the audit chain after record ``since``, oldest first, each as it was hashed."""
        return [json.loads(line) for line in self.audit_lines(since, most)]


def last_line(data: bytes, *, whole: bool) -> End | None:
    """Return the end of the chain whose last bytes these are; None when the last line does not begin within them.

    ``whole`` says that they are all there is. Raises ``Diverged`` when the last line is no sound record.
    """
    if not data and whole:
        return End()
    begins = data[:-1].rfind(b"\n") + 1
    if not begins and not whole:
        return None
    (line,) = lines_of([data[begins:-1]])
    if line.flaw or data[-1:] != b"\n":
        raise Diverged(f"the last line of the audit's copy {line.flaw or 'has no end'}")
    return line.end
