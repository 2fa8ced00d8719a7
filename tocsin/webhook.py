"""What is posted to the ``events`` function: alerts by an action group, events by Event Grid, and their handshakes."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tocsin import app as composition
from tocsin.app import App
from tocsin.connections import event_grid
from tocsin.core import body as bodies
from tocsin.core import native as natives
from tocsin.core.failing import INBOUND, Subject
from tocsin.core.text import scrub
from tocsin.engine.react import Concern
from tocsin.ports import StoreUnavailable

_MOST = 100
"""How many events one request may hold."""


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
        given = bodies.parsed(body)
    except bodies.TooLarge as error:
        return _refused(str(error), 413)
    except ValueError as error:
        return _refused(str(error))
    events = given if isinstance(given, list) else [given]
    if not events or len(events) > _MOST or not all(isinstance(each, dict) for each in events):
        return _refused(f"one event, or a list of at most {_MOST}")
    if len(events) == 1 and event_grid.proves_address(events[0]):  # it comes alone: no alert is lost beside it
        return _validated(events[0])
    try:
        return _taken(events, app or composition.current())
    except Exception as error:  # an action group tries 503 again, and no other failure
        logging.getLogger(__name__).exception("what was posted could not be taken")
        return _again(str(error) if isinstance(error, StoreUnavailable) else type(error).__name__)


def _taken(events: list[dict[str, Any]], app: App) -> Answer:
    """Take each event by itself, then look once at all that they concern.

    One that can never be taken is an alert of Tocsin's own, and its sender may forget it. One that the store could not
    keep leaves the others in, and its sender sends all of them again.
    """
    taken, failed, concerns = 0, "", list[Concern]()
    for event in events:
        try:
            found = app.engine.alone(_subject(event), partial(_entered, event, app), app.clock.now())
            concerns += [found] if isinstance(found, Concern) else []
            taken += bool(found)
        except Exception as error:
            failed = failed or _failure(error, app)
    try:
        if concerns:
            app.look(concerns)
    except Exception as error:
        failed = failed or _failure(error, app)
    if failed:
        return _again(failed)
    return Answer(200, json.dumps({"taken": taken, "ignored": len(events) - taken}))


def _subject(event: Mapping[str, Any]) -> Subject:
    return Subject(INBOUND, scrub(str(event.get("id") or event.get("schemaId") or ""), 100))


def _entered(event: dict[str, Any], app: App) -> Concern | bool | None:
    """Enter an alert and return whether it was taken; of any other event, return what it asks to be looked at."""
    now = app.clock.now()
    native = natives.read(event, now) or natives.unread(event, now)
    return app.concern(event) if native is None else app.enter(native)


def _failure(error: Exception, app: App) -> str:
    app.engine.log.error("event failed", error=repr(error)[:200])
    return str(error) if isinstance(error, StoreUnavailable) else type(error).__name__


def _again(why: str) -> Answer:
    return Answer(503, json.dumps({"error": why[:200]}), {"Retry-After": "30"})


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


def _refused(why: str, status: int = 400) -> Answer:
    return Answer(status, json.dumps({"error": why}))
