"""What comes from outside causes an evaluation; only an alert of Azure Monitor's own says something besides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tocsin.core import event as events
from tocsin.core import native as natives
from tocsin.core.config import Target
from tocsin.core.event import Event
from tocsin.core.native import Native
from tocsin.engine.tick import Engine, Ticked

_REMEMBERED = 1_000
"""How many events this process remembers; one that another process saw costs an evaluation, and can do no more."""


@dataclass(frozen=True, slots=True)
class Concern:
    """What one event asks to be looked at: targets by their names. ``event`` is its id, or empty for an alert."""

    targets: tuple[str, ...]
    event: str = ""


def react(engine: Engine, event: Event, now: datetime) -> Ticked | None:
    """Evaluate the targets that an event concerns as a tick would; return None when it causes none."""
    found = concern(engine, event, now)
    return look(engine, [found], now) if found else None


def concern(engine: Engine, event: Event, now: datetime) -> Concern | None:
    """Return what an event asks to be looked at; None, which is logged, when it causes no look.

    Nothing in an event is believed but which resource it names, except of an alert of Azure Monitor, which comes from a
    watched subscription and is entered here.
    """
    native = natives.read(event.data, now)
    if native is not None and events.ours(event, engine.project.config.targets):
        names = enter(engine, native, now)
        return Concern(tuple(names)) if names else None
    names = [target.name for target in engine.project.config.targets if events.concerns(event, target)]
    why = events.refusal(event, now) or ("" if names else "it concerns no target") or _repeated(engine, event.id)
    if why:
        engine.log.info("event ignored", type=event.kind[:100], id=event.id[:100], why=why)
        return None
    return Concern(tuple(names), event.id)


def look(engine: Engine, concerns: Sequence[Concern], now: datetime) -> Ticked:
    """Evaluate the targets of all these events in one tick, however many events name them."""
    ticked = engine.tick(now, only=sorted({name for each in concerns for name in each.targets}))
    if not ticked.failed:  # one whose evaluation failed is looked at again when it comes again
        engine.events.update((each.event, None) for each in concerns if each.event)
    while len(engine.events) > _REMEMBERED:
        del engine.events[next(iter(engine.events))]
    return ticked


def take(engine: Engine, native: Native, now: datetime) -> Ticked | None:
    """Enter an alert of Azure Monitor's own and tell and act as a tick would; None when it is not looked at."""
    concerned = enter(engine, native, now)
    return engine.tick(now, only=concerned) if concerned else None


def enter(engine: Engine, native: Native, now: datetime) -> list[str]:
    """Enter an alert of Azure Monitor's own into the state of what it concerns; return the names of those targets.

    The same message twice, or a firing after its resolution, changes nothing: the alert has seen that instant. An end
    is entered wherever its beginning stands, though by now the alert would be entered elsewhere.
    """
    why = natives.refusal(native, now)
    if why:
        engine.log.info("alert ignored", alert=native.name, why=why)
        return []
    concerned = natives.concerned(native, engine.project.config.targets)
    for target in concerned:
        engine.enter(native, target, now)
    for alert in engine.store.open_alerts() if native.over else ():
        elsewhere = natives.begun_by(alert, native)
        if elsewhere and alert.target not in [each.name for each in concerned if elsewhere.rule is native.rule]:
            engine.enter(elsewhere, _target(engine, alert.target), now)
    return [target.name for target in concerned]


def _target(engine: Engine, name: str) -> Target:
    return next((each for each in engine.project.config.targets if each.name == name), natives.UNWATCHED)


def _repeated(engine: Engine, identity: str) -> str:
    return "it was seen before" if identity in engine.events else ""
