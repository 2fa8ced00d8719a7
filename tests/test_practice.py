"""Practice: a world that one process runs, and every other command in it by the settings that the first one wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from shlex import split
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.test_cli import run
from tocsin.local.world import ScaledClock, read_clock

COMMAND = [str(Path(sys.executable).with_name("tocsin")), "run", "--local", "--speed", "60", "--every", "60"]
NAME = ["-t", "sales-research", "--reason", "practice"]


def told(*arguments: str) -> Any:
    return json.loads(run(*arguments, "-o", "json"))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The settings of a world that another process runs are this one's environment, as after ``. FILE``."""
    file, clean = tmp_path / "practice.env", {**os.environ, "PYTHONUNBUFFERED": "1"}
    monkeypatch.setenv("TOCSIN_TABLES", "the table of production")
    with subprocess.Popen([*COMMAND, "--env", str(file)], cwd=ROOT, env=clean, stdout=subprocess.DEVNULL) as process:
        try:
            _until(lambda: file.is_file() and file.read_text().endswith("TOCSIN_AUDIT=''\n"))
            for line in file.read_text().splitlines():
                (setting,) = split(line.removeprefix("export "))
                monkeypatch.setenv(*setting.split("=", 1))
            monkeypatch.chdir(ROOT)
            yield
        finally:
            process.terminate()


def _until(holds: Any) -> None:
    ends = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < ends, "it never came to be"
        time.sleep(0.5)


@pytest.mark.slow
def test_other_commands_reach_the_world_that_is_run_for_practice(world: None) -> None:
    run("killswitch", "engage", *NAME, "--no-wait")
    _until(lambda: any(row["rule"] == "killswitch_engaged" and row["episode"] for row in told("alerts")))
    name = "killswitch_engaged/sales-research"
    alert = next(row["alert"] for row in told("alerts") if row["rule"] == "killswitch_engaged")
    assert alert.startswith(name)
    assert told("ack", alert)["by"]
    assert any(
        each["step"] == "acknowledged" and "by nobody" not in each["says"]
        for one in told("explain", name)
        for each in one["reasons"]
    )
    assert told("silence", "add", "--match", "rule=killswitch_engaged", "--comment", "practice")["state"] == "active"
    assert {"engage intended", "acknowledged", "silenced"} <= {each["event"] for each in told("audit", "list")}


def test_a_clock_is_the_same_in_another_process() -> None:
    clock = ScaledClock(datetime(2026, 11, 20, 3, tzinfo=UTC), 60)
    again = read_clock(clock.setting)
    assert (again.start, again.speed) == (clock.start, 60)
    assert abs(again.begun - clock.begun) < 0.001
