"""Who is told: a tree of routes, walked with an alert's labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tocsin.core.config import Route


@dataclass(frozen=True, slots=True)
class Matched:
    """One receiver, and the place in the tree that named it."""

    receiver: str
    why: str


def receivers(route: Route, labels: Mapping[str, str]) -> tuple[Matched, ...]:
    """Return the receivers for these labels, each once, in the order they were reached.

    Children are tried in order; the first that matches wins unless it says ``continue``. A route whose children do not
    match, or that has none, tells its own receivers.
    """
    found = {each.receiver: each for each in reversed([*_walk(route, labels, "routes")])}
    return tuple(reversed(found.values()))


def matches(route: Route, labels: Mapping[str, str]) -> bool:
    """Return whether every matcher names the label's value among those it accepts."""
    return all(labels.get(key, "") in accepted for key, accepted in route.match.items())


def _walk(route: Route, labels: Mapping[str, str], place: str) -> Iterator[Matched]:
    taken = False
    for number, child in enumerate(route.routes):
        if matches(child, labels):
            taken = True
            yield from _walk(child, labels, f"{place}[{number}]")
            if not child.continue_:
                return
    if not taken:
        why = ", ".join(f"{key}={'|'.join(accepted)}" for key, accepted in route.match.items())
        yield from (Matched(name, f"{place} ({why or 'default'})") for name in route.to)
