"""Conditions over several windows: what is unusual, what burns a budget, what is missing. The maths is Python's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kql.binder import Binder
from tests.stage import CONFIG, MINUTE, T0, TARGET, Stage
from tocsin import signals
from tocsin.core.alert import Seen, Verdict
from tocsin.core.answer import Rows
from tocsin.core.compile import compile_logs, windows
from tocsin.core.condition import Point, judge, score
from tocsin.core.fuse import fuse
from tocsin.core.rule import BurnRate, Rule, Unusual
from tocsin.core.signal import Logs

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
B, C, U = Verdict.BREACHED, Verdict.CLEAR, Verdict.UNKNOWN


def rule(**when: Any) -> Rule:
    signal = {"signal": "response_latency"} if "signal" not in when else {}
    return Rule.model_validate({"id": "r", "summary": "x", "severity": "P2", "when": {**signal, **when}})


def seen(of: Rule, now: float, *before: float | None, counting: bool = False) -> Seen:
    beside = {part: Point(value, 100) for part, value in enumerate(before, 1) if value is not None}
    return judge(of, Point(now, 100), beside, counting=counting, opened=False)


# Unusual


def test_the_score_is_the_modified_z_score() -> None:
    usual = [10.0, 11.0, 9.0, 10.0, 12.0, 8.0, 10.5]
    assert score(10.0, usual) == 0.0
    assert score(14.0, usual) == pytest.approx(0.6745 * 4 / 1.0)
    assert score(2.0, usual) < 0


def test_one_wild_day_in_the_baseline_hides_nothing() -> None:
    usual = [10.0, 11.0, 9.0, 10.0, 12.0, 8.0, 1e6]
    assert score(30.0, usual) > 4


def test_alike_values_still_let_a_rise_be_seen_and_noise_not() -> None:
    assert score(10.0, [10.0] * 7) == 0
    assert score(15.0, [10.0] * 7) == pytest.approx(5)
    assert score(10.01, [10.0] * 7) == pytest.approx(0.01)
    assert score(3.0, [0.0] * 7, 1.0) == 3.0
    assert score(12.0, [10.0] * 6 + [30.0]) == pytest.approx(2 / (1.2533 * 20 / 7))


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=40), st.floats(-1e9, 1e9), st.floats(0, 1e6))
def test_a_higher_value_never_scores_less(usual: list[float], value: float, more: float) -> None:
    assert score(value + more, usual) >= score(value, usual)


UNUSUAL = rule(unusual={"score": "4", "history": "5"}, over="1h", minimum="20")


@pytest.mark.parametrize(
    ("now", "before", "verdict"),
    [
        (100.0, [10, 11, 9, 10, 12, 8], B),
        (11.0, [10, 11, 9, 10, 12, 8], C),
        (0.0, [10, 11, 9, 10, 12, 8], C),
        (100.0, [10, 11, 9, 10], U),
        (100.0, [10, None, 11, None, 9, 10], U),
    ],
)
def test_unusual_is_far_above_enough_history(now: float, before: list[float | None], verdict: Verdict) -> None:
    assert seen(UNUSUAL, now, *before).verdict is verdict


def test_of_a_count_a_quiet_past_is_zeros_and_a_few_events_are_no_spike() -> None:
    spike = rule(signal="hitl_rejections", unusual={"score": "4"}, over="1h")
    assert seen(spike, 4.0, counting=True).verdict is C
    found = seen(spike, 9.0, counting=True)
    assert (found.verdict, found.value) == (B, 9.0)
    assert "9 against a usual 0" in found.detail


@pytest.mark.parametrize(
    ("given", "over", "count", "first", "last"),
    [
        ({}, HOUR, 21, 23 * HOUR, 7 * DAY + HOUR),
        ({"seasonal": "weekly", "baseline": "28d"}, HOUR, 12, 7 * DAY - HOUR, 28 * DAY + HOUR),
        ({"seasonal": "none", "baseline": "1d"}, HOUR, 24, HOUR, DAY),
        ({"seasonal": "none", "baseline": "7d"}, 5 * MINUTE, 96, 5 * MINUTE, 1996 * 5 * MINUTE),
    ],
)
def test_the_windows_it_is_held_against(
    given: dict[str, str], over: timedelta, count: int, first: timedelta, last: timedelta
) -> None:
    looks = Unusual.model_validate({"score": "4", **given}).looks(over)
    assert (len(looks), looks[0], looks[-1]) == (count, first, last)
    assert min(looks) >= over or given.get("seasonal") != "none"


# Budgets


PAGE = BurnRate.model_validate({"objective": "99%"})
BUDGET = rule(signal="response_errors", burn_rate={"objective": "99%"}, minimum="10")


def test_the_limits_are_those_of_the_workbook() -> None:
    assert [(long, short, round(limit, 4)) for long, short, limit in PAGE.pairs] == [
        (HOUR, 5 * MINUTE, 0.144),
        (6 * HOUR, 30 * MINUTE, 0.06),
    ]
    week = BurnRate.model_validate({"objective": "99.9%", "window": "7d", "alert": "ticket"})
    assert [round(limit, 6) for *_, limit in week.pairs] == [round(3 * 7 / 30 / 1000, 6), round(7 / 30 / 1000, 6)]


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ((0.2, 0.2, 0.01, 0.2), B),
        ((0.2, 0.0, 0.05, 0.0), C),
        ((0.01, 0.2, 0.07, 0.07), B),
        ((0.01, 0.9, 0.01, 0.02), C),
        ((0.144, 0.9, 0.06, 0.9), C),
    ],
)
def test_a_budget_burns_over_a_long_window_and_still(ratios: tuple[float, ...], verdict: Verdict) -> None:
    assert seen(BUDGET, *ratios).verdict is verdict


def test_a_short_window_with_little_traffic_burns_nothing() -> None:
    points = {1: Point(1.0, 3), 2: Point(0.01, 100), 3: Point(0.01, 100)}
    assert judge(BUDGET, Point(0.5, 100), points, counting=False, opened=False).verdict is C
    assert judge(BUDGET, Point(0.5, 3), points, counting=False, opened=False).verdict is U


# Through queries and the engine


@pytest.fixture(scope="module")
def binder() -> Iterator[Binder]:
    binder = Binder()
    yield binder
    binder.close()


@pytest.mark.parametrize("of", [UNUSUAL, BUDGET, rule(signal="cost", absent_for="15m")])
def test_every_window_is_measured_fused_and_alone_and_binds(of: Rule, binder: Binder) -> None:
    stage = Stage()
    stage.busy(T0 - DAY - 2 * HOUR, T0 - DAY + HOUR)
    stage.busy(T0 - HOUR, T0)
    signal = signals.known()[of.when.signal or ""]
    (source,) = (each for each in signal.sources if isinstance(each, Logs))
    asks = dict(enumerate(compile_logs(of, signal, source, TARGET, windows(of, (T0,)))))
    fused: dict[int, Rows] = {}
    for each in fuse({**asks, 99: asks[0]}, TARGET):
        answer = stage.telemetry.ask(each.query, TARGET)
        assert isinstance(answer, Rows)
        fused |= each.rows(answer)
        assert binder.bind(each.query.text).errors == ()
    for number, ask in asks.items():
        alone = stage.telemetry.ask(ask.query, TARGET)
        assert isinstance(alone, Rows)
        assert {(row["_window"], row["value"], row["events"]) for row in alone.dicts()} == {
            (row["_window"], row["value"], row["events"]) for row in fused[number].dicts()
        }


def emit(stage: Stage, start: datetime, name: str, count: int, **properties: str) -> None:
    for number in range(count):
        stage.trace(start + number * timedelta(seconds=1), name, **properties)


def test_a_spike_against_the_same_hour_of_earlier_days_pages_and_the_usual_does_not() -> None:
    spike = rule(signal="hitl_rejections", unusual={"score": "4"}, over="1h")
    stage = Stage(spike)
    stage.busy(T0 - 30 * MINUTE, T0 + 3 * MINUTE)
    for day in range(1, 8):
        for beside in (-1, 0, 1):
            emit(stage, T0 - day * DAY + beside * HOUR - 30 * MINUTE, "tool.hitl_rejected", 5 + day % 3)
    emit(stage, T0 - 30 * MINUTE, "tool.hitl_rejected", 7)
    stage.run(range(1))
    assert stage.oncall.got == []
    emit(stage, T0 - 20 * MINUTE, "tool.hitl_rejected", 30)
    stage.run(range(1, 2))
    (page,) = stage.oncall.got
    assert "usual 6" in " ".join(fact.value for fact in page.facts)


def test_a_budget_that_burns_pages() -> None:
    stage = Stage(BUDGET)
    for minute in range(60):
        emit(stage, T0 - (minute + 1) * MINUTE, "response.returned", 4, ok="true")
        emit(stage, T0 - (minute + 1) * MINUTE + 10 * timedelta(seconds=1), "response.returned", 1, ok="false")
    stage.run(range(1))
    assert stage.oncall.kinds() == ["fired"]


def test_what_is_missing_pages_while_the_target_is_alive_and_is_over_when_it_is_back() -> None:
    missing = Rule.model_validate(
        {"id": "r", "summary": "none for {window}", "severity": "P1", "when": {"signal": "cost", "absent_for": "15m"}}
    )
    stage = Stage(missing, config=CONFIG)
    stage.busy(T0 - 20 * MINUTE, T0 + 30 * MINUTE)
    emit(stage, T0 - 10 * MINUTE, "cost.call", 1, value="0.1")
    stage.run(range(4))
    assert stage.oncall.kinds() == []
    stage.run(range(4, 8))
    assert stage.oncall.kinds() == ["fired"]
    emit(stage, T0 + 8 * MINUTE, "cost.call", 1, value="0.1")
    stage.run(range(8, 12))
    assert stage.oncall.kinds() == ["fired", "resolved"]


# Earlier windows that are not whole


JUMP = rule(signal="cost", change={"more_than": "20%", "versus": "7d"}, over="1d")


def costing(began: timedelta, *, since: timedelta = timedelta(), usd: float = 1.0) -> Stage:
    """Return a stage on which every hour cost a dollar from ``began`` before T0 on, and ``usd`` from ``since`` on."""
    stage = Stage(JUMP)
    stage.busy(T0 - 20 * MINUTE, T0 + 2 * MINUTE)
    at = T0 - began
    while at < T0:
        stage.trace(at, "cost.call", value=str(usd if T0 - at <= since else 1.0))
        at += HOUR
    return stage


def judged(stage: Stage) -> list[str]:
    """Return what becomes of the rule's alert in one tick."""
    stage.run(range(1))
    return [alert.state.value for alert in stage.inner.open_alerts() if alert.rule == "r"]


@pytest.mark.parametrize("began", [7 * DAY + HOUR, 7 * DAY + 12 * HOUR, 7 * DAY + 23 * HOUR, 7 * DAY, 3 * DAY])
def test_constant_cost_of_telemetry_that_began_last_week_is_no_jump(began: timedelta) -> None:
    assert judged(costing(began)) == []
    assert judged(costing(began, since=DAY, usd=9.0)) == [], "of what nobody knows nothing is said"


def test_a_jump_is_seen_as_soon_as_the_window_of_last_week_is_whole() -> None:
    assert judged(costing(8 * DAY + 2 * HOUR, since=DAY, usd=1.3)) == ["firing"]
    assert judged(costing(8 * DAY + 2 * HOUR, since=DAY, usd=1.1)) == []


def test_a_quiet_weekend_before_the_window_of_last_week_leaves_it_whole() -> None:
    stage = costing(8 * DAY, since=DAY, usd=2.0)
    stage.trace(T0 - 10 * DAY, "cost.call", value="1")
    assert judged(stage) == ["firing"]


def test_the_first_window_of_a_sum_says_nothing_of_what_is_usual() -> None:
    odd = rule(signal="cost", unusual={"score": "4", "baseline": "6h", "seasonal": "none", "history": "5"}, over="1h")
    beside = {part: Point(10.0, 100) for part in range(1, 6)}
    assert judge(odd, Point(99.0, 100), beside, counting=False, opened=False).verdict is U
    before = {7: Point(10.0, 1)}
    assert judge(odd, Point(99.0, 100), beside | before, counting=False, opened=False).verdict is B
    assert judge(odd, Point(99.0, 100), beside | {6: Point(1.0, 9)}, counting=False, opened=False).verdict is B


@pytest.mark.parametrize(("alive", "kinds"), [(DAY, []), (20 * DAY, ["fired"])])
def test_the_days_before_an_app_began_are_no_quiet_past_of_a_count(alive: timedelta, kinds: list[str]) -> None:
    stage = Stage(rule(signal="hitl_rejections", unusual={"score": "4"}, over="1h"))
    for hours in range(1, int(min(alive, 9 * DAY) / HOUR)):
        stage.trace(T0 - hours * HOUR, "response.returned", ok="true")
    stage.busy(T0 - 20 * MINUTE, T0 + 2 * MINUTE)
    emit(stage, T0 - 10 * MINUTE, "tool.hitl_rejected", 9)
    stage.run(range(1))
    assert stage.oncall.kinds() == kinds
