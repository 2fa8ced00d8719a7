"""The functions as Azure sees them: three triggers, each a thin wrapper, and a health page that always answers."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest

from tests.conftest import ROOT
from tocsin import app as composition
from tocsin.local.world import World
from tocsin.settings import Settings

T0 = datetime(2026, 11, 20, 3, tzinfo=UTC)


@pytest.fixture(scope="module")
def functions() -> dict[str, Any]:
    """The functions by name, of a module of their own: the decorator library gives a module's out only once."""
    spec = importlib.util.spec_from_file_location("functions_under_test", ROOT / "function_app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {each.get_function_name(): each for each in module.app.get_functions()}


@pytest.fixture(autouse=True)
def _composed_anew() -> Iterator[None]:
    composition.current.cache_clear()
    yield
    composition.current.cache_clear()


class Due(func.TimerRequest):
    """A timer that is due now."""

    @property
    def past_due(self) -> bool:
        return False


def binding(function: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(function.get_function_json())["bindings"][0]
    return found


def user_function(functions: dict[str, Any], name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = functions[name].get_user_function()
    return found


def test_the_triggers_are_bound_as_documented(functions: dict[str, Any]) -> None:
    assert {name: binding(each)["type"] for name, each in functions.items()} == {
        "tick": "timerTrigger",
        "react": "eventGridTrigger",
        "evaluate": "queueTrigger",
        "given_up": "queueTrigger",
        "events": "httpTrigger",
        "link": "httpTrigger",
        "health": "httpTrigger",
        "health_details": "httpTrigger",
    }
    assert binding(functions["tick"])["schedule"] == "%TICK_SCHEDULE%"
    assert (binding(functions["health"])["route"], binding(functions["health"])["methods"]) == ("health", ["GET"])


def test_a_link_is_answered_with_a_page(functions: dict[str, Any], world: World) -> None:
    request = func.HttpRequest("GET", "http://localhost/api/link", params={"token": "x"}, body=b"")
    answer = user_function(functions, "link")(request)
    assert (answer.status_code, answer.mimetype) == (400, "text/html")  # it was never made here
    assert answer.headers["Cache-Control"] == "no-store"
    assert binding(functions["link"])["methods"] == ["GET", "POST"]


def test_host_json_is_what_the_host_reads() -> None:
    host = json.loads((ROOT / "host.json").read_text())
    assert host["version"] == "2.0"
    assert host["extensionBundle"]["version"] == "[4.*, 5.0.0)"
    assert host["extensions"]["http"]["routePrefix"] == "api"
    assert host["telemetryMode"] == "OpenTelemetry"


def test_health_says_why_only_to_who_has_a_key(functions: dict[str, Any], world: World) -> None:
    """The host checks the key of a function whose level is not anonymous."""
    level = {name: binding(functions[name])["authLevel"].lower() for name in ("health", "health_details")}
    assert level == {"health": "anonymous", "health_details": "function"}
    user_function(functions, "tick")(Due())
    status, said = asked(functions, "health")
    assert (status, said) == (200, {"status": "ok", "last_tick": T0.isoformat()})


def test_health_without_a_key_reads_the_heartbeat_alone(functions: dict[str, Any], world: World) -> None:
    user_function(functions, "tick")(Due())
    store = composition.current().engine.store
    reads = {"last_beat", "last_failed"}
    for name in {each for each in dir(store) if not each.startswith("_")} - reads:
        setattr(store, name, None)
    assert asked(functions, "health")[0] == 200


def asked(functions: dict[str, Any], name: str = "health_details") -> tuple[int, dict[str, Any]]:
    request = func.HttpRequest("GET", "http://localhost/api/health", body=b"")
    answer = user_function(functions, name)(request)
    return answer.status_code, json.loads(answer.get_body())


def test_health_says_which_file_is_missing_where_there_is_none(
    functions: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AzureWebJobsScriptRoot", str(tmp_path))
    status, said = asked(functions)
    assert (status, said["status"]) == (503, "broken")
    assert any("tocsin.yaml" in problem for problem in said["problems"])
    assert "no target is watched" in said["problems"]


def test_health_answers_even_when_nothing_can_be_composed(
    functions: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_STATIC_TOKEN", "a secret that must not be shown")
    monkeypatch.setenv("TOCSIN_ARM_ENDPOINT", "https://management.azure.com")
    status, said = asked(functions)
    assert (status, said["status"]) == (503, "broken")
    assert "composition failed" in said["problems"][0]
    assert "must not be shown" not in json.dumps(said)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with World(T0, seed=1) as made:
        values = {**made.settings(), "TOCSIN_STATE": str(tmp_path / "state.sqlite")}
        parts = composition.Parts(clock=made.clock)
        monkeypatch.setattr(composition, "current", _once(lambda: composition.compose(Settings(ROOT, values), parts)))
        yield made


def _once(make: Callable[[], composition.App]) -> Any:
    from functools import cache

    return cache(make)


def test_tick_and_react_run_the_same_path_against_the_local_world(functions: dict[str, Any], world: World) -> None:
    world.bypass_approver()
    world.advance(T0 + timedelta(minutes=3))
    user_function(functions, "tick")(Due())
    assert [alert.state.value for alert in composition.current().engine.store.open_alerts()] == ["pending"]
    world.advance(T0 + timedelta(minutes=4))
    target = world.target()
    subject = (
        f"/subscriptions/{target.subscription}/resourceGroups/{target.resource_group}"
        f"/providers/Microsoft.App/containerApps/{target.container_app}"
    )
    event = func.EventGridEvent(
        id="1",
        topic=f"/subscriptions/{target.subscription}/resourceGroups/{target.resource_group}",
        subject=subject,
        data={},
        event_type="Microsoft.Resources.ResourceWriteSuccess",
        event_time=T0 + timedelta(minutes=3),
        data_version="1",
    )
    user_function(functions, "react")(event)
    assert [alert.state.value for alert in composition.current().engine.store.open_alerts()] == ["firing"]
    assert len([card for card in world.teams.cards if "fired" in str(card)]) == 1  # beside the heartbeat
    status, said = asked(functions)
    assert (status, said["status"], said["problems"]) == (200, "ok", [])


def test_health_names_a_watcher_whose_ticks_have_stopped(functions: dict[str, Any], world: World) -> None:
    user_function(functions, "tick")(Due())
    world.clock.advance_to(T0 + timedelta(minutes=6))
    status, said = asked(functions)
    assert (status, said["status"]) == (503, "broken")
    assert said["problems"][0] == f"the last tick ended 0:06:00 ago, at {T0.isoformat()}"
    assert asked(functions, "health") == (503, {"status": "broken", "last_tick": T0.isoformat()})


def test_health_names_a_watcher_that_never_ticked_once_it_should_have(functions: dict[str, Any], world: World) -> None:
    assert asked(functions)[0] == 200
    world.clock.advance_to(T0 + timedelta(minutes=6))
    assert asked(functions)[0] == 503
    assert asked(functions, "health")[0] == 503


def test_health_says_what_the_last_tick_failed_at(
    functions: dict[str, Any], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = composition.current().engine.store
    monkeypatch.setattr(store, "load_all", lambda _: 1 / 0)
    user_function(functions, "tick")(Due())
    status, said = asked(functions)
    name = world.target().name
    assert (status, said["status"]) == (200, "degraded")
    assert f"the last tick failed at evaluating on {name}: ZeroDivisionError" in " ".join(said["problems"])
    assert asked(functions, "health")[1]["status"] == "degraded"


def test_a_receiver_whose_secret_is_missing_is_named_and_silences_no_other(world: World, tmp_path: Path) -> None:
    values = {**world.settings(), "TEAMS_WEBHOOK_URL": "", "TOCSIN_STATE": str(tmp_path / "other.sqlite")}
    app = composition.compose(Settings(ROOT, values))
    assert set(app.engine.notifiers) == {"oncall"}
    assert "the app setting TEAMS_WEBHOOK_URL is not set" in app.problems[0].message


def test_a_message_of_the_queue_that_is_no_text_is_given_up_without_failing(
    functions: dict[str, Any], world: World
) -> None:
    message = func.QueueMessage(body=b"\xff\xfe{")
    with pytest.raises(ValueError, match="not a request to evaluate a target"):
        user_function(functions, "evaluate")(message)
    user_function(functions, "given_up")(message)
    assert composition.current().engine.store.open_alerts() == []
