"""Whether Tocsin can see a target at all. A watcher that has gone blind says so itself: silence is not health."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from tocsin.core.alert import Alert, Instance, Seen, Verdict
from tocsin.core.evaluate import Freshness
from tocsin.core.fields import Severity
from tocsin.core.rule import Rule, When
from tocsin.core.schedule import Due

SIGHT = Rule(
    id="telemetry_blind",
    summary="Tocsin cannot see {target}: its telemetry does not answer.",
    description="No rule on this target can fire or resolve until it answers again. Look at the workspace and at the "
    "reader identity's permissions.",
    severity=Severity.P1,
    when=When(signal="telemetry_answers", above=0.0, over=timedelta(minutes=1)),
    for_=timedelta(minutes=5),
    keep_firing_for=timedelta(minutes=2),
    runbook="docs/operations.md#telemetry-blind",
    owner="tocsin",
    file="built in",
)
"""The one rule nobody has to write and nobody can forget. Its notice is a *blind* note, never a page for a rule."""


@dataclass(frozen=True, slots=True)
class Sight:
    """Judges whether the target's telemetry answered this tick; takes the place of a rule's measurements."""

    def at(
        self, _slot: datetime, _alerts: Mapping[Instance, Alert], fresh: Freshness, _within: timedelta
    ) -> dict[Instance, Seen]:
        """Return breached when the question for freshness got no answer, else clear."""
        if fresh.minutes is None:
            return {(): Seen(Verdict.BREACHED, reason=f"telemetry does not answer: {fresh.why}")}
        return {(): Seen(Verdict.CLEAR, reason="telemetry answers")}


def newest_only(found: Due) -> Due:
    """Return the due slots with all but the newest as missed: what this tick heard says nothing of earlier ones."""
    if len(found.slots) <= 1:
        return found
    return Due(found.slots[-1:], found.missed + len(found.slots) - 1, found.slots[-2])
