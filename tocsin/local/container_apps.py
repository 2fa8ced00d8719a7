"""A stand-in for Container Apps in Azure Resource Manager: revisions that take time, merge patches, long operations.

Everything that takes time is worked out from the given clock when somebody looks, so a story may run at any speed.
"""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tocsin.core.config import Target
from tocsin.core.container import environment
from tocsin.local.faults import STATUS, Faults, respond

READY_AFTER = timedelta(seconds=90)
"""How long a new revision takes until it serves."""

_GROUP = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.App"
_APP = _GROUP + "/containerApps/{name}"


@dataclass(frozen=True, slots=True)
class Patch:
    """One PATCH as it arrived."""

    at: datetime
    body: Mapping[str, Any]


@dataclass(slots=True)
class _Revision:
    name: str
    template: dict[str, Any]
    created: datetime
    ready: datetime | None
    """When it serves; None for one that never will."""
    active: bool = True
    weight: int = 0


@dataclass(slots=True)
class _Operation:
    ends: datetime | None
    failed: str = ""


@dataclass(slots=True)
class _App:
    target: Target
    template: dict[str, Any]
    configuration: dict[str, Any]
    revisions: list[_Revision] = field(default_factory=list)
    operation: str = ""


class ContainerAppsStandIn:
    """Apps that answer as the platform does. ``faults`` go wrong on request; ``patches`` holds what was asked for."""

    def __init__(self, now: Callable[[], datetime], ready_after: timedelta = READY_AFTER) -> None:
        self.now = now
        self.ready_after = ready_after
        self.faults = Faults()
        self.patches: list[Patch] = []
        self.never_ready = False
        self._apps: dict[str, _App] = {}
        self._operations: dict[str, _Operation] = {}
        self._mutex = threading.RLock()

    # For the story

    def create(self, target: Target, env: Mapping[str, str], *, multiple: bool = False) -> None:
        """Make the target's app with these variables; its first revision serves at once."""
        template = _template(target.container, env)
        app = _App(target, template, _configuration(_name(target, 1) if multiple else ""))
        first = _Revision(_name(target, 1), copy.deepcopy(template), self.now(), self.now(), weight=100)
        app.revisions.append(first)
        self._apps[_key(target.resource_group, target.container_app)] = app

    def provision(self, target: Target, env: Mapping[str, str]) -> None:
        """Deploy as ``azd provision`` does: the template's variables are written back, whatever was set by hand."""
        with self._mutex:
            app = self._app(target)
            template = copy.deepcopy(app.template)
            _set_environment(template, target.container, env)
            self._change_template(app, template)

    def template_env(self, target: Target) -> dict[str, str]:
        """Return the variables of the app's template."""
        return environment(self._app(target).template, target.container)

    def serving_env(self, target: Target) -> dict[str, str]:
        """Return the variables of the revision that answers most requests now."""
        with self._mutex:
            app = self._settled(self._app(target))
            serving = max(app.revisions, key=lambda each: (each.active, self._ready(each), each.weight))
            return environment(serving.template, target.container)

    def serving(self, target: Target) -> list[tuple[str, int]]:
        """Return the revisions with traffic, with their weights."""
        with self._mutex:
            app = self._settled(self._app(target))
            return [(each.name, each.weight) for each in app.revisions if each.active and each.weight]

    def set_template(self, target: Target, template: Mapping[str, Any]) -> None:
        """Deploy a whole template, as a concurrent deployment does."""
        with self._mutex:
            self._change_template(self._app(target), copy.deepcopy(dict(template)))

    def template(self, target: Target) -> dict[str, Any]:
        """Return a copy of the app's template."""
        return copy.deepcopy(self._app(target).template)

    # For the SDK

    def routes(self) -> list[Route]:
        """Return the routes of the management API, relative to the endpoint."""
        revisions = _APP + "/revisions"
        return [
            Route(_APP, self._get, methods=["GET"]),
            Route(_APP, self._patch, methods=["PATCH"]),
            Route(revisions, self._list, methods=["GET"]),
            Route(revisions + "/{revision}", self._one, methods=["GET"]),
            Route(revisions + "/{revision}/{verb}", self._act, methods=["POST"]),
            Route("/subscriptions/{subscription}/operations/{operation}", self._operation, methods=["GET"]),
        ]

    async def _get(self, request: Request) -> Response:
        return await self._answer(request, lambda app: JSONResponse(self._document(app)))

    async def _list(self, request: Request) -> Response:
        return await self._answer(
            request, lambda app: JSONResponse({"value": [self._revision(app, each) for each in app.revisions]})
        )

    async def _one(self, request: Request) -> Response:
        return await self._answer(request, lambda app: self._on_revision(app, request.path_params["revision"], None))

    async def _act(self, request: Request) -> Response:
        params = request.path_params
        return await self._answer(request, lambda app: self._on_revision(app, params["revision"], params["verb"]))

    async def _patch(self, request: Request) -> Response:
        body = json.loads(await request.body())
        base = str(request.url).partition("/subscriptions/")[0]
        return await self._answer(request, lambda app: self._patched(app, body, base))

    async def _operation(self, request: Request) -> Response:
        operation = self._operations.get(request.path_params["operation"])
        if operation is None:
            return _error(404, "OperationNotFound", "no such operation")
        return JSONResponse(self._progress(operation))

    async def _answer(self, request: Request, answer: Callable[[_App], Response]) -> Response:
        fault = self.faults.next(self.now(), f"{request.method} {request.url.path}")
        if fault and fault.kind in STATUS:
            words = str(fault.args.get("message", f"{fault.kind}: planned by the story"))
            return _error(STATUS[fault.kind], fault.kind, words, fault.headers)
        failed = await respond(fault)
        if failed is not None:
            return failed
        with self._mutex:
            params = request.path_params
            app = self._apps.get(_key(params["group"], params["name"]))
            if app is None or app.target.subscription.lower() != params["subscription"].lower():
                return _error(404, "ResourceNotFound", f"the app {params['name']} was not found")
            return answer(self._settled(app))

    def _patched(self, app: _App, body: Mapping[str, Any], base: str) -> Response:
        if self._busy(app):
            return _error(409, "ContainerAppOperationInProgress", "another operation is in progress on this app")
        self.patches.append(Patch(self.now(), body))
        properties = body.get("properties") or {}
        app.configuration = merged(app.configuration, properties.get("configuration") or {})
        self._route(app)
        if "template" in properties:
            self._change_template(app, merged(app.template, properties["template"]))
        address = f"{base}/subscriptions/{app.target.subscription}/operations/{app.operation or 'none'}"
        if not app.operation:
            return JSONResponse(self._document(app))
        headers = {"Azure-AsyncOperation": address, "Location": address, "Retry-After": "5"}
        return JSONResponse(self._document(app), 202, headers)

    # How an app behaves

    def _app(self, target: Target) -> _App:
        return self._apps[_key(target.resource_group, target.container_app)]

    def _change_template(self, app: _App, template: dict[str, Any]) -> None:
        """A template that differs makes a revision; one that does not changes nothing."""
        if template == app.template:
            return
        app.template = template
        ready = None if self.never_ready else self.now() + self.ready_after
        name = _name(app.target, len(app.revisions) + 1)
        app.revisions.append(_Revision(name, copy.deepcopy(template), self.now(), ready))
        app.operation = f"op{len(self._operations) + 1}"
        self._operations[app.operation] = _Operation(ready)

    def _settled(self, app: _App) -> _App:
        """In ``Single`` mode the newest ready revision takes all traffic and older ones are drained."""
        if app.configuration["activeRevisionsMode"] == "Single":
            ready = [each for each in app.revisions if self._ready(each) and each.active]
            for each in ready[:-1]:
                each.active, each.weight = False, 0
            for each in ready[-1:]:
                each.weight = 100
        return app

    def _route(self, app: _App) -> None:
        traffic = app.configuration["ingress"].get("traffic") or []
        if app.configuration["activeRevisionsMode"] == "Multiple":
            weights = {entry["revisionName"]: entry["weight"] for entry in traffic}
            for each in app.revisions:
                each.weight = weights.get(each.name, 0)

    def _ready(self, revision: _Revision) -> bool:
        return revision.ready is not None and revision.ready <= self.now()

    def _busy(self, app: _App) -> bool:
        operation = self._operations.get(app.operation)
        return operation is not None and operation.ends is not None and self.now() < operation.ends

    def _progress(self, operation: _Operation) -> dict[str, Any]:
        if operation.failed:
            return {"status": "Failed", "error": {"code": "Failed", "message": operation.failed}}
        done = operation.ends is not None and operation.ends <= self.now()
        return {"status": "Succeeded" if done else "InProgress"}

    # How an app is written

    def _document(self, app: _App) -> dict[str, Any]:
        ready = [each for each in app.revisions if self._ready(each)]
        configuration = copy.deepcopy(app.configuration)
        configuration["secrets"] = [{"name": secret["name"]} for secret in configuration["secrets"]]
        return {
            "id": _APP.format(
                subscription=app.target.subscription, group=app.target.resource_group, name=app.target.container_app
            ),
            "name": app.target.container_app,
            "type": "Microsoft.App/containerApps",
            "location": "westeurope",
            "tags": {"azd-env-name": "prod", "workload": "sales-research-accelerator"},
            "properties": {
                "provisioningState": "InProgress" if self._busy(app) else "Succeeded",
                "latestRevisionName": app.revisions[-1].name,
                "latestReadyRevisionName": ready[-1].name if ready else "",
                "configuration": configuration,
                "template": app.template,
            },
        }

    def _revision(self, app: _App, revision: _Revision) -> dict[str, Any]:
        ready = self._ready(revision)
        return {
            "id": f"{app.target.container_app}/revisions/{revision.name}",
            "name": revision.name,
            "type": "Microsoft.App/containerApps/revisions",
            "properties": {
                "active": revision.active,
                "trafficWeight": revision.weight,
                "createdTime": revision.created.isoformat(),
                "replicas": 1 if ready and revision.active else 0,
                "provisioningState": "Provisioned" if ready else "Provisioning",
                "healthState": "Healthy" if ready else "None",
                "runningState": ("Running" if ready else "Processing") if revision.active else "Stopped",
                "template": revision.template,
            },
        }

    def _on_revision(self, app: _App, name: str, verb: str | None) -> Response:
        found = next((each for each in app.revisions if each.name == name), None)
        if found is None:
            return _error(404, "RevisionNotFound", f"no revision {name}")
        if verb in ("activate", "deactivate"):
            found.active = verb == "activate"
        elif verb not in (None, "restart"):
            return _error(404, "NotFound", f"nothing is called {verb}")
        return JSONResponse(self._revision(app, found) if verb is None else {})


def merged(old: Any, new: Any) -> Any:
    """Return a JSON merge patch (RFC 7396) applied: null removes, objects merge, arrays are replaced whole."""
    if not isinstance(new, Mapping):
        return copy.deepcopy(new)
    result = dict(old) if isinstance(old, Mapping) else {}
    for key, value in new.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def _key(group: str, name: str) -> str:
    return f"{group}/{name}".lower()


def _name(target: Target, number: int) -> str:
    return f"{target.container_app}--{number:07}"


def _error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


def _set_environment(template: dict[str, Any], container: str, env: Mapping[str, str]) -> None:
    watched = next(each for each in template["containers"] if each["name"] == container)
    references = [entry for entry in watched["env"] if "secretRef" in entry]
    watched["env"] = [*references, *({"name": name, "value": value} for name, value in env.items())]


def _template(container: str, env: Mapping[str, str]) -> dict[str, Any]:
    """Return a template as the accelerator's, with parts that an older SDK does not know."""
    probe = {"type": "Liveness", "httpGet": {"path": "/healthz", "port": 8000}, "periodSeconds": 30}
    api: dict[str, Any] = {
        "name": container,
        "image": "registry.example/sales-research-api:2026.11",
        "resources": {"cpu": 1.0, "memory": "2Gi", "ephemeralStorage": "4Gi"},
        "probes": [probe],
        "env": [{"name": "APPLICATIONINSIGHTS_CONNECTION_STRING", "secretRef": "appinsights"}],
    }
    template = {
        "containers": [api],
        "scale": {"minReplicas": 1, "maxReplicas": 3, "rules": None, "pollingInterval": 30},
        "aFieldOfTomorrow": {"kept": ["as", "it", "is"]},
    }
    _set_environment(template, container, env)
    return template


def _configuration(pinned: str) -> dict[str, Any]:
    """Return a configuration in ``Single`` mode, or in ``Multiple`` mode with all traffic pinned to one revision."""
    traffic = {"revisionName": pinned} if pinned else {"latestRevision": True}
    return {
        "activeRevisionsMode": "Multiple" if pinned else "Single",
        "ingress": {"external": True, "targetPort": 8000, "traffic": [{**traffic, "weight": 100}]},
        "registries": [{"server": "registry.example", "identity": "system"}],
        "secrets": [{"name": "appinsights", "value": "never returned"}],
    }
