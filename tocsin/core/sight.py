"""Whether Tocsin can see a target at all. A watcher that has gone blind says so itself: silence is not health."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from tocsin.core.alert import Alert, Instance, Seen, Verdict, instance
from tocsin.core.evaluate import Freshness
from tocsin.core.fields import Severity
from tocsin.core.instance import texts
from tocsin.core.rule import Rule, When
from tocsin.core.schedule import Due
from tocsin.core.units import spell

SIGHT = Rule(
    id="telemetry_blind",
    summary="Tocsin cannot see {target}: its telemetry does not answer, or nothing arrives from it.",
    description="No rule on this target can fire or resolve until something is seen again. Look at the app itself, at "
    "the workspace, at what its telemetry calls itself (`tocsin doctor`), and at the reader identity's permissions.",
    severity=Severity.P1,
    when=When(signal="telemetry_answers", above=0.0, over=timedelta(minutes=1)),
    for_=timedelta(minutes=5),
    keep_firing_for=timedelta(minutes=2),
    runbook="docs/operations.md#telemetry-blind",
    owner="tocsin",
    file="built in",
)
"""The one rule nobody has to write and nobody can forget. Its notice is a *blind* note, never a page for a rule."""


def _unjudged(name: str, severity: Severity) -> Rule:
    return Rule(
        id=name,
        summary="Tocsin cannot judge the rule {unjudged} on {target}.",
        description="It can neither fire nor resolve until it can be judged again. Its query, the reader identity's "
        "permissions or the app's configuration are where to look.",
        severity=severity,
        when=When(signal="rule_answers", above=0.0, over=timedelta(minutes=1), by=("unjudged",)),
        for_=timedelta(minutes=5),
        keep_firing_for=timedelta(minutes=2),
        runbook="docs/operations.md#rule-blind",
        owner="tocsin",
        file="built in",
    )


RULE_BLIND, MINOR_RULE_BLIND = _unjudged("rule_blind", Severity.P1), _unjudged("minor_rule_blind", Severity.P2)
"""Rules that nobody can judge while the target's telemetry answers: those of P0 and P1, and the others."""

UNEVALUATED = Rule(
    id="evaluation_failed",
    summary="Tocsin could not evaluate {target}: the work was given up after several tries.",
    description="A tick handed this target out, and every instance that took it failed. The watcher's log says why.",
    severity=Severity.P1,
    when=When(signal="target_evaluated", above=0.0, over=timedelta(minutes=1)),
    keep_firing_for=timedelta(minutes=2),
    offset=timedelta(),
    runbook="docs/operations.md#evaluation-failed",
    owner="tocsin",
    file="built in",
)
"""Work that ended in the poison queue."""

BUILT_IN = (SIGHT, RULE_BLIND, MINOR_RULE_BLIND, UNEVALUATED)


@dataclass(frozen=True, slots=True)
class Sight:
    """Judges whether the target could be seen this tick; takes the place of a rule's measurements."""

    def at(
        self, slot: datetime, _alerts: Mapping[Instance, Alert], fresh: Freshness, within: timedelta
    ) -> dict[Instance, Seen]:
        """Return breached when the question for freshness got no answer, or the answer is that nothing arrives."""
        if fresh.minutes is None:
            reason = fresh.why if fresh.stopped else f"telemetry does not answer: {fresh.why}"
            return {(): Seen(Verdict.BREACHED, reason=reason)}
        if not fresh.at(slot, within):
            return {(): Seen(Verdict.BREACHED, reason=f"the target is silent: nothing arrived within {spell(within)}")}
        return {(): Seen(Verdict.CLEAR, reason="telemetry answers")}


@dataclass(frozen=True, slots=True)
class Judged:
    """Judges whether the rules could be judged. ``blind`` holds those that could not this tick, and why.

    ``waiting`` are rules that were not due: what was last known of them still holds.
    """

    blind: Mapping[str, str]
    waiting: frozenset[str] = frozenset()

    def at(
        self, _slot: datetime, alerts: Mapping[Instance, Alert], fresh: Freshness, _within: timedelta
    ) -> dict[Instance, Seen]:
        """Return one observation a rule that is blind or was; while the whole target is unseen that says it all."""
        if fresh.minutes is None:
            return {by: Seen(Verdict.UNKNOWN, reason="the target cannot be seen") for by in alerts}
        known = {by: self._still(by, alert) for by, alert in alerts.items()}
        blind = {instance({"unjudged": name}): f"cannot be judged: {why}" for name, why in self.blind.items()}
        return {**known, **{by: Seen(Verdict.BREACHED, 1.0, why) for by, why in blind.items()}}

    def _still(self, by: Instance, alert: Alert) -> Seen:
        if texts(by).get("unjudged") in self.waiting and alert.last is not Verdict.CLEAR:
            return Seen(alert.last, 1.0, alert.reason)
        return Seen(Verdict.CLEAR, reason="judged again")


@dataclass(frozen=True, slots=True)
class Reached:
    """Judges whether the target could be evaluated at all. That this is asked in an evaluation says that it could."""

    failed: bool = False

    def at(
        self, _slot: datetime, alerts: Mapping[Instance, Alert], _fresh: Freshness, _within: timedelta
    ) -> dict[Instance, Seen]:
        """Return breached for work that was given up; else clear for what was not reached before."""
        if self.failed:
            return {(): Seen(Verdict.BREACHED, 1.0, "its evaluation was given up")}
        return {by: Seen(Verdict.CLEAR, 0.0, "it was evaluated again") for by in alerts}


def newest_only(found: Due) -> Due:
    """Return the due slots with all but the newest as missed: what this tick heard says nothing of earlier ones."""
    if len(found.slots) <= 1:
        return found
    return Due(found.slots[-1:], found.missed + len(found.slots) - 1, found.slots[-2])
