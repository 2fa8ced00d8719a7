"""Many instances of one rule: one storm that reads well, and whoever fired before it goes on as before."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.stage import MINUTE, T0, Stage
from tocsin.core.alert import STORM, Alert
from tocsin.core.message import Kind, Notice
from tocsin.core.rule import Rule

ERRORS = Rule.model_validate(
    {
        "id": "agent_errors",
        "summary": "{agent}: {value} errors",
        "description": "Ask who owns {agent}.",
        "severity": "P1",
        "when": {
            "kql": "AppTraces | summarize value = todouble(sum(ItemCount)) by agent = Message",
            "above": "0",
            "over": "1m",
            "by": ["agent"],
        },
        "offset": "0s",
    }
)


def errors(stage: Stage, minutes: range, count: int, first: int = 0) -> None:
    """Let so many agents fail in each of these minutes."""
    rows = [
        {"TimeGenerated": T0 + minute * MINUTE + timedelta(seconds=30), "AppRoleName": "sales-api", "Message": f"a{n}"}
        for minute in minutes
        for n in range(first, first + count)
    ]
    stage.telemetry.load("AppTraces", rows)


def told(stage: Stage) -> list[Notice]:
    return [each for each in stage.oncall.got if "agent_errors" in each.title or each.rule == "agent_errors"]


def alerts(stage: Stage) -> list[Alert]:
    return [each for each in stage.inner.open_alerts() if each.rule == "agent_errors" and each.open]


def test_a_storm_is_one_notification_that_reads_well_and_those_that_fired_before_it_go_on_being_judged() -> None:
    stage = Stage(ERRORS)
    errors(stage, range(3), 150)
    errors(stage, range(3, 8), 250)
    errors(stage, range(8, 12), 20)
    stage.run(range(1, 4))
    before = {each.by for each in alerts(stage)}
    assert len(before) == 150
    said = len(stage.oncall.got)
    stage.run(range(4, 9))
    (storm,) = stage.oncall.got[said:]
    assert storm.title == "agent_errors on sales has 250 alerts at once, of which at most 200 are notified alone."
    assert "{" not in storm.title + storm.text + str(storm.facts)
    now = T0 + 8 * MINUTE
    assert {(each.by, each.slot, each.last.value) for each in alerts(stage) if each.by != STORM} == {
        (by, now, "breached") for by in before
    }
    stage.run(range(9, 13))
    assert len(alerts(stage)) == 20, "those that are over ended in the storm as ever"
    assert not any("nothing is known" in each.title for each in stage.oncall.got)
    assert any("no more than 200 alerts at once any more" in str(each) for each in stage.oncall.got)


def test_a_storm_from_the_first_minute_is_one_notification_and_its_end_another() -> None:
    stage = Stage(ERRORS)
    errors(stage, range(3), 250)
    errors(stage, range(3, 5), 1)
    stage.run(range(1, 4))
    assert [each.by for each in alerts(stage)] == [STORM]
    assert len(told(stage)) == 1
    stage.run(range(4, 6))
    assert len(alerts(stage)) == 1
    assert STORM not in {each.by for each in alerts(stage)}


def test_a_storm_of_missed_slots_is_a_storm() -> None:
    stage = Stage(ERRORS)
    errors(stage, range(1), 1)
    errors(stage, range(1, 2), 150)
    errors(stage, range(2, 6), 250, first=200)
    stage.run([1])
    stage.run([6])
    assert len([each for each in alerts(stage) if each.by != STORM]) <= 151
    assert STORM in {each.by for each in alerts(stage)}


def test_more_rows_than_are_read_leave_what_was_not_read_unknown_and_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.telemetry.embedded.MOST_ROWS", 10)
    stage = Stage(ERRORS)
    errors(stage, range(2), 5)
    errors(stage, range(2, 12), 30)
    stage.run(range(1, 3))
    known = {each.by for each in alerts(stage)}
    stage.run(range(3, 13))
    assert known <= {each.by for each in alerts(stage)}, "none of them is resolved for want of a row"
    assert not [each for each in told(stage) if each.kind is Kind.RESOLVED]
    blind = [each for each in stage.oncall.got if each.rule == "rule_blind"]
    assert "more rows than are read" in str(blind)


def test_a_flood_of_one_rule_leaves_the_others_of_its_query_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.telemetry.embedded.MOST_ROWS", 10)
    spread = {"kql": "AppTraces | summarize value = dcount(Message)", "above": "20", "over": "1m"}
    other = Rule.model_validate(
        {"id": "widespread", "summary": "{value} agents", "severity": "P1", "when": spread, "offset": "0s"}
    )
    stage = Stage(ERRORS, other)
    errors(stage, range(3), 30)
    stage.run(range(1, 4))
    assert "widespread" in {each.rule for each in stage.oncall.got}
    assert not [
        each for each in stage.inner.open_alerts() if each.rule == "widespread" and each.last.value == "unknown"
    ]
