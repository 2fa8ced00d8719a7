"""Few queries, each rule by itself: a bad one is found and kept apart; the least severe wait where needed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.stage import ERRORS, MINUTE, T0, Stage
from tocsin.core.alert import State
from tocsin.core.answer import NoAnswer, Query, Why
from tocsin.core.config import Budgets
from tocsin.core.rule import Rule
from tocsin.core.sight import MINOR_RULE_BLIND
from tocsin.testing import Heard


def own(name: str, text: str = "AppTraces | summarize value = count()", **changes: Any) -> Rule:
    when = {"kql": f"{text} // {name}", "above": "0", "over": "5m"}
    return Rule.model_validate({"id": name, "summary": "x", "severity": "P2", "when": when, **changes})


class Counted(Stage):
    """A stage that keeps the queries it was asked, without the question for freshness."""

    def __init__(self, *rules: Rule, **changes: Any) -> None:
        super().__init__(*rules, **changes)
        self.asked: list[Query] = []
        self.once = self.engine

    def ask(self, query: Query, target: Any) -> Any:
        if "minute = bin" not in query.text:
            self.asked.append(query)
        return super().ask(query, target)

    def tick(self, minute: int) -> int:
        """Tick in one process, and return how many queries that took."""
        before = len(self.asked)
        self.once.tick(T0 + minute * MINUTE)
        return len(self.asked) - before


def verdicts(stage: Stage) -> dict[str, str]:
    return {alert.rule: alert.last.value for alert in stage.inner.open_alerts() if alert.last}


def test_all_rules_due_are_one_query() -> None:
    stage = Counted(*(own(f"r{n}") for n in range(20)), ERRORS)
    stage.busy(T0 - 6 * MINUTE, T0)
    assert stage.tick(0) == 1
    assert len(verdicts(stage)) == 20


def test_the_guilty_rule_is_found_once_and_the_others_keep_their_verdicts_of_that_slot() -> None:
    rules = [own(f"r{n}") for n in range(8)]
    stage = Counted(*rules[:5], own("bad", "AppTraces | summarize value = count(NoSuchColumn)"), *rules[5:])
    stage.busy(T0 - 6 * MINUTE, T0 + 5 * MINUTE)
    assert stage.tick(0) > 2
    assert set(verdicts(stage)) - {MINOR_RULE_BLIND.id} == {rule.id for rule in rules}
    assert [each["rule"] for each in stage.log.named("no answer")] == ["bad"]
    assert stage.tick(1) == 2, "it is remembered, and asked by itself"


def test_a_rule_that_was_mended_joins_the_others_again() -> None:
    odd = own("odd", "AppTraces | summarize value = sum(ItemCount)")
    stage = Counted(own("a"), odd, own("b"))
    stage.busy(T0 - 6 * MINUTE, T0 + 5 * MINUTE)
    stage.answers = lambda query: NoAnswer(Why.BROKEN) if "// odd" in query.text else None
    stage.tick(0)
    stage.answers = lambda query: None
    assert [stage.tick(minute) for minute in (1, 2)] == [2, 1]


@pytest.mark.parametrize("why", [Why.THROTTLED, Why.UNREACHABLE, Why.FAILED, Why.FORBIDDEN, Why.TIMEOUT])
def test_an_outage_is_not_answered_with_more_queries(why: Why) -> None:
    stage = Counted(*(own(f"r{n}") for n in range(20)))
    stage.answers = lambda query: NoAnswer(why)
    assert stage.tick(0) == (1 if why is Why.FAILED else 0), "after the question for freshness"
    assert {each["why"] for each in stage.log.named("no answer")} == {why.value}


def test_an_adapter_with_a_defect_is_no_answer() -> None:
    stage = Counted(ERRORS, own("a"))

    def fails(query: Query) -> None:
        raise RuntimeError("defect")

    stage.answers = fails
    stage.tick(0)
    assert isinstance(stage.log, Heard)
    assert stage.log.named("tick") or stage.log.named("target failed")


# The budget


def far(name: str, severity: str) -> Rule:
    """A rule that no other can share a query with."""
    return own(name, "union AppTraces, AppRequests | summarize value = count()", severity=severity)


def budgeted(count: int, *rules: Rule) -> Counted:
    stage = Counted(*rules)
    config = stage.project.config.model_copy(update={"budgets": Budgets(queries_per_minute=count + 1)})
    stage = Counted(*rules, config=config)
    stage.busy(T0 - 30 * MINUTE, T0 + 30 * MINUTE)
    return stage


def test_the_least_severe_rules_wait_and_it_is_said() -> None:
    stage = budgeted(3, far("p3", "P3"), far("p0", "P0"), far("p1", "P1"), far("p2", "P2"))
    assert stage.tick(0) == 3
    assert set(verdicts(stage)) == {"p0", "p1", "p2", "minor_rule_blind"}
    assert stage.log.named("stretched")[0]["rules"] == ["p3"]


def test_whoever_waits_is_evaluated_before_its_slots_are_lost_and_p0_never_waits() -> None:
    rules = [far("p0", "P0"), *(far(f"p3{letter}", "P3") for letter in "abcde")]
    stage = budgeted(3, *rules)
    seen: dict[str, list[int]] = {rule.id: [] for rule in rules}
    for minute in range(12):
        stage.tick(minute)
        mark = stage.inner.mark("sales").slots
        for rule in rules:
            if mark.get(rule.id) == T0 + minute * MINUTE:
                seen[rule.id].append(minute)
    assert seen["p0"] == list(range(12))
    assert all(len(minutes) >= 2 for minutes in seen.values())
    assert not any("missed" in alert.reason for alert in stage.inner.open_alerts())


def test_slots_that_waited_are_caught_up_and_count() -> None:
    late = far("late", "P3").model_copy(update={"for_": timedelta(minutes=3)})
    stage = budgeted(1, late, far("p1", "P1"))
    for minute in range(9):
        stage.tick(minute)
    (alert,) = [each for each in stage.inner.open_alerts() if each.rule == "late"]
    assert alert.state is State.FIRING
    assert alert.fired == T0 + 3 * MINUTE


def test_nobody_starves_among_equals_and_who_is_left_out_for_long_is_told() -> None:
    rules = [far(f"r_{letter}", "P1") for letter in "abcdefghij"]
    stage = budgeted(3, *rules)
    for minute in range(30):
        stage.tick(minute)
    newest = stage.inner.mark("sales").slots
    assert {rule.id for rule in rules} <= newest.keys()
    assert min(newest[rule.id] for rule in rules) >= T0 + 10 * MINUTE
    told = [notice.title for notice in stage.oncall.got if notice.rule == "rule_blind"]
    assert told, "three of ten a minute is less than these rules were promised"


def test_a_rule_that_runs_seldom_gets_its_turn() -> None:
    rules = [
        *(far(f"p1{letter}", "P1") for letter in "abcd"),
        far("seldom", "P2").model_copy(update={"every": 15 * MINUTE}),
    ]
    stage = budgeted(4, *rules)
    for minute in range(60):
        stage.tick(minute)
    assert stage.inner.mark("sales").slots["seldom"] >= T0 + 30 * MINUTE


LET = "let events = AppTraces;\nevents | summarize value = count(), events = count()"


def test_a_text_that_works_alone_works_in_two_rules_and_over_several_slots() -> None:
    rules = [own("warn", LET), own("crit", LET).model_copy(update={"when": own("warn", LET).when})]
    stage = Counted(*rules)
    stage.busy(T0 - 6 * MINUTE, T0 + 20 * MINUTE)
    stage.tick(0)
    assert {"warn", "crit"} <= {rule for rule, last in verdicts(stage).items() if last == "breached"}
    stage.tick(10)
    assert stage.log.named("no answer") == []
