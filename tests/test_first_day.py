"""The first day beside a stock accelerator, deployed with nothing said but which resource group is watched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.reading_cases import project
from tocsin.app import App, Parts, compose
from tocsin.cli.examining import Place, examine
from tocsin.core.answer import Rows
from tocsin.core.compile import compile_signal
from tocsin.core.signal import Logs
from tocsin.diagnosing.finding import Finding, State
from tocsin.local.world import ROLE, World
from tocsin.settings import Settings

START = datetime(2026, 11, 20, 3, tzinfo=UTC)
STEP = timedelta(minutes=15)
"""Ticks are so far apart as missed slots are caught up: every slot of the day is judged all the same."""

UNSAID = {"TOCSIN_AUTOMATION", "TOCSIN_APPROVERS", "TOCSIN_LINK_SECRET", "TOCSIN_PUBLIC_URL", "GITHUB_TOKEN"}
"""What nobody has set yet. The receivers are, or nobody would see a page."""

SEEN = ("response_errors", "response_latency", "request_success", "worker_failures", "dependency_failures")
"""Signals that measure rows which every accelerator emits all the time."""


@dataclass
class FirstDay:
    """The watcher and what it watches."""

    world: World
    settings: Settings
    app: App

    def lasts(self, length: timedelta) -> None:
        until = self.world.clock.now() + length
        while self.world.clock.now() < until:
            self.world.advance(min(until, self.world.clock.now() + STEP))
            assert self.app.tick().failed == 0

    def doctor(self) -> dict[str, list[Finding]]:
        """Return what `tocsin doctor` finds, by what it looked at."""
        found: dict[str, list[Finding]] = {}
        for each in examine(Place(self.app, self.settings, self.app.engine.project.config.targets)):
            found.setdefault(each.check, []).append(each)
        return found


def requests(folder: Path) -> Path:
    """Return a trace of a request every two minutes, for longer than a day."""
    begun = (START - timedelta(minutes=10)).replace(tzinfo=None)
    rows = [f"{begun + timedelta(minutes=2 * each)}.0000000,500,20" for each in range(24 * 30 + 30)]
    path = folder / "load.csv"
    path.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows, ""]))
    return path


@contextmanager
def first_day(root: Path) -> Iterator[FirstDay]:
    project(root)
    shipped = (root / "tocsin.yaml").read_text().replace("automation: act", "automation: ${TOCSIN_AUTOMATION}")
    (root / "tocsin.yaml").write_text(shipped)
    with World(START, trace=requests(root), stock=True) as world:
        given = {name: value for name, value in world.settings().items() if name not in UNSAID}
        settings = Settings(root, {**given, "TOCSIN_STATE": str(root / "state.sqlite")})
        yield FirstDay(world, settings, compose(settings, Parts(clock=world.clock, telemetry=world.telemetry)))


def nobody_is_paged_and_nothing_is_done(day: FirstDay) -> None:
    """What the first day may bring: a note that there is no approver, and the heartbeat of the receivers."""
    store = day.app.engine.store
    assert day.world.pagerduty.incidents == []
    assert store.executions() == []
    assert (day.world.arm.patches, day.world.arm.acts) == ([], [])
    assert {each.notice.rule for each in store.deliveries(1_000)} <= {"approver_missing", "watchdog"}
    assert {(each.rule, each.open) for each in store.open_alerts()} == {("approver_missing", True)}


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirstDay]:
    with first_day(tmp_path_factory.mktemp("first-day")) as made:
        made.lasts(3 * STEP)
        yield made


def test_nobody_is_paged_and_nothing_is_done_at_first(day: FirstDay) -> None:
    assert not any(day.settings.get(name) for name in ("WATCHED_ROLE_NAME", "TOCSIN_APPROVERS"))
    assert day.app.engine.project.config.automation == "observe"
    nobody_is_paged_and_nothing_is_done(day)


@pytest.mark.long
def test_nobody_is_paged_and_nothing_is_done_in_24_hours(tmp_path: Path) -> None:
    with first_day(tmp_path) as day:
        day.lasts(timedelta(hours=24))
        nobody_is_paged_and_nothing_is_done(day)


@pytest.mark.parametrize("name", SEEN)
def test_rules_see_rows_of_an_app_that_has_no_name(day: FirstDay, name: str) -> None:
    now, (target,) = day.world.clock.now(), day.app.engine.project.config.targets
    source = next(each for each in day.app.engine.signals[name].sources if isinstance(each, Logs))
    found = day.app.engine.telemetry.ask(compile_signal(source, target, now - STEP, now), target)
    assert isinstance(found, Rows)
    (row,) = found.dicts()
    assert row["events"] > 0


def test_doctor_says_what_the_telemetry_calls_itself_and_names_what_to_wire(day: FirstDay) -> None:
    found = day.doctor()
    (traces,) = [each for each in found["tables"] if each.about.endswith("AppTraces")]
    assert traces.state is State.OK
    assert f"its telemetry calls itself {ROLE}" in traces.seen
    lost = {each.about.partition(": ")[2]: each for each in found["rules"] if each.id == "rule-cannot-fire"}
    assert lost.keys() >= {"api_down", "cost_jump", "cost_per_call", "token_budget", "quality_drop", "queue_depth"}
    assert not lost.keys() & {"high_error_rate", "p95_latency", "model_outage", "hitl_misconfigured", "worker_failures"}
    assert "To wire it: the target's `probes` in tocsin.yaml" in lost["api_down"].do
    assert "`record_call_cost`" in lost["cost_jump"].do
    assert [each.id for each in found["approver"]] == ["no-approver", "nobody-may-approve"]
    assert [each.state for each in found["settings"]] == [State.OK]
