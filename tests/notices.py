"""The notices that the golden payloads show: composed as the engine does, from real rules and a real policy."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tocsin import signals
from tocsin.core.ack import Acknowledgement
from tocsin.core.alert import STORM, Alert, Change, State, Verdict, instance
from tocsin.core.config import Target
from tocsin.core.container import App, Revision
from tocsin.core.digest import flood, together
from tocsin.core.fields import Severity
from tocsin.core.group import Why
from tocsin.core.message import Kind, Notice
from tocsin.core.native import NATIVE
from tocsin.core.notice import compose, story
from tocsin.core.policy import Policy
from tocsin.core.remedy import Execution, Phase
from tocsin.core.rule import Rule
from tocsin.engine.personal import announcement

ROOT = Path(__file__).resolve().parent.parent
FIRED = datetime(2026, 11, 20, 3, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

TARGET = Target(
    name="sales-research",
    workspace="11111111-2222-3333-4444-555555555555",
    workspace_resource="/subscriptions/s/resourceGroups/rg/providers/Microsoft.OperationalInsights/workspaces/w",
    role_name="sales-research-api",
    subscription="66666666-7777-8888-9999-000000000000",
    resource_group="rg-sales-research",
    container_app="sales-research-api",
    labels={"env": "prod"},
    allow=("killswitch.engage",),
)
RULE = Rule.model_validate(
    {
        "id": "high_error_rate",
        "summary": "{value} of the responses on {target} fail (limit {threshold}).",
        "description": "Users get errors. Look first at the model's health, then at the last deployment.",
        "severity": "P1",
        "when": {"signal": "response_errors", "above": "5%", "over": "15m", "minimum": "20"},
        "for": "5m",
        "keep_firing_for": "10m",
        "labels": {"team": "ai-ops"},
        "runbook": "https://runbooks.example/high-error-rate",
        "file": "rules/high_error_rate.yaml",
    }
)
BY_HOST = Rule.model_validate(
    {
        "id": "model_calls_fail",
        "summary": "{value} calls to {target_host} failed.",
        "severity": "P2",
        "when": {
            "kql": "AppDependencies | where Success == false"
            " | summarize value = todouble(sum(ItemCount)) by target_host = Target",
            "above": "10",
            "over": "10m",
            "by": ["target_host"],
        },
        "runbook": "docs/operations.md#model-calls-fail",
        "file": "rules/model_calls_fail.yaml",
    }
)
POLICY = Policy.model_validate(
    {
        "id": "stop_unsafe_tools",
        "summary": "Stop side-effect tools when production has run without an approver for five minutes.",
        "on": {"rule": "high_error_rate", "firing_for": "5m"},
        "do": [{"killswitch.engage": {"scope": "tools"}}],
        "guard": {"mode": "act"},
        "undo": {"by": "a person", "after": "evals pass"},
        "file": "remediations/stop_unsafe_tools.yaml",
    }
)
TRAIL = tuple((FIRED + (n - 5) * MINUTE, value) for n, value in enumerate((0.052, 0.06, 0.058, 0.071, 0.079, 0.083)))
ALERT = Alert(
    RULE.id,
    TARGET.name,
    (),
    State.FIRING,
    FIRED,
    FIRED,
    last=Verdict.BREACHED,
    known=FIRED,
    fired=FIRED,
    value=0.083,
    trail=TRAIL,
)
APP = App("id", "westeurope", {}, {}, (Revision("r1", active=True, weight=100, running=True, env={}),))
SWITCHED = App(
    "id",
    "westeurope",
    {},
    {},
    (Revision("r2", active=True, weight=100, running=True, env={"KILLSWITCH_TOOLS": "on"}),),
)
EXECUTION = Execution(
    id=f"{POLICY.id}/{ALERT.episode}",
    policy=POLICY.id,
    target=TARGET.name,
    episode=ALERT.episode,
    action="killswitch.engage",
    args={"scope": "tools"},
    phase=Phase.VERIFIED,
    passed=(("KILLSWITCH_TOOLS", FIRED + 7 * MINUTE),),
    reason="KILLSWITCH_TOOLS seen at 03:12:00; side_effect_tools seen at 03:16:00",
    before="sales-research-api--r1",
    after="sales-research-api--r2",
)
WILL = "stop_unsafe_tools does killswitch.engage (scope tools) once this has fired for 5m"

HOSTILE = (
    "[click me](https://evil.example/login) <at>everyone</at> @channel www.evil.com mailto:ceo@evil.com "
    "evil.com/login\n**bold** # heading ![x](data:image/png;base64,AAAA) <img src=x onerror=alert(1)> {value} "
    "{{7*7}} ${SECRET}\0\x1b[2J"
    "\u202egnp.exe\u2066 z\u0301\u0302\u0303\u0304\u0305\u0306 ht\u200btps://evil.example '\"&+/\\ \U0001f525 "
)


def fired() -> Notice:
    """Return the notice of an alert that has just fired."""
    return compose(
        ALERT, Change.FIRED, Kind.FIRED, RULE, TARGET, signals.known()["response_errors"], will=WILL, app=APP
    )


def resolved() -> Notice:
    """Return the notice of the same alert's end."""
    after = tuple((FIRED + 3 * n * MINUTE, max(0.004, 0.11 - 0.01 * n)) for n in range(1, 13))
    ended = replace(ALERT, state=State.INACTIVE, slot=FIRED + 37 * MINUTE, value=0.004, trail=(*TRAIL, *after))
    signal = signals.known()["response_errors"]
    return compose(ended, Change.RESOLVED, Kind.RESOLVED, RULE, TARGET, signal, will=WILL, app=SWITCHED)


def blind() -> Notice:
    """Return the notice that nothing is known any more of the same alert."""
    unseen = replace(ALERT, slot=FIRED + 9 * MINUTE, known=FIRED + 4 * MINUTE, reason="telemetry: partial result")
    signal = signals.known()["response_errors"]
    return compose(unseen, Change.BLIND, Kind.BLIND, RULE, TARGET, signal, will=WILL, app=APP)


def acted() -> Notice:
    """Return the notice of a killswitch that was engaged and proven."""
    signal = signals.known()["response_errors"]
    return story(EXECUTION, POLICY, RULE, TARGET, Kind.ACTED, FIRED + 11 * MINUTE, alert=ALERT, signal=signal)


def acted_late() -> Notice:
    """Return the notice of the same, proven after the alert had ended."""
    return story(EXECUTION, POLICY, RULE, TARGET, Kind.ACTED, FIRED + 40 * MINUTE, over=True)


def failed() -> Notice:
    """Return the notice of a killswitch that could not be engaged."""
    reason = "no permission: Microsoft.App/containerApps/write"
    refused = replace(EXECUTION, phase=Phase.FAILED, reason=reason, before="", after="")
    return story(refused, POLICY, RULE, TARGET, Kind.FAILED, FIRED + 6 * MINUTE)


def hostile() -> Notice:
    """Return the notice of an alert whose every text from telemetry is 30 kB of attempts to be more than text."""
    text = (HOSTILE * 200)[:30_000]
    alert = replace(ALERT, rule=BY_HOST.id, by=instance({"target_host": text}), value=1e9, detail=text, reason=text)
    alert = replace(alert, trail=tuple((FIRED + n * MINUTE, 1e9 * (n - 15) ** 3) for n in range(30)))
    return compose(alert, Change.FIRED, Kind.FIRED, BY_HOST, TARGET, None, will=WILL, app=APP)


def acknowledged() -> Notice:
    """Return the notice of an episode that somebody has taken on."""
    until = FIRED + timedelta(hours=4, minutes=6)
    given = Acknowledgement(
        ALERT.episode, "kim", FIRED + 6 * MINUTE, until, "the model is throttled, quota is on its way"
    )
    return announcement(given, fired())


def several() -> Notice:
    """Return the notice of a group of three alerts."""
    firing = [
        replace(fired(), target=f"sales-{name}", title=f"8.3% of the responses on sales-{name} fail") for name in "ab"
    ]
    firing.append(
        replace(fired(), rule="p95_latency", severity=Severity.P2, title="Answers take 200 s on sales-research")
    )
    identity = f"routes[0] {{customer=acme}}/{FIRED:%Y%m%dT%H%M%SZ}"
    return together(identity, firing, [], {"customer": "acme"}, Why.FIRST.value, FIRED)


def digest() -> Notice:
    """Return the notice of a flood of forty messages."""
    told = [
        replace(
            fired() if number % 4 else resolved(),
            rule=("high_error_rate", "p95_latency", "cost_jump")[number % 3],
            target=f"customer-{number:02}",
            severity=list(Severity)[number % 4],
            title=f"Something is wrong on customer-{number:02}",
        )
        for number in range(40)
    ]
    return flood("team", told, FIRED)


def storm() -> Notice:
    """Return the notice of more instances at once than are notified alone."""
    at = FIRED + 5 * MINUTE
    alert = Alert(BY_HOST.id, TARGET.name, STORM, State.FIRING, at, at, fired=at, value=250.0, reason="storm")
    alert = replace(alert, detail="250 instances, at most 200 alone", trail=((FIRED, 212.0), (at, 250.0)))
    return compose(alert, Change.FIRED, Kind.FIRED, BY_HOST, TARGET, None, will=WILL, app=APP)


def expired() -> Notice:
    """Return the notice of an alert of Azure Monitor of which nothing more was reported."""
    at = FIRED + 7 * 24 * 60 * MINUTE
    by = instance({"alert": "replicas-restart", "resource": "sales-research-api", "origin": "0123456789ab"})
    alert = Alert(NATIVE[1].id, TARGET.name, by, State.INACTIVE, at, at, fired=FIRED, detail="RestartCount")
    alert = replace(alert, reason="nothing more was reported, not that it is over")
    return compose(alert, Change.EXPIRED, Kind.EXPIRED, NATIVE[1], TARGET, None, will=WILL, app=APP)


CASES = {
    "fired": fired,
    "storm": storm,
    "expired": expired,
    "resolved": resolved,
    "blind": blind,
    "acted": acted,
    "acted_late": acted_late,
    "failed": failed,
    "acknowledged": acknowledged,
    "several": several,
    "digest": digest,
    "hostile": hostile,
}
"""What happened → the notice of it."""
