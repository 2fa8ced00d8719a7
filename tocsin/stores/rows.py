"""Rows, and how much one holds: the limits of Table Storage, checked here for every store, so that none takes more.

Belongs here: what fits and how a change is cut into transactions. Does not belong here: how anything is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tocsin.ports import TooLarge

HEAD = "!head"
"""The key of a partition's head. It sorts before every other row, so it is never newer than what is read after it."""

KEY = 512
"""UTF-16 units of a key: 1 KiB."""

_PIECE = 16_000
"""Characters of one property: it holds 64 KiB of UTF-16, and a character may take four bytes."""

ROW = 480_000
"""Bytes of a row's text. The service holds 1 MiB; what stages a row escapes its text once more, which may double it."""

_STAGED = 2 * ROW + 40_000
"""Bytes of a text that stages rows of ``ROW`` bytes together, with their keys."""

TOGETHER = 99
"""Rows of one transaction beside the head: the service takes a hundred operations."""

BATCH = 3_000_000
"""Bytes of the texts of one transaction: the service takes 4 MiB, with the keys and headers of each operation."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its key, its text, what kind it is and what it can be looked up by."""

    key: str
    body: str
    kind: str
    state: str = ""

    def entity(self, partition: str) -> dict[str, Any]:
        """Return the row as the service takes it, its text in pieces. Raises ``TooLarge``."""
        return self._entity(partition, ROW)

    def staging(self, partition: str) -> dict[str, Any]:
        """Return a row that stages others, as the service takes it."""
        return self._entity(partition, _STAGED)

    def _entity(self, partition: str, most: int) -> dict[str, Any]:
        for key in (partition, self.key):
            if _units(key) > KEY:
                raise TooLarge(f"the key {key[:60]}… has {_units(key)} UTF-16 units; a key holds {KEY}")
        if (size := size_of(self.body)) > most:
            raise TooLarge(f"{self.key} of {partition[:200]} has {size} bytes; a row holds {most}")
        pieces = [self.body[at : at + _PIECE] for at in range(0, len(self.body), _PIECE)]
        keys = {"PartitionKey": partition, "RowKey": self.key, "Kind": self.kind, "State": self.state}
        return {**keys, "Pieces": len(pieces), **{f"B{number}": piece for number, piece in enumerate(pieces)}}


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of a partition: the head's text, rows to put in place and keys, which are there, to remove."""

    body: str = ""
    puts: Sequence[Row] = ()
    drops: Sequence[str] = ()


Step = tuple[Row | None, str]
"""A row to put in place, or None and the key of one to remove."""


def size_of(text: str) -> int:
    """Return how many bytes a text takes: as it is sent (JSON in ASCII) or as it is stored (UTF-16), the larger."""
    return max(len(json.dumps(text)) - 2, 2 * _units(text))


def transactions(partition: str, change: Change) -> list[list[Step]]:
    """Return the change in parts that one transaction takes each, beside the head. Raises ``TooLarge``.

    Where it takes several, each part is also what one row can stage.
    """
    rows = [Row(HEAD, change.body, "head"), *change.puts]
    for row in rows:
        row.entity(partition)
    steps = list(_steps(change))
    if len(steps) <= TOGETHER and sum(size_of(row.body) for row in rows) <= BATCH:
        return [steps]
    return list(_grouped(steps))


def _grouped(steps: Iterable[Step]) -> Iterator[list[Step]]:
    group: list[Step] = []
    size = 0
    for step in steps:
        more = size_of(step[0].body) if step[0] else 0
        if group and (len(group) == TOGETHER or size + more > ROW):
            yield group
            group, size = [], 0
        group.append(step)
        size += more
    if group:
        yield group


def _steps(change: Change) -> Iterator[Step]:
    yield from ((row, row.key) for row in change.puts)
    yield from ((None, key) for key in change.drops)


def _units(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2
