"""Silences and acknowledgements that end by themselves, for the audit: which, when, and whose they were.

Belongs here: recording that something has ended. Does not belong here: ending it, which needs nothing but the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from tocsin.core.ack import Acknowledgement
from tocsin.core.audit import Decided, Record
from tocsin.core.matching import spelled
from tocsin.core.mute import Silence
from tocsin.core.text import scrub
from tocsin.ports import Conflict, Store

MOST = 100
"""Records of one pass; the rest is counted in one more, so that ten thousand ends cost one transaction."""

_KEY = "expiries"


@dataclass(frozen=True, slots=True)
class Recorded:
    """Up to when every end is in the audit."""

    until: datetime


def record_expiries(store: Store, now: datetime) -> int:
    """Record what has ended by itself since the last pass; return how many did.

    A process that dies between its two writes records the same ends again; none is left out.
    """
    kept = store.kept(Recorded).get(_KEY)
    ended = sorted(_ended(store, kept.value.until, now)) if kept else []
    if ended:
        records = [_record(subject, event, detail, at, now) for at, event, subject, detail in ended[:MOST]]
        store.record(None, [*records, *_rest(len(ended) - MOST, now)])
    if ended or kept is None:
        with suppress(Conflict):
            store.keep(Recorded, _KEY, Recorded(now), kept.etag if kept else None)
    return len(ended)


_Ended = tuple[datetime, Decided, str, tuple[tuple[str, str], ...]]
"""When it ended, as what the audit names that, its id, and whose it was."""


def _ended(store: Store, since: datetime, now: datetime) -> Iterator[_Ended]:
    for silence in (each.value for each in store.kept(Silence).values()):
        if since < silence.ends <= now and not silence.ended_by:
            detail = (("author", silence.author), ("matchers", spelled(silence.matchers)))
            yield silence.ends, Decided.SILENCE_EXPIRED, silence.id, detail
    for given in (each.value for each in store.kept(Acknowledgement).values()):
        if since < given.until <= now:
            yield given.until, Decided.ACKNOWLEDGEMENT_EXPIRED, given.episode, (("author", given.by),)


def _record(subject: str, event: Decided, detail: tuple[tuple[str, str], ...], at: datetime, now: datetime) -> Record:
    # Dated now: readers of the chain rely on its times being about as late as its places.
    bounded = {key: scrub(value, 300) for key, value in detail}
    when = {"ended": at.isoformat(timespec="seconds")}
    return Record(now, "tocsin", event.value, "", scrub(subject, 300), {**bounded, **when})


def _rest(number: int, now: datetime) -> list[Record]:
    detail = (("reason", f"{number} more silences and acknowledgements expired"),)
    return [_record("", Decided.SILENCE_EXPIRED, detail, now, now)] if number > 0 else []
