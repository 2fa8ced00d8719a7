"""The functions in Microsoft's real worker library: loaded, indexed, bound and run as in Azure."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.stage import MINUTE
from tests.test_events import WRITE
from tests.test_native import schema
from tests.worker import Worker
from tocsin import app as composition
from tocsin.connections.queues import WORK
from tocsin.core.mute import Silence
from tocsin.engine.fanning import work
from tocsin.local.world import World
from tocsin.settings import Settings
from tocsin.tokens import Claim, Does, Signed

if sys.version_info < (3, 13):
    pytest.skip("the worker library is for Python 3.13", allow_module_level=True)

SIGNED = Signed("a secret of the tests, 32 letters", "https://tocsin.example")
T0 = datetime(2026, 11, 20, 3, tzinfo=UTC)
TIMER = {"IsPastDue": False, "Schedule": {"AdjustForDST": True}, "ScheduleStatus": {}}


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker(ROOT)
    yield worker
    worker.close()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with World(T0, seed=1) as made:
        values = {**made.settings(), "TOCSIN_STATE": str(tmp_path / "state.sqlite")}
        values |= {"TOCSIN_LINK_SECRET": SIGNED.secret, "TOCSIN_PUBLIC_URL": SIGNED.base}
        composed = cache(lambda: composition.compose(Settings(ROOT, values), composition.Parts(clock=made.clock)))
        monkeypatch.setattr(composition, "current", composed)
        yield made


def test_every_function_is_found_with_the_bindings_azure_will_see(worker: Worker) -> None:
    bound = {name: [binding["type"] for binding in worker.bindings(name)] for name in worker.functions}
    assert bound == {
        "tick": ["timerTrigger"],
        "react": ["eventGridTrigger"],
        "evaluate": ["queueTrigger"],
        "given_up": ["queueTrigger"],
        "events": ["httpTrigger", "http"],
        "link": ["httpTrigger", "http"],
        "health": ["httpTrigger", "http"],
        "health_details": ["httpTrigger", "http"],
    }
    assert [worker.bindings(name)[0]["queueName"] for name in ("evaluate", "given_up")] == [WORK, f"{WORK}-poison"]
    assert worker.bindings("events")[0]["authLevel"] == "FUNCTION"
    assert worker.bindings("tick")[0]["schedule"] == "%TICK_SCHEDULE%"
    assert {worker.bindings(name)[0]["authLevel"] for name in ("health", "link")} == {"ANONYMOUS"}


def test_every_function_runs_and_is_listed(worker: Worker, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.bypass_approver()
    world.advance(T0 + timedelta(minutes=3))
    ran = []
    worker.run("tick", "timer", TIMER)
    ran.append("tick")
    assert [alert.state.value for alert in composition.current().engine.store.open_alerts()] == ["pending"]
    for number, event in enumerate((grid(world), cloud(world))):
        world.advance(T0 + timedelta(minutes=4 + number))
        worker.run("react", "event", event)
        ran.append(f"react ({'CloudEvent' if 'specversion' in event else 'EventGridEvent'})")
    signs = {dict(each.by)["sign"]: each.state.value for each in composition.current().engine.store.open_alerts()}
    assert signs == {"dev-mode": "firing", "self-approved": "pending"}
    assert list(composition.current().engine.events) == ["grid", "cloud"]
    world.advance(T0 + timedelta(minutes=6))
    worker.run("evaluate", "message", worker.text(work("sales-research", world.clock.now())))
    ran.append("evaluate")
    assert composition.current().engine.store.mark("sales-research").slots["hitl_misconfigured"] == T0 + 5 * MINUTE
    worker.run("given_up", "message", worker.text(work("sales-research", world.clock.now())))
    ran.append("given_up")
    posted = worker.run(
        "events", "req", worker.http("POST", "http://localhost/api/events", json.dumps(schema(at=T0)).encode())
    )
    ran.append("events")
    assert json.loads(posted.http.body.bytes) == {"taken": 1, "ignored": 0}
    fired = {alert.rule for alert in composition.current().engine.store.open_alerts() if alert.open}
    assert fired == {"hitl_misconfigured", "evaluation_failed", "azure_alert_p1"}
    link = SIGNED.token(Claim("1", Does.SILENCE, "hitl_misconfigured", "sales-research"), world.clock.now())
    page = worker.run("link", "req", worker.http("GET", "http://localhost/api/link", token=link))
    assert (page.http.status_code, ">Silence</button>" in page.http.body.bytes.decode()) == ("200", True)
    done = worker.run(
        "link", "req", worker.http("POST", "http://localhost/api/link", f"token={link}&press=silence".encode())
    )
    ran.append("link")
    assert (done.http.status_code, done.http.headers["Content-Security-Policy"][:18]) == ("200", "default-src 'none'")
    assert len(composition.current().engine.store.kept(Silence)) == 1
    answer = worker.run("health", "req", worker.http("GET", "http://localhost/api/health"))
    ran.append("health")
    assert json.loads(answer.http.body.bytes)["status"] == "ok"
    answer = worker.run("health_details", "req", worker.http("GET", "http://localhost/api/health/details"))
    ran.append("health_details")
    assert json.loads(answer.http.body.bytes)["status"] == "degraded"  # the work that was given up
    with capsys.disabled():
        print(f"\nrun in the real worker: {', '.join(ran)}")


def subject(world: World) -> dict[str, Any]:
    target = world.target()
    group = f"/subscriptions/{target.subscription}/resourceGroups/{target.resource_group}"
    app = f"{group}/providers/Microsoft.App/containerApps/{target.container_app}"
    return {"group": group, "app": app}


def grid(world: World) -> dict[str, Any]:
    at = (T0 + timedelta(minutes=3)).isoformat()
    names = subject(world)
    event = {"id": "grid", "topic": names["group"], "subject": names["app"], "eventType": WRITE, "eventTime": at}
    return {**event, "data": {}, "dataVersion": "1", "metadataVersion": "1"}


def cloud(world: World) -> dict[str, Any]:
    names, at = subject(world), (T0 + timedelta(minutes=4)).isoformat()
    event = {"id": "cloud", "source": names["group"], "subject": names["app"], "type": WRITE, "time": at}
    return {**event, "specversion": "1.0", "data": {}}
