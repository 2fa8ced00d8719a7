"""What is posted to the ``events`` function: alerts by an action group, events by Event Grid, and their handshakes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tocsin import app as composition
from tocsin.app import App
from tocsin.core import native as natives
from tocsin.ports import StoreUnavailable

_MOST = 100
"""How many events one request may hold."""

_VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: str = "application/json"


def answer(method: str, headers: Mapping[str, str], body: bytes, app: App | None = None) -> Answer:
    """Return the answer to one request. What was not understood is 400, so that its sender keeps or shows it.

    An alert is entered and no more, for its sender waits for seconds only: the next tick tells of it. What could not be
    kept is 503, upon which the sender tries again.
    """
    named = {name.lower(): value for name, value in headers.items()}
    if method == "OPTIONS":
        return _allowed(named)
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        return _refused("not JSON")
    events = given if isinstance(given, list) else [given]
    if not events or len(events) > _MOST or not all(isinstance(each, dict) for each in events):
        return _refused(f"one event, or a list of at most {_MOST}")
    if events[0].get("eventType") == _VALIDATION:
        return _validated(events[0])
    return _taken(events, app or composition.current())


def _taken(events: list[dict[str, Any]], app: App) -> Answer:
    try:
        alerts = [natives.read(each) or natives.unread(each, app.clock.now()) for each in events]
        looked = [app.enter(native) for native in alerts if native is not None]
        looked += [app.react(event) is not None for event, native in zip(events, alerts, strict=True) if native is None]
    except StoreUnavailable as error:
        return Answer(503, json.dumps({"error": str(error)[:200]}), {"Retry-After": "30"})
    return Answer(200, json.dumps({"taken": sum(looked), "ignored": len(looked) - sum(looked)}))


def _allowed(headers: Mapping[str, str]) -> Answer:
    """Answer the handshake of CloudEvents 1.0: whoever knows this function's key may send."""
    origin = headers.get("webhook-request-origin", "")
    if not origin:
        return _refused("no WebHook-Request-Origin")
    return Answer(200, headers={"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "120"})


def _validated(event: Mapping[str, Any]) -> Answer:
    """Answer Event Grid's own handshake."""
    data = event.get("data")
    code = data.get("validationCode") if isinstance(data, dict) else None
    return Answer(200, json.dumps({"validationResponse": code})) if isinstance(code, str) else _refused("no code")


def _refused(why: str) -> Answer:
    return Answer(400, json.dumps({"error": why}))
