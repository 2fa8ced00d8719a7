"""A stand-in for PagerDuty's Events API v2, with its rules of deduplication."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tocsin.local.faults import Faults, respond

_ACTIONS = ("trigger", "acknowledge", "resolve")
_SEVERITIES = ("critical", "error", "warning", "info")
_LARGEST = 512 * 1024


@dataclass(slots=True)
class Incident:
    """What one deduplication key of one service stands for: its events in order, and whether it is open."""

    key: str
    opened: datetime
    events: list[dict[str, Any]] = field(default_factory=list)
    resolved: datetime | None = None
    service: str = ""


class PagerDutyStandIn:
    """One account, in which every well-formed routing key is a service.

    ``incidents`` in the order they were opened; ``received`` every event and ``changes`` every change event that was
    accepted. The fault ``slow`` accepts and answers too late; ``empty`` answers 2xx and keeps nothing.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.faults = Faults()
        self.incidents: list[Incident] = []
        self.received: list[dict[str, Any]] = []
        self.changes: list[dict[str, Any]] = []

    def open(self) -> list[Incident]:
        """Return the incidents that are not resolved."""
        return [incident for incident in self.incidents if incident.resolved is None]

    def routes(self) -> list[Route]:
        """Return the routes of the API."""
        return [
            Route("/v2/enqueue", self._enqueue, methods=["POST"]),
            Route("/v2/change/enqueue", self._enqueue_change, methods=["POST"]),
        ]

    async def _enqueue(self, request: Request) -> Response:
        return await self._answer(request, refusals, self._take)

    async def _enqueue_change(self, request: Request) -> Response:
        return await self._answer(request, change_refusals, self.changes.append)

    async def _answer(
        self,
        request: Request,
        judge: Callable[[bytes], list[str]],
        take: Callable[[dict[str, Any]], None],
    ) -> Response:
        body = await request.body()
        fault, errors = self.faults.next(self.now(), f"POST {request.url.path}"), judge(body)
        late = fault is not None and fault.kind == "slow" and not errors
        if late:
            take(_keyed(body))
        failed = await respond(fault)
        if failed is not None:
            return failed
        if errors:
            said = {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
            return JSONResponse(said, 400)
        event = _keyed(body)
        if not late:
            take(event)
        said = {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]}
        return JSONResponse(said, 202)

    def _take(self, event: dict[str, Any]) -> None:
        self.received.append(event)
        place = (event["routing_key"], event["dedup_key"])
        open_now = next((each for each in self.open() if (each.service, each.key) == place), None)
        if open_now is None:
            if event["event_action"] == "trigger":
                self.incidents.append(Incident(place[1], self.now(), [event], service=place[0]))
            return  # anything else for no open incident is dropped silently, as PagerDuty drops it
        open_now.events.append(event)
        if event["event_action"] == "resolve":
            open_now.resolved = self.now()


def _keyed(body: bytes) -> dict[str, Any]:
    """Return the event; one without a deduplication key gets its own, as PagerDuty gives it one."""
    event: dict[str, Any] = json.loads(body)
    return {**event, "dedup_key": event.get("dedup_key") or hashlib.sha256(body).hexdigest()[:32]}


def refusals(body: bytes) -> list[str]:
    """Return everything wrong with an event."""
    event, errors = _read(body)
    if event is None:
        return errors
    action, key = event.get("event_action"), event.get("dedup_key")
    if action not in _ACTIONS:
        errors.append(f"'event_action' is not one of {', '.join(_ACTIONS)}")
    if key is None and action != "trigger":
        errors.append("'dedup_key' is missing")
    if key is not None and not (isinstance(key, str) and 0 < len(key) <= 255):
        errors.append("'dedup_key' is not a text of 1 to 255 characters")
    if action == "trigger":
        errors += _payload_refusals(event.get("payload"), ("summary", "source", "severity"))
    return errors


def change_refusals(body: bytes) -> list[str]:
    """Return everything wrong with a change event."""
    event, errors = _read(body)
    return errors if event is None else errors + _payload_refusals(event.get("payload"), ("summary",))


def _read(body: bytes) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the event, None when there is none, and what is wrong with it whatever it is about."""
    if len(body) > _LARGEST:
        return None, [f"the event has {len(body)} bytes, {_LARGEST} are taken"]
    try:
        event = json.loads(body)
    except ValueError:
        return None, ["not JSON"]
    if not isinstance(event, dict):
        return None, ["not an object"]
    key = event.get("routing_key")
    errors = [] if isinstance(key, str) and len(key) == 32 else ["'routing_key' has not 32 characters"]
    for link in event.get("links") or ():
        if not (isinstance(link, dict) and isinstance(link.get("href"), str)):
            errors.append("a link has no 'href'")
    return event, errors


def _payload_refusals(payload: Any, needed: tuple[str, ...]) -> list[str]:
    if not isinstance(payload, Mapping):
        return ["'payload' is missing"]
    errors = [f"'payload.{name}' is missing" for name in needed if not isinstance(payload.get(name), str)]
    errors += [f"'payload.{name}' is blank" for name in needed if payload.get(name) == ""]
    if "severity" in needed and payload.get("severity") not in _SEVERITIES:
        errors.append(f"'payload.severity' is not one of {', '.join(_SEVERITIES)}")
    if len(str(payload.get("summary", ""))) > 1024:
        errors.append("'payload.summary' is longer than 1024 characters")
    if "timestamp" in payload and not _is_time(payload["timestamp"]):
        errors.append("'payload.timestamp' is not an ISO 8601 time")
    return errors


def _is_time(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False
