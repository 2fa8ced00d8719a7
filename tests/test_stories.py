"""Every story comes true, through the production adapters over HTTP, and says so to people and programs."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.reading_cases import project
from tocsin.cli.commands import program
from tocsin.local.stories import STORIES

pytestmark = pytest.mark.slow

runner = CliRunner()


def demo(root: Path) -> list[str]:
    """Return the call of a short story, in which Tocsin acts."""
    return ["demo", "--story", "configuration", "--speed", "0", "--root", str(root), "--output", "json"]


@cache
def played(root: Path, *arguments: str) -> dict[str, object]:
    """Return what came of a story; the same call is played once."""
    return anew(root, *arguments)


def anew(root: Path, *arguments: str) -> dict[str, object]:
    result = runner.invoke(program, ["demo", "--speed", "0", "--root", str(root), "--output", "json", *arguments])
    document: dict[str, object] = json.loads(result.stdout)
    assert result.exit_code == 0, document["unmet"]
    return document


PLAYED = [
    pytest.param(each, marks=[pytest.mark.long] * (each == "recovers")) for each in STORIES if each != "configuration"
]
"""Every story but the one that is played in plain text; the longest beside the mission is left out of CI."""


@pytest.mark.parametrize("story", PLAYED)
def test_every_story_comes_true(root: Path, story: str) -> None:
    document = played(root, "--story", story)
    assert document["true"]
    assert not document["unmet"]
    assert all(document["claims"].values())  # type: ignore[attr-defined]
    assert all(document["milestones"].values())  # type: ignore[attr-defined]


def test_the_mission_shows_every_milestone_the_summary_promises(root: Path) -> None:
    names = list(played(root, "--story", "mission")["milestones"])  # type: ignore[call-overload]
    assert names == [
        "first misconfigured event",
        "rule pending",
        "rule firing",
        "page accepted by PagerDuty",
        "page accepted by Teams",
        "intent recorded",
        "PATCH sent",
        "revision serving",
        "tools seen stopped",
        "drift told",
        "engaged again, proven",
        "release refused, evals red",
        "release ordered, evals green",
        "released, proven",
    ]


@pytest.mark.long
def test_the_mission_comes_true_on_recorded_load(root: Path, data: Path) -> None:
    assert played(root, "--trace", str(data / "llm-inference-2023" / "code.csv"))["true"]


@pytest.mark.long
def test_the_same_seed_tells_the_same_story(root: Path) -> None:
    story = ("--story", "configuration", "--seed", "3")
    assert anew(root, *story) == anew(root, *story)


@pytest.mark.long
def test_a_policy_that_only_observes_makes_the_mission_untrue(root: Path, tmp_path: Path) -> None:
    """The demo can fail: nothing in it is written down beforehand."""
    project(tmp_path)
    config = (root / "tocsin.yaml").read_text().replace("${TOCSIN_AUTOMATION}", "observe")
    (tmp_path / "tocsin.yaml").write_text(config)
    result = runner.invoke(program, demo(tmp_path))
    document = json.loads(result.stdout)
    assert result.exit_code == 1
    assert "not seen: PATCH sent" in document["unmet"]


@pytest.mark.long
def test_a_target_that_does_not_allow_the_last_resort_makes_its_story_untrue(root: Path, tmp_path: Path) -> None:
    project(tmp_path)
    config = (root / "tocsin.yaml").read_text().replace(", container_app.stop]", "]")
    (tmp_path / "tocsin.yaml").write_text(config)
    call = ["demo", "--story", "last_resort", "--speed", "0", "--root", str(tmp_path), "--output", "json"]
    result = runner.invoke(program, call)
    unmet = json.loads(result.stdout)["unmet"]
    assert result.exit_code == 1
    assert {"not seen: last resort asked", "not seen: app stopped, proven"} <= set(unmet)
    assert "broken: the app is stopped at the end" in unmet


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--story", "nonsense"], "known: mission, configuration, outage, recovers, last_resort"),
        (["--speed", "61"], "at most 60"),
        (["--trace", "no-such-file.csv"], "no trace at"),
    ],
)
def test_a_wrong_call_says_what_would_be_right(arguments: list[str], words: str) -> None:
    result = runner.invoke(program, ["demo", *arguments])
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_story_comes_true_for_people_in_plain_text_where_there_is_no_terminal(root: Path) -> None:
    result = runner.invoke(program, ["demo", "--speed", "0", "--story", "configuration", "--root", str(root)])
    assert result.exit_code == 0
    assert "The story came true." in result.stdout
    assert "\x1b[" not in result.stdout


@pytest.mark.long
def test_a_rule_that_shows_what_a_tool_was_told_breaks_the_claim_that_nothing_leaks(tmp_path: Path) -> None:
    project(tmp_path)
    (tmp_path / "rules" / "leak.yaml").write_text(
        "summary: '{who}'\nseverity: P1\nwhen:\n  kql: AppTraces | where Message == 'tool.executed' | summarize "
        "value = count() by who = tostring(Properties['args_redacted.email'])\n  above: 0\n  over: 5m\n  by: [who]\n"
    )
    result = runner.invoke(program, demo(tmp_path))
    assert "broken: no name or address of a customer left the telemetry" in json.loads(result.stdout)["unmet"]
