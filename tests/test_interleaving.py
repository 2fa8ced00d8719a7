"""Two engines at once on one store: no page twice, no act twice, in whatever order their steps are taken."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from tests.amount import often
from tests.azurite.server import Azurite
from tests.interleaving import Outcome, play
from tocsin.ports import Store
from tocsin.stores import tables
from tocsin.stores.sqlite import SqliteStore


def right(outcome: Outcome) -> None:
    assert len(outcome.pages) == 1, outcome
    assert outcome.changes == 1, outcome
    assert len(outcome.phases) == 1, outcome
    assert outcome.phases[0] in ("applied", "verified"), outcome
    assert outcome.chain is None
    assert outcome.refused == 0


@pytest.mark.slow
def test_many_orders_on_sqlite(tmp_path: Path) -> None:
    for seed in range(often(500, 15)):
        store = SqliteStore(":memory:")
        right(play(seed, lambda store=store: store))  # type: ignore[misc]


@pytest.mark.slow
def test_some_orders_on_tables(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(int(os.environ.get("ORDERS", often(6, 1)))):
        monkeypatch.setattr(tables, "TABLE", f"t{uuid.uuid4().hex}")

        def store() -> Store:
            return tables.connect(azurite.connection)

        right(play(seed, store))
