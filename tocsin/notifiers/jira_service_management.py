"""Jira Service Management's alerts, as Opsgenie's were. The episode is the alias: what is sent twice is one alert.

``fired`` opens, ``acknowledged`` acknowledges, ``resolved`` closes; what was done or went blind is a note on the same
alert, which is opened where it is not; once the episode is over it is a note only. A failed action has an alias of its
own, so that it pages again, and is closed with its episode. They have no P0: it is told as their P1, with a tag that
says which.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tocsin.connections.http import Http, Reply, checked
from tocsin.core.fields import Severity
from tocsin.core.message import Kind, Notice, Outcome, Said
from tocsin.core.text import redacted
from tocsin.notifiers.plain import cut
from tocsin.notifiers.prose import fitting, safe, summary
from tocsin.notifiers.statuses import outcome

OPTIONS: Mapping[str, bool] = {"key_setting": True, "endpoint": False}
"""``key_setting`` names the app setting with the integration's API key; ``endpoint`` is for Opsgenie or a proxy."""

ENDPOINT = "https://api.atlassian.com/jsm/ops/integration"

_PRIORITY = {Severity.P0: "P1", Severity.P1: "P1", Severity.P2: "P2", Severity.P3: "P3"}
_LONGEST_MESSAGE, _LONGEST_DESCRIPTION, _LONGEST_NOTE, _LONGEST_ENTITY = 130, 15_000, 20_000, 512
_MOST_TAGS, _LONGEST_TAG, _LONGEST_DETAILS = 20, 50, 8_000
_KEY_LENGTHS = range(10, 201)


@dataclass(frozen=True, slots=True)
class JiraServiceManagement:
    """Sends alerts for one integration."""

    key: str
    endpoint: str
    http: Http

    def __repr__(self) -> str:
        return "JiraServiceManagement(key=…)"

    def deliver(self, notice: Notice) -> Outcome:
        """Send every request the notice makes, in order; the first that is not accepted ends it and decides."""
        said = Outcome(Said.ACCEPTED, "nothing to send")
        for path, body in requests(notice):
            headers = {"authorization": f"GenieKey {self.key}"}
            answer = self.http.post(self.endpoint.rstrip("/") + path, json=body, headers=headers)
            said = outcome(answer, _words(answer, self.key) if isinstance(answer, Reply) else "")
            if isinstance(answer, Reply) and answer.status == 404 and _needs_one(path):
                said = Outcome(Said.ACCEPTED, "404 nothing to close")
            if said.said is not Said.ACCEPTED:
                break
        return said


def payload(notice: Notice) -> list[dict[str, Any]]:
    """Return what is sent."""
    return [{"path": path, "body": body} for path, body in requests(notice)]


def make(options: Mapping[str, str], secret: Callable[[str], str], http: Http) -> JiraServiceManagement:
    """Return the notifier of a receiver. Raises LookupError for a setting that is not set, ValueError for a bad one."""
    key = secret(options["key_setting"])
    if len(key) not in _KEY_LENGTHS or not key.isascii() or not key.replace("-", "").isalnum():
        raise ValueError(f"{options['key_setting']} must hold an integration's API key: letters, digits and hyphens")
    return JiraServiceManagement(key, checked(options.get("endpoint") or ENDPOINT), http)


def requests(notice: Notice) -> list[tuple[str, dict[str, Any]]]:
    """Return the requests the notice makes, each with its path and as the API takes it."""
    alias = _alias(notice.episode)
    if notice.kind.ends:
        return [_on(each, "close", notice) for each in (alias, _alias(f"{notice.episode}/failed"))]
    if notice.kind is Kind.ACKNOWLEDGED:
        return [_on(alias, "acknowledge", notice)]
    if notice.kind is Kind.FAILED:
        return [_opening(_alias(f"{notice.episode}/failed"), notice)]
    if notice.kind is Kind.FIRED:
        return [_opening(alias, notice)]
    note = _on(alias, "notes", notice)
    # Opening what is open already only counts it; a note on what is not open would be lost.
    return [note] if notice.over else [_opening(alias, notice), note]


def _opening(alias: str, notice: Notice) -> tuple[str, dict[str, Any]]:
    body = {
        "message": summary(notice, _LONGEST_MESSAGE),
        "alias": alias,
        "description": fitting(notice, _LONGEST_DESCRIPTION),
        "priority": _PRIORITY[notice.severity],
        "tags": _tags(notice),
        "details": _details(notice),
        "entity": safe(notice.target, _LONGEST_ENTITY),
        "source": "tocsin",
    }
    return "/v2/alerts", body


def _on(alias: str, action: str, notice: Notice) -> tuple[str, dict[str, Any]]:
    """Return the request that does something with an alert there is, and tells it as a note."""
    note = {"note": fitting(notice, _LONGEST_NOTE), "source": "tocsin", "user": "tocsin"}
    return f"/v2/alerts/{alias}/{action}?identifierType=alias", note


def _needs_one(path: str) -> bool:
    """Whether a request that finds no alert has nothing left to do."""
    return "/close?" in path or "/acknowledge?" in path


def _alias(identity: str) -> str:
    """Return what stands for an episode in an address and in 512 letters."""
    return hashlib.sha256(identity.encode()).hexdigest()


def _tags(notice: Notice) -> list[str]:
    """Return ``name=value`` of every label, and the severity; a comma would make two of one."""
    named = [f"{name}={value}".replace(",", ";") for name, value in notice.labels.items()]
    return [safe(each, _LONGEST_TAG) for each in ["tocsin", notice.severity.value, *named][:_MOST_TAGS]]


def _details(notice: Notice) -> dict[str, str]:
    """Return the facts by name, as many as 8,000 letters hold; the description has them all."""
    found, left = {}, _LONGEST_DETAILS
    pairs = [(safe(fact.name, 60) or "-", fact.value) for fact in notice.facts[:20]]
    for name, value in [("Rule", notice.rule), ("Episode", notice.episode), *pairs]:
        shown = safe(value, 500)
        left -= len(name) + len(shown) + 20
        if left < 0:
            break
        found[name] = shown
    return found


def _words(reply: Reply, key: str) -> str:
    """Return what the API said is wrong. Its words are shown to operators, so the key is taken out of them."""
    if 200 <= reply.status < 300:
        return ""
    try:
        return cut(redacted(str(json.loads(reply.text).get("message", "")), [key]), 200)
    except (json.JSONDecodeError, AttributeError):
        return ""
