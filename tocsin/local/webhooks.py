"""A stand-in for a receiver of signed webhooks: it verifies each signature with the Standard Webhooks library."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tocsin.local.faults import Faults, respond

SECRET = "whsec_" + base64.b64encode(b"a secret of the local world").decode()


class WebhookStandIn:
    """One endpoint. ``received`` holds what was verified, by its id: the same one twice is there once.

    Signatures are judged by the machine's clock, whatever time a story plays at: the library knows no other. The fault
    ``slow`` accepts and answers too late; ``empty`` answers 2xx and keeps nothing.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.faults = Faults()
        self.received: dict[str, dict[str, Any]] = {}

    def routes(self) -> list[Route]:
        """Return the endpoint's route."""
        return [Route("/hook", self._post, methods=["POST"])]

    async def _post(self, request: Request) -> Response:
        body = await request.body()
        fault = self.faults.next(self.now(), "POST")
        problem = _problem(body, dict(request.headers))
        late = fault is not None and fault.kind == "slow" and not problem
        if late:
            self._take(request, body)
        failed = await respond(fault)
        if failed is not None:
            return failed
        if problem:
            return JSONResponse({"error": problem}, 401)
        if not late:
            self._take(request, body)
        return Response(status_code=204)

    def _take(self, request: Request, body: bytes) -> None:
        self.received[request.headers["webhook-id"]] = json.loads(body)


def _problem(body: bytes, headers: dict[str, str]) -> str:
    try:
        Webhook(SECRET).verify(body, headers)
    except (WebhookVerificationError, ValueError) as error:
        return f"not verified: {error}"
    return ""
