"""One thing that was looked at: how it stands, what was seen, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from tocsin.core.text import scrub


class State(StrEnum):
    """How a thing stands. ``UNKNOWN`` could not be looked at, and is never taken for ``OK``."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    UNKNOWN = "unknown"


WAIT_AN_HOUR = "A role that was just assigned can still be refused for up to an hour."
"""How long Azure takes at worst until every one of its services knows of a role."""

ADVICE: Mapping[str, str] = {
    "setting-missing": "Set the app setting, or take what names it out of tocsin.yaml.",
    "setting-malformed": "Correct the app setting; local.settings.example.json says how it looks.",
    "files-have-problems": "Run `tocsin check`: what has a problem is left out, and nobody watches it.",
    "nothing-watched": "Name a target under `targets` in tocsin.yaml.",
    "one-identity": "Give the one that reads and the one that acts an identity each: who may read must not be able to "
    "change production.",
    "no-token": f"Assign the managed identity to the app, or sign in with `az login`. {WAIT_AN_HOUR}",
    "query-forbidden": f"Give the reader's identity Log Analytics Reader on the workspace. {WAIT_AN_HOUR}",
    "workspace-missing": "Correct the target's `workspace` in tocsin.yaml: the workspace's id, or its resource id.",
    "workspace-unanswered": "Try again; when it lasts, look at the workspace, the network and `TOCSIN_LOG_ANALYTICS_"
    "ENDPOINT`.",
    "table-missing": "Nothing was written into it for 30 days, or Application Insights is not workspace-based here: "
    "look at APPLICATIONINSIGHTS_CONNECTION_STRING of the watched app, and at the workspace behind it.",
    "role-name": "It is the AppRoleName that the app's rows carry. As shipped, tocsin.yaml takes it from a setting: "
    "`azd env set WATCHED_ROLE_NAME NAME` and `azd provision`.",
    "component-name": "It is the Application Insights component that the app writes to. As shipped, tocsin.yaml takes "
    "it from a setting: `azd env set WATCHED_APPLICATION_INSIGHTS_NAME NAME` and `azd provision`.",
    "shared-telemetry": "Apps of one name are told apart by their components, apps of one component by their names: "
    "give each its own OTEL_SERVICE_NAME. As shipped, tocsin.yaml takes both from settings: `azd env set "
    "WATCHED_ROLE_NAME NAME` and `azd provision`.",
    "telemetry-silent": "Look whether the app runs and serves, and whether it still exports its telemetry.",
    "late-telemetry": "Let windows wait longer: `offset: auto` on the target, or a longer one.",
    "rule-cannot-fire": "Wire what it needs, or say that it is not meant here: `enabled: false` in tuning, or "
    "`targets` in the rule.",
    "app-forbidden": "Give the reader's identity a role with Microsoft.App/containerApps/read and /revisions/read on "
    f"the one app. {WAIT_AN_HOUR}",
    "app-missing": "Correct `subscription`, `resource_group`, `container_app` and `container` of the target.",
    "app-unanswered": "Try again; until it answers, neither the approver nor the killswitch is seen.",
    "no-write-permission": "Give the actuator's identity the custom role of docs/actions.md on the one app; nothing "
    f"can be stopped without it. {WAIT_AN_HOUR}",
    "permissions-unread": "Let the identity read Microsoft.Authorization/permissions, or prove it by "
    "`tocsin drill killswitch`.",
    "reader-can-write": "Take the write permission from the reader's identity: only the actuator's may change the app.",
    "store-unavailable": "Give the app's identity Storage Table Data Contributor, or look at TOCSIN_TABLES. "
    f"{WAIT_AN_HOUR}",
    "audit-copy-unavailable": "Give the app's identity Storage Blob Data Owner, or look at TOCSIN_AUDIT. "
    f"{WAIT_AN_HOUR}",
    "audit-not-copied": "Set TOCSIN_AUDIT: without a copy nobody can show that the audit's end was cut off.",
    "queue-unreadable": "Give the identity Storage Queue Data Contributor (the work queue) or Reader (a target's), or "
    f"correct its address. {WAIT_AN_HOUR}",
    "gauge-unreadable": f"Give the reader's identity the role that docs/signals.md names for it. {WAIT_AN_HOUR}",
    "no-approver": "Set HITL_APPROVER_ENDPOINT on the app and in its template, and never HITL_DEV_MODE in production.",
    "approver-unknown": "Name the target's Container App, and let the reader's identity read it.",
    "approver-unreachable": "Look at the approver's service: until it answers, every side effect is refused.",
    "nobody-may-approve": "Set TOCSIN_APPROVERS, or approve with `tocsin approve`: a policy that asks acts on nobody's "
    "silence.",
    "receiver-unusable": "Set the app setting that holds its secret, and correct its options.",
    "receiver-failing": "Look at what it answers in `tocsin deliveries`, and try it with `tocsin notify test`.",
    "receiver-unproven": "Set `watchdog: 1d` in tocsin.yaml and look whether its heartbeat comes.",
    "receiver-quiet": "Its heartbeats stopped: look at the watchdog, at its route and at `tocsin deliveries`.",
    "receivers-unknown": "Look at the store first: who was told stands in it.",
    "never-ticked": "Start the watcher: deploy the function, or `tocsin run`.",
    "tick-late": "The watcher does not watch: look at the function app, its timer and its log.",
    "tick-failed": "Open the runbook: docs/operations.md#tocsin-error. Everything else goes on.",
    "beat-ahead": "Two clocks differ: look at the one that wrote the heartbeat, and at this one.",
    "clock-skew": "Set this machine's clock: windows are cut by it, and a token is refused by it.",
    "clock-unknown": "No service told the time: look at the network.",
}
"""What to do about each finding that is not good. ``docs/doctor.md`` has a section for every one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``about`` names it; ``id`` is empty where nothing is to be done."""

    check: str
    about: str
    state: State
    seen: str
    id: str = ""
    do: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {**asdict(self), "state": self.state.value}


def good(check: str, about: str, seen: str) -> Finding:
    """Return what is as it must be."""
    return Finding(check, about, State.OK, scrub(seen))


def bad(check: str, about: str, state: State, name: str, seen: str, do: str = "") -> Finding:
    """Return what is not, with the advice of its id; ``do`` is said before it."""
    return Finding(check, about, state, scrub(seen), name, " ".join(filter(None, (do, ADVICE[name]))))


_ORDER = (State.ERROR, State.UNKNOWN, State.WARNING, State.OK)


def worst(findings: Iterable[Finding]) -> State:
    """Return the worst state of all; nothing at all is unknown."""
    found = {each.state for each in findings}
    return next((state for state in _ORDER if state in found), State.UNKNOWN)


def counted(findings: Iterable[Finding]) -> dict[str, int]:
    """Return how many findings there are of each state."""
    states = [each.state for each in findings]
    return {state.value: states.count(state) for state in State}
