"""Stored values as JSON text and back, the same for every store."""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter

from tocsin.core.audit import End, lines_of
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
