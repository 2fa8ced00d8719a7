"""Whether messages still arrive: a heartbeat through every receiver, and the receivers that take none.

An accepted message proves little: some channels accept and post nothing. Whoever misses the heartbeat knows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tocsin.core.fields import Severity
from tocsin.core.message import Fact, Kind, Notice
from tocsin.core.units import spell

QUIET_AFTER = timedelta(minutes=15)
"""For how long a receiver may take nothing before somebody else is told."""

QUIET = "receiver_quiet"
"""The rule that such an alert goes by."""


@dataclass(frozen=True, slots=True)
class Beat:
    """When a receiver was last sent a heartbeat."""

    receiver: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Ailing:
    """A receiver that takes nothing, since when and with which words; ``told`` says that somebody else knows."""

    receiver: str
    since: datetime
    words: str
    told: bool = False


def heartbeat(receiver: str, every: timedelta, now: datetime) -> Notice:
    """Return the message that says that this receiver is reached."""
    return Notice(
        id=f"watchdog/{receiver}/{now:%Y%m%dT%H%M%SZ}",
        kind=Kind.WATCHDOG,
        episode=f"watchdog/{receiver}",
        rule="watchdog",
        target="tocsin",
        severity=Severity.P3,
        at=now,
        title=f"Tocsin reaches {receiver}: this is its heartbeat.",
        text="It says that messages come through, and nothing of what is watched. "
        f"The next one comes in {spell(every)}. When it does not, nobody is told of anything by this way.",
    )


def missed(beat: Notice, receiver: str, words: str) -> Notice:
    """Return what another is told in its place of a heartbeat that was not taken: not that nothing is wrong."""
    return replace(
        beat,
        title=f"Receiver {receiver} did not take its heartbeat.",
        text="Whoever should hear by it hears nothing.",
        facts=(Fact("Receiver", receiver), Fact("It says", words or "nothing")),
        first_step="Open the runbook: docs/operations.md#receiver-quiet",
    )


def quiet(ailing: Ailing, now: datetime) -> Notice:
    """Return what others are told of a receiver that takes nothing."""
    return Notice(
        id=f"{_episode(ailing)}/fired",
        kind=Kind.FIRED,
        episode=_episode(ailing),
        rule=QUIET,
        target="tocsin",
        severity=Severity.P1,
        at=now,
        title=f"Receiver {ailing.receiver} has taken no message for {spell(now - ailing.since)}.",
        text="Whoever should hear by it hears nothing. Its messages are kept, and tried until they are given up.",
        facts=(Fact("Receiver", ailing.receiver), Fact("It says", ailing.words or "nothing")),
        first_step="Open the runbook: docs/operations.md#receiver-quiet",
        since=ailing.since,
    )


def heard_again(ailing: Ailing, now: datetime) -> Notice:
    """Return what those others are told when it takes messages again."""
    return Notice(
        id=f"{_episode(ailing)}/resolved",
        kind=Kind.RESOLVED,
        episode=_episode(ailing),
        rule=QUIET,
        target="tocsin",
        severity=Severity.P1,
        at=now,
        title=f"Receiver {ailing.receiver} takes messages again, after {spell(now - ailing.since)}.",
        since=ailing.since,
    )


def _episode(ailing: Ailing) -> str:
    return f"{QUIET}/tocsin/{ailing.receiver}/{ailing.since:%Y%m%dT%H%M%SZ}"
