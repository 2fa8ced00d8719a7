"""A stand-in for GitHub's REST API: workflow runs, their artifacts as zips, and dispatches.

Downloads are redirected to another address, as GitHub does, which refuses whoever brings the token along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tocsin.local.faults import Faults, respond

TOKEN = "a-token-of-the-local-world"
_MISSING = {"message": "Not Found"}


@dataclass(slots=True)
class _Run:
    id: int
    created: datetime
    conclusion: str | None
    fork: bool
    workflow: str
    artifacts: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    expired: bool = False
    branch: str = "main"


class GitHubStandIn:
    """One repository. ``dispatched`` holds what was started; ``seen`` every path that was asked for."""

    def __init__(self, now: Callable[[], datetime], repo: str = "contoso/sales-research") -> None:
        self.now = now
        self.repo = repo
        self.faults = Faults()
        self.seen: list[str] = []
        self.dispatched: list[dict[str, Any]] = []
        self.leaks: list[str] = []
        """Authorization headers that reached the storage, where none belongs."""
        self._runs: list[_Run] = []

    def ran(
        self,
        created: datetime,
        artifacts: Mapping[str, bytes] | None = None,
        *,
        conclusion: str | None = "success",
        workflow: str = "evals.yml",
        fork: bool = False,
        expired: bool = False,
        branch: str = "main",
    ) -> int:
        """Let a run of a workflow have been, with these zips by their names; without a conclusion it still runs."""
        run = _Run(len(self._runs) + 101, created, conclusion, fork, workflow, expired=expired, branch=branch)
        for name, data in (artifacts or {}).items():
            run.artifacts[run.id * 10 + len(run.artifacts)] = (name, data)
        self._runs.append(run)
        return run.id

    def ran_again(self, run: int, name: str, data: bytes) -> None:
        """Let a run have been tried again, which left another artifact of this name."""
        found = next(each for each in self._runs if each.id == run)
        found.artifacts[run * 10 + len(found.artifacts)] = (name, data)

    def routes(self) -> list[Route]:
        """Return the API's routes, and that of the storage."""
        actions = "/repos/{owner}/{name}/actions"
        return [
            Route(f"{actions}/workflows/{{workflow}}/runs", self._list),
            Route(f"{actions}/workflows/{{workflow}}/dispatches", self._dispatch, methods=["POST"]),
            Route(f"{actions}/runs/{{run:int}}", self._one),
            Route(f"{actions}/runs/{{run:int}}/artifacts", self._artifacts),
            Route(f"{actions}/artifacts/{{artifact:int}}/zip", self._zip),
            Route("/storage/{artifact:int}", self._stored),
        ]

    async def _refused(self, request: Request) -> Response | None:
        """Return the answer to what GitHub would not take: a planned fault, no token, another repository."""
        self.seen.append(f"{request.method} {request.url.path}")
        failed = await respond(self.faults.next(self.now(), self.seen[-1]), b'{"message": "planned"}')
        if failed is not None:
            return failed
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return JSONResponse({"message": "Bad credentials"}, 401)
        named = f"{request.path_params['owner']}/{request.path_params['name']}"
        return None if named == self.repo else JSONResponse(_MISSING, 404)

    async def _list(self, request: Request) -> Response:
        if failed := await self._refused(request):
            return failed
        asked = request.query_params
        since = datetime.fromisoformat(asked["created"].removeprefix(">=")) if "created" in asked else None
        found = [run for run in self._runs if run.workflow == request.path_params["workflow"]]
        found = [run for run in found if since is None or run.created >= since]
        if asked.get("status") == "completed":
            found = [run for run in found if run.conclusion is not None]
        if not found and all(run.workflow != request.path_params["workflow"] for run in self._runs):
            return JSONResponse(_MISSING, 404)
        return JSONResponse({"total_count": len(found), "workflow_runs": [self._shown(run) for run in found]})

    async def _one(self, request: Request) -> Response:
        if failed := await self._refused(request):
            return failed
        found = self._run(request.path_params["run"])
        return JSONResponse(self._shown(found)) if found else JSONResponse(_MISSING, 404)

    async def _artifacts(self, request: Request) -> Response:
        if failed := await self._refused(request):
            return failed
        run, name = self._run(request.path_params["run"]), request.query_params.get("name")
        if run is None:
            return JSONResponse(_MISSING, 404)
        found = [
            {
                "id": identity,
                "name": each,
                "size_in_bytes": len(data),
                "expired": run.expired,
                "created_at": _instant(run.created),
            }
            for identity, (each, data) in run.artifacts.items()
            if name in (None, each)
        ]
        return JSONResponse({"total_count": len(found), "artifacts": found})

    async def _zip(self, request: Request) -> Response:
        if failed := await self._refused(request):
            return failed
        identity = request.path_params["artifact"]
        if self._data(identity) is None:
            return JSONResponse(_MISSING, 404)
        return RedirectResponse(f"{str(request.url).split('/repos/')[0]}/storage/{identity}", 302)

    async def _stored(self, request: Request) -> Response:
        self.seen.append(f"GET {request.url.path}")
        if "authorization" in request.headers:
            self.leaks.append(request.headers["authorization"])
            return Response(status_code=400)
        failed = await respond(self.faults.next(self.now(), self.seen[-1]))
        return failed or Response(self._data(request.path_params["artifact"]), media_type="application/zip")

    async def _dispatch(self, request: Request) -> Response:
        if failed := await self._refused(request):
            return failed
        body = await request.json()
        unknown = set(body) - {"ref", "inputs", "return_run_details"}
        if unknown or not body.get("ref"):
            return JSONResponse({"message": "Invalid request."}, 422)
        workflow = request.path_params["workflow"]
        self.dispatched.append({"workflow": workflow, "ref": body["ref"], "inputs": body.get("inputs", {})})
        number = self.ran(self.now(), conclusion=None, workflow=workflow)
        url = f"https://github.com/{self.repo}/actions/runs/{number}"
        told = {"workflow_run_id": number, "html_url": url}
        return JSONResponse(told) if body.get("return_run_details") else Response(status_code=204)

    def _run(self, identity: int) -> _Run | None:
        return next((run for run in self._runs if run.id == identity), None)

    def _data(self, artifact: int) -> bytes | None:
        found = (run.artifacts[artifact][1] for run in self._runs if artifact in run.artifacts)
        return next(found, None)

    def _shown(self, run: _Run) -> dict[str, Any]:
        return {
            "id": run.id,
            "status": "completed" if run.conclusion else "in_progress",
            "conclusion": run.conclusion,
            "created_at": _instant(run.created),
            "head_branch": run.branch,
            "event": "pull_request" if run.fork else "workflow_dispatch",
            "html_url": f"https://github.com/{self.repo}/actions/runs/{run.id}",
            "repository": {"id": 1},
            "head_repository": {"id": 2 if run.fork else 1},
        }


def _instant(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
