"""Faults on a schedule: what a stand-in does wrong, from when to when, and how often."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

STATUS: Mapping[str, int] = MappingProxyType(
    {
        "bad_request": 400,
        "unauthorized": 401,
        "forbidden": 403,
        "missing": 404,
        "conflict": 409,
        "too_large": 413,
        "throttled": 429,
        "error": 500,
        "bad_gateway": 502,
        "unavailable": 503,
        "timeout": 504,
    }
)
"""The kinds that are nothing but an HTTP status. ``retry_after`` (seconds) adds the header to any of them."""

KINDS = frozenset({*STATUS, "partial", "empty", "nothing", "slow", "disconnect", "garbage"})
"""Every kind there is. ``slow`` takes ``seconds`` and then answers as if nothing were wrong."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong with one request."""

    kind: str
    args: Mapping[str, Any] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        """Return the response headers the fault asks for."""
        return {"Retry-After": str(self.args["retry_after"])} if "retry_after" in self.args else {}


@dataclass(slots=True)
class _Planned:
    fault: Fault
    start: datetime | None
    end: datetime | None
    left: int | None
    matching: str

    def due(self, now: datetime | None, subject: str) -> bool:
        if self.left == 0 or self.matching not in subject:
            return False
        if self.start is None and self.end is None:
            return True
        if now is None:
            return False
        return (self.start is None or self.start <= now) and (self.end is None or now < self.end)


class Faults:
    """The faults a stand-in is to have. The one added first wins; safe to use from several threads."""

    def __init__(self) -> None:
        self._planned: list[_Planned] = []
        self._lock = threading.Lock()

    def add(
        self,
        kind: str,
        start: datetime | None = None,
        end: datetime | None = None,
        times: int | None = None,
        matching: str = "",
        **args: Any,
    ) -> None:
        """Plan a fault for requests within ``[start, end)`` whose subject contains ``matching``, ``times`` at most.

        Raises ValueError for a kind there is not.
        """
        if kind not in KINDS:
            raise ValueError(f"no fault {kind!r}; there are {', '.join(sorted(KINDS))}")
        with self._lock:
            self._planned.append(_Planned(Fault(kind, args), start, end, times, matching))

    def next(self, now: datetime | None, subject: str = "") -> Fault | None:
        """Return the fault of the request made at ``now``, and count it; None when nothing is to go wrong.

        Without a clock (``now`` is None) only faults without bounds are due.
        """
        with self._lock:
            for planned in self._planned:
                if planned.due(now, subject):
                    planned.left = planned.left - 1 if planned.left is not None else None
                    return planned.fault
        return None

    def clear(self) -> None:
        """Forget every fault."""
        with self._lock:
            self._planned.clear()


class Dropped(Response):
    """A response that never arrives whole: the connection is closed in the middle of it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Promise a body and hang up."""
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 500, "headers": headers})


async def respond(fault: Fault | None, body: bytes = b"") -> Response | None:
    """Return the response a fault makes, with ``body`` for a bare status; None when the request is to be answered.

    ``slow`` waits here and returns None. ``partial`` returns None too: only the stand-in knows its partial answer.
    """
    if fault is None or fault.kind == "partial":
        return None
    if fault.kind == "slow":
        await asyncio.sleep(float(fault.args.get("seconds", 1)))
        return None
    if fault.kind == "disconnect":
        return Dropped()
    if fault.kind == "empty":
        return Response(status_code=204)
    if fault.kind == "nothing":
        return Response(b"{}", media_type="application/json")
    if fault.kind == "garbage":
        return Response(b"<html>not what you asked for</html>", media_type="application/json")
    return Response(body, STATUS[fault.kind], fault.headers, media_type="application/json")
