"""The acceptance checklist of a handover: each line with its evidence, what is open, and who answers for it.

A line is closed by its evidence. What evidence cannot show, people sign; and a person may take an open line as it is,
for what was open then: anything that opens later opens the line again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from tocsin.core.audit import digest
from tocsin.core.text import scrub

QUARTER = timedelta(days=92)
"""How long a drill and a signature count."""

SIGNED = "handover signed"
"""The event of the audit by which a person's word is kept."""

ACCEPTANCE = "acceptance"
"""The last line: the word of both sides on the whole report."""

_LINE = "line "


class Status(StrEnum):
    """How a line stands."""

    DONE = "done"
    ACCEPTED = "accepted as it is"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Signature:
    """One person's word: on which lines, and what was open in each of them at that time."""

    name: str
    note: str
    at: datetime
    by: str
    record: int
    lines: Mapping[str, tuple[str, ...]]
    report: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line. ``open`` names what is; ``people`` is how many have to sign it whatever else is proven."""

    id: str
    asks: str
    evidence: str
    open: tuple[str, ...] = ()
    people: int = 0
    signatures: tuple[Signature, ...] = ()

    @property
    def names(self) -> list[str]:
        """Who signed it, each once."""
        return list(dict.fromkeys(each.name.casefold() for each in self.signatures))

    @property
    def status(self) -> Status:
        """How it stands: what opened after it was signed is nobody's word."""
        if self.people > len(self.names):
            return Status.OPEN
        if not self.open:
            return Status.DONE
        taken = {item for each in self.signatures for item in each.lines[self.id]}
        return Status.ACCEPTED if set(self.open) <= taken else Status.OPEN

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        signed = [
            {"name": each.name, "note": each.note, "at": each.at.isoformat(timespec="seconds"), "by": each.by,
             "audit_record": each.record}
            for each in self.signatures
        ]  # fmt: skip
        return {
            "line": self.id,
            "asks": self.asks,
            "status": self.status.value,
            "evidence": self.evidence,
            "open": list(self.open),
            "signatures_needed": self.people,
            "signatures": signed,
        }


@dataclass(frozen=True, slots=True)
class Checklist:
    """The whole report, as of one instant."""

    at: datetime
    version: str
    targets: tuple[str, ...]
    lines: tuple[Line, ...] = field(default_factory=tuple)

    @property
    def complete(self) -> bool:
        """Whether nothing is open."""
        return bool(self.lines) and not self.waiting

    @property
    def waiting(self) -> list[Line]:
        """The lines that are open."""
        return [each for each in self.lines if each.status is Status.OPEN]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it, with the hash of all of it."""
        found = {
            "tocsin": self.version,
            "at": self.at.isoformat(timespec="seconds"),
            "targets": list(self.targets),
            "complete": self.complete,
            "lines": [each.as_dict() for each in self.lines],
        }
        return {**found, "hash": digest(found)}

    def markdown(self) -> str:
        """Return it as a page for people."""
        open_ = len(self.waiting)
        verdict = "accepted" if self.complete else f"{open_} of {len(self.lines)} lines OPEN"
        head = [
            f"# Handover of {', '.join(self.targets) or 'nothing'}: {verdict}",
            "",
            f"- As of {self.at:%Y-%m-%d %H:%M:%S} UTC, by Tocsin {self.version}",
            f"- SHA-256 of the report's JSON: `{self.as_dict()['hash']}`",
            *([] if self.complete else ["- While a line is open the runbook says to refuse the handover"]),
            "",
            "| line | asks | status | evidence | signed by |",
            "|---|---|---|---|---|",
        ]
        return "\n".join([*head, *map(_row, self.lines)]) + "\n"


def _row(line: Line) -> str:
    missing = f"; open: {', '.join(line.open)}" if line.open else ""
    signed = "; ".join(f"{each.name} {each.at:%Y-%m-%d} ({each.note})" for each in line.signatures)
    wanted = f" ({len(line.names)} of {line.people})" if line.people else ""
    cells = (line.id, line.asks, line.status.value, f"{line.evidence}{missing}", f"{signed or 'nobody'}{wanted}")
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    for letter in "\\`*_[]<>|":
        text = text.replace(letter, f"\\{letter}")
    return scrub(text, 2_000)


# Signatures


def signing(name: str, note: str, lines: Iterable[Line], report: str) -> dict[str, str]:
    """Return what the audit keeps of a signature: whose, why, on which report, and what was open in each line."""
    words = {"signed by": scrub(name, 100), "note": scrub(note, 500), "report": report}
    return {**words, **{f"{_LINE}{each.id}": json.dumps(list(each.open)) for each in lines}}


def signatures(audit: Iterable[Mapping[str, Any]], targets: Collection[str], now: datetime) -> list[Signature]:
    """Return the signatures of the last quarter, oldest first, each with the lines that it counts for here.

    A word on all targets was given on those of its own report: on no other's.
    """
    found = [_signature(entry, targets) for entry in audit if entry["event"] == SIGNED]
    return [each for each in found if now - each.at <= QUARTER]


def _signature(entry: Mapping[str, Any], targets: Collection[str]) -> Signature:
    detail = entry["detail"]
    lines = {key.removeprefix(_LINE): tuple(json.loads(text)) for key, text in detail.items() if key.startswith(_LINE)}
    if not set(targets) <= set(entry["target"].split(", ")):
        lines = {name: items for name, items in lines.items() if "/" in name}
    at = datetime.fromisoformat(entry["at"])
    who = (detail["signed by"], detail["note"], at, entry["actor"])
    return Signature(*who, entry["sequence"], lines, detail.get("report", ""))


def signed(lines: Iterable[Line], given: Sequence[Signature]) -> tuple[Line, ...]:
    """Return the lines, each with those who signed it."""
    return tuple(replace(each, signatures=tuple(one for one in given if each.id in one.lines)) for each in lines)


def refusal(checklist: Checklist, wanted: Collection[str]) -> str:
    """Return why a signature is not taken, or an empty text. The last line is signed when no other is open."""
    others = [each.id for each in checklist.waiting if each.id != ACCEPTANCE and each.id not in wanted]
    if ACCEPTANCE in wanted and others:
        return f"not signed: {', '.join(others)} {'is' if len(others) == 1 else 'are'} open"
    return ""
