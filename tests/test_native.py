"""Alerts of Azure Monitor's own: by webhook and by event, in any order, twice, and about what nobody watches."""

from __future__ import annotations

import itertools
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stage import CONFIG, MINUTE, STOP, T0, TARGET, Stage
from tocsin.app import App
from tocsin.connections.event_grid import read as read_event
from tocsin.core.native import NATIVE, OLDEST, read
from tocsin.core.policy import Policy, Trigger
from tocsin.engine.react import react, take
from tocsin.ports import StoreUnavailable
from tocsin.testing import FrozenClock
from tocsin.webhook import answer

APP = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.App/containerApps/sales-api"


def schema(condition: str = "Fired", at: datetime = T0, ends: datetime | None = None, **changes: Any) -> dict[str, Any]:
    """A message as the documentation shows one."""
    essentials = {
        "alertId": "/subscriptions/s/providers/Microsoft.AlertsManagement/alerts/b9569717",
        "alertRule": "replicas-restart",
        "severity": "Sev1",
        "signalType": "Metric",
        "monitorCondition": condition,
        "monitoringService": "Platform",
        "alertTargetIDs": [APP.lower()],
        "originAlertId": "3f2d4487_rg_microsoft.insights_metricAlerts_restart_-117",
        "firedDateTime": f"{at:%Y-%m-%dT%H:%M:%S}.3713213Z",
        "description": "Restarts",
    }
    if condition == "Resolved":
        essentials["resolvedDateTime"] = f"{ends or at + 5 * MINUTE:%Y-%m-%dT%H:%M:%S}.6Z"
    first = {"metricName": "RestartCount", "operator": "GreaterThan", "threshold": "3", "metricValue": 7.0}
    context = {"conditionType": "SingleResourceMultipleMetricCriteria", "condition": {"allOf": [first]}}
    data = {"essentials": {**essentials, **changes}, "alertContext": context}
    return {"schemaId": "azureMonitorCommonAlertSchema", "data": data}


def heard(stage: Stage, message: dict[str, Any], now: datetime = T0 + MINUTE) -> bool:
    native = read(message, now)
    assert native is not None
    return take(stage.engine, native, now) is not None


def told(stage: Stage) -> list[str]:
    return [notice.kind.value for notice in stage.oncall.got if notice.rule.startswith("azure_alert")]


def test_one_that_fires_is_told_with_its_value_and_condition() -> None:
    stage = Stage()
    assert heard(stage, schema())
    (notice,) = stage.oncall.got
    assert (notice.rule, notice.target, notice.severity.value) == ("azure_alert_p1", "sales", "P1")
    assert notice.title == "Azure Monitor alert replicas-restart on sales-api."
    facts = {fact.name: fact.value for fact in notice.facts}
    assert facts["Evidence"] == "RestartCount GreaterThan 3; Restarts"
    assert facts["Value"].startswith("7")


def test_one_that_is_resolved_is_told_as_over_under_the_same_episode() -> None:
    stage = Stage()
    heard(stage, schema())
    heard(stage, schema("Resolved"), T0 + 6 * MINUTE)
    assert told(stage) == ["fired", "resolved"]
    assert len({notice.episode for notice in stage.oncall.got}) == 1


@pytest.mark.parametrize("order", list(itertools.permutations([0, 1, 0, 1])))
def test_in_any_order_and_twice_it_is_told_once(order: tuple[int, ...]) -> None:
    stage, messages = Stage(), [schema(), schema("Resolved")]
    for number, which in enumerate(order):
        heard(stage, messages[which], T0 + (6 + number) * MINUTE)
    stage.run(range(12, 14))
    assert told(stage) == ["fired", "resolved"]


def test_a_late_firing_is_still_known_hours_after_its_resolution() -> None:
    stage = Stage()
    heard(stage, schema("Resolved"), T0 + 6 * MINUTE)
    stage.run(range(7, 9))
    heard(stage, schema(), T0 + 300 * MINUTE)
    assert told(stage) == ["fired", "resolved"]


def test_it_can_fire_again() -> None:
    stage = Stage()
    for start in (0, 20):
        heard(stage, schema(at=T0 + start * MINUTE), T0 + (start + 1) * MINUTE)
        heard(stage, schema("Resolved", at=T0 + start * MINUTE), T0 + (start + 6) * MINUTE)
    assert told(stage) == ["fired", "resolved"] * 2
    assert len({notice.episode for notice in stage.oncall.got}) == 2


def test_two_resources_under_one_rule_are_two_alerts() -> None:
    stage = Stage()
    heard(stage, schema())
    heard(stage, schema(originAlertId="another"), T0 + 2 * MINUTE)
    assert told(stage) == ["fired", "fired"]


@pytest.mark.parametrize(
    ("severity", "rule"), [("Sev0", "p0"), ("Sev2", "p2"), ("Sev3", "p3"), ("Sev4", "p3"), ("?", "p1")]
)
def test_its_severity_is_ours(severity: str, rule: str) -> None:
    stage = Stage()
    heard(stage, schema(severity=severity))
    assert [notice.rule for notice in stage.oncall.got] == [f"azure_alert_{rule}"]


@pytest.mark.parametrize(
    "resources",
    [[], ["/subscriptions/s/resourceGroups/other/providers/Microsoft.App/containerApps/sales-api"], "no list", [7]],
)
def test_what_no_target_names_is_told_all_the_same(resources: Any) -> None:
    stage = Stage()
    heard(stage, schema(alertTargetIDs=resources))
    stage.run(range(2, 5))  # and is not retired for being on no target
    assert [(notice.kind.value, notice.target) for notice in stage.oncall.got] == [("fired", "unwatched")]


def test_a_resource_beside_the_app_belongs_to_its_target() -> None:
    stage = Stage()
    heard(
        stage,
        schema(alertTargetIDs=["/subscriptions/S/resourcegroups/RG/providers/Microsoft.Storage/storageAccounts/x"]),
    )
    assert [notice.target for notice in stage.oncall.got] == ["sales"]


def test_a_neighbour_in_the_group_does_not_hear_of_an_app_that_is_named() -> None:
    neighbour = TARGET.model_copy(update={"name": "support", "container_app": "support-api"})
    stage = Stage(config=CONFIG.model_copy(update={"targets": (TARGET, neighbour)}))
    heard(stage, schema())
    assert [notice.target for notice in stage.oncall.got] == ["sales"]


def test_an_alert_on_a_component_belongs_to_the_one_target_whose_telemetry_is_in_it() -> None:
    component = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Insights/components/appi-"
    own = TARGET.model_copy(update={"application_insights": f"{component}sales"})
    neighbour = TARGET.model_copy(update={"name": "support", "container_app": "b"})
    for other, told_of in ((f"{component}support", "sales"), (f"{component}Sales", "unwatched")):
        targets = (own, neighbour.model_copy(update={"application_insights": other}))
        stage = Stage(config=CONFIG.model_copy(update={"targets": targets}))
        heard(stage, schema(alertTargetIDs=[f"{component}sales".lower()]))
        assert [notice.target for notice in stage.oncall.got] == [told_of]


def test_one_that_is_too_old_is_not_looked_at() -> None:
    stage = Stage()
    assert not heard(stage, schema(), T0 + OLDEST + MINUTE)
    assert stage.oncall.got == []


@pytest.mark.parametrize("signal", ["Metric", "Log"])
@pytest.mark.parametrize("ahead", [6 * MINUTE, 30 * MINUTE, timedelta(days=400)])
def test_a_future_fired_time_counts_as_now(ahead: timedelta, signal: str) -> None:
    """However often it is delivered it is one episode, and its end ends it, though that is of the same clock."""
    stage = Stage()
    for minute in (0, 1, 2, 3):
        heard(stage, schema(at=T0 + ahead, signalType=signal), T0 + minute * MINUTE)
        assert told(stage) == ["fired"]
    (alert,) = [each for each in stage.inner.open_alerts() if each.rule.startswith("azure")]
    assert alert.fired == T0
    assert heard(stage, schema("Resolved", at=T0 + ahead, signalType=signal), T0 + 4 * MINUTE)
    assert told(stage) == ["fired", "resolved"]


def test_a_firing_delivered_again_when_its_time_has_come_is_the_same_firing() -> None:
    stage = Stage()
    message = schema(at=T0 + 30 * MINUTE)
    for minute in (0, 26, 31, 45):
        heard(stage, message, T0 + minute * MINUTE)
    assert told(stage) == ["fired"]
    heard(stage, schema("Resolved", at=T0 + 30 * MINUTE, ends=T0 + 50 * MINUTE), T0 + 50 * MINUTE)
    heard(stage, message, T0 + 55 * MINUTE)
    assert told(stage) == ["fired", "resolved"]
    heard(stage, schema(at=T0 + 90 * MINUTE), T0 + 60 * MINUTE)
    assert told(stage) == ["fired", "resolved", "fired"], "another firing is another episode"


def test_a_future_end_of_a_known_beginning_counts_as_now() -> None:
    stage = Stage()
    heard(stage, schema(), T0 + MINUTE)
    heard(stage, schema("Resolved", ends=T0 + 90 * MINUTE), T0 + 5 * MINUTE)
    assert told(stage) == ["fired", "resolved"]


@pytest.mark.parametrize("ends", [T0 - MINUTE, T0 - timedelta(days=30), T0])
def test_an_end_before_its_beginning_ends_it_all_the_same(ends: datetime) -> None:
    stage = Stage()
    heard(stage, schema(), T0 + MINUTE)
    heard(stage, schema("Resolved", ends=ends), T0 + 5 * MINUTE)
    assert told(stage) == ["fired", "resolved"]


def test_one_of_which_nothing_more_is_heard_stays_open_for_a_week() -> None:
    stage = Stage()
    heard(stage, schema())
    stage.run(range(24 * 60, 24 * 60 + 2))
    assert "resolved" not in told(stage)
    stage.run(range(8 * 24 * 60, 8 * 24 * 60 + 2))
    assert told(stage)[-1] == "no longer reported"


def test_what_is_over_is_forgotten_after_two_days() -> None:
    stage = Stage()
    heard(stage, schema())
    heard(stage, schema("Resolved"), T0 + 6 * MINUTE)
    stage.run(range(3 * 24 * 60, 3 * 24 * 60 + 1))
    assert [each for each in stage.inner.open_alerts() if each.rule.startswith("azure")] == []
    assert told(stage) == ["fired", "resolved"]


def answering(on: dict[str, Any]) -> Policy:
    return STOP.model_copy(update={"on": Trigger.model_validate(on)})


def test_a_policy_can_answer_it() -> None:
    on = {"rule": "azure_alert_p1", "labels": {"alert": "replicas-restart"}}
    stop = answering(on)
    stage = Stage(policies=(stop,))
    stage.busy(T0 - 20 * MINUTE, T0 + 5 * MINUTE)
    heard(stage, schema())
    assert stage.platform.changes == 1
    assert "stop_unsafe_tools" in str(stage.oncall.got[0].facts)


def test_a_policy_does_not_answer_one_that_is_over_or_old() -> None:
    stop = answering({"rule": "azure_alert_p1"})
    for message, now in ((schema("Resolved"), T0 + 6 * MINUTE), (schema(), T0 + 60 * MINUTE)):
        stage = Stage(policies=(stop,))
        stage.busy(T0 - 20 * MINUTE, T0 + 70 * MINUTE)
        heard(stage, message, now)
        assert stage.platform.changes == 0


# By event


def grid(message: Any, source: str = "/subscriptions/s/resourceGroups/rg") -> dict[str, Any]:
    return {
        "id": "e1",
        "topic": source,
        "subject": "x",
        "eventType": "Any",
        "eventTime": T0.isoformat(),
        "data": message,
    }


def test_it_may_come_as_an_event_from_a_watched_subscription() -> None:
    stage = Stage()
    assert react(stage.engine, read_event(grid(schema())), T0 + MINUTE)
    assert told(stage) == ["fired"]


def test_an_event_from_elsewhere_is_not_believed() -> None:
    stage = Stage()
    assert react(stage.engine, read_event(grid(schema(), "/subscriptions/another")), T0 + MINUTE) is None
    assert stage.oncall.got == []


# By webhook


def posted(stage: Stage, given: Any, method: str = "POST", **headers: str) -> tuple[int, dict[str, Any]]:
    app = App(stage.engine, FrozenClock(T0 + MINUTE))
    body = given if isinstance(given, bytes) else json.dumps(given).encode()
    found = answer(method, headers, body, app)
    return found.status, json.loads(found.body or "{}")


def test_an_action_group_posts_one() -> None:
    stage = Stage()
    assert posted(stage, schema()) == (200, {"taken": 1, "ignored": 0})
    assert told(stage) == []  # its sender waits for seconds only
    stage.run(range(2, 3))
    assert told(stage) == ["fired"]


def test_event_grid_posts_a_list_after_its_handshake() -> None:
    stage = Stage()
    kind = "Microsoft.EventGrid.SubscriptionValidationEvent"
    assert posted(stage, [{"eventType": kind, "data": {"validationCode": "abc"}}]) == (
        200,
        {"validationResponse": "abc"},
    )
    assert posted(stage, [grid(schema()), grid({})]) == (200, {"taken": 1, "ignored": 1})


def test_the_handshake_of_cloud_events_names_who_may_send() -> None:
    found = answer("OPTIONS", {"WebHook-Request-Origin": "eventgrid.azure.net"}, b"")
    assert (found.status, found.headers["WebHook-Allowed-Origin"]) == (200, "eventgrid.azure.net")
    assert answer("OPTIONS", {}, b"").status == 400


@pytest.mark.parametrize("body", [b"", b"\xff", b"7", b"[]", b"[7]", b"null", json.dumps([{}] * 101).encode()])
def test_what_is_no_event_is_refused_and_changes_nothing(body: bytes) -> None:
    stage = Stage()
    assert posted(stage, body)[0] == 400
    assert stage.happened == []


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(schema()["data"]["essentials"])), _JSON), _JSON)
def test_no_essentials_break_the_reader(changes: dict[str, Any], context: Any) -> None:
    message = schema(**changes)
    message["data"]["alertContext"] = context
    found = read(message, T0)
    assert found is None or found.rule in NATIVE


# What a reading of the whole found


def two_apps() -> Stage:
    neighbour = TARGET.model_copy(update={"name": "support", "container_app": "support-api"})
    stop = answering({"rule": "azure_alert_p1"})
    stage = Stage(policies=(stop,), config=CONFIG.model_copy(update={"targets": (TARGET, neighbour)}))
    stage.busy(T0 - 20 * MINUTE, T0 + 5 * MINUTE)
    return stage


@pytest.mark.parametrize("resource", ["Microsoft.App/containerApps/newsletter", "Microsoft.Storage/storageAccounts/x"])
def test_what_is_about_several_targets_or_another_app_is_told_and_acted_on_nowhere(resource: str) -> None:
    stage = two_apps()
    heard(stage, schema(alertTargetIDs=[f"/subscriptions/s/resourceGroups/rg/providers/{resource}"]))
    assert [(notice.kind.value, notice.target) for notice in stage.oncall.got] == [("fired", "unwatched")]
    assert stage.platform.changes == 0


def test_one_that_fires_anew_without_having_been_resolved_is_a_new_episode_and_counts_no_time_between() -> None:
    stop = STOP.model_copy(update={"on": Trigger.model_validate({"severity": "P1", "firing_for": "5m"})})
    stage = Stage(policies=(stop,))
    stage.busy(T0 - 20 * MINUTE, T0 + 70 * MINUTE)
    heard(stage, schema())
    heard(stage, schema(at=T0 + 60 * MINUTE), T0 + 61 * MINUTE)
    stage.run(range(62, 64))
    assert told(stage) == ["fired"]  # to whoever was told of it, it has been firing all the time
    assert stage.platform.changes == 0
    (alert,) = [each for each in stage.inner.open_alerts() if each.rule.startswith("azure")]
    assert alert.fired == T0 + 60 * MINUTE


@pytest.mark.parametrize("changes", [{"severity": "Sev2"}, {"alertTargetIDs": []}])
def test_an_end_is_entered_where_the_beginning_stands(changes: dict[str, Any]) -> None:
    stage = Stage()
    heard(stage, schema())
    heard(stage, schema("Resolved", **changes), T0 + 6 * MINUTE)
    stage.run(range(7, 9))
    assert [each for each in stage.inner.open_alerts() if each.open] == []
    first = stage.oncall.got[0].episode
    assert ("resolved", first) in [(notice.kind.value, notice.episode) for notice in stage.oncall.got]


def test_a_store_that_does_not_answer_is_503_so_that_the_sender_tries_again() -> None:
    stage = Stage()

    def broken(*_: object) -> None:
        raise StoreUnavailable("it does not answer")

    stage.inner.load = broken  # type: ignore[method-assign, assignment]
    assert posted(stage, schema())[0] == 503


def test_an_alert_in_another_schema_is_told_all_the_same() -> None:
    stage = Stage()
    assert posted(stage, {"schemaId": "AzureMonitorMetricAlert", "data": {"context": {"name": "cpu"}}})[0] == 200
    stage.run(range(2, 3))
    assert "common alert schema" in str(stage.oncall.got[0].facts)


def test_one_odd_event_does_not_take_the_others_with_it() -> None:
    stage = Stage()
    odd, ages = schema(originAlertId="odd"), schema(originAlertId="ages", firedDateTime="9999-12-31T23:59:59Z")
    odd["data"]["alertContext"]["condition"]["allOf"][0]["metricValue"] = 10**400
    assert posted(stage, [odd, ages, schema()])[0] == 200
    stage.run(range(2, 3))
    assert len([kind for kind in told(stage) if kind == "fired"]) >= 2
    assert posted(stage, b"[" * 100_000)[0] == 400
