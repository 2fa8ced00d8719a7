"""Event Grid's custom topics that take CloudEvents 1.0: an event's form, and how one is published."""

# The Event Grid SDK is not used: importing it costs a cold start more than this file does, and it retries by itself for
# longer than an attempt may take.

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from tocsin.connections.http import Http, Reply, Unreached, checked

SCOPE = "https://eventgrid.azure.net/.default"
"""What a token for a topic is asked for; the identity must be an EventGrid Data Sender."""

_VERSION = "api-version=2018-01-01"


def address(endpoint: str) -> str:
    """Return where a topic takes events. Raises ValueError, without naming it, for one that is not ``checked``."""
    return checked(endpoint) if "?" in endpoint else f"{checked(endpoint)}?{_VERSION}"


def by_key(key: str, setting: str) -> dict[str, str]:
    """Return the header of a topic's access key. Raises ValueError, naming its setting alone, when it can be none."""
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable():
        raise ValueError(f"{setting} must hold one of the topic's access keys")
    return {"aeg-sas-key": key}


def by_token(token: str) -> dict[str, str]:
    """Return the header of an identity's token."""
    return {"authorization": f"Bearer {token}"}


def cloud_event(
    identity: str, target: str, kind: str, subject: str, data: Mapping[str, Any], time: str = ""
) -> dict[str, Any]:
    """Return a CloudEvent in structured form, about a target; without a ``time`` (ISO 8601) it has none."""
    return {
        "specversion": "1.0",
        "id": identity,
        "source": f"/tocsin/{quote(target, safe='')}",
        "type": kind,
        "subject": subject,
        **({"time": time} if time else {}),
        "datacontenttype": "application/json",
        "data": dict(data),
    }


def publish(http: Http, at: str, event: Mapping[str, Any], key: Mapping[str, str]) -> Reply | Unreached:
    """Publish one event at a topic's ``address``, with the header that ``by_key`` or ``by_token`` made."""
    headers = {"content-type": "application/cloudevents+json; charset=utf-8", **key}
    return http.post(at, content=json.dumps(event).encode(), headers=headers)
