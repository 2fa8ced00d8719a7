"""What a plan says of a change: in words, in queries, in who is told, and what deserves a second look."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.history import exported, loaded, rows
from tests.reading_cases import project
from tocsin.cli.commands import program
from tocsin.planning.prose import MARKER

runner = CliRunner()


@pytest.fixture
def fork(tmp_path: Path) -> Path:
    project(tmp_path)
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=x", "-c", "user.email=x@y", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    telemetry = loaded(rows(5, timedelta(hours=6), every=30))
    yield exported(telemetry, tmp_path_factory.mktemp("export"))
    telemetry.close()


def plan(fork: Path, *arguments: str, code: int = 0) -> str:
    result = runner.invoke(program, ["plan", "--base", "HEAD", "--root", str(fork), *arguments])
    assert result.exit_code == code, result.output
    return result.stdout


def document(fork: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(plan(fork, "-o", "json", *arguments, code=code))
    return found


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_nothing_changed_is_said_in_a_line(fork: Path) -> None:
    assert plan(fork).startswith("nothing changes: no rule, no policy and nothing in tocsin.yaml differs")
    assert plan(fork, "-o", "markdown").startswith(MARKER)


def test_a_threshold_is_told_as_it_was_typed_wherever_it_is_changed(fork: Path) -> None:
    edited(fork / "rules" / "high_error_rate.yaml", "above: 5%", "above: 7.5%")
    (change,) = document(fork)["changes"]
    assert (change["kind"], change["id"], change["what"]) == ("rule", "high_error_rate", "changed")
    assert change["keys"] == [{"path": "when.above", "before": "5%", "after": "7.5%"}]
    assert "  when.above: 5% → 7.5%" in plan(fork).splitlines()
    assert "`when.above: 5% → 7.5%`" in plan(fork, "-o", "markdown")


def test_what_is_tuned_is_told_of_its_rule(fork: Path) -> None:
    (fork / "tocsin.yaml").write_text((fork / "tocsin.yaml").read_text() + _tuned(fork))
    (change,) = document(fork)["changes"]
    assert change["id"] == "p95_latency"
    assert [key["path"] for key in change["keys"]] == ["for"]


def _tuned(fork: Path) -> str:
    assert "\ntuning:" not in (fork / "tocsin.yaml").read_text()
    return "tuning:\n  p95_latency: { for: 17m }\n"


def test_a_query_that_reads_otherwise_is_shown_as_a_diff(fork: Path) -> None:
    edited(fork / "rules" / "high_error_rate.yaml", "signal: response_errors", "signal: worker_failures")
    found = document(fork)["queries"]
    assert [each["rule"] for each in found] == ["high_error_rate"]
    signs = {line[0] for line in found[0]["diff"].splitlines()}
    assert {"+", "-"} <= signs
    assert "```diff" in plan(fork, "-o", "markdown")


def test_who_is_told_is_told(fork: Path) -> None:
    edited(fork / "rules" / "high_error_rate.yaml", "severity: P1", "severity: P3")
    (told,) = document(fork)["routing"]
    assert told["rule"] == "high_error_rate"
    assert told["before"] != told["after"]
    assert f"{', '.join(told['before'])} → {', '.join(told['after'])}" in plan(fork)


def test_a_rule_that_is_gone_or_new_is_named_with_what_it_watched(fork: Path) -> None:
    (fork / "rules" / "cost_jump.yaml").unlink()
    text = (fork / "rules" / "cost_per_call.yaml").read_text()
    (fork / "rules" / "dear_calls.yaml").write_text(text)
    found = {each["id"]: each for each in document(fork)["changes"]}
    assert found["cost_jump"]["what"] == "removed"
    assert found["cost_jump"]["beware"] == ["nothing watches for it any more"]
    assert (found["dear_calls"]["what"], "cost_per_call" in found["dear_calls"]["summary"]) == ("added", True)


def test_what_has_a_problem_was_not_removed(fork: Path) -> None:
    (fork / "tocsin.yaml").write_text((fork / "tocsin.yaml").read_text() + "tuning: { cost_jump: { for: soon } }\n")
    edited(fork / "remediations" / "stop_on_error_storm.yaml", "mode: ask", "mode: asks")
    found = {each["id"]: each for each in document(fork, code=1)["changes"]}
    for name in ("cost_jump", "stop_on_error_storm"):
        assert found[name]["what"] == "left out"
        assert found[name]["beware"][0] == "its file is there, and has a problem"
    assert "rule cost_jump left out" in plan(fork, code=1)


def test_more_done_without_asking_deserves_a_second_look(fork: Path) -> None:
    edited(fork / "remediations" / "stop_on_error_storm.yaml", "mode: ask", "mode: act")
    found = {each["id"]: each for each in document(fork)["changes"]}
    assert found["stop_on_error_storm"]["beware"] == ["guard.mode: more is done without asking (ask → act)"]
    assert "⚠ guard.mode: more is done" in plan(fork, "-o", "markdown")
    edited(fork / "remediations" / "stop_on_error_storm.yaml", "mode: act", "mode: observe")
    found = {each["id"]: each for each in document(fork)["changes"]}
    assert found["stop_on_error_storm"]["beware"] == []


def test_an_error_is_told_and_is_bad_news(fork: Path) -> None:
    edited(fork / "rules" / "high_error_rate.yaml", "signal: response_errors", "signal: response_eror")
    text = plan(fork, code=1)
    assert "did you mean 'response_errors'?" in text
    assert document(fork, code=1)["problems"][0]["id"] == "unknown-signal"


def test_the_secret_in_a_setting_is_in_no_plan(fork: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHED_ROLE_NAME", "the-secret")
    edited(fork / "tocsin.yaml", "role_name: ${WATCHED_ROLE_NAME}", "role_name: x-${WATCHED_ROLE_NAME}")
    text = plan(fork, "-o", "json")
    (change,) = json.loads(text)["changes"]
    (key,) = change["keys"]
    assert (key["before"], key["after"]) == ("${WATCHED_ROLE_NAME}", "x-${WATCHED_ROLE_NAME}")


def test_a_change_is_replayed_where_there_is_history(fork: Path, history: Path) -> None:
    assert "Not replayed: give --data" in plan(fork)
    edited(fork / "rules" / "high_error_rate.yaml", "above: 5%", "above: 99%")
    found = document(fork, "--data", str(history))["backtest"]
    (difference,) = [each for each in found["differences"] if each["rule"] == "high_error_rate"]
    assert (difference["base"]["episodes"] > 0, difference["head"]["episodes"]) == (True, 0)
    comment = plan(fork, "--data", str(history), "-o", "markdown")
    assert "**Backtest**" in comment
    assert "- no longer: " in comment


def test_a_commit_there_is_not_is_a_wrong_call(fork: Path) -> None:
    result = runner.invoke(program, ["plan", "--base", "nonsense", "--root", str(fork)])
    assert (result.exit_code, "--base nonsense:" in result.stderr) == (2, True)


def test_a_text_that_would_end_the_code_it_stands_in_does_not(fork: Path) -> None:
    edited(fork / "rules" / "high_error_rate.yaml", "owner: ", "owner: '`x` | @team <img> '  # ")
    comment = plan(fork, "-o", "markdown", code=0)
    (line,) = [each for each in comment.splitlines() if "owner:" in each]
    assert line.count("`") == 2


CONDITIONS = {
    "cost_jump": "cost risen by more than 20% versus 1w earlier over 1d with at least 50 events",
    "slo_burn": "burning the objective of 99% in 4w2d (page)",
    "high_error_rate": "response_errors above 5% over 15m with at least 20 events for 5m",
    "certificate_expiry": "certificate_days below",
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_the_whole_condition_of_a_rule_that_is_added_is_said(fork: Path, name: str) -> None:
    (fork / "rules" / "added.yaml").write_text((fork / "rules" / f"{name}.yaml").read_text())
    (added,) = [each for each in document(fork)["changes"] if each["what"] == "added"]
    assert CONDITIONS[name] in added["summary"]


def test_what_repeats_is_said_once(fork: Path) -> None:
    for name in ("cost_jump", "cost_per_call"):
        edited(fork / "rules" / f"{name}.yaml", "owner: ai-ops", "owner: payments")
    lines = plan(fork).splitlines()
    assert "rules cost_jump, cost_per_call changed" in lines
    assert lines.count("  owner: ai-ops → payments") == 1
    edited(fork / "tocsin.yaml", "to: [oncall, team]", "to: [oncall]")
    told = [line for line in plan(fork).splitlines() if line.startswith("told of ") and "(P1)" in line]
    assert len(told) == 1
    assert "high_error_rate" in told[0]


def test_a_proof_that_is_gone_deserves_a_second_look(fork: Path) -> None:
    path = fork / "remediations" / "stop_unsafe_tools.yaml"
    edited(path, "  - { signal: side_effect_tools, at_most: 0, over: 2m, within: 20m }\n", "")
    (change,) = document(fork)["changes"]
    assert "verify: 1 of 2 proofs are gone" in change["beware"]
    edited(
        path, "verify:\n  - { container_env: KILLSWITCH_TOOLS, is: on, on: every serving revision, within: 10m }\n", ""
    )
    (change,) = document(fork)["changes"]
    assert "verify: 2 of 2 proofs are gone: nothing proves that it worked" in change["beware"]


def test_a_policy_that_is_tuned_is_told_like_one_that_was_edited(fork: Path) -> None:
    config = fork / "tocsin.yaml"
    config.write_text(config.read_text() + "tuning: { stop_on_error_storm: { guard: { mode: act } } }\n")
    (change,) = document(fork)["changes"]
    assert (change["kind"], change["id"]) == ("policy", "stop_on_error_storm")
    assert any("more is done without asking" in each for each in change["beware"])
