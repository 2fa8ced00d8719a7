"""What the Alertmanager and Tocsin are both given: routes, groups, inhibitions and a timeline, as plain data.

Times are seconds from the start of the run. They lie on a grid of half seconds, and no case is kept in which something
that matters happens within ``MARGIN`` of something else that matters: a real process may be late by that much.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

Labels = tuple[tuple[str, str], ...]
"""Sorted pairs."""

MARGIN = 0.2
HORIZON = 42.0
"""When the run ends: what would be told later is not looked at."""
LAST_EVENT = 36.0


@dataclass(frozen=True, slots=True)
class Matcher:
    """``op`` is one of ``=``, ``!=``, ``=~``, ``!~`` with a text, or ``in`` with several: one of these."""

    label: str
    op: str
    value: str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """One node; what is None is inherited. An empty ``group_by`` is written as ``[]``; ``("...",)`` is every label."""

    receiver: str | None = None
    matchers: tuple[Matcher, ...] = ()
    continue_: bool = False
    group_by: tuple[str, ...] | None = None
    group_wait: float | None = None
    group_interval: float | None = None
    repeat_interval: float | None = None
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True)
class Inhibit:
    """While an alert that ``source`` matches fires, those that ``target`` matches with equal labels are not told."""

    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """One alert posted at ``at``: ``firing`` since ``age`` seconds, or ``resolved`` just now."""

    at: float
    labels: Labels
    state: str
    age: float = 0.0


@dataclass(frozen=True, slots=True)
class Case:
    """One world. ``only_firing`` names the receivers that are not sent what resolved (``send_resolved: false``)."""

    id: int
    about: str
    route: Route
    timeline: tuple[Event, ...]
    inhibits: tuple[Inhibit, ...] = ()
    only_firing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Notification:
    """One message. Which alerts stand in it decides; ``at_seconds`` is when it arrived."""

    receiver: str
    group_labels: Labels
    at_seconds: float
    firing: frozenset[Labels]
    resolved: frozenset[Labels]


def labels(**pairs: str) -> Labels:
    """Return the pairs as a label set; an empty value is no label."""
    return tuple(sorted((key, value) for key, value in pairs.items() if value))


def nodes(route: Route) -> Iterator[Route]:
    """Yield the route and all below it."""
    yield route
    for child in route.routes:
        yield from nodes(child)


def receivers(case: Case) -> list[str]:
    """Return every receiver the case names."""
    return sorted({node.receiver for node in nodes(case.route) if node.receiver})


# ── The generator ─────────────────────────────────────────────────────────────────────────────────────────────────────

_VALUES = {
    "rule": ("errors", "latency", "tokens", "blind"),
    "target": ("shop", "bank", "shop-eu"),
    "severity": ("P0", "P1", "P2", "P3"),
    "customer": ("", "acme", "zeta"),
}
_REGEXES = (
    "P[01]",
    "P.",
    "P",
    "shop",
    "shop.*",
    ".*",
    ".+",
    "",
    "errors|latency",
    "^errors$",
    "P|1",
    "shop|-eu",
    "a|cme",
    "acme|",
    "(?i:ACME)",
)
_INHIBITED = {"inhibiting": 1.0, "resolving unheard": 1.0, "restarting": 0.5}
_RECEIVERS = ("oncall", "chat", "mail", "audit")
_KINDS = (
    "routes",
    "groups",
    "joining",
    "resolving",
    "refiring",
    "repeating",
    "inhibiting",
    "restarting",
    "at once",
    "resolving unheard",
)


def generate(seed: int, count: int) -> list[Case]:
    """Return so many cases, numbered from 0; the same seed gives the same."""
    chance = random.Random(seed)
    return [_case(chance, number, _KINDS[number % len(_KINDS)]) for number in range(count)]


def _case(chance: random.Random, number: int, kind: str) -> Case:
    from tests.alertmanager.model import predict

    while True:
        route = _root(chance, kind)
        case = Case(
            id=number,
            about=kind,
            route=route,
            timeline=_timeline(chance, kind),
            inhibits=_inhibits(chance, kind) if chance.random() < _INHIBITED.get(kind, 0.1) else (),
        )
        if chance.random() < 0.25:
            named = receivers(case)
            case = replace(case, only_firing=tuple(sorted(chance.sample(named, k=min(2, len(named))))))
        predicted = predict(case)
        # A case in which nobody is told anything is worth little; a few remain where that is the point.
        if predicted.margin >= MARGIN and (predicted.notifications or chance.random() < 0.02):
            return case


def _matcher(chance: random.Random) -> Matcher:
    label = chance.choice(tuple(_VALUES))
    op = chance.choice(("=", "=", "=", "!=", "=~", "=~", "!~", "in", "in"))
    if op == "in":
        return Matcher(label, op, tuple(sorted(chance.sample(_VALUES[label], k=2))))
    if op in ("=~", "!~"):
        return Matcher(label, op, chance.choice(_REGEXES))
    return Matcher(label, op, chance.choice(_VALUES[label]))


def _group_by(chance: random.Random) -> tuple[str, ...]:
    return chance.choice(
        ((), ("rule",), ("rule", "target"), ("customer",), ("severity", "customer"), ("...",), ("target",))
    )


def _root(chance: random.Random, kind: str) -> Route:
    at_once = kind == "at once"
    wait = chance.choice((0.0, 0.5, 1.5)) if at_once else chance.choice((0.5, 0.5, 1.5, 2.5))
    repeats = (1.5, 3.5, 4.5, 6.5, 9.5) if kind == "repeating" else (6.5, 11.5, 1000.0, 1000.0)
    depth = {"routes": 3, "groups": 1, "joining": 1, "repeating": 1}.get(kind, chance.choice((0, 1, 2)))
    return Route(
        receiver=chance.choice(_RECEIVERS),
        group_by=_group_by(chance),
        group_wait=wait,
        group_interval=chance.choice((2.0, 2.0, 3.0, 4.0, 5.0)),
        repeat_interval=chance.choice(repeats),
        routes=_children(chance, depth, at_once),
    )


def _children(chance: random.Random, depth: int, at_once: bool) -> tuple[Route, ...]:
    if not depth:
        return ()
    found: dict[frozenset[Matcher], Route] = {}
    for _ in range(chance.randint(1, 4)):
        matchers = tuple(dict.fromkeys(_matcher(chance) for _ in range(chance.choice((1, 1, 1, 2)))))
        waits = (0.0, 0.5, 1.5) if at_once else (0.5, 1.5, 2.5)
        found[frozenset(matchers)] = Route(
            receiver=chance.choice((None, *_RECEIVERS)),
            matchers=matchers,
            continue_=chance.random() < 0.4,
            group_by=_group_by(chance) if chance.random() < 0.4 else None,
            group_wait=chance.choice(waits) if chance.random() < 0.3 else None,
            group_interval=chance.choice((2.0, 3.0, 4.0)) if chance.random() < 0.3 else None,
            repeat_interval=chance.choice((2.5, 5.5, 8.5)) if chance.random() < 0.2 else None,
            routes=_children(chance, depth - 1, at_once) if chance.random() < 0.6 else (),
        )
    return tuple(found.values())


def _inhibits(chance: random.Random, kind: str) -> tuple[Inhibit, ...]:
    if kind == "resolving unheard":
        return (Inhibit((Matcher("rule", "=", "blind"),), (Matcher("rule", "!=", "blind"),), ("target",)),)
    found = []
    for _ in range(chance.choice((1, 1, 2))):
        source = Matcher("rule", "=", "blind") if chance.random() < 0.6 else _matcher(chance)
        target = Matcher("rule", "!=", "blind") if chance.random() < 0.5 else _matcher(chance)
        equal = chance.choice(((), ("target",), ("target",), ("target", "customer"), ("customer",)))
        found.append(Inhibit((source,), (target,), equal))
    return tuple(found)


def _timeline(chance: random.Random, kind: str) -> tuple[Event, ...]:
    if kind == "resolving unheard":
        return _unheard(chance)
    count = {"routes": chance.randint(4, 7), "repeating": chance.randint(1, 2)}.get(kind, chance.randint(2, 5))
    step = 0.5 if kind == "at once" else 1.0
    alerts = {labels(**{key: chance.choice(values) for key, values in _VALUES.items()}): None for _ in range(count)}
    if kind == "inhibiting":
        target = chance.choice(_VALUES["target"])
        alerts[labels(rule="blind", target=target, severity="P1")] = None
        alerts[labels(rule="errors", target=target, severity="P2")] = None
    if kind in ("joining", "resolving", "refiring", "restarting"):
        # Alerts that stand together under most ways to group.
        alerts = {labels(rule="errors", target="shop", severity=f"P{n}"): None for n in range(min(4, count))}
    if kind == "restarting":
        alerts[labels(rule="blind", target="shop")] = None
    events = [event for each in alerts for event in _story(chance, kind, each, step)]
    return tuple(sorted(events, key=lambda event: event.at))


def _unheard(chance: random.Random) -> tuple[Event, ...]:
    """Alerts that are told, resolve while muted, and fire again, most of them after their group was forgotten."""
    source, blind, seen = labels(rule="blind", target="shop"), chance.randint(3, 6), chance.randint(12, 20)
    events = [Event(blind, source, "firing"), Event(seen, source, "resolved")]
    for number in range(chance.randint(1, 3)):
        alert = labels(rule="errors", target=chance.choice(("shop", "shop", "bank")), severity=f"P{number}")
        events.append(Event(chance.randint(0, 2), alert, "firing"))
        events.append(Event(blind + chance.randint(1, 6), alert, "resolved"))
        events.append(Event(chance.choice((seen + 3, 30, 31, 32, 33)), alert, "firing"))
    return tuple(sorted(events, key=lambda event: event.at))


def _story(chance: random.Random, kind: str, alert: Labels, step: float) -> Iterator[Event]:
    starts, lasts, pauses, turns = {
        "routes": ((0, 4), (4, 20), (1, 8), 1),
        "groups": ((0, 8), (2, 15), (1, 8), 2),
        "joining": ((0, 20), (15, 60), (1, 8), 1),
        "resolving": ((0, 6), (1, 12), (3, 20), 2),
        "refiring": ((0, 5), (1, 5), (1, 4), 5),
        "repeating": ((0, 3), (20, 60), (2, 5), 2),
        "inhibiting": ((0, 8), (2, 14), (2, 10), 3),
        "restarting": ((0, 4), (1, 12), (14, 28), 3),
        "at once": ((0, 10), (2, 12), (2, 12), 2),
    }[kind]
    at = chance.randint(*starts) * 1.0
    if step < 1 and chance.random() < 0.5:
        at += step
    if chance.random() < 0.04:
        yield Event(at, alert, "resolved")
        at += chance.randint(1, 3)
    for _ in range(chance.randint(1, turns)):
        if at > LAST_EVENT:
            return
        age = chance.choice((0.0, 1.0, 10.0)) if kind == "at once" else 0.0
        yield Event(at, alert, "firing", age)
        ends = at + chance.randint(*lasts)
        if step < 1 and chance.random() < 0.5:
            ends += step
        if chance.random() < 0.2 and at + 2 < min(ends, LAST_EVENT):
            yield Event(at + chance.randint(1, 2), alert, "firing")
        if ends > LAST_EVENT:
            return
        yield Event(ends, alert, "resolved")
        if chance.random() < 0.1 and ends + 1 <= LAST_EVENT:
            ends += 1
            yield Event(ends, alert, "resolved")
        at = ends + chance.randint(*pauses)


# ── As lines of JSON ──────────────────────────────────────────────────────────────────────────────────────────────────


def to_json(case: Case) -> dict[str, Any]:
    """Return the case as JSON has it: tuples are lists there."""
    return asdict(case)


def from_json(given: dict[str, Any]) -> Case:
    """Return the case that ``to_json`` wrote."""
    return Case(
        id=given["id"],
        about=given["about"],
        route=_route(given["route"]),
        timeline=tuple(Event(**{**each, "labels": _labels(each["labels"])}) for each in given["timeline"]),
        inhibits=tuple(
            Inhibit(_matchers(each["source"]), _matchers(each["target"]), tuple(each["equal"]))
            for each in given["inhibits"]
        ),
        only_firing=tuple(given["only_firing"]),
    )


def _labels(given: list[list[str]]) -> Labels:
    return tuple((key, value) for key, value in given)


def _matchers(given: list[dict[str, Any]]) -> tuple[Matcher, ...]:
    return tuple(
        Matcher(each["label"], each["op"], tuple(each["value"]) if each["op"] == "in" else each["value"])
        for each in given
    )


def _route(given: dict[str, Any]) -> Route:
    grouped = given["group_by"]
    return Route(
        **{
            **given,
            "matchers": _matchers(given["matchers"]),
            "group_by": None if grouped is None else tuple(grouped),
            "routes": tuple(_route(each) for each in given["routes"]),
        }
    )


def told_to_json(told: Notification) -> dict[str, Any]:
    """Return the message as JSON has it."""
    return {
        "receiver": told.receiver,
        "group_labels": dict(told.group_labels),
        "at_seconds": told.at_seconds,
        "firing": sorted((dict(each) for each in told.firing), key=repr),
        "resolved": sorted((dict(each) for each in told.resolved), key=repr),
    }


def told_from_json(given: dict[str, Any]) -> Notification:
    """Return the message that ``told_to_json`` wrote."""
    return Notification(
        receiver=given["receiver"],
        group_labels=labels(**given["group_labels"]),
        at_seconds=given["at_seconds"],
        firing=frozenset(labels(**each) for each in given["firing"]),
        resolved=frozenset(labels(**each) for each in given["resolved"]),
    )
