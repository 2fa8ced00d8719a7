"""Composing notices: from an alert's change, or from an execution, to what a person is told.

The order is that of a glance at 3 a.m.: how bad, what and how much, where, what Tocsin does about it, what to do first,
where to look. Text from telemetry is scrubbed here and escaped by each receiver.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote

from tocsin import __version__
from tocsin.core import container, units
from tocsin.core.alert import Alert, Change
from tocsin.core.answer import NoAnswer
from tocsin.core.config import Target
from tocsin.core.container import App
from tocsin.core.message import Fact, Kind, Notice
from tocsin.core.policy import Policy
from tocsin.core.remedy import Execution, Phase
from tocsin.core.rule import Rule
from tocsin.core.signal import Signal

_LONGEST = 1_000
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def scrub(text: str, longest: int = _LONGEST) -> str:
    """Return ``text`` without control, bidirectional and invisible characters, on one line, cut to ``longest``."""
    kept = "".join(letter for letter in text if unicodedata.category(letter)[0] != "C" or letter in "\n\t")
    line = " ".join(kept.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def fill(template: str, values: Mapping[str, str]) -> str:
    """Return ``template`` with each ``{name}`` replaced by its value as plain text; an unknown name stays as it is."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)


def compose(
    alert: Alert,
    change: Change,
    kind: Kind,
    rule: Rule,
    target: Target,
    signal: Signal | None,
    *,
    will: str,
    app: App | NoAnswer,
) -> Notice:
    """Return the notice for an alert that fired, resolved or went blind. ``will`` says what Tocsin does about it."""
    at = alert.slot or alert.fired
    if at is None:
        raise ValueError("an alert that has seen no slot has nothing to tell")
    unit = signal.unit if signal and not rule.when.change else "ratio" if rule.when.change else "count"
    values = placeholders(alert, rule, target, unit)
    facts = [
        Fact("State", f"{kind.value}, {rule.severity.value}"),
        Fact("Why", f"{change.value}; {alert.reason}" if alert.reason else change.value),
        *([Fact("Value", _against_limit(values))] if alert.value is not None else []),
        *([Fact("Evidence", scrub(alert.detail))] if alert.detail else []),
        Fact("Target", target.name),
        *(Fact(scrub(name, 60), scrub(value)) for name, value in alert.by),
        *([Fact("Tocsin", will)] if kind is not Kind.RESOLVED else []),
        *([Fact("Killswitch", switch_line(app))] if target.container_app else []),
    ]
    return Notice(
        id=f"{alert.episode}/{kind.value}/{at:%Y%m%dT%H%M%SZ}",
        kind=kind,
        episode=alert.episode,
        rule=rule.id,
        target=target.name,
        severity=rule.severity,
        at=at,
        title=scrub(_headline(kind, fill(rule.summary, values)), 300),
        text=scrub(fill(rule.description, values)),
        facts=tuple(facts),
        first_step=f"Open the runbook: {rule.runbook}" if rule.runbook else "",
        manual=_by_hand(target, engage=True) if kind is Kind.FIRED else "",
        links=_links(rule, target),
        labels={**target.labels, **rule.labels, **dict(alert.by)},
        value=alert.value,
        provenance=f"{rule.file or rule.id} · tocsin {__version__}",
    )


def _against_limit(values: Mapping[str, str]) -> str:
    return f"{values['value']} (limit {values['threshold']} over {values['window']})"


def placeholders(alert: Alert, rule: Rule, target: Target, unit: str) -> dict[str, str]:
    """Return what ``{name}`` stands for in a rule's texts; values from telemetry are scrubbed."""
    limit = rule.when.limit
    bound = limit[1] if limit else rule.when.change.more_than if rule.when.change else None
    own = {
        "value": units.amount(alert.value, unit),
        "threshold": units.amount(bound, unit),
        "window": units.spell(rule.when.over),
        "target": target.name,
        "rule": rule.id,
        "severity": rule.severity.value,
    }
    labels = {**target.labels, **rule.labels, **{name: scrub(value) for name, value in alert.by}}
    return {**labels, **own}


def _headline(kind: Kind, summary: str) -> str:
    leads = {Kind.RESOLVED: "Resolved: ", Kind.BLIND: "Blind: nothing is known any more. Before that: "}
    return leads.get(kind, "") + summary


def switch_line(app: App | NoAnswer) -> str:
    """Return the killswitch's state on the revisions that serve, as words."""
    if isinstance(app, NoAnswer):
        return f"state unknown: {app.why.value}"
    on = [
        name for name in container.SCOPES.values() if any(container.engaged(each.env.get(name)) for each in app.serving)
    ]
    return f"{', '.join(on)} engaged" if on else "not engaged"


def story(execution: Execution, policy: Policy, rule: Rule, target: Target, kind: Kind, at: datetime) -> Notice:
    """Return the notice for what a policy did, would do, asks for, or failed to do, as of ``at``."""
    facts = [
        Fact("State", execution.phase.value),
        Fact("Action", f"{execution.action} {', '.join(f'{key}={value}' for key, value in execution.args.items())}"),
        Fact("Why", scrub(execution.reason)),
        Fact("Target", target.name),
        *([Fact("Before", execution.before)] if execution.before else []),
        *([Fact("After", execution.after)] if execution.after else []),
        Fact("Undo", f"by {policy.undo.by}" + (f", after {policy.undo.after}" if policy.undo.after else "")),
    ]
    engaged = execution.phase in (Phase.APPLIED, Phase.VERIFIED)
    return Notice(
        id=f"{execution.id}/{execution.phase.value}",
        kind=kind,
        episode=execution.episode,
        rule=rule.id,
        target=target.name,
        severity=rule.severity,
        at=at,
        title=scrub(f"{_PHRASES[execution.phase]}: {execution.action} on {target.name} ({policy.id})", 300),
        text=scrub(policy.summary),
        facts=tuple(facts),
        first_step=f"Open the runbook: {rule.runbook}" if rule.runbook else "",
        manual=_by_hand(target, engage=not engaged),
        links=_links(rule, target),
        labels={**target.labels, **rule.labels},
        provenance=f"{policy.file or policy.id} · tocsin {__version__}",
    )


_PHRASES = {
    Phase.REFUSED: "Not done",
    Phase.ASKED: "A person must decide",
    Phase.OBSERVED: "Would be done, but only observing",
    Phase.INTENDED: "About to be done",
    Phase.APPLIED: "Done, proof follows",
    Phase.VERIFIED: "Done and proven",
    Phase.UNVERIFIED: "Done but NOT proven",
    Phase.FAILED: "Could NOT be done",
    Phase.STOOD_DOWN: "No longer needed",
}


def _by_hand(target: Target, *, engage: bool) -> str:
    """Return the command that works when the watcher does not."""
    if not target.container_app:
        return ""
    return container.manual(target, container.SCOPES["tools"], "on" if engage else "off")


def _links(rule: Rule, target: Target) -> tuple[tuple[str, str], ...]:
    links = [("Runbook", rule.runbook)] if rule.runbook.startswith("https://") else []
    if target.container_app:
        resource = resource_id(target)
        links.append(("Container App", f"https://portal.azure.com/#resource{quote(resource)}/containerapp"))
    return tuple(links)


def resource_id(target: Target) -> str:
    """Return the target's Container App as Azure names it."""
    group = f"/subscriptions/{target.subscription}/resourceGroups/{target.resource_group}"
    return f"{group}/providers/Microsoft.App/containerApps/{target.container_app}"
