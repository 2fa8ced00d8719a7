"""A stand-in for a Teams Workflows webhook: takes what Teams takes, and refuses what it would not post."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tocsin.local.faults import Faults, respond

LIMIT = 28_672
"""Bytes of a message, after Teams has written it anew."""

_CARD = "application/vnd.microsoft.card.adaptive"
_ACTIONS = {"Action.OpenUrl", "Action.ShowCard", "Action.ToggleVisibility"}
_VERSIONS = {"1.0", "1.1", "1.2", "1.3", "1.4", "1.5"}


class TeamsStandIn:
    """One channel. ``cards`` holds what was posted, with its time.

    The fault ``slow`` posts and answers too late; ``empty`` answers 2xx and posts nothing, as Teams may.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.faults = Faults()
        self.cards: list[tuple[datetime, dict[str, Any]]] = []

    def routes(self) -> list[Route]:
        """Return the webhook's route."""
        return [Route("/workflows/{id}", self._post, methods=["POST"])]

    async def _post(self, request: Request) -> Response:
        body = await request.body()
        fault, problem = self.faults.next(self.now(), "POST"), refusal(body)
        late = fault is not None and fault.kind == "slow" and not problem
        if late:
            self.cards.append((self.now(), json.loads(body)))
        failed = await respond(fault)
        if failed is not None:
            return failed
        if problem:
            return JSONResponse({"error": {"message": problem}}, 400)
        if not late:
            self.cards.append((self.now(), json.loads(body)))
        return Response(status_code=202)


def refusal(body: bytes) -> str:
    """Return why Teams would not post this, or an empty text."""
    try:
        message = json.loads(body)
        size = len(json.dumps(message).encode())
        if max(size, len(body)) > LIMIT:
            return f"the message has {max(size, len(body))} bytes, {LIMIT} are taken"
        if message["type"] != "message" or not message["attachments"]:
            return "not a message with attachments"
        return next(filter(None, map(_attachment, message["attachments"])), "")
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return f"not a message: {type(error).__name__}"


def _attachment(attachment: dict[str, Any]) -> str:
    card = attachment["content"]
    if attachment["contentType"] != _CARD or attachment.get("contentUrl") is not None:
        return "an attachment is not an Adaptive Card"
    if card["type"] != "AdaptiveCard" or card["version"] not in _VERSIONS or not card["body"]:
        return "not a card that Teams draws"
    wrong = {action["type"] for action in _actions(card)} - _ACTIONS
    if wrong:
        return f"no such button: {', '.join(sorted(wrong))}"
    opened = [action["url"] for action in _actions(card) if action["type"] == "Action.OpenUrl"]
    return "" if all(url.startswith(("https://", "http://")) for url in opened) else "a button opens no web address"


def _actions(part: Any) -> Iterator[dict[str, Any]]:
    """Yield every action anywhere in a card: at its foot, on an element, inside another card."""
    if isinstance(part, dict):
        if str(part.get("type", "")).startswith("Action."):
            yield part
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from _actions(each)
