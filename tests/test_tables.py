"""Table Storage keeps the store's contract, against Azurite; a writer that dies between chunks is seen and finished."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.azurite.server import Azurite
from tocsin.core.alert import Alert, instance
from tocsin.core.group import Group
from tocsin.core.message import Settled
from tocsin.core.unreadable import Unreadable
from tocsin.ports import Conflict, Store, StoreUnavailable
from tocsin.stores import keys, tables
from tocsin.stores.codec import dump
from tocsin.stores.partition import Ledger
from tocsin.stores.rows import Change
from tocsin.stores.tables import TableStore, connect
from tocsin.testing.store_contract import MINUTE, T0, a_delivery, a_group, an_alert
from tocsin.testing.unreadable_contract import UnreadableContract


@pytest.fixture
def table(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> str:
    """A table of its own for each test."""
    name = f"t{uuid.uuid4().hex}"
    monkeypatch.setattr(tables, "TABLE", name)
    return azurite.connection


class TestTables(UnreadableContract):
    """The contract on one table, with a second client as the second writer."""

    @pytest.fixture(autouse=True)
    def _table(self, table: str) -> None:
        self.where = table

    def make_store(self) -> Store:
        return connect(self.where)

    def second(self, store: Store) -> Store:
        return connect(self.where)

    def spoil(self, store: Store, holding: str, text: str) -> int:
        assert isinstance(store, TableStore)
        return spoiled(store, holding, {"Pieces": 1, "B0": text})


def spoiled(store: TableStore, holding: str, changes: dict[str, Any]) -> int:
    """Change every row whose text holds another; return how many rows do."""
    found = [each for each in store._table.list_entities() if holding in str(each.get("B0"))]
    for each in found:
        store._table.update_entity({**each, **changes})
    return len(found)


@pytest.mark.parametrize("changes", [{"Pieces": 0}, {"Pieces": "many"}, {"B0": 7}, {"B0": "{", "Pieces": 2}], ids=str)
def test_a_row_whose_pieces_are_missing_or_wrong_is_passed_over_alone(table: str, changes: dict[str, Any]) -> None:
    store = connect(table)
    store.commit("high_error_rate", "sales", [an_alert((("agent", "bad"),)), an_alert()], [a_delivery("n1")], None)
    store.enqueue([a_delivery("n2", episode="e2")])
    assert spoiled(store, '"bad"', changes) == 1
    assert spoiled(store, '"n1"', changes) == 1
    assert store.open_alerts() == [an_alert()]
    assert [each.notice.id for each in store.waiting(T0)] == ["n2"]
    assert sorted(each.what for each in store.unreadable()) == ["alert", "message"]


@pytest.mark.parametrize("text", ["{", '{"owner": "a"}', '{"owner": "a", "until": "soon"}', "[]", "null"])
def test_a_lock_that_cannot_be_read_is_held_by_nobody_known_for_one_ttl(table: str, text: str) -> None:
    store = connect(table)
    assert store.lock("act/sales", "a", T0, MINUTE)
    assert spoiled(store, '"owner"', {"B0": text}) == 1
    store.unlock("act/sales", "b")
    assert not store.lock("act/sales", "b", T0, MINUTE)
    assert [(each.what, each.where) for each in store.unreadable()] == [("lock", "act/sales")]
    assert not store.lock("act/sales", "b", T0 + MINUTE / 2, MINUTE)
    assert store.lock("act/sales", "b", T0 + MINUTE, MINUTE)
    assert store.unreadable() == []


def test_a_heartbeat_that_cannot_be_read_is_none(table: str) -> None:
    store = connect(table)
    store.beat(T0)
    store._table.upsert_entity({"PartitionKey": "beat", "RowKey": "tick", "At": "soon"})
    assert store.last_beat() is None
    assert store.last_failed() == ["the stored heartbeat cannot be read: ValueError"]


@pytest.mark.parametrize("changes", [{"B0": "{"}, {"B0": '[["put"]]'}], ids=str)
def test_a_partition_that_nobody_can_finish_is_left_out_alone(table: str, changes: dict[str, Any]) -> None:
    store = connect(table)
    store.commit("p95_latency", "sales", [an_alert((("agent", "other"),))], [], None)
    for point, dies in (
        ("named", lambda: store.commit("high_error_rate", "sales", many(350), [], None)),
        ("named", lambda: store.keep(Group, "g", a_group(300), None)),
    ):
        store._ledger.crash[:] = [point]
        with pytest.raises(KeyboardInterrupt):
            dies()
    store.keep(Group, "h", a_group(1), None)
    for each in store._table.query_entities("Kind eq 'staged'"):
        store._table.update_entity({**each, "Pieces": 1, **changes})
    store = connect(table)
    assert [each.by for each in store.open_alerts()] == [(("agent", "other"),)]
    assert set(store.load_all("sales")) == {"p95_latency"}
    assert set(store.kept(Group)) == {"h"}
    assert {each.what for each in store.unreadable()} == {"alert", "Group"}
    with pytest.raises(Unreadable):
        store.load("high_error_rate", "sales")
    with pytest.raises(Conflict):
        store.commit("high_error_rate", "sales", many(1), [], None)


def many(count: int, value: float = 1.0) -> list[Alert]:
    return [replace(an_alert(instance({"n": f"{number}"})), value=value) for number in range(count)]


def test_more_alerts_than_a_transaction_holds_are_committed_as_one(table: str) -> None:
    store = connect(table)
    store.commit("high_error_rate", "sales", many(350), [a_delivery("n1")], None)
    loaded = connect(table).load("high_error_rate", "sales")
    assert len(loaded.alerts) == 350
    assert [each.id for each in store.waiting(T0)] == ["n1/oncall"]
    idle = [Alert("high_error_rate", "sales", alert.by) for alert in many(350)]
    store.commit("high_error_rate", "sales", idle, [], loaded.etag)
    assert store.open_alerts() == []
    assert not store.load("high_error_rate", "sales").alerts
    assert list(store._table.query_entities("Kind eq 'staged'")) == []


@pytest.mark.parametrize("point", ["staged", "named", "chunk 0", "chunk 1", "chunk 3", "unstaged"])
@pytest.mark.parametrize("reader", ["load", "open_alerts", "waiting"])
def test_a_writer_that_dies_between_chunks_leaves_all_or_nothing(table: str, point: str, reader: str) -> None:
    store = connect(table)
    store.commit("high_error_rate", "sales", many(5, value=1.0), [], None)
    etag = store.load("high_error_rate", "sales").etag
    store._ledger.crash.append(point)
    with pytest.raises(KeyboardInterrupt):
        store.commit("high_error_rate", "sales", many(350, value=2.0), [a_delivery("n1")], etag)
    other = connect(table)
    if reader == "load":
        other.load("high_error_rate", "sales")
    if reader == "open_alerts":
        other.open_alerts()
    if reader == "waiting":
        other.waiting(T0)
    nothing = point == "staged"
    assert {alert.value for alert in other.open_alerts()} == {1.0 if nothing else 2.0}
    assert len(other.load("high_error_rate", "sales").alerts) == (5 if nothing else 350)
    assert len(other.waiting(T0)) == (0 if nothing else 1)
    fresh = other.load("high_error_rate", "sales").etag
    other.commit("high_error_rate", "sales", many(1, value=3.0), [], fresh)


@pytest.mark.parametrize("point", ["staged", "named", "chunk 0", "chunk 2", "unstaged"])
def test_a_writer_that_dies_within_a_group_leaves_all_of_it_or_nothing(table: str, point: str) -> None:
    """The messages of the group too: a receiver is notified once of what is saved, and of nothing else."""
    store = connect(table)
    store.keep(Group, "g", a_group(5), None)
    etag = store.kept(Group)["g"].etag
    store._ledger.crash.append(point)
    with pytest.raises(KeyboardInterrupt):
        store.keep(Group, "g", a_group(250, 2), etag, [a_delivery("n1")])
    other = connect(table)
    found = other.kept(Group)["g"]
    assert found.value == (a_group(5) if point == "staged" else a_group(250, 2))
    assert len(other.waiting(T0)) == (0 if point == "staged" else 1)
    other.keep(Group, "g", a_group(3, 3), found.etag)
    assert connect(table).kept(Group)["g"].value == a_group(3, 3)


def test_only_the_alerts_that_changed_are_written(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[list[str]] = []
    transact = Ledger._transact

    def noted(ledger: Ledger, operations: list[Any]) -> str:
        sent.append([str(each[1]["RowKey"]).partition("|")[0] for each in operations])
        return transact(ledger, operations)

    monkeypatch.setattr(Ledger, "_transact", noted)
    store, group = connect(table), a_group(40)
    store.keep(Group, "g", group, None)
    assert sent.pop() == ["!head"] + ["member"] * 41, "forty alerts, and one that left when somebody was notified"
    key, member = list(group.members.items())[7]
    changed = replace(group, members={**group.members, key: replace(member, held="silenced")})
    store.keep(Group, "g", changed, store.kept(Group)["g"].etag)
    assert sent.pop() == ["!head", "member"]
    etag = store.kept(Group)["g"].etag
    connect(table).keep(Group, "g", group, etag)  # by somebody who has not read it: it is read then
    assert sent.pop() == ["!head", "member"]


def test_a_group_that_was_stored_as_one_row_is_read_and_becomes_rows(table: str) -> None:
    store, group = connect(table), a_group(3)
    partition = keys.kept("Group", "g")
    store._ledger.write(partition, None, Change(json.dumps({"key": "g", "value": dump(group)})))
    (found,) = store.kept(Group).values()
    assert found.value == group
    changed = replace(group, next=T0 + MINUTE)
    store.keep(Group, "g", changed, found.etag)
    assert store.kept(Group)["g"].value == changed
    assert len(store._rows(partition, keys.PART)) == 4
    assert "high_error_rate/sales/" not in store._ledger.head(partition).body


def test_two_who_finish_the_same_work_do_it_once(table: str) -> None:
    """Whoever comes second to a chunk sees that it is done, and never puts an older row over a newer."""
    store = connect(table)
    store._ledger.crash.append("named")
    with pytest.raises(KeyboardInterrupt):
        store.commit("high_error_rate", "sales", many(350, value=2.0), [], None)
    slow = connect(table)
    head = slow._ledger._read("alerts|sales|high_error_rate")
    quick = connect(table)
    etag = quick.load("high_error_rate", "sales").etag
    quick.commit("high_error_rate", "sales", many(350, value=5.0), [], etag)
    with pytest.raises(Conflict):
        slow._ledger._finish("alerts|sales|high_error_rate", replace(head, etag=head.etag))
    assert {alert.value for alert in quick.open_alerts()} == {5.0}


def test_a_long_message_is_kept_whole(table: str) -> None:
    store = connect(table)
    long = replace(a_delivery("n1").notice, text="ü🙂" * 20_000, query="x" * 50_000)
    delivery = replace(a_delivery("n1"), notice=long)
    store.enqueue([delivery])
    assert store.waiting(T0) == [delivery]


def test_a_settled_message_is_not_unsettled_by_whoever_held_it_before(table: str) -> None:
    store, other = connect(table), connect(table)
    store.enqueue([a_delivery("n1")])
    slow = store.claim(a_delivery("n1"), T0 + MINUTE)
    quick = other.claim(slow, T0 + 3 * MINUTE)
    other.settle(replace(quick, state=Settled.DELIVERED, settled=T0))
    store.settle(replace(slow, not_before=T0 + 9 * MINUTE))
    assert [each.state for each in store.deliveries()] == [Settled.DELIVERED]


def test_a_service_that_is_not_there_is_unavailable_and_keeps_no_app_from_being_composed(tmp_path: Path) -> None:
    nowhere = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YQ==;TableEndpoint=http://127.0.0.1:1/a;"
    store = connect(nowhere)
    for call in (lambda: store.waiting(T0), store.open_alerts, lambda: store.beat(T0)):
        with pytest.raises(StoreUnavailable):
            call()


def test_the_store_is_a_table_store(table: str) -> None:
    assert isinstance(connect(table), TableStore)


def test_what_lost_its_race_is_never_carried_out(table: str) -> None:
    """Its rows were staged; they are taken away, and nobody who finishes other work takes them for his."""
    store, other = connect(table), connect(table)
    store.commit("high_error_rate", "sales", many(1), [], None)
    etag = store.load("high_error_rate", "sales").etag
    other.commit("high_error_rate", "sales", many(2), [], etag)
    with pytest.raises(Conflict):
        store.commit("high_error_rate", "sales", many(150, value=999.0), [a_delivery("ghost")], etag)
    assert list(store._table.query_entities("Kind eq 'staged'")) == []
    fresh = other.load("high_error_rate", "sales").etag
    other.commit("high_error_rate", "sales", many(120, value=2.0), [], fresh)
    assert {alert.value for alert in store.open_alerts()} == {2.0}
    assert store.waiting(T0) == []


def test_a_commit_that_another_finished_meanwhile_is_a_commit(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store, other = connect(table), connect(table)

    def meanwhile(ledger: Ledger, point: str) -> None:
        if ledger is store._ledger and point == "named":
            other.load("high_error_rate", "sales")

    monkeypatch.setattr(Ledger, "_die", meanwhile)
    store.commit("high_error_rate", "sales", many(350, value=2.0), [a_delivery("n1")], None)
    assert len(other.load("high_error_rate", "sales").alerts) == 350
    assert [each.id for each in other.waiting(T0)] == ["n1/oncall"]


def test_a_storm_of_long_messages_in_any_script_is_committed(table: str) -> None:
    store = connect(table)
    notice = replace(a_delivery("n").notice, text="ошибка " * 600)
    told = [
        replace(
            a_delivery(f"n{number}", episode=f"e{number}"),
            notice=replace(notice, id=f"n{number}", episode=f"e{number}"),
        )
        for number in range(250)
    ]
    store.commit("high_error_rate", "sales", many(130), told, None)
    assert len(store.waiting(T0)) == 250
    assert len(store.open_alerts()) == 130
