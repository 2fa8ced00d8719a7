"""What every copy of the audit must do. Derive from ``MirrorContract``, give it an empty copy, and pytest runs it."""

from __future__ import annotations

from abc import abstractmethod
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tocsin.core.audit import START, End, Record, canonical, chained
from tocsin.core.copying import Place
from tocsin.ports import Conflict, Diverged, Mirror

T0 = datetime(2026, 11, 30, 23, 50, tzinfo=UTC)


def a_chain(count: int, more: str = "", every: timedelta = timedelta(seconds=1)) -> list[dict[str, Any]]:
    """Return a whole chain of so many records."""
    entries: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        record = Record(T0 + number * every, "policy p", f"event {number}", "sales — ü", "p/e1", {"why": more})
        entries.append(chained(record, number, entries[-1]["hash"] if entries else START))
    return entries


def append_all(mirror: Mirror, entries: list[dict[str, Any]], at: Place) -> Place:
    """Append everything, however many blocks that takes, and return the copy's end."""
    while entries:
        at = mirror.append(entries, at)
        entries = [each for each in entries if each["sequence"] > at.end.sequence]
    return at


class MirrorContract:
    """The contract. ``make_mirror`` returns an empty copy; ``second`` a second writer of the same."""

    @abstractmethod
    def make_mirror(self) -> Mirror:
        """Return an empty copy."""

    @abstractmethod
    def second(self, mirror: Mirror) -> Mirror:
        """Return another writer of the same copy."""

    @abstractmethod
    def spoil(self, mirror: Mirror, data: bytes) -> None:
        """Append these bytes behind the copy's back."""

    @pytest.fixture
    def mirror(self) -> Mirror:
        """An empty copy."""
        return self.make_mirror()

    def test_an_empty_copy_ends_before_the_first_record(self, mirror: Mirror) -> None:
        assert mirror.tail().end == End()
        assert list(mirror.lines()) == []

    def test_what_was_appended_is_read_again_byte_for_byte(self, mirror: Mirror) -> None:
        entries = a_chain(7)
        first = append_all(mirror, entries[:3], mirror.tail())
        append_all(mirror, entries[3:], first)
        assert list(self.second(mirror).lines()) == [canonical(each).encode() for each in entries]

    def test_where_an_append_ended_is_where_the_next_reader_finds_the_end(self, mirror: Mirror) -> None:
        entries = a_chain(5)
        place = append_all(mirror, entries, mirror.tail())
        assert place.end == End(5, entries[-1]["hash"])
        assert self.second(mirror).tail() == place

    def test_two_who_append_the_same_write_it_once(self, mirror: Mirror) -> None:
        entries, other = a_chain(6), self.second(mirror)
        place = append_all(mirror, entries[:2], mirror.tail())
        append_all(mirror, entries[2:5], place)
        with pytest.raises(Conflict):
            other.append(entries[2:4], place)
        append_all(other, entries[5:], other.tail())
        assert list(mirror.lines()) == [canonical(each).encode() for each in entries]

    def test_two_who_begin_at_once_begin_once(self, mirror: Mirror) -> None:
        entries, other = a_chain(3), self.second(mirror)
        mine, theirs = mirror.tail(), other.tail()
        append_all(mirror, entries, mine)
        with pytest.raises(Conflict):
            other.append(entries, theirs)
        assert list(mirror.lines()) == [canonical(each).encode() for each in entries]

    def test_a_last_line_that_is_longer_than_a_piece_is_found(self, mirror: Mirror) -> None:
        entries = a_chain(3, "x" * 300_000)
        place = append_all(mirror, entries, mirror.tail())
        assert self.second(mirror).tail() == place

    def test_more_than_one_block_holds_is_appended_in_order(self, mirror: Mirror) -> None:
        entries = a_chain(30, "x" * 300_000)
        append_all(mirror, entries, mirror.tail())
        assert [line[:200] for line in mirror.lines()] == [canonical(each).encode()[:200] for each in entries]

    def test_a_last_line_that_is_no_record_is_said(self, mirror: Mirror) -> None:
        append_all(mirror, a_chain(2), mirror.tail())
        self.spoil(mirror, b'{"sequence": 3}\n')
        with pytest.raises(Diverged, match="is no audit record"):
            mirror.tail()
