"""The watcher tells of itself, under its own name, to whoever watches it; and watches on when nobody listens."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.conftest import ROOT
from tests.stage import ERRORS, MINUTE, MISCONFIGURED, T0, Stage
from tocsin.app import App, Parts, compose
from tocsin.core.answer import NoAnswer, Why
from tocsin.engine.counting import SILENT, CountedTelemetry, counted
from tocsin.local.webhooks import SECRET
from tocsin.local.world import ROLE, World
from tocsin.ports import Counted, StoreUnavailable
from tocsin.settings import Settings
from tocsin.telemetry import own
from tocsin.telemetry.own import Own, taken_apart

NIGHT = datetime(2026, 11, 20, 3, tzinfo=UTC)
KEY = "11111111-2222-3333-4444-555555555555"


class Ingestion:
    """What Application Insights was sent; ``free`` is cleared to keep it waiting for its answer."""

    def __init__(self, server: HTTPServer) -> None:
        self.items: list[dict[str, Any]] = []
        self.paths: set[str] = set()
        self.free = threading.Event()
        self.free.set()
        self.connection = f"InstrumentationKey={KEY};IngestionEndpoint={server.url_for('/')}"
        server.expect_request(re.compile(".*")).respond_with_handler(self._take)

    def _take(self, request: Request) -> Response:
        items = json.loads(request.get_data())
        self.free.wait(10)
        self.items += items
        self.paths.add(request.path)
        answer = {"itemsReceived": len(items), "itemsAccepted": len(items), "errors": []}
        return Response(json.dumps(answer), content_type="application/json")

    def data(self, kind: str) -> list[dict[str, Any]]:
        return [each["data"]["baseData"] for each in self.items if each["data"]["baseType"] == kind]

    def counts(self) -> Counter[tuple[str, ...]]:
        """Return every count by its name and the values of its labels."""
        found: Counter[tuple[str, ...]] = Counter()
        for each in self.data("MetricData"):
            (metric,) = each["metrics"]
            found[(metric["name"], *(each["properties"] or {}).values())] += metric["value"]
        return found

    def lines(self) -> list[tuple[str, dict[str, str]]]:
        """Return every line of the log: its message and its properties."""
        return [(each["message"], each["properties"]) for each in self.data("MessageData")]


@pytest.fixture
def ingestion(httpserver: HTTPServer) -> Iterator[Ingestion]:
    made = Ingestion(httpserver)
    yield made
    made.free.set()


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what telling of oneself sets for the whole process."""
    log, made = logging.getLogger(own.NAME), list[Own]()
    level, begin = log.level, Own.__init__

    def noted(self: Own, *args: Any) -> None:
        begin(self, *args)
        made.append(self)

    monkeypatch.setattr(Own, "__init__", noted)
    before = dict(os.environ)
    yield
    for each in made:
        each.close()
    own.connect.cache_clear()
    log.setLevel(level)
    for name in set(os.environ) - set(before):
        del os.environ[name]


@pytest.fixture
def world() -> Iterator[World]:
    with World(NIGHT, seed=1) as made:
        yield made


def app(world: World, tmp_path: Path, connection: str, **changes: str) -> App:
    told = {"APPLICATIONINSIGHTS_CONNECTION_STRING": connection, "TOCSIN_STATE": str(tmp_path / "state.sqlite")}
    return compose(Settings(ROOT, {**world.settings(), **told, **changes}), Parts(clock=world.clock))


def test_ticks_are_told_under_the_watchers_own_name(world: World, tmp_path: Path, ingestion: Ingestion) -> None:
    watcher = app(world, tmp_path, ingestion.connection)
    world.bypass_approver()
    slots = 0
    for minute in (3, 4):
        world.advance(NIGHT + timedelta(minutes=minute))
        slots += watcher.tick().slots
    assert ingestion.paths == {"/v2.1/track"}
    assert {each["tags"]["ai.cloud.role"] for each in ingestion.items} == {"tocsin"}
    assert {each["tags"]["ai.cloud.roleInstance"] for each in ingestion.items} == {socket.gethostname()}
    counts = ingestion.counts()
    assert counts[("tocsin.ticks", "timer", "done")] == 2
    assert counts[("tocsin.tick.duration", "timer")] > 0
    assert counts[("tocsin.slots", "sales-research")] == slots > 0
    assert counts[("tocsin.verdicts", "sales-research", "breached")] > 0
    assert counts[("tocsin.verdicts", "sales-research", "clear")] > 0
    assert counts[("tocsin.queries", "sales-research", "answered")] > 0
    # The page, and the first heartbeat.
    assert counts[("tocsin.deliveries", "teams", "accepted", "delivered")] == 2
    assert counts[("tocsin.deliveries", "pagerduty", "accepted", "delivered")] == 2
    lines = ingestion.lines()
    assert [fields["slots"] for message, fields in lines if message == "tick"]
    (fired,) = [fields for message, fields in lines if message == "alert" and fields["state"] == "firing"]
    assert (fired["rule"], fired["target"]) == ("hitl_misconfigured", "sales-research")


def test_no_secret_of_a_receiver_is_told(world: World, tmp_path: Path, ingestion: Ingestion) -> None:
    watcher = app(world, tmp_path, ingestion.connection)
    world.bypass_approver()
    for minute in (3, 4):
        world.advance(NIGHT + timedelta(minutes=minute))
        watcher.tick()
    everything = json.dumps(ingestion.items)
    assert '"delivery"' in everything
    values = world.settings()
    secrets = (SECRET, values["TEAMS_WEBHOOK_URL"], "workflows/team", values["PAGERDUTY_ROUTING_KEY"])
    assert [secret for secret in secrets if secret in everything] == []


def test_the_exporter_tells_microsoft_nothing_of_itself(world: World, tmp_path: Path, ingestion: Ingestion) -> None:
    app(world, tmp_path, ingestion.connection).tick()
    names = {metric["name"] for each in ingestion.data("MetricData") for metric in each["metrics"]}
    assert names <= {f"tocsin.{name}" for name in (*get_args(Counted), "tick.duration")}
    threads = " ".join(each.name for each in threading.enumerate())
    assert not re.search("Statsbeat|OneSettings|Configuration|Storage|QuickPulse|Periodic", threads, re.IGNORECASE)


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def test_an_endpoint_that_is_dead_fails_no_tick(world: World, tmp_path: Path) -> None:
    dead = f"InstrumentationKey={KEY};IngestionEndpoint=http://127.0.0.1:{closed_port()}/"
    watcher = app(world, tmp_path, dead)
    assert watcher.tick().slots > 0
    watcher.tick()
    assert watcher.engine.store.last_beat() == NIGHT


def test_an_endpoint_that_is_slow_holds_a_tick_up_for_two_seconds_at_most(
    world: World, tmp_path: Path, ingestion: Ingestion
) -> None:
    watcher = app(world, tmp_path, ingestion.connection)
    ingestion.free.clear()
    for _ in range(2):  # the second finds the first still being sent
        watcher.engine.tally.count("ticks", cause="timer", outcome="done")
        begun = time.monotonic()
        watcher.engine.tally.flush()
        assert time.monotonic() - begun < own.PATIENCE + 0.5
    assert sum(each.name == "tocsin-own-telemetry" for each in threading.enumerate()) == 1
    ingestion.free.set()
    watcher.engine.tally.flush()  # waits for the first to end
    watcher.engine.tally.flush()
    assert ingestion.counts()[("tocsin.ticks", "timer", "done")] == 2, "what was counted meanwhile is told later"


def test_an_endpoint_that_refuses_fails_no_tick(world: World, tmp_path: Path, httpserver: HTTPServer) -> None:
    httpserver.expect_request(re.compile(".*")).respond_with_data("no", status=500)
    watcher = app(world, tmp_path, f"InstrumentationKey={KEY};IngestionEndpoint={httpserver.url_for('/')}")
    assert watcher.tick().slots > 0
    sent = [request.get_data() for request, _ in httpserver.log]
    assert len(sent) == len(set(sent)) >= 1, "nothing is sent again"


def test_a_connection_string_that_is_none_is_named_and_not_shown(world: World, tmp_path: Path) -> None:
    watcher = app(world, tmp_path, "a secret that must not be shown")
    assert watcher.engine.tally is SILENT
    assert watcher.tick().slots > 0
    (problem,) = [each for each in watcher.health()["problems"] if "APPLICATIONINSIGHTS" in each]
    assert "must not be shown" not in problem


def test_the_watcher_never_goes_by_the_name_of_what_it_watches(
    world: World, tmp_path: Path, ingestion: Ingestion
) -> None:
    watcher = app(world, tmp_path, ingestion.connection, TOCSIN_ROLE_NAME=ROLE, WATCHED_ROLE_NAME=ROLE)
    watcher.tick()
    assert ingestion.items == []
    assert "TOCSIN_ROLE_NAME" in watcher.health()["problems"][0]


def test_composing_anew_tells_nothing_twice_and_the_environment_renames_nobody(
    world: World, tmp_path: Path, ingestion: Ingestion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "sales-research-api")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.namespace=sales")
    first, second = (app(world, tmp_path, ingestion.connection, TOCSIN_ROLE_NAME="night-watch") for _ in range(2))
    assert first.engine.tally is second.engine.tally
    second.tick()
    assert [message for message, _ in ingestion.lines()].count("tick") == 1
    assert {each["tags"]["ai.cloud.role"] for each in ingestion.items} == {"night-watch"}


def test_lines_are_taken_apart_into_their_event_and_its_fields() -> None:
    line = json.dumps(
        {"event": "asked", "level": "info", "rows": 3, "statistics": {"cpu": 1}, "timestamp": "t", "x": None}
    )
    assert taken_apart(line) == ("asked", {"rows": 3, "statistics": '{"cpu": 1}'})
    assert [taken_apart(each) for each in ("plain words", "[1]", "{}", "3")] == [
        ("plain words", {}),
        ("[1]", {}),
        ("{}", {}),
        ("3", {}),
    ]


class Kept:
    """A tally that can be read."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()

    def count(self, what: Counted, number: int = 1, /, **labels: str) -> None:
        self.counts[(what, *labels.values())] += number

    def ticked(self, seconds: float, /, **labels: str) -> None:
        self.counts[("duration", *labels.values())] += 1

    def flush(self) -> None:
        self.counts[("flushed",)] += 1


def test_actions_are_counted_by_what_came_of_them() -> None:
    stage, kept = Stage(), Kept()
    stage.busy(T0 - 20 * MINUTE, T0 + 60 * MINUTE)
    stage.trace(T0, "tool.executed", external_system="send_email", ok="true")
    del stage.platform.env["HITL_APPROVER_ENDPOINT"]
    for minute in range(12):
        replace(stage.engine, tally=kept).tick(T0 + minute * MINUTE)
    actions = {key[3]: number for key, number in kept.counts.items() if key[0] == "actions"}
    assert actions == {"refused": 1, "intended": 1, "applied": 1, "check passed": 1, "verified": 1}


def test_slots_that_came_late_are_counted_and_so_are_those_that_never_will() -> None:
    stage, kept = Stage(MISCONFIGURED, ERRORS), Kept()
    stage.busy(T0 - 20 * MINUTE, T0 + 200 * MINUTE)
    engine = replace(stage.engine, tally=kept)
    engine.tick(T0)
    engine.tick(T0 + 3 * MINUTE)
    assert kept.counts[("slots.late", "sales")] == 2 * 2, "two of three minutes, for two rules"
    assert kept.counts[("slots.missed", "sales")] == 0
    engine.tick(T0 + 100 * MINUTE)
    assert kept.counts[("slots.missed", "sales")] > 2 * 60
    verdicts = sum(number for key, number in kept.counts.items() if key[0] == "verdicts")
    assert verdicts == kept.counts[("slots", "sales")]


def test_questions_are_counted_by_what_was_answered() -> None:
    stage, kept = Stage(), Kept()
    stage.answers = lambda query: NoAnswer(Why.TIMEOUT)
    replace(stage.engine, telemetry=CountedTelemetry(stage, kept)).tick(T0)
    assert kept.counts[("queries", "sales", "time-out")] > 0


def test_a_tick_that_fails_is_told_as_failed_and_fails_all_the_same() -> None:
    def unavailable() -> int:
        raise StoreUnavailable("the store does not answer")

    kept = Kept()
    with pytest.raises(StoreUnavailable):
        counted(kept, "timer", unavailable)
    assert counted(kept, "event", lambda: None) is None
    assert kept.counts[("ticks", "timer", "failed")] == kept.counts[("ticks", "event", "ignored")] == 1
    assert kept.counts[("flushed",)] == 2


ONE_TICK = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from tocsin.app import Parts, compose
from tocsin.local.world import World
from tocsin.settings import Settings
with World(datetime(2026, 11, 20, 3, tzinfo=UTC), seed=1) as world:
    values = {**world.settings(), "TOCSIN_STATE": sys.argv[1], "APPLICATIONINSIGHTS_CONNECTION_STRING": sys.argv[2]}
    compose(Settings(Path.cwd(), values), Parts(clock=world.clock)).tick()
print("opentelemetry" in sys.modules)
"""


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.slow
def test_opentelemetry_is_loaded_where_its_setting_is_set_and_only_there(
    told: bool, tmp_path: Path, ingestion: Ingestion
) -> None:
    command = [sys.executable, "-c", ONE_TICK, str(tmp_path / "state.sqlite"), ingestion.connection if told else ""]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.split()[-1] == str(told)
    assert bool(ingestion.items) == told, "a process that ends after its tick has told of it"


def test_every_metric_is_on_the_page_for_operators() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert [name for name in (*get_args(Counted), "tick.duration") if f"`tocsin.{name}`" not in page] == []
