"""The Log Analytics query API on loopback: embedded telemetry in the service's wire shapes, and its faults."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tocsin.core.answer import Query
from tocsin.local.faults import STATUS, Fault, Faults, respond
from tocsin.telemetry.embedded import EmbeddedTelemetry, Found, Refused
from tocsin.telemetry.values import wire

_CODES = {
    400: ("BadArgumentError", "The request had some invalid properties"),
    401: ("AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing."),
    403: ("InsufficientAccessError", "The provided credentials have insufficient access to perform the operation"),
    404: ("PathNotFoundError", "The requested path does not exist"),
    429: ("ThrottledError", "The request was throttled"),
    502: ("BadGateway", "The gateway got no valid answer"),
    503: ("ServiceUnavailable", "The service is unavailable"),
    504: ("GatewayTimeout", "The query did not finish in time"),
}
_PARTIAL = {
    "code": "PartialError",
    "message": "There were some errors when processing your query.",
    "details": [{"code": "EngineError", "message": "Something went wrong processing your query on the server."}],
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came in. ``wait`` is the server time-out it asked for, in seconds."""

    workspace: str
    query: str
    timespan: str | None
    wait: int | None


class Workspace:
    """Answers ``POST /v1/workspaces/{id}/query``, and that of a resource id, from embedded telemetry.

    ``known`` are the workspaces there are; without it every id is answered. ``faults`` go wrong by its clock,
    matched against the query's text; ``asked`` is every request there was.
    """

    def __init__(self, telemetry: EmbeddedTelemetry, known: Collection[str] | None = None) -> None:
        self.telemetry = telemetry
        self.faults = Faults()
        self.asked: list[Asked] = []
        self._known = known

    def routes(self) -> list[Route]:
        """Return the routes to mount."""
        return [
            Route("/v1/workspaces/{workspace}/query", self._query, methods=["POST"]),
            Route("/v1/{resource:path}/query", self._query, methods=["POST"]),
        ]

    async def _query(self, request: Request) -> Response:
        body = await _body(request)
        asked = Asked(
            request.path_params.get("workspace") or f"/{request.path_params['resource'].lstrip('/')}",
            str(body.get("query") or ""),
            body.get("timespan"),
            _wait(request.headers.get("Prefer", "")),
        )
        self.asked.append(asked)
        fault = self.faults.next(self.telemetry.now() if self.telemetry.now else None, asked.query)
        status = STATUS.get(fault.kind, 500) if fault else 200
        return await respond(fault, _failure(status, **(fault.args if fault else {}))) or await self._answer(
            request, asked, fault
        )

    async def _answer(self, request: Request, asked: Asked, fault: Fault | None) -> Response:
        if not request.headers.get("Authorization", "").startswith("Bearer "):
            return _refuse(401)
        if self._known is not None and asked.workspace not in self._known and not asked.workspace.startswith("/"):
            return _refuse(404)
        try:
            start, end = _timespan(asked.timespan)
            found = await run_in_threadpool(self.telemetry.find, Query(asked.query, start, end))
        except ValueError as error:
            return _refuse(400, inner={"code": "QueryValidationError", "message": str(error)})
        except Refused as refused:
            return _refuse(500) if refused.code == "failed" else _refuse(400, inner=_reason(refused))
        said: dict[str, Any] = {"tables": [_table(found)]}
        if "include-statistics=true" in request.headers.get("Prefer", ""):
            said["statistics"] = {"query": {"datasetStatistics": [{"tableRowCount": len(found.rows)}]}}
        if fault is not None and fault.kind == "partial":
            said["error"] = _PARTIAL
        return JSONResponse(said)


def _table(found: Found) -> dict[str, Any]:
    columns = [{"name": name, "type": kind} for name, kind in zip(found.columns, found.types, strict=True)]
    rows = [[wire(kind, value) for kind, value in zip(found.types, row, strict=True)] for row in found.rows]
    return {"name": "PrimaryResult", "columns": columns, "rows": rows}


def _reason(refused: Refused) -> dict[str, Any]:
    """Return the inner error, worded as the service words it: adapters read these words."""
    if refused.code == "syntax":
        return {"code": "SyntaxError", "message": f"A recognition error occurred in the query. {refused}"}
    message = str(refused)
    if refused.code == "table":
        message = f"Failed to resolve table or column expression named '{refused.table}'"
    inner = {"code": "SEM0100", "message": message}
    return {"code": "SemanticError", "message": "A semantic error occurred.", "innererror": inner}


def _failure(status: int, inner: dict[str, Any] | None = None, table: str | None = None, **_: Any) -> bytes:
    """Return the service's error body. ``table`` makes it the one for a table that does not resolve."""
    if table:
        inner = _reason(Refused("table", "", table))
    code, message = _CODES.get(status, ("InternalServerError", "Something went wrong"))
    error = {"message": message, "code": code, "correlationId": "00000000-0000-0000-0000-000000000000"}
    return json.dumps({"error": {**error, "innererror": inner} if inner else error}).encode()


def _refuse(status: int, inner: dict[str, Any] | None = None) -> Response:
    return Response(_failure(status, inner), status, media_type="application/json")


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _wait(prefer: str) -> int | None:
    found = [part.partition("=")[2] for part in prefer.split(",") if part.strip().startswith("wait=")]
    return int(found[0]) if found and found[0].isdigit() else None


def _timespan(text: str | None) -> tuple[datetime, datetime]:
    """Return the bounds of ``start/end``; of no timespan, all there is. Raises ValueError for any other form."""
    if text is None:
        return datetime.fromisoformat("0001-01-01T00:00:00Z"), datetime.fromisoformat("9999-12-31T00:00:00Z")
    start, slash, end = text.partition("/")
    if not slash:
        raise ValueError("this stand-in takes a timespan as start/end")
    return datetime.fromisoformat(start), datetime.fromisoformat(end)
