"""SQLite keeps the store's contract, and says so when it cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.ports import Store, StoreUnavailable
from tocsin.stores.sqlite import SqliteStore
from tocsin.testing.store_contract import T0, StoreContract, a_delivery, an_alert


class TestSqlite(StoreContract):
    """The contract on one file, with a second connection as the second writer."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "state.sqlite"

    def make_store(self) -> Store:
        return SqliteStore(self.path)

    def second(self, store: Store) -> Store:
        return SqliteStore(self.path)


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


def test_a_store_that_was_closed_opens_again(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.sqlite")
    store.beat(T0)
    store.close()
    assert store.last_beat() == T0
