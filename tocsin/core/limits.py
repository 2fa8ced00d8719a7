"""What a rule's values are held against, and how messages write both."""

from __future__ import annotations

from collections.abc import Mapping

from tocsin.core import units
from tocsin.core.alert import STORM, Alert
from tocsin.core.config import Target
from tocsin.core.instance import shown
from tocsin.core.labels import alert_labels, complete
from tocsin.core.rule import Op, Rule
from tocsin.core.signal import Signal
from tocsin.core.text import fill


def unit_of(rule: Rule, signal: Signal | None) -> str:
    """Return the unit of the rule's values and of its limit."""
    if rule.when.change or rule.when.burn_rate:
        return "ratio"
    if rule.when.unusual or rule.when.absent_for:
        return "count"
    return signal.unit if signal else rule.when.unit or "count"


def bound(rule: Rule) -> float | None:
    """Return the number that the rule's values are held against; None where it is their absence that counts."""
    when = rule.when
    if when.limit:
        return when.limit[1]
    if when.change:
        return when.change.more_than
    if when.burn_rate:
        return 1 - when.burn_rate.objective
    return when.unusual.score if when.unusual else None


def comparison(rule: Rule) -> Op:
    """Return how a value is past ``bound``: as the rule writes it; all that writes no comparison looks for more."""
    return rule.when.limit[0] if rule.when.limit else Op.ABOVE


def placeholders(alert: Alert, rule: Rule, target: Target, unit: str) -> dict[str, str]:
    """Return what ``{name}`` stands for in a rule's texts; values from telemetry are normalized."""
    own = {
        "value": units.amount(alert.value, unit),
        "threshold": units.amount(bound(rule), unit),
        "window": units.spell(rule.when.over),
        **complete({}, rule.id, rule.severity.value, target.name),
    }
    if alert.by == STORM:
        own |= {"value": f"{alert.value or 0:.0f}", "threshold": str(rule.max_instances)}
        own |= dict.fromkeys(rule.when.by, "(several)")
    return {**alert_labels(rule, target), **shown(alert.by), **own}


def headline(alert: Alert, rule: Rule, target: Target, values: Mapping[str, str]) -> str:
    """Return what an alert says in one line; ``values`` are its placeholders."""
    if alert.by != STORM:
        return fill(rule.summary, values)
    if alert.open:
        most = f"of which at most {rule.max_instances} are notified alone"
        return f"{rule.id} on {target.name} has {values['value']} alerts at once, {most}."
    return f"{rule.id} on {target.name} has no more than {rule.max_instances} alerts at once any more."


def against_limit(rule: Rule, values: Mapping[str, str]) -> str:
    """Return the value and what it is held against, in words; ``values`` are the rule's placeholders."""
    if rule.when.change:
        versus = units.spell(rule.when.change.versus)
        return (
            f"{values['value']} (limit: more than {values['threshold']} from {versus} earlier, over {values['window']})"
        )
    if rule.when.unusual:
        return (
            f"score {values['value']} (limit: above {values['threshold']} over what is usual, {values['window']} each)"
        )
    if rule.when.burn_rate:
        how = rule.when.burn_rate
        return f"{values['value']} errors at worst, against an objective of {units.amount(how.objective, 'ratio')}"
    if rule.when.absent_for:
        return f"nothing within {values['window']}"
    op = rule.when.limit[0].value.replace("_", " ") if rule.when.limit else ""
    return f"{values['value']} (limit: {op} {values['threshold']} over {values['window']})"
