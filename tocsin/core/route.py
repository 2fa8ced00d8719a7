"""Who is told: a tree of routes, walked with an alert's labels. What a route does not say it has from the one above."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import chain
from typing import TypeVar

from tocsin.core.audience import Route
from tocsin.core.matching import Index, Labels, Matcher, accepted, candidates, indexed, spelled

T = TypeVar("T")

Pairs = tuple[tuple[str, str], ...]
"""Labels in the order of their names: those of a group."""

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
    index: Index = field(default_factory=dict)
    """Which children may match, by a label's value: a tree of hundreds is not walked through."""
    looks_at: tuple[str, ...] = ()
    """The labels that routes and groups here and below depend on."""

    def group(self, labels: Labels) -> Pairs:
        """Return the labels of the group an alert belongs to: those of ``group_by`` that it has."""
        pairs = labels.items() if self.group_by == ALL else ((key, labels.get(key, "")) for key in self.group_by)
        return tuple(sorted((key, value) for key, value in pairs if value))

    def way(self, labels: Labels) -> tuple[object, ...]:
        """Return what alerts have in common that end in the same groups."""
        if ALL[0] in self.looks_at:
            return tuple(sorted(labels.items()))
        return tuple([labels.get(label, "") for label in self.looks_at])


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


def longest_wait(route: Route) -> timedelta:
    """Return how long a group of this route or of one below it ever waits."""
    own = max(route.group_wait or GROUP_WAIT, route.group_interval or GROUP_INTERVAL)
    return max([own, *map(longest_wait, route.routes)])


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
    if not node.index:
        return iter(node.children)
    return (node.children[number] for number in candidates(node.index, labels))


_FEW = 8
"""Children that are faster walked through than looked up."""


def _with(node: Node, children: tuple[Node, ...]) -> Node:
    below = chain.from_iterable(each.looks_at for each in children)
    looks_at = {*node.group_by, *(each.label for each in node.matchers), *below}
    index = indexed([each.matchers for each in children]) if len(children) > _FEW else {}
    return replace(node, children=children, index=index, looks_at=tuple(sorted(looks_at)))


def _said(own: T | None, above: T) -> T:
    return above if own is None else own
