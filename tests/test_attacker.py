"""What somebody cannot do who writes telemetry, or posts alerts with the key of a sender.

Belongs here: attempts that go through a whole engine. Does not belong here: what one reader or one output does.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.stage import CONFIG, MINUTE, STOP, SWITCH, T0, Stage
from tests.test_inbound import changed, post
from tests.test_native import schema
from tocsin.core.config import Config
from tocsin.core.policy import Policy, Trigger

SECOND = timedelta(seconds=1)


def told(stage: Stage) -> list[str]:
    return [notice.rule for notice in stage.oncall.got if notice.kind.value == "fired"]


def watched(**changes: Any) -> Stage:
    """Return a target that is alive for an hour."""
    stage = Stage(**changes)
    stage.busy(T0 - 20 * MINUTE, T0 + 40 * MINUTE)
    return stage


def misconfigure(stage: Stage) -> None:
    del stage.platform.env["HITL_APPROVER_ENDPOINT"]


# Alerts that somebody posts


def answering(**on: Any) -> Policy:
    return STOP.model_copy(update={"on": Trigger.model_validate(on)})


@pytest.mark.parametrize(
    "on",
    [
        {"severity": "P1"},
        {"severity": "P1", "firing_for": "10m"},
        {"labels": {"env": "prod"}, "firing_for": "5m"},
        {"labels": {"alert": "replicas-restart"}},
        {"labels": {"resource": "sales-api"}},
    ],
)
def test_a_posted_alert_starts_no_policy_that_does_not_name_it(on: dict[str, Any]) -> None:
    stage = watched(policies=(answering(**on),))
    for minute in range(1, 16):  # as a log alert that fires again and again, so that its time adds up
        post(stage, T0 + minute * MINUTE, schema(at=T0 + minute * MINUTE, signalType="Log", originAlertId=f"x{minute}"))
    assert "azure_alert_p1" in told(stage)
    assert stage.platform.env.get(SWITCH) is None
    assert "stop_unsafe_tools" not in str(stage.oncall.got[0].facts), "nor does its message promise it"


@pytest.mark.parametrize("on", [{"rule": "azure_alert_p1"}, {"labels": {"source": "azure-monitor"}}])
def test_a_posted_alert_starts_a_policy_that_names_it(on: dict[str, Any]) -> None:
    stage = watched(policies=(answering(**on),))
    post(stage, T0 + MINUTE, schema())
    assert stage.platform.env.get(SWITCH) == "on"


def inhibiting(*matchers: str) -> Config:
    entry = {"source": {"matchers": list(matchers)}, "target": {"match": {"severity": "P1"}}, "equal": ["target"]}
    return Config.model_validate({**CONFIG.model_dump(by_alias=True, exclude_defaults=True), "inhibit": [entry]})


@pytest.mark.parametrize("matcher", ["severity=P0", "env=prod", "rule!=nothing", "source!~nothing", "alert=~.+"])
def test_a_posted_p0_suppresses_no_alert_where_the_inhibition_does_not_name_it(matcher: str) -> None:
    stage = watched(config=inhibiting(matcher, "severity=P0"))
    post(stage, T0, schema(severity="Sev0"))
    misconfigure(stage)
    stage.run(range(1, 6))
    assert told(stage) == ["azure_alert_p0", "hitl_misconfigured"]


@pytest.mark.parametrize("matcher", ["rule=azure_alert_p0", "source=azure-monitor"])
def test_a_posted_alert_suppresses_others_where_the_inhibition_names_it(matcher: str) -> None:
    stage = watched(config=inhibiting(matcher))
    post(stage, T0, schema(severity="Sev0"))
    misconfigure(stage)
    stage.run(range(1, 6))
    assert told(stage) == ["azure_alert_p0"]


def test_a_posted_alert_does_not_end_one_whose_id_its_sender_does_not_know() -> None:
    stage = watched()
    post(stage, T0, schema())
    for guess in ("", "unread", "*", "3f2d4487", "3F2D4487_rg_microsoft.insights_metricAlerts_restart_-117"):
        post(stage, T0 + MINUTE, schema("Resolved", originAlertId=guess, ends=T0 + MINUTE))
        post(stage, T0 + MINUTE, changed(schema("Resolved"), originAlertId=guess, alertId=guess, resolvedDateTime=...))
    assert "azure_alert_p1" in {alert.rule for alert in stage.inner.open_alerts() if alert.open}
    own = stage.oncall.got[0].episode
    assert [each.kind.value for each in stage.oncall.got if each.episode == own] == ["fired"]
