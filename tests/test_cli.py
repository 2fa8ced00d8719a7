"""The commands an operator types: what they show, in both forms, and how they end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tocsin.cli import listing
from tocsin.cli.commands import program
from tocsin.local.world import World
from tocsin.settings import KNOWN

T0 = datetime(2026, 11, 20, 3, tzinfo=UTC)
runner = CliRunner()


@pytest.fixture
def world(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A world whose settings are this process's environment, and a folder with the shipped files."""
    with World(T0, seed=1) as made:
        for name, value in {**made.settings(), "TOCSIN_STATE": str(tmp_path / "state.sqlite")}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(root)
        yield made


def run(*arguments: str, code: int = 0) -> str:
    result = runner.invoke(program, list(arguments))
    assert result.exit_code == code, result.output
    return result.stdout if code != 2 else result.stderr


def test_the_shipped_files_have_no_problem(root: Path) -> None:
    assert "49 rules, 9 policies, 1 targets: no problems" in run("check", str(root))
    assert json.loads(run("check", str(root), "-o", "json"))["problems"] == []


def test_ten_mistakes_are_all_reported_with_their_places(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "remediations").mkdir()
    rule = "summary: s\nseverity: P1\nwhen: {{ signal: {signal}, above: {above}, over: {over} }}\n{more}"
    mistakes = {
        "rules/a.yaml": rule.format(signal="response_eror", above="5%", over="15m", more=""),
        "rules/b.yaml": rule.format(signal="cost", above="lots", over="15m", more=""),
        "rules/c.yaml": rule.format(signal="cost", above="5", over="15x", more="evry: 1m\n"),
        "rules/d.yaml": "summary: s\nsummary: t\n",
        "rules/e.yaml": rule.format(signal="cost", above="5", over="1h", more="enabled: on\n"),
        "rules/f.yaml": rule.format(signal="cost", above="5", over="1h", more="").replace("P1", "P9"),
        "remediations/p.yaml": "summary: s\non: { rule: nothing }\ndo: [ killswitch.engag: { scope: tools } ]\n"
        "guard: { mode: act }\n",
        "tocsin.yaml": "targets: []\nreceivers: { a: { type: pager } }\nfallback: nobody\n",
    }
    for name, text in mistakes.items():
        (tmp_path / name).write_text(text)
    problems = json.loads(run("check", str(tmp_path), "-o", "json", code=1))["problems"]
    problems = [each for each in problems if each["severity"] == "error"]
    found = {(each["path"], each["line"], each["column"], each["id"]) for each in problems}
    assert found == {
        ("rules/a.yaml", 3, 17, "unknown-signal"),
        ("rules/b.yaml", 3, 30, "bad-number"),
        ("rules/c.yaml", 3, 39, "bad-duration"),
        ("rules/c.yaml", 4, 1, "unknown-key"),
        ("rules/d.yaml", 2, 1, "duplicate-key"),
        ("rules/e.yaml", 4, 10, "bad-flag"),
        ("rules/f.yaml", 2, 11, "bad-choice"),
        ("remediations/p.yaml", 2, 13, "unknown-rule"),
        ("remediations/p.yaml", 3, 7, "unknown-action"),
        ("tocsin.yaml", 2, 25, "unknown-receiver-type"),
        ("tocsin.yaml", 3, 11, "unknown-receiver"),
    }
    text = run("check", str(tmp_path), code=1)
    assert "rules/a.yaml:3:17: error[unknown-signal]: no signal 'response_eror'" in text
    assert "^^^^^^^^^^^^^ did you mean 'response_errors'?" in text


def test_a_tick_evaluates_and_says_what_it_did(world: World) -> None:
    assert "messages accepted" in run("tick", "--once")
    shown = json.loads(run("tick", "--once", "--output", "json"))
    assert shown.keys() == {"slots", "unknown", "changes", "delivered", "acted", "failed"}


def test_an_empty_list_of_which_nobody_knows_is_no_calm(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no tick has ended in this store" in runner.invoke(program, ["alerts"]).stderr
    run("tick", "--once")
    assert not runner.invoke(program, ["alerts"]).stderr
    monkeypatch.setattr(listing, "DEAD_AFTER", timedelta())
    found = runner.invoke(program, ["alerts", "-o", "json"])
    assert "nothing newer is known" in found.stderr
    assert isinstance(json.loads(found.stdout), list)


def test_alerts_lists_what_is_pending_or_firing(world: World) -> None:
    assert "nothing is pending" in run("alerts")
    world.bypass_approver()
    world.advance(T0 + timedelta(minutes=2))
    run("tick", "--once")
    # By the machine's clock the story's telemetry is a day old: the target is silent, too.
    row, silent = sorted(json.loads(run("alerts", "-o", "json")), key=lambda each: str(each["rule"]))
    assert silent["rule"] == "telemetry_blind"
    assert (row["rule"], row["state"], row["target"]) == ("hitl_misconfigured", "pending", "sales-research")
    assert "hitl_misconfigured" in run("alerts")


def test_the_switch_is_shown_engaged_and_released_by_a_person_with_a_reason(world: World) -> None:
    world.arm.ready_after = timedelta()
    assert (
        json.loads(run("killswitch", "status", "-t", "sales-research", "-o", "json"))["template"]["KILLSWITCH_TOOLS"]
        == "-"
    )
    engaged = json.loads(run("killswitch", "engage", "-t", "sales-research", "--reason", "drill", "--output", "json"))
    assert (engaged["outcome"], engaged["verified"]) == ("done", True)
    assert "on" in run("killswitch", "status", "-t", "sales-research")
    reason = ("--reason", "the approver is back")
    assert "RED" in run("killswitch", "release", "-t", "sales-research", *reason, code=1)
    released = run("killswitch", "release", "-t", "sales-research", *reason, "--override")
    assert "every serving revision has it" in released
    assert world.template_env()["KILLSWITCH_TOOLS"] == "off"


def test_a_revision_that_comes_up_is_shown_as_starting(world: World) -> None:
    run("killswitch", "engage", "-t", "sales-research", "--reason", "drill", "--no-wait")
    shown = json.loads(run("killswitch", "status", "-t", "sales-research", "-o", "json"))
    assert [(each["state"], each["KILLSWITCH_TOOLS"]) for each in shown["serving"]] == [("running", "-")]
    assert [(each["state"], each["KILLSWITCH_TOOLS"]) for each in shown["coming"]] == [("starting", "on")]
    assert "starting" in run("killswitch", "status", "-t", "sales-research")


def test_a_person_stops_the_whole_app_and_starts_it_through_the_gate(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tocsin.core.hold import Engaged
    from tocsin.stores.sqlite import SqliteStore

    monkeypatch.setattr("tocsin.local.container_apps.STOPPED_AFTER", timedelta())
    world.arm.ready_after = timedelta()
    name, store = ("-t", "sales-research"), SqliteStore(tmp_path / "state.sqlite")
    assert "it is not stopped" in run("killswitch", "start", *name, "--reason", "x", code=1)
    assert "nothing runs any more" in run("killswitch", "stop", *name, "--reason", "no switch comes to serve")
    assert world.arm.down(world.target())
    assert [each.value.scope for each in store.kept(Engaged).values()] == ["app"]
    assert "RED" in run("killswitch", "start", *name, "--reason", "it is mended", code=1)
    assert world.arm.down(world.target())
    started = run("killswitch", "start", *name, "--reason", "it is mended now", "--override")
    assert "it runs" in started
    assert (world.arm.down(world.target()), store.kept(Engaged)) == (False, {})
    events = [each["event"] for each in store.audit()]
    assert events[-3:] == ["start intended", "start done", "start verified"]
    assert {"stop intended", "stop done", "stop verified", "refused to release"} <= set(events)
    assert (
        "the whole app is stopped by"
        in runner.invoke(program, ["killswitch", "engage", *name, "--scope", "app", "--reason", "x"]).stderr
    )


def test_a_person_engages_without_the_bootstrap_where_that_cannot_end(world: World) -> None:
    world.arm.ready_after, world.arm.bootstrap_fails = timedelta(), True
    options = ("-t", "sales-research", "--reason", "Foundry is down", "--skip-bootstrap", "-o", "json")
    assert json.loads(run("killswitch", "engage", *options))["verified"] is True
    assert (world.serving_env()["KILLSWITCH_TOOLS"], world.serving_env()["BOOTSTRAP_SKIP"]) == ("on", "1")


def test_where_traffic_is_pinned_a_person_engages_what_serves(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.cli.switching._PAUSE", 0.0)
    world.arm.ready_after = timedelta()
    world.arm.create(world.target(), {"HITL_APPROVER_ENDPOINT": "https://approver"}, multiple=True)
    engaged = json.loads(run("killswitch", "engage", "-t", "sales-research", "--reason", "drill", "--output", "json"))
    assert engaged["verified"] is True
    assert world.serving_env()["KILLSWITCH_TOOLS"] == "on"


def test_what_a_person_does_is_in_the_audit_before_and_after(world: World, tmp_path: Path) -> None:
    from tocsin.core import audit
    from tocsin.stores.sqlite import SqliteStore

    run("killswitch", "engage", "-t", "sales-research", "--reason", "drill", "--no-wait")
    entries = SqliteStore(tmp_path / "state.sqlite").audit()
    assert [entry["event"] for entry in entries] == ["engage intended", "engage done"]
    assert entries[0]["actor"].startswith("person ")
    assert entries[0]["detail"]["reason"] == "drill"
    assert audit.broken(entries) is None


def test_a_person_waits_while_a_policy_changes_the_app(world: World, tmp_path: Path) -> None:
    from tocsin.stores.sqlite import SqliteStore

    store = SqliteStore(tmp_path / "state.sqlite")
    assert store.lock("act/sales-research", "a tick", datetime.now(UTC), timedelta(minutes=2))
    said = run("killswitch", "engage", "-t", "sales-research", "--reason", "drill", "--no-wait", code=1)
    assert "changing the app at this moment" in said
    assert "KILLSWITCH_TOOLS" not in world.template_env()
    store.unlock("act/sales-research", "a tick")
    run("killswitch", "engage", "-t", "sales-research", "--reason", "drill", "--no-wait")
    assert store.lock("act/sales-research", "a tick", datetime.now(UTC), timedelta(minutes=2)), "the lock is free again"
    assert [each["event"] for each in store.audit()][1::2] == ["engage busy", "engage done"]


def test_a_switch_that_cannot_be_changed_is_bad_news(world: World) -> None:
    world.arm.faults.add("forbidden", matching="PATCH", message="no Microsoft.App/containerApps/write")
    result = runner.invoke(program, ["killswitch", "engage", "-t", "sales-research", "--reason", "x"])
    assert result.exit_code == 1
    assert "containerApps/write" in result.output


def test_a_platform_that_does_not_answer_is_exit_code_three(world: World) -> None:
    world.arm.faults.add("forbidden")
    run("killswitch", "status", "-t", "sales-research", code=3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["killswitch", "status", "-t", "nobody"], "known: sales-research"),
        (
            ["killswitch", "engage", "-t", "sales-research", "--reason", "x", "--scope", "all-of-it"],
            "known: tools, workflow, all",
        ),
        (["killswitch", "engage", "-t", "sales-research", "--reason", " "], "must say why"),
        (["run", "--trace", "x.csv"], "needs --local"),
    ],
)
def test_a_wrong_call_says_what_would_be_right(world: World, arguments: list[str], words: str) -> None:
    assert words in run(*arguments, code=2)


def test_the_loop_over_the_local_world_ticks_and_stops(root: Path) -> None:
    out = run("run", "--local", "--ticks", "3", "--every", "6", "--speed", "60", "--root", str(root))
    assert out.count("messages accepted") == 3


def test_the_version_is_said() -> None:
    assert run("--version").strip() == "0.1.0"


def test_a_local_settings_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "local.settings.json").write_text("{")
    assert "local.settings.json cannot be read" in run("tick", "--root", str(tmp_path), code=2)


def test_nothing_to_watch_is_bad_news(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)
    result = runner.invoke(program, ["tick", "--root", str(tmp_path)])
    assert result.exit_code == 1
    assert "no target is watched" in result.stderr
