"""The audit: what was intended and what came of it, each record hashed with the one before it; and what harmed it.

A record's hash is SHA-256 over its RFC 8785 canonical JSON, which holds the hash of its predecessor; so a record that
is changed, removed, added, repeated or moved breaks the chain at a place that can be named.

Two things no chain can show by itself: that its end was cut off, and that everything from some record on was written
anew with all its hashes. Both need a witness from elsewhere: the copy (``differing``), or the end as somebody noted it
(the ``end`` of ``examine``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import rfc8785

from tocsin.core.text import cut, normalize, scrub

UNTRUSTED = frozenset({"reason", "before", "after", "operation", "detail", "comment"})
"""Fields of a record's detail that others may have written: the platform, a person. None is from telemetry."""
LONGEST = 2_000  # bytes of one text of a record's detail

START = "0" * 64
"""What the first record names as its predecessor."""


@dataclass(frozen=True, slots=True)
class Record:
    """One thing to be recorded: who did or decided what, about which target, and why."""

    at: datetime
    actor: str
    event: str
    target: str
    subject: str
    detail: Mapping[str, str] = field(default_factory=dict)


class Decided(StrEnum):
    """What a person decides about being notified, and what ends by itself, as the audit's ``event`` names it."""

    SILENCED = "silenced"
    UNSILENCED = "silence ended"
    SILENCE_EXPIRED = "silence expired"
    ACKNOWLEDGED = "acknowledged"
    ACKNOWLEDGEMENT_EXPIRED = "acknowledgement expired"
    UNDONE = "not kept"


class Via(StrEnum):
    """How a person came to decide."""

    CLI = "command line"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Author:
    """A person who decides. ``identity`` says what vouches for the name: an account, or that nobody signed in."""

    name: str
    via: Via
    identity: str = ""

    @property
    def detail(self) -> dict[str, str]:
        """Return what a record says of them besides the name, fit for a terminal and at most 160 characters."""
        return {"via": self.via.value, **({"identity": scrub(self.identity, 120)} if self.identity else {})}


LONGEST_NAME = 60
"""Letters of a person's name that are kept."""


def decided(
    event: Decided, author: Author, target: str, subject: str, detail: Mapping[str, str], now: datetime
) -> Record:
    """Return the record of what a person decided about ``subject``: a silence's id, or an episode."""
    bounded = {key: scrub(value, 300) for key, value in detail.items() if value}
    return Record(now, person(author.name), event.value, target, scrub(subject, 300), {**bounded, **author.detail})


def person(name: str) -> str:
    """Return the actor that a record names for a person, fit for a terminal."""
    return f"person {scrub(name, LONGEST_NAME) or 'somebody'}"


@dataclass(frozen=True, slots=True)
class End:
    """Where a chain ends, or where a part of one begins after: the newest record's place and hash."""

    sequence: int = 0
    hash: str = START


_MOST, _NAME, _SHORT = 60, 60, 300
"""Details of a record, letters of a detail's name, and bytes of each text where they are too many together."""

_ROOM = 150_000
"""Bytes that the details may take together in a row of the store."""


def chained(record: Record, sequence: int, previous: str) -> dict[str, Any]:
    """Return the record as stored: its fields, its place, its predecessor's hash and its own.

    A text that is too long for one row of the store is cut, and further details are counted.
    """
    left = len(record.detail) - _MOST
    detail = {cut(name, _NAME): normalize(value, LONGEST) for name, value in list(record.detail.items())[:_MOST]}
    if len(json.dumps(detail)) > _ROOM:
        detail = {name: normalize(value, _SHORT) for name, value in detail.items()}
    body: dict[str, Any] = {
        "sequence": sequence,
        "previous": previous,
        "at": record.at.isoformat(),
        "actor": cut(record.actor, LONGEST),
        "event": cut(record.event, LONGEST),
        "target": cut(record.target, LONGEST),
        "subject": cut(record.subject, LONGEST),
        "detail": {**detail, "left out": f"{left} more"} if left > 0 else detail,
    }
    return {**body, "hash": digest(body)}


def digest(entry: Mapping[str, Any]) -> str:
    """Return the hash that belongs to an entry, whatever ``hash`` it claims."""
    return hashlib.sha256(rfc8785.dumps({key: value for key, value in entry.items() if key != "hash"})).hexdigest()


def canonical(entry: Mapping[str, Any]) -> str:
    """Return the one line that an entry is written as, everywhere: in the store, in its copy and in an export."""
    return rfc8785.dumps(dict(entry)).decode()


class Harm(StrEnum):
    """What was done to a chain."""

    CHANGED = "changed"
    MISSING = "missing"
    ADDED = "added"
    MOVED = "moved"
    REPEATED = "repeated"
    UNREADABLE = "unreadable"
    CUT = "cut off"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Damage:
    """The first harm found: its kind, the line (counted from 1), the record that belongs there, and both in words."""

    harm: Harm
    line: int
    sequence: int
    words: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line as far as a chain cares. ``flaw`` says why it is no sound record by itself; empty for one that is."""

    number: int
    sequence: int = 0
    previous: str = ""
    hash: str = ""
    flaw: str = ""
    readable: bool = True

    def follows(self, end: End) -> bool:
        """Return whether it is a sound record, and the one after ``end``."""
        return not self.flaw and self.sequence == end.sequence + 1 and self.previous == end.hash

    @property
    def end(self) -> End:
        """Return the end of a chain whose last line this is."""
        return End(self.sequence, self.hash)


def lines_of(texts: Iterable[str | bytes], first: int = 1) -> list[Line]:
    """Return the lines of texts that should be canonical records, numbered from ``first``."""
    return [_read(text, number) for number, text in enumerate(texts, first)]


def _read(text: str | bytes, number: int) -> Line:
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return Line(number, flaw="is not JSON", readable=False)
    line = _line(entry, number)
    if line.flaw:
        return line
    written = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    if canonical(entry).encode() != written:
        return Line(number, line.sequence, line.previous, line.hash, "is not written as RFC 8785 wants it")
    return line


_TEXTS = ("previous", "at", "actor", "event", "target", "subject", "hash")


def _line(entry: Any, number: int) -> Line:
    shaped = (
        isinstance(entry, Mapping)
        and type(entry.get("sequence")) is int
        and all(isinstance(entry.get(name), str) for name in _TEXTS)
        and isinstance(entry.get("detail"), Mapping)
    )
    if not shaped:
        return Line(number, flaw="is no audit record", readable=False)
    try:
        sound = digest(entry) == entry["hash"]
    except (ValueError, RecursionError):  # numbers and letters that canonical JSON does not have
        sound = False
    flaw = "" if sound else "was changed: its hash is not that of its content"
    return Line(number, entry["sequence"], entry["previous"], entry["hash"], flaw)


def broken(entries: Iterable[Mapping[str, Any]]) -> str | None:
    """Return where the chain of these entries first breaks and how, or None when it is whole."""
    found = examine([_line(entry, number) for number, entry in enumerate(entries, 1)])
    return found.words if found else None


def examine(lines: Sequence[Line], after: End | None = None, end: End | None = None) -> Damage | None:
    """Return the first harm done to a chain, or None when it is whole.

    ``after`` is what its first line follows, when it is a part of a chain. ``end`` is how it should end, if known.
    """
    last = after or End()
    for index, line in enumerate(lines):
        if not line.follows(last):
            return _named(lines, index, last)
        last = line.end
    return _ended(lines, last, end) if end else None


def shorter(lines: Sequence[Line], known: int) -> Damage | None:
    """Return that a chain lost its end, when it has less than the record that is ``known`` to have been there."""
    ended = lines[-1].sequence if lines else 0
    return _cut(lines, known, ended) if ended < known else None


def differing(store: Sequence[Line], copy: Sequence[Line]) -> Damage | None:
    """Return the first record that two whole chains do not share, or None. The copy may end earlier, and not later."""
    for mine, theirs in zip(store, copy, strict=False):
        if mine.hash != theirs.hash:
            words = f"record {mine.sequence} differs from its copy: one of them was written anew from there on"
            return Damage(Harm.DIFFERENT, mine.number, mine.sequence, words)
    return shorter(store, copy[-1].sequence) if copy else None


def _named(lines: Sequence[Line], index: int, last: End) -> Damage:
    """Return what was done where the chain breaks, at the line with this index, which should follow ``last``."""
    line, wanted = lines[index], last.sequence + 1
    later = next((each for each in lines[index + 1 :] if each.follows(last)), None)
    if line.flaw:
        return _flawed(line, wanted, later)
    twin = next((each for each in lines if each.hash == line.hash and each is not line and not each.flaw), None)
    if twin:
        words = f"line {line.number} repeats record {line.sequence} of line {twin.number}"
        return Damage(Harm.REPEATED, line.number, line.sequence, words)
    if line.sequence < wanted:
        return _second(lines, index)
    if later:
        return _before(lines, line, later)
    if line.sequence == wanted:
        return _unlinked(lines, index)
    return _gap(lines, index, wanted)


def _flawed(line: Line, wanted: int, later: Line | None) -> Damage:
    if later:
        words = f"line {line.number} was added: it {line.flaw}, and record {wanted} is line {later.number}"
        return Damage(Harm.ADDED, line.number, wanted, words)
    harm = Harm.CHANGED if line.readable else Harm.UNREADABLE
    return Damage(harm, line.number, wanted, f"record {wanted} (line {line.number}) {line.flaw}")


def _second(lines: Sequence[Line], index: int) -> Damage:
    """A sound record of a place that is taken: one of the two was added, and nothing follows that one."""
    line, before = lines[index], lines[index - 1] if index else lines[index]
    rest = lines[index + 1 :]
    rivals = before.sequence == line.sequence and before.previous == line.previous
    added = before if rivals and any(each.follows(line.end) for each in rest) else line
    words = f"line {added.number} was added: it claims to be record {added.sequence}, which is there already"
    return Damage(Harm.ADDED, added.number, added.sequence, words)


def _before(lines: Sequence[Line], line: Line, later: Line) -> Damage:
    """The wanted record comes later: the line before it was moved there when its own place is empty, else added."""
    hung = any(each.hash == line.previous and each.sequence == line.sequence - 1 for each in lines)
    alone = not any(each.sequence == line.sequence and each is not line for each in lines)
    if hung and alone:
        words = f"records were moved: line {line.number} holds record {line.sequence}, and record {later.sequence}, "
        return Damage(
            Harm.MOVED, line.number, later.sequence, f"{words}which belongs there, stands in line {later.number}"
        )
    words = f"line {line.number} was added: record {later.sequence} is line {later.number}"
    return Damage(Harm.ADDED, line.number, later.sequence, words)


def _unlinked(lines: Sequence[Line], index: int) -> Damage:
    """Two sound neighbours that do not belong together: what comes after them says which was written anew."""
    line = lines[index]
    if index == 0:
        words = f"record {line.sequence} (line {line.number}) does not follow what the chain begins after"
        return Damage(Harm.CHANGED, line.number, line.sequence, words)
    following = lines[index + 1 : index + 2]
    at_fault = line if following and not following[0].follows(line.end) else lines[index - 1]
    other = lines[index - 1] if at_fault is line else line
    words = (
        f"record {at_fault.sequence} (line {at_fault.number}) was changed and its hash made anew: "
        f"it and record {other.sequence} do not belong together"
    )
    if not following:
        words += f", unless it was record {line.sequence}, which nothing follows"
    return Damage(Harm.CHANGED, at_fault.number, at_fault.sequence, words)


def _gap(lines: Sequence[Line], index: int, wanted: int) -> Damage:
    line, following = lines[index], lines[index + 1 : index + 2]
    if following and following[0].sequence == wanted + 1:
        words = f"record {wanted} (line {line.number}) was changed: it claims to be record {line.sequence}"
        return Damage(Harm.CHANGED, line.number, wanted, words)
    words = f"{_records(wanted, line.sequence - 1)} missing: line {line.number} holds record {line.sequence}"
    return Damage(Harm.MISSING, line.number, wanted, words)


def _ended(lines: Sequence[Line], last: End, end: End) -> Damage | None:
    if last == end:
        return None
    if last.sequence < end.sequence:
        return _cut(lines, end.sequence, last.sequence)
    number = len(lines) - (last.sequence - end.sequence)
    if last.sequence > end.sequence and 0 < number <= len(lines) and lines[number - 1].end == end:
        words = f"{_records(end.sequence + 1, last.sequence)} added after the end as it was noted"
        return Damage(Harm.ADDED, number + 1, end.sequence + 1, words)
    words = f"record {last.sequence} is not the end as it was noted: records were written anew, with their hashes"
    return Damage(Harm.DIFFERENT, len(lines), last.sequence, words)


def _cut(lines: Sequence[Line], until: int, ended: int) -> Damage:
    words = f"{_records(ended + 1, until)} missing: the end was cut off"
    return Damage(Harm.CUT, len(lines) + 1, ended + 1, words)


def _records(first: int, last: int) -> str:
    return f"record {first} is" if last <= first else f"records {first} to {last} are"
