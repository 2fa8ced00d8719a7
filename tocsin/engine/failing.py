"""When acting itself fails: a policy that cannot be carried out at all is no policy, and somebody has to know."""

from __future__ import annotations

from datetime import datetime

from tocsin.core.config import Target
from tocsin.core.fields import Severity
from tocsin.core.message import NEWS, Fact, Kind, Notice, outbox
from tocsin.ports import Store

RULE = "acting_failed"
"""Stands for the rule of such a message, in routes."""


def page(store: Store, target: Target, subject: str, error: Exception, now: datetime) -> None:
    """Tell once an hour of each target that acting on it fails by itself. What else is told goes on.

    The error's own words may hold anything; its kind alone is told, and the rest is in the watcher's log.
    """
    store.enqueue(outbox(_notice(target, subject, type(error).__name__, now), [NEWS], now))


def _notice(target: Target, subject: str, kind: str, now: datetime) -> Notice:
    episode = f"{RULE}/{target.name}/all/{now:%Y%m%dT%H0000Z}"
    return Notice(
        id=episode,
        kind=Kind.FAILED,
        episode=episode,
        rule=RULE,
        target=target.name,
        severity=Severity.P1,
        at=now,
        title=f"Tocsin cannot act on {target.name}: {kind}. What a policy should do is left to you.",
        text="Acting failed by itself, which is a defect or a store that holds what it should not. It is tried again "
        "every tick; the watcher's log says where. Alerts are told as before.",
        facts=(Fact("State", "failed"), Fact("Target", target.name), Fact("At", subject), Fact("Error", kind)),
        first_step="tocsin actions",
        labels=dict(target.labels),
    )
