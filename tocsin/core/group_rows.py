"""A group as it is stored: a head whose size does not depend on its alerts, and a part for each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from tocsin.core.group import Group, Member, Told

_EVER = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Part:
    """One alert of a group: the member, unless it has left, and what each receiver was last notified of for it."""

    key: str
    member: Member | None = None
    firing: Mapping[str, str] = field(default_factory=dict)
    """Receiver → the episode under which it was notified that the alert fires."""
    resolved: tuple[str, ...] = ()
    """The receivers whose last notification said that the alert is over."""


def divided(group: Group) -> tuple[Group, list[Part]]:
    """Return the head of a group, and its parts."""
    firing: dict[str, dict[str, str]] = {}
    resolved: dict[str, list[str]] = {}
    for receiver, last in group.told.items():
        for key, episode in last.firing.items():
            firing.setdefault(key, {})[receiver] = episode
        for key in last.resolved:
            resolved.setdefault(key, []).append(receiver)
    parts = [
        Part(key, group.members.get(key), firing.get(key, {}), tuple(resolved.get(key, ())))
        for key in dict.fromkeys((*group.members, *firing, *resolved))
    ]
    told = {receiver: Told(at=last.at, why=last.why) for receiver, last in group.told.items()}
    return replace(group, members={}, told=told), parts


def united(head: Group, parts: Iterable[Part]) -> Group:
    """Return the group of a head and its parts, the oldest alert first.

    A head that was stored before there were parts holds everything itself.
    """
    parts = sorted(parts, key=lambda part: (part.member.since if part.member else _EVER, part.key))
    if not parts:
        return head
    firing: dict[str, dict[str, str]] = {receiver: {} for receiver in head.told}
    resolved: dict[str, set[str]] = {receiver: set() for receiver in head.told}
    for part in parts:
        for receiver, episode in part.firing.items():
            firing[receiver][part.key] = episode
        for receiver in part.resolved:
            resolved[receiver].add(part.key)
    told = {
        receiver: replace(last, firing=firing[receiver], resolved=frozenset(resolved[receiver]))
        for receiver, last in head.told.items()
    }
    return replace(head, members={part.key: part.member for part in parts if part.member}, told=told)
