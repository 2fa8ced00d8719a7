"""Warnings about who is told: severities that reach nobody, receivers that nobody reaches, the worst kept quiet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from tocsin.core.audience import Route
from tocsin.core.config import Config
from tocsin.core.errors import Problem
from tocsin.core.fields import Severity
from tocsin.core.labels import alert_labels
from tocsin.core.matching import Matcher
from tocsin.core.native import NATIVE
from tocsin.core.node import Node
from tocsin.core.read import Project
from tocsin.core.route import compiled, ends
from tocsin.core.schedule import selects

Labels = Mapping[str, str]


def lint(project: Project, node: Node, now: datetime) -> Iterator[Problem]:
    """Yield what is doubtful about routes, receivers, silences and quiet hours."""
    if project.config.targets:
        yield from _severities(project, node)
        yield from _hidden(project, node, now)
    yield from _idle(project, node)


def _alerts(project: Project, severity: Severity) -> list[Labels]:
    """Return the labels of every alert of a severity that is known beforehand: those of its rules on their targets."""
    rules = [rule for rule in (*project.rules, *NATIVE) if rule.severity is severity and rule.enabled]
    return [
        alert_labels(rule, target)
        for rule in rules
        for target in project.config.targets
        if rule in NATIVE or selects(rule, target)
    ]


def _severities(project: Project, node: Node) -> Iterator[Problem]:
    config = project.config
    root = config.routes if config.routes.to else config.routes.model_copy(update={"to": _fallback(config)})
    tree = compiled(root)
    for severity in Severity:
        lost = [labels for labels in _alerts(project, severity) if not any(end.to for end in ends(tree, labels))]
        if lost:
            shown = f"{lost[0]['rule']} on {lost[0]['target']}"
            words = f"no route takes {severity.value} to a receiver, like {shown}: nobody would hear of it"
            yield (node.key("routes") or node).warning(
                "unroutable-severity", words, "name receivers in `to` at the root"
            )


def _fallback(config: Config) -> tuple[str, ...]:
    return (config.fallback,) if config.fallback else ()


def _idle(project: Project, node: Node) -> Iterator[Problem]:
    config = project.config
    used = {config.fallback, *(name for each in config.escalate for name in each.to)}
    used |= {each.if_it_fails.escalate for each in project.policies if each.if_it_fails}
    used |= set(_reached(config.routes, ()))
    for name in config.receivers:
        if name not in used:
            words = f"nothing is ever told to '{name}': no route that can be reached names it, and nothing else does"
            yield (node.at("receivers").key(name) or node.at("receivers")).warning("idle-receiver", words)


def _reached(route: Route, above: Sequence[str]) -> Iterator[str]:
    """Yield the receivers of the routes in which an alert can end; none gets past a child that takes everything."""
    told, taken = route.to or above, False
    for child in route.routes:
        if not taken:
            yield from _reached(child, told)
        taken = taken or not (child.matching or child.continue_)
    # Where a child takes everything, even one that lets the search go on, the route itself is no end.
    if not any(not child.matching for child in route.routes):
        yield from told


def _hidden(project: Project, node: Node, now: datetime) -> Iterator[Problem]:
    config = project.config
    for number, silence in enumerate(config.silences):
        if silence.ends > now and (found := hidden_p0(project, silence.matching)):
            words = f"this silence also hides {found}, whose severity is P0"
            yield node.at("silences", number).warning("hides-a-p0", words, "add the matcher `severity!=P0`")
    for number, hours in enumerate(config.quiet_hours):
        if found := hidden_p0(project, hours.matching):
            words = f"in these hours nobody hears of {found}, whose severity is P0"
            yield node.at("quiet_hours", number).warning("hides-a-p0", words, "add the matcher `severity!=P0`")


def hidden_p0(project: Project, matchers: Sequence[Matcher]) -> str:
    """Return an alert of severity P0 that the matchers can mean, in words; empty for none.

    What telemetry alone gives may have any value.
    """
    split = {name for rule in (*project.rules, *NATIVE) for name in rule.when.by}

    def may(matcher: Matcher, labels: Labels) -> bool:
        return matcher.accepts(labels) or (matcher.label in split and matcher.label not in labels)

    met = (each for each in _alerts(project, Severity.P0) if all(may(matcher, each) for matcher in matchers))
    return next((f"{each['rule']} on {each['target']}" for each in met), "")
