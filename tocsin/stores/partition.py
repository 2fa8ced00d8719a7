"""One partition of a table as a small ledger: a head whose ETag every writer must present, and rows beside it.

A transaction of the service holds a hundred rows at most. A larger change is first written beside the ledger; the head
then names it, which is the moment it has happened; after that it is carried out in transactions that each present the
head's newest ETag. A writer that dies in between leaves the name in the head, and whoever reads next finishes the work.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tocsin.core.unreadable import Unreadable
from tocsin.ports import Conflict, StoreUnavailable, TooLarge
from tocsin.stores.decoding import Passed, decoding
from tocsin.stores.rows import HEAD, Change, Row, Step, transactions

if TYPE_CHECKING:
    from azure.data.tables import TableClient

_STAGED = "~"

_NAMED = 14
"""Keys that one query may name: the service takes fifteen comparisons."""

_CONFLICTS = {
    "UpdateConditionNotSatisfied",
    "EntityAlreadyExists",
    "ConditionNotMet",
    "ResourceNotFound",
    "EntityNotFound",
}

_TOO_LARGE = {"EntityTooLarge", "PropertyValueTooLarge", "RequestBodyTooLarge", "TooManyProperties", "KeyValueTooLarge"}


@dataclass(frozen=True, slots=True)
class Head:
    """The head as read. ``etag`` is None where the partition does not exist yet."""

    etag: str | None = None
    body: str = ""
    pending: str = ""
    done: int = 0


@dataclass(frozen=True, slots=True)
class Ledger:
    """The partitions of one table."""

    table: TableClient
    crash: list[str] = field(default_factory=list)
    """Names of points at which a test wants this writer to die."""

    def head(self, partition: str) -> Head:
        """Return the head, after whatever a dead writer left undone has been finished. Raises ``Unreadable``."""
        while True:
            with reached():
                head = self._read(partition)
            if not head.pending:
                return head
            try:
                self._finish(partition, head)
            except Conflict:
                continue  # somebody else is finishing it

    def rows(self, partition: str, first: str, last: str) -> list[Mapping[str, Any]]:
        """Return the entities of a partition whose keys are in ``[first, last)``, by key."""
        text = "PartitionKey eq @partition and RowKey ge @first and RowKey lt @last"
        with reached():
            found = self.table.query_entities(text, parameters={"partition": partition, "first": first, "last": last})
            return sorted(found, key=lambda entity: str(entity["RowKey"]))

    def keys_of(self, partition: str, kind: str, wanted: Sequence[str]) -> set[str]:
        """Return which of these keys of one kind there are in a partition, without reading what the rows hold."""
        bounds = {"first": f"{kind}|", "last": f"{kind}~"}
        text, known = "RowKey ge @first and RowKey lt @last", {"partition": partition, **bounds}
        if len(wanted) <= _NAMED:
            known |= {f"k{number}": key for number, key in enumerate(wanted)}
            text = f"( {' or '.join(f'RowKey eq @k{number}' for number in range(len(wanted)))} )"
        with reached():
            rows = self.table.query_entities(
                f"PartitionKey eq @partition and {text}", parameters=known, select=["RowKey"]
            )
            found = {str(each["RowKey"]) for each in rows}
        return found & set(wanted)

    def across(self, first: str, last: str, below: str) -> list[Any]:
        """Return the entities of the partitions in ``[first, last)`` whose keys are below ``below``, heads first."""
        text = "PartitionKey ge @first and PartitionKey lt @last and RowKey lt @below"
        with reached():
            found = list(self.table.query_entities(text, parameters={"first": first, "last": last, "below": below}))
        return sorted(found, key=lambda entity: (str(entity["PartitionKey"]), str(entity["RowKey"])))

    def unfinished(self) -> list[Unreadable]:
        """Finish what dead writers left in any partition; return those where that cannot be read."""
        with reached():
            found = [
                str(each["PartitionKey"])
                for each in self.table.query_entities("Pending gt ''", select=["PartitionKey"])
            ]
        read = Passed()
        read.each("", found, self.head, _partition)
        return read.rows

    def write(self, partition: str, etag: str | None, change: Change) -> None:
        """Make the change, whole or not at all. Raises ``Conflict`` when the head is another than ``etag``.

        Raises ``TooLarge``, and writes nothing, for a row that the service does not hold.
        """
        parts = transactions(partition, change)
        if len(parts) == 1:
            with reached():
                self._transact([_head(partition, etag, change.body), *_operations(partition, parts[0])])
            return
        name = uuid.uuid4().hex
        self._stage(partition, name, parts)
        self._die("staged")
        try:
            with reached():
                self._transact([_head(partition, etag, change.body, name)])
        except Conflict:
            self._unstage(partition, name)
            raise
        self._die("named")
        self.head(partition)  # finishes it, unless whoever read meanwhile has done so

    def _stage(self, partition: str, name: str, parts: Iterable[Sequence[Step]]) -> None:
        """Write the change beside the ledger, where nobody looks until the head names it."""
        for number, steps in enumerate(parts):
            text = json.dumps([_staged(row, key) for row, key in steps], ensure_ascii=False)
            entity = Row(f"{_STAGED}{name}{number:06}", text, "staged").staging(partition)
            with reached():
                self.table.upsert_entity(entity)

    def _finish(self, partition: str, head: Head) -> None:
        staged = self.rows(partition, f"{_STAGED}{head.pending}", f"{_STAGED}{head.pending}~")
        etag = head.etag
        for number, entity in enumerate(staged):
            if number < head.done:
                continue
            with decoding(lambda: _partition(partition)):
                steps = [_unstaged(step) for step in json.loads(body_of(entity))]
            with reached():
                moved = _head(partition, etag, head.body, head.pending, number + 1)
                etag = self._transact([moved, *_operations(partition, steps)])
            self._die(f"chunk {number}")
        with reached():
            self._transact([_head(partition, etag, head.body)])
        self._die("unstaged")
        self._unstage(partition, head.pending)

    def _unstage(self, partition: str, name: str) -> None:
        """Take away what was written beside the ledger; somebody else may be doing so."""
        for entity in self.rows(partition, f"{_STAGED}{name}", f"{_STAGED}{name}~"):
            with suppress(Conflict), reached():
                self.table.delete_entity(partition, str(entity["RowKey"]))

    def _read(self, partition: str) -> Head:
        from azure.core.exceptions import ResourceNotFoundError

        try:
            entity = self.table.get_entity(partition, HEAD)
        except ResourceNotFoundError:
            return Head()
        with decoding(lambda: _partition(partition)):
            return Head(entity.metadata["etag"], body_of(entity), str(entity["Pending"]), int(entity["Done"]))

    def _transact(self, operations: list[Any]) -> str:
        """Make the operations together and return the ETag of the first."""
        return str(self.table.submit_transaction(operations)[0].get("etag") or "")

    def _die(self, point: str) -> None:
        if point in self.crash:
            raise KeyboardInterrupt(point)


@contextmanager
def reached() -> Iterator[None]:
    """Turn the service's refusals into ``Conflict`` and ``TooLarge``, all other failures into ``StoreUnavailable``."""
    from azure.core.exceptions import (
        AzureError,
        HttpResponseError,
        ResourceExistsError,
        ResourceModifiedError,
        ResourceNotFoundError,
    )

    try:
        yield
    except (ResourceModifiedError, ResourceExistsError, ResourceNotFoundError) as error:
        raise Conflict(type(error).__name__) from error
    except HttpResponseError as error:
        given = getattr(error, "error_code", None)
        code = str(getattr(given, "value", given))
        if code in _CONFLICTS or error.status_code in (404, 409, 412):
            raise Conflict(code) from error
        if code in _TOO_LARGE or error.status_code == 413:
            raise TooLarge(f"the service does not hold it: {code}") from error
        raise StoreUnavailable(f"the table cannot be used: {error.status_code}") from error
    except AzureError as error:
        raise StoreUnavailable(f"the table cannot be used: {type(error).__name__}") from error


def _partition(partition: str) -> Unreadable:
    """Return a partition whose head, or what is staged beside it, cannot be read."""
    what, *names = partition.split("|")
    if what == "kept":
        return Unreadable(names[0], partition, names[1])
    target = names[0] if what in ("alerts", "mark") else ""
    return Unreadable("alert" if what == "alerts" else what, partition, target=target)


def body_of(entity: Mapping[str, Any]) -> str:
    """Return the text of an entity, put together from its pieces."""
    return "".join(str(entity.get(f"B{number}") or "") for number in range(int(entity.get("Pieces") or 0)))


def _head(partition: str, etag: str | None, body: str, pending: str = "", done: int = 0) -> Any:
    from azure.core import MatchConditions
    from azure.data.tables import UpdateMode

    entity = {**Row(HEAD, body, "head").entity(partition), "Pending": pending, "Done": done}
    if etag is None:
        return "create", entity
    return (
        "update",
        entity,
        {"mode": UpdateMode.REPLACE, "etag": etag, "match_condition": MatchConditions.IfNotModified},
    )


def _operations(partition: str, steps: Iterable[Step]) -> list[Any]:
    from azure.data.tables import UpdateMode

    replace = {"mode": UpdateMode.REPLACE}
    return [("upsert", row.entity(partition), replace) if row else _drop(partition, key) for row, key in steps]


def _drop(partition: str, key: str) -> Any:
    return "delete", {"PartitionKey": partition, "RowKey": key}


def _staged(row: Row | None, key: str) -> list[str]:
    return ["put", key, row.body, row.kind, row.state] if row else ["drop", key, "", "", ""]


def _unstaged(step: Sequence[str]) -> Step:
    verb, key, text, kind, state = step
    return (Row(key, text, kind, state) if verb == "put" else None), key
