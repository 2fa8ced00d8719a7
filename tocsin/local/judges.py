"""What receivers say they take, from their documentation: one judge a receiver, for its inbox.

A judge returns what is wrong, or an empty text; it may raise what reading a malformed body raises.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote

from tocsin.local.inbox import Judge, Taken

KEY = base64.b64encode(b"key of the local world, 32 bytes").decode()
"""The access key of the local world's mail service and topic."""

GENIE_KEY = "01234567-89ab-cdef-0123-456789abcdef"
"""The API key of the local world's alerts."""

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_BLOCKS = {"header": 150, "section": 3_000}


def slack(made: Taken) -> str:
    """Judge a message to an incoming webhook."""
    blocks = made.body["blocks"]
    if not made.body["text"] or not 0 < len(blocks) <= 50:
        return "no_text"
    wrong = (
        block["type"] not in _BLOCKS or not 0 < len(block["text"]["text"]) <= _BLOCKS[block["type"]] for block in blocks
    )
    return "invalid_blocks" if any(wrong) or any(map(_unescaped, blocks)) else ""


def _unescaped(block: Mapping[str, Any]) -> bool:
    if block["text"]["type"] != "mrkdwn":
        return False
    text = re.sub(r"<https://[^<>|\s]+\|[^<>|]+>", "", block["text"]["text"])
    return bool(re.search(r"[<>]|&(?!amp;|lt;|gt;)", text))


def mail_service(made: Taken) -> str:
    """Judge a request to Azure Communication Services: its signature, its ids, and the mail."""
    digest = base64.b64encode(hashlib.sha256(made.raw).digest()).decode()
    text = f"POST\n{made.path}\n{made.headers['x-ms-date']};{made.headers['host']};{digest}"
    signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), text.encode(), "sha256")).decode()
    if digest != made.headers["x-ms-content-sha256"] or not made.headers["authorization"].endswith(f"={signature}"):
        return "Denied by the resource provider."
    since = parsedate_to_datetime(made.headers["x-ms-date"]) - parsedate_to_datetime(
        made.headers["repeatability-first-sent"]
    )
    if not timedelta() <= since < timedelta(minutes=5) or not made.headers["repeatability-request-id"]:
        return "Repeatability-First-Sent is not within five minutes"
    content, to = made.body["content"], made.body["recipients"]["to"]
    whole = content["subject"] and content["plainText"] and to and all("@" in each["address"] for each in to)
    if not all(_attached(each, made.path, content["html"]) for each in made.body.get("attachments", ())):
        return "invalid attachment"
    return "" if whole and len(made.raw) < 10_000_000 and "\n" not in content["subject"] else "invalid mail"


def _attached(given: Mapping[str, Any], path: str, html: str) -> bool:
    """Return whether an attachment is whole; one with an id is shown by the HTML, and by no version before 2025."""
    whole = given["name"] and given["contentType"] and base64.b64decode(given["contentInBase64"], validate=True)
    identity = given.get("contentId", "")
    return bool(whole) and (not identity or (f'"cid:{identity}"' in html and "api-version=2025-09-01" in path))


def alertmanager_webhook(made: Taken) -> str:
    """Judge a webhook of version 4."""
    body = made.body
    if body["version"] != "4" or body["status"] not in ("firing", "resolved") or not body["alerts"]:
        return "not version 4"
    needed = {"groupKey", "receiver", "groupLabels", "commonLabels", "commonAnnotations", "externalURL"}
    if needed - set(body):
        return "something is missing"
    return next(filter(None, map(_alert, body["alerts"])), "")


def alertmanager_api(made: Taken) -> str:
    """Judge alerts posted to the API, version 2."""
    if made.path != "/api/v2/alerts":
        return "no such path"
    return next(filter(None, map(_alert, made.body)), "" if made.body else "no alerts")


def _alert(alert: Mapping[str, Any]) -> str:
    labels = {**alert["labels"], **alert["annotations"]}
    if not alert["labels"] or not all(_LABEL.fullmatch(name) and isinstance(labels[name], str) for name in labels):
        return "invalid label set"
    begins, ends = (datetime.fromisoformat(alert[name]) for name in ("startsAt", "endsAt"))
    return "start time must be before end time" if ends.year > 1 and ends < begins else ""


def jira(made: Taken) -> str:
    """Judge a request to Jira Service Management's alerts."""
    if made.headers["authorization"] != f"GenieKey {GENIE_KEY}":
        return "Could not authenticate"
    if made.path == "/v2/alerts":
        return next(filter(None, _alert_of_jira(made.body)), "")
    action = re.fullmatch(r"/v2/alerts/[^/?]+/(acknowledge|close|notes)\?identifierType=alias", made.path)
    return "" if action and 0 < len(made.body["note"]) <= 25_000 else "no such action"


def _alert_of_jira(body: Mapping[str, Any]) -> Iterator[str]:
    longest = {"message": 130, "alias": 512, "description": 15_000, "entity": 512, "source": 100}
    yield from (f"{name} is too long" for name, most in longest.items() if len(body[name]) > most)
    yield "" if body["message"] else "message can not be empty"
    yield "" if body["priority"] in ("P1", "P2", "P3", "P4", "P5") else "priority is invalid"
    yield "" if len(body["tags"]) <= 20 and all(len(each) <= 50 for each in body["tags"]) else "tags are too long"
    details = body["details"]
    whole = sum(len(name) + len(value) for name, value in details.items())
    yield "" if whole <= 8_000 else "details are too long"


def event_grid(made: Taken) -> str:
    """Judge a batch of CloudEvents posted to a custom topic."""
    if made.headers["aeg-sas-key"] != KEY or "api-version=2018-01-01" not in unquote(made.path):
        return "Unauthorized"
    if not made.headers["content-type"].startswith("application/cloudevents-batch+json"):
        return "not a CloudEvent"
    small = len(made.raw) <= 1_000_000
    return "" if small and made.body and all(map(_cloud_event, made.body)) else "not a CloudEvent"


def _cloud_event(event: Mapping[str, Any]) -> bool:
    whole = all(event[name] for name in ("id", "source", "type", "time", "subject"))
    datetime.fromisoformat(event["time"])
    return whole and event["specversion"] == "1.0" and isinstance(event["data"], dict)


JUDGES: Mapping[str, tuple[Judge, int]] = {
    "slack": (slack, 200),
    "email_acs": (mail_service, 202),
    "alertmanager": (alertmanager_webhook, 200),
    "alertmanager_api": (alertmanager_api, 200),
    "jira_service_management": (jira, 202),
    "event_grid": (event_grid, 200),
}
"""Type of receiver → its judge, and the status it accepts with."""
