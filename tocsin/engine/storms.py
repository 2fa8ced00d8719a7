"""When too much is wanted at once, all of it is asked, and one message says why."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from tocsin.core.fields import Severity
from tocsin.core.message import NEWS, Fact, Kind, Notice, outbox
from tocsin.core.remedy import Execution
from tocsin.ports import Conflict, Store

SPAN = timedelta(minutes=15)
"""How long an action counts as one of many after it was begun."""

_ONCE = timedelta(hours=1)
_KEY = "storm"


@dataclass(frozen=True, slots=True)
class Storm:
    """A storm that was told of."""

    at: datetime


def page(store: Store, execution: Execution, reason: str, now: datetime) -> None:
    """Tell once an hour that policies are held back together, and why; each of their questions is told as any other."""
    before = store.kept(Storm).get(_KEY)
    if before is not None and now - before.value.at < _ONCE:
        return
    notice = _notice(execution, reason, now)
    with suppress(Conflict):  # somebody else has told of it
        store.keep(Storm, _KEY, Storm(now), before.etag if before else None, outbox(notice, [NEWS], now))


def _notice(execution: Execution, reason: str, now: datetime) -> Notice:
    facts = (
        Fact("State", f"asking, {Severity.P1.value}"),
        Fact("Why", reason),
        Fact("First", f"{execution.action} on {execution.target} ({execution.policy})"),
    )
    return Notice(
        id=f"storm/{now:%Y%m%dT%H%M%SZ}",
        kind=Kind.FAILED,
        episode=f"storm/{now:%Y%m%dT%H%M%SZ}",
        rule="action_storm",
        target=execution.target,
        severity=Severity.P1,
        at=now,
        title=f"Nothing is done by itself now: {reason}",
        text="So many alerts at once mostly have one cause: look for it first. Every action that a policy wanted is "
        "asked of a person; each question has a message of its own.",
        facts=facts,
        first_step="tocsin actions",
    )
