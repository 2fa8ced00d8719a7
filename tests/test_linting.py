"""Warnings: each is given where its author would look, put off by a comment until a day, and never keeps a file out."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.reading_cases import SETTINGS, keep, project, subject
from tocsin import app, signals
from tocsin.cli import kql_parser
from tocsin.core.errors import Problem, render
from tocsin.core.read import Written
from tocsin.files import read_project, read_written
from tocsin.linting import LINTS, lint
from tocsin.linting.snooze import awake

pytestmark = pytest.mark.long

CASES = sorted((ROOT / "tests" / "linting").glob("*.yaml"))
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
RULE = 'summary: "{value} on {target}"\nseverity: P3\nwhen: { signal: side_effect_tools, above: 5, over: 3m }\n'


def kind_of(path: Path) -> str:
    return path.read_text().split()[1]


def expected(path: Path) -> list[str]:
    """Return the warnings that the first comment names: ``line:column id``, of another file ``path id``."""
    kind, _, listed = path.read_text().splitlines()[0].removeprefix("# ").partition(" ")
    found = (each.strip() for each in listed.split(",") if each.strip())
    return sorted(each if "/" in each else f"{subject(kind)}:{each}" for each in found)


def few(folder: Path) -> Path:
    """Return a folder with a rule of each kind and the policy on one of them."""
    return keep(
        project(folder), "high_error_rate", "hitl_misconfigured", "cost_jump", "queue_depth", "stop_unsafe_tools"
    )


def written(path: Path, folder: Path) -> Written:
    """Return a few of the shipped files with this one among them, and a rule whose window is short."""
    root = few(folder)
    shutil.copy(path, root / subject(kind_of(path)))
    if "later_than_the_window" in path.name:
        (root / "rules" / "late.yaml").write_text(RULE)
    return read_written(root, SETTINGS, app.known())


def found(made: Written, now: datetime = NOW) -> tuple[Problem, ...]:
    problems = (*made.project.problems, *lint(made, signals.known(), now))
    return awake(problems, made.texts, LINTS, now)


def named(problems: tuple[Problem, ...], own: str) -> list[str]:
    places = {each: f":{each.line}:{each.column}" if each.path == own else "" for each in problems}
    return sorted(f"{each.path}{place} {each.id}" for each, place in places.items())


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_warning_is_given_at_its_place(path: Path, tmp_path: Path) -> None:
    assert named(mine(found(written(path, tmp_path)), path), subject(kind_of(path))) == expected(path)


def mine(problems: tuple[Problem, ...], path: Path) -> tuple[Problem, ...]:
    """Return what is about the case: a configuration of other receivers breaks the shipped policies' escalations."""
    return tuple(each for each in problems if kind_of(path) != "config" or not each.path.startswith("remediations/"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_warning_keeps_nothing_from_being_used(path: Path, tmp_path: Path) -> None:
    made = written(path, tmp_path)
    errors = [each for each in found(made) if each.is_error and each.path == subject(kind_of(path))]
    subjects = {*(rule.id for rule in made.project.rules), *(policy.id for policy in made.project.policies)}
    assert kind_of(path) == "config" or bool(errors) != ("subject" in subjects)


def test_every_warning_has_a_case_and_says_so_in_its_report() -> None:
    ids = {each.split()[1] for path in CASES for each in expected(path)}
    others = {"policy-never-acts", "bad-snooze", "expired-snooze", "needless-snooze", "unknown-signal", "no-runbook"}
    assert ids - others == set(LINTS) - others


def test_the_shipped_files_give_no_warning() -> None:
    made = read_written(ROOT, SETTINGS, app.known())
    assert render(found(made)) == ""


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("enabled: false", "disabled"),
        ("snooze: { until: 2026-12-01, reason: moving }", "snoozed until 2026-12-01"),
    ],
)
def test_a_policy_on_a_rule_that_cannot_fire_is_doubted(tmp_path: Path, line: str, words: str) -> None:
    root = few(tmp_path)
    rule = root / "rules" / "hitl_misconfigured.yaml"
    rule.write_text(f"{rule.read_text()}{line}\n")
    (problem,) = found(read_written(root, SETTINGS, app.known()))
    assert (problem.path, problem.id) == ("remediations/stop_unsafe_tools.yaml", "policy-never-acts")
    assert words in problem.message
    assert found(read_written(root, SETTINGS, app.known()), NOW + timedelta(days=30)) == () or "enabled" in line


@pytest.mark.parametrize(("area", "doubted"), [("sales", False), ("support", True)])
def test_a_policy_for_labels_that_no_rule_has_is_doubted(tmp_path: Path, area: str, doubted: bool) -> None:
    root = few(tmp_path)
    policy = f"summary: s\non: {{ severity: P1, labels: {{ source: {area} }} }}\nguard: {{ mode: act }}\n"
    (root / "remediations" / "subject.yaml").write_text(f"{policy}do: [killswitch.engage: {{ scope: workflow }}]\n")
    for path in (root / "rules").glob("*.yaml"):
        text = re.sub(r"^labels:.*\n", "", path.read_text(), flags=re.MULTILINE)
        path.write_text(f"{text}labels: {{ source: sales }}\n")
    problems = [each for each in found(read_written(root, SETTINGS, app.known())) if "subject" in each.path]
    assert [each.id for each in problems] == ["policy-never-acts"] * doubted


def test_an_expired_comment_brings_the_warning_back_on_its_day(tmp_path: Path) -> None:
    (path,) = [each for each in CASES if each.stem == "snoozed_on_the_line_above"]
    made = written(path, tmp_path)
    last = datetime(2026, 11, 30, 23, 59, tzinfo=UTC)
    assert found(made, last) == ()
    assert [each.id for each in found(made, last + timedelta(minutes=1))] == ["expired-snooze", "ratio-without-minimum"]


def test_warnings_are_no_problems_of_the_running_app(tmp_path: Path) -> None:
    (path,) = [each for each in CASES if each.stem == "rows_counted"]
    root = few(tmp_path)
    shutil.copy(path, root / "rules" / "subject.yaml")
    made = read_project(root, SETTINGS, app.known())
    assert made.problems == ()
    assert "subject" in {rule.id for rule in made.rules}


def test_a_step_towards_a_worse_alert_that_hides_it_is_no_duplicate(tmp_path: Path) -> None:
    root = few(tmp_path)
    text = (root / "rules" / "high_error_rate.yaml").read_text()
    (root / "rules" / "step.yaml").write_text(text.replace("5%", "2%"))
    assert {each.id for each in found(read_written(root, SETTINGS, app.known()))} == {"duplicate-rule"}
    config = root / "tocsin.yaml"
    hides = "  - { source: { match: { rule: high_error_rate } }, target: { match: { rule: step } }, equal: [target] }\n"
    config.write_text(f"{config.read_text()}inhibit:\n{hides}")
    assert found(read_written(root, SETTINGS, app.known())) == ()


# Microsoft's parser


@pytest.fixture
def parser() -> None:
    if lacking := kql_parser.missing():
        pytest.skip(lacking)


QUERIES = {
    "column": ("AppTraces\n| where Mesage has 'x'\n| summarize value = sum(ItemCount)", (6, 13, "bad-kql"), "Mesage"),
    "function": ("AppTraces\n| summarize value = sumx(ItemCount)", (6, 25, "bad-kql"), "sumx"),
    "lower": ("AppTraces\n| extend a = b_c\n| summarize value = sum(ItemCount)", (6, 18, "bad-kql"), "b_c"),
    "result": ("AppTraces\n| summarize values = sum(ItemCount)", (4, 8, "missing-column"), "value"),
}


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize("name", sorted(QUERIES))
def test_microsofts_parser_names_what_it_does_not_know_at_its_place(tmp_path: Path, name: str) -> None:
    query, place, word = QUERIES[name]
    root = few(tmp_path)
    body = "".join(f"    {line}\n" for line in query.splitlines())
    text = f"summary: s\nseverity: P3\nwhen:\n  kql: |\n{body}  above: 1\n  over: 1h\n"
    (root / "rules" / "subject.yaml").write_text(text)
    problem, *_ = kql_parser.problems(read_written(root, SETTINGS, app.known()))
    assert (problem.line, problem.column, problem.id) == place
    assert word in problem.message
    assert text.splitlines()[problem.line - 1][problem.column - 1 :].startswith(word) or name == "result"


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize("path", [each for each in CASES if "kql: |" in each.read_text()], ids=lambda path: path.stem)
def test_what_the_names_alone_say_the_parser_says_too(path: Path, tmp_path: Path) -> None:
    made = written(path, tmp_path)
    said = {each.split()[1] for each in expected(path)}
    names = said & {"unknown-table", "unknown-column", "unknown-function", "missing-column"}
    assert bool(kql_parser.problems(made)) == bool(names)


# Runbooks


@pytest.mark.parametrize(
    ("runbook", "words"),
    [
        ("docs/operations.md#high-error-rates", "no section '#high-error-rates'"),
        ("docs/operatoins.md#high-error-rate", "no file docs/operatoins.md"),
        ("docs/operations.md#high-error-rate", ""),
        ("docs/operations.md", ""),
        ("https://wiki.example/nowhere.md#x", ""),
        ("ask the team", ""),
    ],
)
def test_a_runbook_that_is_not_there_is_told(tmp_path: Path, runbook: str, words: str) -> None:
    root = few(tmp_path)
    path = root / "rules" / "high_error_rate.yaml"
    path.write_text(re.sub(r"(?m)^runbook: .*$", f'runbook: "{runbook}"', path.read_text()))
    pages = {"docs/operations.md": (ROOT / "docs" / "operations.md").read_text()}
    told = lint(read_written(root, SETTINGS, app.known()), signals.known(), NOW, pages=pages.get)
    assert [words in each.message for each in told if each.id == "no-runbook"] == [True] * bool(words)


def test_every_shipped_runbook_is_there() -> None:
    def read(path: str) -> str | None:
        return (ROOT / path).read_text() if (ROOT / path).is_file() else None

    told = lint(read_written(ROOT, SETTINGS, app.known()), signals.known(), NOW, pages=read)
    assert [each for each in told if each.id == "no-runbook"] == []
