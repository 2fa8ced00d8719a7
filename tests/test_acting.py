"""What a policy promised, did and proved: nothing is called done that was not seen, and no person is overruled."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.stage import CONFIG, MINUTE, MISCONFIGURED, STOP, SWITCH, T0, TARGET, Stage, project
from tocsin.core.audit import Record
from tocsin.core.config import Config, Route
from tocsin.core.fields import Automation
from tocsin.core.message import Notice
from tocsin.core.policy import Check, Failure
from tocsin.core.remedy import Applied, Did, Phase


def misconfigured(**changes: Any) -> Stage:
    stage = Stage(**changes)
    stage.busy(T0 - 20 * MINUTE, T0 + 90 * MINUTE)
    del stage.platform.env["HITL_APPROVER_ENDPOINT"]
    return stage


def told(stage: Stage, kind: str) -> list[Notice]:
    return [notice for notice in stage.oncall.got if notice.kind.value == kind]


def facts(notice: Notice) -> str:
    return " | ".join(f"{fact.name}: {fact.value}" for fact in notice.facts)


# Proof


def without_effect(stage: Stage) -> None:
    """Let the platform say done and do nothing."""
    stage.platform.outcomes = [Applied(Did.DONE, "sent")]


def test_a_policy_that_verifies_nothing_is_still_proven_on_what_serves() -> None:
    stage = misconfigured(policies=(STOP.model_copy(update={"verify": ()}),))
    without_effect(stage)
    stage.run(range(8))
    (execution,) = stage.inner.executions()
    assert execution.phase is Phase.APPLIED
    stage.run(range(8, 30))
    assert stage.inner.executions()[0].phase is Phase.UNVERIFIED
    assert "NOT proven" in told(stage, "action failed")[0].title


def test_a_policy_that_looks_at_another_switch_proves_its_own_too() -> None:
    off = Check.model_validate({"container_env": "KILLSWITCH", "is": "off", "within": "10m"})
    other = STOP.model_copy(update={"verify": (off,)})
    stage = misconfigured(policies=(other,))
    without_effect(stage)
    stage.run(range(30))
    assert stage.inner.executions()[0].phase is Phase.UNVERIFIED


@pytest.mark.parametrize("works", [True, False])
def test_a_policy_whose_file_is_gone_meanwhile_is_proven_or_told(works: bool) -> None:
    stage = misconfigured()
    if not works:
        without_effect(stage)
    stage.run(range(7))
    assert stage.inner.executions()[0].phase is Phase.APPLIED
    stage.project = project(MISCONFIGURED, policies=())
    stage.run(range(7, 30))
    (execution,) = stage.inner.executions()
    assert execution.phase is (Phase.VERIFIED if works else Phase.UNVERIFIED)
    last = [notice for notice in stage.oncall.got if notice.kind.value in ("acted", "action failed")][-1]
    assert last.title.startswith("Done and proven" if works else "Done but NOT proven")


def test_a_change_found_after_a_long_standstill_is_not_called_undone() -> None:
    stage = misconfigured()
    stage.platform.outcomes = [Applied(Did.BUSY, "unclear whether it arrived")]
    stage.run(range(7))
    stage.platform.env[SWITCH] = "on"
    stage.engine.tick(T0 + 40 * MINUTE)
    stage.run(range(41, 46))
    (execution,) = stage.inner.executions()
    assert execution.phase in (Phase.APPLIED, Phase.VERIFIED)
    assert told(stage, "action failed") == []


def test_what_may_have_been_changed_is_not_called_untouched() -> None:
    stage = misconfigured()
    stage.platform.outcomes = [Applied(Did.BUSY, "unclear whether it arrived")] * 60
    stage.run(range(30))
    (failed,) = told(stage, "action failed")
    assert "perhaps changed" in facts(failed)


# Promises


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (CONFIG, "stop_unsafe_tools does killswitch.engage"),
        (CONFIG.model_copy(update={"automation": Automation.OFF}), "is off and does not do"),
        (CONFIG.model_copy(update={"automation": Automation.OBSERVE}), "only notes that it would do"),
        (
            CONFIG.model_copy(update={"targets": (TARGET.model_copy(update={"allow": ()}),)}),
            "does nothing: sales does not allow killswitch.engage",
        ),
    ],
)
def test_the_page_promises_what_the_guard_will_permit(config: Config, words: str) -> None:
    stage = misconfigured(config=config)
    stage.run(range(3))
    assert words in facts(told(stage, "fired")[0])


def test_a_promise_that_the_guard_breaks_is_told() -> None:
    stage = misconfigured()
    stage.run(range(12))
    stage.platform.env["HITL_APPROVER_ENDPOINT"] = "https://approver"
    stage.run(range(12, 22))
    del stage.platform.env["HITL_APPROVER_ENDPOINT"]
    stage.platform.env[SWITCH] = "off"
    stage.oncall.got.clear()
    stage.run(range(22, 32))
    (refused,) = told(stage, "action failed")
    assert refused.title.startswith("Not done: killswitch.engage")
    assert "cooling down" in facts(refused)


def test_a_failure_that_no_route_sends_to_anybody_goes_to_the_fallback() -> None:
    quiet = STOP.model_copy(update={"if_it_fails": None})
    stage = misconfigured(policies=(quiet,), config=CONFIG.model_copy(update={"routes": Route()}))
    stage.platform.outcomes = [Applied(Did.FAILED, "403")]
    stage.run(range(10))
    assert stage.team.kinds() == ["fired", "action failed"]


def test_a_failure_escalated_to_a_severity_reaches_whoever_hears_of_such_an_alert() -> None:
    routes = Route.model_validate({"to": "team", "routes": [{"match": {"severity": "P0"}, "to": "oncall"}]})
    named = STOP.model_copy(update={"if_it_fails": Failure(escalate="P0")})
    stage = misconfigured(policies=(named,), config=CONFIG.model_copy(update={"routes": routes}))
    stage.platform.outcomes = [Applied(Did.FAILED, "403")]
    stage.run(range(10))
    assert stage.oncall.kinds() == ["action failed"]


# Persons


def released_by_a_person(stage: Stage, minute: int) -> None:
    """Release as the command line does: the intent first."""
    stage.platform.env[SWITCH] = "off"
    at = T0 + minute * MINUTE
    stage.inner.record(None, [Record(at, "person ada", "release intended", "sales", "killswitch", {"reason": "evals"})])


def test_a_person_who_releases_while_it_fires_is_not_overruled() -> None:
    stage = misconfigured(
        policies=(STOP.model_copy(update={"on": STOP.on.model_copy(update={"firing_for": 30 * MINUTE})}),)
    )
    stage.run(range(10))
    released_by_a_person(stage, 10)
    stage.run(range(10, 60))
    assert stage.platform.changes == 0
    assert "a person released the switch" in facts(told(stage, "action failed")[0])


def test_the_next_episode_is_acted_on_again() -> None:
    stage = misconfigured()
    released_by_a_person(stage, -30)
    stage.run(range(10))
    assert stage.platform.changes == 1


# One at a time


def test_two_ticks_in_one_process_do_not_share_the_lock() -> None:
    stage = misconfigured()
    owners = []
    lock = stage.inner.lock

    def noted(name: str, owner: str, now: Any, ttl: Any) -> bool:
        if name == "act/sales":
            owners.append(owner)
        return lock(name, owner, now, ttl)

    stage.inner.lock = noted  # type: ignore[method-assign]
    stage.platform.outcomes = [Applied(Did.BUSY)] * 2
    stage.run(range(10))
    assert len(set(owners)) == len(owners) > 1


def test_what_the_platform_has_not_finished_is_not_finished_once_automation_is_off() -> None:
    from dataclasses import replace

    stage = misconfigured()
    stage.platform.outcomes = [Applied(Did.DONE, "sent")] * 9
    read = stage.platform.read

    def shared(target: Any) -> Any:
        app = read(target)
        return replace(app, multiple=True, env={**app.env, SWITCH: "on"})  # type: ignore[type-var]

    stage.platform.read = shared  # type: ignore[method-assign]
    stage.run(range(7))
    before = stage.happened.count("applied")
    stage.run(range(7, 9))
    assert stage.happened.count("applied") == before + 2
    assert [entry["event"] for entry in stage.inner.audit()].count("finishing") == 2
    stage.project = project(config=CONFIG.model_copy(update={"automation": Automation.OFF}))
    stage.run(range(9, 12))
    assert stage.happened.count("applied") == before + 2


def test_what_the_platform_has_not_finished_is_left_once_a_person_has_released_it() -> None:
    from dataclasses import replace

    from tocsin.core.audit import Record

    stage = misconfigured()
    stage.platform.outcomes = [Applied(Did.DONE, "sent")] * 9
    read = stage.platform.read

    def shared(target: Any) -> Any:
        app = read(target)
        return replace(app, multiple=True, env={**app.env, SWITCH: "on"})  # type: ignore[type-var]

    stage.platform.read = shared  # type: ignore[method-assign]
    stage.run(range(8))
    before = stage.happened.count("applied")
    assert [entry["event"] for entry in stage.inner.audit()].count("finishing") > 0
    stage.inner.record(None, [Record(T0 + 8 * MINUTE, "person ann", "release intended", "sales", "killswitch", {})])
    stage.run(range(8, 12))
    assert stage.happened.count("applied") == before


def test_a_lock_is_held_by_the_clock_and_not_by_the_ticks_instant() -> None:
    from tocsin.engine.acting import Actor

    stage = misconfigured()
    seen = []
    stage.inner.lock = lambda name, owner, now, ttl: seen.append(now) or False  # type: ignore[assignment, func-returns-value, method-assign]
    actor = stage.engine._actor(lambda: timedelta(minutes=3))
    assert isinstance(actor, Actor)
    with actor._carrier.alone(TARGET.name, T0) as mine:
        assert not mine
    assert seen == [T0 + 3 * MINUTE]


def test_two_checks_of_one_signal_are_two_checks() -> None:
    from tocsin.core.policy import Check
    from tocsin.engine.verifying import named

    few, none = (
        Check.model_validate({"signal": "side_effect_tools", "at_most": most, "over": "2m", "within": "20m"})
        for most in ("5", "0")
    )
    assert [name for name, _ in named([few, none])] == ["side_effect_tools", "side_effect_tools (2)"]


# When acting itself fails


def test_acting_that_fails_by_itself_is_one_alert_until_it_works_again_and_other_alerts_go_on() -> None:
    stage = misconfigured()

    def fails(*_: Any) -> Any:
        raise RuntimeError("a customer's name")

    works = stage.platform.holds, stage.platform.preview
    stage.platform.holds = stage.platform.preview = fails  # type: ignore[method-assign]
    stage.run(range(70))
    failing = [notice for notice in told(stage, "action failed") if notice.rule == "tocsin_error"]
    assert [notice.title for notice in failing] == [
        "Tocsin failed at policy stop_unsafe_tools for hitl_misconfigured on sales: RuntimeError. What a policy should "
        "do there is left to you."
    ]
    assert stage.inner.last_failed()[0].startswith("policy stop_unsafe_tools for hitl_misconfigured on sales: Runtime")
    assert "customer" not in str(failing)
    assert len(told(stage, "fired")) == 1
    assert stage.platform.changes == 0
    stage.platform.holds, stage.platform.preview = works  # type: ignore[method-assign]
    stage.run(range(70, 80))
    (over,) = [notice for notice in told(stage, "resolved") if notice.rule == "tocsin_error"]
    assert over.episode == failing[0].episode
    assert stage.inner.last_failed() == []
