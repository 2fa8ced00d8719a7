"""The audit: what was intended and what came of it, each record hashed with the one before it.

A record's hash is SHA-256 over its RFC 8785 canonical JSON, which holds the hash of its predecessor; so a record that
is changed, removed, added or moved breaks the chain at a place that can be named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import rfc8785

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


def chained(record: Record, sequence: int, previous: str) -> dict[str, Any]:
    """Return the record as stored: its fields, its place, its predecessor's hash and its own."""
    body: dict[str, Any] = {
        "sequence": sequence,
        "previous": previous,
        "at": record.at.isoformat(),
        "actor": record.actor,
        "event": record.event,
        "target": record.target,
        "subject": record.subject,
        "detail": dict(record.detail),
    }
    return {**body, "hash": digest(body)}


def digest(entry: Mapping[str, Any]) -> str:
    """Return the hash that belongs to an entry, whatever ``hash`` it claims."""
    return hashlib.sha256(rfc8785.dumps({key: value for key, value in entry.items() if key != "hash"})).hexdigest()


def broken(entries: Iterable[Mapping[str, Any]]) -> str | None:
    """Return where the chain first breaks and how, or None when it is whole."""
    previous, expected = START, 1
    for entry in entries:
        if entry["sequence"] != expected:
            return f"record {expected} is missing or moved: found {entry['sequence']} in its place"
        if entry["previous"] != previous:
            return f"record {expected} does not follow the record before it"
        if digest(entry) != entry["hash"]:
            return f"record {expected} was changed"
        previous, expected = entry["hash"], expected + 1
    return None
