"""What every store must do with rows that it cannot decode: each is passed over alone, named, and left as it is."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from datetime import timedelta

import pytest

from tocsin.core.group import Group
from tocsin.core.instance import key_of
from tocsin.core.message import Fact
from tocsin.core.unreadable import Unreadable
from tocsin.ports import Conflict, Mark, Store
from tocsin.stores.codec import dump
from tocsin.testing.store_contract import (
    MINUTE,
    T0,
    StoreContract,
    a_delivery,
    a_group,
    an_alert,
    an_entry,
    an_execution,
)

BROKEN = {
    "cut": '{"id": "p/e1',
    "of another version": '{"id": "x", "said": [1], "slots": 7}',
    "by hand": "edited by hand",
}
"""Texts that no row is decoded from."""


class UnreadableContract(StoreContract):
    """The whole contract of a store whose rows a test can spoil."""

    @abstractmethod
    def spoil(self, store: Store, holding: str, text: str) -> int:
        """Put ``text`` in place of the text of every row that holds ``holding``; return how many rows do."""

    @pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
    def test_an_alert_that_cannot_be_read_is_passed_over_alone(self, store: Store, text: str) -> None:
        """Its neighbours are returned, and its place is named; saving them leaves it as it is."""
        bad, good = an_alert((("agent", "bad"),)), an_alert((("agent", "good"),))
        store.commit("high_error_rate", "sales", [bad, good], [], None)
        store.commit("p95_latency", "sales", [an_alert((("agent", "third"),))], [], None)
        assert self.spoil(store, '"bad"', text) == 1
        assert {each.by for each in store.open_alerts()} == {good.by, (("agent", "third"),)}
        for loaded in (store.load("high_error_rate", "sales"), store.load_all("sales")["high_error_rate"]):
            assert set(loaded.alerts) == {good.by}
            assert [each.stands_for(key_of(bad.by)) for each in loaded.lost] == [True]
            assert not any(each.stands_for(key_of(good.by)) for each in loaded.lost)
        assert not store.load("p95_latency", "sales").lost
        (lost,) = store.unreadable()
        assert (lost.what, lost.target, "high_error_rate" in lost.where) == ("alert", "sales", True)
        store.commit("high_error_rate", "sales", [replace(good, value=1.0)], [], loaded.etag)
        assert self.spoil(store, text, dump(bad)) == 1, "it lies there as it was"
        assert bad in store.open_alerts()
        assert store.unreadable() == []

    @pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
    def test_a_message_that_cannot_be_read_is_passed_over_alone_and_holds_up_no_lane(
        self, store: Store, text: str
    ) -> None:
        """Nothing waits for it, not even what comes after it for the same receiver."""
        store.enqueue([a_delivery("bad", 1), a_delivery("next", 2), a_delivery("other", 1, "team")])
        assert self.spoil(store, '"bad/oncall"', text) == 1
        assert [each.notice.id for each in store.waiting(T0)] == ["other", "next"]
        assert [each.what for each in store.unreadable()] == ["message"]
        with pytest.raises(Unreadable):
            store.delivery("bad/oncall")
        assert {each.notice.id for each in store.deliveries()} == {"other", "next"}
        store.enqueue([a_delivery("bad", 1)])
        assert store.sweep(T0 + timedelta(days=40)) == 0
        assert self.spoil(store, text, dump(a_delivery("bad", 1))) == 1, "it lies there as it was"
        assert {each.notice.id for each in store.waiting(T0)} == {"other", "bad"}

    @pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
    def test_an_execution_that_cannot_be_read_is_passed_over_alone_and_not_begun_anew(
        self, store: Store, text: str
    ) -> None:
        """Asked for by itself it is refused, and nothing takes its place."""
        store.record(an_execution(), [an_entry()])
        other = replace(an_execution(), id="q/e2", args={"scope": "all"})
        store.record(other, [an_entry()])
        assert self.spoil(store, '"tools"', text) == 1
        assert store.executions() == [other]
        assert [each.what for each in store.unreadable()] == ["execution"]
        with pytest.raises(Unreadable, match="p/e1"):
            store.execution("p/e1")
        with pytest.raises(Conflict):
            store.record(an_execution(), [an_entry()])
        assert store.execution("q/e2") == other
        assert self.spoil(store, text, dump(an_execution())) == 1, "it lies there as it was"
        assert len(store.executions()) == 2

    def test_an_execution_that_was_cut_still_says_whose_it_is(self, store: Store) -> None:
        """By that the guard counts it."""
        store.record(an_execution(), [an_entry()])
        self.spoil(store, '"tools"', dump(an_execution())[:100])
        assert store.executions() == []
        assert [(each.id, each.target) for each in store.unreadable()] == [("p/e1", "sales")]

    @pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
    def test_a_kept_value_that_cannot_be_read_is_passed_over_alone_and_not_replaced(
        self, store: Store, text: str
    ) -> None:
        """Also where one alert of a group is all that cannot be read."""
        store.keep(Fact, "a", Fact("x", "bad"), None)
        store.keep(Fact, "b", Fact("y", "2"), None)
        store.keep(Group, "g", a_group(3), None)
        store.keep(Group, "h", a_group(1), None)
        assert self.spoil(store, '"bad', text) + self.spoil(store, 'bad\\"', text) == 1
        assert self.spoil(store, "sales/0002/e", text) == 1
        for one in (store, self.second(store)):
            assert {key: each.value for key, each in one.kept(Fact).items()} == {"b": Fact("y", "2")}
            assert {key: each.value for key, each in one.kept(Group).items()} == {"h": a_group(1)}
            assert {each.what for each in one.unreadable()} == {"Fact", "Group"}
            assert [each.what for each in one.unreadable() if each.stands_for("a")] == ["Fact"]
            assert [each.what for each in one.unreadable() if each.stands_for("g")] == ["Group"]
            with pytest.raises(Conflict):
                one.keep(Fact, "a", Fact("x", "3"), None)
            with pytest.raises(Conflict):
                one.keep(Group, "g", a_group(4), None, [a_delivery("lost")])
        assert not store.waiting(T0)
        assert self.spoil(store, text, "still there") == 2

    @pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
    def test_a_mark_that_cannot_be_read_says_so_and_can_be_replaced(self, store: Store, text: str) -> None:
        """By who presents the tag that came with the refusal; the marks of other targets are read."""
        store.save_mark("sales", {"bad_rule": T0}, None)
        store.save_mark("support", {"good_rule": T0}, None)
        assert self.spoil(store, "bad_rule", text) == 1
        assert store.mark("support").slots == {"good_rule": T0}
        with pytest.raises(Unreadable) as raised:
            store.mark("sales")
        store.save_mark("sales", {"bad_rule": T0 + MINUTE}, raised.value.etag)
        assert replace(store.mark("sales"), etag=None) == Mark({"bad_rule": T0 + MINUTE})

    def test_messages_are_enqueued_past_an_end_of_the_audit_that_cannot_be_read(self, store: Store) -> None:
        """Nothing is recorded then, so nothing is done; but people are notified."""
        store.record(None, [an_entry()])
        assert self.spoil(store, '"hash"', "null")
        with pytest.raises(Unreadable):
            store.record(None, [an_entry()], [a_delivery("lost")])
        store.enqueue([a_delivery("n1")])
        assert [each.notice.id for each in store.waiting(T0)] == ["n1"]
