"""Telling: messages leave the outbox, each at least once, in order, and each with its receipt."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from tocsin.core.config import Config
from tocsin.core.failing import Subject
from tocsin.core.heartbeat import missed
from tocsin.core.message import NEWS, Delivery, Kind, Outcome, Said, Settled
from tocsin.core.schedule import HOLD
from tocsin.core.text import cut
from tocsin.core.unreadable import Unreadable
from tocsin.engine.counting import SILENT
from tocsin.engine.failing import Failures
from tocsin.engine.watching import Receivers
from tocsin.ports import Conflict, Log, Notifier, Store, Tally

_WASTED = 10.0
"""Seconds of one round that a receiver which takes nothing may cost: as much as one time-out."""

_LAST = ("~", 0, "")
"""Sorts after whatever can be sorted."""

_RECEIPT = 1_000
"""Letters of what a receiver answered that are kept."""

_FIRST_RETRY, _LONGEST_RETRY = timedelta(seconds=30), timedelta(minutes=10)


def retry_at(delivery: Delivery, outcome: Outcome, now: datetime) -> datetime:
    """Return when to try again: as told by the receiver, else doubling from 30 s up to 10 min."""
    if outcome.retry_after is not None:
        return now + max(outcome.retry_after, timedelta(seconds=1))
    doublings = min(delivery.attempts - 1, 10)
    return now + min(_FIRST_RETRY * (1 << doublings), _LONGEST_RETRY)


def judge(delivery: Delivery, outcome: Outcome, now: datetime, give_up_after: timedelta, *, last: bool) -> Delivery:
    """Return the delivery after one attempt: delivered, waiting for its next time, or dead.

    A refusal is final where somebody else can be told. The ``last`` one who can be is asked until it is given up.
    """
    tried = replace(delivery, receipt=outcome.detail)
    if outcome.said is Said.ACCEPTED:
        return replace(tried, state=Settled.DELIVERED, settled=now)
    if (outcome.said is Said.REFUSED and not last) or now - delivery.created >= give_up_after:
        return replace(tried, state=Settled.DEAD, settled=now)
    return replace(tried, not_before=retry_at(delivery, outcome, now))


def urgency(delivery: Delivery) -> tuple[str, int, str]:
    """Return by what the messages of one round are ordered: a receiver that takes few is sent the worst first."""
    return delivery.notice.severity.value, delivery.sequence, delivery.id


@dataclass(frozen=True, slots=True)
class StoodIn:
    """The fallback was notified of a beginning in a receiver's place: it is notified of the end, too."""

    lane: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Courier:
    """Empties the outbox. A receiver that fails delays its own messages only."""

    store: Store
    notifiers: Mapping[str, Notifier]
    config: Config
    log: Log
    tally: Tally = SILENT
    failures: Failures = field(default_factory=Failures)

    def deliver(self, now: datetime, within: float = 600.0) -> int:
        """Try every delivery whose time has come, once; return how many were accepted.

        After so many seconds no further one is begun, and a receiver that wasted ``_WASTED`` of them is not called
        again: its messages count as tried.
        """
        accepted, tried, ends = 0, set[str](), time.monotonic() + within
        receivers = Receivers(self.store, self.config, self.log, now, self.failures)
        wasted: dict[str, float] = {}
        while batch := [each for each in self.store.waiting(now) if each.receiver != NEWS and each.id not in tried]:
            tried |= {each.id for each in batch}
            for each in self._ordered(batch):
                if time.monotonic() > ends:
                    self.log.warning("messages left to the next tick", tried=len(tried), within=within)
                    return accepted
                subject = Subject("message", each.id)
                accepted += self.failures.attempt(subject, partial(self._attempt, each, receivers, now, wasted), False)
        return accepted

    def _ordered(self, batch: Sequence[Delivery]) -> list[Delivery]:
        return sorted(
            batch, key=lambda each: self.failures.attempt(Subject("message", each.id), partial(urgency, each), _LAST)
        )

    def _attempt(self, delivery: Delivery, receivers: Receivers, now: datetime, wasted: dict[str, float]) -> bool:
        if receivers.full(delivery.receiver):
            return False  # it waits where it is, and nothing of its lane overtakes it
        try:
            held = self.store.claim(delivery, now + HOLD)
        except Conflict:
            return False
        outcome = self._hand_over(held, wasted)
        settled = judge(held, outcome, now, self.config.give_up_after, last=not self._another(held))
        if settled.state is Settled.DEAD or self._closes(held):
            self._fall_back(settled, now)  # first: a crash in between repeats this and loses nothing
        self.store.settle(settled)
        receivers.tried(held, outcome)
        self._report(settled, outcome)
        return settled.state is Settled.DELIVERED

    def _hand_over(self, delivery: Delivery, wasted: dict[str, float]) -> Outcome:
        name = delivery.receiver
        notifier = self.notifiers.get(name)
        if notifier is None:
            return Outcome(Said.REFUSED, "no such receiver is set up")
        if wasted.get(name, 0.0) > _WASTED:
            return Outcome(Said.AGAIN, "not called: it did not answer just now")
        begun = time.monotonic()
        failed = Outcome(Said.AGAIN, "the notifier failed by itself")
        subject = Subject("receiver", name)
        outcome = self.failures.attempt(subject, lambda: notifier.deliver(delivery.notice), failed)
        if outcome.said is not Said.ACCEPTED:
            wasted[name] = wasted.get(name, 0.0) + time.monotonic() - begun
        return replace(outcome, detail=cut(outcome.detail, _RECEIPT))

    def _another(self, delivery: Delivery) -> bool:
        """Return whether somebody else is told when this one is not."""
        fallback = self.config.fallback
        return bool(fallback) and fallback != delivery.receiver and not delivery.fallback

    def _closes(self, delivery: Delivery) -> bool:
        """Return whether it ends what the fallback was told of in this receiver's place."""
        if not delivery.notice.kind.ends or not self._another(delivery):
            return False
        stood = delivery.queue in self.store.kept(StoodIn)
        return stood or any(
            each.what == StoodIn.__name__ and each.stands_for(delivery.queue) for each in self.store.unreadable()
        )

    def _fall_back(self, dead: Delivery, now: datetime) -> None:
        """Notify the fallback in a receiver's place, once; note with it what it has to be notified of the end of."""
        identity = f"{dead.notice.id}/{self.config.fallback}"
        if not self._another(dead) or self._is_there(identity):
            return
        copy = self._copy(identity, dead, now)
        kept = self.store.kept(StoodIn).get(dead.queue)
        lost = kept is None and any(
            each.what == StoodIn.__name__ and each.stands_for(dead.queue) for each in self.store.unreadable()
        )
        if not lost and (dead.notice.begins or (kept and dead.notice.kind.ends)):
            stands = StoodIn(dead.queue, now) if dead.notice.begins else None
            self.store.keep(StoodIn, dead.queue, stands, kept.etag if kept else None, [copy])
        else:
            self.store.enqueue([copy])

    def _is_there(self, identity: str) -> bool:
        try:
            return self.store.delivery(identity) is not None
        except Unreadable:
            return True

    def _copy(self, identity: str, dead: Delivery, now: datetime) -> Delivery:
        beat = dead.notice.kind is Kind.WATCHDOG
        notice = missed(dead.notice, dead.receiver, dead.receipt) if beat else dead.notice
        to, sequence, lane = self.config.fallback, dead.sequence, dead.lane
        return Delivery(identity, to, notice, now, now, sequence, fallback=True, lane=lane)

    def _report(self, delivery: Delivery, outcome: Outcome) -> None:
        fields = {
            "receiver": delivery.receiver,
            "rule": delivery.notice.rule,
            "kind": delivery.notice.kind.value,
            "episode": delivery.notice.episode,
            "attempts": delivery.attempts,
            "said": outcome.said.value,
            "detail": outcome.detail,
        }
        report = self.log.info if outcome.said is Said.ACCEPTED else self.log.warning
        report("delivery", **fields)
        receiver = self.config.receivers.get(delivery.receiver)
        kind = receiver.type if receiver else "none"
        self.tally.count("deliveries", type=kind, outcome=outcome.said.value, state=delivery.state.value)
