"""Container Apps through Azure Resource Manager: the one module that knows azure-mgmt-appcontainers."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from tocsin.connections.identity import refuse_leak, request_options
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.config import Target
from tocsin.core.container import App, Revision, environment

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.mgmt.appcontainers import ContainerAppsAPIClient

T = TypeVar("T")

_STATUS: Mapping[int, Why] = {
    400: Why.BROKEN,
    401: Why.FORBIDDEN,
    403: Why.FORBIDDEN,
    404: Why.MISSING,
    408: Why.TIMEOUT,
    409: Why.BUSY,
    429: Why.THROTTLED,
    504: Why.TIMEOUT,
}
_RUNNING = frozenset({"Running", "RunningAtMaxScale"})
_TIMEOUTS = {"connection_timeout": 10, "read_timeout": 30}
_SECRETS = re.compile(r"(?i)\b(bearer\s+\S+|eyJ[\w-]+\.[\w.-]+)")


@dataclass(frozen=True, slots=True)
class Sent:
    """A change the platform accepted. ``operation`` is where it reports on it, or empty."""

    operation: str = ""


class ContainerApps:
    """The Container Apps an identity may see or change. Raises ValueError for a static token that would leave loopback.

    Reads are tried three times by the SDK; a PATCH is sent once, so that no failure of the network doubles it.
    """

    def __init__(self, credential: TokenCredential, endpoint: str | None = None) -> None:
        refuse_leak(credential, endpoint)
        self._credential = credential
        self._endpoint = endpoint
        self._clients: dict[str, ContainerAppsAPIClient] = {}

    def get(self, target: Target) -> App | NoAnswer:
        """Return the app with its revisions as they are now, or why they could not be read."""

        def read(client: ContainerAppsAPIClient) -> App:
            options = {**self._options(), "retry_total": 2}
            app = client.container_apps.get(target.resource_group, target.container_app, **options)
            revisions = client.container_apps_revisions.list_revisions(
                target.resource_group, target.container_app, **options
            )
            return _app(app.as_dict(), [each.as_dict() for each in revisions], target)

        return self._safely(target, read)

    def patch_template(self, target: Target, app: App, template: Mapping[str, Any]) -> Sent | NoAnswer:
        """Send the whole template and nothing else: what is not sent (secrets, registries, identity) is not touched."""
        return self._patch(target, {"location": app.location, "properties": {"template": template}})

    def patch_traffic(self, target: Target, app: App, revision: str) -> Sent | NoAnswer:
        """Give all traffic to one revision, for an app in ``Multiple`` mode."""
        traffic = [{"revisionName": revision, "weight": 100}]
        properties = {"configuration": {"ingress": {"traffic": traffic}}}
        return self._patch(target, {"location": app.location, "properties": properties})

    def _patch(self, target: Target, body: Mapping[str, Any]) -> Sent | NoAnswer:
        headers: dict[str, str] = {}

        def send(client: ContainerAppsAPIClient) -> Sent:
            client.container_apps.begin_update(
                target.resource_group,
                target.container_app,
                io.BytesIO(json.dumps(body).encode()),
                content_type="application/json",
                polling=False,
                retry_total=0,
                raw_response_hook=lambda response: headers.update(response.http_response.headers),
                **self._options(),
            )
            found = {name.lower(): value for name, value in headers.items()}
            return Sent(found.get("azure-asyncoperation") or found.get("location") or "")

        return self._safely(target, send)

    def _safely(self, target: Target, call: Callable[[ContainerAppsAPIClient], T]) -> T | NoAnswer:
        from azure.core import exceptions

        try:
            return call(self._client(target.subscription))
        except exceptions.HttpResponseError as error:
            return _refused(error.status_code or 0, error)
        except exceptions.ClientAuthenticationError as error:
            return NoAnswer(Why.FORBIDDEN, _words(error))
        except (
            exceptions.ServiceRequestError,
            exceptions.ServiceResponseError,
            exceptions.IncompleteReadError,
        ) as error:
            late = "timed out" in str(error).lower()
            return NoAnswer(Why.TIMEOUT if late else Why.UNREACHABLE, _words(error))
        except LookupError as error:
            return NoAnswer(Why.BROKEN, str(error))
        except (exceptions.AzureError, TypeError, ValueError) as error:
            return NoAnswer(Why.FAILED, f"{type(error).__name__}: {_words(error)}")

    def _client(self, subscription: str) -> ContainerAppsAPIClient:
        if subscription not in self._clients:
            from azure.mgmt.appcontainers import ContainerAppsAPIClient

            self._clients[subscription] = ContainerAppsAPIClient(
                self._credential, subscription, self._endpoint, retry_backoff_factor=0.2
            )
        return self._clients[subscription]

    def _options(self) -> dict[str, Any]:
        return {**_TIMEOUTS, **request_options(self._endpoint)}


def _refused(status: int, error: Any) -> NoAnswer:
    after = error.response.headers.get("Retry-After") if error.response is not None else None
    seconds = float(after) if after and after.isdigit() else None
    return NoAnswer(_STATUS.get(status, Why.FAILED), f"{status}: {_words(error)}", seconds)


def _words(error: Exception) -> str:
    """Return the provider's words on one line, without tokens."""
    return _SECRETS.sub("…", " ".join(str(error).split()))[:500]


def _app(app: Mapping[str, Any], revisions: list[dict[str, Any]], target: Target) -> App:
    properties = app["properties"]
    template, configuration = properties.get("template") or {}, properties.get("configuration") or {}
    multiple = configuration.get("activeRevisionsMode") == "Multiple"
    return App(
        id=app["id"],
        location=app["location"],
        template=template,
        env=environment(template, target.container),
        revisions=tuple(_revision(each, target, multiple) for each in revisions),
        multiple=multiple,
        provisioning=properties.get("provisioningState") or "",
        latest=properties.get("latestRevisionName") or "",
    )


def _revision(revision: Mapping[str, Any], target: Target, multiple: bool) -> Revision:
    properties = revision["properties"]
    state = properties.get("runningState") or "Unknown"
    running = state in _RUNNING and properties.get("healthState") != "Unhealthy"
    active = bool(properties.get("active"))
    weight = int(properties.get("trafficWeight") or 0)
    created = properties.get("createdTime")
    return Revision(
        name=revision["name"],
        active=active,
        # In Single mode whatever is active and runs may still answer: the old revision drains while the new takes over.
        weight=weight if multiple else max(weight, 100 if active and running else 0),
        running=running,
        env=environment(properties.get("template") or {}, target.container),
        created=datetime.fromisoformat(created) if created else None,
        state=state,
    )
