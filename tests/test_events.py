"""Events from outside: both forms, what is awaited, young and not seen before; each causes a look and nothing else."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stage import MINUTE, T0, Stage
from tests.test_native import schema
from tocsin.app import App
from tocsin.connections import event_grid
from tocsin.connections.event_grid import read
from tocsin.core.failing import Failing
from tocsin.engine import react as reacting
from tocsin.engine.tick import Engine, Ticked
from tocsin.testing import FrozenClock
from tocsin.webhook import answer

APP = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.App/containerApps/sales-api"
WRITE = "Microsoft.Resources.ResourceWriteSuccess"


def grid(number: int = 1, at: datetime = T0, **changes: Any) -> dict[str, Any]:
    event = {"id": f"e{number}", "topic": "/subscriptions/s/resourceGroups/rg", "subject": APP, "eventType": WRITE}
    return {**event, "eventTime": at.isoformat(), "data": {}, "dataVersion": "1", **changes}


def cloud(number: int = 1, at: datetime = T0, **changes: Any) -> dict[str, Any]:
    event = {"id": f"e{number}", "source": "/subscriptions/S/resourceGroups/RG", "subject": APP.upper(), "type": WRITE}
    return {**event, "time": at.isoformat().replace("+00:00", "Z"), "specversion": "1.0", "data": {}, **changes}


def react(engine: Engine, given: dict[str, Any], now: datetime) -> Ticked | None:
    return reacting.react(engine, read(given), now)


def misconfigured() -> Stage:
    stage = Stage()
    stage.busy(T0 - 20 * MINUTE, T0 + 30 * MINUTE)
    del stage.platform.env["HITL_APPROVER_ENDPOINT"]
    return stage


@pytest.mark.parametrize("form", [grid, cloud])
def test_either_form_causes_an_evaluation_of_the_target_it_names(form: Any) -> None:
    stage = misconfigured()
    assert react(stage.engine, form(), T0)
    assert [alert.state.value for alert in stage.inner.open_alerts()] == ["pending"]
    assert stage.inner.last_beat() is None, "an event's tick is not the timer's"


@pytest.mark.parametrize("form", [grid, cloud])
def test_the_texts_of_an_event_are_spelled_as_all_text_from_outside(form: Any) -> None:
    event = read(form(id="a\x1b[2J\u202e\ud800  b\n", subject=f"{APP}\u200b \n"))
    assert (event.id, event.resources[0]) == ("a[2J\ufffd b", APP.lower())
    long = [read(form(id="x" * 5_000 + end, subject=f"/{'y' * 5_000}{end}")) for end in "12"]
    assert len({each.id for each in long}) == len({each.resources for each in long}) == 2
    assert all(len(text.encode()) <= 1_000 for each in long for text in (each.id, *each.resources))


@pytest.mark.parametrize("form", [grid, cloud])
def test_a_revision_or_the_resource_in_the_data_is_the_app_too(form: Any) -> None:
    assert react(misconfigured().engine, form(subject="", data={"resourceUri": f"{APP}/revisions/r1"}), T0)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"eventType": "Contoso.Anything"}, "this kind is not awaited"),
        ({"subject": f"{APP}-other"}, "it concerns no target"),
        ({"subject": ""}, "it concerns no target"),
        ({"topic": "/subscriptions/another/resourceGroups/rg"}, "it concerns no target"),
        ({"topic": ""}, "it concerns no target"),
        ({"eventTime": (T0 - timedelta(hours=2)).isoformat()}, "it is too old"),
        ({"eventTime": "yesterday"}, "it has no id or no time"),
        ({"id": ""}, "it has no id or no time"),
    ],
)
def test_what_is_not_awaited_costs_nothing_and_says_why(changes: dict[str, Any], why: str) -> None:
    stage = misconfigured()
    assert react(stage.engine, grid(**changes), T0) is None
    assert stage.happened == []
    assert stage.log.named("event ignored")[0]["why"] == why


def test_an_event_whose_clock_is_ahead_is_looked_at_once() -> None:
    engine = misconfigured().engine
    ahead = grid(eventTime=(T0 + timedelta(hours=2)).isoformat())
    assert react(engine, ahead, T0)
    assert react(engine, ahead, T0 + MINUTE) is None


def test_an_event_delivered_again_is_not_looked_at_again() -> None:
    stage = misconfigured()
    engine = stage.engine
    assert react(engine, grid(), T0)
    assert react(engine, grid(), T0 + MINUTE) is None
    assert react(engine, cloud(2), T0 + MINUTE)
    assert len(engine.events) == 2


def test_an_event_whose_evaluation_failed_is_looked_at_when_it_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = misconfigured()
    engine = stage.engine
    with monkeypatch.context() as broken:
        broken.setattr(stage.inner, "mark", _fails)
        ticked = react(engine, grid(), T0)
        assert ticked is not None
        assert ticked.failed
    assert react(engine, grid(), T0)


def _fails(*_: Any) -> Any:
    raise RuntimeError("down")


def posted(engine: Engine, *events: Any) -> int:
    return answer("POST", {}, json.dumps(events).encode(), App(engine, FrozenClock(T0))).status


def test_a_hundred_events_in_one_request_are_one_tick() -> None:
    stage = misconfigured()
    engine = stage.engine
    assert posted(engine, *(form(at) for at in range(50) for form in (grid, cloud))) == 200
    assert len(stage.log.named("tick")) == 1
    assert [alert.state.value for alert in stage.inner.open_alerts()] == ["pending"]
    assert posted(engine, *(grid(at) for at in range(50))) == 200
    assert len(stage.log.named("tick")) == 1, "all of them were seen"


def test_one_event_that_fails_leaves_the_others_of_its_request_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = misconfigured()
    engine = stage.engine

    def fails(given: Any) -> Any:
        if given["id"] == "e1":
            raise RecursionError
        return read(given)

    with monkeypatch.context() as patched:
        patched.setattr("tocsin.connections.event_grid.read", fails)
        assert posted(engine, grid(1), grid(2)) == 200, "somebody is notified, and its sender could only send the same"
    assert [each.subject.name for each in stage.inner.kept(Failing)["all"].value.open.values()] == ["e1"]
    assert [alert.state.value for alert in stage.inner.open_alerts()] == ["pending"]
    assert posted(engine, grid(1), grid(2)) == 200
    assert list(engine.events) == ["e2", "e1"]


def test_what_is_remembered_does_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.engine.react._REMEMBERED", 3)
    engine = misconfigured().engine
    for number in range(6):
        react(engine, grid(number), T0)
    assert list(engine.events) == ["e3", "e4", "e5"]


def test_ten_forged_events_a_minute_and_a_tick_beside_them_act_once() -> None:
    stage = misconfigured()
    for minute in range(12):
        for number in range(10):
            react(stage.engine, grid(minute * 10 + number, T0 + minute * MINUTE), T0 + minute * MINUTE)
        stage.engine.tick(T0 + minute * MINUTE)
    assert stage.platform.changes == 1
    assert stage.oncall.kinds().count("fired") == 1


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
JSON = st.recursive(LEAVES, lambda inner: st.dictionaries(st.text(max_size=9), inner) | st.lists(inner), max_leaves=8)
KEYS = st.sampled_from(
    ["id", "type", "eventType", "topic", "source", "subject", "time", "eventTime", "data", "data_base64", "specversion"]
)


@given(st.dictionaries(KEYS, JSON, max_size=9))
def test_no_event_makes_the_reader_fall(event: dict[str, Any]) -> None:
    try:
        assert isinstance(read(event).resources, tuple)
    except ValueError as error:
        assert "it is no CloudEvent" in str(error)


# Microsoft's models


def test_the_kinds_that_are_looked_at_are_named_as_microsoft_does() -> None:
    names = ("ResourceWriteSuccess", "ResourceActionSuccess", "ResourceDeleteSuccess")
    assert event_grid.awaited() == {f"Microsoft.Resources.{name}" for name in names}


def test_a_cloud_event_without_an_id_is_given_none() -> None:
    """Its model makes one up, by which a repetition could not be told."""
    stage = misconfigured()
    for missing in ({"id": None}, {"id": ""}):
        assert react(stage.engine, cloud(**missing), T0) is None
    assert {line["why"] for line in stage.log.named("event ignored")} == {"it has no id or no time"}


def test_a_cloud_event_without_a_time_is_not_of_now() -> None:
    stage = misconfigured()
    assert react(stage.engine, cloud(time=None), T0) is None
    assert stage.happened == []


@pytest.mark.parametrize("extension", ["traceparent", "aeg-output", "Odd_Name"])
def test_extensions_of_a_cloud_event_are_not_read_whatever_they_are_called(extension: str) -> None:
    assert react(misconfigured().engine, cloud(**{extension: "x"}), T0)


@pytest.mark.parametrize("odd", ["yesterday", 7, [], "2026-11-20", True])
@pytest.mark.parametrize("form", [grid, cloud])
def test_an_alert_is_taken_out_of_an_event_whose_time_cannot_be_read(form: Any, odd: Any) -> None:
    stage, name = Stage(), "eventTime" if form is grid else "time"
    assert react(stage.engine, form(data=schema(), **{name: odd}), T0 + MINUTE)
    assert stage.oncall.kinds() == ["fired"]


def test_an_event_that_no_model_reads_is_ignored_and_its_neighbours_are_not() -> None:
    stage = misconfigured()
    nameless = {key: value for key, value in cloud(1).items() if key != "source"}
    found = answer("POST", {}, json.dumps([nameless, cloud(2)]).encode(), App(stage.engine, FrozenClock(T0)))
    assert (found.status, json.loads(found.body)) == (200, {"taken": 1, "ignored": 1})
    assert stage.log.named("event ignored")[0]["why"] == "it is no CloudEvent: ValueError"
