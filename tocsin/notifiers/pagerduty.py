"""PagerDuty, through Events API v2. The episode is the deduplication key, so what is sent twice is one incident.

``fired`` triggers, ``resolved`` resolves; what was done or went blind is added to the same incident. A failed action
has its own key, so that it pages again; the end of the episode resolves both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tocsin.connections.http import Http, Reply
from tocsin.core.fields import Severity
from tocsin.core.message import Kind, Notice, Outcome, Said
from tocsin.notifiers.plain import cut
from tocsin.notifiers.statuses import outcome

OPTIONS: Mapping[str, bool] = {"key_setting": True, "endpoint": False}
"""``key_setting`` names the app setting with the routing key; ``endpoint`` is for another region."""

ENDPOINT = "https://events.pagerduty.com"

_SEVERITY = {Severity.P0: "critical", Severity.P1: "error", Severity.P2: "warning", Severity.P3: "info"}
_LONGEST_KEY, _LONGEST_SUMMARY, _LONGEST_FACT = 255, 1024, 2_000


@dataclass(frozen=True, slots=True)
class PagerDuty:
    """Sends events for one service."""

    key: str
    endpoint: str
    http: Http

    def __repr__(self) -> str:
        return "PagerDuty(key=…)"

    def deliver(self, notice: Notice) -> Outcome:
        """Send one event for each key the notice is about; the first that is not accepted decides."""
        outcomes = (self._send(event(notice, self.key, key)) for key in dedup_keys(notice))
        return next((each for each in outcomes if each.said is not Said.ACCEPTED), Outcome(Said.ACCEPTED, "202"))

    def _send(self, body: Mapping[str, Any]) -> Outcome:
        answer = self.http.post(f"{self.endpoint.rstrip('/')}/v2/enqueue", json=body)
        return outcome(answer, _words(answer) if isinstance(answer, Reply) else "")


def make(options: Mapping[str, str], secret: Callable[[str], str], http: Http) -> PagerDuty:
    """Return the notifier of a receiver. Raises LookupError when the setting is not set."""
    return PagerDuty(secret(options["key_setting"]), options.get("endpoint") or ENDPOINT, http)


def event(notice: Notice, routing_key: str, dedup_key: str) -> dict[str, Any]:
    """Return the event as the API takes it."""
    action = "resolve" if notice.kind is Kind.RESOLVED else "trigger"
    base = {"routing_key": routing_key, "event_action": action, "dedup_key": dedup_key}
    return base if action == "resolve" else {**base, **_contents(notice)}


def dedup_keys(notice: Notice) -> list[str]:
    """Return the keys of the incidents the notice is about, hashed where longer than PagerDuty takes."""
    failed = f"{notice.episode}/failed"
    keys = {Kind.FAILED: [failed], Kind.RESOLVED: [notice.episode, failed]}.get(notice.kind, [notice.episode])
    return [key if len(key) <= _LONGEST_KEY else hashlib.sha256(key.encode()).hexdigest() for key in keys]


def _contents(notice: Notice) -> dict[str, Any]:
    details = {cut(fact.name, 100): cut(fact.value, _LONGEST_FACT) for fact in notice.facts[:40]}
    texts = {"Text": notice.text, "First": notice.first_step, "By hand": notice.manual, "From": notice.provenance}
    return {
        "payload": {
            "summary": cut(f"[{notice.severity}] {notice.title}", _LONGEST_SUMMARY),
            "source": notice.target,
            "severity": _SEVERITY[notice.severity],
            "timestamp": notice.at.isoformat(),
            "component": notice.target,
            "group": notice.rule,
            "class": notice.kind.value,
            "custom_details": {**details, **{name: cut(text, _LONGEST_FACT) for name, text in texts.items() if text}},
        },
        "links": [{"href": url, "text": name} for name, url in notice.links if url.startswith("https://")],
    }


def _words(reply: Reply) -> str:
    try:
        said = json.loads(reply.text)
        return cut(str(said.get("message", "")), 200)
    except (json.JSONDecodeError, AttributeError):
        return ""
