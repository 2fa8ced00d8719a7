"""What an identity may do at a Container App, as Azure Resource Manager lists it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tocsin.local.faults import STATUS, Faults, respond

_APP = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.App/containerApps/{name}"
_AT = "Microsoft.App/containerApps"
GIVEN = ("read", "write", "revisions/*", "stop/action", "start/action")
"""What the two custom roles that docs/actions.md asks for give at an app."""


class RolesStandIn:
    """Answers with one role, whoever asks. ``actions`` and ``but_not`` are what it gives; the next look sees a change.

    They begin as the custom roles that docs/actions.md asks for.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.faults = Faults()
        self.actions = [f"{_AT}/{each}" for each in GIVEN]
        self.but_not: list[str] = []

    def routes(self) -> list[Route]:
        """Return the route to mount beside those of the apps."""
        return [Route(f"{_APP}/providers/Microsoft.Authorization/permissions", self._list, methods=["GET"])]

    async def _list(self, request: Request) -> Response:
        fault = self.faults.next(self.now(), request.url.path)
        if fault and fault.kind in STATUS:
            return JSONResponse({"error": {"code": fault.kind, "message": "planned by the story"}}, STATUS[fault.kind])
        role = {"actions": self.actions, "notActions": self.but_not, "dataActions": [], "notDataActions": []}
        return await respond(fault) or JSONResponse({"value": [role]})
