"""A stand-in for a receiver that takes JSON over HTTP: it keeps what it would take and refuses what it would not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tocsin.local.faults import Faults, respond


@dataclass(frozen=True, slots=True)
class Taken:
    """One request that was taken: its path with its query, its headers in lower case, and its body."""

    path: str
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        """The body, read as JSON. Raises ValueError for what is not."""
        return json.loads(self.raw)


Judge = Callable[[Taken], str]
"""Returns what is wrong with a request as the receiver documents it, or an empty text."""


class Inbox:
    """One receiver. ``received`` holds what was taken, in order.

    The fault ``slow`` takes and answers too late; ``empty`` answers 2xx and keeps nothing.
    """

    def __init__(self, now: Callable[[], datetime], judge: Judge, status: int = 202) -> None:
        self.now = now
        self.faults = Faults()
        self.received: list[Taken] = []
        self._judge, self._status = judge, status

    def routes(self) -> list[Route]:
        """Return the route of every path."""
        return [Route("/{path:path}", self._post, methods=["POST"])]

    async def _post(self, request: Request) -> Response:
        query = f"?{request.url.query}" if request.url.query else ""
        made = Taken(f"/{request.path_params['path']}{query}", dict(request.headers), await request.body())
        fault, problem = self.faults.next(self.now(), f"POST {made.path}"), self._problem(made)
        late = fault is not None and fault.kind == "slow" and not problem
        if late:
            self.received.append(made)
        failed = await respond(fault)
        if failed is not None:
            return failed
        if problem:
            return JSONResponse({"message": problem}, 400)
        if not late:
            self.received.append(made)
        return Response(b"ok", self._status)

    def _problem(self, made: Taken) -> str:
        try:
            return self._judge(made)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            return f"not understood: {type(error).__name__}"
