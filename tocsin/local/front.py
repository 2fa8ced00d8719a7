"""The accelerator's front door on loopback: its health page, as long as a revision serves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tocsin.local.faults import Faults, respond


class FrontDoor:
    """Answers ``/healthz`` as the accelerator does; 503 while ``serves`` says that nothing runs."""

    def __init__(self, now: Callable[[], datetime], serves: Callable[[], bool]) -> None:
        self.now = now
        self.serves = serves
        self.faults = Faults()

    def routes(self) -> list[Route]:
        """Return the route to mount."""
        return [Route("/healthz", self._health)]

    async def _health(self, _request: Request) -> Response:
        failed = await respond(self.faults.next(self.now()))
        if failed is not None:
            return failed
        if not self.serves():
            return JSONResponse({"error": "no healthy upstream"}, 503)
        return JSONResponse({"status": "ok", "scenario": "sales-research"})
