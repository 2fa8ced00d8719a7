"""Slots are the rule's own: however the timer stutters, each is evaluated once and in order, or counted as missed."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.rule import Rule
from tocsin.core.schedule import EPOCH, Due, asleep, due, jitter, newest_slot

T0 = datetime(2026, 11, 20, 3, tzinfo=UTC)
MINUTE, QUARTER = timedelta(minutes=1), timedelta(minutes=15)


def a_rule(every: str = "1m", **more: object) -> Rule:
    when = {"signal": "cost", "above": "1", "over": "5m"}
    return Rule.model_validate({"id": "r", "summary": "s", "severity": "P1", "when": when, "every": every, **more})


def found(last: datetime | None, now: datetime, rule: Rule | None = None, offset: timedelta = timedelta()) -> Due:
    return due(rule or a_rule(), "t", last, now, offset, QUARTER)


def test_the_first_run_ever_evaluates_the_newest_slot_alone() -> None:
    assert found(None, T0 + timedelta(seconds=42)).slots == (T0,)


def test_a_slot_is_due_when_the_offset_has_passed() -> None:
    offset = 2 * MINUTE
    assert found(T0 - MINUTE, T0 + offset - timedelta(seconds=1), offset=offset).slots == ()
    assert found(T0 - MINUTE, T0 + offset, offset=offset).slots == (T0,)


def test_a_slot_is_never_due_twice_even_when_the_clock_is_set_back() -> None:
    assert found(T0, T0 + timedelta(seconds=59)) == Due()
    assert found(T0, T0 - 5 * MINUTE) == Due()


def test_missed_slots_are_caught_up_in_order_up_to_the_limit_and_older_ones_counted() -> None:
    caught = found(T0, T0 + 15 * MINUTE)
    assert caught.slots == tuple(T0 + count * MINUTE for count in range(1, 16))
    assert (caught.missed, caught.missed_until) == (0, None)
    late = found(T0, T0 + 20 * MINUTE)
    assert late.slots == tuple(T0 + count * MINUTE for count in range(6, 21))
    assert (late.missed, late.missed_until) == (5, T0 + 5 * MINUTE)


def test_years_of_silence_cost_no_more_than_an_hour() -> None:
    ages = found(EPOCH, T0)
    assert len(ages.slots) == 15
    assert ages.missed == (T0 - EPOCH) // MINUTE - 15
    assert ages.missed_until == ages.slots[0] - MINUTE


def test_a_rule_slower_than_the_catch_up_still_gets_its_newest_slot() -> None:
    slow = a_rule("6h")
    late = found(newest_slot(slow.every, jitter("r", "t", slow.every), T0 - timedelta(days=2)), T0, slow)
    assert len(late.slots) == 1
    assert late.missed == 7


def test_rules_of_a_minute_or_less_have_no_jitter_and_slower_ones_are_spread() -> None:
    assert jitter("r", "t", MINUTE) == jitter("r", "t", MINUTE / 2) == timedelta()
    shifts = {jitter(f"rule{number}", "t", QUARTER) for number in range(200)}
    assert len(shifts) > 150
    assert all(timedelta() <= shift < QUARTER and not shift.microseconds for shift in shifts)
    assert jitter("r", "t", QUARTER) != jitter("r", "u", QUARTER)


def _printed(code: str, seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    return subprocess.run(
        [sys.executable, "-c", code], check=True, env=environment, capture_output=True, text=True
    ).stdout


def test_the_jitter_is_the_same_in_every_process() -> None:
    code = "import datetime as d, tocsin.core.schedule as s; print(s.jitter('r', 't', d.timedelta(hours=1)))"
    said = {_printed(code, seed) for seed in ("1", "2")}
    assert said == {f"{jitter('r', 't', timedelta(hours=1))}\n"}


def test_a_rule_that_is_switched_off_says_why_it_is_not_due() -> None:
    assert found(None, T0, a_rule(enabled="false")) == Due(reason="disabled in its file")
    snoozed = a_rule(snooze={"until": "2026-12-01", "reason": "planned work"})
    assert found(None, T0, snoozed).reason == "snoozed until 2026-12-01: planned work"
    assert asleep(snoozed, datetime(2026, 12, 1, tzinfo=UTC)) == ""


EVERY = st.sampled_from(["30s", "1m", "5m", "15m", "1h"])


@given(EVERY, st.lists(st.integers(1, 2_000), min_size=2, max_size=40))
def test_over_any_stutter_of_the_timer_every_slot_is_evaluated_once_or_counted(every: str, steps: list[int]) -> None:
    rule = a_rule(every)
    now, last, seen, missed = T0, None, [], 0
    for step in steps:
        now += timedelta(seconds=step)
        ready = found(last, now, rule, 2 * MINUTE)
        seen += ready.slots
        missed += ready.missed
        last = ready.slots[-1] if ready.slots else last
    assert seen == sorted(set(seen))
    shift = jitter("r", "t", rule.every)
    assert all((slot - EPOCH - shift) % rule.every == timedelta() for slot in seen)
    assert len(seen) + missed == (seen[-1] - seen[0]) // rule.every + 1
    assert seen[-1] <= now - 2 * MINUTE < seen[-1] + rule.every


@pytest.mark.parametrize("seconds", [0, 1, 29, 59])
def test_slots_do_not_depend_on_when_the_timer_fired(seconds: int) -> None:
    assert found(T0 - MINUTE, T0 + timedelta(seconds=seconds)).slots == (T0,)


def test_a_slot_from_a_clock_far_ahead_is_not_waited_for() -> None:
    assert found(T0 + 6 * MINUTE, T0).slots == (T0,)
    assert found(T0 + timedelta(days=30), T0).slots == (T0,)
