"""The guard permits only when nothing stands in the way, and otherwise says what does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tocsin.core.alert import Alert, State, Verdict
from tocsin.core.config import Target
from tocsin.core.fields import Automation
from tocsin.core.guard import Answer, Case, Ruling, permit
from tocsin.core.policy import Policy
from tocsin.core.remedy import Execution, Phase
from tocsin.core.rule import Rule

NOW = datetime(2026, 11, 20, 3, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

RULE = Rule.model_validate(
    {"id": "hitl_misconfigured", "summary": "s", "severity": "P1", "when": {"signal": "x", "above": "0", "over": "10m"}}
)
POLICY = Policy.model_validate(
    {
        "id": "stop_unsafe_tools",
        "summary": "s",
        "on": {"rule": "hitl_misconfigured", "firing_for": "5m"},
        "do": [{"killswitch.engage": {"scope": "tools"}}],
        "guard": {"mode": "act", "at_most": "1 per 1h", "cooldown": "30m"},
    }
)
TARGET = Target(name="sales", workspace="w", role_name="r", allow=("killswitch.engage",))
ALERT = Alert(
    "hitl_misconfigured",
    "sales",
    state=State.FIRING,
    slot=NOW - 2 * MINUTE,
    fired=NOW - 8 * MINUTE,
    held=5 * MINUTE,
    last=Verdict.BREACHED,
)


def a_case(**changes: object) -> Case:
    base = Case(POLICY, RULE, ALERT, TARGET, Automation.ACT, (), 6, NOW)
    return replace(base, **changes)


def earlier(minutes: int, phase: Phase = Phase.VERIFIED, target: str = "sales", policy: str = POLICY.id) -> Execution:
    at = NOW - minutes * MINUTE
    episode = f"hitl_misconfigured/{target}/all/{at:%H%M}"
    return Execution(f"{policy}/{episode}", policy, target, episode, "killswitch.engage", {}, phase, intended=at)


def refused(answer: Answer, by: str) -> bool:
    return answer.ruling is Ruling.REFUSE and answer.check == by


def test_a_firing_alert_that_lasted_long_enough_is_permitted_and_every_check_is_recorded() -> None:
    answer = permit(a_case())
    assert answer.ruling is Ruling.PERMIT
    assert len(answer.checks) == len({check.name for check in answer.checks}) == 16
    assert all(check.words for check in answer.checks)


@pytest.mark.parametrize(
    ("mode", "ruling"),
    [
        (Automation.OFF, Ruling.REFUSE),
        (Automation.OBSERVE, Ruling.OBSERVE),
        (Automation.ASK, Ruling.ASK),
        (Automation.ACT, Ruling.PERMIT),
    ],
)
def test_the_lowest_of_the_three_switches_decides(mode: Automation, ruling: Ruling) -> None:
    assert permit(a_case(automation=mode)).ruling is ruling
    assert permit(a_case(target=TARGET.model_copy(update={"automation": mode}))).ruling is ruling
    guard = POLICY.guard.model_copy(update={"mode": mode})
    assert permit(a_case(policy=POLICY.model_copy(update={"guard": guard}))).ruling is ruling


def test_an_action_the_target_does_not_allow_is_refused_even_where_a_person_would_be_asked() -> None:
    answer = permit(a_case(automation=Automation.ASK, target=TARGET.model_copy(update={"allow": ()})))
    assert refused(answer, "allowed")


@pytest.mark.parametrize("state", [State.INACTIVE, State.PENDING, State.RECOVERING])
def test_an_alert_that_does_not_fire_now_is_refused(state: State) -> None:
    assert refused(permit(a_case(alert=replace(ALERT, state=state))), "still firing")


@pytest.mark.parametrize("verdict", [Verdict.UNKNOWN, Verdict.CLEAR])
def test_nothing_is_done_on_a_verdict_that_is_no_breach(verdict: Verdict) -> None:
    assert refused(permit(a_case(alert=replace(ALERT, last=verdict))), "still firing")


@pytest.mark.parametrize("slot", [None, NOW - 10 * MINUTE, NOW + MINUTE])
def test_nothing_is_done_on_a_verdict_that_is_old_or_from_the_future(slot: datetime | None) -> None:
    assert refused(permit(a_case(alert=replace(ALERT, slot=slot))), "still firing")


def test_a_verdict_exactly_as_old_as_allowed_is_acted_on() -> None:
    assert permit(a_case(alert=replace(ALERT, slot=NOW - 4 * MINUTE))).ruling is Ruling.PERMIT
    late = replace(ALERT, slot=NOW - 4 * MINUTE - timedelta(seconds=1))
    assert refused(permit(a_case(alert=late)), "still firing")


def test_an_alert_that_has_not_been_breached_for_long_enough_is_refused() -> None:
    answer = permit(a_case(alert=replace(ALERT, held=5 * MINUTE - timedelta(seconds=1))))
    assert refused(answer, "firing long enough")


def test_a_second_episode_within_the_cooldown_is_refused_and_just_after_it_is_not() -> None:
    policy = Policy.model_validate(
        {
            **POLICY.model_dump(by_alias=True, exclude={"guard"}),
            "guard": {"mode": "act", "at_most": "9 per 1h", "cooldown": "30m"},
        }
    )
    assert refused(permit(a_case(policy=policy, history=(earlier(29),))), "cooldown")
    assert permit(a_case(policy=policy, history=(earlier(30),))).ruling is Ruling.PERMIT


def test_at_most_counts_this_policy_on_this_target_within_its_time() -> None:
    assert refused(permit(a_case(history=(earlier(59),))), "at most")
    assert permit(a_case(history=(earlier(60),))).ruling is Ruling.PERMIT
    assert permit(a_case(history=(earlier(45, target="support"),))).ruling is Ruling.PERMIT
    assert permit(a_case(history=(earlier(45, policy="another"),))).ruling is Ruling.PERMIT


def test_a_refusal_that_was_recorded_does_not_count_as_an_action() -> None:
    refusal = replace(earlier(10), intended=None, phase=Phase.REFUSED)
    assert permit(a_case(history=(refusal,))).ruling is Ruling.PERMIT


@pytest.mark.parametrize("phase", [Phase.INTENDED, Phase.APPLIED])
def test_two_policies_never_change_one_target_at_once(phase: Phase) -> None:
    other = earlier(45, phase, policy="another")
    assert refused(permit(a_case(history=(other,))), "one at a time")
    assert permit(a_case(history=(replace(other, target="support"),))).ruling is Ruling.PERMIT


def test_the_hours_budget_of_actions_counts_all_policies_and_targets() -> None:
    others = tuple(earlier(minutes, target="support", policy="another") for minutes in range(1, 7))
    assert refused(permit(a_case(history=others)), "budget")
    assert permit(a_case(history=others[:5])).ruling is Ruling.PERMIT


def test_an_execution_under_way_is_not_in_its_own_way() -> None:
    own = replace(earlier(1, Phase.INTENDED), episode=ALERT.episode, id=f"{POLICY.id}/{ALERT.episode}")
    assert permit(a_case(history=(own,))).ruling is Ruling.PERMIT
