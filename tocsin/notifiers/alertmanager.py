"""Anything that takes the webhooks of Prometheus' Alertmanager (version 4): Tocsin speaks as Alertmanager would.

The episode is the group and the alert in it; a failed action is an alert of its own, which ends with its episode. What
went blind or was done is told as the same alert, firing; what was done once the episode is over, as resolved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tocsin.connections.http import Http, checked
from tocsin.core.message import Kind, Notice, Outcome
from tocsin.notifiers.prometheus import FAILED_ACTION, authorization, fingerprint, labels, remarks, source, started
from tocsin.notifiers.statuses import outcome

OPTIONS: Mapping[str, bool] = {"url_setting": True, "authorization_setting": False}
"""App settings that hold the address, and the value of the ``Authorization`` header, such as ``Bearer …``."""

_NEVER = "0001-01-01T00:00:00Z"
"""How Alertmanager writes the end of what has not ended."""


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """Posts webhooks to one endpoint."""

    url: str
    authorization: str
    http: Http

    def __repr__(self) -> str:
        return "Alertmanager(url=…, authorization=…)"

    def deliver(self, notice: Notice) -> Outcome:
        """Post one webhook. The same notice is the same webhook, at every attempt."""
        headers = {"authorization": self.authorization} if self.authorization else None
        return outcome(self.http.post(self.url, json=webhook(notice), headers=headers))


def payload(notice: Notice) -> dict[str, Any]:
    """Return what is sent."""
    return webhook(notice)


def make(options: Mapping[str, str], secret: Callable[[str], str], http: Http) -> Alertmanager:
    """Return the notifier of a receiver. Raises LookupError for a setting that is not set, ValueError for a bad one."""
    return Alertmanager(checked(secret(options["url_setting"])), authorization(options, secret), http)


def webhook(notice: Notice) -> dict[str, Any]:
    """Return the webhook as Alertmanager sends it."""
    abouts = [FAILED_ACTION] if notice.kind is Kind.FAILED else ["", *([FAILED_ACTION] if notice.kind.ends else [])]
    alerts = [_alert(notice, about) for about in abouts]
    first = alerts[0]["labels"]
    grouped = {name: first[name] for name in ("alertname", "target") if name in first}
    common = {name: value for name, value in first.items() if all(each["labels"].get(name) == value for each in alerts)}
    return {
        "version": "4",
        "groupKey": f"tocsin:{fingerprint(notice.episode)}",
        "truncatedAlerts": 0,
        "status": _status(notice),
        "receiver": "tocsin",
        "groupLabels": grouped,
        "commonLabels": common,
        "commonAnnotations": remarks(notice),
        "externalURL": source(notice),
        "alerts": alerts,
    }


def _alert(notice: Notice, about: str) -> dict[str, Any]:
    status = _status(notice)
    return {
        "status": status,
        "labels": labels(notice, about),
        "annotations": remarks(notice),
        "startsAt": started(notice).isoformat(),
        "endsAt": notice.at.isoformat() if status == "resolved" else _NEVER,
        "generatorURL": source(notice),
        "fingerprint": fingerprint(f"{notice.episode}/{about}"),
    }


def _status(notice: Notice) -> str:
    ended = notice.kind.ends or (notice.kind is Kind.ACTED and notice.over)
    return "resolved" if ended else "firing"
