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
    """One endpoint. ``received`` holds what was verified, by its id: the same one twice is there once."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.faults = Faults()
        self.received: dict[str, dict[str, Any]] = {}

    def routes(self) -> list[Route]:
        """Return the endpoint's route."""
        return [Route("/hook", self._post, methods=["POST"])]

    async def _post(self, request: Request) -> Response:
        body = (await request.body()).decode()
        failed = await respond(self.faults.next(self.now(), "POST"))
        if failed is not None:
            return failed
        try:
            Webhook(SECRET).verify(body, dict(request.headers))
        except WebhookVerificationError as error:
            return JSONResponse({"error": str(error)}, 401)
        self.received[request.headers["webhook-id"]] = json.loads(body)
        return Response(status_code=204)
