"""Inhibitions by which alerts could suppress each other in a circle, so that nobody would be notified of any."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tocsin.core.config import Config
from tocsin.core.errors import Problem
from tocsin.core.inhibition import Inhibit
from tocsin.core.labels import ALWAYS, alert_labels
from tocsin.core.matching import Labels, Matcher
from tocsin.core.native import NATIVE, UNWATCHED
from tocsin.core.node import Node
from tocsin.core.rule import Rule
from tocsin.core.schedule import selects
from tocsin.core.sight import BUILT_IN


@dataclass(frozen=True, slots=True)
class Kind:
    """The alerts of one rule on one target. Labels in ``free`` come from telemetry and may have any value."""

    labels: Labels
    free: frozenset[str]

    def may(self, matchers: Sequence[Matcher]) -> bool:
        """Return whether one of these alerts can be accepted by all matchers."""
        if not all(each.accepts(self.labels) for each in matchers if each.label not in self.free):
            return False
        return all(_satisfiable([each for each in matchers if each.label == name]) for name in self.free)

    def must(self, matchers: Sequence[Matcher]) -> bool:
        """Return whether each of these alerts is accepted by all matchers."""
        return all(each.label not in self.free and each.accepts(self.labels) for each in matchers)

    @property
    def words(self) -> str:
        """Its rule and its target."""
        return f"{self.labels['rule']} on {self.labels['target']}"


def _satisfiable(matchers: Sequence[Matcher]) -> bool:
    """Return whether some value of their one label can be accepted by all; of expressions alone that is assumed."""
    named = next((each for each in matchers if each.names), None)
    if named is None:
        return True
    return any(all(each.accepts({each.label: value}) for each in matchers) for value in named.names)


def kinds(rules: Iterable[Rule], config: Config) -> list[Kind]:
    """Return the kinds of alerts that there can be."""
    targets = config.targets
    pairs = [(rule, target) for rule in rules for target in targets if selects(rule, target)]
    pairs += [(rule, target) for rule in BUILT_IN for target in targets]
    pairs += [(rule, target) for rule in NATIVE for target in (*targets, UNWATCHED)]
    found = []
    for rule, target in pairs:
        found.append(Kind(alert_labels(rule, target), frozenset(rule.when.by) - ALWAYS))
    return found


@dataclass(frozen=True, slots=True)
class _Link:
    """A kind in the middle of a chain: the inhibition ``hidden`` suppresses it, by ``hides`` it suppresses others."""

    hidden: int
    kind: Kind = field(hash=False)
    name: int
    hides: int


def problems(config: Config, rules: Sequence[Rule], node: Node) -> Iterator[Problem]:
    """Yield every inhibition that closes a circle, and every one that names only alerts as both source and target."""
    known, entries = kinds(rules, config), dict(enumerate(each.rule for each in config.inhibit))
    for number, entry in list(entries.items()):
        if _of_itself(entry, known):
            words = "source and target are the same alerts, and no alert inhibits itself: this has no effect"
            yield node.at("inhibit", number).problem("inhibition-circle", words, "name other alerts under `target`")
            del entries[number]
    while circle := _circle(entries, known):
        shown = " → ".join(each.kind.words for each in (*circle, circle[0]))
        words = f"alerts would inhibit each other in a circle, and nobody would be notified of any of them: {shown}"
        last = max(each.hides for each in circle)
        yield node.at("inhibit", last).problem("inhibition-circle", words, "leave one of them out of `target`")
        del entries[last]


def _of_itself(entry: Inhibit, known: Sequence[Kind]) -> bool:
    sources = [each for each in known if each.may(entry.source)]
    targets = [each for each in known if each.may(entry.target)]
    both = all(each.must(entry.target) for each in sources) and all(each.must(entry.source) for each in targets)
    return bool(sources and targets) and both


def _circle(entries: Mapping[int, Inhibit], known: Sequence[Kind]) -> list[_Link]:
    """Return the links of a circle, or an empty list."""
    links: dict[int, list[_Link]] = {}
    for name, kind in enumerate(known):
        hidden = [number for number, each in entries.items() if kind.may(each.target)]
        hides = [number for number, each in entries.items() if hidden and kind.may(each.source)]
        for first in hidden:
            for second in hides:
                if kind.may((*entries[first].target, *entries[second].source)):
                    links.setdefault(first, []).append(_Link(first, kind, name, second))
    done = set[_Link]()
    for start in [each for found in links.values() for each in found]:
        if circle := _way_back(start, links, entries, done):
            return circle
    return []


def _way_back(
    start: _Link, links: Mapping[int, Sequence[_Link]], entries: Mapping[int, Inhibit], done: set[_Link]
) -> list[_Link]:
    """Follow the links, deepest first; return those from one to itself."""
    way: list[tuple[_Link, Iterator[_Link]]] = []

    def enter(link: _Link) -> None:
        following = (each for each in links.get(link.hides, ()) if _hides(link, each, entries[link.hides]))
        way.append((link, following))

    enter(start)
    while way:
        link, following = way[-1]
        onward = next((each for each in following if each not in done), None)
        if onward is None:
            done.add(link)
            way.pop()
        elif any(each == onward for each, _ in way):
            chain = [each for each, _ in way]
            return chain[chain.index(onward) :]
        else:
            enter(onward)
    return []


def _hides(link: _Link, other: _Link, rule: Inhibit) -> bool:
    """Return whether an alert of one can suppress one of the other. What is source and target is spared by its like."""
    source, target = link.kind, other.kind
    hidden_too = link.hidden == link.hides or source.must(rule.target)
    if hidden_too and (other.hides == link.hides or target.must(rule.source)):
        return False
    free = source.free | target.free
    return all(name in free or source.labels.get(name, "") == target.labels.get(name, "") for name in rule.equal)
