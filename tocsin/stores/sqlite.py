"""SQLite: the store for one machine. One transaction for states and outbox; safe for several processes.

It takes no more than Table Storage does, so that what is tried here goes there as well: see ``_check``.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import starmap
from pathlib import Path
from typing import Any, TypeVar

from tocsin.core import audit
from tocsin.core.alert import Alert
from tocsin.core.audit import Record
from tocsin.core.instance import key_of
from tocsin.core.message import Delivery
from tocsin.core.remedy import Execution
from tocsin.core.schedule import CLOCK_STEP, HOLD, PUT_OFF, has_come
from tocsin.core.unreadable import Unreadable, digest
from tocsin.ports import KEPT, Conflict, Kept, Loaded, Mark, StoreUnavailable
from tocsin.stores import keys
from tocsin.stores.codec import Audited, divide, dump, load, unite
from tocsin.stores.decoding import NOBODY, Passed, decoding, lost_execution
from tocsin.stores.rows import Change, Row, transactions

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS heads (partition TEXT PRIMARY KEY, etag INTEGER NOT NULL, body TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS alerts (partition TEXT, key TEXT, body TEXT NOT NULL, PRIMARY KEY (partition, key));
CREATE TABLE IF NOT EXISTS deliveries (
  id TEXT PRIMARY KEY, receiver TEXT NOT NULL, episode TEXT NOT NULL, sequence INTEGER NOT NULL, created REAL NOT NULL,
  not_before REAL NOT NULL, held_until REAL NOT NULL DEFAULT 0, state TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS deliveries_by_state ON deliveries (state, receiver, episode, sequence);
CREATE TABLE IF NOT EXISTS executions (id TEXT PRIMARY KEY, version INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS audit (sequence INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS kept (kind TEXT, key TEXT, etag INTEGER NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (kind, key));
CREATE TABLE IF NOT EXISTS parts (kind TEXT, whole TEXT, key TEXT, body TEXT NOT NULL, PRIMARY KEY (kind, whole, key));
CREATE TABLE IF NOT EXISTS locks (name TEXT PRIMARY KEY, owner TEXT NOT NULL, until REAL NOT NULL);
CREATE TABLE IF NOT EXISTS beats (name TEXT PRIMARY KEY, at REAL NOT NULL);
"""

_NO_LAST = 2**62

_WAITING = """
SELECT id, body FROM deliveries d WHERE state = 'waiting' AND NOT (not_before > :now AND not_before <= :latest)
AND NOT (held_until > :now AND held_until <= :held) AND NOT EXISTS (
  SELECT 1 FROM deliveries e WHERE e.state = 'waiting' AND e.receiver = d.receiver AND e.episode = d.episode
  AND (e.sequence, e.id) < (d.sequence, d.id) AND e.id NOT IN (SELECT value FROM json_each(:lost)))
ORDER BY sequence, id
"""


class SqliteStore(Audited):
    """A store in one file (or ``:memory:``). A process killed at any moment leaves whole transactions behind."""

    def __init__(self, path: str | Path) -> None:
        self._path = str(path)
        self._mutex = threading.RLock()
        self._open: sqlite3.Connection | None = None
        self._passed = Passed()

    def unreadable(self) -> list[Unreadable]:
        """Return the rows that were passed over when their kind was read last."""
        return self._passed.rows

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        with self._mutex:
            if self._open:
                self._open.close()
                self._open = None

    def load(self, rule: str, target: str) -> Loaded:
        """Return the stored alerts of one rule on one target."""
        with self._transaction() as db:
            head = db.execute("SELECT etag FROM heads WHERE partition = ?", (_partition(rule, target),)).fetchone()
            rows = db.execute(f"{_ALERTS} WHERE partition = ?", (_partition(rule, target),)).fetchall()
        return _loaded(rows, str(head[0]) if head else None)

    def load_all(self, target: str) -> Mapping[str, Loaded]:
        """Return what ``load`` would for every rule that has anything stored on ``target``."""
        first = _partition("", target)
        within = (first, len(first), first)
        with self._transaction() as db:
            heads = db.execute(
                "SELECT partition, etag FROM heads WHERE partition >= ? AND substr(partition, 1, ?) = ?", within
            ).fetchall()
            rows = db.execute(f"{_ALERTS} WHERE partition >= ? AND substr(partition, 1, ?) = ?", within).fetchall()
        alerts: dict[str, list[_Row]] = {partition: [] for partition, _ in heads}
        for row in rows:
            alerts[row[0]].append(row)
        return {partition[len(first) :]: _loaded(alerts[partition], str(etag)) for partition, etag in heads}

    def commit(
        self, rule: str, target: str, alerts: Iterable[Alert], deliveries: Iterable[Delivery], etag: str | None
    ) -> None:
        """Save alerts (idle ones are forgotten) and new deliveries in one transaction. Raises ``Conflict``."""
        partition, alerts, deliveries = _partition(rule, target), list(alerts), list(deliveries)
        _check(keys.partition(rule, target), "", [keys.alert_row(each) for each in alerts], deliveries)
        with self._transaction() as db:
            _advance_head(db, partition, etag, "")
            for alert in alerts:
                key = (partition, key_of(alert.by))
                if alert.idle:
                    db.execute("DELETE FROM alerts WHERE partition = ? AND key = ?", key)
                else:
                    db.execute("INSERT OR REPLACE INTO alerts VALUES (?, ?, ?)", (*key, dump(alert)))
            _add(db, deliveries)

    def open_alerts(self) -> list[Alert]:
        """Return every alert that is not idle."""
        with self._transaction() as db:
            rows = db.execute(f"{_ALERTS} ORDER BY partition, key").fetchall()
        return self._passed.each("alerts", rows, lambda row: load(Alert, row[2]), _alert)

    def mark(self, target: str) -> Mark:
        """Return the newest slots evaluated on ``target``."""
        with self._transaction() as db:
            row = db.execute("SELECT etag, body FROM heads WHERE partition = ?", (_mark(target),)).fetchone()
        if row is None:
            return Mark()
        with decoding(lambda: Unreadable("mark", _mark(target), target=target, etag=str(row[0]))):
            return replace(load(Mark, row[1]), etag=str(row[0]))

    def save_mark(
        self, target: str, slots: Mapping[str, datetime], etag: str | None, lag: timedelta | None = None
    ) -> None:
        """Replace the mark of ``target``. Raises ``Conflict``."""
        body = dump(Mark(dict(slots), lag=lag))
        _check(keys.mark(target), body)
        with self._transaction() as db:
            _advance_head(db, _mark(target), etag, body)

    def waiting(self, now: datetime) -> list[Delivery]:
        """Return unsettled deliveries whose time has come, oldest first; none that another writer holds."""
        with self._transaction() as db:
            # Beyond the latest is what a clock wrote that was ahead: see ``has_come``.
            latest, held = (now + most + CLOCK_STEP for most in (PUT_OFF, HOLD))
            at = {"now": now.timestamp(), "latest": latest.timestamp(), "held": held.timestamp()}
            lost: list[Unreadable] = []
            while True:  # what cannot be read is in nobody's way: what comes after it in its lane is read next
                read = Passed()
                rows = db.execute(_WAITING, {**at, "lost": json.dumps([each.id for each in lost])}).fetchall()
                found = read.each("", rows, _delivery, _message)
                if len(read.rows) == len(lost):
                    break
                lost = read.rows
        self._passed.note("waiting", lost)
        return found

    def claim(self, delivery: Delivery, until: datetime) -> Delivery:
        """Hold a delivery against other writers until ``until``. Raises ``Conflict``."""
        held = replace(delivery, attempts=delivery.attempts + 1)
        _check(keys.ACTING, "", (), [held])
        with self._transaction() as db:
            done = db.execute(
                "UPDATE deliveries SET held_until = ?, body = ? WHERE id = ? AND state = 'waiting'"
                " AND json_extract(body, '$.attempts') = ?",
                (until.timestamp(), dump(held), delivery.id, delivery.attempts),
            )
            if done.rowcount != 1:
                raise Conflict(delivery.id)
        return held

    def settle(self, delivery: Delivery) -> None:
        """Replace a delivery that this writer claimed, with its receipt or its next time."""
        _check(keys.ACTING, "", (), [delivery])
        with self._transaction() as db:
            db.execute(
                "UPDATE deliveries SET state = ?, not_before = ?, held_until = 0, created = ?, body = ?"
                " WHERE id = ? AND state = 'waiting'",
                (
                    delivery.state.value,
                    delivery.not_before.timestamp(),
                    delivery.created.timestamp(),
                    dump(delivery),
                    delivery.id,
                ),
            )

    def delivery(self, identity: str) -> Delivery | None:
        """Return one delivery, wherever it was committed; None when there is none, or none any more."""
        with self._transaction() as db:
            row = db.execute("SELECT id, body FROM deliveries WHERE id = ?", (identity,)).fetchone()
        return _delivery(row) if row else None

    def deliveries(self, limit: int = 100) -> list[Delivery]:
        """Return the newest deliveries, newest first."""
        with self._transaction() as db:
            rows = db.execute("SELECT id, body FROM deliveries ORDER BY created DESC, id LIMIT ?", (limit,)).fetchall()
        return self._passed.each("deliveries", rows, _delivery, _message)

    def enqueue(self, deliveries: Iterable[Delivery]) -> None:
        """Add deliveries that belong to no alert partition; one that is there already is left alone."""
        deliveries = list(deliveries)
        _check(keys.ACTING, "", (), deliveries)
        with self._transaction() as db:
            _add(db, deliveries)

    def execution(self, identity: str) -> Execution | None:
        """Return one execution."""
        with self._transaction() as db:
            row = db.execute("SELECT id, body FROM executions WHERE id = ?", (identity,)).fetchone()
        return _execution(row) if row else None

    def executions(self) -> list[Execution]:
        """Return every execution, oldest first."""
        with self._transaction() as db:
            rows = db.execute("SELECT id, body FROM executions ORDER BY rowid").fetchall()
        return self._passed.each("executions", rows, _execution, _lost_execution)

    def record(
        self, execution: Execution | None, entries: Sequence[Record], deliveries: Iterable[Delivery] = ()
    ) -> None:
        """Save an execution, its audit records and its messages in one transaction. Raises ``Conflict``."""
        deliveries = list(deliveries)
        rows = [keys.execution_row(execution)] if execution else []
        _check(keys.ACTING, "", [*rows, *keys.chained(entries, "")[0]], deliveries)
        with self._transaction() as db:
            if execution is not None:
                _save_execution(db, execution)
            for entry in entries:
                _append(db, entry)
            _add(db, deliveries)

    def kept(self, kind: type[T]) -> Mapping[str, Kept[T]]:
        """Return every value of a kind, by its key."""
        with self._transaction() as db:
            rows = db.execute("SELECT key, etag, body FROM kept WHERE kind = ?", (kind.__name__,)).fetchall()
            parts = db.execute("SELECT whole, body FROM parts WHERE kind = ?", (kind.__name__,)).fetchall()
        texts: dict[str, list[str]] = {}
        for whole, body in parts:
            texts.setdefault(whole, []).append(body)

        def one(row: _Row) -> tuple[str, Kept[T]]:
            key, etag, body = row
            return key, Kept(unite(kind, body, texts.get(key, ())), str(etag))

        def named(row: _Row) -> Unreadable:
            return Unreadable(kind.__name__, row[0], digest(row[0]))

        return dict(self._passed.each(f"kept {kind.__name__}", rows, one, named))

    def keep(
        self, kind: type[T], key: str, value: T | None, etag: str | None, deliveries: Iterable[Delivery] = ()
    ) -> None:
        """Replace a value, or forget it, and enqueue deliveries in one transaction. Raises ``Conflict``.

        Of its parts only those are written that are others than what lies there.
        """
        deliveries = list(deliveries)
        text, parts = ("", {}) if value is None else divide(value)
        body = "" if value is None else keys.kept_body(key, text)
        rows = list(starmap(keys.part_row, parts.items()))
        _check(keys.kept(kind.__name__, key), body, rows, deliveries)
        with self._transaction() as db:
            row = db.execute("SELECT etag FROM kept WHERE kind = ? AND key = ?", (kind.__name__, key)).fetchone()
            if (str(row[0]) if row else None) != etag:
                raise Conflict(key)
            if value is None:
                db.execute("DELETE FROM kept WHERE kind = ? AND key = ?", (kind.__name__, key))
            else:
                following = (row[0] if row else 0) + 1
                db.execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)", (kind.__name__, key, following, text))
            _replace_parts(db, (kind.__name__, key), parts)
            _add(db, deliveries)

    def audit_lines(self, since: int = 0, most: int | None = None) -> list[str]:
        """Return the audit chain's lines of the ``most`` places after record ``since``, oldest first."""
        last = _NO_LAST if most is None else since + most
        with self._transaction() as db:
            text = "SELECT body FROM audit WHERE sequence > ? AND sequence <= ? ORDER BY sequence"
            return [str(body) for (body,) in db.execute(text, (since, last)).fetchall()]

    def audit_end(self) -> int:
        """Return the place of the newest audit record, 0 when there is none."""
        with self._transaction() as db:
            return int(db.execute("SELECT COALESCE(MAX(sequence), 0) FROM audit").fetchone()[0])

    def lock(self, name: str, owner: str, now: datetime, ttl: timedelta) -> bool:
        """Return whether ``owner`` now holds the lock ``name``; it frees itself after ``ttl``."""
        until = (now + ttl).timestamp()
        _check(keys.lock(name), keys.lock_body(owner, until))
        with self._transaction() as db:
            rows = db.execute("SELECT owner, until FROM locks WHERE name = ?", (name,)).fetchall()
            free = self._passed.each(
                f"lock {name}",
                rows,
                lambda held: bool(_free(held[1], now, ttl) or held[0] == owner),
                lambda _: Unreadable("lock", name),
            )
            if False in free:
                return False
            lost = len(free) < len(rows)
            db.execute("INSERT OR REPLACE INTO locks VALUES (?, ?, ?)", (name, NOBODY if lost else owner, until))
        return not lost

    def unlock(self, name: str, owner: str) -> None:
        """Free the lock if ``owner`` holds it."""
        with self._transaction() as db:
            db.execute("DELETE FROM locks WHERE name = ? AND owner = ?", (name, owner))

    def sweep(self, now: datetime) -> int:
        """Forget messages that were settled more than thirty days ago; return how many."""
        oldest = (now - KEPT).timestamp()
        with self._transaction() as db:
            return db.execute("DELETE FROM deliveries WHERE state <> 'waiting' AND created < ?", (oldest,)).rowcount

    def beat(self, now: datetime, failed: Sequence[str] = ()) -> None:
        """Write the heartbeat with what the tick failed at: the last thing a tick does."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO beats VALUES ('tick', ?)", (now.timestamp(),))
            db.execute("INSERT OR REPLACE INTO heads VALUES ('beat', 1, ?)", (json.dumps(list(failed)),))

    def last_beat(self) -> datetime | None:
        """Return when the last tick ended."""
        with self._transaction() as db:
            row = db.execute("SELECT at FROM beats WHERE name = 'tick'").fetchone()
        try:
            return datetime.fromtimestamp(row[0], UTC) if row else None
        except (TypeError, ValueError, OverflowError):
            return None

    def last_failed(self) -> list[str]:
        """Return what the last tick that ended failed at."""
        with self._transaction() as db:
            row = db.execute("SELECT body FROM heads WHERE partition = 'beat'").fetchone()
        try:
            return list(json.loads(row[0])) if row else []
        except (TypeError, ValueError) as error:
            return [f"the stored heartbeat cannot be read: {type(error).__name__}"]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._mutex:
            try:
                db = self._open or self._connect()
                db.execute("BEGIN IMMEDIATE")
            except (sqlite3.Error, OSError) as error:
                raise StoreUnavailable(f"the state file cannot be used: {error}") from error
            try:
                yield db
                db.execute("COMMIT")
            except BaseException as error:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise StoreUnavailable(f"the state file cannot be used: {error}") from error
                raise

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=10, isolation_level=None, check_same_thread=False)
        db.text_factory = _text
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.executescript(_SCHEMA)
        self._open = db
        return db


def _check(partition: str, body: str, rows: Sequence[Row] = (), deliveries: Sequence[Delivery] = ()) -> None:
    """Raise ``TooLarge`` for what Table Storage would not hold, by the function that cuts changes up for it."""
    transactions(partition, Change(body, [*rows, *map(keys.out_row, deliveries)]))


_ALERTS = "SELECT partition, key, body FROM alerts"

_Row = tuple[Any, ...]


def _text(stored: bytes) -> str:
    """Return stored text; what is no UTF-8 is kept as it is, for whoever decodes the one row to refuse."""
    return stored.decode(errors="surrogateescape")


def _loaded(rows: Iterable[_Row], etag: str | None) -> Loaded:
    read = Passed()
    alerts = read.each("", rows, lambda row: load(Alert, row[2]), _alert)
    return Loaded({alert.by: alert for alert in alerts}, etag, read.rows)


def _alert(row: _Row) -> Unreadable:
    partition, key, _ = row
    return Unreadable("alert", f"{partition} {key}", digest(key), partition.split("/")[1])


def _message(row: _Row) -> Unreadable:
    return Unreadable("message", row[0], digest(row[0]), id=row[0])


def _delivery(row: _Row) -> Delivery:
    with decoding(lambda: _message(row)):
        return load(Delivery, row[1])


def _lost_execution(row: _Row) -> Unreadable:
    return lost_execution(row[0], digest(row[0]), row[1], row[0])


def _execution(row: _Row) -> Execution:
    with decoding(lambda: _lost_execution(row)):
        return load(Execution, row[1])


def _free(until: float, now: datetime, ttl: timedelta) -> bool:
    return has_come(datetime.fromtimestamp(until, UTC), now, ttl)


def _partition(rule: str, target: str) -> str:
    return f"alerts/{target}/{rule}"


def _mark(target: str) -> str:
    return f"mark/{target}"


def _advance_head(db: sqlite3.Connection, partition: str, etag: str | None, body: str) -> None:
    row = db.execute("SELECT etag FROM heads WHERE partition = ?", (partition,)).fetchone()
    if (str(row[0]) if row else None) != etag:
        raise Conflict(partition)
    following = (row[0] if row else 0) + 1
    db.execute("INSERT OR REPLACE INTO heads VALUES (?, ?, ?)", (partition, following, body))


def _replace_parts(db: sqlite3.Connection, whole: tuple[str, str], parts: Mapping[str, str]) -> None:
    there = dict(db.execute("SELECT key, body FROM parts WHERE kind = ? AND whole = ?", whole).fetchall())
    gone = [(*whole, key) for key in there.keys() - parts.keys()]
    changed = [(*whole, key, text) for key, text in parts.items() if there.get(key) != text]
    db.executemany("DELETE FROM parts WHERE kind = ? AND whole = ? AND key = ?", gone)
    db.executemany("INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?)", changed)


def _add(db: sqlite3.Connection, deliveries: Iterable[Delivery]) -> None:
    for each in deliveries:
        row = (each.id, each.receiver, each.queue, each.sequence, each.created.timestamp())
        db.execute(
            "INSERT OR IGNORE INTO deliveries VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?)",
            (*row, each.not_before.timestamp(), each.state.value, dump(each)),
        )


def _save_execution(db: sqlite3.Connection, execution: Execution) -> None:
    row = db.execute("SELECT version FROM executions WHERE id = ?", (execution.id,)).fetchone()
    if (row[0] if row else 0) != execution.version - 1:
        raise Conflict(execution.id)
    if row:
        change = (execution.version, dump(execution), execution.id)
        db.execute("UPDATE executions SET version = ?, body = ? WHERE id = ?", change)
    else:
        db.execute("INSERT INTO executions VALUES (?, ?, ?)", (execution.id, execution.version, dump(execution)))


def _append(db: sqlite3.Connection, entry: Record) -> None:
    last = db.execute("SELECT body FROM audit ORDER BY sequence DESC LIMIT 1").fetchone()
    with decoding(lambda: Unreadable("audit", "its newest record")):
        newest: dict[str, Any] = json.loads(last[0]) if last else {"sequence": 0, "hash": audit.START}
        body = audit.chained(entry, newest["sequence"] + 1, newest["hash"])
    db.execute("INSERT INTO audit VALUES (?, ?)", (body["sequence"], audit.canonical(body)))
