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
    """Return the receivers for these labels, each once, in the order they were first reached.

    Children are tried in order; the first that matches wins unless it says ``continue``. A route none of whose children
    match, or that has none, tells its own receivers; one that names none tells those of the route above it.
    """
    found: dict[str, Matched] = {}
    for each in _walk(route, labels, "routes", ()):
        found.setdefault(each.receiver, each)
    return tuple(found.values())


def matches(route: Route, labels: Mapping[str, str]) -> bool:
    """Return whether every matcher names the label's value among those it accepts."""
    return all(labels.get(key, "") in accepted for key, accepted in route.match.items())


def _walk(route: Route, labels: Mapping[str, str], place: str, above: tuple[str, ...]) -> Iterator[Matched]:
    told, taken = route.to or above, False
    for number, child in enumerate(route.routes):
        if matches(child, labels):
            taken = True
            yield from _walk(child, labels, f"{place}[{number}]", told)
            if not child.continue_:
                return
    if not taken:
        why = ", ".join(f"{key}={'|'.join(accepted)}" for key, accepted in route.match.items())
        yield from (Matched(name, f"{place} ({why or 'default'})") for name in told)
