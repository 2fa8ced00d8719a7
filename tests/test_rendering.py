"""``tocsin render``: every rule for every receiver, and a card as a browser shows it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.queries import shipped
from tests.reading_cases import SETTINGS
from tocsin import notifiers, signals
from tocsin.app import known
from tocsin.cli import picturing
from tocsin.cli.commands import program
from tocsin.cli.sampling import KINDS, POINTS, Sampler, course
from tocsin.core.limits import bound
from tocsin.core.rule import Rule
from tocsin.files import read_project
from tocsin.local.pagerduty import change_refusals, refusals
from tocsin.local.teams import refusal

runner = CliRunner()
RULE = "hitl_misconfigured"


def run(*arguments: str, code: int = 0) -> str:
    result = runner.invoke(program, ["render", *arguments])
    assert result.exit_code == code, result.output
    return result.stdout if code != 2 else result.stderr


def rendered(root: Path, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*arguments, "--root", str(root), "-o", "json"))
    return found


@pytest.mark.parametrize("receiver", notifiers.known())
@pytest.mark.parametrize("kind", KINDS)
def test_every_receiver_shows_every_kind_as_a_sample(root: Path, receiver: str, kind: str) -> None:
    found = rendered(root, RULE, "--receiver", receiver, "--kind", kind)
    assert (found["rule"], found["receiver"], found["kind"], found["sample"]) == (RULE, receiver, kind, True)
    if (receiver, kind) != ("pagerduty", "resolved"):  # a resolution has no text there
        assert "Sample: " in json.dumps(found["payload"])
        assert "a sample, nothing happened" in json.dumps(found["payload"])


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_rule_gives_what_the_receivers_take(root: Path, name: str) -> None:
    assert refusal(json.dumps(rendered(root, name, "-r", "teams")["payload"]).encode()) == ""
    for event in rendered(root, name, "-r", "pagerduty", "--kind", "resolved")["payload"]:
        judge = change_refusals if "change" in event["path"] else refusals
        assert judge(json.dumps(event["body"]).encode()) == []


def test_a_sample_is_just_past_the_limit_after_twenty_values(root: Path) -> None:
    data = rendered(root, "high_error_rate", "-r", "stdout")["payload"]["data"]
    assert len(data["series"]) == POINTS
    assert data["series"][0][1] < data["threshold"] < data["value"] < 1.5 * data["threshold"]
    assert data["value"] == data["series"][-1][1]
    over = rendered(root, "high_error_rate", "-r", "stdout", "--kind", "resolved")["payload"]["data"]
    values = [value for _, value in over["series"]]
    assert values[0] < over["threshold"] < max(values)
    assert values[-1] < over["threshold"]


CONDITIONS = [
    ("count", {"above": "0"}),
    ("count", {"at_least": "1"}),
    ("count", {"below": "1"}),
    ("count", {"at_most": "3"}),
    ("ratio", {"above": "99%"}),
    ("ratio", {"below": "90%"}),
    ("ms", {"above": "-5"}),
    ("ratio", {"change": {"more_than": "20%", "versus": "7d"}}),
    ("count", {"unusual": {"score": "3.5"}}),
]


@pytest.mark.parametrize(("unit", "condition"), CONDITIONS, ids=str)
def test_a_course_ends_past_any_limit_and_begins_and_comes_back_on_the_other_side(
    unit: str, condition: dict[str, Any]
) -> None:
    when = {"signal": "response_errors", "over": "15m", **condition}
    rule = Rule.model_validate({"id": "r", "summary": "s", "severity": "P1", "when": when})
    limit = bound(rule)
    assert limit is not None
    bad = rule.when.limit[0].holds if rule.when.limit else float.__gt__
    burning, over = course(rule, unit, over=False), course(rule, unit, over=True)
    assert len(burning) == len(over) == POINTS
    assert [bad(value, limit) for value in (burning[0], burning[-1])] == [False, True]
    assert [bad(value, limit) for value in (over[0], over[9], over[-1])] == [False, True, False]
    assert unit != "ratio" or all(0 <= value <= 1 for value in burning)


def test_absence_has_no_course_and_still_a_sample(root: Path) -> None:
    when = {"signal": "response_errors", "absent_for": "15m"}
    rule = Rule.model_validate({"id": "r", "summary": "s", "severity": "P1", "when": when})
    found = read_project(root, SETTINGS, known())
    made = Sampler(found, rule, found.config.targets[0], signals.known()["response_errors"]).notice(KINDS["fired"])
    assert made.series == ()
    assert made.value is None


def test_a_receiver_may_be_named_as_the_project_names_it(root: Path) -> None:
    assert rendered(root, RULE, "-r", "oncall")["receiver"] == "pagerduty"
    assert json.loads(run(RULE, "-r", "team", "--root", str(root)))["type"] == "message"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing", "-r", "teams"], "no rule 'nothing'; known: abandoned_requests"),
        ([RULE, "-r", "fax"], "no receiver 'fax'; known: "),
        ([RULE, "-r", "teams", "--kind", "bored"], "known: fired, acted, blind, resolved, failed"),
        ([RULE, "-r", "teams", "-t", "nobody"], "no target 'nobody'; known: sales-research"),
        (["p95_latency", "-r", "teams", "--kind", "acted"], "no policy answers the rule"),
        ([RULE, "-r", "pagerduty", "--picture", "x.png"], "Teams cards only"),
    ],
)
def test_a_wrong_call_says_what_would_be_right(root: Path, arguments: list[str], words: str) -> None:
    assert words in run(*arguments, "--root", str(root), code=2)


# Pictures


def test_without_what_a_picture_needs_it_is_said_what_and_how_it_is_had(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(picturing, "RENDERER", tmp_path / "absent.js")
    said = run(RULE, "-r", "teams", "--picture", str(tmp_path / "x.png"), "--root", str(root), code=2)
    assert "apt-get install chromium" in said
    assert "npm ci --prefix tools/cards" in said
    assert not (tmp_path / "x.png").exists()
    assert run(RULE, "-r", "teams", "--root", str(root))


def need_a_browser() -> None:
    """Skip the test where a picture cannot be drawn, saying why; where every check must run, fail it."""
    missing = picturing.missing()
    if missing and os.environ.get("CI"):
        pytest.fail(f"{missing}; CI may not do without")
    if missing:
        pytest.skip(missing)


@pytest.mark.slow
def test_a_browser_shows_the_card_in_order_with_its_facts_and_buttons(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_a_browser()
    monkeypatch.setenv("TOCSIN_AUTOMATION", "act")
    payload = rendered(root, RULE, "-r", "teams")["payload"]
    with picturing.shown(payload["attachments"][0]["content"]) as page:
        text = page.locator("#card").inner_text()
        buttons = page.get_by_role("button").all_inner_texts() + page.get_by_role("link").all_inner_texts()
        links = page.locator("#card a").count()
    order = [
        "P1 fired",
        "Sample: No human approves what sales-research does: refused",
        "▁▁▁▁▁▁▁▁▁▁▁▁████████ 0 → 1 (limit 0)",
        "Value: 1 (limit: above 0 over 10m)",
        "Target: sales-research",
        "Tocsin: stop_unsafe_tools does killswitch.engage",
        "Killswitch: not engaged",
        "Open the runbook: docs/operations.md#hitl-misconfigured",
        "Stop its tools by hand: az containerapp update",
        "Container App",
        "a sample, nothing happened",
    ]
    places = [text.find(words) for words in order]
    assert -1 not in places, text
    assert places == sorted(places)
    assert "Container App" in buttons
    assert links == 0


@pytest.mark.slow
def test_a_picture_is_a_png_small_enough_for_the_documentation(root: Path, tmp_path: Path) -> None:
    need_a_browser()
    path = tmp_path / "card.png"
    assert rendered(root, RULE, "-r", "teams", "--picture", str(path))["picture"] == str(path)
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert 10_000 < path.stat().st_size < 150_000
    assert "cannot be written" in run(RULE, "-r", "teams", "--picture", "/nowhere/x.png", "--root", str(root), code=2)
