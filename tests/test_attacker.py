"""What somebody cannot do who writes telemetry, or posts alerts with the key of a sender.

Belongs here: attempts that go through a whole engine. Does not belong here: what one reader or one output does.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.stage import CONFIG, MINUTE, MISCONFIGURED, STOP, SWITCH, T0, Stage
from tests.test_inbound import changed, post
from tests.test_instances import ERRORS as AGENTS
from tests.test_instances import errors as agents
from tests.test_native import schema
from tocsin.app import App
from tocsin.core.alert import STORM
from tocsin.core.audit import Record
from tocsin.core.config import Config
from tocsin.core.digest import crowd, flood
from tocsin.core.fields import Rate, Severity
from tocsin.core.message import Kind, Notice
from tocsin.core.policy import Policy, Trigger
from tocsin.core.remedy import Phase
from tocsin.core.rule import Rule
from tocsin.testing import FrozenClock
from tocsin.webhook import answer

SECOND = timedelta(seconds=1)
OFTEN = Rate(count=9, per=timedelta(hours=1))


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


def burst(count: int, severity: str, at: datetime) -> list[dict[str, Any]]:
    """Return so many alerts with names and ids of their own."""
    names = [f"{severity} {number}" for number in range(count)]
    return [schema(at=at, severity=severity, alertRule=name, originAlertId=name) for name in names]


@pytest.mark.parametrize("together", [True, False])
def test_a_real_alert_is_notified_by_itself_in_a_flood_of_posted_ones(together: bool) -> None:
    stage = watched()
    stage.oncall.together = together  # type: ignore[attr-defined]
    stage.run(range(1))
    misconfigure(stage)
    stage.run([1])
    app = App(stage.engine, FrozenClock(T0 + 119 * SECOND))
    for severity in ("Sev0", "Sev1", "Sev2", "Sev3"):
        body = json.dumps(burst(12, severity, T0 + MINUTE)).encode()
        assert answer("POST", {}, body, app).status == 200
    stage.run(range(2, 4))
    assert "hitl_misconfigured" in told(stage)
    assert len(stage.oncall.got) < 40, "the posted ones are a digest"
    episode = next(each.episode for each in stage.oncall.got if each.rule == "hitl_misconfigured")
    assert episode.startswith("hitl_misconfigured/"), "the incident is its own, and so is its end"
    stage.platform.env["HITL_APPROVER_ENDPOINT"] = "https://approver"
    stage.run(range(4, 12))
    assert ("hitl_misconfigured", episode) in {(e.rule, e.episode) for e in stage.oncall.got if e.kind.ends}


def notices(*counted: tuple[int, str, str, str]) -> list[Notice]:
    """Return so many notices of a rule, a target and a severity."""
    return [
        Notice(
            f"{rule}/{on}/{each}", Kind.FIRED, f"{rule}/{on}/{each}", rule, on, Severity(how), T0, f"{each:04} {rule}"
        )
        for count, rule, on, how in counted
        for each in range(count)
    ]


def left(found: list[Notice], most: int = 30) -> Counter[str]:
    drowned = {each.id for each in crowd(found, most)}
    return Counter(each.rule for each in found if each.id not in drowned)


def test_a_digest_takes_what_comes_in_numbers_and_leaves_the_rest() -> None:
    real = (1, "hitl_misconfigured", "sales", "P1")
    assert left(notices((29, "a", "sales", "P0"), real)) == {"a": 29, "hitl_misconfigured": 1}, "no flood"
    assert left(notices((200, "a", "sales", "P0"), real)) == {"hitl_misconfigured": 1}
    assert left(notices((200, "a", "sales", "P0"), (1, "a", "crm", "P0"), real)) == {"a": 1, "hitl_misconfigured": 1}
    each_target = [(1, "a", f"t{number}", "P0") for number in range(41)]
    assert left(notices(*each_target)) == {}, "forty-one targets with one cause are one digest"
    assert left(notices(*each_target, real)) == {"hitl_misconfigured": 1}
    many_rules = [(1, f"r{number}", "sales", "P2") for number in range(60)]
    assert left(notices(*many_rules, real)) == {"hitl_misconfigured": 1}, "the least severe go first"
    assert left(notices(*many_rules)) == {}, "and all of one severity together"


def test_a_digest_names_one_alert_of_each_rule_and_target_before_a_second() -> None:
    found = notices((50, "a", "sales", "P0"), (1, "a", "crm", "P1"), (1, "hitl_misconfigured", "sales", "P1"))
    listed = [fact.value for fact in flood("team", found, T0).facts if fact.name.endswith("firing")]
    assert listed[:3] == ["0000 a", "0000 hitl_misconfigured", "0000 a"]


# Telemetry that somebody writes


def emit(stage: Stage, at: datetime, name: str, count: int = 1, **properties: str) -> None:
    row = {"TimeGenerated": at, "Message": name, "AppRoleName": "sales-api", "SeverityLevel": 1, "ItemCount": count}
    stage.telemetry.load("AppTraces", [{**row, "Properties": {"event_name": name, **properties}}])


@pytest.mark.parametrize("count", [0, -1, -1_000_000])
def test_a_row_of_no_or_negative_weight_takes_no_other_out_of_the_sum(count: int) -> None:
    stage = watched()
    emit(stage, T0 + 30 * SECOND, "tool.hitl_misconfigured")
    emit(stage, T0 + 31 * SECOND, "tool.hitl_misconfigured", count)
    stage.run(range(1, 5))
    assert told(stage) == ["hitl_misconfigured"]
    assert "(2 signs)" in stage.oncall.got[0].title


def test_a_rule_of_ones_own_query_sees_weights_as_a_signal_does() -> None:
    own = {"kql": "AppTraces | where Message == 'x' | summarize value = sum(ItemCount)", "above": "0", "over": "5m"}
    mine = Rule.model_validate({"id": "mine", "summary": "{value}", "severity": "P1", "when": own, "offset": "0s"})
    stage = Stage(mine)
    stage.busy(T0 - 20 * MINUTE, T0 + 10 * MINUTE)
    for number, count in enumerate((1, -5)):
        emit(stage, T0 + number * SECOND, "x", count)
    stage.run(range(1, 4))
    assert told(stage) == ["mine"]


POISON = ["NaN", "Infinity", "-Infinity", "1e308", "-1e308", "-1e9", "x", ""]


@pytest.mark.parametrize(
    ("signal", "above", "properties", "key"),
    [
        ("cost", {"above": "1000"}, {"value": "5000"}, "value"),
        ("cost_per_call", {"above": "2"}, {"value": "5000"}, "value"),
        ("tokens", {"above": "1000"}, {"args_redacted.input_tokens": "5000"}, "args_redacted.output_tokens"),
        ("tokens", {"above": "1000"}, {"args_redacted.input_tokens": "5000"}, "args_redacted.input_tokens"),
        ("groundedness", {"below": "0.8"}, {"args_redacted.groundedness": "0.1"}, "args_redacted.groundedness"),
        ("eval_score", {"below": "0.8"}, {"args_redacted.score": "0.1"}, "args_redacted.score"),
    ],
)
def test_a_value_that_can_be_none_hides_no_other(
    signal: str, above: dict[str, str], properties: dict[str, str], key: str
) -> None:
    when = {"signal": signal, **above, "over": "5m"}
    rule = Rule.model_validate({"id": "sums", "summary": "{value}", "severity": "P1", "when": when, "offset": "0s"})
    stage = Stage(rule)
    stage.busy(T0 - 5 * MINUTE, T0 + 5 * MINUTE)
    emit(stage, T0, "request.received")
    name = "cost.call" if signal[0] in "ct" else "eval.result"
    for at, said in enumerate([properties, *({key: each} for each in POISON for _ in range(2))]):
        emit(stage, T0 + at * SECOND, name, **said)
    stage.run(range(1, 3))
    assert told(stage) == ["sums"]


def test_a_few_new_names_a_minute_never_become_more_alerts_than_are_allowed() -> None:
    lasting = AGENTS.model_copy(update={"keep_firing_for": timedelta(hours=1), "max_instances": 20})
    stage = Stage(lasting)
    stage.busy(T0 - 5 * MINUTE, T0 + 5 * MINUTE)
    for minute in range(6):
        agents(stage, range(minute, minute + 1), 15, first=100 * minute)
    stage.run(range(1, 7))
    found = [each for each in stage.inner.open_alerts() if each.rule == lasting.id and each.open]
    assert len(found) <= 21
    assert STORM in {each.by for each in found}
    assert any("alerts at once" in each.title for each in stage.oncall.got)


def test_what_the_configuration_says_is_an_alert_of_its_own_where_the_rule_is_split() -> None:
    split = MISCONFIGURED.model_copy(update={"when": MISCONFIGURED.when.model_copy(update={"by": ("tool",)})})
    stage = Stage(split, policies=())
    stage.busy(T0 - 20 * MINUTE, T0 + 30 * MINUTE)
    for minute in range(16):  # somebody keeps an alert open, and a person takes it for a false alarm
        emit(stage, T0 + minute * MINUTE + SECOND, "tool.hitl_misconfigured", external_system="(configuration)")
    stage.run(range(1, 8))
    assert told(stage) == ["hitl_misconfigured"]
    misconfigure(stage)
    stage.run(range(8, 12))
    assert told(stage) == ["hitl_misconfigured"] * 2
    assert len({each.episode for each in stage.oncall.got}) == 2


BY_SIGN = MISCONFIGURED.model_copy(update={"when": MISCONFIGURED.when.model_copy(update={"by": ("sign",)})})


def test_faked_events_never_hide_that_the_approver_is_really_gone() -> None:
    own = STOP.model_copy(update={"guard": STOP.guard.model_copy(update={"cooldown": timedelta(), "at_most": OFTEN})})
    stage = watched(policies=(own,))
    stage.project = replace(stage.project, rules=(BY_SIGN,))
    for minute in range(40):
        emit(stage, T0 + minute * MINUTE + SECOND, "tool.hitl_misconfigured", external_system="send_email")
    stage.run(range(1, 12))
    assert (told(stage), stage.platform.changes) == (["hitl_misconfigured"], 1)
    stage.platform.env[SWITCH] = "off"  # a person takes it for a false alarm
    stage.inner.record(None, [Record(T0 + 11 * MINUTE, "person ada", "release intended", "sales", "killswitch", {})])
    stage.run(range(12, 15))
    misconfigure(stage)
    stage.run(range(15, 26))
    assert told(stage) == ["hitl_misconfigured"] * 2
    first, second = (each.labels["sign"] for each in stage.oncall.got if each.kind is Kind.FIRED)
    assert (first, second) == ("refused", "no-approver")
    assert (stage.platform.changes, stage.platform.env.get(SWITCH)) == (2, "on"), "and it is acted on"


def test_several_signs_at_once_engage_the_switch_once_and_no_refusal_is_told() -> None:
    stage = watched()
    stage.project = replace(stage.project, rules=(BY_SIGN,))
    misconfigure(stage)
    for minute in range(40):
        emit(stage, T0 + minute * MINUTE + SECOND, "tool.hitl_misconfigured", external_system="send_email")
    stage.run(range(1, 30))
    assert told(stage) == ["hitl_misconfigured"] * 2
    assert stage.platform.changes == 1
    assert Kind.FAILED not in {each.kind for each in stage.oncall.got}
    assert {each.phase for each in stage.inner.executions()} == {Phase.VERIFIED}


def test_an_alert_in_a_request_that_begins_with_a_handshake_is_taken() -> None:
    stage = watched()
    handshake = {"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": "x"}}
    app = App(stage.engine, FrozenClock(T0 + MINUTE))
    assert answer("POST", {}, json.dumps([handshake, schema()]).encode(), app).status == 200
    stage.run([2])
    assert told(stage) == ["azure_alert_p1"]


@pytest.mark.parametrize("body", [gzip.compress(b"{}", mtime=0), "{}".encode("utf-16"), b"\x00", b'{"a":1}{"b":2}'])
def test_a_body_in_another_encoding_is_refused_and_said_to_be(body: bytes) -> None:
    assert answer("POST", {"Content-Encoding": "gzip"}, body, App(watched().engine, FrozenClock(T0))).status == 400
