"""A stand-in for a Teams Workflows webhook: takes what Teams takes, and refuses what it would not post."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tocsin.local.faults import Faults, respond

LIMIT = 28_672
_ACTIONS = {"Action.OpenUrl", "Action.ShowCard", "Action.ToggleVisibility"}


class TeamsStandIn:
    """One channel. ``cards`` holds what was posted, with its time."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.faults = Faults()
        self.cards: list[tuple[datetime, dict[str, Any]]] = []

    def routes(self) -> list[Route]:
        """Return the webhook's route."""
        return [Route("/workflows/{id}", self._post, methods=["POST"])]

    async def _post(self, request: Request) -> Response:
        body = await request.body()
        fault = self.faults.next(self.now(), "POST")
        problem = refusal(body)
        if fault and fault.kind == "slow" and not problem:
            # Accepted, but the answer comes too late: the sender cannot know.
            self.cards.append((self.now(), json.loads(body)))
        failed = await respond(fault)
        if failed is not None or (fault and fault.kind == "slow"):
            return failed or Response(status_code=202)
        if problem:
            return JSONResponse({"error": {"message": problem}}, 400)
        self.cards.append((self.now(), json.loads(body)))
        return Response(status_code=202)


def refusal(body: bytes) -> str:
    """Return why Teams would not post this, or an empty text."""
    if len(body) > LIMIT:
        return f"the message has {len(body)} bytes, {LIMIT} are taken"
    try:
        message = json.loads(body)
        (attachment,) = message["attachments"]
        card = attachment["content"]
        if message["type"] != "message" or attachment["contentType"] != "application/vnd.microsoft.card.adaptive":
            return "not a message with one Adaptive Card"
        if card["type"] != "AdaptiveCard" or card["version"] > "1.5" or not card["body"]:
            return "not a card that Teams draws"
        wrong = {action["type"] for action in card.get("actions", ())} - _ACTIONS
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        return f"not a message: {type(error).__name__}"
    return f"no such button: {', '.join(sorted(wrong))}" if wrong else ""
