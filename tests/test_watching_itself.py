"""The watcher says what it cannot see: a target, a rule, a receiver, a clock. Silence is never health."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from tests.stage import CONFIG, ERRORS, MINUTE, MISCONFIGURED, T0, Stage, project
from tocsin.app import App, undelivered
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.config import Config
from tocsin.core.message import Outcome, Said, Settled
from tocsin.core.rule import Rule
from tocsin.stores.codec import dump, load
from tocsin.testing import FrozenClock


def own(name: str, text: str, **changes: Any) -> Rule:
    when = {"kql": text, "above": "0", "over": "5m"}
    return Rule.model_validate({"id": name, "summary": "x", "severity": "P2", "when": when, **changes})


TYPO = "AppTraces | summarize value = count(NoSuchColumn)"


def blind(stage: Stage) -> list[tuple[str, str]]:
    """Return the blind notes that on-call got: the rule that told, and the title."""
    return [(notice.rule, notice.title) for notice in stage.oncall.got if notice.kind.value == "blind"]


def health(stage: Stage, minute: float) -> dict[str, Any]:
    return App(stage.engine, FrozenClock(T0 + minute * MINUTE)).health()


def test_a_rule_that_cannot_be_judged_is_told_once_and_named_by_health() -> None:
    stage = Stage(own("typo", TYPO), ERRORS)
    stage.busy(T0 - 20 * MINUTE, T0 + 30 * MINUTE)
    assert health(stage, 0)["problems"] == ["no tick has ended yet"]
    stage.run(range(20))
    ((rule, title),) = blind(stage)
    assert (rule, title) == ("minor_rule_blind", "Tocsin cannot judge the rule typo on sales.")
    said = health(stage, 19)
    assert said["status"] == "degraded"
    assert any("typo cannot be judged: query refused" in problem for problem in said["problems"])


def test_a_severe_rule_that_cannot_be_judged_pages_as_severely() -> None:
    stage = Stage(own("typo", TYPO, severity="P0"))
    stage.busy(T0 - 20 * MINUTE, T0 + 30 * MINUTE)
    stage.run(range(10))
    ((rule, _),) = blind(stage)
    assert rule == "rule_blind"
    assert stage.oncall.got[0].severity.value == "P1"


def test_an_app_that_cannot_be_read_blinds_the_rule_that_needs_it() -> None:
    stage = Stage(MISCONFIGURED)
    stage.busy(T0 - 20 * MINUTE, T0 + 30 * MINUTE)
    del stage.platform.env["HITL_APPROVER_ENDPOINT"]
    stage.platform.unreadable = True
    stage.run(range(20))
    assert [rule for rule, _ in blind(stage)] == ["rule_blind"]
    stage.platform.unreadable = False
    stage.run(range(20, 30))
    assert sorted(stage.oncall.kinds()) == sorted(["blind", "fired", "resolved", *["acted"] * 2])


def test_an_app_of_which_nothing_serves_is_not_taken_for_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    stage = Stage(MISCONFIGURED)
    stage.busy(T0 - 20 * MINUTE, T0 + 30 * MINUTE)
    read = stage.platform.read
    monkeypatch.setattr(stage.platform, "read", lambda target: replace(read(target), revisions=()))  # type: ignore[type-var]
    stage.run(range(10))
    assert [rule for rule, _ in blind(stage)] == ["rule_blind"]


def test_rules_that_time_out_while_the_target_answers_are_told() -> None:
    stage = Stage(ERRORS)
    stage.busy(T0 - 20 * MINUTE, T0 + 30 * MINUTE)
    stage.answers = lambda query: None if "minute = bin" in query.text else NoAnswer(Why.TIMEOUT)
    stage.run(range(10))
    assert [rule for rule, _ in blind(stage)] == ["rule_blind"]


def test_a_rule_that_runs_seldom_is_told_too() -> None:
    stage = Stage(own("typo", TYPO, every="15m"))
    stage.busy(T0 - 20 * MINUTE, T0 + 60 * MINUTE)
    stage.run(range(60))
    assert [rule for rule, _ in blind(stage)] == ["minor_rule_blind"]


def test_a_short_outage_does_not_make_a_broken_rule_look_mended() -> None:
    stage = Stage(own("typo", TYPO, every="15m"))
    stage.busy(T0 - 20 * MINUTE, T0 + 90 * MINUTE)
    stage.run(range(32))
    stage.answers = lambda query: NoAnswer(Why.TIMEOUT)
    stage.run(range(32, 33))
    stage.answers = lambda query: None
    stage.run(range(33, 60))
    assert stage.oncall.kinds() == ["blind"]


def test_a_query_that_tells_its_rows_not_apart_is_told() -> None:
    text = "AppTraces | summarize value = count() by Message, tool = 'x'"
    when = {"kql": text, "above": "0", "over": "5m", "by": ["tool"]}
    stage = Stage(Rule.model_validate({"id": "twice", "summary": "x", "severity": "P2", "when": when}))
    stage.busy(T0 - 20 * MINUTE, T0 + 30 * MINUTE)
    for minute in range(-10, 20):
        stage.trace(T0 + minute * MINUTE, "request.received")
    stage.run(range(10))
    assert [rule for rule, _ in blind(stage)] == ["minor_rule_blind"]


def test_a_rule_that_is_mended_is_told_as_over() -> None:
    stage = Stage(own("typo", TYPO))
    stage.busy(T0 - 20 * MINUTE, T0 + 60 * MINUTE)
    stage.run(range(10))
    stage.project = project(own("typo", "AppTraces | where Message == 'none' | summarize value = count()"))
    stage.run(range(10, 20))
    assert stage.oncall.kinds() == ["blind", "resolved"]
    assert stage.inner.open_alerts() == []


def test_a_target_from_which_nothing_arrives_is_told_and_too_little_traffic_is_not() -> None:
    stage = Stage(ERRORS)
    stage.busy(T0 - 20 * MINUTE, T0)
    stage.run(range(14))
    assert stage.oncall.got == []
    stage.run(range(14, 30))
    assert [rule for rule, _ in blind(stage)] == ["telemetry_blind"]
    assert "silent" in json.dumps([fact.value for fact in stage.oncall.got[0].facts])


def test_one_outage_is_one_note_however_many_rules_it_blinds() -> None:
    stage = Stage(ERRORS, MISCONFIGURED, own("a", "AppTraces | summarize value = count()"))
    stage.busy(T0 - 20 * MINUTE, T0 + 30 * MINUTE)
    stage.answers = lambda query: NoAnswer(Why.FAILED)
    stage.run(range(20))
    assert [rule for rule, _ in blind(stage)] == ["telemetry_blind"]


# Time


def test_a_hanging_workspace_is_asked_one_question() -> None:
    stage = Stage(ERRORS, own("a", "union AppTraces, AppRequests | summarize value = count()"))
    asked = []
    stage.answers = lambda query: asked.append(query) or NoAnswer(Why.TIMEOUT)  # type: ignore[func-returns-value]
    stage.run(range(1))
    assert len(asked) == 1


def test_a_message_that_waits_is_sent_before_anything_is_measured() -> None:
    stage = Stage(ERRORS)
    for second in range(60):
        stage.trace(T0 - timedelta(seconds=second + 1), "response.returned", ok="false")
    stage.oncall.outcomes = [Outcome(Said.AGAIN)]
    stage.run(range(1))
    stage.answers = lambda query: stage.note("asked") or NoAnswer(Why.TIMEOUT)  # type: ignore[func-returns-value]
    stage.happened.clear()
    stage.run(range(1, 2))
    assert stage.happened.index("told fired") < stage.happened.index("asked")


def test_a_clock_that_was_far_ahead_does_not_make_the_watch_wait_for_it() -> None:
    stage = Stage(ERRORS)
    stage.busy(T0 - 20 * MINUTE, T0 + 10 * MINUTE)
    stage.engine.tick(T0 + timedelta(days=30))
    for second in range(300):
        stage.trace(T0 + timedelta(seconds=second), "response.returned", ok="false")
    stage.run(range(1, 5))
    assert "fired" in stage.oncall.kinds()
    assert health(stage, 4)["status"] == "ok"


def test_a_clock_that_was_far_ahead_does_not_silence_arrivals() -> None:
    stage = Stage(MISCONFIGURED.model_copy(update={"counting": "arrivals", "for_": timedelta()}))
    stage.busy(T0 - 20 * MINUTE, T0 + 30 * MINUTE)
    del stage.platform.env["HITL_APPROVER_ENDPOINT"]
    stage.engine.tick(T0 + timedelta(days=30))
    stage.run(range(1, 4))
    (alert,) = [each for each in stage.inner.open_alerts() if each.rule == "hitl_misconfigured"]
    assert alert.slot == T0 + 3 * MINUTE


def test_the_heartbeat_is_the_timers_alone() -> None:
    stage = Stage(ERRORS)
    stage.busy(T0 - 20 * MINUTE, T0 + 70 * MINUTE)
    stage.engine.tick(T0)
    stage.engine.tick(T0 + 60 * MINUTE, only=["sales"])
    assert stage.inner.last_beat() == T0
    assert "the last tick ended" in health(stage, 60)["problems"][0]


# Receivers


def burning(config: Config = CONFIG) -> Stage:
    stage = Stage(ERRORS, config=config)
    for second in range(120):
        stage.trace(T0 + timedelta(seconds=second), "response.returned", ok="false")
    return stage


TEAM_ALONE = CONFIG.model_copy(update={"routes": CONFIG.routes.model_copy(update={"to": ("team",)})})


def test_the_last_receiver_is_not_given_up_for_one_refusal() -> None:
    stage = burning(TEAM_ALONE)
    stage.team.outcomes = [Outcome(Said.REFUSED, "404")] * 2
    stage.run(range(1, 5))
    assert stage.team.kinds() == ["fired"] * 3
    told = [each for each in stage.inner.deliveries() if each.receiver == "team" and each.notice.kind.value == "fired"]
    assert [each.state for each in told] == [Settled.DELIVERED]


def test_a_page_that_reached_nobody_is_named_by_health() -> None:
    stage = burning(TEAM_ALONE.model_copy(update={"give_up_after": timedelta(minutes=2)}))
    stage.team.outcomes = [Outcome(Said.REFUSED, "404")] * 20
    stage.run(range(1, 6))
    (name,) = [each for each in health(stage, 5)["problems"] if "nobody was told" in each]
    assert "high_error_rate/sales" in name
    assert undelivered(stage.inner.deliveries(), T0 + timedelta(days=1)) == []


def test_a_delivery_written_by_another_version_is_sent_once_and_hangs_nothing() -> None:
    stage = burning()
    stage.oncall.outcomes = [Outcome(Said.AGAIN)]
    stage.run(range(1, 2))
    (waiting,) = [each for each in stage.inner.deliveries() if each.state is Settled.WAITING]
    body = json.loads(dump(waiting))
    del body["notice"]["query"]
    store: Any = stage.inner
    with store._transaction() as db:
        db.execute("UPDATE deliveries SET body = ? WHERE id = ?", (json.dumps(body), waiting.id))
    assert load(type(waiting), json.dumps(body)).notice.query == ""
    stage.run(range(2, 4))
    assert stage.oncall.kinds() == ["fired", "fired"]


@pytest.mark.parametrize("change", [{"enabled": False}, {"targets": {"env": "test"}}])
def test_a_rule_switched_off_ends_what_it_had_told(change: dict[str, Any]) -> None:
    stage = burning()
    stage.run(range(1, 3))
    assert stage.oncall.kinds() == ["fired"]
    stage.project = project(ERRORS.model_copy(update=change))
    stage.run(range(3, 4))
    assert stage.oncall.kinds() == ["fired", "resolved"]
    stage.project = project(ERRORS)
    for second in range(120):
        stage.trace(T0 + 4 * MINUTE + timedelta(seconds=second), "response.returned", ok="false")
    stage.run(range(5, 7))
    assert stage.oncall.kinds() == ["fired", "resolved", "fired"]
