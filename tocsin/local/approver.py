"""A stand-in for the human approver's endpoint: somebody who says yes, mostly. And how the accelerator asks one."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tocsin.connections.http import Http, Unreached
from tocsin.local.faults import Faults, respond

Question = Mapping[str, Any]
"""What an approver is asked: ``tool``, ``args`` and ``context``."""

Approve = Callable[[str, Question], bool]
"""Asks the approver at an address and returns its decision. Raises ``Unanswered`` when there is none."""

_ASKED = frozenset({"tool", "args", "context"})


class Unanswered(Exception):
    """There was no decision, so the action is not taken."""


class ApproverStandIn:
    """Answers ``{"approved": …}``. ``asked`` holds what it was asked.

    ``rejects`` is the share it turns down; ``objects``, when given, is a rule that turns down what it is true of.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        seed: int = 0,
        rejects: float = 0.002,
        objects: Callable[[Question], bool] | None = None,
    ) -> None:
        self.now = now
        self.faults = Faults()
        self.rejects = rejects
        self.objects = objects
        self.asked: list[Question] = []
        self._chance = random.Random(seed)

    def decide(self, question: Question) -> bool:
        """Return whether the action is approved."""
        self.asked.append(question)
        refused = self._chance.random() < self.rejects
        return not (refused or (self.objects is not None and self.objects(question)))

    def routes(self) -> list[Route]:
        """Return the endpoint's route."""
        return [Route("/approve", self._post, methods=["POST"]), Route("/approve", self._get)]

    async def _get(self, _request: Request) -> Response:
        failed = await respond(self.faults.next(self.now(), "GET"))
        return failed if failed is not None else Response(status_code=405)

    async def _post(self, request: Request) -> Response:
        failed = await respond(self.faults.next(self.now(), "POST"))
        if failed is not None:
            return failed
        question = _object(await request.body())
        if question is None or (missing := _ASKED - question.keys()):
            words = "not a JSON object" if question is None else f"missing: {', '.join(sorted(missing))}"
            return JSONResponse({"error": words}, 422)
        return JSONResponse({"approved": self.decide(question)})


class RemoteApprover:
    """Asks over HTTP as the accelerator does. ``timeout`` is in seconds of this machine, not of the story."""

    def __init__(self, timeout: float = 60.0) -> None:
        self._http = Http(timeout)

    def __call__(self, endpoint: str, question: Question) -> bool:
        """Return the decision. Raises ``Unanswered`` for anything that is none; its words never hold the address."""
        try:
            reply = self._http.post(endpoint, json=dict(question))
        except ValueError as error:
            raise Unanswered(f"the approver was not asked: {error}") from error
        if isinstance(reply, Unreached):
            raise Unanswered(f"the approver was not reached: {reply.reason}")
        said = _object(reply.text.encode()) if 200 <= reply.status < 300 else None
        if said is None:
            raise Unanswered(f"the approver gave no decision: HTTP {reply.status}")
        return said.get("approved") is True


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
