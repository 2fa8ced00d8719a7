"""From what happened to who is told: news enters the groups of its routes, and groups that are due are flushed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tocsin.core import group as groups
from tocsin.core.group import Decision, Group, Member
from tocsin.core.matching import Labels, Matcher, accepted
from tocsin.core.message import Notice, always_told, labels_of
from tocsin.core.mute import Muting
from tocsin.core.route import Node, Pairs, ends


@dataclass(frozen=True, slots=True)
class News:
    """Something that happened to an alert. ``key`` is the alert's, whatever its episode; ``labels`` all it has."""

    key: str
    labels: Labels
    notice: Notice
    firing: bool
    since: datetime


@dataclass(frozen=True, slots=True)
class Audience:
    """The tree of routes, and who does not hear of an end."""

    tree: Node
    only_firing: Collection[str] = ()
    whole: bool = True
    """Whether every episode is told to its end: of what was told even while it is muted, and of what came and went."""


@dataclass(frozen=True, slots=True)
class Entered:
    """What became of news: the groups as they are with it, by id, and for each piece of it the ids of its groups."""

    groups: dict[str, Group]
    names: list[tuple[str, ...]]


def enter(known: Mapping[str, Group], audience: Audience, news: Iterable[News], now: datetime) -> Entered:
    """Return the groups that the news is now in. All of it enters at once, so that a group is copied only once."""
    bound: dict[str, _Bound] = {}
    ways: dict[tuple[object, ...], tuple[_Bound, ...]] = {}
    names = []
    for each in news:
        way = audience.tree.way(each.labels)
        if way not in ways:
            found = (_bound(node, each.labels) for node in ends(audience.tree, each.labels))
            ways[way] = tuple(bound.setdefault(one.name, one) for one in found)
        entering = each.key, Member(each.notice, each.firing, each.since)
        for one in ways[way]:
            one.entering.append(entering)
        names.append(tuple([one.name for one in ways[way]]))
    every = bound.values()
    return Entered({b.name: groups.insert(known.get(b.name), b.node, b.labels, b.entering, now) for b in every}, names)


@dataclass(frozen=True, slots=True)
class _Bound:
    """What is on its way into one group."""

    name: str
    node: Node
    labels: Pairs
    entering: list[tuple[str, Member]]


def _bound(node: Node, labels: Labels) -> _Bound:
    pairs = node.group(labels)
    return _Bound(groups.identity(node, pairs), node, pairs, [])


def flush(
    group: Group,
    node: Node,
    audience: Audience,
    muting: Muting,
    labels: Mapping[str, Labels],
    now: datetime,
    acknowledged: Collection[str] = (),
) -> tuple[Group, tuple[Decision, ...]]:
    """Return the group after a flush and a decision for each receiver. ``labels`` are its members', by key."""
    mutable = [key for key, member in group.members.items() if not always_told(member.notice)]
    held = {key: why for key in mutable if (why := muting.reason(labels[key], now))}
    return groups.flush(group, node, now, held, acknowledged, audience.only_firing, audience.whole)


def name_of(node: Node, labels: Labels) -> str:
    """Return the id of the group in which an alert with these labels is on a route."""
    return groups.identity(node, node.group(labels))


def key_of(notice: Notice) -> str:
    """Return what names the alert of a notice, whatever its episode."""
    return notice.episode.rpartition("/")[0]


def news_of(notice: Notice) -> News:
    """Return what a notice says happened to its alert."""
    firing = not notice.kind.ends
    return News(key_of(notice), labels_of(notice), notice, firing, notice.since or notice.at)


def accepts(matchers: Sequence[Matcher], notice: Notice) -> bool:
    """Return whether a notice is among those that are meant."""
    return accepted(matchers, labels_of(notice))


def routes(node: Node) -> Iterator[Node]:
    """Yield a route and all below it."""
    yield node
    for child in node.children:
        yield from routes(child)


def places(tree: Node) -> dict[str, Node]:
    """Return every route by its place."""
    return {node.place: node for node in routes(tree)}


def due(known: Iterable[Group], now: datetime, longest: timedelta = groups.LONGEST) -> list[Group]:
    """Return the groups that are to be flushed, the longest due first; ``longest`` is how long one ever waits."""
    return sorted((each for each in known if groups.due(each, now, longest)), key=lambda each: (each.next, each.id))
