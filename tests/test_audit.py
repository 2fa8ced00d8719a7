"""Whatever is done to an audit chain is found and named by line and record; what cannot be found needs a witness."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.audit import (
    START,
    Damage,
    End,
    Harm,
    Record,
    broken,
    canonical,
    chained,
    differing,
    digest,
    examine,
    lines_of,
)

T0 = datetime(2026, 11, 20, 3, tzinfo=UTC)


def chain(count: int, more: str = "") -> list[dict[str, Any]]:
    """Return a whole chain."""
    entries: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        record = Record(
            T0 + timedelta(minutes=number), "policy p", f"event {number}", "sales", "p/e1", {"why": f"ü{more}"}
        )
        entries.append(chained(record, number, entries[-1]["hash"] if entries else START))
    return entries


def texts(entries: list[dict[str, Any]]) -> list[str]:
    return [canonical(entry) for entry in entries]


def end_of(entries: list[dict[str, Any]]) -> End:
    return End(entries[-1]["sequence"], entries[-1]["hash"]) if entries else End()


def found(written: list[str] | list[bytes], end: End | None = None) -> Damage:
    damage = examine(lines_of(written), end=end)
    assert damage is not None
    return damage


def forged(sequence: int, previous: str) -> dict[str, Any]:
    return chained(Record(T0, "person mallory", "forged", "sales", "x"), sequence, previous)


SIZES = st.integers(2, 12)


@given(SIZES)
def test_a_whole_chain_has_no_harm(size: int) -> None:
    entries = chain(size)
    assert examine(lines_of(texts(entries)), end=end_of(entries)) is None
    assert broken(entries) is None


@given(st.data(), SIZES)
def test_any_single_changed_byte_is_found_in_its_line(data: st.DataObject, size: int) -> None:
    written = [text.encode() for text in texts(chain(size))]
    at = data.draw(st.integers(0, size - 1))
    place = data.draw(st.integers(0, len(written[at]) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda each: each not in (10, written[at][place])))
    written[at] = written[at][:place] + bytes([byte]) + written[at][place + 1 :]
    damage = found(written)
    assert (damage.line, damage.sequence) == (at + 1, at + 1)
    assert damage.harm in (Harm.CHANGED, Harm.UNREADABLE)


@pytest.mark.parametrize(
    ("before", "after", "harm", "words"),
    [
        ('"why":', '"why": ', Harm.CHANGED, "not written as RFC 8785"),
        ('"actor":', '"actor":"x","actor":', Harm.CHANGED, "not written as RFC 8785"),
        ('"event 3"', '"event 9"', Harm.CHANGED, "its hash is not that of its content"),
        ("}", "", Harm.UNREADABLE, "is not JSON"),
        ('"detail":', '"details":', Harm.UNREADABLE, "is no audit record"),
        ('"sequence":3', '"sequence":true', Harm.UNREADABLE, "is no audit record"),
        ('"sequence":3', '"sequence":3,"n":1e999', Harm.CHANGED, "its hash is not that of its content"),
        ('"why":"ü"', '"why":"\\ud800"', Harm.CHANGED, "its hash is not that of its content"),
        ('"sequence":3', '"sequence":3,"deep":' + "[" * 5_000 + "]" * 5_000, Harm.UNREADABLE, "record 3"),
    ],
)
def test_a_line_that_was_written_otherwise_is_named_with_what_is_wrong(
    before: str, after: str, harm: Harm, words: str
) -> None:
    written = texts(chain(5))
    assert before in written[2]
    written[2] = written[2].replace(before, after, 1)
    damage = found(written)
    assert (damage.harm, damage.line, damage.sequence) in ((harm, 3, 3), (Harm.CHANGED, 3, 3))
    assert words in damage.words or harm is Harm.UNREADABLE


@given(st.data(), SIZES)
def test_a_record_that_was_changed_and_hashed_anew_is_named(data: st.DataObject, size: int) -> None:
    entries = chain(size)
    at = data.draw(st.integers(0, size - 2))
    entries[at] = {**entries[at], "actor": "person mallory"}
    entries[at]["hash"] = digest(entries[at])
    damage = found(texts(entries))
    assert (damage.harm, damage.line, damage.sequence) == (Harm.CHANGED, at + 1, at + 1)


@given(st.data(), st.integers(3, 12), st.sampled_from(["sequence", "previous"]))
def test_a_link_that_was_changed_and_hashed_anew_is_named_by_its_line(
    data: st.DataObject, size: int, field: str
) -> None:
    entries = chain(size)
    at = data.draw(st.integers(0, size - 2))
    entries[at] = {**entries[at], field: 99 if field == "sequence" else "f" * 64}
    entries[at]["hash"] = digest(entries[at])
    damage = found(texts(entries))
    assert (damage.harm, damage.line, damage.sequence) == (Harm.CHANGED, at + 1, at + 1)


@given(st.data(), SIZES)
def test_missing_records_are_named(data: st.DataObject, size: int) -> None:
    entries = chain(size)
    first = data.draw(st.integers(0, size - 2))
    until = data.draw(st.integers(first + 1, size - 1))
    damage = found(texts(entries[:first] + entries[until:]))
    assert (damage.harm, damage.line, damage.sequence) == (Harm.MISSING, first + 1, first + 1)
    assert f"record{'s' if until > first + 1 else ''} {first + 1}" in damage.words


@given(st.data(), SIZES)
def test_records_that_were_swapped_are_named(data: st.DataObject, size: int) -> None:
    entries = chain(size)
    first = data.draw(st.integers(0, size - 2))
    second = data.draw(st.integers(first + 1, size - 1))
    entries[first], entries[second] = entries[second], entries[first]
    damage = found(texts(entries))
    assert (damage.harm, damage.line, damage.sequence) == (Harm.MOVED, first + 1, first + 1)
    assert f"stands in line {second + 1}" in damage.words


@given(st.data(), SIZES)
def test_a_record_that_was_moved_is_named_where_the_order_breaks(data: st.DataObject, size: int) -> None:
    entries = chain(size)
    start, to = data.draw(st.permutations(range(size)))[:2]
    entries.insert(to, entries.pop(start))
    damage = found(texts(entries))
    assert (damage.harm, damage.line) == (Harm.MOVED, min(start, to) + 1)


@given(st.data(), SIZES)
def test_a_line_that_stands_twice_is_named(data: st.DataObject, size: int) -> None:
    entries = chain(size)
    which, to = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    copied = entries[which]
    entries.insert(to, copied)
    damage = found(texts(entries))
    # Beside its original nobody can say which of the two is the copy.
    line = to + 1 if to != which else which + 2
    assert (damage.harm, damage.line, damage.sequence) == (Harm.REPEATED, line, which + 1)


@given(st.data(), st.integers(3, 12), st.sampled_from(["noise", "fork", "loose", "ahead", "old"]))
def test_a_line_that_was_added_is_named(data: st.DataObject, size: int, kind: str) -> None:
    entries = chain(size)
    to = data.draw(st.integers(0, size - 2))
    written = texts(entries)
    added = {
        "noise": "{",
        "fork": canonical(forged(to + 1, entries[to]["previous"])),
        "loose": canonical(forged(to + 1, "f" * 64)),
        "ahead": canonical(forged(99, "f" * 64)),
        "old": canonical(forged(0, "f" * 64)),
    }[kind]
    written.insert(to, added)
    damage = found(written)
    assert (damage.harm, damage.line) == (Harm.ADDED, to + 1)


@given(st.data(), SIZES)
def test_an_end_that_was_cut_off_shows_only_to_who_knows_the_end(data: st.DataObject, size: int) -> None:
    entries = chain(size)
    left = data.draw(st.integers(0, size - 1))
    written = texts(entries[:left])
    assert examine(lines_of(written)) is None
    damage = found(written, end_of(entries))
    assert (damage.harm, damage.line, damage.sequence) == (Harm.CUT, left + 1, left + 1)
    copied = differing(lines_of(written), lines_of(texts(entries)))
    assert copied is not None
    assert (copied.harm, copied.sequence) == (Harm.CUT, left + 1)
    assert differing(lines_of(texts(entries)), lines_of(written)) is None, "a copy may lag behind"


@given(st.data(), SIZES)
def test_a_chain_written_anew_from_some_record_on_shows_only_beside_its_copy_or_its_noted_end(
    data: st.DataObject, size: int
) -> None:
    entries = chain(size)
    at = data.draw(st.integers(0, size - 1))
    anew = entries[:at]
    for entry in entries[at:]:
        record = Record(T0, "person mallory", entry["event"], "sales", "x")
        anew.append(chained(record, entry["sequence"], anew[-1]["hash"] if anew else START))
    assert examine(lines_of(texts(anew))) is None
    assert found(texts(anew), end_of(entries)).harm is Harm.DIFFERENT
    beside = differing(lines_of(texts(anew)), lines_of(texts(entries)))
    assert beside is not None
    assert (beside.harm, beside.line, beside.sequence) == (Harm.DIFFERENT, at + 1, at + 1)


@given(SIZES, st.integers(1, 3))
def test_records_added_after_the_end_show_to_who_knows_the_end(size: int, more: int) -> None:
    entries = chain(size + more)
    damage = found(texts(entries), end_of(entries[:size]))
    assert (damage.harm, damage.line, damage.sequence) == (Harm.ADDED, size + 1, size + 1)


@given(st.data(), SIZES)
def test_a_part_is_whole_after_its_predecessor_and_after_nothing_else(data: st.DataObject, size: int) -> None:
    entries = chain(size)
    first = data.draw(st.integers(1, size - 1))
    part = lines_of(texts(entries[first:]))
    assert examine(part, after=end_of(entries[:first]), end=end_of(entries)) is None
    beginning = examine(part)
    assert beginning is not None
    assert (beginning.harm, beginning.sequence) == (Harm.MISSING, 1)
    other = examine(part, after=replace(end_of(entries[:first]), hash="f" * 64))
    assert other is not None
    assert (other.harm, other.line, other.sequence) == (Harm.CHANGED, 1, first + 1)


def test_a_line_is_canonical_json() -> None:
    (entry,) = chain(1)
    assert canonical(entry).startswith('{"actor":"policy p","at":"2026-11-20T03:01:00+00:00","detail":{"why":"ü"},')
    assert json.loads(canonical(entry)) == entry
