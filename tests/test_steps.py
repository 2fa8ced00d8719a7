"""Several steps of one policy: in order, each proven before the next, and taken back where the policy says so."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.acted import WIDER, Bench, Killed, Lever, policy
from tests.stage import MINUTE, SWITCH, T0, by
from tocsin.core.alert import State, Verdict
from tocsin.core.audit import Record, broken
from tocsin.core.fields import Automation
from tocsin.core.message import Kind
from tocsin.core.remedy import Applied, Consent, Did, Phase
from tocsin.engine import consenting

BUSY, FAILED = Applied(Did.BUSY, "another operation runs"), Applied(Did.FAILED, "403: no permission")
BACK = policy({"first.do": {}, "id": "one", "undo_on_failure": True}, {"second.do": {}, "id": "two"})
BOTH = policy(
    {"first.do": {}, "id": "one", "undo_on_failure": True}, {"second.do": {}, "id": "two", "undo_on_failure": True}
)


def off(mode: Automation = Automation.OFF) -> dict[str, object]:
    return {"config": WIDER.model_copy(update={"automation": mode})}


def changed(bench: Bench) -> list[str]:
    return [each.removeprefix("changed ") for each in bench.happened if each.startswith("changed")]


# In order


def test_the_next_step_begins_only_once_the_former_is_proven() -> None:
    bench = Bench()
    bench.first.outcomes = [Applied(Did.DONE, "sent, and not there yet")]
    bench.acts(range(3))
    assert (bench.execution.step, bench.execution.phase) == (0, Phase.APPLIED)
    assert bench.second.orders == []
    bench.done["first"] = True
    bench.acts(range(3, 6))
    assert bench.execution.phase is Phase.VERIFIED
    assert bench.events() == ["intended", "applied", "intended", "applied", "verified"]
    one = "in_order/" + bench.execution.episode
    assert (bench.first.orders, bench.second.orders) == ([one], [f"{one}/two"])


def test_a_step_that_is_not_seen_done_in_its_time_ends_it_before_the_next() -> None:
    bench = Bench(policy({"first.do": {}, "within": "3m"}, {"second.do": {}}))
    bench.first.outcomes = [Applied(Did.DONE, "sent, and never there")]
    bench.acts(range(9))
    assert (bench.execution.phase, bench.second.orders) == (Phase.UNVERIFIED, [])
    assert bench.titles()[-1] == "Done but NOT proven"


def test_the_policys_proofs_follow_the_last_step() -> None:
    proof = [{"container_env": SWITCH, "is": "on", "within": "10m"}]
    bench = Bench(policy(verify=proof))
    bench.acts(range(4))
    assert (bench.execution.step, bench.execution.phase) == (1, Phase.APPLIED)
    bench.platform.env[SWITCH] = "on"
    bench.act(5)
    assert bench.execution.phase is Phase.VERIFIED


@pytest.mark.parametrize("mode", [Automation.OFF, Automation.OBSERVE, Automation.ASK])
def test_the_global_switch_thrown_between_two_steps_stops_the_second_and_it_is_told(mode: Automation) -> None:
    bench = Bench()
    bench.act(0)
    bench.project = replace(bench.project, **off(mode))
    bench.acts(range(1, 4))
    assert (bench.execution.phase, bench.second.orders) == (Phase.STOOD_DOWN, [])
    assert f"the global switch says {mode.value}" in bench.words()
    assert bench.titles() == ["Done, proof follows", "Not gone on with"]


def test_an_alert_that_resolves_between_two_steps_stands_the_second_down() -> None:
    bench = Bench()
    bench.act(0)
    bench.act(1, replace(bench.alert, state=State.INACTIVE, last=Verdict.CLEAR, slot=T0 + MINUTE))
    assert (bench.execution.phase, bench.second.orders) == (Phase.STOOD_DOWN, [])
    assert bench.done == {"first": True}


def test_while_nobody_knows_whether_it_still_fires_the_second_step_waits() -> None:
    bench = Bench()
    bench.act(0)
    for minute in (1, 2):
        bench.act(minute, replace(bench.alert, last=Verdict.UNKNOWN, slot=T0 + minute * MINUTE))
    assert (bench.execution.phase, bench.second.orders) == (Phase.APPLIED, [])
    bench.acts(range(3, 6))
    assert bench.execution.phase is Phase.VERIFIED


def test_a_person_who_releases_between_two_steps_is_not_overruled() -> None:
    bench = Bench()
    bench.act(0)
    at = T0 + MINUTE / 2
    bench.inner.record(None, [Record(at, "person ada", "release intended", "sales", "killswitch", {})])
    bench.acts(range(1, 4))
    assert (bench.execution.phase, bench.second.orders) == (Phase.STOOD_DOWN, [])


# Taking back


def test_a_failed_step_takes_the_former_back_where_the_policy_says_so_and_only_there() -> None:
    for given, left in ((policy(), True), (BACK, False)):
        bench = Bench(given)
        bench.second.outcomes = [FAILED]
        bench.acts(range(6))
        assert bench.execution.phase is Phase.FAILED
        assert bench.done["first"] is left
        assert ("one was taken back" in bench.words()) is not left
        assert bench.titles()[-1] == "Could NOT be done"
        assert len(bench.backs["first"].orders) == (not left)


def test_steps_are_taken_back_newest_first_each_with_an_order_of_its_own() -> None:
    three = policy(
        *({**BOTH.do[0].model_dump(), "id": "one"}, {**BOTH.do[1].model_dump(), "id": "two"}, {"first.do": {}})
    )
    bench = Bench(three)
    bench.first.outcomes = []
    bench.acts(range(3))
    assert bench.execution.step == 2
    bench.first.outcomes = [FAILED]
    stuck = replace(bench.execution, phase=Phase.INTENDED, version=bench.execution.version + 1)
    bench.inner.record(stuck, [])
    bench.acts(range(3, 8))
    assert bench.done == {"first": False, "second": False}
    assert changed(bench)[-2:] == ["second False", "first False"]
    identity = bench.execution.id
    assert bench.backs["first"].orders == [f"{identity}/one/undo"]
    assert bench.backs["second"].orders == [f"{identity}/two/undo"]


def test_what_is_done_and_not_proven_is_taken_back_too() -> None:
    bench = Bench(policy({"first.do": {}, "id": "one", "within": "2m", "undo_on_failure": True}))
    bench.first.hidden = True
    bench.acts(range(4))
    assert (bench.execution.phase, bench.done) == (Phase.UNDOING, {"first": True}), "what cannot be read is left alone"
    bench.first.hidden = False
    bench.acts(range(4, 6))
    assert (bench.execution.phase, bench.done) == (Phase.FAILED, {"first": False})


def waiting_to_take_back() -> Bench:
    """Return a bench whose first step is done, and whose second fails when it is next tried."""
    bench = Bench(BACK)
    bench.act(0)
    bench.second.outcomes = [BUSY, FAILED]
    bench.act(1)
    return bench


def test_what_somebody_changed_since_is_not_taken_back_and_told() -> None:
    bench = waiting_to_take_back()
    bench.done["first"] = "by hand"  # type: ignore[assignment]
    bench.acts(range(2, 6))
    assert (bench.execution.phase, bench.done["first"]) == (Phase.FAILED, "by hand")
    assert bench.backs["first"].orders == []
    assert "NOT taken back: one: it is not as first.do left it: it was changed since" in bench.words()


def test_what_somebody_took_back_already_is_as_good_as_taken_back() -> None:
    bench = waiting_to_take_back()
    bench.done["first"] = False
    bench.acts(range(2, 6))
    assert (bench.execution.phase, bench.done["first"]) == (Phase.FAILED, False)
    assert "one was taken back" in bench.words()


def test_what_can_never_be_read_again_is_left_and_told() -> None:
    bench = waiting_to_take_back()
    bench.first.hidden = True
    bench.acts(range(2, 25))
    assert (bench.execution.phase, bench.done["first"]) == (Phase.FAILED, True)
    assert "NOT taken back: one: whether it still is as first.do left it cannot be read" in bench.words()


def test_a_busy_platform_is_asked_again_to_take_it_back_and_in_the_end_a_person_is_told() -> None:
    bench = Bench(BACK)
    bench.second.outcomes, bench.backs["first"].outcomes = [FAILED], [BUSY] * 2
    bench.acts(range(9))
    assert (bench.execution.phase, bench.done["first"]) == (Phase.FAILED, False)
    forever = Bench(BACK)
    forever.second.outcomes, forever.backs["first"].outcomes = [FAILED], [BUSY] * 99
    forever.acts(range(30))
    assert (forever.execution.phase, forever.done["first"]) == (Phase.FAILED, True)
    assert "NOT taken back: one: another operation runs" in forever.words()
    assert len(forever.backs["first"].orders) == 16


def test_all_that_is_left_is_named_when_one_of_several_cannot_be_taken_back() -> None:
    bench = Bench(
        policy(
            *(each.model_dump() for each in BOTH.do),
            {"first.do": {}, "id": "three"},
            verify=[{"container_env": SWITCH, "is": "on", "within": "2m"}],
        )
    )
    bench.backs["second"].outcomes = [FAILED]
    bench.acts(range(9))
    assert bench.execution.phase is Phase.FAILED
    assert "NOT taken back: two, one: 403: no permission" in bench.words()


@pytest.mark.parametrize(
    ("allow", "words"),
    [(("first.do", "second.do"), "sales does not allow first.undo"), (("first.do", "second.do", "first.undo"), "")],
)
def test_what_the_target_does_not_allow_is_not_taken_back_and_told(allow: tuple[str, ...], words: str) -> None:
    target = WIDER.targets[0].model_copy(update={"allow": allow})
    bench = Bench(BACK, config=WIDER.model_copy(update={"targets": (target,)}))
    bench.second.outcomes = [FAILED]
    bench.acts(range(6))
    assert bench.done["first"] is bool(words)
    assert words in bench.words()


def test_nothing_is_taken_back_once_automation_is_off() -> None:
    bench = Bench(BACK)
    bench.backs["first"].outcomes, bench.second.outcomes = [BUSY], [FAILED]
    bench.acts(range(2))
    assert bench.execution.phase is Phase.UNDOING
    bench.project = replace(bench.project, **off())
    bench.acts(range(2, 5))
    assert (bench.execution.phase, bench.done["first"]) == (Phase.FAILED, True)
    assert "automation is not on any more" in bench.words()


def test_a_switch_is_never_released_by_taking_a_step_back() -> None:
    bench = Bench(
        policy({"killswitch.engage": {"scope": "tools"}, "id": "one", "undo_on_failure": True}, {"second.do": {}})
    )
    bench.actuators["killswitch.engage"] = replace(bench.first, undo=True, name="killswitch", note=bench.note)
    bench.platform.env[SWITCH] = "on"
    bench.second.outcomes = [FAILED]
    from tocsin.core.action import Undo

    bench.actuators["killswitch.engage"].outcomes = [  # type: ignore[attr-defined]
        Applied(Did.DONE, "engaged", undo=Undo("killswitch.release", {"scope": "tools"}))
    ]
    bench.acts(range(6))
    assert bench.platform.env[SWITCH] == "on"
    assert "NOT taken back: one: killswitch.release is for a person" in bench.words()


def test_what_was_so_before_is_none_of_its_doing_and_left() -> None:
    bench = Bench(BACK)
    bench.done["first"], bench.second.outcomes = True, [FAILED]
    bench.acts(range(6))
    assert (bench.execution.phase, bench.done["first"]) == (Phase.FAILED, True)
    assert "taken back" not in bench.words()


def test_what_nothing_takes_back_is_told_and_not_passed_over() -> None:
    bench = Bench(BACK)
    bench.first.undo, bench.second.outcomes = False, [FAILED]
    bench.acts(range(6))
    assert "NOT taken back: one: nothing is known that takes it back" in bench.words()


# Crashes


def played(kill_at: int, *, fails: bool) -> Bench:
    """Play the whole with one crash, each tick of another process on the same store and world."""
    bench = Bench(BACK)
    bench.second.outcomes = [FAILED] * 20 if fails else []
    bench.kill_at = kill_at
    for minute in range(9):
        try:
            bench.act(minute)
        except Killed:
            bench.act(minute + 0.5)
    return bench


@pytest.mark.parametrize("fails", [False, True])
def test_a_crash_at_any_point_neither_repeats_a_step_nor_loses_one(fails: bool) -> None:
    points = played(0, fails=fails).points
    assert points > 8
    for kill_at in range(1, points + 1):
        bench = played(kill_at, fails=fails)
        assert bench.execution.phase is (Phase.FAILED if fails else Phase.VERIFIED), kill_at
        assert broken(bench.inner.audit()) is None
        if not fails:
            assert changed(bench) == ["first True", "second True"], kill_at
            assert bench.titles()[-1] == "Done and proven"
            continue
        # Of a step that was found done after a crash nobody knows whose doing it was: it is told, and left.
        assert changed(bench) in (["first True", "first False"], ["first True"]), kill_at
        back = "one was taken back" in bench.words()
        assert back is not ("NOT taken back: one" in bench.words())
        assert back is not bench.done["first"]


def test_what_another_instance_has_done_meanwhile_is_not_done_once_more() -> None:
    bench = Bench()
    bench.first.outcomes = [BUSY]
    bench.act(0)
    stale = bench.execution
    bench.act(1)
    done = len(bench.first.orders)
    carrier = bench.engine._actor(timedelta)._carrier
    assert carrier.apply(stale, WIDER.targets[0], T0 + 2 * MINUTE) == 0
    assert len(bench.first.orders) == done


# A plan, and what it was


def overtaking(bench: Bench, act: Lever, seen: list[int]) -> None:
    """Let another instance act whenever this one has done something and frees its lock."""
    inner = bench.inner
    unlock = inner.unlock

    def freed(name: str, owner: str) -> None:
        unlock(name, owner)
        if name == "act/sales" and act.orders:
            seen.append(len(act.orders))
            inner.unlock = unlock  # type: ignore[method-assign]
            bench.act(1)

    inner.unlock = freed  # type: ignore[method-assign]


def test_an_outcome_is_saved_before_the_next_may_begin() -> None:
    bench, seen = Bench(), list[int]()
    overtaking(bench, bench.first, seen)
    bench.act(1)
    assert seen
    assert len(bench.first.orders) == 1


def test_what_is_taken_back_is_saved_before_the_next_may_begin() -> None:
    bench = Bench(policy({"first.do": {}, "id": "one", "undo_on_failure": True}, {"second.do": {}}))
    bench.second.outcomes = [Applied(Did.FAILED, "no")]
    seen: list[int] = []
    overtaking(bench, bench.backs["first"], seen)
    bench.acts(range(1, 6))
    assert seen
    assert len(bench.backs["first"].orders) == 1


def unreadable(bench: Bench) -> None:
    bench.first.__class__ = type("Call", (Lever,), {"readable": False})
    bench.first.hidden = True


def test_a_process_that_dies_while_it_calls_somebody_is_not_followed_by_a_second_call() -> None:
    phases = list[Phase]()
    for kill_at in range(1, 9):
        bench = Bench(policy({"first.do": {}}))
        unreadable(bench)
        bench.kill_at = kill_at
        with suppress(Killed):
            bench.act(1)
        bench.kill_at = 0
        bench.acts(range(4, 20))
        assert len(bench.first.orders) <= 1
        assert not bench.done or len(bench.first.orders) == 1
        phases.append(bench.execution.phase)
        unclear = bench.execution.phase is Phase.FAILED
        assert not unclear or "whether it was made cannot be read now" in bench.execution.reason
    assert set(phases) == {Phase.VERIFIED, Phase.FAILED}


def test_a_busy_endpoint_is_called_again() -> None:
    bench = Bench(policy({"first.do": {}}))
    unreadable(bench)
    bench.first.outcomes = [Applied(Did.BUSY, "429")]
    bench.acts(range(1, 4))
    assert len(bench.first.orders) == 2
    assert bench.execution.sending is None


def test_a_process_that_was_stopped_for_minutes_does_nothing_when_it_goes_on() -> None:
    bench = Bench()
    bench.enter(T0 + MINUTE)
    late = [timedelta()]
    inner = bench.inner
    record = inner.record

    def recorded(*args: object) -> None:
        record(*args)  # type: ignore[arg-type]
        late[0] = timedelta(minutes=17)

    inner.record = recorded  # type: ignore[method-assign, assignment]
    bench.engine._actor(lambda: late[0]).act(T0 + MINUTE, bench.project.config.targets)
    assert bench.first.orders == []
    assert bench.execution.phase is Phase.INTENDED


def test_a_policy_edited_meanwhile_leaves_the_plan_of_what_began() -> None:
    bench = Bench()
    bench.act(0)
    bench.project = replace(bench.project, policies=(policy({"first.do": {}, "id": "one"}, {"killswitch.engage": {}}),))
    bench.acts(range(1, 4))
    assert (bench.execution.phase, bench.done) == (Phase.VERIFIED, {"first": True, "second": True})
    assert SWITCH not in bench.platform.env


def test_a_policy_edited_while_it_only_asks_is_asked_anew_and_the_old_question_is_over() -> None:
    bench = Bench(policy(mode="ask"))
    bench.acts(range(3))
    before = bench.execution
    assert bench.titles() == ["A person must decide"]
    consenting.consent(bench.engine.reporter, before.asks, by("kim"), T0 + 2 * MINUTE)
    bench.project = replace(bench.project, policies=(policy({"second.do": {}}, mode="ask"),))
    bench.acts(range(3, 6))
    after = bench.execution
    assert (after.phase, after.action, after.consent) == (Phase.ASKED, "second.do", None)
    assert bench.titles() == ["A person must decide"] * 2
    with pytest.raises(consenting.Over, match="asked anew"):
        consenting.consent(bench.engine.reporter, before.asks, by("kim"), T0 + 6 * MINUTE)
    consenting.consent(bench.engine.reporter, after.asks, by("kim"), T0 + 6 * MINUTE)
    bench.acts(range(7, 9))
    assert (bench.execution.phase, bench.done) == (Phase.VERIFIED, {"second": True})


# Questions


def test_a_consent_is_acted_on_by_the_next_tick_and_holds_until_the_whole_is_done() -> None:
    bench = Bench(policy(mode="ask"))
    bench.act(0)
    consenting.consent(bench.engine.reporter, bench.execution.asks, by("kim"), T0 + MINUTE / 2)
    bench.first.outcomes = [Applied(Did.DONE, "sent")]
    bench.act(1)
    assert bench.execution.phase is Phase.APPLIED
    bench.done["first"] = True
    bench.acts(range(16, 19))  # the second step begins more than a quarter of an hour after the consent
    assert bench.execution.phase is Phase.VERIFIED
    assert changed(bench) == ["second True"]


def test_a_consent_that_nobody_acted_on_in_time_lapses_and_it_is_asked_anew() -> None:
    bench = Bench(policy(mode="ask"))
    bench.act(0)
    asks = bench.execution.asks
    consenting.consent(bench.engine.reporter, asks, by("kim"), T0)
    bench.acts(range(15, 18))
    assert (bench.execution.phase, bench.execution.consent, bench.first.orders) == (Phase.ASKED, None, [])
    assert bench.titles() == ["A person must decide"] * 2
    consenting.consent(bench.engine.reporter, asks, by("lee"), T0 + 18 * MINUTE)
    bench.act(19)
    assert bench.done == {"first": True}


def test_a_consent_given_while_a_tick_runs_is_kept_for_the_next() -> None:
    bench = Bench(policy(mode="ask"))
    bench.act(0)
    consenting.consent(bench.engine.reporter, bench.execution.asks, by("kim"), T0 + MINUTE * 1.1)
    bench.act(1)
    assert bench.execution.consent == Consent("kim", T0 + MINUTE * 1.1)
    bench.act(2)
    assert bench.done["first"]


def test_a_refusal_after_a_consent_is_told() -> None:
    bench = Bench(policy(mode="ask"))
    bench.act(0)
    consenting.consent(bench.engine.reporter, bench.execution.asks, by("kim"), T0)
    bench.project = replace(bench.project, **off())
    bench.acts(range(1, 4))
    assert (bench.execution.phase, bench.first.orders) == (Phase.REFUSED, [])
    assert bench.titles() == ["A person must decide", "Not done"]


def test_an_alert_that_ends_after_a_consent_is_told_as_the_reason_that_nothing_is_done() -> None:
    bench = Bench(policy(mode="ask"))
    bench.act(0)
    consenting.consent(bench.engine.reporter, bench.execution.asks, by("kim"), T0)
    for minute in (1, 2):
        bench.act(minute, replace(bench.alert, state=State.INACTIVE, last=Verdict.CLEAR, slot=T0 + MINUTE))
    assert (bench.execution.phase, bench.first.orders) == (Phase.STOOD_DOWN, [])
    assert bench.titles() == ["A person must decide", "Not gone on with"]
    assert "its alert has ended" in bench.words()


def test_a_question_that_nobody_answered_ends_silently_with_its_alert() -> None:
    bench = Bench(policy(mode="ask"))
    bench.act(0)
    bench.act(1, replace(bench.alert, state=State.INACTIVE, last=Verdict.CLEAR, slot=T0 + MINUTE))
    assert bench.titles() == ["A person must decide"]


def test_a_no_is_for_the_whole_episode_and_told() -> None:
    bench = Bench(policy(mode="ask"))
    bench.act(0)
    consenting.decline(bench.engine.reporter, bench.execution.asks, by("kim"), T0)
    bench.project = replace(bench.project, policies=(policy(),))
    bench.acts(range(1, 9))
    assert (bench.execution.phase, bench.first.orders) == (Phase.DECLINED, [])
    assert bench.titles() == ["A person must decide", "Declined by a person"]
    assert bench.told()[-1].kind is Kind.ACTED


def test_a_mode_that_is_raised_from_off_to_ask_while_it_fires_asks() -> None:
    bench = Bench(config=WIDER.model_copy(update={"automation": Automation.OFF}))
    bench.acts(range(3))
    assert (bench.execution.phase, bench.titles()) == (Phase.REFUSED, [])
    bench.project = replace(bench.project, **off(Automation.ASK))
    bench.acts(range(3, 5))
    assert (bench.execution.phase, bench.titles()) == (Phase.ASKED, ["A person must decide"])


def test_what_a_busy_platform_kept_waiting_is_asked_when_it_may_not_be_done_unasked_any_more() -> None:
    bench = Bench()
    bench.first.outcomes = [BUSY]
    bench.act(0)
    assert bench.execution.phase is Phase.INTENDED
    bench.project = replace(bench.project, **off(Automation.ASK))
    bench.acts(range(1, 4))
    assert (bench.execution.phase, bench.execution.intended, bench.done) == (Phase.ASKED, None, {})
    assert bench.titles() == ["A person must decide"]
    consenting.consent(bench.engine.reporter, bench.execution.asks, by("kim"), T0 + 4 * MINUTE)
    bench.acts(range(5, 8))
    assert bench.execution.phase is Phase.VERIFIED


def test_what_is_refused_while_the_platform_is_busy_and_the_alert_fires_is_told() -> None:
    bench = Bench()
    bench.first.outcomes = [BUSY]
    bench.act(0)
    bench.project = replace(bench.project, **off())
    bench.act(1)
    (told,) = bench.told()
    assert (bench.execution.phase, told.kind, told.title[:16]) == (Phase.STOOD_DOWN, Kind.FAILED, "Not gone on with")


def test_where_it_cannot_be_read_whether_something_is_deployed_a_policy_that_asks_waits_and_tells() -> None:
    bench = Bench(policy(guard={"needs": ["no deployment in progress"]}))
    bench.platform.unreadable = True
    bench.acts(range(4))
    assert (bench.execution.phase, bench.first.orders, bench.titles()) == (Phase.REFUSED, [], [])
    bench.acts(range(4, 8))
    assert bench.titles() == ["Not done"]
    bench.platform.unreadable = False
    bench.acts(range(8, 12))
    assert bench.execution.phase is Phase.VERIFIED
