"""Odd and plausible history, files and commits: what a backtest and a plan make of them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.reading_cases import project
from tocsin.cli.commands import program

runner = CliRunner()
ROLE = "sales-api"


def committed(folder: Path) -> Path:
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=x", "-c", "user.email=x@y", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def fork(tmp_path: Path) -> Path:
    return committed(project(tmp_path / "fork" if (tmp_path / "fork").mkdir() is None else tmp_path))


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An hour in which half of the responses fail from the tenth to the fortieth minute."""
    return recorded(tmp_path_factory.mktemp("export"), [line(minute, 10 <= minute < 40) for minute in range(60)])


def line(minute: int, failing: bool, role: str = ROLE, **more: str) -> str:
    found = []
    for number in range(10):
        ok = "false" if failing and number % 2 else "true"
        properties = json.dumps({"event_name": "response.returned", "ok": ok, "value": "900", **more}).replace('"', '""')
        found.append(f'2026-11-02T13:{minute:02}:{number:02}Z,{role},x,"{properties}"\n')
    return "".join(found)


def recorded(folder: Path, lines: list[str]) -> Path:
    (folder / "AppTraces.csv").write_text("TimeGenerated,AppRoleName,Message,Properties\n" + "".join(lines))
    return folder


def called(command: str, fork: Path, *arguments: str, code: int = 0) -> str:
    result = runner.invoke(program, [command, "--root", str(fork), *arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result.stdout if not code else result.stderr


def backtest(fork: Path, history: Path, *arguments: str, code: int = 0) -> str:
    return called("backtest", fork, "--data", str(history), *arguments, code=code)


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_probe_text(fork: Path, history: Path) -> None:
    print(backtest(fork, history))


def test_probe_new_rule(fork: Path, history: Path) -> None:
    (fork / "rules" / "new_one.yaml").write_text((fork / "rules" / "high_error_rate.yaml").read_text())
    print(backtest(fork, history, "--base", "HEAD", "new_one"))


def test_probe_no_config_at_base(fork: Path, history: Path) -> None:
    subprocess.run(["git", "rm", "-q", "--cached", "tocsin.yaml"], cwd=fork, check=True)
    subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@y", "commit", "-qm", "y"], cwd=fork, check=True)
    print(called("plan", fork, "--base", "HEAD", "--data", str(history)))
    print(backtest(fork, history, "--base", "HEAD"))


def test_probe_role(fork: Path, history: Path) -> None:
    edited(fork / "tocsin.yaml", "role_name: ${WATCHED_ROLE_NAME}", "role_name: sales-api")
    committed(fork)
    two = history.parent / "two"
    two.mkdir(exist_ok=True)
    recorded(two, [line(m, True, "other-api") + line(m, False) for m in range(60)])
    edited(fork / "tocsin.yaml", "role_name: sales-api", "role_name: other-api")
    print(backtest(fork, two, "--base", "HEAD"))


@pytest.mark.parametrize("rule, axis", [
    ("container_restarts", "threshold=1,3"), ("high_error_rate", "over=0m,5m"), ("slo_burn", "threshold=90%,100%"),
    ("slo_burn", "threshold=95%,99%"),
    ("slo_burn", "over=5m,30m"), ("cost_jump", "over=1d,3d"), ("cost_jump", "over=9d,10d"), ("cost_jump", "minimum=1,3"), ("no_output", "over=5m,30m"),
    ("high_error_rate", "minimum=-5,2.5"), ("high_error_rate", "threshold=1%,2% threshold=3%,4%"),
])
def test_probe_sweep(fork: Path, history: Path, rule: str, axis: str) -> None:
    result = runner.invoke(program, ["backtest", "--root", str(fork), "--data", str(history), rule, *axis.split()])
    print(result.exit_code, result.output, repr(result.exception))


def test_probe_days(fork: Path, history: Path) -> None:
    print(backtest(fork, history, "high_error_rate", "--days", "1000000"))


def test_probe_subfolder(tmp_path: Path, history: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    committed(tmp_path)
    (tmp_path / "ops").mkdir()
    project(tmp_path / "ops")
    print(called("plan", tmp_path / "ops", "--base", "HEAD"))


def test_probe_bad_properties(fork: Path, tmp_path: Path) -> None:
    import duckdb
    folder = tmp_path / "pq"
    folder.mkdir()
    duckdb.execute(f"COPY (SELECT TIMESTAMP '2026-11-02 13:00:00' + INTERVAL (i) MINUTE AS \"TimeGenerated\", '{ROLE}' AS \"AppRoleName\", CASE i%3 WHEN 0 THEN '' WHEN 1 THEN '{{\"a\":' ELSE NULL END AS \"Properties\" FROM range(60) t(i)) TO '{folder}/AppTraces.parquet' (FORMAT parquet)")
    print(backtest(fork, folder, "high_error_rate"))
