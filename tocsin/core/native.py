"""Alerts of Azure Monitor itself, in its common alert schema: they are routed, told and answered as Tocsin's own.

One arrives when it fires and one when it is resolved, at least once and in any order. Each says when it fired, so that
a resolution that comes first tells the whole episode, and a firing that comes last tells nothing new.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tocsin.core.alert import Alert, Instance, Seen, State, Verdict, instance
from tocsin.core.config import Target
from tocsin.core.evaluate import Freshness
from tocsin.core.fields import Severity
from tocsin.core.rule import OutOf, Rule, When
from tocsin.core.text import scrub

SCHEMA = "azureMonitorCommonAlertSchema"

OLDEST, EARLIEST = timedelta(days=1), timedelta(minutes=5)
"""How long Azure goes on delivering, and how far ahead its clock may be."""

_FORGOTTEN, _KEPT = timedelta(days=7), timedelta(days=2)
"""How long an alert of which nothing more is heard stays open, and how long a resolved one is remembered."""

_SECOND = timedelta(seconds=1)
_APP = "/providers/microsoft.app/containerapps/"


def _rule(severity: Severity) -> Rule:
    return Rule(
        id=f"azure_alert_{severity.value.lower()}",
        summary="Azure Monitor alert {alert} on {resource}.",
        description="An alert rule of Azure Monitor's own says so; its condition and history are in the portal.",
        severity=severity,
        when=When(signal="azure_monitor", at_least=0.0, over=timedelta(minutes=1), by=("alert", "resource", "origin")),
        # One breach in the newest hundred looks: what is over is still remembered, so that a late firing is known.
        in_=OutOf(hits=1, slots=100),
        every=timedelta(minutes=10),
        offset=timedelta(),
        labels={"source": "azure-monitor"},
        runbook="docs/operations.md#azure-monitor-alerts",
        owner="tocsin",
        file="built in",
    )


NATIVE = tuple(_rule(severity) for severity in Severity)
"""The rules that Azure Monitor's alerts belong to, one a severity."""

_SEVERITIES = {"Sev0": 0, "Sev1": 1, "Sev2": 2, "Sev3": 3, "Sev4": 3}

UNWATCHED = Target(name="unwatched", workspace="none", role_name="none")
"""Stands for whatever an alert is about that no target names: somebody sent it here, so somebody is told."""


@dataclass(frozen=True, slots=True)
class Native:
    """One message: an alert that fired, or (``resolved`` is not None) that is over."""

    rule: Rule
    by: Instance
    fired: datetime
    resolved: datetime | None
    resources: tuple[str, ...]
    value: float | None
    words: str

    @property
    def slots(self) -> tuple[datetime, ...]:
        """When it was seen, oldest first: not yet, firing, and no longer.

        An alert that fires anew while the last time was never resolved is over before it does.
        """
        began = (self.fired - _SECOND, self.fired)
        return began if self.resolved is None else (*began, max(self.resolved, self.fired + _SECOND))

    @property
    def origin(self) -> str:
        """What names the alert in every message about it."""
        return dict(self.by)["origin"]

    def at(
        self, slot: datetime, _alerts: Mapping[Instance, Alert], _fresh: Freshness, _within: timedelta
    ) -> dict[Instance, Seen]:
        """Return what the message says of one of its instants; takes the place of a rule's measurements."""
        verdict = Verdict.BREACHED if slot == self.fired else Verdict.CLEAR
        return {self.by: Seen(verdict, self.value, "Azure Monitor says so", self.words)}


def read(given: Any) -> Native | None:
    """Return the alert of a message in the common alert schema; None when it is none. All of it is untrusted text."""
    data = given.get("data") if isinstance(given, Mapping) and given.get("schemaId") == SCHEMA else None
    essentials = data.get("essentials") if isinstance(data, Mapping) else None
    if not isinstance(data, Mapping) or not isinstance(essentials, Mapping):
        return None
    fired, resolved = _time(essentials.get("firedDateTime")), _time(essentials.get("resolvedDateTime"))
    condition, severity = essentials.get("monitorCondition"), _SEVERITIES.get(str(essentials.get("severity")), 1)
    over = condition == "Resolved"
    if fired is None or condition not in ("Fired", "Resolved") or (over and resolved is None):
        return None
    named = essentials.get("alertTargetIDs")
    resources = tuple(each.lower() for each in named if isinstance(each, str)) if isinstance(named, list) else ()
    value, words = _condition(data.get("alertContext"))
    about = [words, scrub(str(essentials.get("description") or ""), 200)]
    by = _instance(essentials, resources)
    told = "; ".join(filter(None, about))
    return Native(NATIVE[severity], by, fired, resolved if over else None, resources[:20], value, told)


def refusal(native: Native, now: datetime) -> str:
    """Return why the message is not looked at, or an empty text."""
    at = native.slots[-1]
    if now - at > OLDEST:
        return "it is too old"
    return "it lies in the future" if at - now > EARLIEST else ""


def concerned(native: Native, targets: Iterable[Target]) -> tuple[Target, ...]:
    """Return the targets that the alert is about: whose app it names, else the one whose group or workspace it names.

    What is about several at once, or about another app beside them, is about none of them: it must not be acted on
    everywhere. Somebody is told all the same.
    """
    known = tuple(targets)
    exact = tuple(each for each in known if each.container_app and _names(native, each.app_id))
    near = tuple(each for each in known if _near(native, each))
    other = any(_APP in each for each in native.resources)
    return exact or (near if len(near) == 1 and not other else ()) or (UNWATCHED,)


def unread(given: Any, now: datetime) -> Native | None:
    """Return an alert for a message of an action group that is not in the common alert schema; None when it is none."""
    if not isinstance(given, Mapping) or "schemaId" not in given:
        return None
    digest = hashlib.sha256(repr(given)[:10_000].encode()).hexdigest()[:12]
    by = {"alert": "(not in the common alert schema)", "resource": "(not read)", "origin": digest}
    words = "turn the common alert schema on in the action group, so that its name, severity and end can be read"
    return Native(NATIVE[1], instance(by), now.replace(microsecond=0), None, (), None, words)


def begun_by(alert: Alert, native: Native) -> Native | None:
    """Return the message as it is about a stored alert of the same origin; None when that is another or over."""
    rule = next((each for each in NATIVE if each.id == alert.rule), None)
    if rule is None or not alert.open or dict(alert.by).get("origin") != native.origin:
        return None
    return replace(native, rule=rule, by=alert.by)


def remembered(alert: Alert, now: datetime) -> bool:
    """Return whether an alert of Azure Monitor is still worth keeping."""
    if alert.slot is None:
        return False
    return now - alert.slot < (_KEPT if alert.state is State.INACTIVE else _FORGOTTEN)


def _near(native: Native, target: Target) -> bool:
    group = f"/subscriptions/{target.subscription}/resourceGroups/{target.resource_group}"
    own = bool(target.resource_group) and _names(native, group)
    return own or bool(target.workspace_resource and _names(native, target.workspace_resource))


def _names(native: Native, resource: str) -> bool:
    return any(f"{each}/".startswith(f"{resource.lower()}/") for each in native.resources)


def _instance(essentials: Mapping[str, Any], resources: tuple[str, ...]) -> Instance:
    origin = str(essentials.get("originAlertId") or essentials.get("alertId") or "")
    resource = resources[0].rsplit("/", 1)[-1] if resources else "(none named)"
    name = scrub(str(essentials.get("alertRule") or "(no name)"), 100)
    digest = hashlib.sha256(origin.encode()).hexdigest()[:12]
    return instance({"alert": name, "resource": scrub(resource, 100), "origin": digest})


def _condition(context: Any) -> tuple[float | None, str]:
    """Return the value of the first condition, and what it is held against."""
    try:
        first = context["condition"]["allOf"][0]
        value = float(first["metricValue"]) if first.get("metricValue") is not None else None
        named = first.get("metricName") or first.get("searchQuery") or ""
        words = scrub(f"{str(named)[:200]} {first.get('operator') or ''} {first.get('threshold') or ''}", 300)
        return (value if value is not None and math.isfinite(value) else None), words
    except (TypeError, LookupError, ValueError, AttributeError, OverflowError):
        return None, ""


_YEARS = (2000, 2200)
"""Years that a clock can mean."""


def _time(value: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    at = (at if at.tzinfo else at.replace(tzinfo=UTC)).replace(microsecond=0)
    return at if _YEARS[0] <= at.year <= _YEARS[1] else None
