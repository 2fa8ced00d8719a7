"""Alerts of Azure Monitor itself, in its common alert schema: they are routed, told and answered as Tocsin's own.

One arrives when it fires and one when it is resolved, at least once and in any order. Each says when it fired, so that
a resolution that comes first tells the whole episode, and a firing that comes last tells nothing new. An event of the
activity log, and a log alert without a state, is never resolved: it is notified once, and expires.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from tocsin.core import common_alert as common
from tocsin.core.alert import STORM, Alert, Instance, Seen, State, Verdict, instance
from tocsin.core.config import Target
from tocsin.core.evaluate import Freshness
from tocsin.core.fields import POSTED, Severity
from tocsin.core.instance import texts
from tocsin.core.rule import OutOf, Rule, When
from tocsin.core.text import normalize, scrub

OLDEST, EARLIEST = timedelta(days=1), timedelta(minutes=5)
"""How long Azure goes on delivering, and how far ahead a clock may be whose times are still used."""

_LASTS, _EVENT_LASTS, _KEPT = timedelta(days=7), timedelta(days=1), timedelta(days=2)
"""How long an alert stays open after its last report, the same of what has no end, and how long it is kept after."""

_MOST_ENDED = 500
"""Ended alerts of one rule and target that are kept, so that a late firing is known. Every message reads them."""

_FORGOTTEN_AT_ONCE = 50

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
        labels=dict([POSTED]),
        runbook="docs/operations.md#azure-monitor-alerts",
        owner="tocsin",
        file="built in",
    )


NATIVE = tuple(_rule(severity) for severity in Severity)
"""The rules that Azure Monitor's alerts belong to, one a severity."""

IDS = frozenset(rule.id for rule in NATIVE)
"""The names of those rules."""

_SEVERITIES = {"sev0": 0, "sev1": 1, "sev2": 2, "sev3": 3, "sev4": 3}
"""By the name in small letters; an unknown one counts as the second, so that somebody is paged."""

UNWATCHED = Target(name="unwatched", workspace="none", role_name="none").model_copy(update={"labels": {}})
"""Stands for whatever an alert is about that no target names: somebody sent it here, so somebody is told."""


@dataclass(frozen=True, slots=True)
class Native:
    """One message: an alert that fired, or that is ``over``. ``fired`` and ``resolved`` are None where it does not say.

    Azure gives every firing of a log alert without a state a new ``origin``. So a log alert is known by its rule,
    resource and dimensions: the firing that ``continues`` an open one begins no episode, and only the newest origin's
    resolution ends it. Another alert is known by its origin. ``endless`` says that no resolution can come.
    """

    rule: Rule
    by: Instance
    arrived: datetime
    fired: datetime | None
    resolved: datetime | None
    over: bool
    resources: tuple[str, ...]
    value: float | None
    words: str
    origin: str = ""
    """What a resolution of this firing says, too; of an alert known by its origin, also when it says that it fired."""
    continues: bool = False
    endless: bool = False

    @property
    def slots(self) -> tuple[datetime, ...]:
        """When it was seen, oldest first: not yet, firing, and no longer.

        An alert known by its origin that fires anew while the last time was never resolved is over before it does.
        What does not say when it fired is seen when it arrived, and continues whatever is open.
        """
        if self.fired is None:
            return (self._ends or self.arrived,)
        began = (self.fired,) if self.continues else (self.fired - _SECOND, self.fired)
        return (*began, max(self._ends, self.fired + _SECOND)) if self._ends else began

    @property
    def name(self) -> str:
        """What Azure Monitor calls its rule."""
        return texts(self.by).get("alert", "")

    @property
    def key(self) -> str:
        """What names the alert in every message about it."""
        return texts(self.by)["origin"]

    @property
    def _ends(self) -> datetime | None:
        return (self.resolved or self.arrived) if self.over else None

    def at(
        self, slot: datetime, alerts: Mapping[Instance, Alert], _fresh: Freshness, _within: timedelta
    ) -> dict[Instance, Seen]:
        """Return what the message says of one of its instants; takes the place of a rule's measurements."""
        known = alerts.get(self.by)
        ends = self.over and slot == self.slots[-1]
        if known is not None and (self._of_earlier(known) if ends else self._again(known)):
            return {}
        if ends or (self.fired is not None and slot < self.fired):
            return {self.by: Seen(Verdict.CLEAR, self.value, "Azure Monitor says so", self.words)}
        number = sum(each.open for by, each in alerts.items() if by != STORM)
        if number >= self.rule.max_instances and not (known and known.open):
            return {STORM: _storm(number + 1, self.rule.max_instances)}
        return {self.by: self._firing(known)}

    def _firing(self, known: Alert | None) -> Seen:
        again = known is not None and known.open and (known.endless or self._another(known))
        endless = self.endless or again
        return Seen(
            Verdict.BREACHED, self.value, "Azure Monitor says so", self.words, origin=self.origin, endless=endless
        )

    def _another(self, known: Alert) -> bool:
        """Whether it is another firing than the one that the open alert was last reported by."""
        return self.continues and bool(known.origin and self.origin) and known.origin != self.origin

    def _again(self, known: Alert) -> bool:
        """Whether it is the firing by which the alert was reported last: a clock that was ahead is right later on."""
        return not self.continues and bool(self.origin) and known.origin == self.origin

    def _of_earlier(self, known: Alert) -> bool:
        """Whether it ends an earlier episode than the one that is open."""
        if not known.open or self.continues:
            return known.open and self._another(known)
        # What did not say when it fired is known from its arrival, which is always later.
        since = known.fired if known.origin else None
        return bool(self.resolved is None and self.fired and since and self.fired < since)


def _storm(number: int, most: int) -> Seen:
    return Seen(Verdict.BREACHED, float(number), "storm", f"{number} alerts are open, at most {most} alone")


@dataclass(frozen=True, slots=True)
class Ended:
    """That an alert is over because nothing more was reported, or that a storm is; takes the place of a message."""

    by: Instance
    seen: Seen

    def at(
        self, _slot: datetime, _alerts: Mapping[Instance, Alert], _fresh: Freshness, _within: timedelta
    ) -> dict[Instance, Seen]:
        """Return that the alert is over."""
        return {self.by: self.seen}


def end_of(alert: Alert, alerts: Iterable[Alert], now: datetime) -> Ended | None:
    """Return the end of an alert of Azure Monitor that ends by itself at ``now``: it expired, or its storm passed.

    ``alerts`` are all there are, beside which a storm is judged. None for any other alert.
    """
    if not alert.open or alert.rule not in IDS:
        return None
    if alert.by == STORM:
        return None if _storms(alert, alerts) else Ended(STORM, Seen(Verdict.CLEAR, None, "storm is over"))
    if alert.slot is None or now - alert.slot < _lasts(alert):
        return None
    silent = Seen(Verdict.CLEAR, None, "nothing more was reported, not that it is over", expired=True)
    return Ended(alert.by, silent)


def _lasts(alert: Alert) -> timedelta:
    return _EVENT_LASTS if alert.endless or texts(alert.by).get("origin") == UNREAD else _LASTS


def _storms(storm: Alert, alerts: Iterable[Alert]) -> bool:
    of = storm.rule, storm.target
    beside = [each for each in alerts if (each.rule, each.target) == of and each.by != STORM and each.open]
    return len(beside) >= NATIVE[0].max_instances


def read(given: Any, now: datetime) -> Native | None:
    """Return the alert of a message in the common alert schema that arrived at ``now``; None when it is none.

    All of it is untrusted. What it does not say in a form that can be read is taken so that somebody is told: a time
    is that of its arrival, a severity P1, a condition that is not known is one that fires.
    """
    essentials, context = common.parts(given)
    if essentials is None:
        return None
    condition = common.small(essentials.get("monitorCondition"))
    over, kind = condition == "resolved", common.small(essentials.get("signalType"))
    fired, resolved = _times(essentials, now)
    resources = common.resources_of(essentials.get("alertTargetIDs"))
    value, words = common.condition(context)
    odd = "" if condition in ("fired", "resolved") else f"its condition is {condition[:40] or 'not given'}, not Fired"
    about = [words, common.title(context), scrub(common.text(essentials.get("description")), 200), scrub(odd, 80)]
    stateless = kind == "activity log"
    continues = stateless or kind == "log"
    origin = common.digest(common.text(essentials.get("originAlertId") or essentials.get("alertId")))
    key = common.digest(common.identity(essentials, resources, words, context)) if continues else origin
    said = common.time(essentials.get("firedDateTime"))
    firing = common.digest(f"{origin} {said}") if said else ""
    name = normalize(common.text(essentials.get("alertRule"))) or "(no name)"
    resource = normalize(resources[0].rsplit("/", 1)[-1] if resources else "") or "(none named)"
    return Native(
        rule=NATIVE[_SEVERITIES.get(common.small(essentials.get("severity")), 1)],
        by=instance({"alert": name, "resource": resource, "origin": key}),
        arrived=now.replace(microsecond=0),
        fired=fired,
        resolved=resolved,
        over=over,
        resources=resources,
        value=value,
        words="; ".join(filter(None, about)),
        origin=origin if continues else firing,
        continues=continues,
        endless=stateless and not over,
    )


def _times(essentials: Mapping[str, Any], now: datetime) -> tuple[datetime | None, datetime | None]:
    """Return when it fired and when it was resolved; None for what is not said, or said by a clock that is ahead.

    What a clock says that is ahead is taken as of its arrival: the end by that clock could lie before the beginning.
    """
    fired, resolved = (common.time(essentials.get(name)) for name in ("firedDateTime", "resolvedDateTime"))
    if fired is not None and fired - now > EARLIEST:
        return None, None
    return fired, None if resolved is not None and resolved - now > EARLIEST else resolved


def refusal(native: Native, now: datetime) -> str:
    """Return why the message is not looked at, or an empty text."""
    return "it is too old" if now - native.slots[-1] > OLDEST else ""


def concerned(native: Native, targets: Iterable[Target]) -> tuple[Target, ...]:
    """Return the targets that the alert is about: whose app it names, else the one whose component, group or workspace.

    What is about several at once, or about another app beside them, is about none of them: it must not be acted on
    everywhere. Somebody is told all the same.
    """
    known = tuple(targets)
    exact = tuple(each for each in known if each.container_app and _names(native, each.app_id))
    component = tuple(each for each in known if _names(native, each.application_insights))
    near = tuple(each for each in known if _near(native, each))
    other = any(_APP in each for each in native.resources)
    found = component or near
    return exact or (found if len(found) == 1 and not other else ()) or (UNWATCHED,)


UNREAD = "unread"
"""The origin of every message that could not be read. The others' are hexadecimal digits."""


def unread(given: Any, now: datetime) -> Native | None:
    """Return the one alert of all messages of action groups that cannot be read; None for a message of another kind."""
    if not isinstance(given, Mapping) or "schemaId" not in given:
        return None
    by = {"alert": "(not in the common alert schema)", "resource": "(not read)", "origin": UNREAD}
    words = "turn the common alert schema on in the action group, so that its name, severity and end can be read"
    at = now.replace(microsecond=0)
    return Native(NATIVE[1], instance(by), at, None, None, False, (), None, words, continues=True)


def begun_by(alert: Alert, native: Native) -> Native | None:
    """Return the message as it is about a stored alert of the same origin; None when that is another or over."""
    rule = next((each for each in NATIVE if each.id == alert.rule), None)
    if rule is None or not alert.open or texts(alert.by).get("origin") != native.key:
        return None
    return replace(native, rule=rule, by=alert.by)


def remembered(alert: Alert, now: datetime) -> bool:
    """Return whether an alert of Azure Monitor is still worth keeping: while it is open, and for a time after."""
    return alert.state is not State.INACTIVE or (alert.slot is not None and now - alert.slot < _KEPT)


def forgotten(alerts: Mapping[Instance, Alert]) -> dict[Instance, Alert]:
    """Return the oldest of the ended alerts, where there are too many, as ones that the store forgets; some at once."""
    ended = [(alert.slot, by) for by, alert in alerts.items() if alert.state is State.INACTIVE and alert.slot]
    excess = max(0, len(ended) - _MOST_ENDED)
    oldest = sorted(ended, key=lambda each: each[0])[: min(excess, _FORGOTTEN_AT_ONCE)]
    return {by: replace(alerts[by], history=()) for _, by in oldest}


def _near(native: Native, target: Target) -> bool:
    group = f"/subscriptions/{target.subscription}/resourceGroups/{target.resource_group}"
    own = bool(target.resource_group) and _names(native, group)
    return own or _names(native, target.workspace_resource)


def _names(native: Native, resource: str) -> bool:
    return bool(resource) and any(f"{each}/".startswith(f"{resource.lower()}/") for each in native.resources)
