"""A stand-in for PagerDuty's Events API v2, with its rules of deduplication."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tocsin.local.faults import Faults, respond

_SEVERITIES = {"critical", "error", "warning", "info"}


@dataclass(slots=True)
class Incident:
    """What one deduplication key stands for: its events in order, and whether it is open."""

    key: str
    opened: datetime
    events: list[dict[str, Any]] = field(default_factory=list)
    resolved: datetime | None = None


class PagerDutyStandIn:
    """One account. ``incidents`` in the order they were opened; ``received`` every event that was accepted."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.faults = Faults()
        self.incidents: list[Incident] = []
        self.received: list[dict[str, Any]] = []

    def open(self) -> list[Incident]:
        """Return the incidents that are not resolved."""
        return [incident for incident in self.incidents if incident.resolved is None]

    def routes(self) -> list[Route]:
        """Return the routes of the API."""
        return [Route("/v2/enqueue", self._enqueue, methods=["POST"])]

    async def _enqueue(self, request: Request) -> Response:
        body = await request.body()
        fault = self.faults.next(self.now(), "POST")
        errors = refusals(body)
        late = fault is not None and fault.kind == "slow" and not errors
        if late:
            self._take(json.loads(body))
        failed = await respond(fault)
        if failed is not None:
            return failed
        if errors:
            said = {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
            return JSONResponse(said, 400)
        event = json.loads(body)
        if not late:
            self._take(event)
        said = {"status": "success", "message": "Event processed", "dedup_key": str(event.get("dedup_key"))}
        return JSONResponse(said, 202)

    def _take(self, event: dict[str, Any]) -> None:
        self.received.append(event)
        open_now = next((each for each in self.open() if each.key == event["dedup_key"]), None)
        if event["event_action"] == "trigger":
            if open_now is None:
                open_now = Incident(event["dedup_key"], self.now())
                self.incidents.append(open_now)
            open_now.events.append(event)
        elif open_now is not None and event["event_action"] == "resolve":
            open_now.events.append(event)
            open_now.resolved = self.now()
        # A resolve for no open incident is dropped silently, as PagerDuty drops it.


def refusals(body: bytes) -> list[str]:
    """Return everything wrong with an event."""
    if len(body) > 512 * 1024:
        return ["the event is larger than 512 KB"]
    try:
        event = json.loads(body)
    except json.JSONDecodeError:
        return ["not JSON"]
    errors = [] if len(str(event.get("routing_key", ""))) == 32 else ["'routing_key' has not 32 characters"]
    if event.get("event_action") not in ("trigger", "acknowledge", "resolve"):
        errors.append("'event_action' is invalid")
    if not 0 < len(str(event.get("dedup_key", ""))) <= 255:
        errors.append("'dedup_key' is missing or too long")
    return errors + (_payload(event.get("payload") or {}) if event.get("event_action") == "trigger" else [])


def _payload(payload: Mapping[str, Any]) -> list[str]:
    errors = [f"'payload.{name}' is missing" for name in ("summary", "source", "severity") if not payload.get(name)]
    if payload.get("severity") not in _SEVERITIES:
        errors.append("'payload.severity' is invalid")
    if len(str(payload.get("summary", ""))) > 1024:
        errors.append("'payload.summary' is too long")
    return errors
