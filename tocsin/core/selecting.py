"""Whether what selects alerts names labels, rules, targets, severities and receivers that exist."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tocsin.core.audience import Route, Selector
from tocsin.core.config import Config
from tocsin.core.copying import NOT_MIRRORED
from tocsin.core.errors import Problem, did_you_mean, nearest
from tocsin.core.fields import Severity
from tocsin.core.heartbeat import QUIET
from tocsin.core.matching import Matcher
from tocsin.core.meant import choice
from tocsin.core.message import OVERRIDE, OWN_ERROR
from tocsin.core.native import NATIVE, UNWATCHED
from tocsin.core.node import Node
from tocsin.core.rule import Rule
from tocsin.core.sight import BUILT_IN

LABELS = ("rule", "severity", "target", "unjudged")
"""Labels that every alert has, or those of the watcher's own rules."""

OWN_RULES = (
    *(each.id for each in (*NATIVE, *BUILT_IN)), NOT_MIRRORED, OVERRIDE, OWN_ERROR, QUIET, "watchdog", "action_storm",
    "killswitch_drill", "state_unavailable",
)  # fmt: skip
"""Rules of alerts that Tocsin tells of itself, which stand in no file."""

OWN_TARGETS = (UNWATCHED.name, "tocsin")
"""Targets of alerts that are about no target of the file."""


@dataclass(frozen=True, slots=True)
class Names:
    """What can be selected: ``labels``, and the ``values`` of those of which every value is known beforehand."""

    labels: frozenset[str]
    values: Mapping[str, Collection[str]]

    def unknown(self, label: str, value: str, place: Node) -> Iterator[Problem]:
        """Yield that nothing has this value of a label."""
        known = self.values.get(label)
        if known is not None and value not in known:
            identity = "bad-choice" if label == "severity" else f"unknown-{label}"
            found = missing(place, identity, label, value, known)
            yield replace(found, hint=did_you_mean(choice(value, known)) or found.hint)

    def matcher(self, matcher: Matcher, place: Node) -> Iterator[Problem]:
        """Yield what a matcher names that is not there."""
        if matcher.label not in self.labels:
            yield missing(place, "unknown-label", "label", matcher.label, self.labels)
        elif matcher.op in ("=~", "!~"):
            known, wanted = self.values.get(matcher.label), replace(matcher, op="=~")
            if known is not None and not any(wanted.accepts({matcher.label: each}) for each in known):
                choices = tuple(sorted(known))
                words = f"no {matcher.label} matches '{matcher.values[0]}'"
                yield place.problem("matches-nothing", words, nearest(matcher.values[0], choices), choices)
        else:
            for value in matcher.values:
                yield from self.unknown(matcher.label, value, place)


def nameable(config: Config, rules: Collection[str], labels: Collection[str]) -> Names:
    """Return what can be selected where these rules are."""
    targets = {*(target.name for target in config.targets), *OWN_TARGETS}
    own = {key for rule in (*NATIVE, *BUILT_IN) for key in (*rule.labels, *rule.when.by)}
    values = {"rule": {*rules, *OWN_RULES}, "severity": {each.value for each in Severity}, "target": targets}
    return Names(frozenset({*labels, *own, *LABELS}), values)


def all_names(config: Config, rules: Sequence[Rule], files: Collection[str]) -> Names:
    """Return what alerts of these rules and targets can be selected by; ``files`` are rules that cannot be read."""
    labels = {key for target in config.targets for key in target.labels}
    labels |= {key for rule in rules for key in (*rule.labels, *rule.when.by)}
    return nameable(config, {*files, *(rule.id for rule in rules)}, labels)


def route_problems(route: Route, node: Node, config: Config, names: Names) -> Iterator[Problem]:
    """Yield what is wrong with a route and those below it."""
    yield from _selector_problems(route, node, names)
    for number, name in enumerate(route.group_by):
        if name not in names.labels and name != "...":
            yield missing(node.at("group_by", number), "unknown-label", "label", name, names.labels)
    yield from _receivers(route.to, node.at("to"), config)
    for number, child in enumerate(route.routes):
        yield from route_problems(child, node.at("routes", number), config, names)


def muting_problems(config: Config, node: Node, names: Names) -> Iterator[Problem]:
    """Yield what is wrong with who is not told, and with who is told besides."""
    for number, rule in enumerate(config.inhibit):
        place = node.at("inhibit", number)
        yield from _selector_problems(rule.source, place.at("source"), names)
        yield from _selector_problems(rule.target, place.at("target"), names)
        for at, name in enumerate(rule.equal):
            if name not in names.labels:
                yield missing(place.at("equal", at), "unknown-label", "label", name, names.labels)
    muted: dict[str, Sequence[Selector]] = {"quiet_hours": config.quiet_hours, "silences": config.silences}
    for key, selectors in {**muted, "escalate": config.escalate}.items():
        for number, selector in enumerate(selectors):
            yield from _selector_problems(selector, node.at(key, number), names)
    for number, each in enumerate(config.escalate):
        yield from _receivers(each.to, node.at("escalate", number, "to"), config)


def _receivers(some: Sequence[str], node: Node, config: Config) -> Iterator[Problem]:
    for number, name in enumerate(some):
        if name not in config.receivers:
            yield missing(node.at(number), "unknown-receiver", "receiver", name, config.receivers)


def _selector_problems(selector: Selector, node: Node, names: Names) -> Iterator[Problem]:
    for key, values in selector.match.items():
        if key not in names.labels:
            yield missing(node.at("match").key(key) or node, "unknown-label", "label", key, names.labels)
        for number, value in enumerate(values):
            yield from names.unknown(key, value, node.at("match", key, number))
    for number, matcher in enumerate(selector.matchers):
        yield from names.matcher(matcher, node.at("matchers", number))


def missing(place: Node, identity: str, what: str, name: str, choices: Collection[str]) -> Problem:
    """Return the problem of a name that is not there, with the nearest that is and all there are."""
    ordered = tuple(sorted(choices))
    return place.problem(identity, f"no {what} '{name}'", nearest(name, ordered), ordered)
