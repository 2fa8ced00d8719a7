"""The tick copies the audit, in order and once, whoever dies; a copy that fails stops nothing and is told."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.stage import MINUTE, T0, Stage
from tocsin.app import App
from tocsin.core.audit import Record, canonical, chained, examine, lines_of
from tocsin.core.copying import Mirrored, Place
from tocsin.engine.mirroring import Mirroring
from tocsin.ports import Conflict, Mirror, MirrorUnavailable
from tocsin.stores.mirror_file import FileMirror
from tocsin.stores.sqlite import SqliteStore
from tocsin.testing import FrozenClock, Heard

pytestmark = pytest.mark.slow


class Copy:
    """A file's copy that fails as it is told to: before it writes, or after."""

    def __init__(self, path: Path) -> None:
        self.inner = FileMirror(path)
        self.before: list[Exception | type[BaseException] | None] = []
        self.after: list[Exception | type[BaseException] | None] = []
        self.asked: list[str] = []
        self.most = 1_000

    name = "a copy"

    def tail(self) -> Place:
        self.asked.append("tail")
        return self.inner.tail()

    def append(self, entries: Sequence[Mapping[str, Any]], at: Place) -> Place:
        self.asked.append("append")
        _maybe(self.before)
        place = self.inner.append(entries[: self.most], at)
        _maybe(self.after)
        return place

    def lines(self) -> Iterator[bytes]:
        return self.inner.lines()


def _maybe(planned: list[Any]) -> None:
    fault = planned.pop(0) if planned else None
    if fault is not None:
        raise fault


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path / "audit.jsonl")


def add(store: SqliteStore, count: int) -> None:
    for _ in range(count):
        store.record(None, [Record(T0, "policy p", "intended", "sales", "p/e1", {"why": "ü"})])


def written(mirror: Mirror) -> list[str]:
    return [line.decode() for line in mirror.lines()]


def mirroring(store: SqliteStore, mirror: Mirror) -> Mirroring:
    return Mirroring(store, mirror, Heard())


def test_what_a_tick_did_is_in_the_copy_when_it_ends(copy: Copy) -> None:
    stage = Stage()
    stage.mirror = copy
    stage.platform.env.clear()
    stage.run(range(12))
    assert "intended" in [entry["event"] for entry in stage.inner.audit()]
    assert written(copy) == stage.inner.audit_lines()


def test_a_tick_with_nothing_to_copy_asks_nothing_of_the_copy(copy: Copy) -> None:
    store = SqliteStore(":memory:")
    add(store, 3)
    assert mirroring(store, copy).copy(T0) == 3
    copy.asked.clear()
    assert mirroring(store, copy).copy(T0) == 0
    add(store, 2)
    assert mirroring(store, copy).copy(T0) == 2
    assert copy.asked == ["append"]


def test_more_than_a_page_is_copied_in_order_in_one_tick(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.engine.mirroring._PAGE", 10)
    copy.most = 3
    store = SqliteStore(":memory:")
    add(store, 47)
    assert mirroring(store, copy).copy(T0) == 47
    assert written(copy) == store.audit_lines()


def test_a_long_way_is_left_to_the_next_tick(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.engine.mirroring.WITHIN", -1.0)
    copy.most = 2
    store = SqliteStore(":memory:")
    add(store, 5)
    assert [mirroring(store, copy).copy(T0) for _ in range(4)] == [2, 2, 1, 0]
    assert written(copy) == store.audit_lines()


@pytest.mark.parametrize("seed", range(20))
def test_whoever_dies_or_gets_no_answer_between_appends_repeats_no_line(tmp_path: Path, seed: int) -> None:
    """Two mirrors take turns; each may be cut down before or after it has written."""
    chance = random.Random(seed)
    store = SqliteStore(":memory:")
    for number in range(60):
        mirror = Copy(tmp_path / "audit.jsonl")
        mirror.most = chance.randint(1, 3)
        faults = [None, None, KeyboardInterrupt, MirrorUnavailable("no answer"), RuntimeError("a defect")]
        mirror.before, mirror.after = [chance.choice(faults)], [None, chance.choice(faults)]
        add(store, chance.randint(0, 3))
        try:
            mirroring(store, mirror).copy(T0 + number * MINUTE)
        except KeyboardInterrupt:
            continue
    last = Copy(tmp_path / "audit.jsonl")
    mirroring(store, last).copy(T0)
    assert written(last) == store.audit_lines()
    assert examine(lines_of(written(last))) is None


def test_a_lost_hint_is_read_from_the_copy(copy: Copy) -> None:
    store = SqliteStore(":memory:")
    add(store, 4)
    mirroring(store, copy).copy(T0)
    store.keep(Mirrored, copy.name, None, store.kept(Mirrored)[copy.name].etag)
    add(store, 2)
    mirroring(store, copy).copy(T0)
    assert written(copy) == store.audit_lines()


def test_a_new_copy_begins_with_the_first_record(tmp_path: Path) -> None:
    store = SqliteStore(":memory:")
    add(store, 4)
    for name in ("first", "second"):
        mirroring(store, FileMirror(tmp_path / name)).copy(T0)
    assert written(FileMirror(tmp_path / "second")) == store.audit_lines()


def test_another_who_copies_at_once_is_no_failure(copy: Copy) -> None:
    store = SqliteStore(":memory:")
    add(store, 1)
    copy.before = [Conflict("moved")] * 3
    assert mirroring(store, copy).copy(T0) == 0
    assert store.kept(Mirrored) == {}
    assert mirroring(store, copy).copy(T0) == 1


def test_a_copy_that_fails_stops_nothing_is_told_after_a_while_once_and_when_it_is_whole_again(copy: Copy) -> None:
    stage = Stage()
    stage.mirror = copy
    stage.platform.env.clear()
    copy.before = [MirrorUnavailable("the audit's copy does not answer: no permission")] * 30
    stage.run(range(12))
    assert stage.platform.changes == 1
    assert "acted" in stage.oncall.kinds()
    stage.run(range(12, 30))
    told = [notice for notice in stage.oncall.got if notice.rule == "audit_not_mirrored"]
    assert [notice.kind.value for notice in told] == ["fired"]
    assert "no permission" in str(told[0].facts)
    health = App(stage.engine, FrozenClock(T0 + 29 * MINUTE)).health()
    assert health["status"] == "degraded"
    assert any("the audit is not copied: the audit's copy does not answer" in each for each in health["problems"])
    stage.run(range(30, 40))
    told = [notice for notice in stage.oncall.got if notice.rule == "audit_not_mirrored"]
    assert [notice.kind.value for notice in told] == ["fired", "resolved"]
    assert written(copy) == stage.inner.audit_lines()
    assert not any("audit" in each for each in App(stage.engine, FrozenClock(T0 + 39 * MINUTE)).health()["problems"])


def test_a_defect_of_the_copy_is_told_by_its_kind_alone(copy: Copy) -> None:
    store, given = SqliteStore(":memory:"), RuntimeError("AccountKey=secret")
    add(store, 1)
    copy.before = [given]
    mirroring(store, copy).copy(T0)
    trouble = store.kept(Mirrored)[copy.name].value.trouble
    assert trouble is not None
    assert trouble.words == "copying failed: RuntimeError"


def diverged(store: SqliteStore, copy: Copy) -> str:
    """Return what is told at once, and check that nothing was written."""
    before = written(copy)
    mirroring(store, copy).copy(T0 + MINUTE)
    assert written(copy) == before
    (message,) = store.deliveries()
    assert message.notice.severity.value == "P1"
    assert message.notice.title.startswith("The audit and its copy are not the same any more")
    return str(message.notice.facts)


def test_a_store_that_lost_its_audit_never_goes_on_in_the_old_copy(copy: Copy) -> None:
    old = SqliteStore(":memory:")
    add(old, 5)
    mirroring(old, copy).copy(T0)
    new = SqliteStore(":memory:")
    new.record(None, [Record(T0, "person x", "another life", "sales", "x")])
    add(new, 7)
    new.record(None, [Record(T0 + timedelta(days=1), "person x", "another life", "sales", "x")])
    assert "ends with record 5" in diverged(new, copy)


def test_a_store_whose_newest_copied_record_was_changed_is_told_at_once(copy: Copy) -> None:
    store = SqliteStore(":memory:")
    add(store, 5)
    mirroring(store, copy).copy(T0)
    forged = chained(Record(T0, "person mallory", "x", "sales", "x"), 5, store.audit()[3]["hash"])
    with store._transaction() as db:
        db.execute("UPDATE audit SET body = ? WHERE sequence = 5", (canonical(forged),))
    assert "ends with record 5" in diverged(store, copy)


def test_a_copy_that_lost_its_end_is_not_mended_in_silence(copy: Copy, tmp_path: Path) -> None:
    store = SqliteStore(":memory:")
    add(store, 5)
    mirroring(store, copy).copy(T0)
    path = tmp_path / "audit.jsonl"
    path.write_text("".join(f"{line}\n" for line in written(copy)[:3]))
    add(store, 1)
    assert "ends with record 3, and had 5 before" in diverged(store, copy)


def test_a_copy_that_has_diverged_stays_so_until_it_is_whole(copy: Copy, tmp_path: Path) -> None:
    store = SqliteStore(":memory:")
    add(store, 5)
    mirroring(store, copy).copy(T0)
    path = tmp_path / "audit.jsonl"
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:3]))
    add(store, 1)
    for minute in range(1, 40):
        if minute == 20:
            copy.before = [MirrorUnavailable("down")]
        mirroring(store, copy).copy(T0 + minute * MINUTE)
    path.write_bytes(whole)
    mirroring(store, copy).copy(T0 + 40 * MINUTE)
    assert [each.notice.kind.value for each in reversed(store.deliveries())] == ["fired", "resolved"]
    assert replace(store.kept(Mirrored)[copy.name].value, place=Place()) == Mirrored()
    assert written(copy) == store.audit_lines()


def test_a_new_copy_in_the_place_of_one_that_diverged_ends_its_alert(copy: Copy, tmp_path: Path) -> None:
    store = SqliteStore(":memory:")
    add(store, 2)
    mirroring(store, copy).copy(T0)
    (tmp_path / "audit.jsonl").write_text("")
    add(store, 1)
    mirroring(store, copy).copy(T0 + MINUTE)
    new = FileMirror(tmp_path / "new.jsonl")
    assert mirroring(store, new).copy(T0 + 2 * MINUTE) == 3
    assert mirroring(store, new).copy(T0 + 3 * MINUTE) == 0
    assert [each.notice.kind.value for each in reversed(store.deliveries())] == ["fired", "resolved"]
    assert written(new) == store.audit_lines()
