"""Drills by the command line, in the local world: what is proven, what is left alone, and that the switch goes off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.conftest import ROOT
from tests.reading_cases import forget, project
from tocsin.app import App, Parts, compose
from tocsin.cli import drilling
from tocsin.cli.commands import program
from tocsin.core import audit
from tocsin.core.config import Target
from tocsin.core.hold import Engaged
from tocsin.engine.recalling import released
from tocsin.local.world import World
from tocsin.settings import Settings
from tocsin.stores.sqlite import SqliteStore

pytestmark = pytest.mark.long

T0 = datetime(2026, 11, 20, 3, tzinfo=UTC)
NAME, SWITCH = "sales-research", "KILLSWITCH_TOOLS"
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
runner = CliRunner()


@dataclass
class Range:
    """A place to drill: the world, the command line over it, and a clock that goes on while the drill waits."""

    world: World
    root: Path
    monkeypatch: pytest.MonkeyPatch
    waits: list[Callable[[int], object]] = field(default_factory=list)
    """Called at each wait with its number."""
    waited: int = 0
    watching: bool = False
    """Whether the watcher ticks meanwhile."""

    def app(self, _root: Path | None = None) -> App:
        values = {**self.world.settings(), "TOCSIN_STATE": str(self.root / "state.sqlite")}
        return compose(Settings(self.root, values), Parts(clock=self.world.clock))

    def pause(self, seconds: float) -> None:
        self.waited += 1
        for each in self.waits:
            each(self.waited)
        before = self.world.clock.now()
        self.world.advance(before + seconds * SECOND)
        if self.watching and self.world.clock.now().minute != before.minute:
            self.app().tick()

    def drill(self, *options: str, code: int = 0, production: bool = True) -> Any:
        more = ["--yes-production"] if production else []
        arguments = ["drill", "killswitch", "-t", NAME, *more, *options, "-o", "json", "--root", str(self.root)]
        result = runner.invoke(program, arguments)
        assert result.exit_code == code, result.output
        self.said = result.stderr
        return json.loads(result.stdout) if result.stdout else result.stderr

    def store(self) -> SqliteStore:
        return SqliteStore(self.root / "state.sqlite")

    def events(self) -> list[str]:
        return [each["event"] for each in self.store().audit()]

    def on(self, variable: str = SWITCH) -> bool:
        return self.world.template_env().get(variable) == "on"

    def edit(self, old: str, new: str) -> None:
        text = (self.root / "tocsin.yaml").read_text()
        assert old in text
        (self.root / "tocsin.yaml").write_text(text.replace(old, new))


def unwatched(root: Path) -> Path:
    """Copy the shipped files below ``root``, without the rule on the switch: no watcher ticks that would tell of it."""
    project(root)
    (root / "rules" / "killswitch_engaged.yaml").unlink()
    forget(root, "killswitch_engaged")
    return root


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Range]:
    with World(T0, seed=1) as world:
        made = Range(world, unwatched(tmp_path), monkeypatch)
        monkeypatch.setattr(drilling, "load_app", made.app)
        monkeypatch.setattr(drilling, "pause", made.pause)
        yield made


def results(report: Any) -> dict[str, str]:
    return {each["step"]: each["result"] for each in report["steps"]}


def evidence(report: Any, step: str) -> str:
    return str(next(each["evidence"] for each in report["steps"] if each["step"] == step))


# A good drill


def test_a_good_drill_proves_every_step_and_leaves_the_app_as_it_was(place: Range) -> None:
    before = place.world.template_env()
    report = place.drill("--report", str(place.root / "q4"))
    assert results(report) == {
        "engage": "proven",
        "serving": "proven",
        "receivers": "proven",
        "alert": "nothing to prove",
        "halted": "proven",
        "release": "proven",
        "released": "proven",
        "undisturbed": "proven",
        "receivers, at the end": "proven",
    }
    assert (report["proven"], report["left_on"]) == (True, False)
    assert {**before, SWITCH: "off"} == place.world.template_env()
    assert "0 side-effect tools ran" in evidence(report, "halted")
    assert "sales-research-api--0000002" in evidence(report, "serving")
    assert next(each["seconds"] for each in report["steps"] if each["step"] == "serving") >= 85
    assert len(place.world.arm.patches) == 2
    assert json.loads((place.root / "q4.json").read_text()) == report
    page = (place.root / "q4.md").read_text()
    assert page.startswith(f"# Killswitch drill of {NAME}: proven\n")
    assert all(f"| {step} |" in page for step in results(report))


def test_people_are_told_of_a_drill_as_one_and_nothing_stays_open(place: Range) -> None:
    report = place.drill()
    assert "team: accepted" in evidence(report, "receivers")
    assert "oncall: accepted" in evidence(report, "receivers")
    texts = [json.dumps(card) for _, card in place.world.teams.cards]
    assert ["DRILL: KILLSWITCH_TOOLS" in texts[0], "DRILL over" in texts[1]] == [True, True]
    assert place.world.pagerduty.open() == []
    (incident,) = place.world.pagerduty.incidents
    assert incident.events[0]["payload"]["severity"] == "info"


def test_what_a_drill_does_is_audited_before_it_is_done_and_is_no_release_by_a_person(place: Range) -> None:
    report = place.drill()
    entries = place.store().audit()
    assert place.events() == [
        "drill engage intended",
        "drill engage done",
        "drill engage verified",
        "drill receivers",
        "drill halted",
        "drill release intended",
        "drill release done",
        "drill release verified",
        "drill ended",
    ]
    assert audit.broken(entries) is None
    assert all(each["actor"].startswith("person ") for each in entries)
    assert {each["detail"]["drill"] for each in entries} == {report["drill"]}
    assert released(place.store(), NAME, None) is None, "no policy is held off by a drill"
    assert not place.store().kept(Engaged), "nothing will miss the switch"


def test_a_watcher_that_ticks_all_the_while_sees_no_drift_and_acts_on_nothing(place: Range) -> None:
    place.watching = True
    place.app().tick()
    assert place.drill()["proven"]
    for _ in range(5):
        place.pause(60)
    assert not place.store().executions()
    assert [each.rule for each in place.store().open_alerts()] == []
    assert not place.on()


def test_the_alert_of_a_rule_on_the_switch_is_awaited_from_the_watcher(place: Range) -> None:
    rule = "summary: s\nseverity: P3\nwhen: { signal: killswitch_engaged, above: 0, over: 1m, by: [scope] }\n"
    (place.root / "rules" / "switch_on.yaml").write_text(rule + "runbook: docs/operations.md\n")
    report = place.drill(code=1)
    assert results(report)["alert"] == "not proven"
    assert "does the watcher tick?" in evidence(report, "alert")
    place.watching = True
    report = place.drill()
    assert results(report)["alert"] == "proven"
    assert "switch_on fired at" in evidence(report, "alert")


# What is left alone


def other() -> Target:
    return Target(
        name="marketing",
        workspace="w",
        role_name="marketing-api",
        subscription="66666666-7777-8888-9999-000000000000",
        resource_group="rg-sales-research",
        container_app="marketing-api",
    )


def test_no_other_app_is_touched(place: Range) -> None:
    more = (
        "  - name: marketing\n    workspace: w\n    role_name: marketing-api\n"
        "    subscription: ${WATCHED_SUBSCRIPTION}\n"
        "    resource_group: ${WATCHED_RESOURCE_GROUP}\n    container_app: marketing-api\n\n# Options name"
    )
    place.edit("# Options name", more)
    place.world.arm.create(other(), {"A": "1"})
    before = (
        place.world.arm.template(other()),
        place.world.arm.configuration(other()),
        place.world.arm.serving(other()),
    )
    assert place.drill()["proven"]
    after = (
        place.world.arm.template(other()),
        place.world.arm.configuration(other()),
        place.world.arm.serving(other()),
    )
    assert before == after
    assert {each["target"] for each in place.store().audit()} == {NAME}


def test_production_is_refused_without_its_flag(place: Range) -> None:
    assert "--yes-production" in place.drill(code=2, production=False)
    assert (place.world.arm.patches, place.events(), place.world.teams.cards) == ([], [], [])


def test_a_target_that_is_not_production_needs_no_flag(place: Range) -> None:
    place.edit("env: prod", "env: test")
    assert place.drill(production=False)["production"] is False


@pytest.mark.parametrize("variable", ["KILLSWITCH_TOOLS", "KILLSWITCH_WORKFLOW"])
def test_a_switch_that_is_on_already_is_refused_and_stays_on(place: Range, variable: str) -> None:
    place.world.arm.ready_after = timedelta()
    place.world.arm.provision(place.world.target(), {variable: "1"})
    place.world.advance(T0 + MINUTE)
    assert f"{variable} is on already" in place.drill(code=2)
    assert (place.world.arm.patches, place.events()) == ([], [])


def test_a_drill_is_refused_while_an_alert_fires_that_would_engage_the_switch(place: Range) -> None:
    place.world.bypass_approver()
    place.watching = True
    for _ in range(5):
        place.pause(60)
    assert "hitl_misconfigured is firing, which policy stop_unsafe_tools answers" in place.drill(code=2)
    assert not place.world.arm.patches


def test_two_drills_of_one_target_do_not_run_at_once(place: Range) -> None:
    assert place.store().lock(f"drill/{NAME}", "drill another", T0, timedelta(minutes=2))
    assert "another drill" in place.drill(code=2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--scope", "everything"], "known: tools, workflow, all"),
        (["--watch", "5"], "--watch"),
        (["--watch", "2h"], "from 1m to 1h"),
        (["--call", "http://127.0.0.1:1/"], "belong together"),
        (["--report", "nowhere/report"], "is no folder"),
    ],
)
def test_a_wrong_call_is_refused_before_anything_is_done(place: Range, options: list[str], words: str) -> None:
    assert words in place.drill(*options, code=2)
    assert place.world.arm.patches == []


def test_a_report_that_is_there_already_is_not_overwritten(place: Range) -> None:
    (place.root / "q4.json").write_text("{}")
    assert "is there already" in place.drill("--report", str(place.root / "q4.md"), code=2)
    assert (place.root / "q4.json").read_text() == "{}"


def test_a_store_that_is_down_refuses_before_anything_is_done(place: Range) -> None:
    (place.root / "state.sqlite").mkdir()
    assert "nothing was done" in place.drill(code=3)
    assert (place.world.arm.patches, place.world.teams.cards) == ([], [])


def test_a_platform_that_does_not_answer_refuses_before_anything_is_done(place: Range) -> None:
    place.world.arm.faults.add("forbidden")
    assert "could not be read" in place.drill(code=3)
    assert place.events() == []


# What does not go well is said


def test_an_app_that_ignores_the_switch_is_reported_and_the_switch_released(place: Range) -> None:
    serving = place.world.accelerator.env
    place.world.accelerator.env = lambda: {key: each for key, each in serving().items() if key != SWITCH}
    report = place.drill(code=1)
    assert results(report)["halted"] == "FAILED"
    assert "the app does not obey the switch" in evidence(report, "halted")
    assert (results(report)["released"], place.on()) == ("proven", False)


def test_the_plain_killswitch_stops_nothing_and_that_is_what_the_report_says(place: Range) -> None:
    report = place.drill("--scope", "all", code=1)
    assert results(report)["serving"] == "proven"
    assert results(report)["halted"] == "FAILED"
    assert "KILLSWITCH stops nothing in this app, and no 503 comes of it" in evidence(report, "halted")
    assert (report["switch"], place.on("KILLSWITCH")) == ("KILLSWITCH", False)


def test_the_workflow_switch_stops_every_request(place: Range) -> None:
    report = place.drill("--scope", "workflow")
    assert "0 requests were answered" in evidence(report, "halted")
    assert not place.on("KILLSWITCH_WORKFLOW")


def test_where_nobody_tries_a_tool_nothing_is_proven(place: Range) -> None:
    place.world.accelerator._flows.clear()
    chance = "tocsin.local.accelerator._ACTS"
    place.monkeypatch.setattr(chance, 0.0)
    report = place.drill(code=1)
    assert results(report)["halted"] == "not tried"
    assert "--call" in evidence(report, "halted")
    assert (results(report)["released"], report["proven"]) == ("proven", False)


def test_a_request_is_sent_once_so_that_a_tool_is_tried(place: Range, httpserver: Any) -> None:
    httpserver.expect_oneshot_request("/api", method="POST", json={"company": "x"}).respond_with_data("secret words")
    (place.root / "body.json").write_text('{"company": "x"}')
    report = place.drill("--call", httpserver.url_for("/api"), "--body", str(place.root / "body.json"))
    assert "answered with 200" in evidence(report, "call")
    assert "secret words" not in json.dumps(report)
    httpserver.check_assertions()


def test_a_platform_that_never_gets_ready_is_reported_and_the_template_put_back(place: Range) -> None:
    place.world.arm.never_ready = True
    report = place.drill(code=1)
    found = results(report)
    assert (found["engage"], found["serving"], found["halted"]) == ("proven", "not proven", "not reached")
    assert (found["release"], found["released"], report["left_on"]) == ("proven", "proven", False)
    assert not place.on()
    assert not place.world.teams.cards, "nobody is told of a switch that was never on"


def test_an_operation_that_never_ends_prints_the_command_that_releases_by_hand(place: Range) -> None:
    place.world.arm.stuck = True
    report = place.drill(code=1)
    assert (results(report)["release"], report["left_on"]) == ("FAILED", True)
    assert "--set-env-vars KILLSWITCH_TOOLS=off" in place.said
    assert "az containerapp update" in report["release_by_hand"]


def test_a_release_that_is_forbidden_is_an_alarm_with_the_command(place: Range) -> None:
    def forbid(number: int) -> None:
        if number == 24:
            place.world.arm.faults.add("forbidden", matching="PATCH", message="no write")

    place.waits.append(forbid)
    report = place.drill(code=1)
    assert (results(report)["release"], report["left_on"], place.on()) == ("FAILED", True, True)
    assert "--set-env-vars KILLSWITCH_TOOLS=off" in place.said
    assert place.world.pagerduty.open(), "whoever heard that nothing is to be done hears that something is"
    assert "is not released" in json.dumps(place.world.teams.cards[-1][1])


def test_a_receiver_that_refuses_is_reported_and_the_drill_goes_on(place: Range) -> None:
    place.world.teams.faults.add("bad_request", times=1)
    report = place.drill(code=1)
    assert results(report)["receivers"] == "FAILED"
    assert "team: refused" in evidence(report, "receivers")
    assert "oncall: accepted" in evidence(report, "receivers")
    assert (results(report)["halted"], results(report)["released"]) == ("proven", "proven")


def test_telemetry_that_does_not_answer_proves_nothing(place: Range) -> None:
    place.world.break_telemetry("error")
    report = place.drill(code=1)
    assert results(report)["halted"] == "not proven"
    assert "telemetry did not answer" in evidence(report, "halted")
    assert not place.on()


# Interrupted


@pytest.mark.parametrize("number", [1, 10, 22])
def test_ctrl_c_at_any_moment_releases_what_was_engaged(place: Range, number: int) -> None:
    def interrupt(at: int) -> None:
        if at == number:
            raise KeyboardInterrupt

    place.waits.append(interrupt)
    report = place.drill(code=1)
    assert results(report)["interrupted"] == "not proven"
    assert (results(report)["released"], report["left_on"], place.on()) == ("proven", False, False)
    assert place.events()[-1] == "drill ended"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_that_is_told_to_end_releases_first(tmp_path: Path, number: int) -> None:
    with World(datetime.now(UTC), seed=1) as world:
        world.arm.ready_after = timedelta()
        settings = {**world.settings(), "TOCSIN_STATE": str(tmp_path / "state.sqlite")}
        command = [sys.executable, "-c", "from tocsin.cli.commands import program; program()", "drill", "killswitch"]
        options = ["-t", NAME, "--yes-production", "--root", str(unwatched(tmp_path)), "-o", "json"]
        process = subprocess.Popen(
            [*command, *options], cwd=ROOT, env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True
        )
        while process.poll() is None and not world.teams.cards:
            time.sleep(0.1)
        assert world.template_env()[SWITCH] == "on"
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 1
        assert results(json.loads(said))["released"] == "proven"
        assert world.template_env()[SWITCH] == "off"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_repeated_signal_does_not_cut_a_release_short(tmp_path: Path, number: int) -> None:
    with World(datetime.now(UTC), seed=1) as world:
        world.arm.ready_after = timedelta(seconds=2)
        process = drilling_process(world, tmp_path)
        while process.poll() is None and not world.teams.cards:
            time.sleep(0.1)
        for _ in range(200):  # again and again, at every moment of the release
            if process.poll() is None:
                process.send_signal(number)
            time.sleep(0.1)
        said, told = process.communicate(timeout=120)
        assert process.returncode == 1
        assert "it ends by itself" in told
        report = json.loads(said)
        assert (results(report)["released"], report["left_on"]) == ("proven", False)
        assert world.template_env()[SWITCH] == "off"


def test_a_terminal_that_is_gone_does_not_keep_the_switch_on(tmp_path: Path) -> None:
    with World(datetime.now(UTC), seed=1) as world:
        world.arm.ready_after = timedelta()
        process = drilling_process(world, tmp_path)
        while process.poll() is None and not world.teams.cards:
            time.sleep(0.1)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()
        process.send_signal(signal.SIGHUP)
        process.wait(60)
        assert world.template_env()[SWITCH] == "off"


def drilling_process(world: World, folder: Path) -> subprocess.Popen[str]:
    settings = {**world.settings(), "TOCSIN_STATE": str(folder / "state.sqlite")}
    command = [sys.executable, "-c", "from tocsin.cli.commands import program; program()", "drill", "killswitch"]
    options = ["-t", NAME, "--yes-production", "--root", str(unwatched(folder)), "-o", "json"]
    environment, piped = {**os.environ, **settings}, subprocess.PIPE
    return subprocess.Popen([*command, *options], cwd=ROOT, env=environment, stdout=piped, stderr=piped, text=True)


def test_ctrl_c_during_the_release_begins_it_again(place: Range) -> None:
    def interrupt(at: int) -> None:
        if at in (3, 5):
            raise KeyboardInterrupt

    place.waits.append(interrupt)
    report = place.drill(code=1)
    assert (results(report)["released"], report["left_on"], place.on()) == ("proven", False, False)


# Others at the same time


def test_an_alert_that_fires_meanwhile_keeps_the_switch_on(place: Range) -> None:
    place.watching = True
    place.app().tick()

    def remove(number: int) -> None:
        if number == 20:
            place.world.arm.ready_after = timedelta()
            env = {
                key: each for key, each in place.world.template_env().items() if "HITL" not in key and "(" not in each
            }
            place.world.arm.provision(place.world.target(), {**env, "HITL_DEV_MODE": "1"})

    place.waits.append(remove)
    report = place.drill("--scope", "tools", "--watch", "20m", code=1)
    assert (results(report)["release"], report["left_on"], place.on()) == ("FAILED", True, True)
    assert "hitl_misconfigured" in report["kept_for"]
    assert "drill keeps the switch" in place.events()
    assert "stays engaged" in place.said


def test_a_person_who_engages_meanwhile_keeps_it(place: Range) -> None:
    for name, value in {**place.world.settings(), "TOCSIN_STATE": str(place.root / "state.sqlite")}.items():
        place.monkeypatch.setenv(name, value)

    def engage(number: int) -> None:
        if number == 22:
            arguments = ["killswitch", "engage", "-t", NAME, "--reason", "it burns", "--root", str(place.root)]
            assert runner.invoke(program, arguments).exit_code == 0

    place.waits.append(engage)
    report = place.drill(code=1)
    assert (results(report)["release"], place.on()) == ("FAILED", True)
    assert "engage" in report["kept_for"]
    assert place.store().kept(Engaged), "it is that person's now, and missed when it goes"


def test_a_policy_that_is_changing_the_app_is_waited_for(place: Range) -> None:
    assert place.store().lock(f"act/{NAME}", "policy", T0, 30 * SECOND)
    report = place.drill()
    engaged = next(each for each in report["steps"] if each["step"] == "engage")
    assert engaged["seconds"] >= 30
