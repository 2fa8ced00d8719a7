"""Who is told: a tree of routes, walked with an alert's labels. What a route does not say it has from the one above."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TypeVar

from tocsin.core.audience import Route
from tocsin.core.matching import Labels, Matcher, accepted, spelled

T = TypeVar("T")

ALL = ("...",)
"""Grouping by every label: each alert is a group of its own."""

GROUP_BY = ("rule", "target")
GROUP_WAIT, GROUP_INTERVAL, REPEAT = timedelta(seconds=30), timedelta(minutes=5), timedelta(hours=4)


@dataclass(frozen=True, slots=True)
class Node:
    """A route with everything it inherits. ``place`` is where it stands in the file, ``why`` what it matches.

    ``group_wait`` is None where nobody says: then P0 and P1 wait for nothing and all others 30 seconds.
    """

    place: str
    why: str
    matchers: tuple[Matcher, ...]
    to: tuple[str, ...]
    continues: bool
    group_by: tuple[str, ...]
    group_wait: timedelta | None
    group_interval: timedelta
    repeat_interval: timedelta
    children: tuple[Node, ...] = ()
    index: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)
    """Label → value → children that this value may reach, in order: a tree of hundreds is not walked through."""

    def group(self, labels: Labels) -> tuple[tuple[str, str], ...]:
        """Return the labels of the group an alert belongs to: those of ``group_by`` that it has."""
        pairs = labels.items() if self.group_by == ALL else ((key, labels.get(key, "")) for key in self.group_by)
        return tuple(sorted((key, value) for key, value in pairs if value))


def compiled(route: Route, above: Node | None = None, place: str = "routes") -> Node:
    """Return the tree below ``route``, with what is inherited filled in."""
    own = Node(
        place=place,
        why=spelled(route.matching) or "default",
        matchers=route.matching,
        to=route.to or (above.to if above else ()),
        continues=route.continue_,
        group_by=route.group_by or (above.group_by if above else GROUP_BY),
        group_wait=_said(route.group_wait, above.group_wait if above else None),
        group_interval=_said(route.group_interval, above.group_interval if above else GROUP_INTERVAL),
        repeat_interval=_said(route.repeat_interval, above.repeat_interval if above else REPEAT),
    )
    below = tuple(compiled(child, own, f"{place}[{number}]") for number, child in enumerate(route.routes))
    return _with(own, below)


def ends(node: Node, labels: Labels) -> tuple[Node, ...]:
    """Return the routes an alert ends in, in order; none when the tree's own root does not match it.

    Children are tried in order; the first that matches wins unless it says ``continue``. A route none of whose children
    match, or that has none, is an end itself.
    """
    return tuple(_walk(node, labels)) if accepted(node.matchers, labels) else ()


def _walk(node: Node, labels: Labels) -> Iterator[Node]:
    taken = False
    for child in _candidates(node, labels):
        if accepted(child.matchers, labels):
            taken = True
            yield from _walk(child, labels)
            if not child.continues:
                return
    if not taken:
        yield node


def _candidates(node: Node, labels: Labels) -> Iterator[Node]:
    """Yield the children that may match, in order."""
    for label, by_value in node.index.items():
        numbers = by_value.get(labels.get(label, ""), by_value[""])
        return (node.children[number] for number in numbers)
    return iter(node.children)


_FEW = 8
"""Children that are faster walked through than looked up."""


def _with(node: Node, children: tuple[Node, ...]) -> Node:
    return replace(node, children=children, index=_indexed(children) if len(children) > _FEW else {})


def _indexed(children: Sequence[Node]) -> dict[str, dict[str, tuple[int, ...]]]:
    """Return the children by the value of the one label that most of them name; under "" those that name none."""
    named = [{each.label: each.names for each in child.matchers if each.names} for child in children]
    labels = sorted({label for found in named for label in found}, key=lambda label: -sum(label in f for f in named))
    if not labels:
        return {}
    label = labels[0]
    values = {value for found in named for value in found.get(label, ())} | {""}
    return {label: {value: tuple(_reached(named, label, value)) for value in values}}


def _reached(named: Sequence[Mapping[str, tuple[str, ...]]], label: str, value: str) -> Iterator[int]:
    return (number for number, found in enumerate(named) if label not in found or value in found[label])


def _said(own: T | None, above: T) -> T:
    return above if own is None else own
