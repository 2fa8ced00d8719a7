"""The engine carries decisions out in one order, isolates failures, and loses nothing when it is interrupted."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.amount import often
from tests.stage import CONFIG, ERRORS, MINUTE, MISCONFIGURED, STOP, SWITCH, T0, TARGET, Stage
from tocsin.core import audit
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.fields import Automation
from tocsin.core.message import NEWS, Kind, Outcome, Said, Settled
from tocsin.core.remedy import Applied, Did, Phase
from tocsin.core.rule import Rule
from tocsin.ports import Conflict


def a_misconfigured_stage(**changes: object) -> Stage:
    """A target that is alive and has lost its approver."""
    stage = Stage(**changes)
    stage.busy(T0 - 20 * MINUTE, T0 + 60 * MINUTE)
    del stage.platform.env["HITL_APPROVER_ENDPOINT"]
    return stage


def test_state_is_saved_and_acted_on_before_anyone_is_told_and_the_heartbeat_comes_last() -> None:
    stage = a_misconfigured_stage()
    stage.run(range(1))
    first_look_for_what_expires = "keep"
    assert stage.happened == ["commit", "save_mark", first_look_for_what_expires, "beat"]
    stage.happened.clear()
    stage.run(range(1, 2))
    told = ["claim", "told fired", "settle"] * 2
    grouped = ["claim", "keep", "settle"]
    assert stage.happened == ["commit", "save_mark", "record refused", *grouped, *told, "beat"]


def test_an_intent_is_recorded_before_anything_is_done_and_the_outcome_after() -> None:
    stage = a_misconfigured_stage()
    stage.run(range(6))
    stage.happened.clear()
    stage.run(range(6, 7))
    acted = ["record intended", "applied", "record applied"]
    told = ["claim", "told acted", "settle"] * 2
    beside = ["claim", "enqueue", "settle"]
    assert stage.happened == ["commit", "save_mark", *acted, *beside, *told, "beat"]


def test_the_whole_story_fires_acts_proves_and_is_audited() -> None:
    stage = a_misconfigured_stage()
    stage.trace(T0, "tool.executed", external_system="send_email", ok="true")
    stage.run(range(12))
    assert stage.oncall.kinds() == ["fired", "acted", "acted"]
    assert stage.platform.changes == 1
    assert [entry["event"] for entry in stage.inner.audit()] == [
        "refused",
        "intended",
        "applied",
        "check passed",
        "verified",
    ]
    assert audit.broken(stage.inner.audit()) is None
    (execution,) = stage.inner.executions()
    assert execution.phase is Phase.VERIFIED


def test_every_message_of_an_episode_shows_the_course_of_its_value() -> None:
    stage = a_misconfigured_stage()
    stage.run(range(8))
    stage.platform.env["HITL_APPROVER_ENDPOINT"] = "https://approver"
    stage.run(range(8, 14))
    told = {notice.kind.value: notice for notice in stage.oncall.got}
    assert set(told) == {"fired", "acted", "resolved"}
    fired, done, over = (told[kind].series for kind in ("fired", "acted", "resolved"))
    assert fired == done[: len(fired)] == over[: len(fired)]
    assert len(fired) < len(done) < len(over)
    assert over[-1][1] == 0.0 < max(value for _, value in over)
    assert {(notice.threshold, notice.unit) for notice in told.values()} == {(0.0, "count")}
    assert (
        "stays so until a person releases it"
        in {fact.name: fact.value for fact in told["resolved"].facts}["Killswitch"]
    )


def test_a_tool_that_still_runs_behind_the_switch_is_never_called_proven() -> None:
    stage = a_misconfigured_stage()
    for minute in range(6, 60):
        stage.trace(
            T0 + minute * MINUTE + timedelta(seconds=1), "tool.executed", external_system="send_email", ok="true"
        )
    stage.run(range(30))
    (execution,) = stage.inner.executions()
    assert execution.phase is Phase.UNVERIFIED
    assert "side_effect_tools is 2" in execution.reason
    assert stage.oncall.kinds() == ["fired", "acted", "action failed"]


def test_silence_after_the_switch_proves_nothing() -> None:
    stage = Stage()
    stage.busy(T0 - 20 * MINUTE, T0 + 6 * MINUTE)
    del stage.platform.env["HITL_APPROVER_ENDPOINT"]
    stage.run(range(16))
    (execution,) = stage.inner.executions()
    assert execution.phase is Phase.APPLIED


def test_a_rule_that_cannot_run_never_blinds_the_others() -> None:
    broken = Rule.model_validate(
        {
            "id": "broken",
            "summary": "s",
            "severity": "P2",
            "when": {"kql": "Nonsense | where", "above": "1", "over": "5m"},
        }
    )
    stage = Stage(broken, ERRORS)
    for second in range(60):
        stage.trace(T0 - timedelta(seconds=second + 1), "response.returned", ok="false", error="Foundry: 503")
    stage.run(range(1))
    assert [notice.rule for notice in stage.oncall.got] == ["high_error_rate"]
    assert stage.log.named("no answer")[0]["rule"] == "broken"


@pytest.mark.parametrize("why", list(Why))
def test_telemetry_that_does_not_answer_fires_nothing_resolves_nothing_and_switches_nothing(why: Why) -> None:
    stage = a_misconfigured_stage()
    stage.run(range(3))
    assert stage.oncall.kinds() == ["fired"]
    stage.answers = lambda query: NoAnswer(why)
    stage.platform.unreadable = True
    stage.run(range(3, 30))
    assert stage.platform.changes == 0
    assert stage.oncall.kinds() == ["fired", "blind", "blind"], "one for the firing alert, one for the target itself"
    assert [alert.state.value for alert in stage.inner.open_alerts()] == ["firing", "firing"]


def test_sight_lost_and_regained_is_told_once_each_and_no_rule_is_paged() -> None:
    stage = Stage(ERRORS, MISCONFIGURED)
    stage.busy(T0 - 20 * MINUTE, T0 + 60 * MINUTE)
    stage.run(range(3))
    stage.answers = lambda query: NoAnswer(Why.PARTIAL)
    stage.run(range(3, 15))
    stage.answers = lambda query: None
    stage.run(range(15, 20))
    assert stage.oncall.kinds() == ["blind", "resolved"]
    assert not stage.inner.open_alerts()


def test_a_restart_in_a_short_outage_is_no_proof_of_a_long_one() -> None:
    stage = Stage(ERRORS)
    stage.run(range(1))
    stage.answers = lambda query: NoAnswer(Why.TIMEOUT)
    stage.run(range(14, 15))
    assert stage.oncall.kinds() == []


def test_missed_ticks_are_caught_up_with_one_query_and_fire_in_the_slot_that_breached() -> None:
    stage = Stage(ERRORS)
    stage.busy(T0 - 20 * MINUTE, T0)
    stage.run(range(1))
    asked: list[str] = []
    stage.answers = lambda query: asked.append(query.text)
    for second in range(40):
        stage.trace(T0 + 2 * MINUTE + timedelta(seconds=second), "response.returned", ok="false")
    stage.busy(T0 + 3 * MINUTE, T0 + 10 * MINUTE)
    stage.run(range(10, 11))
    assert len(asked) == 2, "one for freshness, one for the rule, whatever was missed"
    stage.run(range(11, 12))
    (notice, resolved) = stage.oncall.got
    assert (notice.kind.value, notice.at) == ("fired", T0 + 3 * MINUTE)
    assert (resolved.kind.value, resolved.at) == ("resolved", T0 + 8 * MINUTE)


def test_a_lost_race_is_decided_again_from_what_the_other_writer_left() -> None:
    stage = a_misconfigured_stage()
    engine, other = stage.engine, stage.engine
    commit, raced = stage.inner.commit, []

    def first_lose(*args: object) -> None:
        if not raced:
            raced.append(True)
            other.tick(T0)
            raise Conflict("somebody was first")
        commit(*args)  # type: ignore[arg-type]

    stage.inner.commit = first_lose  # type: ignore[method-assign]
    engine.tick(T0)
    (alert,) = stage.inner.open_alerts()
    assert alert.state.value == "pending"
    assert alert.slot == T0


def test_a_receiver_that_fails_delays_its_own_messages_only_and_gets_them_in_order() -> None:
    stage = a_misconfigured_stage()
    stage.oncall.outcomes = [Outcome(Said.AGAIN, "503"), Outcome(Said.AGAIN, "429", 3 * MINUTE)]
    stage.run(range(7))
    assert stage.team.kinds() == ["fired", "acted"]
    assert stage.oncall.kinds() == ["fired", "fired", "fired", "acted"]


def test_a_message_refused_goes_to_the_fallback_and_is_dead_at_its_own() -> None:
    stage = a_misconfigured_stage(
        config=CONFIG.model_copy(update={"routes": CONFIG.routes.model_copy(update={"to": ("oncall",)})})
    )
    stage.oncall.outcomes = [Outcome(Said.REFUSED, "400")]
    stage.run(range(2))
    assert stage.team.kinds() == ["fired"]
    assert {each.receiver: each.state for each in stage.inner.deliveries() if each.receiver != NEWS} == {
        "oncall": Settled.DEAD,
        "team": Settled.DELIVERED,
    }


def test_a_notifier_with_a_defect_silences_no_other() -> None:
    stage = a_misconfigured_stage()
    stage.oncall.deliver = lambda notice: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    stage.run(range(2))
    assert [(each.kind.value, each.rule) for each in stage.team.got] == [
        ("fired", "hitl_misconfigured"),
        ("fired", "tocsin_error"),
    ]
    waiting = [each for each in stage.inner.deliveries() if each.state is Settled.WAITING]
    assert [each.receiver for each in waiting] == ["oncall"]


def test_a_receiver_down_for_long_does_not_keep_the_switch_from_being_engaged() -> None:
    stage = a_misconfigured_stage()
    stage.oncall.outcomes = [Outcome(Said.AGAIN)] * 100
    stage.run(range(8))
    assert stage.platform.changes == 1


def test_a_platform_that_is_busy_is_tried_again_and_given_up_in_the_end() -> None:
    stage = a_misconfigured_stage()
    stage.platform.outcomes = [Applied(Did.BUSY, "another operation runs")] * 2
    stage.run(range(10))
    assert stage.platform.changes == 1
    forever = a_misconfigured_stage()
    forever.platform.outcomes = [Applied(Did.BUSY, "another operation runs")] * 100
    forever.run(range(30))
    (execution,) = forever.inner.executions()
    assert execution.phase is Phase.FAILED
    assert forever.oncall.kinds()[-1] == "action failed"


def test_a_failure_of_the_platform_is_escalated_at_once_with_its_words() -> None:
    stage = a_misconfigured_stage()
    stage.platform.outcomes = [Applied(Did.FAILED, "403: missing Microsoft.App/containerApps/write")]
    stage.run(range(8))
    failed = stage.oncall.got[-1]
    assert failed.kind.value == "action failed"
    assert any("containerApps/write" in fact.value for fact in failed.facts)
    assert stage.happened.count("applied") == 1


def test_an_intent_that_is_no_longer_wanted_is_let_go_without_touching_anything() -> None:
    stage = a_misconfigured_stage()
    stage.platform.outcomes = [Applied(Did.BUSY)] * 2
    stage.run(range(7))
    stage.platform.env["HITL_APPROVER_ENDPOINT"] = "https://approver"
    stage.run(range(7, 12))
    (execution,) = stage.inner.executions()
    assert execution.phase is Phase.STOOD_DOWN
    assert stage.platform.changes == 0


def test_the_global_switch_thrown_after_the_intent_stops_it() -> None:
    stage = a_misconfigured_stage()
    stage.platform.outcomes = [Applied(Did.BUSY)]
    stage.run(range(7))
    stage.project = stage.project.__class__(
        rules=stage.project.rules,
        policies=stage.project.policies,
        config=CONFIG.model_copy(update={"automation": Automation.OBSERVE}),
    )
    stage.run(range(7, 10))
    assert stage.platform.changes == 0
    assert stage.inner.executions()[0].phase is Phase.STOOD_DOWN


@pytest.mark.parametrize(("mode", "phase"), [(Automation.OBSERVE, Phase.OBSERVED), (Automation.ASK, Phase.ASKED)])
def test_a_policy_that_may_not_act_says_so_once_and_does_nothing(mode: Automation, phase: Phase) -> None:
    stage = a_misconfigured_stage(config=CONFIG.model_copy(update={"automation": mode}))
    stage.run(range(20))
    assert stage.platform.changes == 0
    assert stage.inner.executions()[0].phase is phase
    assert stage.oncall.kinds() == ["fired", "acted"]


def test_one_episode_is_acted_on_once_however_long_it_fires() -> None:
    stage = a_misconfigured_stage()
    stage.run(range(15))
    del stage.platform.env[SWITCH]
    stage.run(range(15, 30))
    assert stage.platform.changes == 1


def test_a_second_episode_within_the_cooldown_is_refused_with_its_reason() -> None:
    stage = a_misconfigured_stage()
    stage.run(range(10))
    stage.platform.env = {"HITL_APPROVER_ENDPOINT": "https://approver"}
    stage.run(range(10, 15))
    del stage.platform.env["HITL_APPROVER_ENDPOINT"]
    stage.run(range(15, 25))
    assert stage.platform.changes == 1
    assert "cooling down" in stage.inner.executions()[-1].reason


def test_more_instances_than_allowed_become_one_storm() -> None:
    by_tool = Rule.model_validate(
        {
            "id": "rejections",
            "summary": "s",
            "severity": "P2",
            "max_instances": "3",
            "when": {"signal": "hitl_rejections", "above": "0", "over": "5m", "by": ["tool"]},
        }
    )
    stage = Stage(by_tool)
    for number in range(9):
        stage.trace(T0 - MINUTE, "tool.hitl_rejected", external_system=f"tool{number}")
    stage.run(range(1))
    (notice,) = stage.oncall.got
    assert notice.title == "rejections on sales has 9 alerts at once, of which at most 3 are notified alone."
    assert notice.value == 9


def test_a_rule_taken_away_resolves_what_it_had_told() -> None:
    stage = a_misconfigured_stage()
    stage.run(range(3))
    stage.project = stage.project.__class__(policies=(STOP,), config=CONFIG)
    stage.run(range(3, 5))
    assert stage.oncall.kinds() == ["fired", "resolved"]
    assert not stage.inner.open_alerts()


def test_messages_are_read_once_however_many_alerts_of_a_rule_taken_away_end(monkeypatch: pytest.MonkeyPatch) -> None:
    when = {"signal": "hitl_rejections", "above": "0", "over": "5m", "by": ["tool"]}
    stage = Stage(Rule.model_validate({"id": "rejections", "summary": "s", "severity": "P2", "when": when}))
    for number in range(9):
        stage.trace(T0 - MINUTE, "tool.hitl_rejected", external_system=f"tool{number}")
    stage.run(range(2))
    assert len(stage.inner.open_alerts()) == 9
    stage.project = stage.project.__class__(config=CONFIG)
    reads = []
    right = stage.inner.deliveries
    monkeypatch.setattr(stage.inner, "deliveries", lambda limit=100: reads.append(limit) or right(limit))
    stage.run(range(2, 8))
    assert not stage.inner.open_alerts()
    assert sum(each.kind is Kind.RESOLVED for each in stage.oncall.got) == 9
    assert reads == [10_000]


def test_a_rule_that_measures_something_else_now_starts_afresh_and_resolves_the_old() -> None:
    stage = a_misconfigured_stage()
    stage.run(range(3))
    changed = MISCONFIGURED.model_copy(update={"when": ERRORS.when})
    stage.project = stage.project.__class__(rules=(changed,), config=CONFIG)
    stage.run(range(3, 5))
    assert stage.oncall.kinds() == ["fired", "resolved"]


def test_a_tick_in_which_nothing_changes_writes_one_row_a_target_and_the_heartbeat() -> None:
    stage = Stage(ERRORS, MISCONFIGURED)
    stage.busy(T0 - 20 * MINUTE, T0 + 2 * MINUTE)
    stage.run(range(1))
    stage.happened.clear()  # with the first tick, and it alone, begins what is recorded of expiries
    stage.run(range(1, 2))
    assert stage.happened == ["save_mark", "beat"]


def test_a_tick_over_a_thousand_rules_with_nothing_changed_writes_one_row() -> None:
    limits = (ERRORS.when.model_copy(update={"above": 0.5 + number / 10_000}) for number in range(1000))
    rules = [ERRORS.model_copy(update={"id": f"r{number}", "when": when}) for number, when in enumerate(limits)]
    stage = Stage(*rules)
    stage.busy(T0 - 20 * MINUTE, T0 + 2 * MINUTE)
    stage.run(range(2))
    assert stage.happened == ["save_mark", "keep", "beat", "save_mark", "beat"]
    assert len(stage.inner.mark("sales").slots) >= 1000


def test_a_target_without_an_app_is_judged_by_its_telemetry_alone() -> None:
    bare = TARGET.model_copy(update={"container_app": "", "subscription": "", "resource_group": ""})
    stage = Stage(config=CONFIG.model_copy(update={"targets": (bare,)}))
    stage.busy(T0 - 20 * MINUTE, T0 + 10 * MINUTE)
    stage.platform.unreadable = True
    stage.run(range(2))
    assert not stage.inner.open_alerts()


class Crash(BaseException):
    """The process is gone."""


@pytest.mark.slow
def test_a_crash_at_any_write_loses_no_page_and_doubles_no_change() -> None:
    """Every write of the whole story in turn is the one before which, or after which, the process dies."""
    calm = a_misconfigured_stage()
    calm.run(range(12))
    writes = len(calm.happened)
    assert writes > 50
    for fatal in range(0, writes, often(1, 12)):
        stage = Stage(telemetry=calm.telemetry)
        del stage.platform.env["HITL_APPROVER_ENDPOINT"]
        note = stage.note

        def noting(what: str, stage: Stage = stage, fatal: int = fatal, note: object = note) -> None:
            note(what)  # type: ignore[operator]
            if len(stage.happened) == fatal + 1:
                raise Crash(what)

        stage.note = noting  # type: ignore[method-assign]
        stage.oncall.note = stage.team.note = stage.platform.note = noting
        for minute in range(14):
            try:
                stage.engine.tick(T0 + minute * MINUTE)
            except Crash:
                stage.engine.tick(T0 + minute * MINUTE + timedelta(seconds=1))
        kinds = stage.oncall.kinds()
        assert stage.platform.changes == 1, fatal
        assert {"fired", "acted"} <= set(kinds), fatal
        assert kinds.index("fired") < kinds.index("acted"), fatal
        assert audit.broken(stage.inner.audit()) is None
        assert stage.inner.executions()[0].phase is Phase.VERIFIED, fatal
