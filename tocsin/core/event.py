"""What arrives from outside: one event, and whether it is worth a look.

Nothing in an event is believed but which resource it names. It carries no signature, comes at least once and in any
order; so it is taken only from kinds and sources that are awaited, while it is young, and once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tocsin.core.config import Target
from tocsin.core.text import normalize

OLDEST = timedelta(hours=1)
"""How old an event may be: every tick since has looked anyway. One whose clock is ahead is as good as one of now."""

_LONGEST = 1_000
"""Bytes of an id, a kind, or the name of a resource, whose parts Azure keeps below a third of that."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event. ``resources`` are the resource ids it names, in small letters; ``awaited`` that it is of a kind that
    is looked at."""

    id: str
    kind: str
    source: str
    at: datetime | None
    resources: tuple[str, ...]
    awaited: bool = False
    data: Any = None


def event(
    *, identity: Any, kind: Any, source: Any, subject: Any, at: datetime | None, data: Any, awaited: bool
) -> Event:
    """Return an event of what its form says; what is missing or no text is empty."""
    named = [subject, data.get("resourceUri") if isinstance(data, Mapping) else None]
    return Event(
        id=_text(identity),
        kind=_text(kind),
        source=_text(source).lower(),
        at=at.replace(tzinfo=UTC) if at and not at.tzinfo else at,
        resources=tuple(_text(each).lower() for each in named if isinstance(each, str)),
        awaited=awaited,
        data=data,
    )


def refusal(event: Event, now: datetime) -> str:
    """Return why the event is not looked at, or an empty text."""
    if not event.awaited:
        return "this kind is not awaited"
    if not event.id or event.at is None:
        return "it has no id or no time"
    return "it is too old" if now - event.at > OLDEST else ""


def ours(event: Event, targets: Iterable[Target]) -> bool:
    """Return whether the event comes from a subscription in which something is watched."""
    return any(each.subscription and _from(event, each) for each in targets)


def concerns(event: Event, target: Target) -> bool:
    """Return whether the event comes from the target's subscription and names its Container App or a part of it."""
    if not target.container_app:
        return False
    resource = target.app_id.lower()
    return _from(event, target) and any(f"{each}/".startswith(f"{resource}/") for each in event.resources)


def _from(event: Event, target: Target) -> bool:
    return f"{event.source}/".startswith(f"/subscriptions/{target.subscription}/".lower())


def _text(value: Any) -> str:
    return normalize(value, _LONGEST) if isinstance(value, str) else ""
