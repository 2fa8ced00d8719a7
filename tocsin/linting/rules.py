"""Warnings about one rule, and about two that say the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from tocsin.core.config import Config, Target
from tocsin.core.errors import Problem
from tocsin.core.fields import AUTO
from tocsin.core.inhibition import Inhibit
from tocsin.core.labels import complete
from tocsin.core.matching import accepted
from tocsin.core.node import Node
from tocsin.core.rule import Rule
from tocsin.core.schedule import selects
from tocsin.core.signal import Logs, Signal
from tocsin.core.units import spell

_MEASURED = frozenset({"value", "events", "threshold", "detail"})
"""What is measured, and differs from one look to the next."""


def lint(rule: Rule, node: Node, signal: Signal | None, config: Config) -> Iterator[Problem]:
    """Yield what is doubtful about a rule beside its query."""
    yield from _dimensions(rule, node)
    if timedelta() < rule.for_ < rule.every:
        words = f"it is looked at every {spell(rule.every)}, so a wait of {spell(rule.for_)} is as long as that"
        yield node.at("for").warning("wait-below-turn", words)
    yield from _window(rule, node, signal, config)
    if signal is not None and signal.unit == "ratio" and not rule.when.minimum and _of_events(rule, signal):
        words = f"{signal.name} is a ratio: without `minimum` a single event can make it 100%"
        yield node.at("when").warning("ratio-without-minimum", words, "say how many events it needs: `minimum: 20`")


def _of_events(rule: Rule, signal: Signal) -> bool:
    """Return whether it is a share of events, which may be few: what a gauge reads is always there."""
    return rule.when.absent_for is None and any(isinstance(each, Logs) for each in signal.asked(rule.when.only))


def _dimensions(rule: Rule, node: Node) -> Iterator[Problem]:
    """What is told apart by a value is another alert at every look: it never waits, never resolves, always tells."""
    for number, name in enumerate(rule.when.by):
        if name in _MEASURED:
            words = f"'{name}' is measured: split by it, every look is about another alert"
            yield node.at("when", "by", number).warning("value-as-dimension", words)
    for name, text in rule.labels.items():
        if any(f"{{{each}}}" in text for each in _MEASURED):
            words = f"the label '{name}' holds a value: labels tell alerts apart, and are no templates"
            yield node.at("labels", name).warning("value-as-dimension", words, "put it in `summary`")


def _window(rule: Rule, node: Node, signal: Signal | None, config: Config) -> Iterator[Problem]:
    asked = signal.asked(rule.when.only) if signal else ()
    logs = rule.when.signal is None or any(isinstance(each, Logs) for each in asked)
    if not logs or rule.counting == "arrivals":
        return
    late = [each for each in config.targets if selects(rule, each) and _misses(rule, each)]
    if late:
        worst = max(late, key=lambda each: each.lag)
        words = (
            f"rows of {worst.name} take {spell(worst.lag)} to arrive: a window of {spell(rule.when.over)} is over first"
        )
        place = node.at("when", "over") if node.at("when").get("over") else node.at("when")
        yield place.warning("window-below-lag", words, "widen it, or say `offset: auto` or `counting: arrivals`")


def _misses(rule: Rule, target: Target) -> bool:
    """Return whether rows arrive when the windows they belong to have been judged for the last time."""
    offset = target.offset if rule.offset is None else rule.offset
    return offset != AUTO and offset < target.lag and rule.when.over < target.lag


def duplicates(rules: Sequence[tuple[Rule, Node]], config: Config) -> Iterator[Problem]:
    """Yield each rule that another one repeats: one fault would be told twice, and the second says nothing new."""
    for rule, node in rules:
        same = [other.id for other, _ in rules if other.id != rule.id and _repeats(rule, other, config)]
        if same and rule.enabled:
            words = f"it measures and judges what {' and '.join(same)} does, on the same targets"
            yield node.at("when").warning("duplicate-rule", words)


def _repeats(rule: Rule, other: Rule, config: Config) -> bool:
    """Return whether two rules are one: a ladder of severities with a limit each is none."""
    if not other.enabled or _identity(rule) != _identity(other) or _watched(rule, config) != _watched(other, config):
        return False
    if any(_hides(rule, other, each.rule) or _hides(other, rule, each.rule) for each in config.inhibit):
        return False
    return rule.severity == other.severity or rule.when == other.when


def _hides(rule: Rule, other: Rule, inhibit: Inhibit) -> bool:
    """Return whether one rule's alerts are not told while the other's fire."""
    source, target = (complete(each.labels, each.id, each.severity.value, "") for each in (rule, other))
    return accepted(inhibit.source, source) and accepted(inhibit.target, target)


def _identity(rule: Rule) -> tuple[object, ...]:
    when = rule.when
    measure = when.signal or " ".join((when.kql or "").split())
    said = [key for key in ("change", "unusual", "burn_rate", "absent_for") if getattr(when, key) is not None]
    only = frozenset(when.only.items())
    return measure, only, when.over, frozenset(when.by), (*(op for op, _ in when.limits), *said), rule.counting


def _watched(rule: Rule, config: Config) -> object:
    return [each.name for each in config.targets if selects(rule, each)] if config.targets else rule.targets
