"""The commands with which a person sees what policies ask, and gives a word on it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.reading_cases import SETTINGS, project
from tests.stage import CONFIG, MISCONFIGURED, T0, Stage
from tocsin.cli.commands import program
from tocsin.core.fields import Automation
from tocsin.core.remedy import Phase
from tocsin.ports import Store
from tocsin.stores.sqlite import SqliteStore

MINUTE = timedelta(minutes=1)


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A project whose store holds one question of a policy."""
    project(tmp_path)
    file = tmp_path / "tocsin.yaml"
    file.write_text(file.read_text().replace("name: sales-research", "name: sales"))
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    file = tmp_path / ".tocsin" / "state.sqlite"
    file.parent.mkdir()
    config = CONFIG.model_copy(update={"automation": Automation.ASK})
    stage = Stage(MISCONFIGURED, store=SqliteStore(file), config=config)
    stage.platform.env.pop("HITL_APPROVER_ENDPOINT")
    stage.busy(T0, T0 + 30 * MINUTE)
    stage.run(range(10))
    return stage


def run(*arguments: str, code: int = 0) -> Any:
    found = CliRunner().invoke(program, [*arguments, "--output", "json"])
    assert found.exit_code == code, found.output
    return json.loads(found.stdout) if code == 0 else found.stderr


def only(store: Store) -> Any:
    (execution,) = store.executions()
    return execution


def set_clock(monkeypatch: pytest.MonkeyPatch, at: datetime) -> None:
    monkeypatch.setattr("tocsin.app.SystemClock.now", lambda _: at)


def test_a_question_is_listed_and_approved_and_the_next_tick_acts(
    asked: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_clock(monkeypatch, T0 + 9 * MINUTE)
    (listed,) = run("actions")
    assert listed["phase"] == "asked"
    assert listed["steps"][0]["action"] == "killswitch.engage"
    run("approve", listed["id"])
    assert asked.platform.changes == 0, "a word is not yet a deed"
    asked.run(range(10, 12))
    assert asked.platform.changes == 1
    (consented,) = [each for each in asked.inner.audit() if each["event"] == "consented"]
    assert consented["actor"].startswith("person ")
    assert consented["detail"]["via"] == "command line"


def test_a_consent_of_a_quarter_of_an_hour_ago_is_none(asked: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    set_clock(monkeypatch, T0 + 9 * MINUTE - timedelta(minutes=15))
    run("approve", only(asked.inner).id)
    asked.run(range(10, 13))
    assert asked.platform.changes == 0
    unused = [each["detail"]["consent"] for each in asked.inner.audit() if "consent" in each["detail"]]
    assert len(unused) == 1
    assert unused[0].endswith("expired unused")


def test_what_was_declined_is_not_done_in_this_episode_and_is_told(
    asked: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_clock(monkeypatch, T0 + 9 * MINUTE)
    run("decline", only(asked.inner).id)
    asked.run(range(10, 20))
    assert (asked.platform.changes, only(asked.inner).phase) == (0, Phase.DECLINED)
    assert any(notice.title.startswith("Declined by a person") for notice in asked.team.got)
    assert run("actions") == []
    assert [each["phase"] for each in run("actions", "--all")] == ["declined"]


def test_a_question_that_nobody_asks_is_a_wrong_call_that_names_those_there_are(asked: Stage) -> None:
    said = run("approve", "nonsense", code=2)
    assert only(asked.inner).id in said.replace("\n", "")
