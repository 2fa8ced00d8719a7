"""A stand-in for Container Apps in Azure Resource Manager: revisions that take time, merge patches, long operations.

Everything that takes time is worked out from the given clock when somebody looks, so a story may run at any speed.
"""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tocsin.core.config import Target
from tocsin.core.container import environment
from tocsin.local.faults import STATUS, Dropped, Faults, respond
from tocsin.local.revisions import (
    LOCATION,
    LocalApp,
    Operation,
    Refused,
    Revision,
    Rollout,
    first_configuration,
    first_template,
    replica,
    set_environment,
)

READY_AFTER = timedelta(seconds=90)
"""How long a new revision takes until it serves."""

STOPPED_AFTER = timedelta(seconds=30)
"""How long a whole app takes until it is stopped. A guess: nothing of the platform's says it."""

_SUBSCRIPTION = "/subscriptions/{subscription}"
_APP = _SUBSCRIPTION + "/resourceGroups/{group}/providers/Microsoft.App/containerApps/{name}"
_OPERATIONS = _SUBSCRIPTION + "/providers/Microsoft.App/locations/{location}"
_STATUSES, _RESULTS = "containerappOperationStatuses", "containerappOperationResults"


@dataclass(frozen=True, slots=True)
class Patch:
    """One PATCH as it arrived."""

    at: datetime
    body: Mapping[str, Any]


class ContainerAppsStandIn:
    """Apps that answer as the platform does. ``faults`` go wrong on request; ``patches`` holds what was asked for.

    What the next changes of a template come to: ``never_ready`` revisions start and never serve, ``failing`` ones fail
    with these words, and ``stuck`` operations never end. While the ``bootstrap_fails`` a revision serves only where it
    is told to skip that. ``lose_answers`` changes are carried out and never answered.
    ``acts`` holds what was done to which revision, and to which whole app.
    """

    def __init__(self, now: Callable[[], datetime], ready_after: timedelta = READY_AFTER) -> None:
        self.now = now
        self.ready_after = ready_after
        self.faults = Faults()
        self.patches: list[Patch] = []
        self.acts: list[tuple[str, str]] = []
        self.never_ready = False
        self.bootstrap_fails = False
        self.failing = ""
        self.stuck = False
        self.lose_answers = 0
        self._apps: dict[str, LocalApp] = {}
        self._operations: dict[str, Operation] = {}
        self._mutex = threading.RLock()

    # For the story

    def create(self, target: Target, env: Mapping[str, str], *, multiple: bool = False) -> None:
        """Make the target's app with these variables; its first revision serves at once."""
        app = LocalApp(target, first_template(target.container, env), first_configuration(""))
        if multiple:
            app.configuration = first_configuration(app.name(1))
        app.begin(self.now())
        with self._mutex:
            self._apps[_key(target.subscription, target.resource_group, target.container_app)] = app

    def delete(self, target: Target) -> None:
        """Remove the app."""
        with self._mutex:
            del self._apps[_key(target.subscription, target.resource_group, target.container_app)]

    def provision(self, target: Target, env: Mapping[str, str]) -> None:
        """Deploy as ``azd provision`` does: the template's variables are written back, whatever was set by hand."""
        with self._mutex:
            app = self._app(target)
            template = copy.deepcopy(app.template)
            set_environment(template, target.container, env)
            self._change(app, template)

    def deploy(self, target: Target, image: str) -> None:
        """Deploy another image; all else stays as it is."""
        with self._mutex:
            app = self._app(target)
            template = copy.deepcopy(app.template)
            for container in template["containers"]:
                if container["name"] == target.container:
                    container["image"] = image
            self._change(app, template)

    def set_template(self, target: Target, template: Mapping[str, Any]) -> None:
        """Deploy a whole template, as a concurrent deployment does. Raises Refused for a suffix used before."""
        with self._mutex:
            self._change(self._app(target), copy.deepcopy(dict(template)))

    def set_traffic(self, target: Target, traffic: list[dict[str, Any]]) -> None:
        """Share out traffic, as a person does in ``Multiple`` mode."""
        with self._mutex:
            self._app(target).configuration["ingress"]["traffic"] = copy.deepcopy(traffic)

    def ail(self, target: Target, revision: str, *, unhealthy: bool = True) -> None:
        """Let a revision run and fail its probes."""
        with self._mutex:
            next(each for each in self._app(target).revisions if each.name == revision).unhealthy = unhealthy

    def state(self, target: Target) -> dict[str, Any]:
        """Return all there is of an app, values of secrets and all: what a change touched is what differs in it."""
        with self._mutex:
            app, now = self._settled(self._app(target)), self.now()
            revisions = {
                each.name: {"active": each.active, "weight": each.weight, "replicas": app.replicas(each, now)}
                for each in app.revisions
            }
            found = {"template": app.template, "configuration": app.configuration, "revisions": revisions}
            return copy.deepcopy({"document": app.document(now), **found})

    def template(self, target: Target) -> dict[str, Any]:
        """Return a copy of the app's template."""
        return copy.deepcopy(self._app(target).template)

    def configuration(self, target: Target) -> dict[str, Any]:
        """Return a copy of the app's configuration, values of secrets and all, as no request ever shows it."""
        return copy.deepcopy(self._app(target).configuration)

    def template_env(self, target: Target) -> dict[str, str]:
        """Return the variables of the app's template."""
        return environment(self._app(target).template, target.container)

    def serving_env(self, target: Target) -> dict[str, str]:
        """Return the variables of the revision that answers most requests now."""
        with self._mutex:
            app = self._settled(self._app(target))
            if app.down(self.now()):
                return {}
            serving = max(app.revisions, key=lambda each: (each.active, each.is_ready(self.now()), each.weight))
            return environment(serving.template, target.container)

    def serving(self, target: Target) -> list[tuple[str, int]]:
        """Return the revisions with traffic, with their weights."""
        with self._mutex:
            app = self._settled(self._app(target))
            up = () if app.down(self.now()) else app.revisions
            return [(each.name, each.weight) for each in up if each.active and each.weight]

    def down(self, target: Target) -> bool:
        """Return whether the whole app is stopped, only coming up again, or gone."""
        with self._mutex:
            app = self._apps.get(_key(target.subscription, target.resource_group, target.container_app))
            return app is None or app.down(self.now())

    def turn(self, target: Target, verb: str) -> None:
        """Stop or start the whole app, as a person does or a deployment may."""
        with self._mutex:
            self._turned(self._app(target), verb)

    # For the SDK

    def routes(self) -> list[Route]:
        """Return the routes of the management API, relative to the endpoint."""
        revisions = _APP + "/revisions"
        return [
            Route(_APP, self._get, methods=["GET"]),
            Route(_APP, self._patch, methods=["PATCH"]),
            *(Route(f"{_APP}/{verb}", self._turn, methods=["POST"]) for verb in ("stop", "start")),
            Route(revisions, self._list, methods=["GET"]),
            Route(revisions + "/{revision}", self._one, methods=["GET"]),
            Route(revisions + "/{revision}/replicas", self._replicas, methods=["GET"]),
            Route(revisions + "/{revision}/{verb}", self._act, methods=["POST"]),
            Route(_OPERATIONS + "/{kind}/{operation}", self._operation, methods=["GET"]),
        ]

    async def _get(self, request: Request) -> Response:
        return await self._answer(request, lambda app: JSONResponse(app.document(self.now())))

    async def _list(self, request: Request) -> Response:
        return await self._answer(
            request, lambda app: JSONResponse({"value": [app.revision(each, self.now()) for each in app.revisions]})
        )

    async def _one(self, request: Request) -> Response:
        named = request.path_params["revision"]
        return await self._answer(
            request, lambda app: _found(app, named, lambda each: JSONResponse(app.revision(each, self.now())))
        )

    async def _replicas(self, request: Request) -> Response:
        def listed(revision: Revision) -> Response:
            now = self.now()
            found = [replica(revision, number, age, now) for number, age in enumerate(revision.replicas(now))]
            return JSONResponse({"value": found})

        named = request.path_params["revision"]
        return await self._answer(
            request,
            lambda app: JSONResponse({"value": []}) if app.down(self.now()) else _found(app, named, listed),
        )

    async def _turn(self, request: Request) -> Response:
        verb = request.url.path.rpartition("/")[2]
        return self._lost(await self._answer(request, lambda app: self._turned(app, verb)))

    async def _act(self, request: Request) -> Response:
        named, verb = request.path_params["revision"], request.path_params["verb"]
        return self._lost(
            await self._answer(request, lambda app: _found(app, named, lambda each: self._acted(app, each, verb)))
        )

    async def _patch(self, request: Request) -> Response:
        body = json.loads(await request.body())
        base = str(request.url).partition("/subscriptions/")[0]
        return self._lost(await self._answer(request, lambda app: self._patched(app, body, base)))

    async def _operation(self, request: Request) -> Response:
        """Two ways to ask: a status in the body, or 202 until the result is there."""
        failed = await self._failed(request)
        if failed is not None:
            return failed
        operation = self._operations.get(request.path_params["operation"])
        if operation is None:
            return _error(404, "OperationNotFound", "no such operation")
        status = operation.status(self.now())
        if request.path_params["kind"] == _RESULTS:
            return Response(status_code=202 if status == "InProgress" else 200)
        error = {"error": {"code": "ContainerAppOperationError", "message": operation.failed}}
        return JSONResponse({"name": operation.name, "status": status, **(error if status == "Failed" else {})})

    async def _answer(self, request: Request, answer: Callable[[LocalApp], Response]) -> Response:
        failed = await self._failed(request)
        if failed is not None:
            return failed
        with self._mutex:
            params = request.path_params
            app = self._apps.get(_key(params["subscription"], params["group"], params["name"]))
            if app is None:
                return _error(404, "ResourceNotFound", f"the app {params['name']} was not found")
            return answer(self._settled(app))

    async def _failed(self, request: Request) -> Response | None:
        fault = self.faults.next(self.now(), f"{request.method} {request.url.path}")
        if fault and fault.kind in STATUS:
            words = str(fault.args.get("message", f"{fault.kind}: planned by the story"))
            return _error(STATUS[fault.kind], fault.kind, words, fault.headers)
        return await respond(fault)

    def _patched(self, app: LocalApp, body: Mapping[str, Any], base: str) -> Response:
        if app.provisioning(self.now()) == "InProgress":
            return _error(409, "ContainerAppOperationInProgress", "another operation is in progress on this app")
        self.patches.append(Patch(self.now(), body))
        properties, begun = body.get("properties") or {}, False
        wrong = _wrong_traffic(app, (properties.get("configuration") or {}).get("ingress") or {})
        if wrong:
            return _error(400, "ContainerAppInvalidTraffic", wrong)
        app.configuration = merged(app.configuration, properties.get("configuration") or {})
        if "template" in properties:
            try:
                begun = self._change(app, merged(app.template, properties["template"]))
            except Refused as refused:
                return _error(400, "ContainerAppInvalidRevisionSuffix", str(refused))
        if not begun or app.operation is None:
            return JSONResponse(app.document(self.now()))
        where = base + _OPERATIONS.format(subscription=app.target.subscription, location=LOCATION)
        headers = {
            "Azure-AsyncOperation": f"{where}/{_STATUSES}/{app.operation.name}",
            "Location": f"{where}/{_RESULTS}/{app.operation.name}",
            "Retry-After": "5",
        }
        return JSONResponse(app.document(self.now()), 202, headers)

    def _acted(self, app: LocalApp, revision: Revision, verb: str) -> Response:
        if verb not in ("activate", "deactivate", "restart"):
            return _error(404, "NotFound", f"nothing is called {verb}")
        if app.provisioning(self.now()) == "InProgress":
            return _error(409, "ContainerAppOperationInProgress", "another operation is in progress on this app")
        self.acts.append((verb, revision.name))
        if verb == "deactivate":
            revision.deactivate(self.now())
        elif verb == "activate":
            revision.activate(self.now(), self.ready_after)
        else:
            revision.restart(self.now(), self.ready_after)
        return JSONResponse({})

    def _turned(self, app: LocalApp, verb: str) -> Response:
        if app.provisioning(self.now()) == "InProgress":
            return _error(409, "ContainerAppOperationInProgress", "another operation is in progress on this app")
        self.acts.append((verb, app.target.container_app))
        if (app.status(self.now()) == "Stopped") != (verb == "stop"):
            app.turned = (verb, self.now() + (STOPPED_AFTER if verb == "stop" else self.ready_after))
        return JSONResponse(app.document(self.now()), 202, {"Retry-After": "5"})

    def _lost(self, answer: Response) -> Response:
        """Return the answer, or drop the connection instead where answers get lost."""
        if not self.lose_answers or answer.status_code >= 400:
            return answer
        self.lose_answers -= 1
        return Dropped()

    # What the app comes to

    def _app(self, target: Target) -> LocalApp:
        return self._apps[_key(target.subscription, target.resource_group, target.container_app)]

    def _settled(self, app: LocalApp) -> LocalApp:
        app.settle(self.now())
        return app

    def _change(self, app: LocalApp, template: dict[str, Any]) -> bool:
        watched = environment(template, app.target.container)
        held = self.never_ready or (self.bootstrap_fails and watched.get("BOOTSTRAP_SKIP") != "1")
        ready_after = None if held else self.ready_after
        rollout = Rollout(ready_after, self.ready_after, self.failing, self.stuck)
        begun = app.change(template, self.now(), rollout, f"op{len(self._operations) + 1}")
        if begun and app.operation:
            self._operations[app.operation.name] = app.operation
        return begun


def _wrong_traffic(app: LocalApp, ingress: Mapping[str, Any]) -> str:
    """Return what is wrong with a traffic that is sent: shares of a revision there is not, or that are not a whole."""
    shares, names = ingress.get("traffic") or [], {each.name for each in app.revisions}
    missing = [each["revisionName"] for each in shares if each.get("revisionName", app.revisions[0].name) not in names]
    if missing:
        return f"traffic names revisions that do not exist: {', '.join(missing)}"
    whole = sum(each.get("weight") or 0 for each in shares)
    return "" if not shares or whole == 100 else f"the shares of traffic are {whole}% together"


def _found(app: LocalApp, name: str, answer: Callable[[Revision], Response]) -> Response:
    found = next((each for each in app.revisions if each.name == name), None)
    return answer(found) if found else _error(404, "RevisionNotFound", f"no revision {name}")


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


def _key(subscription: str, group: str, name: str) -> str:
    return f"{subscription}/{group}/{name}".lower()


def _error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)
