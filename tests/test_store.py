"""SQLite keeps the store's contract, and says so when it cannot be used."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tocsin.core.group import Group
from tocsin.ports import Store, StoreUnavailable
from tocsin.stores.codec import dump
from tocsin.stores.sqlite import SqliteStore
from tocsin.testing.store_contract import MINUTE, T0, a_delivery, a_group, an_alert
from tocsin.testing.unreadable_contract import UnreadableContract


class TestSqlite(UnreadableContract):
    """The contract on one file, with a second connection as the second writer."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "state.sqlite"

    def make_store(self) -> Store:
        return SqliteStore(self.path)

    def second(self, store: Store) -> Store:
        return SqliteStore(self.path)

    def spoil(self, store: Store, holding: str, text: str) -> int:
        return spoiled(self.path, holding, text)


def spoiled(path: Path, holding: str, text: str | bytes) -> int:
    """Put a text in place of that of every row that holds another; return how many rows do."""
    tables, db = ("heads", "alerts", "deliveries", "executions", "audit", "kept", "parts"), sqlite3.connect(path)
    where = "SET body = ? WHERE instr(body, ?) > 0"
    count = sum(db.execute(f"UPDATE {table} {where}", (text, holding)).rowcount for table in tables)
    db.commit()
    db.close()
    return count


@pytest.mark.parametrize("until", ["soon", 1e300])
def test_a_lock_that_cannot_be_read_is_held_by_nobody_known_for_one_ttl(tmp_path: Path, until: object) -> None:
    store = SqliteStore(tmp_path / "state.sqlite")
    assert store.lock("act/sales", "a", T0, MINUTE)
    with store._transaction() as db:
        db.execute("UPDATE locks SET until = ?", (until,))
    assert not store.lock("act/sales", "a", T0, MINUTE)
    assert [(each.what, each.where) for each in store.unreadable()] == [("lock", "act/sales")]
    assert not store.lock("act/sales", "b", T0 + MINUTE / 2, MINUTE)
    assert store.lock("act/sales", "b", T0 + MINUTE, MINUTE)
    assert store.unreadable() == []


def test_a_heartbeat_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.sqlite")
    store.beat(T0)
    with store._transaction() as db:
        db.execute("UPDATE beats SET at = 'soon'")
        db.execute("UPDATE heads SET body = '{' WHERE partition = 'beat'")
    assert store.last_beat() is None
    assert store.last_failed() == ["the stored heartbeat cannot be read: JSONDecodeError"]


def test_a_row_that_is_no_text_at_all_is_passed_over_alone(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.sqlite")
    good = replace(an_alert(), target="support")
    store.commit("high_error_rate", "sales", [an_alert()], [], None)
    store.commit("high_error_rate", "support", [good], [], None)
    with store._transaction() as db:
        db.execute("UPDATE alerts SET body = CAST(x'7b22ff' AS TEXT) WHERE partition LIKE '%sales%'")
    assert store.open_alerts() == [good]
    assert len(store.unreadable()) == 1


def test_a_file_that_cannot_be_used_is_said_to_be_unavailable(tmp_path: Path) -> None:
    (tmp_path / "state.sqlite").write_text("this is no database, and longer than a header would be" * 40)
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        SqliteStore(tmp_path / "state.sqlite").load("r", "t")


def test_an_error_in_a_transaction_leaves_nothing_of_it_behind(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.sqlite")

    def deliveries():
        yield a_delivery("n1")
        raise KeyError("the caller failed half way")

    with pytest.raises(KeyError):
        store.commit("high_error_rate", "sales", [an_alert()], deliveries(), None)
    assert not store.load("high_error_rate", "sales").alerts
    assert not store.waiting(T0)


def test_a_group_that_was_stored_as_one_row_is_read_and_becomes_rows(tmp_path: Path) -> None:
    store, group = SqliteStore(tmp_path / "state.sqlite"), a_group(3)
    store.keep(Group, "g", replace(group, members={}, told={}), None)
    with store._transaction() as db:
        db.execute("UPDATE kept SET body = ? WHERE key = 'g'", (dump(group),))
    (found,) = store.kept(Group).values()
    assert found.value == group
    changed = replace(group, next=T0 + timedelta(minutes=1))
    store.keep(Group, "g", changed, found.etag)
    assert store.kept(Group)["g"].value == changed
    with store._transaction() as db:
        assert db.execute("SELECT count(*) FROM parts").fetchone() == (4,)
        assert "high_error_rate/sales/" not in db.execute("SELECT body FROM kept").fetchone()[0]


def test_a_store_that_was_closed_opens_again(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.sqlite")
    store.beat(T0)
    store.close()
    assert store.last_beat() == T0
