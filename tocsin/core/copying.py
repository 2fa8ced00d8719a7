"""How the audit's copy stands, and what is told when it has fallen behind or is not the same chain any more."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tocsin.core.audit import End
from tocsin.core.fields import Severity
from tocsin.core.message import Fact, Kind, Notice
from tocsin.core.units import spell

BEHIND_AFTER = timedelta(minutes=15)
"""For how long records may wait for their copy before somebody is told."""

NOT_MIRRORED = "audit_not_mirrored"
"""The rule that such an alert goes by."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far a copy of the audit has come: its end, and where that lies (file, bytes and blocks in it)."""

    end: End = field(default_factory=End)
    file: str = ""
    length: int = 0
    blocks: int = 0


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why records wait for their copy: since when, in which words; ``diverged`` when waiting mends nothing."""

    since: datetime
    words: str
    diverged: bool = False
    told: bool = False

    def due(self, now: datetime) -> bool:
        """Return whether somebody is to be told who was not: of a copy that diverged at once."""
        return not self.told and (self.diverged or now - self.since >= BEHIND_AFTER)


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What is kept of a copy, by its name: how far it came, and what stands in the way now."""

    place: Place = field(default_factory=Place)
    trouble: Trouble | None = None


def behind(trouble: Trouble, now: datetime) -> Notice:
    """Return what is told of a copy that has fallen behind or diverged."""
    title = (
        "The audit and its copy are not the same any more: one of them was changed."
        if trouble.diverged
        else f"The audit has not been copied for {spell(now - trouble.since)}."
    )
    return Notice(
        id=f"{_episode(trouble)}/{'diverged' if trouble.diverged else 'fired'}",
        kind=Kind.FIRED,
        episode=_episode(trouble),
        rule=NOT_MIRRORED,
        target="tocsin",
        severity=Severity.P1 if trouble.diverged else Severity.P2,
        at=now,
        title=title,
        text="Nothing is lost and nothing waits for it: Tocsin records, tells and acts as before, in its store alone.",
        facts=(Fact("It says", trouble.words or "nothing"),),
        first_step="Open the runbook: docs/operations.md#audit-not-mirrored",
        begins=True,
        since=trouble.since,
    )


def copied_again(trouble: Trouble, now: datetime) -> Notice:
    """Return what is told when the copy is whole again."""
    return Notice(
        id=f"{_episode(trouble)}/resolved",
        kind=Kind.RESOLVED,
        episode=_episode(trouble),
        rule=NOT_MIRRORED,
        target="tocsin",
        severity=Severity.P1 if trouble.diverged else Severity.P2,
        at=now,
        title=f"The audit's copy is whole again, after {spell(now - trouble.since)}.",
        since=trouble.since,
    )


def _episode(trouble: Trouble) -> str:
    return f"{NOT_MIRRORED}/tocsin/all/{trouble.since:%Y%m%dT%H%M%SZ}"
