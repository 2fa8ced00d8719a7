"""Prometheus' Alertmanager, through its API v2: it then groups, silences, inhibits and tells as it is set to.

An alert is its labels there. It fires until it is resolved, for a week at most, since Tocsin says each thing once and
Alertmanager ends what nobody repeats. What was done and what failed are alerts of their own with the label ``about``,
which end by themselves: after a quarter of an hour, and after a day or with the episode where nothing else labels it.
Alertmanager keeps alerts in memory: one that restarts has forgotten them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tocsin.connections.http import Http, checked
from tocsin.core.message import Kind, Notice, Outcome
from tocsin.notifiers.prometheus import FAILED_ACTION, authorization, labels, remarks, source, started
from tocsin.notifiers.statuses import outcome

OPTIONS: Mapping[str, bool] = {"url_setting": True, "authorization_setting": False}
"""App settings that hold Alertmanager's own address, and the value of the ``Authorization`` header, if it wants one."""

PATH = "/api/v2/alerts"

_LASTS = {Kind.ACTED: timedelta(minutes=15), Kind.FAILED: timedelta(days=1)}
_LASTS_OTHERWISE = timedelta(days=7)
_ABOUT = {Kind.ACTED: "action", Kind.FAILED: FAILED_ACTION}


@dataclass(frozen=True, slots=True)
class AlertmanagerApi:
    """Posts alerts to one Alertmanager."""

    url: str
    authorization: str
    http: Http

    def __repr__(self) -> str:
        return "AlertmanagerApi(url=…, authorization=…)"

    def deliver(self, notice: Notice) -> Outcome:
        """Post what the notice is about. Posting the same twice changes nothing."""
        headers = {"authorization": self.authorization} if self.authorization else None
        return outcome(self.http.post(self.url.rstrip("/") + PATH, json=alerts(notice), headers=headers))


def payload(notice: Notice) -> list[dict[str, Any]]:
    """Return what is sent."""
    return alerts(notice)


def make(options: Mapping[str, str], secret: Callable[[str], str], http: Http) -> AlertmanagerApi:
    """Return the notifier of a receiver. Raises LookupError for a setting that is not set, ValueError for a bad one."""
    return AlertmanagerApi(checked(secret(options["url_setting"])), authorization(options, secret), http)


def alerts(notice: Notice) -> list[dict[str, Any]]:
    """Return the alerts the notice makes or ends, as the API takes them."""
    if notice.kind.ends:
        return [_alert(notice, ""), _alert(notice, FAILED_ACTION)]
    return [_alert(notice, _ABOUT.get(notice.kind, ""))]


def _alert(notice: Notice, about: str) -> dict[str, Any]:
    begins = notice.at if notice.kind in _ABOUT else started(notice)
    ends = notice.at if notice.kind.ends else notice.at + _LASTS.get(notice.kind, _LASTS_OTHERWISE)
    link = source(notice)
    return {
        "labels": labels(notice, about),
        "annotations": remarks(notice),
        "startsAt": begins.isoformat(),
        "endsAt": ends.isoformat(),
        **({"generatorURL": link} if link else {}),
    }
