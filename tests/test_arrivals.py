"""Rows that arrive late: arrivals are counted once each however late, and the offset can follow what is measured."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.amount import often
from tests.kql.binder import Binder
from tests.stage import CONFIG, ERRORS, MINUTE, MISCONFIGURED, T0, TARGET, Stage
from tocsin import signals
from tocsin.core.alert import Verdict
from tocsin.core.answer import NoAnswer, Rows, Why
from tocsin.core.compile import compile_logs, windows
from tocsin.core.fields import AUTO
from tocsin.core.fuse import fuse
from tocsin.core.rule import Rule
from tocsin.core.schedule import delay
from tocsin.core.signal import Logs
from tocsin.telemetry.embedded import EmbeddedTelemetry

SECOND = timedelta(seconds=1)


def counted(over: str = "1m", counting: str = "arrivals", **changes: Any) -> Rule:
    when = {"signal": "hitl_rejections", "above": "0", "over": over, **changes.pop("when", {})}
    return Rule.model_validate(
        {"id": "r", "summary": "x", "severity": "P1", "when": when, "counting": counting, **changes}
    )


def row(emitted: datetime, arrived: datetime) -> dict[str, Any]:
    properties = {"event_name": "tool.hitl_rejected", "external_system": "send_email"}
    at = {"TimeGenerated": emitted, "_IngestedAt": arrived, "AppRoleName": TARGET.role_name}
    return {**at, "Message": "tool.hitl_rejected", "Properties": properties}


def counts(telemetry: EmbeddedTelemetry, rule: Rule, slots: list[datetime], since: datetime | None) -> list[float]:
    """Return the value of each slot, fused with itself twice over so that both ways of asking are gone."""
    (source,) = (each for each in signals.known()["hitl_rejections"].sources if isinstance(each, Logs))
    asks = compile_logs(rule, signals.known()["hitl_rejections"], source, TARGET, windows(rule, slots, since))
    found: dict[datetime, float] = dict.fromkeys(slots, 0.0)
    other: dict[datetime, float] = dict.fromkeys(slots, 0.0)
    for ask in asks:
        answer = telemetry.ask(ask.query, TARGET)
        assert isinstance(answer, Rows), answer
        for each in answer.dicts():
            for window in ask.at(each["_window"]):
                found[window.slot] += each["value"]
    numbered = dict(enumerate([*asks, *asks]))
    for fused in fuse(numbered, TARGET):
        answer = telemetry.ask(fused.query, TARGET)
        assert isinstance(answer, Rows), answer
        for number, rows in fused.rows(answer).items():
            for each in rows.dicts() if number < len(asks) else ():
                for window in numbered[number].at(each["_window"]):
                    other[window.slot] += each["value"]
    assert found == other
    return list(found.values())


@given(
    st.lists(st.tuples(st.integers(0, 1800), st.integers(0, 7200)), max_size=25),
    st.lists(st.integers(1, 9), min_size=1, max_size=12),
)
@settings(max_examples=often(40, 8), suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.slow
def test_every_row_is_counted_exactly_once_whatever_its_delay_and_whichever_ticks_are_missed(
    rows: list[tuple[int, int]], gaps: list[int]
) -> None:
    """Slots come in batches as ticks catch up; the windows of one minute each touch and never overlap."""
    telemetry = EmbeddedTelemetry()
    telemetry.load("AppTraces", [row(T0 + at * SECOND, T0 + (at + late) * SECOND) for at, late in rows])
    total, last, until = 0.0, T0 - MINUTE, T0 + timedelta(hours=3)
    for gap in [*gaps, 400]:
        slots = [last + MINUTE * (gap - back) for back in reversed(range(min(gap, 5)))]
        total += sum(counts(telemetry, counted(), slots, last))
        last = slots[-1]
        if last > until:
            break
    assert total == len(rows)
    telemetry.close()


def test_the_gap_of_missed_slots_is_in_the_first_window_and_a_day_at_most() -> None:
    rule = counted()
    assert windows(rule, [T0], T0 - 30 * MINUTE)[0].start == T0 - 30 * MINUTE
    assert windows(rule, [T0], T0 - timedelta(days=30))[0].start == T0 - timedelta(days=2)
    assert windows(rule, [T0], T0)[0].start == T0 - MINUTE
    assert windows(rule, [T0], None)[0].start == T0 - MINUTE
    assert windows(counted(counting="events"), [T0], T0 - 30 * MINUTE)[0].start == T0 - MINUTE


@pytest.fixture(scope="module")
def binder() -> Iterator[Binder]:
    binder = Binder()
    yield binder
    binder.close()


def test_microsofts_parser_binds_arrivals_fused_and_alone(binder: Binder) -> None:
    (source,) = (each for each in signals.known()["hitl_rejections"].sources if isinstance(each, Logs))
    known = signals.known()["hitl_rejections"]
    asks = [
        ask
        for rule in (counted(), counted("10m", when={"by": ["tool"]}))
        for ask in compile_logs(rule, known, source, TARGET, windows(rule, [T0, T0 + MINUTE], T0 - 9 * MINUTE))
    ]
    texts = [*(ask.query.text for ask in asks), *(each.query.text for each in fuse(dict(enumerate(asks)), TARGET))]
    assert any("materialize" in text for text in texts)
    for text in texts:
        assert binder.bind(text).errors == (), text


# Through the engine


def late(stage: Stage, emitted: float, arrived: float) -> None:
    stage.telemetry.load("AppTraces", [row(T0 + emitted * MINUTE, T0 + arrived * MINUTE)])


class Clocked(Stage):
    """A stage whose telemetry shows a row only once it has arrived."""

    def __init__(self, *rules: Rule, **changes: Any) -> None:
        self.at = T0
        super().__init__(*rules, telemetry=EmbeddedTelemetry(lambda: self.at), **changes)

    def run(self, minutes: range) -> None:
        for minute in minutes:
            self.at = T0 + minute * MINUTE
            self.engine.tick(self.at)


@pytest.mark.parametrize("arrives", [4.5, 30.5])
def test_a_row_that_comes_long_after_its_slot_still_pages(arrives: float) -> None:
    for counting, told in (("arrivals", ["fired", "resolved"]), ("events", [])):
        stage = Clocked(counted(counting=counting))
        stage.busy(T0 - 20 * MINUTE, T0 + 45 * MINUTE)
        late(stage, 1.5, arrives)
        stage.run(range(45))
        assert stage.oncall.kinds() == told, counting


def test_what_arrived_while_the_watcher_was_down_pages_when_it_is_back() -> None:
    stage = Clocked(counted())
    stage.busy(T0 - 20 * MINUTE, T0 + 200 * MINUTE)
    stage.run(range(3))
    late(stage, 5, 6)
    stage.run(range(180, 182))
    assert "fired" in stage.oncall.kinds()


AUTOMATIC = CONFIG.model_copy(update={"targets": (TARGET.model_copy(update={"offset": AUTO}),)})


def slow(stage: Stage, start: int, end: int, seconds: float) -> None:
    """Emit healthy rows that take so long to arrive."""
    rows = []
    for second in range(start * 60, end * 60, 10):
        at = T0 + second * SECOND
        rows.append({**row(at, at + seconds * SECOND), "Message": "response.returned", "Properties": {}})
    stage.telemetry.load("AppTraces", rows)


def test_an_automatic_offset_follows_the_lag_up_at_once_and_down_slowly() -> None:
    stage = Clocked(ERRORS, config=AUTOMATIC)
    slow(stage, -20, 40, 300)
    slow(stage, 40, 120, 5)
    stage.run(range(40))
    lag = stage.inner.mark("sales").lag
    assert lag == timedelta(seconds=300)
    assert stage.inner.mark("sales").slots["high_error_rate"] == T0 + 34 * MINUTE
    stage.run(range(40, 120))
    assert stage.inner.mark("sales").lag < timedelta(seconds=30)  # type: ignore[operator]
    assert stage.inner.mark("sales").slots["high_error_rate"] == T0 + 118 * MINUTE


def test_the_lag_is_a_signal() -> None:
    lag = Rule.model_validate(
        {
            "id": "lag",
            "summary": "x",
            "severity": "P2",
            "when": {"signal": "ingestion_lag", "above": "60", "over": "10m"},
        }
    )
    stage = Clocked(lag, ERRORS)
    slow(stage, -20, 10, 90)
    stage.run(range(3))
    assert stage.oncall.kinds() == ["fired"]
    assert stage.oncall.got[0].value == 90.0


def test_telemetry_later_than_the_offset_is_said() -> None:
    stage = Clocked(ERRORS)
    slow(stage, -20, 10, 90)
    stage.run(range(5))
    assert stage.log.named("late")[0]["lag"] == 90.0


@pytest.mark.parametrize(
    ("rule", "target", "expected"),
    [
        (ERRORS, TARGET, timedelta()),
        (ERRORS, TARGET.model_copy(update={"offset": 2 * MINUTE}), 2 * MINUTE),
        (ERRORS.model_copy(update={"offset": 5 * MINUTE}), TARGET, 5 * MINUTE),
        (ERRORS, TARGET.model_copy(update={"offset": AUTO, "lag": 7 * MINUTE}), 7 * MINUTE),
        (ERRORS, TARGET.model_copy(update={"offset": AUTO, "lag": SECOND}), MINUTE),
        (ERRORS.model_copy(update={"offset": AUTO}), TARGET.model_copy(update={"lag": 3 * MINUTE}), 3 * MINUTE),
        (counted(), TARGET.model_copy(update={"offset": 2 * MINUTE}), 30 * SECOND),
        (counted(offset="1m"), TARGET, MINUTE),
    ],
)
def test_the_delay_of_a_rule_on_a_target(rule: Rule, target: Any, expected: timedelta) -> None:
    assert delay(rule, target) == expected


def test_a_lag_that_grows_at_once_resolves_nothing_and_forgets_nothing() -> None:
    stage = Clocked(ERRORS, config=AUTOMATIC)
    slow(stage, -20, 5, 5)
    rows = []
    for second in range(5 * 60, 60 * 60, 5):
        at = T0 + second * SECOND
        failing = {"event_name": "response.returned", "ok": "false"}
        rows.append({**row(at, at + 5 * SECOND), "Message": "response.returned", "Properties": failing})
    rows.append(row(T0 + 4 * MINUTE, T0 + 16 * MINUTE))
    stage.telemetry.load("AppTraces", rows)
    stage.run(range(45))
    assert stage.oncall.kinds() == ["fired"]
    assert [alert.state.value for alert in stage.inner.open_alerts()] == ["firing"]


@pytest.mark.parametrize("outage", [range(2, 4), range(2, 30)])
def test_what_arrives_while_telemetry_does_not_answer_is_counted_when_it_does(outage: range) -> None:
    stage = Clocked(counted())
    stage.busy(T0 - 20 * MINUTE, T0 + 60 * MINUTE)
    late(stage, 1.5, 2.5)
    stage.run(range(2))
    stage.answers = lambda query: None if "minute = bin" in query.text else NoAnswer(Why.THROTTLED)
    stage.run(outage)
    stage.answers = lambda query: None
    stage.run(range(outage.stop, outage.stop + 4))
    assert "fired" in [notice.kind.value for notice in stage.oncall.got if notice.rule == "r"]


def test_an_app_that_cannot_be_read_does_not_make_the_window_of_arrivals_grow() -> None:
    stage = Clocked(MISCONFIGURED.model_copy(update={"counting": "arrivals"}))
    stage.busy(T0 - 20 * MINUTE, T0 + 60 * MINUTE)
    stage.platform.unreadable = True
    stage.telemetry.load(
        "AppTraces", [{**row(T0, T0 + MINUTE), "Properties": {"event_name": "tool.hitl_misconfigured"}}]
    )
    stage.run(range(5))
    assert "fired" in stage.oncall.kinds()
    assert stage.inner.mark("sales").slots["hitl_misconfigured"] == T0 + 4 * MINUTE
    stage.run(range(5, 20))
    (alert,) = [each for each in stage.inner.open_alerts() if each.rule == "hitl_misconfigured"]
    assert alert.last is Verdict.UNKNOWN, "the event is long out of the window, and the app is not known to be sound"
