"""Decoding rows each by itself: one that cannot be read is passed over, and remembered until its kind is read again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from tocsin.core.unreadable import Unreadable
from tocsin.ports import Conflict, StoreUnavailable, TooLarge

NOBODY = "nobody known: what stood here could not be read"
"""Holds a lock in the place of an owner that cannot be read."""

T = TypeVar("T")
U = TypeVar("U")


@contextmanager
def decoding(named: Callable[[], Unreadable]) -> Iterator[None]:
    """Turn whatever decoding raises into what ``named`` returns, with the exception's name; the store's own pass."""
    failed = ""
    try:
        yield
    except (StoreUnavailable, Conflict, TooLarge, Unreadable):
        raise
    except Exception as error:
        failed = type(error).__name__
    if failed:  # raised here, so that it keeps no frame with every other row alive
        row = named()
        row.error = failed
        raise row


@dataclass(slots=True)
class Passed:
    """Which rows each read passed over when it was done last."""

    _rows: dict[str, list[Unreadable]] = field(default_factory=dict)

    def each(
        self, read: str, items: Iterable[U], decode: Callable[[U], T], named: Callable[[U], Unreadable]
    ) -> list[T]:
        """Return what can be decoded, in order, and remember the rest under the name of this read."""
        found: list[T] = []
        lost: list[Unreadable] = []
        for item in items:
            try:
                found.append(decode(item))
            except (StoreUnavailable, Conflict, TooLarge):
                raise
            except Exception as error:
                lost.append(error if isinstance(error, Unreadable) else _as(named(item), error))
        self.note(read, lost)
        return found

    def note(self, read: str, lost: list[Unreadable]) -> None:
        """Remember what one read passed over; nothing where it could read all."""
        if lost:
            self._rows[read] = [each.with_traceback(None) for each in lost]
        else:
            self._rows.pop(read, None)

    @property
    def rows(self) -> list[Unreadable]:
        """Return every row that was passed over."""
        return [each for rows in list(self._rows.values()) for each in rows]


def _as(row: Unreadable, error: Exception) -> Unreadable:
    row.error = type(error).__name__
    return row


def said(body: object, name: str) -> str:
    """Return the text that a broken JSON object still has under a name, or an empty text."""
    found = re.search(rf'"{name}":\s*"([^"\\]*)"', body) if isinstance(body, str) else None
    return found[1] if found else ""


def lost_execution(where: str, key: str, body: object, identity: str = "") -> Unreadable:
    """Return an execution that cannot be read, with what its row still says of it."""
    identity = identity or said(body, "id")
    parts = identity.split("/")  # policy/rule/target/…; of what a person ordered the target is in the row alone
    target = said(body, "target") or (parts[2] if len(parts) > 3 and parts[0] != "person" else "")
    return Unreadable("execution", identity or where, key, target, identity)
