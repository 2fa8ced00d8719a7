"""A Storage account's queues on loopback, as far as somebody who only looks sees them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import format_datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tocsin.local.faults import Faults, respond

_KEPT = timedelta(days=7)


class QueuesStandIn:
    """Answers what a queue's depth and its oldest message are. ``messages`` holds, a queue, when each was put in."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.faults = Faults()
        self.messages: dict[str, list[datetime]] = {}
        self._mutex = threading.Lock()

    def put(self, queue: str, count: int = 1) -> None:
        """Put messages into a queue, which is made if it is not there."""
        with self._mutex:
            self.messages.setdefault(queue, []).extend([self.now()] * count)

    def work_off(self, queue: str, count: int) -> None:
        """Take the oldest messages out of a queue."""
        with self._mutex:
            del self.messages[queue][:count]

    def routes(self) -> list[Route]:
        """Return the routes to mount."""
        return [Route("/{queue}", self._properties), Route("/{queue}/messages", self._peek)]

    async def _properties(self, request: Request) -> Response:
        found = await self._refused(request)
        if found is not None:
            return found
        waiting = self.messages[request.path_params["queue"]]
        return Response(headers={"x-ms-approximate-messages-count": str(len(waiting))})

    async def _peek(self, request: Request) -> Response:
        found = await self._refused(request)
        if found is not None:
            return found
        waiting = self.messages[request.path_params["queue"]][:1]
        return Response(_listed(waiting), media_type="application/xml")

    async def _refused(self, request: Request) -> Response | None:
        queue = request.path_params["queue"]
        failed = await respond(self.faults.next(self.now(), queue))
        if failed is not None:
            return failed
        if "authorization" not in request.headers:
            return Response(status_code=401, headers={"x-ms-error-code": "NoAuthenticationInformation"})
        return (
            None if queue in self.messages else Response(status_code=404, headers={"x-ms-error-code": "QueueNotFound"})
        )


def _listed(waiting: list[datetime]) -> str:
    """Return messages as the service lists them: their text is nobody's business here."""
    each = "".join(
        "<QueueMessage><MessageId>0</MessageId>"
        f"<InsertionTime>{format_datetime(at, usegmt=True)}</InsertionTime>"
        f"<ExpirationTime>{format_datetime(at + _KEPT, usegmt=True)}</ExpirationTime>"
        "<DequeueCount>0</DequeueCount><MessageText></MessageText></QueueMessage>"
        for at in waiting
    )
    return f'<?xml version="1.0" encoding="utf-8"?><QueueMessagesList>{each}</QueueMessagesList>'
