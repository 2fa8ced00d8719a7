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

from tocsin.core.alert import Alert, Instance
from tocsin.core.audit import Record
from tocsin.core.message import Delivery, Settled
from tocsin.core.remedy import Execution
from tocsin.core.schedule import PUT_OFF, has_come
from tocsin.ports import KEPT, Conflict, Kept, Loaded, Mark, StoreUnavailable
from tocsin.stores import beats, keys
from tocsin.stores.codec import Audited, divide, dump, has_parts, load, unite
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
        alerts = [load(Alert, body_of(each)) for each in self._rows(partition, keys.ALERT)]
        return Loaded({alert.by: alert for alert in alerts}, head.etag)

    def load_all(self, target: str) -> Mapping[str, Loaded]:
        """Return what ``load`` would for every rule that has anything stored on ``target``, in one query."""
        self._ledger.unfinished()
        first = keys.partition("", target)
        etags: dict[str, str] = {}
        alerts: dict[str, dict[Instance, Alert]] = {}
        for entity in self._ledger.across(first, f"{first}~", f"{keys.ALERT}~"):
            rule = str(entity["PartitionKey"])[len(first) :]
            if entity["RowKey"] == HEAD:
                etags[rule] = entity.metadata["etag"]
            else:
                alert = load(Alert, body_of(entity))
                alerts.setdefault(rule, {})[alert.by] = alert
        return {rule: Loaded(alerts.get(rule, {}), etag) for rule, etag in etags.items()}

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
        self._ledger.unfinished()
        return [load(Alert, body_of(each)) for each in self._found(keys.ALERT)]

    # Marks

    def mark(self, target: str) -> Mark:
        """Return the newest slots evaluated on ``target``."""
        head = self._ledger.head(keys.mark(target))
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
        self._ledger.unfinished()
        rows = list(self._found(keys.OUT, Settled.WAITING.value))
        found = [(load(Delivery, body_of(each)), float(each["Held"])) for each in rows]
        self._places = {each.id: str(row["PartitionKey"]) for (each, _), row in zip(found, rows, strict=True)}
        found.sort(key=lambda each: (each[0].sequence, each[0].id))
        first: dict[tuple[str, str], str] = {}
        for delivery, _ in found:
            first.setdefault((delivery.receiver, delivery.queue), delivery.id)
        return [
            delivery
            for delivery, held in found
            if first[delivery.receiver, delivery.queue] == delivery.id
            and has_come(delivery.not_before, now, PUT_OFF)
            and has_come(datetime.fromtimestamp(held, UTC), now, PUT_OFF)
        ]

    def claim(self, delivery: Delivery, until: datetime) -> Delivery:
        """Hold a delivery against other writers until ``until``. Raises ``Conflict``."""
        entity = self._place(delivery.id)
        stored = load(Delivery, body_of(entity))
        if stored.state is not Settled.WAITING or stored.attempts != delivery.attempts:
            raise Conflict(delivery.id)
        held = replace(delivery, attempts=delivery.attempts + 1)
        self._replace(entity, held, until.timestamp())
        return held

    def settle(self, delivery: Delivery) -> None:
        """Replace a delivery that this writer claimed; one that another has settled meanwhile stays as it is."""
        while True:
            entity = self._place(delivery.id)
            if load(Delivery, body_of(entity)).state is not Settled.WAITING:
                return None
            try:
                return self._replace(entity, delivery, 0.0)
            except Conflict:
                continue

    def delivery(self, identity: str) -> Delivery | None:
        """Return one delivery, wherever it was committed; None when there is none, or none any more."""
        try:
            return load(Delivery, body_of(self._place(identity)))
        except Conflict:
            return None

    def deliveries(self, limit: int = 100) -> list[Delivery]:
        """Return the newest deliveries, newest first."""
        found = [load(Delivery, body_of(each)) for each in self._found(keys.OUT)]
        return sorted(found, key=lambda each: (-each.created.timestamp(), each.id))[:limit]

    def enqueue(self, deliveries: Iterable[Delivery]) -> None:
        """Add deliveries that belong to no alert partition; one that is there already is left alone."""
        self.record(None, [], deliveries)

    # What acts

    def execution(self, identity: str) -> Execution | None:
        """Return one execution."""
        self._ledger.head(keys.ACTING)
        found = self._ledger.rows(keys.ACTING, keys.execution_key(identity), f"{keys.execution_key(identity)}~")
        return load(Execution, body_of(found[0])) if found else None

    def executions(self) -> list[Execution]:
        """Return every execution, oldest first."""
        self._ledger.head(keys.ACTING)
        found = [
            load(Execution, body_of(each))
            for each in self._ledger.rows(keys.ACTING, f"{keys.EXECUTION}|", f"{keys.EXECUTION}~")
        ]
        return sorted(found, key=lambda each: (each.begun or each.intended or _EVER, each.id))

    def record(
        self, execution: Execution | None, entries: Sequence[Record], deliveries: Iterable[Delivery] = ()
    ) -> None:
        """Save an execution, its audit records and its messages, whole or not at all. Raises ``Conflict``."""
        given = list(deliveries)
        while True:
            head = self._ledger.head(keys.ACTING)
            puts = self._execution_row(execution)
            rows, body = keys.chained(entries, head.body)
            try:
                return self._ledger.write(
                    keys.ACTING, head.etag, Change(body, [*puts, *rows, *self._new(keys.ACTING, given)])
                )
            except Conflict:
                continue  # the chain grew meanwhile: hang the records on its new end; a lost execution is seen above

    def kept(self, kind: type[T]) -> Mapping[str, Kept[T]]:
        """Return every value of a kind, by its key."""
        found: dict[str, Kept[T]] = {}
        there: dict[str, tuple[str, dict[str, str]]] = {}
        for partition, (head, *parts) in groupby(self._whole(kind), key=lambda each: str(each["PartitionKey"])):
            etag, texts = head.metadata["etag"], {str(each["RowKey"]): body_of(each) for each in parts}
            there[partition] = etag, {key: keys.digest(text) for key, text in texts.items()}
            if body := json.loads(body_of(head) or "{}"):
                found[body["key"]] = Kept(unite(kind, body["value"], texts.values()), etag)
        self._parts[kind] = there
        return found

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
        changed = [row for row in rows.values() if there.get(row.key) != keys.digest(row.body)]
        body = "" if value is None else keys.kept_body(key, text)
        puts = [*changed, *self._new(partition, deliveries)]
        self._ledger.write(partition, etag, Change(body, puts, sorted(there.keys() - rows.keys())))

    def _whole(self, kind: type[Any]) -> list[Any]:
        """Return the heads and parts of a kind, after whatever a dead writer left undone has been finished."""
        first = keys.kept(kind.__name__, "")
        while True:
            rows = self._ledger.across(first, f"{first}~", f"{keys.PART}~")
            if not any(each.get("Pending") for each in rows):
                return rows
            self._ledger.unfinished()

    def _there(self, kind: type[Any], partition: str, etag: str | None) -> Mapping[str, str]:
        """Return the parts that lie in a partition, each with the digest of its text: as read last, or read now."""
        if etag is None or not has_parts(kind):
            return {}
        read, there = self._parts.get(kind, {}).get(partition, ("", {}))
        if read == etag:
            return there
        return {str(each["RowKey"]): keys.digest(body_of(each)) for each in self._rows(partition, keys.PART)}

    def audit_lines(self, since: int = 0, most: int | None = None) -> list[str]:
        """Return the audit chain's lines of the ``most`` places after record ``since``, oldest first."""
        self._ledger.head(keys.ACTING)
        return [body_of(each) for each in self._ledger.rows(keys.ACTING, *keys.audit_rows(since, most))]

    def audit_end(self) -> int:
        """Return the place of the newest audit record, 0 when there is none."""
        return int(json.loads(self._ledger.head(keys.ACTING).body or '{"sequence": 0}')["sequence"])

    def _execution_row(self, execution: Execution | None) -> list[Row]:
        if execution is None:
            return []
        stored = self.execution(execution.id)
        if (stored.version if stored else 0) != execution.version - 1:
            raise Conflict(execution.id)
        return [keys.execution_row(execution)]

    # Locks and the heartbeat

    def lock(self, name: str, owner: str, now: datetime, ttl: timedelta) -> bool:
        """Return whether ``owner`` now holds the lock ``name``; it frees itself after ``ttl``."""
        head = self._ledger.head(keys.lock(name))
        held = json.loads(head.body) if head.body else {}
        if held and held["owner"] != owner and not has_come(datetime.fromtimestamp(held["until"], UTC), now, PUT_OFF):
            return False
        body = keys.lock_body(owner, (now + ttl).timestamp())
        try:
            self._ledger.write(keys.lock(name), head.etag, Change(body))
        except Conflict:
            return False
        return True

    def unlock(self, name: str, owner: str) -> None:
        """Free the lock if ``owner`` holds it."""
        head = self._ledger.head(keys.lock(name))
        if head.body and json.loads(head.body)["owner"] == owner:
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
        gone = 0
        for entity in [*self._found(keys.OUT, Settled.DELIVERED.value), *self._found(keys.OUT, Settled.DEAD.value)]:
            if now - load(Delivery, body_of(entity)).created > KEPT:
                with reached():
                    self._table.delete_entity(str(entity["PartitionKey"]), str(entity["RowKey"]))
                gone += 1
        return gone

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
