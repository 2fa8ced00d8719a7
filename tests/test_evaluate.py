"""Rows become verdicts: the table of what is breached, clear or unknown. Silence is never health."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin import signals
from tocsin.core.alert import STORM, Alert, Instance, Seen, State, Verdict, instance
from tocsin.core.answer import NoAnswer, Query, Rows, Why
from tocsin.core.compile import Ask, windows
from tocsin.core.container import Finding
from tocsin.core.evaluate import Freshness, Heard, Measured, measure
from tocsin.core.rule import Rule
from tocsin.core.signal import Configured

SLOT = datetime(2026, 11, 20, 6, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ALIVE = Freshness(frozenset({SLOT - MINUTE}), "")
SILENT = Freshness(frozenset(), "")
UNSURE = Freshness(None, "time-out")
WITHIN = timedelta(minutes=15)
B, C, U = Verdict.BREACHED, Verdict.CLEAR, Verdict.UNKNOWN


def rule(signal: str = "response_errors", **changes: Any) -> Rule:
    when = {"over": "15m", **changes.pop("when", {"above": "5%", "minimum": "20"})}
    measured = {} if "kql" in when else {"signal": signal}
    return Rule.model_validate({"id": "r", "summary": "x", "severity": "P1", "when": {**measured, **when}, **changes})


def heard(of: Rule, *rows: dict[str, Any], slot: datetime = SLOT) -> Heard:
    """Return what a source said: one query over the slot's windows, with these rows."""
    spans = windows(of, (slot,))
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    ask = Ask(Query("", min(each.start for each in spans), max(each.end for each in spans)), spans)
    return Heard(((ask, Rows(columns, tuple(tuple(row.get(key) for key in columns) for row in rows))),))


def refused(of: Rule, why: Why) -> Heard:
    spans = windows(of, (SLOT,))
    return Heard(((Ask(Query("", spans[0].start, spans[0].end), spans), NoAnswer(why)),))


def row(value: float | None, events: int | None = 100, offset: int = 0, **by: str) -> dict[str, Any]:
    return {"_window": offset, "value": value, "events": events, **by}


def measured(of: Rule, *said: Heard) -> Measured:
    return measure(of, signals.known().get(of.when.signal or ""), said)


def one(of: Rule, said: Heard, alert: Alert | None = None, fresh: Freshness = ALIVE) -> Seen:
    """Return the one observation of a rule without ``by``."""
    found = measured(of, said).at(SLOT, {(): alert} if alert else {}, fresh, WITHIN)
    assert list(found) == [()]
    return found[()]


def firing(by: Instance = (), **changes: Any) -> Alert:
    return replace(Alert("r", "t", by, State.FIRING, SLOT, SLOT, last=B, known=SLOT, fired=SLOT), **changes)


# The table


@pytest.mark.parametrize(
    ("value", "events", "verdict"),
    [
        (0.06, 100, B),
        (0.05, 100, C),
        (0.0, 100, C),
        (1.0, 19, U),
        (0.0, 19, U),
        (1.0, 20, B),
        (None, 100, U),
        (float("nan"), 100, U),
        (float("inf"), 100, U),
    ],
)
def test_a_ratio_needs_traffic_and_a_finite_value(value: float | None, events: int, verdict: Verdict) -> None:
    assert one(rule(), heard(rule(), row(value, events))).verdict is verdict


@pytest.mark.parametrize(
    ("limit", "value", "verdict"),
    [
        ({"above": "5"}, 5, C),
        ({"at_least": "5"}, 5, B),
        ({"below": "5"}, 5, C),
        ({"at_most": "5"}, 5, B),
        ({"below": "5"}, 4.9, B),
        ({"above": "5"}, 5.1, B),
    ],
)
def test_each_comparison_has_its_edge(limit: dict[str, str], value: float, verdict: Verdict) -> None:
    of = rule("response_latency", when=limit)
    assert one(of, heard(of, row(value))).verdict is verdict


@pytest.mark.parametrize("why", list(Why))
@pytest.mark.parametrize("fresh", [ALIVE, SILENT, UNSURE])
def test_no_answer_is_never_health_nor_a_breach(why: Why, fresh: Freshness) -> None:
    seen = one(rule(), refused(rule(), why), fresh=fresh)
    assert (seen.verdict, seen.reason) == (U, why.value)


@pytest.mark.parametrize(
    ("fresh", "verdict", "reason"),
    [(ALIVE, C, ""), (SILENT, U, "target is silent"), (UNSURE, U, "freshness unknown: time-out")],
)
def test_no_row_of_a_count_is_zero_only_where_the_target_is_alive(
    fresh: Freshness, verdict: Verdict, reason: str
) -> None:
    of = rule("hitl_rejections", when={"above": "10"})
    seen = one(of, heard(of), fresh=fresh)
    assert seen.verdict is verdict
    assert reason in seen.reason


def test_no_row_of_a_ratio_is_too_little_traffic() -> None:
    assert one(rule(), heard(rule())).reason == "too little traffic"


@pytest.mark.parametrize(("says", "verdict"), [("unknown", U), ("clear", C), ("fire", B)])
def test_what_silence_means_is_the_rules_own_choice(says: str, verdict: Verdict) -> None:
    of = rule(on_silence=says)
    assert one(of, heard(of), fresh=SILENT).verdict is verdict
    assert one(of, heard(of), fresh=UNSURE).verdict is U


def test_a_count_that_is_to_be_low_is_breached_by_zero() -> None:
    of = rule("side_effect_tools", when={"below": "1"})
    assert one(of, heard(of)).verdict is B


# Freshness


@pytest.mark.parametrize(
    ("ago", "alive"), [(0, False), (1, True), (15, True), (16, False), (-1, False)], ids=lambda value: str(value)
)
def test_anything_within_the_time_is_life_to_the_minute(ago: int, alive: bool) -> None:
    assert Freshness(frozenset({SLOT - ago * MINUTE})).at(SLOT, WITHIN) is alive


def test_a_row_within_the_time_proves_life_without_asking() -> None:
    assert one(rule(), heard(rule(), row(0.5)), fresh=UNSURE).verdict is B


def test_a_row_of_a_window_longer_than_the_time_proves_nothing_about_now() -> None:
    of = rule("hitl_rejections", when={"above": "10", "over": "1h", "by": ["tool"]})
    found = measured(of, heard(of, row(1, tool="a"))).at(
        SLOT, {instance({"tool": "b"}): firing(instance({"tool": "b"}))}, UNSURE, WITHIN
    )
    assert found[instance({"tool": "b"})].verdict is U


def test_a_raw_sum_over_nothing_is_no_zero_where_the_target_is_silent() -> None:
    of = rule(when={"kql": "AppTraces | summarize value = count()", "below": "1"})
    nothing = heard(of, {"_window": 0, "value": 0.0})
    assert one(of, nothing, fresh=SILENT).verdict is U
    assert one(of, nothing, fresh=UNSURE).verdict is U
    assert one(of, nothing).verdict is B
    assert one(of, heard(of, {"_window": 0, "value": 3.0}), fresh=SILENT).verdict is C


# Hysteresis


def test_an_open_alert_is_held_by_resolve_and_a_new_one_is_not() -> None:
    of = rule(resolve={"below": "1%"})
    between = heard(of, row(0.03))
    assert one(of, between).verdict is C
    assert one(of, between, firing()).verdict is B
    assert one(of, between, firing(state=State.RECOVERING)).verdict is B
    assert one(of, heard(of, row(0.005)), firing()).verdict is C
    assert one(of, heard(of, row(0.005, 3)), firing()).verdict is U


# Change


@pytest.mark.parametrize(
    ("now", "then", "verdict"),
    [(1.2, 1.0, C), (1.21, 1.0, B), (0.5, 1.0, C), (5.0, 0.0, U), (5.0, None, U), (0.0, 0.0, U)],
)
def test_a_change_is_measured_against_the_window_before(now: float, then: float | None, verdict: Verdict) -> None:
    of = rule("cost", when={"change": {"more_than": "20%", "versus": "7d"}, "over": "1d"})
    # The stretch before the earlier window begins three days before it.
    rows = [row(now, offset=10 * 86_400), *([row(then, offset=3 * 86_400)] if then is not None else [])]
    assert one(of, heard(of, *rows, row(1.0, 1))).verdict is verdict
    assert one(of, heard(of, *rows)).verdict is U, "the earlier window may not be whole"


def test_a_change_whose_earlier_window_was_refused_is_unknown() -> None:
    of = rule("cost", when={"change": {"more_than": "20%", "versus": "7d"}, "over": "1d"})
    assert one(of, refused(of, Why.PARTIAL)).verdict is U


# Instances


A, Z = instance({"agent": "a"}), instance({"agent": "z"})
COST = rule("cost", when={"above": "10", "by": ["agent"]})


def test_each_instance_is_judged_by_its_own_row() -> None:
    found = measured(COST, heard(COST, row(11, agent="a"), row(9, agent="z"))).at(SLOT, {}, ALIVE, WITHIN)
    assert {by: seen.verdict for by, seen in found.items()} == {A: B, Z: C}


def test_an_instance_that_is_gone_is_unknown_twice_and_then_clear() -> None:
    verdicts, missing = [], 0
    for _ in range(4):
        alerts = {A: firing(A, missing=missing)}
        seen = measured(COST, heard(COST)).at(SLOT, alerts, ALIVE, WITHIN)[A]
        verdicts.append(seen.verdict)
        missing = seen.missing
    assert verdicts == [U, U, C, C]


def test_two_rows_for_one_instance_are_no_answer() -> None:
    found = measured(COST, heard(COST, row(11, agent="a"), row(1, agent="a"))).at(SLOT, {A: firing(A)}, ALIVE, WITHIN)
    assert found[A].verdict is U
    assert "two rows" in found[A].reason


def test_a_storm_is_one_alert_and_the_known_ones_go_on_being_judged() -> None:
    of = rule("cost", when={"above": "10", "by": ["agent"]}, max_instances="2")
    rows = [row(11, agent=name) for name in "abc"]
    found = measured(of, heard(of, *rows)).at(SLOT, {A: firing(A)}, ALIVE, WITHIN)
    assert {by: seen.verdict for by, seen in found.items()} == {A: B, STORM: B}
    over = measured(of, heard(of, *rows[:2])).at(SLOT, {STORM: firing(STORM)}, ALIVE, WITHIN)
    assert over[STORM].verdict is C
    blind = measured(of, refused(of, Why.TIMEOUT)).at(SLOT, {STORM: firing(STORM)}, ALIVE, WITHIN)
    assert blind[STORM].verdict is U


# Several sources: the app's configuration beside the logs


HITL = rule("hitl_misconfigured", when={"above": "0", "over": "10m"})
FOUND = Heard(findings=(Finding("HITL_APPROVER_ENDPOINT is not set on r1", {"sign": "no-approver"}),))
SOUND = Heard(findings=())
GONE = Heard(refused=NoAnswer(Why.FORBIDDEN))


@pytest.mark.parametrize(
    ("logs", "app", "fresh", "verdict"),
    [
        ("event", SOUND, ALIVE, B),
        ("event", GONE, ALIVE, B),
        ("none", FOUND, ALIVE, B),
        ("none", FOUND, SILENT, B),
        ("broken", FOUND, UNSURE, B),
        ("none", SOUND, ALIVE, C),
        ("none", SOUND, SILENT, U),
        ("none", GONE, ALIVE, U),
        ("broken", SOUND, ALIVE, U),
    ],
)
def test_a_breach_in_any_source_stands_and_health_needs_all(
    logs: str, app: Heard, fresh: Freshness, verdict: Verdict
) -> None:
    said = {"event": heard(HITL, row(1, 1)), "none": heard(HITL), "broken": refused(HITL, Why.FAILED)}[logs]
    (seen,) = measured(HITL, said, app).at(SLOT, {}, fresh, WITHIN).values()
    assert seen.verdict is verdict


def test_what_is_found_now_says_nothing_of_a_slot_long_gone() -> None:
    signal = signals.known()["hitl_misconfigured"]
    late = SLOT - 5 * MINUTE
    both = measure(HITL, signal, [heard(HITL, slot=late), FOUND], SLOT)
    assert both.at(late, {}, Freshness(frozenset({late - MINUTE})), WITHIN)[()].verdict is U
    assert both.at(late, {(): firing()}, Freshness(frozenset({late - MINUTE})), WITHIN)[()].verdict is B


SIGNS = rule("hitl_misconfigured", when={"above": "0", "over": "10m", "by": ["sign"]})
REFUSED, NO_APPROVER = instance({"sign": "refused"}), instance({"sign": "no-approver"})


def test_each_sign_is_an_instance_of_its_own_and_that_of_the_configuration_is_judged_by_the_configuration() -> None:
    known = {NO_APPROVER: firing(NO_APPROVER)}
    event = heard(SIGNS, row(1, 1, sign="refused"))
    both = measured(SIGNS, event, FOUND).at(SLOT, {}, ALIVE, WITHIN)
    assert {by: each.verdict for by, each in both.items()} == {REFUSED: B, NO_APPROVER: B}
    mended = measured(SIGNS, event, SOUND).at(SLOT, known, ALIVE, WITHIN)
    assert {by: each.verdict for by, each in mended.items()} == {REFUSED: B, NO_APPROVER: C}
    unread = measured(SIGNS, event, GONE).at(SLOT, known, ALIVE, WITHIN)
    assert {by: each.verdict for by, each in unread.items()} == {REFUSED: B, NO_APPROVER: U}
    silent = measured(SIGNS, refused(SIGNS, Why.FAILED), FOUND).at(SLOT, known, SILENT, WITHIN)
    assert silent[NO_APPROVER].verdict is B


@pytest.mark.parametrize(
    ("only", "asked", "found"),
    [
        (["refused"], 1, {REFUSED}),
        (["refused", "no-approver"], 2, {REFUSED, NO_APPROVER}),
        (["no-approver"], 1, {NO_APPROVER}),
        (["dev-mode"], 1, set()),
    ],
)
def test_only_some_values_of_a_dimension_count_and_who_cannot_say_them_is_not_asked(
    only: list[str], asked: int, found: set[Instance]
) -> None:
    when = SIGNS.when.model_copy(update={"only": {"sign": tuple(only)}})
    of = SIGNS.model_copy(update={"when": when})
    sources = signals.known()["hitl_misconfigured"].asked(when.only)
    assert len(sources) == asked
    rows = [row(1, 1, sign="refused")] if "refused" in only else []
    said = [FOUND if isinstance(each, Configured) else heard(of, *rows) for each in sources]
    seen = measured(of, *said).at(SLOT, {}, ALIVE, WITHIN)
    assert {by for by, each in seen.items() if each.verdict is B} == found


# Whatever the answer


@given(
    st.lists(
        st.builds(
            row, st.one_of(st.none(), st.floats()), st.one_of(st.none(), st.integers(0, 50)), st.sampled_from([0, 60])
        ),
        max_size=4,
    ),
    st.sampled_from([ALIVE, SILENT, UNSURE]),
    st.booleans(),
)
def test_a_breach_always_rests_on_a_value_over_the_limit(
    rows: list[dict[str, Any]], fresh: Freshness, opened: bool
) -> None:
    of = rule()
    seen = one(of, heard(of, *rows), firing() if opened else None, fresh)
    if seen.verdict is B:
        assert any(each["_window"] == 0 and each["value"] is not None and each["value"] > 0.05 for each in rows)
    if seen.verdict is C:
        assert any(each["_window"] == 0 and each["value"] is not None and each["value"] <= 0.05 for each in rows)
