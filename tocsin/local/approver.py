"""A stand-in for the human approver's endpoint: somebody who says yes, mostly."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tocsin.local.faults import Faults, respond


class ApproverStandIn:
    """Answers ``{"approved": …}``; ``rejects`` is the share it turns down. ``asked`` holds what it was asked."""

    def __init__(self, now: Callable[[], datetime], seed: int = 0, rejects: float = 0.002) -> None:
        self.now = now
        self.faults = Faults()
        self.rejects = rejects
        self.asked: list[dict[str, Any]] = []
        self._chance = random.Random(seed)

    def decide(self, question: dict[str, Any]) -> bool:
        """Return whether the action is approved."""
        self.asked.append(question)
        return self._chance.random() >= self.rejects

    def routes(self) -> list[Route]:
        """Return the endpoint's route."""
        return [Route("/approve", self._post, methods=["POST"])]

    async def _post(self, request: Request) -> Response:
        failed = await respond(self.faults.next(self.now(), "POST"))
        if failed is not None:
            return failed
        question = json.loads(await request.body())
        missing = {"tool", "args", "context"} - question.keys()
        if missing:
            return JSONResponse({"error": f"missing: {', '.join(sorted(missing))}"}, 422)
        return JSONResponse({"approved": self.decide(question)})
