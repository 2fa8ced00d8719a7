"""The one message that needs no state: that the state does not answer, so that nothing is watched, told or done.

It goes past the outbox to the fallback. What is remembered of it is in this process alone: another process tells it
again, under the same episode, which a receiver that deduplicates takes for the same incident.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from tocsin.core.fields import Severity
from tocsin.core.message import Fact, Kind, Notice, Outcome, Said
from tocsin.core.text import scrub
from tocsin.core.units import spell
from tocsin.ports import Log, Notifier

UNAVAILABLE = "state_unavailable"
"""Stands for the rule of a store that does not answer."""

PATIENCE = timedelta(minutes=2)
"""How long the store may fail before somebody is called: a moment's failure is made up for by the next tick."""

AGAIN = timedelta(minutes=30)
"""How long after one message the next is sent while it lasts."""


@dataclass(slots=True)
class Outage:
    """A store that does not answer, as far as this process has seen it."""

    since: datetime | None = None
    told: datetime | None = None

    def lasts(self, who: LastResort, why: str, now: datetime) -> bool:
        """Note that a tick got no answer from the store; return whether somebody was told just now."""
        self.since = min(self.since or now, now)
        last = self.told
        if now - self.since < PATIENCE or (last is not None and timedelta() <= now - last < AGAIN):
            return False
        if not who.tell(unavailable(self.since, why, now)):
            return False
        self.told = now
        return True

    def over(self, who: LastResort, now: datetime) -> None:
        """Note that a tick came to its end, and tell it where somebody was told; once more if nobody took it."""
        if self.since and self.told and not who.tell(available(self.since, now)):
            return
        self.since = self.told = None


@dataclass(frozen=True, slots=True)
class LastResort:
    """The receivers, without an outbox: the fallback first, and whoever else there is when it does not take it."""

    notifiers: Mapping[str, Notifier]
    fallback: str
    log: Log

    def tell(self, notice: Notice) -> bool:
        """Return whether somebody took it."""
        others = [name for name in self.notifiers if name != self.fallback]
        return any(self._took(name, notice) for name in (self.fallback, *others) if name in self.notifiers)

    def _took(self, name: str, notice: Notice) -> bool:
        try:
            outcome = self.notifiers[name].deliver(notice)
        except Exception as error:  # a defect in one notifier must not silence the others
            outcome = Outcome(Said.AGAIN, f"the notifier failed: {type(error).__name__}")
        said = {"receiver": name, "said": outcome.said.value, "detail": outcome.detail}
        self.log.error("told without state", kind=notice.kind.value, **said)
        return outcome.said is Said.ACCEPTED


def unavailable(since: datetime, why: str, now: datetime) -> Notice:
    """Return what is told of a store that does not answer."""
    return Notice(
        id=f"{UNAVAILABLE}/{now:%Y%m%dT%H%M%SZ}/fired",
        kind=Kind.FIRED,
        episode=UNAVAILABLE,
        rule=UNAVAILABLE,
        target="tocsin",
        severity=Severity.P1,
        at=now,
        title=f"Tocsin watches nothing: its state has not answered for {spell(now - since)}.",
        text="Nothing is evaluated, told or done without state. What fires now pages nobody, and no policy acts.",
        facts=(Fact("State", "watching nothing, P1"), Fact("It says", scrub(why, 300) or "nothing")),
        first_step="Open the runbook: docs/operations.md#state-unavailable",
        begins=True,
        since=since,
    )


def available(since: datetime, now: datetime) -> Notice:
    """Return what is told when the store answers again."""
    return Notice(
        id=f"{UNAVAILABLE}/{now:%Y%m%dT%H%M%SZ}/resolved",
        kind=Kind.RESOLVED,
        episode=UNAVAILABLE,
        rule=UNAVAILABLE,
        target="tocsin",
        severity=Severity.P1,
        at=now,
        title=f"Tocsin watches again: its state did not answer for {spell(now - since)}.",
        since=since,
    )
