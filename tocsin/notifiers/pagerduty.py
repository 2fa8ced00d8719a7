"""PagerDuty, through Events API v2. The episode is the deduplication key, so what is sent twice is one incident.

``fired`` triggers, ``acknowledged`` acknowledges, ``resolved`` resolves; what was done or went blind is added to the
same incident. What was done is told as a change event on the service once the episode is over: a trigger would open an
incident that nothing closes.
A failed action has a key of its own, so that it pages again; the end of the episode resolves it too.
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
from tocsin.notifiers.plain import cut, details, line, links
from tocsin.notifiers.statuses import outcome

OPTIONS: Mapping[str, bool] = {"key_setting": True, "endpoint": False}
"""``key_setting`` names the app setting with the routing key; ``endpoint`` is for another region."""

ENDPOINT = "https://events.pagerduty.com"

_ACTIONS = {Kind.RESOLVED: "resolve", Kind.EXPIRED: "resolve", Kind.ACKNOWLEDGED: "acknowledge"}
_SEVERITY = {Severity.P0: "critical", Severity.P1: "error", Severity.P2: "warning", Severity.P3: "info"}
_LONGEST_KEY, _LONGEST_SUMMARY, _LONGEST_SOURCE, _LONGEST_DETAIL = 255, 1024, 250, 1_000
_KEY_LENGTH = 32


@dataclass(frozen=True, slots=True)
class PagerDuty:
    """Sends events for one service."""

    key: str
    endpoint: str
    http: Http

    def __repr__(self) -> str:
        return "PagerDuty(key=…)"

    def deliver(self, notice: Notice) -> Outcome:
        """Send every event the notice makes, in order; the first that is not accepted ends it and decides."""
        said = Outcome(Said.ACCEPTED, "nothing to send")
        for path, body in events(notice, self.key):
            answer = self.http.post(self.endpoint.rstrip("/") + path, json=body)
            said = outcome(answer, _words(answer, self.key) if isinstance(answer, Reply) else "")
            if said.said is not Said.ACCEPTED:
                break
        return said


def make(options: Mapping[str, str], secret: Callable[[str], str], http: Http) -> PagerDuty:
    """Return the notifier of a receiver. Raises LookupError for a setting that is not set, ValueError for a bad one."""
    key = secret(options["key_setting"])
    if len(key) != _KEY_LENGTH or not key.isascii() or not key.isalnum():
        raise ValueError(f"{options['key_setting']} must hold a routing key of {_KEY_LENGTH} letters and digits")
    return PagerDuty(key, checked(options.get("endpoint") or ENDPOINT), http)


def events(notice: Notice, routing_key: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the events the notice makes, each with its path and as the API takes it."""
    if notice.kind is Kind.WATCHDOG or (notice.kind is Kind.ACTED and notice.over):
        return [("/v2/change/enqueue", _change(notice, routing_key))]
    return [("/v2/enqueue", _event(notice, routing_key, key)) for key in dedup_keys(notice)]


def payload(notice: Notice) -> list[dict[str, Any]]:
    """Return what is sent, with zeros for the routing key."""
    return [{"path": path, "body": body} for path, body in events(notice, "0" * _KEY_LENGTH)]


def dedup_keys(notice: Notice) -> list[str]:
    """Return the keys of the incidents the notice is about, hashed where longer than PagerDuty takes."""
    failed = f"{notice.episode}/failed"
    keys = [failed] if notice.kind is Kind.FAILED else [notice.episode, *([failed] if notice.kind.ends else [])]
    return [key if len(key) <= _LONGEST_KEY else hashlib.sha256(key.encode()).hexdigest() for key in keys]


def _event(notice: Notice, routing_key: str, dedup_key: str) -> dict[str, Any]:
    action = _ACTIONS.get(notice.kind, "trigger")
    base: dict[str, Any] = {"routing_key": routing_key, "event_action": action, "dedup_key": dedup_key}
    if action != "trigger":
        return base
    place = {"severity": _SEVERITY[notice.severity], "component": cut(notice.target, _LONGEST_SOURCE)}
    payload = {**_payload(notice), **place, "group": cut(notice.rule, _LONGEST_SOURCE), "class": notice.kind.value}
    return {**base, "payload": payload, "links": _links(notice)}


def _change(notice: Notice, routing_key: str) -> dict[str, Any]:
    return {"routing_key": routing_key, "payload": _payload(notice), "links": _links(notice)}


def _payload(notice: Notice) -> dict[str, Any]:
    return {
        "summary": cut(line(f"[{notice.severity}] {notice.title}", _LONGEST_SUMMARY), _LONGEST_SUMMARY),
        "source": cut(notice.target, _LONGEST_SOURCE),
        "timestamp": notice.at.isoformat(),
        "custom_details": {name: _detail(name, value, notice) for name, value in details(notice)},
    }


def _detail(name: str, value: str, notice: Notice) -> str:
    # A command and a query are of no use when they were changed to be harmless; neither is telemetry's text.
    own = name in ("Query", notice.manual_does) and value in (notice.query, notice.manual)
    return cut(value, 4 * _LONGEST_DETAIL) if own else line(value, _LONGEST_DETAIL)


def _links(notice: Notice) -> list[dict[str, str]]:
    return [{"href": url, "text": cut(name, 100)} for name, url in links(notice)[:10]]


def _words(reply: Reply, key: str) -> str:
    """Return what the API said is wrong. Its words are shown to operators, so the key is taken out of them."""
    try:
        said = json.loads(reply.text)
        wrong = "; ".join(str(each) for each in said.get("errors") or ())
        return cut(redacted(f"{said.get('message', '')} {wrong}".strip(), [key]), 200)
    except (json.JSONDecodeError, AttributeError, TypeError):
        return ""
