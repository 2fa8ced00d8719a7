"""A fleet that outgrows one instance: handed out, taken by several processes, one of them killed, none of it lost."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
from azure.storage.queue import QueueClient

from tests.azurite.server import Azurite
from tests.conftest import ROOT
from tests.stage import CONFIG, MINUTE, T0, TARGET, Stage
from tocsin.connections.queues import WORK, work
from tocsin.core.config import Target
from tocsin.core.fields import AUTO
from tocsin.core.sight import SIGHT
from tocsin.engine.fanning import LEFT_BEHIND
from tocsin.local.world import World
from tocsin.ports import Unsent
from tocsin.stores.tables import connect

TARGETS = tuple(TARGET.model_copy(update={"name": f"sales-{number}"}) for number in range(4))


@dataclass
class Queue:
    """A work queue in memory."""

    sent: list[str] = field(default_factory=list)
    broken: bool = False

    def send(self, message: str) -> None:
        if self.broken:
            raise Unsent("the queue does not answer")
        self.sent.append(message)


def fleet(most: int = 2, targets: tuple[Target, ...] = TARGETS) -> tuple[Stage, Queue]:
    budgets = CONFIG.budgets.model_copy(update={"evaluations_inline": most})
    stage = Stage(config=CONFIG.model_copy(update={"targets": targets, "budgets": budgets}))
    stage.busy(T0 - 20 * MINUTE, T0 + 30 * MINUTE)
    stage.run(range(-2, -1))  # what was never evaluated is evaluated by the tick itself
    stage.queue = queue = Queue()
    return stage, queue


def evaluated(stage: Stage) -> list[str]:
    """Return which targets were evaluated since the fleet stands."""
    names = [each.name for each in stage.project.config.targets]
    return [name for name in names if stage.inner.mark(name).slots[SIGHT.id] >= T0]


def test_what_one_instance_can_do_it_does_itself() -> None:
    stage, queue = fleet(most=4)
    stage.run(range(1))
    assert (queue.sent, len(evaluated(stage))) == ([], 4)


def test_above_it_every_target_is_handed_out_and_evaluated_by_whoever_takes_it() -> None:
    stage, queue = fleet()
    stage.run(range(1))
    assert evaluated(stage) == []
    assert [json.loads(message)["target"] for message in queue.sent] == [each.name for each in TARGETS]
    del stage.platform.env["HITL_APPROVER_ENDPOINT"]
    for minute in range(3):
        for message in queue.sent[:2]:
            stage.engine.work(message, T0 + minute * MINUTE)
    assert evaluated(stage) == ["sales-0", "sales-1"]
    assert [(notice.kind.value, notice.target) for notice in stage.oncall.got] == [
        ("fired", "sales-0"),
        ("fired", "sales-1"),
    ]


def test_the_same_work_twice_is_done_once() -> None:
    stage, queue = fleet()
    del stage.platform.env["HITL_APPROVER_ENDPOINT"]
    for minute in range(3):
        stage.run(range(minute, minute + 1))
        for _ in range(3):
            stage.engine.work(queue.sent[0], T0 + minute * MINUTE)
    assert stage.oncall.kinds() == ["fired"]


def test_a_queue_that_does_not_answer_leaves_the_work_to_the_tick() -> None:
    stage, queue = fleet()
    queue.broken = True
    stage.run(range(1))
    assert len(evaluated(stage)) == 4


def test_without_a_queue_the_tick_does_it_all_and_says_so() -> None:
    stage, _ = fleet()
    stage.queue = None
    stage.run(range(1))
    assert len(evaluated(stage)) == 4
    assert stage.log.named("outgrown")


def test_what_nobody_takes_for_minutes_the_tick_evaluates_itself() -> None:
    stage, queue = fleet()
    stage.run(range(1))
    for message in queue.sent:
        stage.engine.work(message, T0)
    queue.sent.clear()
    late = int(LEFT_BEHIND / MINUTE) + 2
    stage.run(range(1, late))
    slots = [stage.inner.mark(each.name).slots[SIGHT.id] for each in TARGETS]
    assert min(slots) > T0
    assert stage.log.named("left behind")


def test_work_for_a_target_that_is_gone_is_nothing_to_do() -> None:
    stage, _ = fleet()
    assert stage.engine.work(json.dumps({"target": "gone"}), T0) is None


@pytest.mark.parametrize("message", ["", "no json", "7", "[]", "{}", '{"target": 7}'])
def test_work_that_no_tick_wrote_fails_so_that_the_host_gives_it_up(message: str) -> None:
    stage, _ = fleet()
    with pytest.raises(ValueError, match="not a request"):
        stage.engine.work(message, T0)
    stage.engine.given_up(message, T0)  # which is told in the log alone: there is no target to name


def test_work_that_was_given_up_is_an_alert_until_the_target_is_evaluated_again() -> None:
    stage, queue = fleet()
    stage.run(range(1))
    stage.engine.given_up(queue.sent[1], T0)
    (notice,) = stage.oncall.got
    assert (notice.kind.value, notice.rule, notice.target) == ("blind", "evaluation_failed", "sales-1")
    for minute in range(1, 6):
        stage.engine.work(queue.sent[1], T0 + minute * MINUTE)
    assert stage.oncall.kinds() == ["blind", "resolved"]


# With a real queue and several processes

FLEET = 12


@pytest.fixture
def azurite(tmp_path: Path) -> Iterator[Azurite]:
    server = Azurite(tmp_path, "table", "queue")
    yield server
    server.stop()


@pytest.mark.slow
def test_several_processes_share_the_work_and_do_that_of_one_that_is_killed(azurite: Azurite, tmp_path: Path) -> None:
    work_queue(azurite, WORK).create_queue()
    work_queue(azurite, f"{WORK}-poison").create_queue()
    with World(T0, seed=1) as world:
        world.bypass_approver()
        world.advance(T0 + timedelta(minutes=4))
        settings = {**world.settings(), "TOCSIN_TABLES": azurite.connection, "TOCSIN_QUEUES": azurite.connection}
        root = project(tmp_path / "fork")
        queue, store = work(azurite.connection), connect(azurite.connection)
        names = [f"sales-{number}" for number in range(FLEET)]
        for name in names:
            queue.send(json.dumps({"target": name, "asked": T0.isoformat()}))
        queue.send("nobody wrote this")
        environment = {**os.environ, "FLEET": json.dumps(settings), "NOW": world.clock.now().isoformat()}
        command = [sys.executable, "-m", "tests.fleet", str(root)]
        workers = [subprocess.Popen(command, cwd=ROOT, env={**environment, "SLOW": slow}) for slow in ("1", "", "")]
        try:
            until(lambda: "taken" in [each.name for each in root.iterdir()], 60)
            workers[0].send_signal(signal.SIGKILL)  # while it holds a target that it has not evaluated
            until(lambda: all(SIGHT.id in store.mark(name).slots for name in names), 90)
            until(lambda: len(work_queue(azurite, f"{WORK}-poison").peek_messages()) == 1, 60)
        finally:
            for each in workers:
                each.kill()
                each.wait(10)
    assert workers[0].returncode == -signal.SIGKILL
    held = (root / "taken").read_text()
    assert SIGHT.id in store.mark(held).slots
    pending = {each.target for each in store.open_alerts() if each.rule == "hitl_misconfigured"}
    assert pending == set(names)
    (poison,) = work_queue(azurite, f"{WORK}-poison").peek_messages()
    assert base64.b64decode(poison.content) == b"nobody wrote this"


def work_queue(azurite: Azurite, name: str) -> QueueClient:
    return QueueClient.from_connection_string(azurite.connection, name)


def project(root: Path) -> Path:
    """Write a fork with a fleet: every target is the same accelerator."""
    (root / "rules").mkdir(parents=True)
    (root / "remediations").mkdir()
    shipped = (ROOT / "rules" / "hitl_misconfigured.yaml").read_text(encoding="utf-8")
    (root / "rules" / "hitl_misconfigured.yaml").write_text(shipped, encoding="utf-8")
    keys = ("workspace", "role_name", "subscription", "resource_group", "container_app")
    app = ", ".join(f'{key}: "${{WATCHED_{key.upper()}}}"' for key in keys)
    targets = "".join(f"  - {{ name: sales-{number}, {app}, labels: {{ env: prod }} }}\n" for number in range(FLEET))
    receivers = "receivers:\n  team: { type: stdout }\nroutes: { to: [team] }\n"
    (root / "tocsin.yaml").write_text(f"targets:\n{targets}{receivers}", encoding="utf-8")
    return root


def until(true: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to pass in time"
        time.sleep(0.2)


def test_a_queue_that_fails_once_is_not_tried_for_every_target() -> None:
    stage, queue = fleet()
    tries: list[str] = []

    def fail(message: str) -> None:
        tries.append(message)
        raise Unsent("it does not answer")

    queue.send = fail  # type: ignore[method-assign]
    stage.run(range(1))
    assert (len(tries), len(evaluated(stage))) == (1, 4)


def test_a_target_that_nobody_ever_evaluated_is_evaluated_by_the_tick() -> None:
    stage, queue = fleet()
    new = TARGET.model_copy(update={"name": "new"})
    config = stage.project.config
    stage.project = replace(stage.project, config=config.model_copy(update={"targets": (*config.targets, new)}))
    stage.run(range(1))
    assert evaluated_now(stage, "new")
    assert "new" not in str(queue.sent)


def evaluated_now(stage: Stage, name: str) -> bool:
    return SIGHT.id in stage.inner.mark(name).slots


def test_an_offset_that_follows_the_lag_is_no_reason_to_be_left_behind() -> None:
    slow = tuple(each.model_copy(update={"offset": AUTO, "lag": timedelta(minutes=4)}) for each in TARGETS)
    stage, queue = fleet(targets=slow)
    for minute in range(6):
        stage.run(range(minute, minute + 1))
        for message in queue.sent[-4:]:
            stage.engine.work(message, T0 + minute * MINUTE)
    assert len(queue.sent) == 4 * 6
    assert not [each for each in stage.log.named("left behind") if each["newest"] is not None]


def test_a_target_that_fails_by_itself_is_told_and_its_work_is_not_lost_in_silence() -> None:
    stage, queue = fleet()
    stage.run(range(1))
    whole = stage.inner.load_all
    stage.inner.load_all = lambda target: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    for minute in range(2):
        stage.engine.work(queue.sent[0], T0 + minute * MINUTE)
    assert [(notice.rule, notice.target) for notice in stage.oncall.got] == [("tocsin_error", "sales-0")]
    stage.inner.load_all = whole  # type: ignore[method-assign]
    for minute in range(2, 8):
        stage.engine.work(queue.sent[0], T0 + minute * MINUTE)
    assert stage.oncall.kinds() == ["fired", "resolved"]
