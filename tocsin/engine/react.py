"""An event from outside causes an evaluation of the targets it concerns, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tocsin.core import event as events
from tocsin.engine.tick import Engine, Ticked

_REMEMBERED = 1_000
"""How many events this process remembers; one that another process saw costs an evaluation, and can do no more."""


def react(engine: Engine, given: Mapping[str, Any], now: datetime) -> Ticked | None:
    """Evaluate the targets that an event concerns as a tick would; return None when it causes none.

    ``given`` is an EventGridEvent or a CloudEvent as a mapping. Nothing in it is believed but which resource it names.
    """
    event = events.read(given)
    names = [target.name for target in engine.project.config.targets if events.concerns(event, target)]
    why = events.refusal(event, now) or ("" if names else "it concerns no target") or _repeated(engine, event.id)
    if why:
        engine.log.info("event ignored", type=event.kind[:100], id=event.id[:100], why=why)
        return None
    ticked = engine.tick(now, only=names)
    engine.events[event.id] = None  # only now: one whose evaluation failed is delivered again, and looked at again
    while len(engine.events) > _REMEMBERED:
        del engine.events[next(iter(engine.events))]
    return ticked


def _repeated(engine: Engine, identity: str) -> str:
    return "it was seen before" if identity in engine.events else ""
