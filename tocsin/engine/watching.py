"""Watching the receivers: heartbeats go out, what a receiver takes is paced, and one that takes nothing is told of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from tocsin.core.config import Config
from tocsin.core.failing import Subject
from tocsin.core.fields import Rate
from tocsin.core.heartbeat import QUIET_AFTER, Ailing, Beat, heard_again, heartbeat, quiet
from tocsin.core.message import Delivery, Notice, Outcome, Said, outbox
from tocsin.core.schedule import has_come
from tocsin.engine.failing import Failures
from tocsin.ports import Conflict, Kept, Log, Store


@dataclass(frozen=True, slots=True)
class Paced:
    """When a receiver with a limit was last sent messages, within the time of its limit."""

    receiver: str
    times: tuple[datetime, ...]
    counts: tuple[int, ...] = ()
    """How many messages at each of ``times``; none where it was stored before they were counted: one each."""

    @property
    def moments(self) -> list[tuple[datetime, int]]:
        """The times, oldest first, each with its number of messages."""
        return list(zip(self.times, self.counts or (1,) * len(self.times), strict=True))


def with_one(moments: Sequence[tuple[datetime, int]], now: datetime) -> list[tuple[datetime, int]]:
    """Return the moments with one more message at ``now``; of more than a row should hold, two become the later."""
    *earlier, (last, count) = moments or [(now, 0)]
    found = [*earlier, (now, count + 1)] if last == now else [*moments, (now, 1)]
    if len(found) > MOMENTS:
        (_, first), (at, second) = found[:2]
        found[:2] = [(at, first + second)]
    return found


MOMENTS = 1_000
"""Moments that are remembered of a receiver's pace, which is one row of the store."""


@dataclass(slots=True)
class Receivers:
    """What is known of each receiver, read once for one delivery round. Losing a race costs a later look."""

    store: Store
    config: Config
    log: Log
    now: datetime
    failures: Failures = field(default_factory=Failures)
    _ailing: dict[str, Kept[Ailing]] | None = None
    _paced: dict[str, Kept[Paced]] = field(default_factory=dict)

    def beat(self) -> None:
        """Send every receiver its heartbeat when it is due."""
        every = self.config.watchdog
        if every is None:
            return
        beats = self.store.kept(Beat)
        for name in self.config.receivers:
            last = beats.get(name)
            if last is None or has_come(last.value.at + every, self.now, every):
                self.failures.attempt(Subject("heartbeat to", name), partial(self._beat, name, every, last), None)

    def _beat(self, name: str, every: timedelta, last: Kept[Beat] | None) -> None:
        messages = outbox(heartbeat(name, every, self.now), [name], self.now)
        self._keep(Beat, name, Beat(name, self.now), last, messages)

    def full(self, receiver: str) -> bool:
        """Return whether a receiver has been sent as much as it takes for now."""
        limit = self._limit(receiver)
        return limit is not None and sum(count for _, count in self._recent(receiver, limit)) >= limit.count

    def tried(self, delivery: Delivery, outcome: Outcome) -> None:
        """Note what a receiver said, and tell others of one that has taken nothing for too long."""
        limit = self._limit(delivery.receiver)
        if limit is not None:
            moments = with_one(self._recent(delivery.receiver, limit), self.now)
            kept = self.store.kept(Paced).get(delivery.receiver)
            self._keep(Paced, delivery.receiver, Paced(delivery.receiver, *zip(*moments, strict=True)), kept)
        self._judge(delivery.receiver, outcome)

    def _judge(self, receiver: str, outcome: Outcome) -> None:
        ailing = self._known().get(receiver)
        if outcome.said is Said.ACCEPTED:
            if ailing is not None:
                told = [heard_again(ailing.value, self.now)] if ailing.value.told else []
                self._keep(Ailing, receiver, None, ailing, self._to_others(receiver, told))
            return
        if ailing is None:
            self._keep(Ailing, receiver, Ailing(receiver, self.now, outcome.detail), None)
        elif not ailing.value.told and has_come(ailing.value.since + QUIET_AFTER, self.now, QUIET_AFTER):
            self.log.error("receiver quiet", receiver=receiver, since=ailing.value.since)
            worse = replace(ailing.value, told=True, words=outcome.detail)
            self._keep(Ailing, receiver, worse, ailing, self._to_others(receiver, [quiet(worse, self.now)]))

    def _to_others(self, receiver: str, notices: Sequence[Notice]) -> list[Delivery]:
        others = [name for name in self.config.receivers if name != receiver]
        wanted = [self.config.fallback] if self.config.fallback in others else others
        return [each for notice in notices for each in outbox(notice, wanted, self.now)]

    def _known(self) -> dict[str, Kept[Ailing]]:
        if self._ailing is None:
            self._ailing = dict(self.store.kept(Ailing))
        return self._ailing

    def _limit(self, receiver: str) -> Rate | None:
        found = self.config.receivers.get(receiver)
        return found.pace if found else None

    def _recent(self, receiver: str, limit: Rate) -> list[tuple[datetime, int]]:
        if receiver not in self._paced:
            self._paced = dict(self.store.kept(Paced))
        kept = self._paced.get(receiver)
        moments = kept.value.moments if kept else ()
        return [(at, count) for at, count in moments if not has_come(at + limit.per, self.now, limit.per)]

    def _keep(
        self, kind: type, key: str, value: object, before: Kept[Any] | None, messages: Sequence[Delivery] = ()
    ) -> None:
        try:
            self.store.keep(kind, key, value, before.etag if before else None, messages)
        except Conflict:
            self.log.info("another instance noted first", kind=kind.__name__, receiver=key)
        self._ailing = None
        self._paced = {}
