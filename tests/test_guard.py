"""The guard permits only when nothing stands in the way, and otherwise says what does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.core.alert import Alert, State, Verdict
from tocsin.core.config import Target
from tocsin.core.fields import Automation
from tocsin.core.guard import BREAKS_A_PROMISE, Answer, Case, Ruling, World, in_storm, limited, permit
from tocsin.core.policy import Guard, Policy
from tocsin.core.remedy import Consent, Done, Execution, Phase, begin
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
    assert len(answer.checks) == len({check.name for check in answer.checks}) == 17
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


# When


def guarded(**changes: Any) -> Policy:
    guard = {"mode": "act", "cooldown": "0s", "at_most": "99 per 1h", **changes}
    return Policy.model_validate({**POLICY.model_dump(by_alias=True, exclude={"guard"}), "guard": guard})


def test_a_policy_without_hours_acts_at_any_hour() -> None:
    assert permit(a_case(policy=guarded(hours="always"))).ruling is Ruling.PERMIT


@pytest.mark.parametrize(
    ("hours", "at", "open_"),
    [
        ({"from": "22:00", "to": "06:00"}, "2026-11-20T21:59:59+00:00", False),
        ({"from": "22:00", "to": "06:00"}, "2026-11-20T22:00:00+00:00", True),
        ({"from": "22:00", "to": "06:00"}, "2026-11-21T05:59:59+00:00", True),
        ({"from": "22:00", "to": "06:00"}, "2026-11-21T06:00:00+00:00", False),
        ({"from": "22:00", "to": "06:00", "weekdays": ["fri"]}, "2026-11-21T03:00:00+00:00", True),  # friday's night
        ({"from": "22:00", "to": "06:00", "weekdays": ["fri"]}, "2026-11-20T03:00:00+00:00", False),  # thursday's
        ({"from": "09:00", "to": "17:00", "time_zone": "Europe/Berlin"}, "2026-11-20T08:00:00+00:00", True),
        ({"from": "09:00", "to": "17:00", "time_zone": "Europe/Berlin"}, "2026-11-20T16:00:00+00:00", False),
        ({"from": "09:00", "to": "17:00", "time_zone": "Europe/Berlin"}, "2026-07-20T07:00:00+00:00", True),
        ({"from": "09:00", "to": "17:00", "time_zone": "Europe/Berlin"}, "2026-07-20T15:00:00+00:00", False),
        ({"weekdays": ["sat", "sun"]}, "2026-11-20T12:00:00+00:00", False),
        ({"weekdays": ["sat", "sun"]}, "2026-11-21T12:00:00+00:00", True),
    ],
)
def test_outside_its_hours_a_person_decides(hours: dict[str, Any], at: str, open_: bool) -> None:
    now = datetime.fromisoformat(at)
    answer = permit(a_case(policy=guarded(hours=hours), now=now, alert=replace(ALERT, slot=now, fired=now)))
    assert answer.ruling is (Ruling.PERMIT if open_ else Ruling.ASK), answer.reason
    assert answer.check == ("" if open_ else "hours")


# What is there already


def test_what_is_in_force_is_done_once_more_where_policies_act_and_not_asked_for_where_a_person_decides() -> None:
    seen = World(already=True)
    assert permit(a_case(world=seen)).ruling is Ruling.PERMIT
    assert refused(permit(a_case(world=seen, automation=Automation.ASK)), "already in force")
    assert refused(permit(a_case(world=seen, automation=Automation.OBSERVE)), "already in force")
    for unknown in (None, False):
        assert permit(a_case(world=World(unknown), automation=Automation.ASK)).ruling is Ruling.ASK


LIMITED: dict[str, dict[str, Any]] = {
    "cooldown": {"policy": guarded(cooldown="30m"), "history": (earlier(29),)},
    "at most": {"history": (earlier(31),)},
    "blast radius": {"policy": guarded(blast_radius="1 target per 15m"), "history": (earlier(9, target="b"),)},
    "budget": {"actions_per_hour": 0},
    "storm": {"wanting": 99},
}


@pytest.mark.parametrize("name", LIMITED)
def test_what_is_in_force_already_needs_no_budget_and_is_no_broken_promise(name: str) -> None:
    case = a_case(**LIMITED[name])
    assert permit(case).check == permit(replace(case, world=World(already=False))).check == name
    assert limited(permit(case)) == (name != "storm"), "a question is no refusal"
    assert permit(replace(case, world=World(already=True))).ruling is Ruling.PERMIT
    asked = permit(replace(case, world=World(already=True), automation=Automation.ASK))
    assert (asked.check, asked.check in BREAKS_A_PROMISE) == ("already in force", False)


def test_of_several_steps_the_first_being_in_force_leaves_the_others_to_their_limits() -> None:
    two = guarded(cooldown="30m").model_copy(update={"do": (*POLICY.do, *POLICY.do)})
    assert refused(permit(a_case(policy=two, history=(earlier(9),), world=World(already=True))), "cooldown")


def test_what_was_found_to_be_so_and_changed_nothing_uses_up_no_limit() -> None:
    found = replace(begin(POLICY, ALERT, NOW), id="x", intended=NOW - MINUTE, applied=NOW, phase=Phase.APPLIED)
    assert permit(a_case(history=(found,), policy=guarded(cooldown="30m"))).passed("cooldown", "at most", "budget")
    changed = replace(found, done=(Done("step 1", NOW),))
    assert refused(permit(a_case(history=(replace(changed, phase=Phase.VERIFIED),))), "cooldown")


@pytest.mark.parametrize("seen", ["InProgress", "Deleting", None])
def test_a_deployment_in_progress_or_not_known_is_waited_for_where_the_policy_says_so(seen: str | None) -> None:
    waits = guarded(needs=["fresh telemetry", "no deployment in progress"])
    assert refused(permit(a_case(policy=waits, world=World(False, seen))), "deployment in progress")
    assert permit(a_case(policy=guarded(), world=World(False, seen))).ruling is Ruling.PERMIT
    assert permit(a_case(policy=waits, world=World(False, ""))).ruling is Ruling.PERMIT
    assert permit(a_case(policy=waits)).ruling is Ruling.PERMIT  # nobody looked yet: the world is asked last


# How much


def test_the_blast_radius_counts_targets_within_its_time_and_one_is_never_too_many() -> None:
    others = (earlier(5, target="b"), earlier(5, target="c"))
    narrow = guarded(blast_radius="2 targets per 15m")
    assert refused(permit(a_case(policy=narrow, history=others, targets=9)), "blast radius")
    assert permit(a_case(policy=narrow, history=others[:1], targets=9)).ruling is Ruling.PERMIT
    assert permit(a_case(policy=guarded(blast_radius="1 target and 1% per 15m"), targets=1)).ruling is Ruling.PERMIT


def test_the_blast_radius_is_a_share_of_all_targets_too() -> None:
    share = guarded(blast_radius="9 targets and 20% per 15m")
    others = (earlier(5, target="b"), earlier(5, target="c"))
    assert permit(a_case(policy=share, history=others, targets=15)).ruling is Ruling.PERMIT
    assert refused(permit(a_case(policy=share, history=others, targets=14)), "blast radius")


def test_the_blast_radius_forgets_at_the_end_of_its_time_and_counts_no_other_policy_and_no_refusal() -> None:
    one = guarded(blast_radius="1 target per 15m")
    assert permit(a_case(policy=one, history=(earlier(15, target="b"),), targets=9)).ruling is Ruling.PERMIT
    late = replace(earlier(15, target="b"), intended=NOW - 15 * MINUTE + timedelta(seconds=1))
    assert refused(permit(a_case(policy=one, history=(late,), targets=9)), "blast radius")
    assert permit(a_case(policy=one, history=(earlier(9, target="b", policy="x"),), targets=9)).ruling is Ruling.PERMIT
    noted = replace(earlier(5, target="b"), intended=None)
    assert permit(a_case(policy=one, history=(noted,), targets=9)).ruling is Ruling.PERMIT
    assert permit(a_case(policy=one, history=(earlier(9),), targets=9)).ruling is Ruling.PERMIT  # this target again


def test_more_at_once_than_allowed_is_asked_and_stays_a_question_when_the_storm_thins_out() -> None:
    assert permit(a_case(wanting=3)).ruling is Ruling.PERMIT
    answer = permit(a_case(wanting=4))
    assert (answer.ruling, answer.check, in_storm(answer)) == (Ruling.ASK, "storm", True)
    asked = replace(begin(POLICY, ALERT, NOW), stormy=True, phase=Phase.REFUSED, stopped_by="still firing")
    assert permit(a_case(wanting=1, stored=asked)).check == "storm"
    assert not in_storm(permit(a_case(automation=Automation.ASK)))
    assert not in_storm(permit(a_case(wanting=4, automation=Automation.OFF)))  # refused: nothing was asked


# Consent


def consented(minutes: float, **changes: Any) -> Case:
    given = Consent("kim", NOW - minutes * MINUTE)
    return a_case(**{"automation": Automation.ASK, **changes}, stored=replace(begin(POLICY, ALERT, NOW), consent=given))


@pytest.mark.parametrize(
    ("minutes", "ruling"),
    [(0, Ruling.PERMIT), (14.9, Ruling.PERMIT), (15, Ruling.ASK), (-0.1, Ruling.ASK)],
)
def test_a_consent_holds_for_a_quarter_of_an_hour(minutes: float, ruling: Ruling) -> None:
    answer = permit(consented(minutes))
    assert answer.ruling is ruling
    (mode,) = [check for check in answer.checks if check.name == "automation"]
    assert ("kim consented at 0" in mode.words) is (ruling is Ruling.PERMIT)


def test_a_consent_answers_every_question_and_no_refusal() -> None:
    night = guarded(hours={"from": "09:00", "to": "17:00"})
    assert permit(consented(1, policy=night, wanting=9)).ruling is Ruling.PERMIT
    for name, change in REFUSING.items():
        answer = permit(consented(1, **change))
        assert answer.ruling in (Ruling.REFUSE, Ruling.OBSERVE), name


# Which actions


def test_a_policy_never_releases_a_switch_even_where_the_target_allows_it() -> None:
    release = Policy.model_validate(
        {
            **POLICY.model_dump(by_alias=True, exclude={"guard"}),
            "guard": {"mode": "act"},
            "do": [{"killswitch.release": {"scope": "tools"}}],
        }
    )
    generous = TARGET.model_copy(update={"allow": ("killswitch.release", "killswitch.engage")})
    answer = permit(a_case(policy=release, target=generous))
    assert (refused(answer, "allowed"), answer.reason) == (True, "no policy does killswitch.release")
    consent = replace(begin(release, ALERT, NOW), consent=Consent("kim", NOW))
    assert refused(permit(a_case(policy=release, target=generous, stored=consent)), "allowed")


def test_every_step_of_the_plan_has_to_be_allowed_as_it_was_planned() -> None:
    two = Policy.model_validate(
        {
            **POLICY.model_dump(by_alias=True, exclude={"guard"}),
            "guard": {"mode": "act"},
            "do": [{"killswitch.engage": {"scope": "tools"}}, {"container_app.restart": {}}],
        }
    )
    assert permit(a_case(policy=two)).reason == "sales does not allow container_app.restart"
    both = TARGET.model_copy(update={"allow": ("killswitch.engage", "container_app.restart")})
    assert permit(a_case(policy=two, target=both)).ruling is Ruling.PERMIT
    planned = begin(two, ALERT, NOW)
    assert refused(permit(a_case(stored=planned)), "allowed")  # the file is shorter by now, the plan is not


def test_a_person_who_released_while_it_fires_and_a_silence_that_says_so_hold_it_off() -> None:
    fired = ALERT.fired
    assert fired is not None
    assert refused(permit(a_case(released=fired)), "held off")
    assert permit(a_case(released=fired - timedelta(seconds=1))).ruling is Ruling.PERMIT
    assert refused(permit(a_case(silenced="silenced by kim, actions too")), "silenced")


def test_what_a_person_ordered_is_not_in_the_policies_budget() -> None:
    others = tuple(replace(earlier(minute, target="b", policy="x"), by="kim") for minute in range(1, 9))
    assert permit(a_case(history=others)).ruling is Ruling.PERMIT


def test_an_action_an_hour_ago_is_out_of_the_budget() -> None:
    others = tuple(earlier(59, target="b", policy="x") for _ in range(5))
    at_edge = earlier(60, target="c", policy="y")
    assert permit(a_case(history=(*others, at_edge))).ruling is Ruling.PERMIT
    assert refused(permit(a_case(history=(*others, earlier(59, target="c", policy="y")))), "budget")


# What cannot be judged

_WITHOUT_ZONE = replace(earlier(600), intended=NOW.replace(day=19, tzinfo=None))
"""An execution whose age nobody can tell, though it is an old one."""


def test_an_execution_that_cannot_be_judged_counts_against_every_limit() -> None:
    elsewhere = replace(_WITHOUT_ZONE, target="support", id="x", policy="another")
    assert refused(permit(a_case(history=(_WITHOUT_ZONE,))), "cooldown")
    assert refused(permit(a_case(history=(elsewhere,), actions_per_hour=1)), "budget")


def test_an_execution_that_cannot_be_judged_stops_no_other_policy_within_its_limits() -> None:
    elsewhere = replace(_WITHOUT_ZONE, target="support", id="x", policy="another")
    assert permit(a_case(history=(elsewhere,))).ruling is Ruling.PERMIT


# Every refusal outranks every answer

_BUSY = {"history": (earlier(45, Phase.APPLIED, policy="another"),)}
REFUSING: dict[str, dict[str, Any]] = {
    "automation": {"automation": Automation.OFF},
    "target off": {"target": TARGET.model_copy(update={"automation": Automation.OFF})},
    "not allowed": {"target": TARGET.model_copy(update={"allow": ()})},
    "not firing": {"alert": replace(ALERT, state=State.RECOVERING)},
    "unknown": {"alert": replace(ALERT, last=Verdict.UNKNOWN)},
    "old": {"alert": replace(ALERT, slot=NOW - 60 * MINUTE)},
    "short": {"alert": replace(ALERT, held=MINUTE)},
    "released": {"released": NOW - MINUTE},
    "silenced": {"silenced": "silenced"},
    "deploying": {
        "policy": guarded(needs=["no deployment in progress"]),
        "world": World(False, "InProgress"),
    },
    "in force": {"world": World(True), "automation": Automation.ASK},
    "busy": _BUSY,
    "cooldown": {"policy": guarded(cooldown="30m"), "history": (earlier(29),)},
    "at most": {"history": (earlier(31),)},
    "radius": {"policy": guarded(blast_radius="1 target per 15m"), "history": (earlier(9, target="b"),)},
    "budget": {"actions_per_hour": 0},
}
ASKING: dict[str, dict[str, Any]] = {
    "mode": {"automation": Automation.ASK},
    "storm": {"wanting": 99},
    "observe": {"target": TARGET.model_copy(update={"automation": Automation.OBSERVE})},
    "consent": {"stored": replace(begin(POLICY, ALERT, NOW), consent=Consent("kim", NOW))},
    "nothing": {},
}


@pytest.mark.parametrize("name", REFUSING)
def test_each_refusing_condition_refuses(name: str) -> None:
    assert permit(a_case(**REFUSING[name])).ruling is Ruling.REFUSE


@given(st.lists(st.sampled_from(sorted(REFUSING)), max_size=5), st.lists(st.sampled_from(sorted(ASKING)), max_size=3))
@settings(max_examples=150, deadline=None)
def test_a_permit_means_that_nothing_stands_in_the_way_and_more_refusals_never_become_one(
    refusing: list[str], asking: list[str]
) -> None:
    case = a_case()
    for name in asking:
        case = replace(case, **ASKING[name])
    stood = permit(case).ruling is Ruling.REFUSE
    for name in refusing:
        # A condition may replace another's part of the case, so that what refuses is looked up anew each time.
        before, case = case, _worse(case, REFUSING[name])
        assert permit(before).ruling is not Ruling.REFUSE or permit(case).ruling is Ruling.REFUSE
        stood = True
    answer = permit(case)
    assert (answer.ruling is Ruling.REFUSE) is stood
    assert (answer.ruling is Ruling.PERMIT) is all(check.ruling is None for check in answer.checks)
    assert (answer.check == "") is (answer.ruling is Ruling.PERMIT)


_WORST: dict[str, Callable[[Any, Any], Any]] = {
    "automation": lambda old, new: min(old, new, key=list(Automation).index),
    "history": lambda old, new: (*old, *new),
    "alert": lambda old, new: _worst_of(old, new, ALERT),
    "policy": lambda old, new: old.model_copy(update={"guard": _stricter(old.guard, new.guard)}),
    "world": lambda old, new: (
        World(old.already or new.already, old.deploying or new.deploying) if old is not None else new
    ),
}


def _worse(case: Case, change: dict[str, Any]) -> Case:
    """Add a condition to those that are there, taking none of them away."""
    made = {name: _WORST.get(name, lambda _, new: new)(getattr(case, name), new) for name, new in change.items()}
    if "target" in change:
        old, new = case.target, change["target"]
        allow = tuple(each for each in old.allow if each in new.allow)
        lower = min(old.automation, new.automation, key=list(Automation).index)
        made["target"] = old.model_copy(update={"allow": allow, "automation": lower})
    return replace(case, **made)


def _worst_of(old: Alert, new: Alert, usual: Alert) -> Alert:
    names = ("state", "last", "slot", "held")
    return replace(old, **{each: getattr(new, each) for each in names if getattr(new, each) != getattr(usual, each)})


def _stricter(old: Guard, new: Guard) -> Guard:
    usual = guarded().guard
    fields = ("needs", "cooldown", "blast_radius")
    return old.model_copy(
        update={each: getattr(new, each) for each in fields if getattr(new, each) != getattr(usual, each)}
    )


def test_a_consent_of_somebody_whose_name_has_braces_is_a_consent() -> None:
    """A name is put into the record and never read as a pattern: an error here would let nothing be done, unsaid."""
    asked = replace(earlier(0, Phase.ASKED), intended=None, consent=Consent("{ada} {0}", NOW - MINUTE))
    answer = permit(a_case(automation=Automation.ASK, stored=asked))
    assert answer.ruling is Ruling.PERMIT
    assert any("{ada} {0} consented" in check.words for check in answer.checks)


def test_an_execution_from_before_there_were_plans_is_allowed_no_more_than_its_action() -> None:
    begun = replace(earlier(0, Phase.INTENDED), plan=())
    forbidding = TARGET.model_copy(update={"allow": ()})
    assert refused(permit(a_case(stored=begun, target=forbidding)), "allowed")
    assert permit(a_case(stored=begun)).ruling is Ruling.PERMIT
