"""Event Grid by Microsoft's own package: events that arrive, in either form, and events published to a custom topic."""

# The package is loaded with the first event, and not with the app: a timer's cold start needs nothing of it.

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tocsin.connections.bounded import cut
from tocsin.connections.http import LONGEST_BODY, Reply, Unreached, checked
from tocsin.connections.identity import StaticToken, request_options
from tocsin.core.event import Event, event

if TYPE_CHECKING:
    from azure.core.messaging import CloudEvent
    from azure.eventgrid import EventGridEvent

SCOPE = "https://eventgrid.azure.net/.default"
"""What a token for a topic is asked for; the identity must be an EventGrid Data Sender."""

_GRID = ("id", "topic", "subject", "eventType", "eventTime", "data", "dataVersion", "metadataVersion")
_CLOUD = ("specversion", "id", "source", "type", "subject", "time", "data", "data_base64", "datacontenttype")
_TIMES = frozenset({"eventTime", "time", "data_base64"})


# What arrives


def read(given: Mapping[str, Any]) -> Event:
    """Return the event of an EventGridEvent or a CloudEvent 1.0 as Microsoft's models read it.

    What is missing is empty; a CloudEvent without an id has none, though its model makes one up: it could not be told
    from a repetition. Raises ValueError for what neither model reads.
    """
    found = _model(given)
    kind = getattr(found, "event_type", None) or getattr(found, "type", None)
    return event(
        identity=found.id if given.get("id") else None,
        kind=kind,
        source=getattr(found, "topic", None) or getattr(found, "source", None),
        subject=found.subject,
        at=getattr(found, "event_time", None) or getattr(found, "time", None),
        data=found.data,
        awaited=isinstance(kind, str) and kind in awaited(),
    )


def _model(given: Mapping[str, Any]) -> CloudEvent[Any] | EventGridEvent:
    """Return the model of an event. A time that cannot be read is as none: an alert in the event is taken all the same.

    Attributes that are not read are left out before: the model of CloudEvents refuses some names of extensions.
    """
    from azure.core.messaging import CloudEvent
    from azure.eventgrid import EventGridEvent

    model: Any = CloudEvent if "specversion" in given else EventGridEvent
    named = {key: given[key] for key in (_CLOUD if model is CloudEvent else _GRID) if key in given}
    for tried in (named, {key: value for key, value in named.items() if key not in _TIMES}):
        try:
            found: CloudEvent[Any] | EventGridEvent = model.from_dict(tried)
            return found
        except Exception as error:  # of text that anybody may send, the models raise whatever comes up
            refused = error
    raise ValueError(f"it is no {model.__name__}: {type(refused).__name__}")


@cache
def awaited() -> frozenset[str]:
    """Return the kinds of event that are looked at: somebody changed a resource of a watched resource group."""
    from azure.eventgrid import SystemEventNames as Names

    return frozenset(
        each.value
        for each in (
            Names.ResourceWriteSuccessEventName,
            Names.ResourceActionSuccessEventName,
            Names.ResourceDeleteSuccessEventName,
        )
    )


def proves_address(given: Mapping[str, Any]) -> bool:
    """Return whether the event is Event Grid's question whether somebody at this address wants its events."""
    if "eventType" not in given:
        return False
    from azure.eventgrid import SystemEventNames

    return bool(given["eventType"] == SystemEventNames.EventGridSubscriptionValidationEventName.value)


# What is published


def address(endpoint: str) -> str:
    """Return where a topic takes events. Raises ValueError, without naming it, for one that is not ``checked``."""
    if "{" in endpoint:
        raise ValueError("the address is not a URL with a host")  # the client would fill it in
    return checked(endpoint)


def checked_key(key: str, setting: str) -> str:
    """Return a topic's access key. Raises ValueError, naming its setting alone, when it can be none."""
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable():
        raise ValueError(f"{setting} must hold one of the topic's access keys")
    return key


def cloud_event(
    identity: str, target: str, kind: str, subject: str, data: Mapping[str, Any], at: datetime | None = None
) -> dict[str, Any]:
    """Return a CloudEvent as it is sent, about a target; without the time ``at`` it has none."""
    spelled = f"{at.astimezone(UTC).isoformat(timespec='milliseconds').removesuffix('+00:00')}Z" if at else ""
    return {
        "specversion": "1.0",
        "id": identity,
        "source": f"/tocsin/{quote(target, safe='')}",
        "type": kind,
        "subject": subject,
        **({"time": spelled} if spelled else {}),
        "datacontenttype": "application/json",
        "data": dict(data),
    }


def publish(topic: str, event: Mapping[str, Any], by: str | StaticToken, within: float) -> Reply | Unreached:
    """Publish one event, once, by a topic's access key or a token, and return what was answered.

    ``within`` is for how many seconds connecting and each wait for the answer may take. No redirect is followed: it
    would be sent the key.
    """
    from azure.core.credentials import AzureKeyCredential
    from azure.core.exceptions import AzureError, HttpResponseError, ServiceRequestError
    from azure.core.messaging import CloudEvent
    from azure.eventgrid import EventGridPublisherClient

    _quiet()
    credential: Any = AzureKeyCredential(by) if isinstance(by, str) else by
    plain = {} if isinstance(by, str) else request_options(topic)  # which the policy for tokens alone takes
    try:
        with EventGridPublisherClient(topic, credential) as client:
            client.send(CloudEvent[Any].from_dict(dict(event)), **_options(within), **plain)
        return Reply(200)
    except HttpResponseError as error:
        answer = _answer(error)
        return answer or Unreached(type(error).__name__, maybe=True)
    except ServiceRequestError as error:
        return Unreached(type(error).__name__, maybe=False)
    except AzureError as error:
        return Unreached(type(error).__name__, maybe=True)


def _options(within: float) -> dict[str, Any]:
    """Return the options of one request: the client takes none of them when it is made."""
    return {
        "retry_total": 0,
        "permit_redirects": False,
        "connection_timeout": within,
        "read_timeout": within,
        "hooks": cut(LONGEST_BODY, within),
        "logger": _SILENT,
    }


_SILENT = logging.Logger("event grid's transport", logging.CRITICAL + 1)
"""Addresses of topics are secrets, and the client would log that of every request."""


def _quiet() -> None:
    # It warns of each option of a request, for it hands them to the model of the event, too.
    logging.getLogger("azure.eventgrid").setLevel(logging.ERROR)
    logging.getLogger("urllib3").setLevel(logging.WARNING)


def _answer(error: Any) -> Reply | None:
    """Return what was answered; None where no answer came. Of a 404 the client raises an error about the error."""
    answer = error.response if error.response is not None else getattr(error.__cause__, "response", None)
    if answer is None:
        return None
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return Reply(answer.status_code, headers, _text(answer))


def _text(answer: Any) -> str:
    """Return the beginning of the body; one that cannot be read is none, for the status says what came of it."""
    try:
        return str(answer.body().decode("utf-8", "replace"))[:2000]
    except Exception:
        return ""
