"""Azure Resource Manager, Container Apps above all: the one module that knows azure-mgmt-appcontainers."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urlsplit

from tocsin.connections.bounded import TooMuch, transport
from tocsin.connections.identity import refuse_leak, request_options
from tocsin.connections.refusal import no_answer, unhurried, words
from tocsin.core.answer import NoAnswer
from tocsin.core.config import Target
from tocsin.core.container import App, Revision, environment
from tocsin.core.permission import Permission
from tocsin.core.template import replacing

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.core.rest import HttpResponse
    from azure.mgmt.appcontainers import ContainerAppsAPIClient

T = TypeVar("T")

Verb = Literal["restart", "activate", "deactivate"]

LATEST = "latest"
"""Stands for whichever revision is the newest that is ready; no revision has this name, which ends with a suffix."""

_AZURE = "https://management.azure.com"
_RUNNING = frozenset({"Running", "RunningAtMaxScale", "ScaledToZero"})
"""Running states of a revision that answers requests; one that scaled to zero is woken by the next."""

_UP = _RUNNING | {"Degraded", "Unknown"}
"""Running states in which a revision may answer, well or badly: it counts until it is known not to."""

_PERMISSIONS = "/providers/Microsoft.Authorization/permissions?api-version=2022-04-01"
_MOST_PAGES = 20
_MOST_REVISIONS = 1_000
"""An app keeps a hundred inactive revisions, and is deployed to less often than that within a day."""

_LARGEST, _LONGEST = 8 * 1024 * 1024, 30.0
"""Bytes and seconds of one answer: a page of revisions with hundreds of variables each is some hundred thousand."""


_TIMEOUTS = {"connection_timeout": 10, "read_timeout": 30}


@dataclass(frozen=True, slots=True)
class Sent:
    """A change the platform accepted. ``operation`` is where it reports on it, or empty."""

    operation: str = ""


class State(StrEnum):
    """How a long-running operation stands. ``UNKNOWN`` proves nothing: the app itself is read either way."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Progress:
    """What the platform reports of an operation; ``detail`` is its reason for a failure, or why nothing is known."""

    state: State
    detail: str = ""


class ContainerApps:
    """The Container Apps an identity may see or change. Raises ValueError for a static token that would leave loopback.

    Reads are tried three times by the SDK; a PATCH is sent once, so that no failure of the network doubles it. Nothing
    waits because a server says so: what is throttled is left to a later tick.
    """

    def __init__(self, credential: TokenCredential, endpoint: str | None = None) -> None:
        refuse_leak(credential, endpoint)
        self._credential = credential
        self._endpoint = endpoint
        self._clients: dict[str, ContainerAppsAPIClient] = {}

    def get(self, target: Target) -> App | NoAnswer:
        """Return the app with its revisions as they are now, or why they could not be read."""

        def read(client: ContainerAppsAPIClient) -> App:
            app = client.container_apps.get(target.resource_group, target.container_app, **self._options(2))
            revisions = client.container_apps_revisions.list_revisions(
                target.resource_group, target.container_app, **self._options(2)
            )
            found = [each.as_dict() for each in islice(revisions, _MOST_REVISIONS + 1)]
            if len(found) > _MOST_REVISIONS:
                raise TooMuch(f"the app has more than {_MOST_REVISIONS} revisions")
            return _app(app.as_dict(), found, target)

        return self._safely(target.subscription, read)

    def patch_template(self, target: Target, app: App, template: Mapping[str, Any]) -> Sent | NoAnswer:
        """Send the whole template and nothing else: what is not sent (secrets, registries, identity) is not touched.

        What the app has and ``template`` has not is sent as null, as a merge patch would keep it.
        """
        wanted = replacing(app.template, template)
        return self._patch(target, {"location": app.location, "properties": {"template": wanted}})

    def patch_traffic(self, target: Target, app: App, revision: str) -> Sent | NoAnswer:
        """Give all traffic to one revision, or to whichever is the newest (``LATEST``), in ``Multiple`` mode."""
        to = {"latestRevision": True} if revision == LATEST else {"revisionName": revision}
        traffic = [{"weight": 100, **to}]
        properties = {"configuration": {"ingress": {"traffic": traffic}}}
        return self._patch(target, {"location": app.location, "properties": properties})

    def act(self, target: Target, revision: str, verb: Verb) -> Sent | NoAnswer:
        """Do one thing to one revision, sent once."""

        def send(client: ContainerAppsAPIClient) -> Sent:
            revisions = client.container_apps_revisions
            does = {
                "restart": revisions.restart_revision,
                "activate": revisions.activate_revision,
                "deactivate": revisions.deactivate_revision,
            }
            does[verb](target.resource_group, target.container_app, revision, **self._options(0))
            return Sent()

        return self._safely(target.subscription, send)

    def turn(self, target: Target, verb: Literal["stop", "start"]) -> Sent | NoAnswer:
        """Stop or start the whole app, sent once."""

        def send(client: ContainerAppsAPIClient) -> Sent:
            apps = client.container_apps
            does = {"stop": apps.begin_stop, "start": apps.begin_start}
            does[verb](target.resource_group, target.container_app, polling=False, **self._options(0))
            return Sent()

        return self._safely(target.subscription, send)

    def replicas(self, target: Target, revision: str) -> tuple[datetime, ...] | NoAnswer:
        """Return when each replica of a revision was created, oldest first."""

        def read(client: ContainerAppsAPIClient) -> tuple[datetime, ...]:
            found = client.container_apps_revision_replicas.list_replicas(
                target.resource_group, target.container_app, revision, **self._options(2)
            )
            return tuple(sorted(map(_created, found.as_dict()["value"])))

        return self._safely(target.subscription, read)

    def permissions(self, target: Target) -> tuple[Permission, ...] | NoAnswer:
        """Return what the identity may do at the app, as its roles say it, or why that could not be read."""

        def read(client: ContainerAppsAPIClient) -> tuple[Permission, ...]:
            found: list[Permission] = []
            url = f"{self._address}{target.app_id}{_PERMISSIONS}"
            for _ in range(_MOST_PAGES):
                body = self._body(client, url)
                found += map(_permission, body["value"])
                url = body.get("nextLink") or ""
                if not url or not self._own(url):  # the request carries a token
                    break
            return tuple(found)

        return self._safely(target.subscription, read)

    def read(self, path: str, query: Mapping[str, str], made: Callable[[Any], T]) -> T | NoAnswer:
        """Return what is ``made`` of the JSON that a GET answers; ``path`` begins with a resource's id."""
        subscription = path.split("/")[2]
        url = f"{self._address}{path}"
        return self._safely(subscription, lambda client: made(self._body(client, url, query)))

    def operation(self, target: Target, url: str) -> Progress:
        """Return how the operation at ``url`` stands, as the header of a PATCH named it.

        ``UNKNOWN`` when it cannot be read: the right to read it is at the subscription, which an identity scoped to one
        app does not have. An address that is not the platform's own is never asked, as the request carries a token.
        """
        if not self._own(url):
            return Progress(State.UNKNOWN, "the address of the operation is not the platform's")

        def ask(client: ContainerAppsAPIClient) -> Progress:
            from azure.core.rest import HttpRequest

            return _progress(client.send_request(HttpRequest("GET", url), **self._options(2)))

        found = self._safely(target.subscription, ask)
        return Progress(State.UNKNOWN, f"{found.why}: {found.detail}") if isinstance(found, NoAnswer) else found

    def _patch(self, target: Target, body: Mapping[str, Any]) -> Sent | NoAnswer:
        headers: dict[str, str] = {}

        def send(client: ContainerAppsAPIClient) -> Sent:
            client.container_apps.begin_update(
                target.resource_group,
                target.container_app,
                io.BytesIO(json.dumps(body).encode()),
                content_type="application/json",
                polling=False,
                raw_response_hook=lambda response: headers.update(response.http_response.headers),
                **self._options(0),
            )
            found = {name.lower(): value for name, value in headers.items()}
            return Sent(found.get("azure-asyncoperation") or found.get("location") or "")

        return self._safely(target.subscription, send)

    def _body(self, client: ContainerAppsAPIClient, url: str, query: Mapping[str, str] | None = None) -> Any:
        from azure.core.rest import HttpRequest

        response = client.send_request(HttpRequest("GET", url, params=dict(query or {})), **self._options(2))
        response.raise_for_status()
        return response.json()

    def _safely(self, subscription: str, call: Callable[[ContainerAppsAPIClient], T]) -> T | NoAnswer:
        try:
            return call(self._client(subscription))
        except Exception as error:
            return no_answer(error)

    def _client(self, subscription: str) -> ContainerAppsAPIClient:
        if subscription not in self._clients:
            from azure.mgmt.appcontainers import ContainerAppsAPIClient

            self._clients[subscription] = ContainerAppsAPIClient(
                self._credential,
                subscription,
                self._endpoint,
                retry_policy=unhurried(),
                transport=transport(_LARGEST, _LONGEST),
            )
        return self._clients[subscription]

    def _options(self, retries: int) -> dict[str, Any]:
        return {"retry_total": retries, **_TIMEOUTS, **request_options(self._endpoint)}

    @property
    def _address(self) -> str:
        return (self._endpoint or _AZURE).rstrip("/")

    def _own(self, url: str) -> bool:
        asked, own = urlsplit(url), urlsplit(self._address)
        return (asked.scheme, asked.netloc) == (own.scheme, own.netloc)


def _permission(given: Mapping[str, Any]) -> Permission:
    return Permission(tuple(given.get("actions") or ()), tuple(given.get("notActions") or ()))


def _created(replica: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(replica["properties"]["createdTime"])


def _progress(response: HttpResponse) -> Progress:
    """Read either way of reporting: a status in the body, or 202 until it is 200 or 204."""
    response.raise_for_status()
    body = response.json() if response.content else {}
    status = body.get("status") or ("InProgress" if response.status_code == 202 else "Succeeded")
    if status == "Succeeded":
        return Progress(State.SUCCEEDED)
    if status in ("Failed", "Canceled"):
        return Progress(State.FAILED, words((body.get("error") or {}).get("message") or status))
    return Progress(State.RUNNING)


def _app(app: Mapping[str, Any], revisions: list[dict[str, Any]], target: Target) -> App:
    properties = app["properties"]
    template, configuration = properties.get("template") or {}, properties.get("configuration") or {}
    multiple = configuration.get("activeRevisionsMode") == "Multiple"
    # Without ingress no traffic is shared out: whatever is up works, and none of it may be overlooked.
    weighed = multiple and bool(configuration.get("ingress"))
    return App(
        id=app["id"],
        location=app["location"],
        template=template,
        env=environment(template, target.container),
        revisions=tuple(_revision(each, target, weighed) for each in revisions),
        multiple=multiple,
        provisioning=properties.get("provisioningState") or "",
        latest=properties.get("latestRevisionName") or "",
        traffic=tuple((configuration.get("ingress") or {}).get("traffic") or ()),
        status=properties.get("runningStatus") or "",
    )


def _revision(revision: Mapping[str, Any], target: Target, weighed: bool) -> Revision:
    properties = revision["properties"]
    state = properties.get("runningState") or "Unknown"
    running = state in _RUNNING and properties.get("healthState") != "Unhealthy"
    active = bool(properties.get("active"))
    weight = int(properties.get("trafficWeight") or 0)
    created = properties.get("createdTime")
    return Revision(
        name=revision["name"],
        active=active,
        # In Single mode whatever is active and up may still answer: the old revision drains while the new takes over.
        weight=weight if weighed else max(weight, 100 if active and state in _UP else 0),
        running=running,
        env=_environment(properties.get("template") or {}, target.container),
        created=datetime.fromisoformat(created) if created else None,
        state=": ".join(filter(None, (state, words(properties.get("provisioningError") or "")))),
        failed="Failed" in (state, properties.get("provisioningState")) or properties.get("healthState") == "Unhealthy",
        template=properties.get("template") or {},
        replicas=properties.get("replicas"),
    )


def _environment(template: Mapping[str, Any], container: str) -> dict[str, str]:
    """Return the variables of a revision; an old one may be from before the container had its name, and has none."""
    try:
        return environment(template, container)
    except LookupError:
        return {}
