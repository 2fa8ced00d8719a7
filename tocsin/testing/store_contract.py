"""What every store must do. Derive from ``StoreContract``, give it a fresh store, and pytest runs the contract."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tocsin.core import audit
from tocsin.core.alert import Alert, State, Verdict
from tocsin.core.audit import Record
from tocsin.core.fields import Severity
from tocsin.core.group import Group, Member, Told
from tocsin.core.message import Delivery, Fact, Kind, Notice, Settled
from tocsin.core.remedy import Execution, Phase
from tocsin.ports import Conflict, Store, TooLarge
from tocsin.stores.codec import dump
from tocsin.stores.rows import ROW, size_of

T0 = datetime(2026, 11, 20, 3, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def an_alert(by: tuple[tuple[str, str], ...] = (), state: State = State.FIRING) -> Alert:
    """Return an alert with a value in every kind of field."""
    return Alert(
        "high_error_rate",
        "sales",
        by,
        state,
        T0,
        T0,
        MINUTE,
        MINUTE,
        Verdict.BREACHED,
        T0,
        (True, False),
        T0,
        value=0.25,
        trail=((T0 - MINUTE, 0.1), (T0, 0.25)),
    )


def a_delivery(identity: str, sequence: int = 1, receiver: str = "oncall", episode: str = "e1") -> Delivery:
    """Return a waiting delivery."""
    notice = Notice(
        identity,
        Kind.FIRED,
        episode,
        "high_error_rate",
        "sales",
        Severity.P1,
        T0,
        "it burns",
        facts=(Fact("a", "ü\n'"),),
        series=((T0 - MINUTE, 0.1), (T0, 0.25)),
        threshold=0.05,
    )
    return Delivery(f"{identity}/{receiver}", receiver, notice, T0, T0, sequence)


LETTERS = ["x", '"', "\\", "ü", "語", "🙂"]
"""One of each kind: a byte, escaped, of one, two and three bytes in UTF-8, and one that takes two UTF-16 units."""


def an_alert_of(size: int, letter: str, by: tuple[tuple[str, str], ...] = ()) -> Alert:
    """Return an alert whose row has the largest number of bytes up to ``size`` that this letter can make."""

    def bytes_of(count: int) -> int:
        return size_of(dump(replace(an_alert(by), detail=letter * count)))

    most = bisect_right(range(size), size, key=bytes_of) - 1
    return replace(an_alert(by), detail=letter * most)


def a_group(count: int, number: int = 1, text: str = "it burns") -> Group:
    """Return a group of ``count`` alerts, of which one receiver was notified and another of none; one has left it."""
    keys = [f"high_error_rate/sales/{each:04}" for each in range(count)]
    notice = replace(a_delivery("n").notice, title=text)
    members = {key: Member(replace(notice, id=f"{key}/{number}"), True, T0 + each * MINUTE, opened=notice)
               for each, key in enumerate(keys)}  # fmt: skip
    told = Told({key: f"{key}/e" for key in keys}, frozenset({"high_error_rate/sales/gone"}), T0, "new alerts")
    labels = (("rule", "high_error_rate"),)
    return Group("g", "routes", labels, T0, True, members, {"oncall": told, "team": Told(at=T0)}, seen=("a", "b"))


def an_execution() -> Execution:
    """Return the first version of an execution."""
    return Execution("p/e1", "p", "sales", "e1", "killswitch.engage", {"scope": "tools"}, Phase.INTENDED, intended=T0)


def an_entry(event: str = "intended") -> Record:
    """Return an audit record."""
    return Record(T0, "policy p", event, "sales", "p/e1", {"reason": "because — ü"})


class StoreContract:
    """The contract. ``make_store`` returns an empty store; ``second`` a second writer on the same state."""

    @abstractmethod
    def make_store(self) -> Store:
        """Return an empty store."""

    @abstractmethod
    def second(self, store: Store) -> Store:
        """Return another writer on the same state."""

    @pytest.fixture
    def store(self) -> Store:
        """An empty store."""
        return self.make_store()

    def test_what_is_committed_is_loaded_again_exactly(self, store: Store) -> None:
        """Every field of an alert survives, for every instance."""
        alerts = [an_alert(), an_alert((("agent", 'it\'s "quoted"'), ("tool", "ü")))]
        store.commit("high_error_rate", "sales", alerts, [], None)
        assert store.load("high_error_rate", "sales").alerts == {alert.by: alert for alert in alerts}
        assert set(store.open_alerts()) == set(alerts)

    def test_rules_and_targets_do_not_see_each_others_alerts(self, store: Store) -> None:
        """A partition is one rule on one target."""
        store.commit("high_error_rate", "sales", [an_alert()], [], None)
        assert not store.load("high_error_rate", "support").alerts
        assert not store.load("p95_latency", "sales").alerts

    def test_everything_on_a_target_is_loaded_at_once_as_it_is_one_by_one(self, store: Store) -> None:
        """Alerts and tags of each rule; targets whose names begin alike are not mixed up."""
        other = replace(an_alert(), rule="p95_latency")
        elsewhere = replace(an_alert(), target="sales-two")
        store.commit("high_error_rate", "sales", [an_alert(), an_alert((("agent", "a"),))], [a_delivery("n1")], None)
        store.commit("p95_latency", "sales", [other], [], None)
        store.commit("high_error_rate", "sales-two", [elsewhere], [], None)
        found = store.load_all("sales")
        assert set(found) == {"high_error_rate", "p95_latency"}
        for rule, loaded in found.items():
            assert loaded == store.load(rule, "sales")
        assert not store.load_all("support")

    def test_an_idle_alert_is_forgotten(self, store: Store) -> None:
        """An inactive alert without history leaves no row."""
        store.commit("high_error_rate", "sales", [an_alert()], [], None)
        etag = store.load("high_error_rate", "sales").etag
        store.commit("high_error_rate", "sales", [Alert("high_error_rate", "sales")], [], etag)
        assert not store.load("high_error_rate", "sales").alerts
        assert not store.open_alerts()

    def test_the_second_of_two_writers_gets_a_conflict_and_changes_nothing(self, store: Store) -> None:
        """Neither its states nor its messages are there."""
        other = self.second(store)
        mine, theirs = store.load("r", "t"), other.load("r", "t")
        store.commit("r", "t", [replace(an_alert(), rule="r", target="t")], [], mine.etag)
        with pytest.raises(Conflict):
            other.commit("r", "t", [], [a_delivery("late")], theirs.etag)
        assert len(other.load("r", "t").alerts) == 1
        assert not other.waiting(T0)

    def test_states_and_messages_are_saved_together(self, store: Store) -> None:
        """What is committed with the states waits in the outbox, whole."""
        store.commit("high_error_rate", "sales", [an_alert()], [a_delivery("n1")], None)
        assert store.waiting(T0) == [a_delivery("n1")]
        assert self.second(store).delivery("n1/oncall") == a_delivery("n1")
        assert store.delivery("n1/other") is None

    def test_the_same_message_is_kept_once(self, store: Store) -> None:
        """A repeated commit after a crash adds no second copy, nor revives a settled one."""
        store.enqueue([a_delivery("n1")])
        held = store.claim(a_delivery("n1"), T0 + MINUTE)
        store.settle(replace(held, state=Settled.DELIVERED, settled=T0))
        store.enqueue([a_delivery("n1")])
        assert not store.waiting(T0 + 10 * MINUTE)
        assert [each.state for each in store.deliveries()] == [Settled.DELIVERED]

    def test_a_later_message_of_an_episode_waits_for_the_earlier_at_the_same_receiver(self, store: Store) -> None:
        """Resolved never overtakes fired; other receivers and episodes are not held up."""
        store.enqueue([a_delivery("resolved", 2), a_delivery("fired", 1), a_delivery("resolved", 2, "team")])
        assert [each.id for each in store.waiting(T0)] == ["fired/oncall", "resolved/team"]
        held = store.claim(a_delivery("fired", 1), T0 + MINUTE)
        assert [each.id for each in store.waiting(T0)] == ["resolved/team"]
        store.settle(replace(held, state=Settled.DELIVERED, settled=T0))
        assert [each.id for each in store.waiting(T0)] == ["resolved/oncall", "resolved/team"]

    def test_a_claimed_message_is_nobody_elses_until_the_claim_ends(self, store: Store) -> None:
        """A writer that dies while it delivers delays the message and does not lose it."""
        store.enqueue([a_delivery("n1")])
        store.claim(a_delivery("n1"), T0 + MINUTE)
        with pytest.raises(Conflict):
            self.second(store).claim(a_delivery("n1"), T0 + MINUTE)
        assert not store.waiting(T0)
        assert [each.attempts for each in store.waiting(T0 + MINUTE)] == [1]

    def test_a_message_whose_time_has_not_come_does_not_show(self, store: Store) -> None:
        """Back-off is kept by the store."""
        store.enqueue([replace(a_delivery("n1"), not_before=T0 + MINUTE)])
        assert not store.waiting(T0)
        assert store.waiting(T0 + MINUTE)

    def test_a_mark_is_replaced_only_by_who_read_it(self, store: Store) -> None:
        """The slots come back, and a stale tag is a conflict."""
        store.save_mark("sales", {"high_error_rate": T0}, None)
        mark = store.mark("sales")
        assert mark.slots == {"high_error_rate": T0}
        with pytest.raises(Conflict):
            store.save_mark("sales", {}, None)
        store.save_mark("sales", {"high_error_rate": T0 + MINUTE}, mark.etag)
        assert store.mark("sales").slots == {"high_error_rate": T0 + MINUTE}

    def test_an_execution_advances_one_version_at_a_time(self, store: Store) -> None:
        """Two writers that read the same version: the second loses, and its audit record with it."""
        store.record(an_execution(), [an_entry()])
        stored = store.execution("p/e1")
        assert stored == an_execution()
        applied = an_execution().moved(Phase.APPLIED, "done")
        store.record(applied, [an_entry("applied")])
        with pytest.raises(Conflict):
            self.second(store).record(applied, [an_entry("applied again")], [a_delivery("n1")])
        assert [entry["event"] for entry in store.audit()] == ["intended", "applied"]
        assert store.executions() == [applied]
        assert not store.waiting(T0)

    def test_the_audit_chain_is_whole_and_names_what_breaks_it(self, store: Store) -> None:
        """Each record holds its predecessor's hash, across writers."""
        for number in range(5):
            (store if number % 2 else self.second(store)).record(None, [an_entry(f"event {number}")])
        entries = store.audit()
        assert audit.broken(entries) is None
        assert audit.broken(entries[:2] + entries[3:]) == "record 3 is missing: line 3 holds record 4"
        assert "record 3 (line 3) was changed" in str(audit.broken([*entries[:2], {**entries[2], "at": "x"}]))

    def test_the_audit_is_read_from_a_record_on_and_as_the_canonical_lines_it_is_kept_in(self, store: Store) -> None:
        """A copy needs what is new, and not all there ever was."""
        assert (store.audit(), store.audit_lines(), store.audit_end()) == ([], [], 0)
        for number in range(1, 13):
            store.record(None, [an_entry(f"event {number}")])
        assert store.audit_end() == 12
        assert [entry["sequence"] for entry in store.audit(since=9)] == [10, 11, 12]
        assert [entry["sequence"] for entry in store.audit(since=2, most=3)] == [3, 4, 5]
        assert store.audit(since=12) == []
        assert store.audit_lines(8, 2) == [audit.canonical(entry) for entry in store.audit(8, 2)]
        assert audit.examine(audit.lines_of(store.audit_lines())) is None

    def test_a_lock_is_held_by_one_owner_and_frees_itself(self, store: Store) -> None:
        """Its owner may take it again; others wait for the release or the end."""
        assert store.lock("act/sales", "a", T0, MINUTE)
        assert store.lock("act/sales", "a", T0, MINUTE)
        assert not self.second(store).lock("act/sales", "b", T0, MINUTE)
        store.unlock("act/sales", "b")
        assert not store.lock("act/sales", "b", T0, MINUTE)
        assert store.lock("act/sales", "b", T0 + MINUTE, MINUTE)
        store.unlock("act/sales", "b")
        assert store.lock("act/sales", "a", T0 + MINUTE, MINUTE)

    def test_nothing_waits_for_a_clock_that_was_ahead(self, store: Store) -> None:
        """After a clock was set back, messages that it put off and locks that it took would bind for years."""
        half, year = timedelta(minutes=30), timedelta(days=365)
        store.enqueue([replace(a_delivery("n1"), not_before=T0 + year)])
        assert [each.id for each in store.waiting(T0)] == ["n1/oncall"]
        store.claim(a_delivery("n1"), T0 + year)
        assert [each.attempts for each in store.waiting(T0)] == [1]
        assert store.lock("act/sales", "a", T0 + year, MINUTE)
        assert store.lock("act/sales", "b", T0, MINUTE)
        assert not store.lock("act/sales", "a", T0, MINUTE)
        # Nobody holds either for half an hour: a process died, and its clock was ahead.
        store.claim(store.waiting(T0)[0], T0 + half)
        assert [each.attempts for each in store.waiting(T0)] == [2]
        assert store.lock("act/fares", "a", T0 + half, MINUTE)
        assert store.lock("act/fares", "b", T0, MINUTE)

    def test_what_is_kept_is_found_by_its_kind_and_key(self, store: Store) -> None:
        store.keep(Fact, "a/ü", Fact("x", "1"), None)
        store.keep(Fact, "b", Fact("y", "2"), None)
        found = self.second(store).kept(Fact)
        assert {key: each.value for key, each in found.items()} == {"a/ü": Fact("x", "1"), "b": Fact("y", "2")}
        assert store.kept(Record) == {}

    def test_what_is_kept_is_replaced_only_by_who_read_it(self, store: Store) -> None:
        store.keep(Fact, "a", Fact("x", "1"), None)
        with pytest.raises(Conflict):
            self.second(store).keep(Fact, "a", Fact("x", "2"), None, [a_delivery("lost")])
        etag = store.kept(Fact)["a"].etag
        store.keep(Fact, "a", Fact("x", "2"), etag, [a_delivery("won")])
        with pytest.raises(Conflict):
            store.keep(Fact, "a", Fact("x", "3"), etag)
        assert store.kept(Fact)["a"].value == Fact("x", "2")
        assert [each.notice.id for each in store.deliveries()] == ["won"]

    def test_what_is_forgotten_is_gone_and_can_be_kept_anew(self, store: Store) -> None:
        store.keep(Fact, "a", Fact("x", "1"), None)
        store.keep(Fact, "a", None, store.kept(Fact)["a"].etag)
        assert store.kept(Fact) == {}
        store.keep(Fact, "a", Fact("x", "2"), None)
        assert store.kept(Fact)["a"].value == Fact("x", "2")

    def test_messages_of_one_lane_wait_for_each_other_whatever_their_episode(self, store: Store) -> None:
        first, second = a_delivery("n1", 1, episode="e1"), a_delivery("n2", 2, episode="e2")
        store.enqueue([replace(second, lane="g"), replace(first, lane="g")])
        assert [each.notice.id for each in store.waiting(T0)] == ["n1"]

    @pytest.mark.parametrize("letter", LETTERS)
    def test_the_largest_row_is_kept_whole_and_a_larger_one_is_refused(self, store: Store, letter: str) -> None:
        """The limit is the same in every store, whatever the text is made of."""
        largest = an_alert_of(ROW, letter)
        store.commit("high_error_rate", "sales", [largest], [], None)
        loaded = store.load("high_error_rate", "sales")
        assert loaded.alerts == {(): largest}
        larger = replace(largest, detail=largest.detail + letter)
        with pytest.raises(TooLarge, match="a row holds"):
            store.commit("high_error_rate", "sales", [larger], [a_delivery("n1")], loaded.etag)
        assert store.load("high_error_rate", "sales") == loaded
        assert not store.waiting(T0)

    @pytest.mark.parametrize("letter", ['"', "🙂"])
    def test_many_of_the_largest_rows_are_committed_together(self, store: Store, letter: str) -> None:
        """What one transaction does not hold is saved all the same, whole or not at all."""
        alerts = [an_alert_of(ROW, letter, (("n", f"{number}"),)) for number in range(9)]
        alerts += [an_alert((("small", f"{number}"),)) for number in range(110)]
        store.commit("high_error_rate", "sales", alerts, [a_delivery("n1")], None)
        assert store.load("high_error_rate", "sales").alerts == {alert.by: alert for alert in alerts}
        with pytest.raises(TooLarge):
            store.commit("p95_latency", "sales", [*alerts, an_alert_of(2 * ROW, "x")], [a_delivery("n2")], None)
        assert not store.load("p95_latency", "sales").alerts
        assert [each.id for each in store.waiting(T0)] == ["n1/oncall"]

    def test_nothing_that_is_saved_may_be_larger_than_a_row(self, store: Store) -> None:
        """A message, a mark, a value, an execution and a lock are refused alike; a record's texts are cut."""
        long = "x" * (ROW + 1)
        message = replace(a_delivery("n1"), receipt=long)
        store.enqueue([a_delivery("n2", episode="e2")])
        held = store.claim(a_delivery("n2", episode="e2"), T0 + MINUTE)
        refused: list[Callable[[], object]] = [
            lambda: store.enqueue([message]),
            lambda: store.settle(replace(held, receipt=long)),
            lambda: store.save_mark("sales", {long: T0}, None),
            lambda: store.keep(Fact, "a", Fact("x", long), None),
            lambda: store.keep(Fact, "a", Fact("x", "1"), None, [message]),
            lambda: store.record(replace(an_execution(), before=long), []),
            lambda: store.lock("act/sales", long, T0, MINUTE),
        ]
        for call in refused:
            with pytest.raises(TooLarge):
                call()
        assert [each.id for each in store.deliveries()] == ["n2/oncall"]
        assert (store.mark("sales").slots, store.kept(Fact), store.executions(), store.audit()) == ({}, {}, [], [])
        assert store.lock("act/sales", "a", T0, MINUTE)
        details = {f"{number}" + "🙂" * 5_000: "🙂" * 5_000 for number in range(100)}
        store.record(None, [replace(an_entry(), subject="🙂" * ROW, detail=details)])
        (entry,) = store.audit()
        assert entry["detail"]["left out"] == "40 more"
        assert audit.broken([entry]) is None

    def test_a_group_is_kept_whole_whatever_number_of_alerts_it_has(self, store: Store) -> None:
        """Its alerts are rows of their own: neither many nor long ones make it too large."""
        large, long = a_group(2_000), replace(a_group(16, text="🙂" * 10_000), id="h")
        store.keep(Group, "g", large, None, [a_delivery("n1")])
        store.keep(Group, "h", long, None)
        found = self.second(store).kept(Group)
        assert {key: each.value for key, each in found.items()} == {"g": large, "h": long}
        assert list(found["g"].value.members) == list(large.members), "the oldest first"
        assert [each.id for each in store.waiting(T0)] == ["n1/oncall"]

    def test_alerts_come_into_a_group_and_leave_it(self, store: Store) -> None:
        """What is read is what was kept last, by whichever writer."""
        store.keep(Group, "g", a_group(20), None)
        store.keep(Group, "other", a_group(3), None)
        other = self.second(store)
        for group in (a_group(5, 2), a_group(12, 3), replace(a_group(0), told={}), a_group(4)):
            other.keep(Group, "g", group, other.kept(Group)["g"].etag)
            assert store.kept(Group)["g"].value == group
        store.keep(Group, "g", a_group(7), store.kept(Group)["g"].etag)
        assert other.kept(Group)["g"].value == a_group(7)
        other.keep(Group, "g", None, store.kept(Group)["g"].etag)
        store.keep(Group, "g", a_group(1), None)
        assert {key: each.value for key, each in store.kept(Group).items()} == {"g": a_group(1), "other": a_group(3)}

    def test_who_keeps_a_group_that_another_changed_gets_a_conflict_and_changes_none_of_its_alerts(
        self, store: Store
    ) -> None:
        """Also of many alerts, which no transaction holds together."""
        store.keep(Group, "g", a_group(3), None)
        etag = store.kept(Group)["g"].etag
        self.second(store).keep(Group, "g", a_group(4), etag)
        for count in (2, 300):
            with pytest.raises(Conflict):
                store.keep(Group, "g", a_group(count, 2), etag, [a_delivery("lost")])
        assert store.kept(Group)["g"].value == a_group(4)
        assert not store.waiting(T0)

    def test_the_heartbeat_is_the_last_one_written(self, store: Store) -> None:
        """And none before the first."""
        assert store.last_beat() is None
        store.beat(T0)
        store.beat(T0 + MINUTE, ["rule a: ValueError"])
        assert (store.last_beat(), store.last_failed()) == (T0 + MINUTE, ["rule a: ValueError"])
        store.beat(T0 + 2 * MINUTE)
        assert store.last_failed() == []

    def test_old_messages_are_forgotten_and_new_and_waiting_ones_kept(self, store: Store) -> None:
        """Thirty days after a message was written its receipt is gone."""
        store.enqueue([a_delivery("old"), a_delivery("young", episode="e2"), a_delivery("waiting", episode="e3")])
        for delivery in store.waiting(T0):
            if delivery.notice.id != "waiting":
                at = T0 if delivery.notice.id == "old" else T0 + timedelta(days=20)
                held = store.claim(delivery, T0 + MINUTE)
                store.settle(replace(held, state=Settled.DELIVERED, settled=at, created=at))
        assert store.sweep(T0 + timedelta(days=40)) == 1
        assert sorted(each.notice.id for each in store.deliveries()) == ["waiting", "young"]
