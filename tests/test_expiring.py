"""What ends by itself is in the audit, once, with the person whose it was, and at a bounded cost."""

from __future__ import annotations

from datetime import timedelta

from tests.stage import T0, Stage
from tocsin.core.ack import Acknowledgement
from tocsin.core.audit import broken
from tocsin.core.matching import one_of
from tocsin.core.mute import Silence
from tocsin.engine import expiring
from tocsin.engine.expiring import MOST, record_expiries
from tocsin.ports import Store
from tocsin.stores.sqlite import SqliteStore

HOUR = timedelta(hours=1)


def silence(name: str, hours: float, **more: str) -> Silence:
    ends = T0 + hours * HOUR
    return Silence(name, (one_of("rule", ("slow",)),), "ann\u202e", "backups", T0, ends, ended_by=more.get("by", ""))


def keep(store: Store, *silences: Silence) -> None:
    for each in silences:
        store.keep(Silence, each.id, each, None)


def test_what_has_ended_is_recorded_once_with_whose_it_was() -> None:
    store = SqliteStore(":memory:")
    assert record_expiries(store, T0) == 0
    keep(store, silence("s1", 1), silence("s2", 3), silence("taken back", 1, by="kim"))
    store.keep(Acknowledgement, "e1", Acknowledgement("e1", "lee", T0, T0 + HOUR), None)
    assert [record_expiries(store, T0 + hours * HOUR) for hours in (0.5, 1, 1, 2)] == [0, 2, 0, 0]
    entries = store.audit()
    assert {(each["event"], each["subject"], each["detail"]["author"]) for each in entries} == {
        ("silence expired", "s1", "ann"),
        ("acknowledgement expired", "e1", "lee"),
    }
    assert entries[0]["detail"]["ended"] == (T0 + HOUR).isoformat()


def test_what_ended_while_nobody_watched_is_recorded_afterwards() -> None:
    store = SqliteStore(":memory:")
    record_expiries(store, T0)
    keep(store, silence("s1", 1))
    assert record_expiries(store, T0 + 100 * HOUR) == 1


def test_a_thousand_ends_at_once_cost_one_transaction_of_bounded_size() -> None:
    store = SqliteStore(":memory:")
    record_expiries(store, T0)
    keep(store, *(silence(f"s{number}", 1) for number in range(300)))
    assert record_expiries(store, T0 + HOUR) == 300
    entries = store.audit()
    assert len(entries) == MOST + 1
    assert entries[-1]["detail"]["reason"] == "200 more silences and acknowledgements expired"
    assert broken(entries) is None


def test_a_tick_records_them() -> None:
    stage = Stage()
    record_expiries(stage.inner, T0)
    keep(stage.inner, silence("s1", 0.01))
    stage.engine.tick(T0 + timedelta(minutes=5))
    assert [each["event"] for each in stage.inner.audit()] == ["silence expired"]
    assert len(stage.inner.kept(expiring.Recorded)) == 1
