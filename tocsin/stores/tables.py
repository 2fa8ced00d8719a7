"""Azure Table Storage: the store in Azure. A partition is a rule on a target; its alerts and messages commit together.

What acts (executions, audit, their messages) is one partition of its own, so that the audit is one chain. Locks, marks
and the heartbeat are rows of their own, replaced by who read them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby, starmap
from typing import TYPE_CHECKING, Any, TypeVar

from tocsin.core.alert import Alert
from tocsin.core.audit import Record
from tocsin.core.message import Delivery, Settled
from tocsin.core.remedy import Execution
from tocsin.core.schedule import HOLD, PUT_OFF, has_come
from tocsin.core.unreadable import Unreadable, digest
from tocsin.ports import KEPT, Conflict, Kept, Loaded, Mark, StoreUnavailable
from tocsin.stores import beats, keys
from tocsin.stores.codec import Audited, divide, dump, has_parts, load, unite
from tocsin.stores.decoding import NOBODY, Passed, decoding, lost_execution, said
from tocsin.stores.partition import Ledger, body_of, reached
from tocsin.stores.rows import HEAD, Change, Row

if TYPE_CHECKING:
    from azure.data.tables import TableClient

TABLE = "tocsin"

_EVER = datetime(9999, 1, 1, tzinfo=UTC)

T = TypeVar("T")


class TableStore(Audited):
    """A store in one table. Safe for several writers; every method raises ``StoreUnavailable`` as the port says."""

    def __init__(self, table: TableClient) -> None:
        self._table = table
        self._ledger = Ledger(table)
        self._places: dict[str, str] = {}
        """In which partition the deliveries stand that were last seen waiting; any other is searched for everywhere."""
        self._parts: dict[type[Any], dict[str, tuple[str, dict[str, str]]]] = {}
        """By kind and partition the ETag of the head and the digests of the parts, as they were last read."""
        self._prepared = False
        self._passed = Passed()

    def unreadable(self) -> list[Unreadable]:
        """Return the rows that were passed over when their kind was read last."""
        return self._passed.rows

    def prepare(self) -> None:
        """Make the table unless it is there, once."""
        from azure.core.exceptions import ResourceExistsError

        if not self._prepared:
            with reached(), suppress(ResourceExistsError):
                self._table.create_table()
        self._prepared = True

    def close(self) -> None:
        """Close the connections."""
        self._table.close()

    # Alerts

    def load(self, rule: str, target: str) -> Loaded:
        """Return the stored alerts of one rule on one target."""
        partition = keys.partition(rule, target)
        head = self._ledger.head(partition)
        return _loaded(self._rows(partition, keys.ALERT), head.etag)

    def load_all(self, target: str) -> Mapping[str, Loaded]:
        """Return what ``load`` would for every rule that has anything stored on ``target``, in one query.

        A rule is left out whose partition a dead writer left half written in a way that nobody can finish.
        """
        stuck = {each.where for each in self._ledger.unfinished()}
        first = keys.partition("", target)
        etags: dict[str, str] = {}
        rows: dict[str, list[Any]] = {}
        for entity in self._ledger.across(first, f"{first}~", f"{keys.ALERT}~"):
            partition = str(entity["PartitionKey"])
            if entity["RowKey"] == HEAD:
                etags[partition] = entity.metadata["etag"]
            else:
                rows.setdefault(partition, []).append(entity)
        return {
            partition[len(first) :]: _loaded(rows.get(partition, []), etag)
            for partition, etag in etags.items()
            if partition not in stuck
        }

    def commit(
        self, rule: str, target: str, alerts: Iterable[Alert], deliveries: Iterable[Delivery], etag: str | None
    ) -> None:
        """Save alerts (idle ones are forgotten) and new deliveries, whole or not at all. Raises ``Conflict``."""
        partition = keys.partition(rule, target)
        given = list(alerts)
        puts = [keys.alert_row(each) for each in given if not each.idle]
        idle = {keys.alert_key(each) for each in given if each.idle}
        there = self._ledger.keys_of(partition, keys.ALERT, sorted(idle)) if idle else set()
        new = self._new(partition, deliveries)
        self._ledger.write(partition, etag, Change("", [*puts, *new], sorted(idle & there)))

    def open_alerts(self) -> list[Alert]:
        """Return every alert that is not idle."""
        self._finish()
        return self._passed.each("alerts", self._found(keys.ALERT), lambda each: load(Alert, body_of(each)), _alert)

    # Marks

    def mark(self, target: str) -> Mark:
        """Return the newest slots evaluated on ``target``."""
        head = self._ledger.head(keys.mark(target))
        with decoding(lambda: Unreadable("mark", keys.mark(target), target=target, etag=head.etag)):
            return replace(load(Mark, head.body), etag=head.etag) if head.etag else Mark()

    def save_mark(
        self, target: str, slots: Mapping[str, datetime], etag: str | None, lag: timedelta | None = None
    ) -> None:
        """Replace the mark of ``target``. Raises ``Conflict``."""
        self._ledger.write(keys.mark(target), etag, Change(dump(Mark(dict(slots), lag=lag))))

    # Messages

    def waiting(self, now: datetime) -> list[Delivery]:
        """Return unsettled deliveries whose time has come, oldest first; none that another writer holds."""
        self.prepare()  # a tick begins here: what could not be done when the app was composed is done now
        self._finish()
        rows = self._passed.each("waiting", self._found(keys.OUT, Settled.WAITING.value), _waiting, _message)
        self._places = {each.id: partition for each, _, partition in rows}
        found = [(each, held) for each, held, _ in rows]
        found.sort(key=lambda each: (each[0].sequence, each[0].id))
        first: dict[tuple[str, str], str] = {}
        for delivery, _ in found:
            first.setdefault((delivery.receiver, delivery.queue), delivery.id)
        return [
            delivery
            for delivery, held in found
            if first[delivery.receiver, delivery.queue] == delivery.id
            and has_come(delivery.not_before, now, PUT_OFF)
            and has_come(held, now, HOLD)
        ]

    def claim(self, delivery: Delivery, until: datetime) -> Delivery:
        """Hold a delivery against other writers until ``until``. Raises ``Conflict``."""
        entity = self._place(delivery.id)
        stored = _delivery(entity)
        if stored.state is not Settled.WAITING or stored.attempts != delivery.attempts:
            raise Conflict(delivery.id)
        held = replace(delivery, attempts=delivery.attempts + 1)
        self._replace(entity, held, until.timestamp())
        return held

    def settle(self, delivery: Delivery) -> None:
        """Replace a delivery that this writer claimed; one that another has settled meanwhile stays as it is."""
        while True:
            entity = self._place(delivery.id)
            if _delivery(entity).state is not Settled.WAITING:
                return None
            try:
                return self._replace(entity, delivery, 0.0)
            except Conflict:
                continue

    def delivery(self, identity: str) -> Delivery | None:
        """Return one delivery, wherever it was committed; None when there is none, or none any more."""
        try:
            return _delivery(self._place(identity))
        except Conflict:
            return None

    def deliveries(self, limit: int = 100) -> list[Delivery]:
        """Return the newest deliveries, newest first."""
        found = self._passed.each("deliveries", self._found(keys.OUT), _delivery, _message)
        return sorted(found, key=lambda each: (-each.created.timestamp(), each.id))[:limit]

    def enqueue(self, deliveries: Iterable[Delivery]) -> None:
        """Add deliveries that belong to no alert partition; one that is there already is left alone."""
        self.record(None, [], deliveries)

    # What acts

    def execution(self, identity: str) -> Execution | None:
        """Return one execution."""
        self._ledger.head(keys.ACTING)
        found = self._ledger.rows(keys.ACTING, keys.execution_key(identity), f"{keys.execution_key(identity)}~")
        with decoding(lambda: lost_execution(identity, keys.execution_key(identity), "", identity)):
            return load(Execution, body_of(found[0])) if found else None

    def executions(self) -> list[Execution]:
        """Return every execution, oldest first."""
        self._ledger.head(keys.ACTING)
        rows = self._ledger.rows(keys.ACTING, f"{keys.EXECUTION}|", f"{keys.EXECUTION}~")
        found = self._passed.each("executions", rows, lambda each: load(Execution, body_of(each)), _execution)
        return sorted(found, key=lambda each: (each.begun or each.intended or _EVER, each.id))

    def record(
        self, execution: Execution | None, entries: Sequence[Record], deliveries: Iterable[Delivery] = ()
    ) -> None:
        """Save an execution, its audit records and its messages, whole or not at all. Raises ``Conflict``."""
        given = list(deliveries)
        while True:
            head = self._ledger.head(keys.ACTING)
            puts = self._execution_row(execution)
            with decoding(lambda: Unreadable("audit", f"{keys.ACTING} {HEAD}")):
                rows, body = keys.chained(entries, head.body)
            try:
                return self._ledger.write(
                    keys.ACTING, head.etag, Change(body, [*puts, *rows, *self._new(keys.ACTING, given)])
                )
            except Conflict:
                continue  # the chain grew meanwhile: hang the records on its new end; a lost execution is seen above

    def kept(self, kind: type[T]) -> Mapping[str, Kept[T]]:
        """Return every value of a kind, by its key."""
        there: dict[str, tuple[str, dict[str, str]]] = {}

        def one(rows: Sequence[Any]) -> tuple[str, Kept[T]] | None:
            head, *parts = rows
            etag, texts = head.metadata["etag"], {str(each["RowKey"]): body_of(each) for each in parts}
            body = json.loads(body_of(head) or "{}")
            value = unite(kind, body["value"], texts.values()) if body else None
            there[str(head["PartitionKey"])] = etag, {key: digest(text) for key, text in texts.items()}
            return None if value is None else (str(body["key"]), Kept(value, etag))

        def named(rows: Sequence[Any]) -> Unreadable:
            partition = str(rows[0]["PartitionKey"])
            return Unreadable(kind.__name__, partition, partition.rpartition("|")[2])

        found = self._passed.each(f"kept {kind.__name__}", self._whole(kind), one, named)
        self._parts[kind] = there
        return dict(each for each in found if each)

    def keep(
        self, kind: type[T], key: str, value: T | None, etag: str | None, deliveries: Iterable[Delivery] = ()
    ) -> None:
        """Replace a value, or forget it, and enqueue deliveries, whole or not at all. Raises ``Conflict``.

        Of its parts only those are written that are others than what lies there.
        """
        partition = keys.kept(kind.__name__, key)
        there = self._there(kind, partition, etag)
        if etag is None:  # what was forgotten leaves its head behind
            head = self._ledger.head(partition)
            etag = head.etag if not head.body else None
        text, parts = ("", {}) if value is None else divide(value)
        rows = {row.key: row for row in starmap(keys.part_row, parts.items())}
        changed = [row for row in rows.values() if there.get(row.key) != digest(row.body)]
        body = "" if value is None else keys.kept_body(key, text)
        puts = [*changed, *self._new(partition, deliveries)]
        self._ledger.write(partition, etag, Change(body, puts, sorted(there.keys() - rows.keys())))

    def _whole(self, kind: type[Any]) -> list[list[Any]]:
        """Return the head and parts of each value, after whatever a dead writer left undone has been finished.

        One that nobody can finish is left out.
        """
        first, stuck = keys.kept(kind.__name__, ""), set[str]()
        while True:
            rows = self._ledger.across(first, f"{first}~", f"{keys.PART}~")
            if not {str(each["PartitionKey"]) for each in rows if each.get("Pending")} - stuck:
                every = groupby(rows, key=lambda each: str(each["PartitionKey"]))
                return [list(some) for partition, some in every if partition not in stuck]
            stuck = self._finish()

    def _finish(self) -> set[str]:
        """Finish what dead writers left; return the partitions in which nobody can."""
        lost = self._ledger.unfinished()
        self._passed.note("unfinished", lost)
        return {each.where for each in lost}

    def _there(self, kind: type[Any], partition: str, etag: str | None) -> Mapping[str, str]:
        """Return the parts that lie in a partition, each with the digest of its text: as read last, or read now."""
        if etag is None or not has_parts(kind):
            return {}
        read, there = self._parts.get(kind, {}).get(partition, ("", {}))
        if read == etag:
            return there
        return {str(each["RowKey"]): digest(body_of(each)) for each in self._rows(partition, keys.PART)}

    def audit_lines(self, since: int = 0, most: int | None = None) -> list[str]:
        """Return the audit chain's lines of the ``most`` places after record ``since``, oldest first."""
        self._ledger.head(keys.ACTING)
        return [body_of(each) for each in self._ledger.rows(keys.ACTING, *keys.audit_rows(since, most))]

    def audit_end(self) -> int:
        """Return the place of the newest audit record, 0 when there is none."""
        head = self._ledger.head(keys.ACTING)
        with decoding(lambda: Unreadable("audit", f"{keys.ACTING} {HEAD}")):
            return int(json.loads(head.body or '{"sequence": 0}')["sequence"])

    def _execution_row(self, execution: Execution | None) -> list[Row]:
        if execution is None:
            return []
        try:
            stored = self.execution(execution.id)
        except Unreadable as lost:
            raise Conflict(execution.id) from lost
        if (stored.version if stored else 0) != execution.version - 1:
            raise Conflict(execution.id)
        return [keys.execution_row(execution)]

    # Locks and the heartbeat

    def lock(self, name: str, owner: str, now: datetime, ttl: timedelta) -> bool:
        """Return whether ``owner`` now holds the lock ``name``; it frees itself after ``ttl``."""
        head = self._ledger.head(keys.lock(name))
        held = [head.body] if head.body else []
        free = self._passed.each(
            f"lock {name}",
            held,
            lambda body: _free(json.loads(body), owner, now, ttl),
            lambda _: Unreadable("lock", name),
        )
        if False in free:
            return False
        lost = len(free) < len(held)
        body = keys.lock_body(NOBODY if lost else owner, (now + ttl).timestamp())
        try:
            self._ledger.write(keys.lock(name), head.etag, Change(body))
        except Conflict:
            return False
        return not lost

    def unlock(self, name: str, owner: str) -> None:
        """Free the lock if ``owner`` holds it."""
        head = self._ledger.head(keys.lock(name))
        try:
            mine = bool(head.body) and json.loads(head.body)["owner"] == owner
        except (ValueError, TypeError, LookupError):
            mine = False  # whoever wants the lock next sees that it cannot be read
        if mine:
            with suppress(Conflict):
                self._ledger.write(keys.lock(name), head.etag, Change(""))

    def beat(self, now: datetime, failed: Sequence[str] = ()) -> None:
        """Write the heartbeat with what the tick failed at: the last thing a tick does."""
        beats.write(self._table, now, failed)

    def last_beat(self) -> datetime | None:
        """Return when the last tick ended."""
        return beats.read(self._table)[0]

    def last_failed(self) -> list[str]:
        """Return what the last tick that ended failed at."""
        return beats.read(self._table)[1]

    # Retention

    def sweep(self, now: datetime) -> int:
        """Forget messages that were settled more than thirty days ago; return how many."""
        settled = [*self._found(keys.OUT, Settled.DELIVERED.value), *self._found(keys.OUT, Settled.DEAD.value)]
        old = self._passed.each("settled", settled, lambda each: (now - _delivery(each).created > KEPT, each), _message)
        gone = [entity for is_old, entity in old if is_old]
        for entity in gone:
            with reached():
                self._table.delete_entity(str(entity["PartitionKey"]), str(entity["RowKey"]))
        return len(gone)

    # Rows

    def _rows(self, partition: str, kind: str) -> list[Mapping[str, Any]]:
        return self._ledger.rows(partition, f"{kind}|", f"{kind}~")

    def _found(self, kind: str, state: str | None = None) -> list[Any]:
        text = "Kind eq @kind" + ("" if state is None else " and State eq @state")
        known = {"kind": kind, **({} if state is None else {"state": state})}
        with reached():
            found = self._table.query_entities(text, parameters=known)
            return [{"Held": 0.0, **each, "etag": each.metadata["etag"]} for each in found]

    def _place(self, identity: str) -> Any:
        """Return the row of a delivery, wherever it was committed."""
        where, known = "RowKey eq @key", {"key": keys.out_key(identity)}
        place = self._places.get(identity)
        if place is not None:
            where, known = f"PartitionKey eq @partition and {where}", {**known, "partition": place}
        with reached():
            found = list(self._table.query_entities(where, parameters=known))
        if not found:
            raise Conflict(identity)
        return {**found[0], "etag": found[0].metadata["etag"]}

    def _replace(self, entity: Mapping[str, Any], delivery: Delivery, held: float) -> None:
        from azure.core import MatchConditions
        from azure.data.tables import UpdateMode

        row = keys.out_row(delivery)
        changed = {**row.entity(str(entity["PartitionKey"])), "Held": held}
        with reached():
            self._table.update_entity(
                changed, UpdateMode.REPLACE, etag=entity["etag"], match_condition=MatchConditions.IfNotModified
            )

    def _new(self, partition: str, deliveries: Iterable[Delivery]) -> list[Row]:
        """Return rows for the deliveries that are not there yet; the head's ETag guards against a race."""
        given = {keys.out_key(each.id): each for each in deliveries}
        if not given:
            return []
        there = self._ledger.keys_of(partition, keys.OUT, list(given))
        return [keys.out_row(each) for key, each in given.items() if key not in there]


def _loaded(rows: Iterable[Mapping[str, Any]], etag: str | None) -> Loaded:
    read = Passed()
    alerts = read.each("", rows, lambda each: load(Alert, body_of(each)), _alert)
    return Loaded({alert.by: alert for alert in alerts}, etag, read.rows)


def _alert(entity: Mapping[str, Any]) -> Unreadable:
    partition, key = str(entity["PartitionKey"]), str(entity["RowKey"])
    return Unreadable("alert", f"{partition} {key}", key.rpartition("|")[2], partition.split("|")[1])


def _message(entity: Mapping[str, Any]) -> Unreadable:
    partition, key = str(entity["PartitionKey"]), str(entity["RowKey"])
    identity = said(entity.get("B0"), "id")
    return Unreadable("message", identity or f"{partition} {key}", key.rpartition("|")[2], id=identity)


def _execution(entity: Mapping[str, Any]) -> Unreadable:
    key = str(entity["RowKey"])
    return lost_execution(f"{keys.ACTING} {key}", key.rpartition("|")[2], entity.get("B0"))


def _delivery(entity: Mapping[str, Any]) -> Delivery:
    with decoding(lambda: _message(entity)):
        return load(Delivery, body_of(entity))


def _waiting(entity: Mapping[str, Any]) -> tuple[Delivery, datetime, str]:
    """Return a message, until when it is held, and in which partition it is."""
    return _delivery(entity), datetime.fromtimestamp(float(entity["Held"]), UTC), str(entity["PartitionKey"])


def _free(held: Mapping[str, Any], owner: str, now: datetime, ttl: timedelta) -> bool:
    """Return whether the owner may take a lock that is held like this."""
    come = has_come(datetime.fromtimestamp(held["until"], UTC), now, ttl)
    return bool(held["owner"] == owner) or come


def connect(where: str, client_id: str | None = None, static_token: str | None = None) -> TableStore:
    """Return the store at ``where``: a connection string, or the address of a Table service for an identity."""
    from azure.data.tables import TableClient

    from tocsin.connections.identity import credential

    options: dict[str, Any] = {"retry_total": 2, "connection_timeout": 10, "read_timeout": 20}
    if where.startswith("https://"):
        table = TableClient(where, TABLE, credential=credential(client_id, static_token, where), **options)
    else:
        table = TableClient.from_connection_string(where, TABLE, **options)
    store = TableStore(table)
    with suppress(StoreUnavailable):  # an app that could not be composed could not even say that its state is gone
        store.prepare()
    return store
