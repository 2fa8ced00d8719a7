"""What is read elsewhere than in the workspace: each meter against its service's shapes, and rules that use them."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme
from azure.storage.queue import QueueClient
from pytest_httpserver import HTTPServer

from tests.azurite.server import Azurite
from tests.stage import CONFIG, MINUTE, MISCONFIGURED, T0, TARGET, Stage
from tocsin.connections import http
from tocsin.connections.arm import ContainerApps
from tocsin.connections.identity import StaticToken, storage_key
from tocsin.connections.metrics import Asked, Metrics
from tocsin.connections.queues import look
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.compile import Window
from tocsin.core.config import Config, Probe, Queue, Target
from tocsin.core.gauge import Reading, answer, asks
from tocsin.core.rule import Rule
from tocsin.core.signal import Gauge
from tocsin.local.world import QUEUE, World
from tocsin.ports import Meter
from tocsin.telemetry.container_app import ContainerAppConfiguration
from tocsin.telemetry.metrics import METRICS, ContainerAppMetrics
from tocsin.telemetry.probes import ApproverProbe, HttpProbes
from tocsin.telemetry.queues import QueueDepths

START = datetime(2026, 11, 20, 3, tzinfo=UTC)
TARGET_APP = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.App/containerApps/sales-api"
BUS = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.ServiceBus/namespaces/bus"


@pytest.fixture
def world() -> Iterator[World]:
    with World(START) as world:
        yield world


@dataclass
class Instruments:
    """Every meter, wired to one world as the app wires them."""

    world: World

    @property
    def token(self) -> StaticToken:
        return StaticToken("local")

    @property
    def resources(self) -> ContainerApps:
        return ContainerApps(self.token, f"{self.world.url}/arm")

    @property
    def metrics(self) -> Metrics:
        return Metrics(self.resources)

    @property
    def app(self) -> ContainerAppConfiguration:
        return ContainerAppConfiguration(self.resources)

    def meter(self, name: str) -> Meter:
        now = self.world.clock.now
        meters: dict[str, Meter] = {
            "metrics": ContainerAppMetrics(self.metrics),
            "queues": QueueDepths(partial(look, self.token), self.metrics, now),
            "probes": HttpProbes(now),
            "approver": ApproverProbe(self.app),
        }
        return meters[name]

    def read(self, name: str, reading: str, target: Target | None = None) -> Any:
        now = self.world.clock.now()
        return self.meter(name).read(target or self.world.target(), reading, now - 10 * MINUTE, now)

    def faults(self, name: str) -> Any:
        parts = {"metrics": self.world.metrics, "queues": self.world.queues, "probes": self.world.front}
        return parts.get(name, self.world.arm).faults


READS = {"metrics": "cpu", "queues": "depth", "probes": "failures", "approver": "unreachable"}


class TestEveryMeter:
    """The contract: numbers where there are, nothing where there is nothing to read, and never an exception."""

    @pytest.mark.parametrize(("name", "reading"), READS.items())
    def test_reads_numbers_with_a_label(self, world: World, name: str, reading: str) -> None:
        readings = [each for each in Instruments(world).read(name, reading) if each.name == reading]
        assert readings and all(each.value is not None and each.labels for each in readings)

    @pytest.mark.parametrize("name", READS)
    def test_a_target_without_anything_to_read_has_no_readings(self, world: World, name: str) -> None:
        bare = Target(name="bare", workspace="w", role_name="r", labels={"env": "prod"})
        assert list(Instruments(world).read(name, READS[name], bare)) == []

    @pytest.mark.parametrize("name", ["metrics", "queues", "approver"])
    @pytest.mark.parametrize(
        ("fault", "why"),
        [
            ("forbidden", Why.FORBIDDEN),
            ("unauthorized", Why.FORBIDDEN),
            ("throttled", Why.THROTTLED),
            ("error", Why.FAILED),
            ("bad_request", Why.BROKEN),
            ("disconnect", Why.UNREACHABLE),
        ],
    )
    def test_a_refusal_is_never_a_number(self, world: World, name: str, fault: str, why: Why) -> None:
        instruments = Instruments(world)
        instruments.faults(name).add(fault)
        found = instruments.read(name, READS[name])
        if isinstance(found, NoAnswer):
            assert found.why is why
        else:  # of several queues one may refuse
            assert found and all(each.value is None and each.why == why.value for each in found)

    @pytest.mark.parametrize("name", ["metrics", "approver"])
    def test_garbage_is_no_number(self, world: World, name: str) -> None:
        instruments = Instruments(world)
        instruments.faults(name).add("garbage")
        assert isinstance(instruments.read(name, READS[name]), NoAnswer)


class TestMetrics:
    @pytest.mark.parametrize("reading", METRICS)
    def test_each_reading_is_asked_by_its_name_aggregation_and_dimensions(self, world: World, reading: str) -> None:
        assert Instruments(world).read("metrics", reading)
        asked, metric = world.metrics.asked[-1], METRICS[reading]
        assert (asked["metricnames"], asked["aggregation"]) == (metric.name, metric.aggregation)
        assert asked["$filter"] == " and ".join(f"{name} eq '*'" for name in metric.labels)
        assert asked["interval"] == "PT1M"

    def test_a_minute_without_a_value_is_left_out(self, world: World) -> None:
        minutes = [each.at for each in Instruments(world).read("metrics", "cpu")]
        assert minutes == sorted(minutes) and minutes[-1] < world.clock.now() - MINUTE

    def test_a_role_at_the_apps_own_group_is_enough(self, world: World) -> None:
        """Nothing is asked of a region or of the subscription, where such a role gives nothing."""
        world.arm.faults.add("forbidden")
        assert Instruments(world).read("metrics", "cpu")
        assert {each["resource"] for each in world.metrics.asked} == {world.target().app_id}

    def test_more_than_ten_replicas_are_all_read(self, world: World) -> None:
        for number in range(12):
            world.metrics.set("CpuPercentage", 50, world.clock.now() - 5 * MINUTE, podName=f"another-{number}")
        replicas = {each.labels["replica"] for each in Instruments(world).read("metrics", "cpu")}
        assert len(replicas) == 13

    def test_a_metric_that_was_not_read_is_no_answer(self, world: World) -> None:
        world.metrics.unread.add("CpuPercentage")
        found = Instruments(world).read("metrics", "cpu")
        assert isinstance(found, NoAnswer) and "InvalidSamplingType" in found.detail
        assert Instruments(world).read("metrics", "memory")

    def test_a_refusal_names_the_permission_that_lacks(self, httpserver: HTTPServer) -> None:
        said = "The client 'x' does not have authorization to perform action 'Microsoft.Insights/metrics/read'"
        body = {"error": {"code": "AuthorizationFailed", "message": f"{said} over scope '/subscriptions/s'."}}
        httpserver.expect_request(f"{TARGET_APP}/providers/Microsoft.Insights/metrics").respond_with_json(body, 403)
        asked = Asked(TARGET_APP, "Microsoft.App/containerapps", "CpuPercentage", "Average")
        found = Metrics(ContainerApps(StaticToken("local"), httpserver.url_for("/"))).series(
            asked, START, START + MINUTE
        )
        assert isinstance(found, NoAnswer) and found.why is Why.FORBIDDEN
        assert "the identity lacks Microsoft.Insights/metrics/read" in found.detail

    @pytest.mark.parametrize(("length", "grain"), [(24, "PT1M"), (25, "PT15M"), (24 * 8, "PT1H")])
    def test_the_longer_the_stretch_the_coarser_the_values(self, world: World, length: int, grain: str) -> None:
        asked = Asked(world.target().app_id, "Microsoft.App/containerapps", "CpuPercentage", "Average")
        Instruments(world).metrics.series(asked, START - timedelta(hours=length), START)
        assert world.metrics.asked[-1]["interval"] == grain


class TestQueues:
    def test_depth_age_and_poison_of_a_storage_queue(self, world: World) -> None:
        world.queues.put(QUEUE, 3)
        world.advance(world.clock.now() + 5 * MINUTE)
        world.queues.put(QUEUE)
        world.queues.put(f"{QUEUE}-poison", 2)
        found = {each.name: each.value for each in Instruments(world).read("queues", "depth")}
        assert found == {"depth": 4, "lag": 300, "dead": 2}

    def test_one_queue_that_refuses_hides_no_other(self, world: World) -> None:
        url = f"{world.url}/queues"
        target = world.target().model_copy(
            update={"queues": (Queue(queue="absent", storage=url), Queue(queue=QUEUE, storage=url))}
        )
        found = {(each.labels["queue"], each.name): each for each in Instruments(world).read("queues", "depth", target)}
        assert found["absent", "depth"].why == Why.MISSING.value
        assert found[QUEUE, "depth"].value == 0

    def test_service_bus_tells_it_by_its_metrics(self, world: World) -> None:
        at = world.clock.now() - 8 * MINUTE
        world.metrics.set("ActiveMessages", 7, at, EntityName="jobs")
        world.metrics.set("ActiveMessages", 1200, at + 3 * MINUTE, EntityName="jobs")
        world.metrics.set("DeadletteredMessages", 1, at, EntityName="jobs")
        world.metrics.set("ActiveMessages", 9, at, EntityName="others")
        target = world.target().model_copy(update={"queues": (Queue(queue="Jobs", service_bus=BUS),)})
        found = {each.name: each.value for each in Instruments(world).read("queues", "depth", target)}
        assert found == {"depth": 1200, "dead": 1}

    def test_a_real_queue_service_says_the_same(self, tmp_path: Path) -> None:
        server = Azurite(tmp_path, "queue")
        try:
            token, url = StaticToken("local"), server.urls["queue"]
            with QueueClient(url, "work", credential=storage_key(token)) as client:
                client.create_queue()
                client.send_message("one")
                client.send_message("two")
            target = TARGET.model_copy(update={"queues": (Queue(queue="work", storage=url),)})
            metrics = Metrics(ContainerApps(token, url))
            meter = QueueDepths(partial(look, token), metrics, lambda: datetime.now(UTC) + MINUTE)
            found = {each.name: each.value for each in meter.read(target, "depth", T0, T0)}
        finally:
            server.stop()
        assert found["depth"] == 2 and found["dead"] == 0
        assert found["lag"] == pytest.approx(60, abs=10)


class TestProbes:
    @pytest.mark.parametrize(
        ("fault", "words"),
        [("error", "HTTP 500, not 200"), ("empty", "HTTP 204, not 200"), ("disconnect", "HTTP 500, not 200")],
    )
    def test_another_status_is_a_failure(self, world: World, fault: str, words: str) -> None:
        world.front.faults.add(fault)
        found = {each.name: each for each in Instruments(world).read("probes", "failures")}
        assert found["failures"].value == 1 and words in found["failures"].detail

    def test_nobody_there_is_a_failure_that_names_no_address(self, world: World) -> None:
        target = world.target().model_copy(update={"probes": (Probe(name="api", url="http://127.0.0.1:9/secret"),)})
        (found,) = Instruments(world).read("probes", "failures", target)
        assert (found.value, found.detail) == (1.0, "api: ConnectError")

    def test_an_answer_that_takes_too_long_is_a_failure(self, world: World) -> None:
        world.front.faults.add("slow", seconds=1.5)
        probe = Probe.model_validate({"name": "api", "url": f"{world.url}/app/healthz", "within": "1s"})
        (found,) = Instruments(world).read("probes", "failures", world.target().model_copy(update={"probes": (probe,)}))
        assert found.value == 1 and "ReadTimeout" in found.detail

    def test_latency_is_in_milliseconds(self, world: World) -> None:
        world.front.faults.add("slow", seconds=0.3)
        found = {each.name: each.value for each in Instruments(world).read("probes", "latency")}
        assert 300 <= found["latency"] < 3000

    @pytest.mark.parametrize(("days", "expired"), [(20, False), (-1, True)])
    def test_a_certificate_is_counted_down_and_an_expired_one_is_a_failure(
        self, days: int, expired: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        authority, now = trustme.CA(), datetime.now(UTC)
        monkeypatch.setenv("SSL_CERT_FILE", str(_written(authority, tmp_path)))
        issued = authority.issue_cert(
            "localhost", not_before=now - timedelta(days=9), not_after=now + timedelta(days=days)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued.configure_cert(context)
        with HTTPServer("localhost", ssl_context=context) as server:
            server.expect_request("/healthz").respond_with_data("ok")
            target = TARGET.model_copy(update={"probes": (Probe(name="api", url=server.url_for("/healthz")),)})
            found = {each.name: each for each in HttpProbes().read(target, "failures", T0, T0)}
        assert found["failures"].value == float(expired)
        assert found["certificate_days"].value == (0 if expired else pytest.approx(20, abs=0.1))
        assert ("the certificate has expired" in found["failures"].detail) is expired

    def test_a_look_never_raises_for_an_address(self) -> None:
        assert http.look("http://[::bad/", 1).status == 0


def _written(authority: trustme.CA, folder: Path) -> Path:
    path = folder / "authority.pem"
    authority.cert_pem.write_to_path(path)
    return path


class TestApprover:
    def test_one_that_answers_at_all_is_there(self, world: World) -> None:
        before = len(world.approver.asked)
        (found,) = Instruments(world).read("approver", "unreachable")
        assert found.value == 0
        assert len(world.approver.asked) == before  # nobody was asked to approve anything

    def test_one_that_fails_is_not(self, world: World) -> None:
        world.approver.faults.add("unavailable")
        (found,) = Instruments(world).read("approver", "unreachable")
        assert (found.value, found.detail.rpartition(": ")[2]) == (1.0, "HTTP 503")

    def test_without_an_address_there_is_nobody_to_reach(self, world: World) -> None:
        world.unset_approver()
        world.advance(world.clock.now() + 5 * MINUTE)
        assert list(Instruments(world).read("approver", "unreachable")) == []


# Folding


def _readings(*values: float, **labels: str) -> list[Reading]:
    return [Reading("n", value, labels, T0 + number * MINUTE) for number, value in enumerate(values)]


def _folded(fold: Any, readings: list[Reading], by: tuple[str, ...] = (), minutes: int = 10) -> dict[str, float]:
    window = Window(T0 + minutes * MINUTE, T0, T0 + minutes * MINUTE)
    rows = answer(Gauge("metrics", "n", fold, instant=False), readings, asks([window])[0], by, window.slot)
    assert not isinstance(rows, NoAnswer)
    return {"/".join(str(row[name]) for name in by): row["value"] for row in rows.dicts()}


def test_restarts_are_what_counters_rose_by_and_a_new_replica_begins_anew() -> None:
    readings = [*_readings(5, 5, 6, 0, 2, replica="a"), *_readings(40, 40, 40, replica="b")]
    assert _folded("rise", readings) == {"": 3}
    assert _folded("rise", readings, ("replica",)) == {"a": 3, "b": 0}


def test_a_counter_that_was_high_before_the_window_did_not_rise_in_it() -> None:
    assert _folded("rise", _readings(50, 50)) == {"": 0}


def test_of_one_value_nobody_knows_whether_it_rose() -> None:
    assert _folded("rise", _readings(50)) == {"": None}


def test_values_outside_the_window_do_not_count() -> None:
    assert _folded("max", _readings(1, 2, 9), minutes=2) == {"": 2}


def test_what_is_read_now_says_nothing_of_an_older_slot() -> None:
    window = Window(T0, T0 - MINUTE, T0)
    found = answer(Gauge("probes", "n"), [Reading("n", 1.0)], asks([window])[0], (), T0 + MINUTE)
    assert isinstance(found, NoAnswer) and found.why is Why.LATER


# Rules


def _rule(**when: object) -> Rule:
    given = {"id": "r", "summary": "{value} on {target}", "severity": "P1", "when": {"over": "5m", **when}}
    return Rule.model_validate(given)


@dataclass
class Fixed:
    """A meter that reads what it is told, and counts how often it was asked."""

    readings: list[Reading] | NoAnswer
    asked: int = 0

    def read(self, target: Target, reading: str, start: datetime, end: datetime) -> list[Reading] | NoAnswer:
        self.asked += 1
        return self.readings


def _run(meter: Fixed, *rules: Rule, minutes: int = 3, alive: bool = True) -> Stage:
    stage = Stage(*rules, config=Config.model_validate({**CONFIG.model_dump(), "targets": [TARGET]}))
    stage.meters = {"probes": meter, "queues": meter}
    if alive:
        stage.busy(T0 - 10 * MINUTE, T0 + minutes * MINUTE)
    stage.run(range(minutes))
    return stage


def test_a_failing_probe_fires_even_on_a_target_that_is_silent() -> None:
    down = Fixed([Reading("failures", 1.0, {"probe": "api"}, detail="api: HTTP 503")])
    stage = _run(down, _rule(signal="probe_failures", above="0", by=["probe"]), alive=False)
    assert "fired" in stage.oncall.kinds()
    assert "HTTP 503" in str(stage.oncall.got[0].facts)


def test_a_probe_that_answers_neither_fires_nor_stays_unknown() -> None:
    stage = _run(Fixed([Reading("failures", 0.0, {"probe": "api"})]), _rule(signal="probe_failures", above="0"))
    assert stage.oncall.kinds() == []


def test_a_queue_that_cannot_be_read_makes_its_rule_blind_and_hides_no_other() -> None:
    meter = Fixed(
        [Reading("depth", None, {"queue": "a"}, why="no permission"), Reading("depth", 2000.0, {"queue": "b"})]
    )
    stage = _run(meter, _rule(signal="queue_depth", above="1000", by=["queue"]), minutes=9)
    told = [(notice.kind.value, notice.rule) for notice in stage.oncall.got]
    assert told == [("fired", "r"), ("blind", "rule_blind")]


def test_without_by_a_breach_stands_though_another_queue_cannot_be_read() -> None:
    broken = Reading("depth", None, {"queue": "a"}, why="no permission")
    for depth, kinds in ((2000.0, ["fired"]), (3.0, [])):
        meter = Fixed([broken, Reading("depth", depth, {"queue": "b"})])
        assert _run(meter, _rule(signal="queue_depth", above="1000")).oncall.kinds() == kinds


def test_a_meter_that_does_not_answer_is_unknown_and_told_as_blind() -> None:
    stage = _run(Fixed(NoAnswer(Why.THROTTLED)), _rule(signal="queue_depth", above="1000"), minutes=9)
    assert stage.oncall.kinds() == ["blind"]


def test_several_rules_read_an_instant_meter_once_a_tick() -> None:
    meter = Fixed([Reading("failures", 0.0, {"probe": "api"}), Reading("latency", 20.0, {"probe": "api"})])
    rules = [
        _rule(signal="probe_failures", above="0"),
        _rule(signal="probe_latency", above="100").model_copy(update={"id": "s"}),
    ]
    _run(meter, *rules, minutes=3)
    assert meter.asked == 3


def test_what_is_read_now_is_judged_now_and_not_two_minutes_later() -> None:
    late = TARGET.model_copy(update={"offset": timedelta(minutes=2)})
    stage = Stage(_rule(signal="probe_failures", above="0"), config=CONFIG.model_copy(update={"targets": (late,)}))
    stage.meters = {"probes": Fixed([Reading("failures", 1.0, {"probe": "api"})])}
    stage.run(range(1))
    (alert,) = [each for each in stage.inner.open_alerts() if each.rule == "r"]
    assert alert.fired == T0


def test_a_meter_that_breaks_takes_no_other_rule_with_it() -> None:
    class Broken:
        def read(self, *_: object) -> list[Reading]:
            raise RuntimeError("a defect")

    stage = Stage(MISCONFIGURED, _rule(signal="queue_depth", above="1000"))
    stage.meters = {"queues": Broken()}
    stage.busy(T0 - 20 * MINUTE, T0 + 12 * MINUTE)
    del stage.platform.env["HITL_APPROVER_ENDPOINT"]
    stage.run(range(12))
    assert stage.platform.changes == 1
    assert ("blind", "rule_blind") in [(notice.kind.value, notice.rule) for notice in stage.oncall.got]


def test_each_window_is_read_by_itself_so_that_a_short_one_stays_fine(world: World) -> None:
    asked: list[tuple[datetime, datetime]] = []

    class Watched:
        def read(self, target: Target, reading: str, start: datetime, end: datetime) -> list[Reading]:
            asked.append((start, end))
            return [Reading(reading, 95.0, {"replica": "r"}, end - MINUTE)]

    rule = _rule(signal="cpu", change={"more_than": "20%", "versus": "7d"})
    stage = Stage(rule)
    stage.meters = {"metrics": Watched()}
    stage.busy(T0 - 20 * MINUTE, T0 + MINUTE)
    stage.run(range(1))
    before = timedelta(days=3)  # where nothing but that something was there counts
    assert {end - start for start, end in asked} == {5 * MINUTE, before}


def test_a_server_that_drips_its_answer_keeps_nobody() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def drip() -> None:
        connection, _ = listening.accept()
        while not over.wait(0.2):
            connection.sendall(b"H")
        connection.close()

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    began = time.monotonic()
    found = http.look(f"http://127.0.0.1:{listening.getsockname()[1]}/", 1)
    over.set()
    listening.close()
    assert (found.status, found.failure) == (0, "no answer within 1 s")
    assert time.monotonic() - began < 4
