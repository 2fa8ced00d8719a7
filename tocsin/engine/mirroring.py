"""Mirroring: what the store's audit has and its copy lacks is appended to the copy, in order, after everything else.

Nothing waits for the copy. Where it ends is kept in the store as a hint: every append is bound to it, and whoever finds
the hint wrong reads the copy's end. The last record that both have is compared each time. Each copy has its own hint: a
new one begins with the first record.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tocsin.core.audit import End
from tocsin.core.copying import Mirrored, Place, Trouble, behind, copied_again
from tocsin.core.message import NEWS, Delivery, Notice, outbox
from tocsin.ports import Conflict, Diverged, Kept, Log, Mirror, MirrorUnavailable, Store, StoreUnavailable

WITHIN = 15.0
"""Seconds after which the rest of a long way is left to the next tick."""

_PAGE = 1_000
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Mirroring:
    """Copies the audit of one store. Raises ``StoreUnavailable`` alone: a copy that fails is told of."""

    store: Store
    mirror: Mirror
    log: Log

    def copy(self, now: datetime) -> int:
        """Append what the copy lacks; return how many records."""
        every = self.store.kept(Mirrored)
        for name in every.keys() - {self.mirror.name}:
            self._keep(name, replace(every[name].value, trouble=None), every[name], now)  # another copy took its place
        kept = every.get(self.mirror.name)
        before = kept.value if kept else Mirrored()
        begun = before.place.end.sequence
        try:
            place = self._appended(before.place if kept else None)
        except StoreUnavailable:
            raise
        except Conflict as lost:
            self.log.info("another instance copies the audit", what=str(lost))
            return 0
        except Exception as error:
            self._keep(self.mirror.name, self._worse(before, error, now), kept, now)
            return 0
        self._keep(self.mirror.name, Mirrored(place), kept, now)
        return max(0, place.end.sequence - begun)

    def _appended(self, known: Place | None) -> Place:
        """Append until the copy has everything or the time is over. A place that is wrong is read from the copy."""
        until, place, tries = time.monotonic() + WITHIN, known or self.mirror.tail(), 0
        while True:
            waiting = self._after(place)
            try:
                while waiting:
                    place = self.mirror.append(waiting, place)
                    waiting = [each for each in waiting if each["sequence"] > place.end.sequence]
                    if time.monotonic() > until:
                        return place
            except Conflict:
                tries += 1
                if tries == _TRIES:
                    raise
                place = self._reread(place)
                continue
            if place.end.sequence >= self.store.audit_end():
                return place

    def _after(self, place: Place) -> Sequence[Mapping[str, Any]]:
        """Return the next records after the last that both have. Raises ``Diverged`` when the two do not share it."""
        if not place.end.sequence:
            return self.store.audit(0, _PAGE)
        found = self.store.audit(place.end.sequence - 1, _PAGE)
        if not found or End(found[0]["sequence"], found[0]["hash"]) != place.end:
            raise Diverged(f"the copy ends with record {place.end.sequence}, which the store does not have as it is")
        return found[1:]

    def _reread(self, place: Place) -> Place:
        found = self.mirror.tail()
        if found.end.sequence < place.end.sequence:
            raise Diverged(f"the copy ends with record {found.end.sequence}, and had {place.end.sequence} before")
        return found

    def _worse(self, before: Mirrored, error: Exception, now: datetime) -> Mirrored:
        """Return what is kept of a copy that failed. The place is: what the copy lost meanwhile is found by it."""
        known = isinstance(error, Diverged | MirrorUnavailable)
        words = str(error)[:500] if known else f"copying failed: {type(error).__name__}"
        last = before.trouble
        diverged = isinstance(error, Diverged) or (last is not None and last.diverged)
        told = last is not None and last.told and (last.diverged or not diverged)
        self.log.error("audit not copied", why=words, diverged=diverged)
        return replace(before, trouble=Trouble(last.since if last else now, words, diverged, told))

    def _keep(self, name: str, after: Mirrored, kept: Kept[Mirrored] | None, now: datetime) -> None:
        before = kept.value.trouble if kept else None
        notices: list[Notice] = []
        if after.trouble and after.trouble.due(now):
            notices, after = [behind(after.trouble, now)], replace(after, trouble=replace(after.trouble, told=True))
        elif before and before.told and not after.trouble:
            notices = [copied_again(before, now)]
        if kept and kept.value == after:
            return
        messages: list[Delivery] = [each for notice in notices for each in outbox(notice, [NEWS], now)]
        try:
            self.store.keep(Mirrored, name, after, kept.etag if kept else None, messages)
        except Conflict:
            self.log.info("another instance noted first", kind="Mirrored")
