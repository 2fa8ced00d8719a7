"""A storm: too much wanted at once is asked, one message says why, and none of it is done unasked as it thins out."""

from __future__ import annotations

from dataclasses import replace

from tests.acted import WIDE, WIDER, Bench, policy
from tests.stage import MINUTE, T0, by
from tocsin.core.alert import Alert, Verdict
from tocsin.core.fields import Automation
from tocsin.core.message import Kind
from tocsin.core.remedy import Applied, Did, Phase
from tocsin.engine import consenting

NAMES = [f"app{number}" for number in range(6)]
MANY = WIDER.model_copy(update={"targets": tuple(WIDE.model_copy(update={"name": name}) for name in NAMES)})
ONE_STEP = policy({"first.do": {}}, guard={"blast_radius": "9 targets per 15m"})


def bench(**changes: object) -> Bench:
    return Bench(ONE_STEP, config=MANY.model_copy(update=changes))


def firing(stage: Bench, minute: float, count: int, verdict: Verdict = Verdict.BREACHED) -> list[Alert]:
    at = T0 + minute * MINUTE
    return [replace(stage.alert, target=name, slot=at, last=verdict) for name in NAMES[:count]]


def phases(stage: Bench) -> list[Phase]:
    return [each.phase for each in sorted(stage.inner.executions(), key=lambda each: each.target)]


def pages(stage: Bench) -> list[str]:
    return [each.title for each in stage.told() if each.rule == "action_storm"]


def test_three_at_once_are_done_and_four_are_all_asked_with_one_page_that_says_why() -> None:
    few = bench()
    few.act(0, *firing(few, 0, 3))
    assert phases(few) == [Phase.APPLIED] * 3
    assert pages(few) == []
    many = bench()
    many.act(0, *firing(many, 0, 4))
    many.act(1, *firing(many, 1, 4))
    assert phases(many) == [Phase.ASKED] * 4
    assert many.first.orders == []
    (page,) = pages(many)
    assert "4 actions are wanted at once, at most 3 go unasked" in page
    assert many.titles().count("A person must decide") == 4


def test_many_alerts_that_want_the_same_of_one_target_are_one_action_and_no_storm() -> None:
    stage = bench()
    same = [replace(each, by=(("agent", str(number)),)) for number in range(6) for each in firing(stage, 0, 1)]
    stage.act(0, *same)
    stage.act(1, *(replace(each, slot=T0 + MINUTE) for each in same))
    assert Phase.ASKED not in phases(stage)
    assert stage.first.orders != []
    assert pages(stage) == []


def test_what_was_asked_in_a_storm_is_not_done_unasked_as_it_thins_out_not_even_after_a_blind_minute() -> None:
    stage = bench()
    stage.act(0, *firing(stage, 0, 4))
    stage.act(1, *firing(stage, 1, 4, Verdict.UNKNOWN))
    assert phases(stage) == [Phase.REFUSED] * 4
    stage.enter(T0 + 2 * MINUTE, *(replace(each, last=Verdict.CLEAR) for each in firing(stage, 2, 4)))
    stage.act(3, *firing(stage, 3, 1))
    assert phases(stage)[0] is Phase.ASKED
    assert stage.first.orders == []
    consenting.consent(stage.engine.reporter, stage.inner.executions()[0].asks, by("kim"), T0 + 3 * MINUTE)
    stage.act(4, *firing(stage, 4, 1))
    assert phases(stage)[0] is Phase.APPLIED


def test_those_begun_a_moment_ago_count_and_those_of_a_quarter_of_an_hour_ago_do_not() -> None:
    stage = bench()
    stage.act(0, *firing(stage, 0, 3))
    stage.act(1, *firing(stage, 1, 3))
    stage.act(14, *firing(stage, 14, 4))
    assert phases(stage)[3] is Phase.ASKED
    later = bench()
    later.act(0, *firing(later, 0, 3))
    later.act(1, *firing(later, 1, 3))
    later.act(15, *firing(later, 15, 4))
    assert phases(later)[3] is Phase.APPLIED


def test_what_a_busy_platform_kept_waiting_is_asked_when_a_storm_comes_up() -> None:
    stage = bench()
    stage.first.outcomes = [Applied(Did.BUSY)]
    stage.act(0, *firing(stage, 0, 1))
    assert phases(stage) == [Phase.INTENDED]
    stage.act(1, *firing(stage, 1, 5))
    assert set(phases(stage)) == {Phase.ASKED}
    assert len(pages(stage)) == 1
    assert all(each.stormy for each in stage.inner.executions())


def test_what_is_only_observed_or_asked_anyway_makes_no_storm() -> None:
    for mode in (Automation.ASK, Automation.OBSERVE):
        stage = bench(automation=mode)
        stage.act(0, *firing(stage, 0, 6))
        assert pages(stage) == []
        assert not any(each.stormy for each in stage.inner.executions())


def test_the_blast_radius_holds_in_the_order_of_the_ticks() -> None:
    narrow = policy({"first.do": {}}, guard={"blast_radius": "2 targets per 15m"})
    stage = Bench(narrow, config=MANY)
    stage.act(0, *firing(stage, 0, 3))
    assert sorted(phases(stage)) == sorted([Phase.APPLIED, Phase.APPLIED, Phase.REFUSED])
    told = [each for each in stage.told() if each.kind is Kind.FAILED]
    assert "3 of 6 targets within 15m, at most 2" in " ".join(fact.value for fact in told[0].facts)
