"""An event from outside causes an evaluation of the targets it concerns, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tocsin.core.config import Target
from tocsin.engine.tick import Engine, Ticked


def react(engine: Engine, event: Mapping[str, Any], now: datetime) -> Ticked | None:
    """Evaluate the targets that ``event`` concerns as a tick would; return None when it concerns none.

    ``event`` is an EventGridEvent or a CloudEvent as a mapping. Nothing in it is believed but which resource it names:
    a forged or replayed one costs an evaluation and can do no more.
    """
    names = [target.name for target in engine.project.config.targets if concerns(event, target)]
    if not names:
        engine.log.info("event ignored", type=str(event.get("eventType") or event.get("type") or "")[:100])
        return None
    return engine.tick(now, only=names)


def concerns(event: Mapping[str, Any], target: Target) -> bool:
    """Return whether the event names the target's Container App (or one of its revisions), in any case of letters."""
    if not target.container_app:
        return False
    resource = (
        f"/subscriptions/{target.subscription}/resourcegroups/{target.resource_group}"
        f"/providers/microsoft.app/containerapps/{target.container_app}"
    ).lower()
    data = event.get("data")
    named = [event.get("subject"), data.get("resourceUri") if isinstance(data, Mapping) else None]
    return any(isinstance(each, str) and f"{each.lower()}/".startswith(f"{resource}/") for each in named)
