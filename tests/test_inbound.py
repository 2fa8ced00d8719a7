"""Alerts of Azure Monitor with fields missing, without an end, in masses and in bodies that nobody should send."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stage import CONFIG, MINUTE, T0, Stage
from tests.test_native import posted, schema
from tocsin.app import App
from tocsin.core import body as bodies
from tocsin.core import native as natives
from tocsin.core.alert import STORM
from tocsin.core.instance import texts
from tocsin.core.native import read
from tocsin.core.route import Route
from tocsin.ports import StoreUnavailable, TooLarge
from tocsin.testing import FrozenClock
from tocsin.webhook import answer

CASES = Path(__file__).parent / "cases"
MORNING = datetime.fromisoformat("2026-11-29T08:00:00Z")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def case(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CASES / name).read_text())
    return found


def changed(message: dict[str, Any], **essentials: Any) -> dict[str, Any]:
    """Return the message with these fields, and without those that are ``...``."""
    made = copy.deepcopy(message)
    made["data"]["essentials"] |= essentials
    for name in [name for name, value in essentials.items() if value is ...]:
        del made["data"]["essentials"][name]
    return made


def post(stage: Stage, now: datetime, *messages: dict[str, Any]) -> None:
    """Post them at ``now`` and let the next tick notify."""
    found = answer("POST", {}, json.dumps(messages).encode(), App(stage.engine, FrozenClock(now)))
    assert found.status == 200, found.body
    stage.engine.tick(now)


def kinds(stage: Stage) -> list[str]:
    return [each.kind.value for each in stage.oncall.got if each.rule.startswith("azure_alert")]


def still_open(stage: Stage) -> list[str]:
    return [alert.rule for alert in stage.inner.open_alerts() if alert.open and alert.rule.startswith("azure")]


# Case 3: a resolution that does not say when


@pytest.mark.parametrize("resolved", [..., None, "", "yesterday", 7, [], {}, "0001-01-01T00:00:00Z"])
def test_a_resolution_without_a_time_ends_its_alert_when_it_arrives(resolved: Any) -> None:
    stage, over = Stage(), changed(case("03-resolved-without-time.json"), resolvedDateTime=resolved)
    post(stage, MORNING + MINUTE, changed(over, monitorCondition="Fired"))
    post(stage, MORNING + 9 * MINUTE, over)
    assert kinds(stage) == ["fired", "resolved"]
    assert stage.oncall.got[-1].at == MORNING + 9 * MINUTE
    assert still_open(stage) == []
    assert not any("common alert schema" in str(notice) for notice in stage.oncall.got)


@pytest.mark.parametrize("fired", [..., None])
def test_a_resolution_ends_an_alert_that_did_not_say_when_it_fired(fired: Any) -> None:
    stage, over = Stage(), case("03-resolved-without-time.json")
    post(stage, MORNING + 5 * MINUTE, changed(over, monitorCondition="Fired", firedDateTime=fired))
    post(stage, MORNING + 9 * MINUTE, changed(over, firedDateTime=MORNING.isoformat()))
    assert kinds(stage) == ["fired", "resolved"]
    assert still_open(stage) == []


def test_a_resolution_without_a_time_that_comes_first_or_twice_tells_its_episode_once() -> None:
    for order in itertools.permutations([0, 1, 1]):
        stage, over = Stage(), case("03-resolved-without-time.json")
        for number, which in enumerate(order):
            message = over if which else changed(over, monitorCondition="Fired")
            post(stage, MORNING + (2 + number) * MINUTE, message)
        assert kinds(stage) == ["fired", "resolved"], order
        assert still_open(stage) == []


def test_a_resolution_without_a_time_does_not_end_a_later_firing() -> None:
    stage, late = Stage(), schema("Resolved", resolvedDateTime=None)
    post(stage, T0 + MINUTE, schema())
    post(stage, T0 + 11 * MINUTE, schema(at=T0 + 10 * MINUTE))
    post(stage, T0 + 12 * MINUTE, late)
    assert still_open(stage) == ["azure_alert_p1"]


@pytest.mark.parametrize("fired", [..., None, "", "yesterday", 7])
@pytest.mark.parametrize("resolved", [..., "2026-11-20T03:09:00Z"])
def test_an_alert_that_never_says_when_it_fired_fires_as_it_arrives_and_ends(fired: Any, resolved: Any) -> None:
    stage = Stage()
    for minute in (1, 2):
        post(stage, T0 + minute * MINUTE, changed(schema(), firedDateTime=fired))
    assert kinds(stage) == ["fired"], "a repeat is no second episode"
    over = changed(schema("Resolved"), firedDateTime=fired, resolvedDateTime=resolved)
    post(stage, T0 + 10 * MINUTE, over)
    assert kinds(stage) == ["fired", "resolved"]
    assert still_open(stage) == []


@pytest.mark.parametrize("condition", ["resolved", "RESOLVED", " Resolved "])
def test_a_condition_is_read_in_any_case(condition: str) -> None:
    stage = Stage()
    post(stage, T0 + MINUTE, schema(monitorCondition="FIRED", severity="SEV0"))
    assert stage.oncall.got[0].rule == "azure_alert_p0"
    post(stage, T0 + 6 * MINUTE, schema("Resolved", monitorCondition=condition, severity="SEV0"))
    assert kinds(stage) == ["fired", "resolved"]


@pytest.mark.parametrize("condition", [..., None, "", "Activated", 1, [], {"is": "Fired"}])
def test_a_condition_that_is_not_known_fires_under_its_own_name_and_says_so(condition: Any) -> None:
    stage = Stage()
    post(stage, T0 + MINUTE, changed(schema(), monitorCondition=condition))
    (notice,) = stage.oncall.got
    assert notice.title == "Azure Monitor alert replicas-restart on sales-api."
    assert "its condition is" in str(notice.facts)


@pytest.mark.parametrize("odd", [None, "", 7, 1e400, True, [], ["x"], {}, {"a": {"b": 1}}, "x" * 5000, "\ud800"])
@pytest.mark.parametrize("name", sorted(schema("Resolved")["data"]["essentials"]))
def test_no_odd_field_keeps_an_alert_from_being_notified(name: str, odd: Any) -> None:
    stage = Stage()
    message = changed(schema(), **{name: odd})
    post(stage, T0 + MINUTE, message)
    assert kinds(stage) == ["fired"]
    assert "common alert schema" not in str(stage.oncall.got)


# Case 4: events without an end


def test_an_event_of_the_activity_log_is_notified_once_and_never_called_resolved() -> None:
    stage = Stage()
    post(stage, MORNING + MINUTE, case("04-activity-log.json"))
    for hour in range(1, 8 * 24):
        stage.engine.tick(MORNING + hour * HOUR)
    assert kinds(stage) == ["fired"]
    assert "degraded in one region" in str(stage.oncall.got[0].facts)
    assert still_open(stage) == []


def test_an_event_that_waits_in_a_group_or_is_delivered_again_is_notified_once() -> None:
    config = CONFIG.model_copy(update={"routes": Route.model_validate({"to": ["oncall"], "group_wait": "5m"})})
    stage = Stage(config=config)
    for minute in range(1, 10):
        post(stage, MORNING + minute * MINUTE, case("04-activity-log.json"))
    assert kinds(stage) == ["fired"]


def test_another_incident_of_the_same_service_is_notified_by_itself() -> None:
    stage, other = Stage(), case("04-activity-log.json")
    other["data"]["alertContext"]["properties"]["title"] = "Azure OpenAI: another one"
    other["data"]["essentials"]["originAlertId"] = "another"
    post(stage, MORNING + MINUTE, case("04-activity-log.json"), other)
    assert kinds(stage) == ["fired", "fired"]


def test_what_had_an_end_after_all_is_told_as_resolved() -> None:
    stage = Stage()
    post(stage, MORNING + MINUTE, case("04-activity-log.json"))
    post(stage, MORNING + 9 * MINUTE, changed(case("04-activity-log.json"), monitorCondition="Resolved"))
    assert kinds(stage) == ["fired", "resolved"]


def log_alert(minute: int, condition: str = "Fired", dimension: str = "a") -> dict[str, Any]:
    at = T0 + minute * MINUTE
    made = schema(condition, at, signalType="Log", monitoringService="Log Alerts V2", originAlertId=f"o{minute}")
    first = made["data"]["alertContext"]["condition"]["allOf"][0]
    first |= {"searchQuery": "traces", "dimensions": [{"name": "agent", "value": dimension}], "metricValue": minute}
    return made


def test_a_log_alert_that_fires_every_five_minutes_under_new_ids_is_one_alert_and_one_notification() -> None:
    stage = Stage()
    for minute in range(0, 600, 5):
        post(stage, T0 + (minute + 1) * MINUTE, log_alert(minute))
        assert len(still_open(stage)) == 1
    for hour in range(11, 72):
        stage.engine.tick(T0 + hour * HOUR)
    assert kinds(stage) == ["fired"]
    assert still_open(stage) == [], "it expired a day after its last report"


def test_log_alerts_of_several_dimensions_are_several_alerts() -> None:
    stage = Stage()
    post(stage, T0 + MINUTE, log_alert(0, dimension="a"), log_alert(0, dimension="b"))
    assert kinds(stage) == ["fired", "fired"]


def test_a_log_alert_with_a_state_ends_with_its_own_resolution_and_fires_anew() -> None:
    stage = Stage()
    post(stage, T0 + MINUTE, log_alert(0))
    post(stage, T0 + 6 * MINUTE, log_alert(0, "Resolved"))
    post(stage, T0 + 21 * MINUTE, log_alert(20))
    assert kinds(stage) == ["fired", "resolved", "fired"]


def test_a_late_resolution_of_an_earlier_firing_does_not_end_the_log_alert() -> None:
    stage = Stage()
    post(stage, T0 + MINUTE, log_alert(0))
    post(stage, T0 + 21 * MINUTE, log_alert(20))
    post(stage, T0 + 22 * MINUTE, changed(log_alert(0, "Resolved"), resolvedDateTime=None))
    assert still_open(stage) == ["azure_alert_p1"]
    post(stage, T0 + 30 * MINUTE, log_alert(20, "Resolved"))
    assert kinds(stage) == ["fired", "resolved"]


def test_people_are_reminded_of_an_alert_that_can_end_until_it_expires_and_that_is_not_called_resolved() -> None:
    stage = Stage()
    post(stage, T0 + MINUTE, schema())
    for hour in range(1, 8 * 24):
        stage.engine.tick(T0 + hour * HOUR)
    assert kinds(stage).count("fired") == 42, "every four hours"
    last = stage.oncall.got[-1]
    assert last.kind.value == "no longer reported"
    assert last.title.startswith("No longer reported, which does not say that it is over: Azure Monitor alert")
    assert "resolved" not in str(last).lower().replace("kind.resolved", "")


def test_messages_that_cannot_be_read_are_one_alert_however_they_differ() -> None:
    stage = Stage()
    for minute in range(1, 4):
        post(stage, T0 + minute * MINUTE, {"schemaId": f"Another{minute}", "data": {"context": {"at": minute}}})
    assert kinds(stage) == ["fired"]
    for hour in range(1, 26):
        stage.engine.tick(T0 + hour * HOUR)
    assert kinds(stage)[-1] == "no longer reported"


# A store that takes nothing


def failing(stage: Stage, error: Exception) -> Callable[[], None]:
    """Have a store that takes no P0; return what mends it."""
    commit = stage.inner.commit

    def fails(rule: str, *rest: Any) -> None:
        if rule == "azure_alert_p0":
            raise error
        commit(rule, *rest)

    stage.inner.commit = fails  # type: ignore[method-assign, assignment]

    def mend() -> None:
        stage.inner.commit = commit  # type: ignore[method-assign]

    return mend


def own_errors(stage: Stage) -> list[str]:
    return [notice.title for notice in stage.oncall.got if notice.rule == "tocsin_error"]


@pytest.mark.parametrize("error", [StoreUnavailable("throttled"), OSError("full")])
def test_a_store_that_takes_nothing_for_now_answers_503_and_the_other_events_are_taken(error: Exception) -> None:
    stage = Stage()
    mend = failing(stage, error)
    messages = [schema(severity="Sev0"), schema(originAlertId="other")]
    assert posted(stage, messages)[0] == 503
    assert still_open(stage) == ["azure_alert_p1"]
    mend()
    assert posted(stage, messages)[0] == 200
    assert sorted(still_open(stage)) == ["azure_alert_p0", "azure_alert_p1"]


@pytest.mark.parametrize("error", [ValueError("no"), TooLarge("a row holds 480000"), MemoryError(), RecursionError()])
def test_an_alert_that_can_never_be_entered_is_notified_and_its_sender_may_forget_it(error: Exception) -> None:
    stage = Stage()
    failing(stage, error)
    messages = [schema(severity="Sev0"), schema(originAlertId="other")]
    assert posted(stage, messages)[0] == 200
    assert posted(stage, messages)[0] == 200
    assert still_open(stage) == ["azure_alert_p1"]
    stage.run(range(2, 4))
    (title,) = own_errors(stage)
    assert "inbound alert replicas-restart on sales" in title
    assert "look at it where it came from" in stage.oncall.got[-1].text + stage.oncall.got[0].text


def test_an_event_that_cannot_be_read_keeps_no_other_out(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, read = Stage(), natives.read

    def reads(given: Any, now: datetime) -> natives.Native | None:
        if "bad" in str(given):
            raise RecursionError
        return read(given, now)

    monkeypatch.setattr(natives, "read", reads)
    assert posted(stage, [{"id": "bad"}, schema()]) == (200, {"taken": 1, "ignored": 1})
    stage.run(range(2, 4))
    assert still_open(stage) == ["azure_alert_p1"]
    (title,) = own_errors(stage)
    assert "inbound alert bad" in title


def test_an_alert_that_the_store_refuses_alone_is_notified_when_that_lasts() -> None:
    stage = Stage()
    failing(stage, StoreUnavailable("400"))
    app = App(stage.engine, FrozenClock(T0))
    for minute in (0, 1, 2, 3):
        app = replace(app, clock=FrozenClock(T0 + minute * MINUTE))
        assert answer("POST", {}, json.dumps(schema(severity="Sev0")).encode(), app).status == 503
        stage.run(range(minute, minute + 1))
    assert len(own_errors(stage)) == 1


# Masses


def test_more_alerts_than_may_be_open_alone_are_one_storm_which_ends_when_they_do() -> None:
    stage = Stage()
    messages = [schema(originAlertId=f"o{number}", alertRule=f"rule {number}") for number in range(260)]
    for start in range(0, 260, 65):
        post(stage, T0 + MINUTE, *messages[start : start + 65])
    opened = [alert for alert in stage.inner.open_alerts() if alert.open and alert.rule == "azure_alert_p1"]
    assert len(opened) == 201
    (storm,) = [alert for alert in opened if alert.by == STORM]
    assert storm.value == 201
    over = [schema("Resolved", originAlertId=f"o{number}", alertRule=f"rule {number}") for number in range(200)]
    for start in range(0, 200, 50):
        post(stage, T0 + 9 * MINUTE, *over[start : start + 50])
    assert still_open(stage) == []


def test_ended_alerts_are_kept_up_to_a_number_and_the_newest_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.core.native._MOST_ENDED", 20)
    stage = Stage()
    for number in range(60):
        now = T0 + MINUTE + timedelta(seconds=number)
        about = {"originAlertId": f"o{number}", "alertRule": f"rule {number}", "resolvedDateTime": now.isoformat()}
        post(stage, now, schema("Resolved", **about))
    kept = [texts(alert.by)["alert"] for alert in stage.inner.open_alerts() if alert.rule.startswith("azure_alert")]
    assert len(kept) == 20
    assert sorted(kept) == sorted(f"rule {number}" for number in range(40, 60))
    post(stage, T0 + 3 * MINUTE, schema(originAlertId="burning", alertRule="burning"))
    assert still_open(stage) == ["azure_alert_p1"], "one that fires is never forgotten"


# Bodies


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"schemaId": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
        (b"[" * 500_000, 400),
        (b'{"a":' * 70 + b"1" + b"}" * 70, 400),
        (b'{"a": ' + b"9" * 10_000 + b"}", 400),
        (b'{"a": "' + b"x" * 1_100_000 + b'"}', 413),
        (b'"' + b'\\"' * 400_000, 400),
        (b"\xff\xfe{", 400),
    ],
)
def test_a_body_too_large_or_too_deep_is_refused_with_a_reason(body: bytes, status: int) -> None:
    stage = Stage()
    found, words = posted(stage, body)
    assert (found, bool(words["error"])) == (status, True)
    assert stage.happened == []


def test_no_odd_number_or_repeated_key_keeps_an_alert_out() -> None:
    text = json.dumps(schema()).replace(
        '"metricValue": 7.0', '"metricValue": NaN, "metricValue": 1e999, "x": -Infinity'
    )
    stage = Stage()
    assert posted(stage, text.encode())[0] == 200
    assert still_open(stage) == ["azure_alert_p1"]


@given(st.text(alphabet='[]{}"\\,:1a\n'))
def test_a_body_is_read_as_the_library_reads_it(text: str) -> None:
    try:
        expected = json.loads(text)
    except (ValueError, RecursionError):
        with pytest.raises(ValueError, match="not JSON"):
            bodies.parsed(text.encode())
        return
    assert bodies.parsed(text.encode()) == expected


def test_brackets_in_text_are_no_depth() -> None:
    assert bodies.parsed(json.dumps({"a": "[" * 1000}).encode()) == {"a": "[" * 1000}


@pytest.mark.parametrize("depth", [10, 200])
def test_a_deep_field_is_read_as_nothing(depth: int) -> None:
    deep: Any = "x"
    for _ in range(depth):
        deep = [deep]
    message = changed(schema(), alertRule=deep, originAlertId=deep, alertTargetIDs=deep, description=deep)
    assert read(message, T0) is not None
