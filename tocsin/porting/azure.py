"""Azure's scheduled query rules, as rules of Tocsin with a query of their own."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import timedelta

from tocsin.porting.arm import ALERTS, LOG_ALERT, Resource
from tocsin.porting.azure_condition import Condition
from tocsin.porting.azure_telling import Telling
from tocsin.porting.azure_times import length
from tocsin.porting.draft import Draft, name_of, shortened, text_of
from tocsin.porting.outcome import Fields, Gathering, Outcome

_MINUTE, _TWO_DAYS = timedelta(minutes=1), timedelta(days=2)

SEVERITIES = {"0": "P0", "1": "P1", "2": "P2", "3": "P3", "4": "P3"}
"""Critical, error, warning, informational, verbose."""

_WHERE = ("id", "location", "systemData", "etag", "apiVersion", "dependsOn", "resourceGroup", "scope", "comments")
_SERVICE = (
    "createdWithApiVersion",
    "isLegacyLogAnalyticsRule",
    "isWorkspaceAlertsStorageConfigured",
    "checkWorkspaceAlertsStorageConfigured",
    "skipQueryValidation",
    "publicNetworkAccess",
)


def imported(resource: Resource, taken: Collection[str]) -> Outcome | None:
    """Return what becomes of a resource; None for one that is no alert rule."""
    if resource.kind not in (LOG_ALERT, *ALERTS):
        return None
    told = Gathering()
    fields = Fields(resource.node, "", told, resource.scope.value)
    name = _named(fields)
    made = _Alert(fields, told, name, name_of(name, taken))
    if resource.kind != LOG_ALERT:
        kind = resource.kind.rpartition("/")[2]
        words = f"{kind} are no log alerts: what they measure is not in the workspace"
        told.refuse("not-a-log-alert", fields.place("type"), words, "`tocsin schema signals` says what can be measured")
    elif resource.refused:
        told.refuse("not-deployed", resource.node, resource.refused)
    else:
        try:
            made.read()
        except ValueError as error:  # what cannot stand in a query at all
            told.refuse("bad-field", resource.node, str(error))
    return told.outcome(name, made.draft.id, resource.node, lambda: text_of(made.draft))


def _named(fields: Fields) -> str:
    found = fields.loose("name")
    text = (found.text or "") if found is not None else ""
    return text if text and not text.startswith("[") else re.sub(r"[^\w-]+", " ", text).strip() or "rule"


class _Alert:
    """One log alert that is being read."""

    def __init__(self, fields: Fields, told: Gathering, name: str, rule: str) -> None:
        self.fields, self.told = fields, told
        self.draft = Draft(rule, name, f"the log alert '{name}'")
        self.window = self.every = timedelta()

    def read(self) -> None:
        """Look at every field."""
        below = self.fields.raw("properties")
        properties = self.fields.inside("properties") if below is not None else self.fields
        if properties is None:
            return
        self._about(self.fields)
        if properties.raw("source") is not None or properties.raw("schedule") is not None:
            words = "it is written for the API of 2018-04-16, whose conditions are others"
            self.told.refuse("not-a-log-alert", properties.place("source"), words, "`az monitor scheduled-query show`")
            return
        self._said(properties)
        self._times(properties)
        Condition(self.told, self.draft, self.every, self.window).read(properties)
        Telling(self.told, self.draft, self.every).read(properties)
        for each in {id(self.fields): self.fields, id(properties): properties}.values():
            each.finish()

    def _about(self, fields: Fields) -> None:
        fields.raw("type")
        fields.left(_WHERE, "left-behind", "where and how it is deployed says nothing of what it decides")
        fields.left(("tags", "identity", "condition"), "left-behind", "it has no tags, and its own identity")
        kind = fields.raw("kind")
        if kind is not None and (kind.text or "").casefold() != "logalert":
            why = {"logtometric": "makes a metric of a log and alerts nobody", "simplelogalert": "tells of each row"}
            words = f"a rule of kind {kind.text} {why.get((kind.text or '').casefold(), 'is not known here')}"
            self.told.refuse("not-a-log-alert", kind, words)
        elif kind is not None:
            self.told.carried.append(fields.named("kind"))

    def _said(self, properties: Fields) -> None:
        title = properties.carry("displayName")
        self.draft.title = title or self.draft.title
        self.draft.description = properties.carry("description")
        for name in shortened(self.draft):
            self.told.differs("shortened", properties.named(name), properties.node, "it is cut to what a rule takes")
        severity = properties.text("severity")
        place = properties.place("severity")
        if severity not in SEVERITIES:
            self.told.refuse("bad-field", place, f"`severity` has to be 0 to 4, found '{severity}'")
        self.draft.severity = SEVERITIES.get(severity, "P2")
        words = f"severity {severity} is {self.draft.severity} here: routes and escalation go by that"
        if severity == "4":
            words += "; 3 and 4 are one"
        self.told.differs("severity", properties.named("severity"), place, words)
        self.draft.enabled = properties.carry("enabled").casefold() != "false"
        properties.left(_SERVICE, "left-behind", "how the service keeps and checks it says nothing of what it decides")

    # When it looks

    def _times(self, properties: Fields) -> None:
        self.every = self._length(properties, "evaluationFrequency")
        self.window = self._length(properties, "windowSize")
        self.told.carried += [properties.named("evaluationFrequency"), properties.named("windowSize")]
        self.draft.every = self.every or _MINUTE
        words = "Azure looks as soon as a window ends; here it is judged 2m after that (`offset`)"
        self.told.differs("offset", properties.named("evaluationFrequency"), properties.node, words)
        if self.window > _TWO_DAYS:
            self.told.refuse("bad-field", properties.place("windowSize"), "Azure looks back two days at most")

    def _length(self, properties: Fields, name: str) -> timedelta:
        text = properties.text(name)
        found = length(text)
        if not found:
            words = f"`{name}` has to be a duration like PT5M, found '{text}'" if text else f"`{name}` is needed"
            self.told.refuse("bad-field", properties.place(name), words)
        return found or timedelta()
