"""`tocsin check` for people, programs and CI: what is told, in which form, of which change, and with which end."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from tests.reading_cases import SETTINGS, keep, project
from tocsin.cli import kql_parser, reports
from tocsin.cli.commands import program
from tocsin.core.errors import Problem

runner = CliRunner()
DOUBTFUL = "summary: s\nseverity: P3\nwhen: { signal: response_errors, above: 5%, over: 16m }\n"
BROKEN = DOUBTFUL.replace("response_errors", "response_eror")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shipped files in a repository of their own, committed."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "test")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "test@example.com")
    root = keep(project(tmp_path), "high_error_rate", "hitl_misconfigured", "queue_depth", "stop_unsafe_tools")
    git(root, "init", "--quiet", "--initial-branch=main")
    commit(root)
    return root


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True)


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "as it was")


def check(root: Path, *arguments: str, code: int = 0) -> str:
    told = runner.invoke(program, ["check", str(root), *arguments])
    assert told.exit_code == code, told.output
    return told.stderr if code == 2 else told.stdout


def ids(text: str) -> list[str]:
    return [f"{each['path']} {each['id']}" for each in json.loads(text)["problems"]]


# How it ends


def test_warnings_alone_end_well_and_with_strict_they_do_not(folder: Path) -> None:
    (folder / "rules" / "doubtful.yaml").write_text(DOUBTFUL)
    told = check(folder)
    assert "rules/doubtful.yaml:3:7: warning[ratio-without-minimum]" in told
    assert told.endswith("4 rules, 1 policies, 1 targets: 1 warning\n")
    check(folder, "--strict", code=1)
    (folder / "rules" / "broken.yaml").write_text(BROKEN)
    assert check(folder, code=1).endswith("1 problem and 1 warning\n")


@pytest.mark.parametrize("form", list(reports.Report))
def test_every_form_ends_alike(folder: Path, form: str) -> None:
    assert check(folder, "-o", form)
    (folder / "rules" / "doubtful.yaml").write_text(DOUBTFUL)
    assert check(folder, "-o", form)
    assert check(folder, "-o", form, "--strict", code=1)


# What a change touches


def test_only_what_a_change_touches_is_told(folder: Path) -> None:
    (folder / "rules" / "old.yaml").write_text(DOUBTFUL)
    commit(folder)
    assert ids(check(folder, "--changed", "HEAD", "-o", "json")) == []
    (folder / "rules" / "new.yaml").write_text(DOUBTFUL.replace("16m", "17m"))
    assert ids(check(folder, "--changed", "HEAD", "-o", "json")) == ["rules/new.yaml ratio-without-minimum"]
    commit(folder)
    assert ids(check(folder, "--changed", "HEAD~1", "-o", "json")) == ["rules/new.yaml ratio-without-minimum"]


def test_what_a_change_breaks_in_a_file_it_left_alone_is_the_changes(folder: Path) -> None:
    (folder / "rules" / "hitl_misconfigured.yaml").unlink()
    found = ids(check(folder, "--changed", "HEAD", "-o", "json", code=1))
    assert found == ["remediations/stop_unsafe_tools.yaml unknown-rule"]
    git(folder, "checkout", "--quiet", ".")
    rule = folder / "rules" / "hitl_misconfigured.yaml"
    rule.write_text(rule.read_text() + "enabled: false\n")
    found = ids(check(folder, "--changed", "HEAD", "-o", "json"))
    assert found == ["remediations/stop_unsafe_tools.yaml policy-never-acts"]


def test_what_others_did_since_is_not_the_changes(folder: Path) -> None:
    git(folder, "checkout", "--quiet", "-b", "mine")
    git(folder, "checkout", "--quiet", "main")
    (folder / "rules" / "theirs.yaml").write_text(DOUBTFUL)
    commit(folder)
    git(folder, "checkout", "--quiet", "mine")
    (folder / "rules" / "mine.yaml").write_text(DOUBTFUL.replace("16m", "17m"))
    assert ids(check(folder, "--changed", "main", "-o", "json")) == ["rules/mine.yaml ratio-without-minimum"]


def test_a_folder_below_the_repository_is_compared_with_itself(folder: Path) -> None:
    below = folder / "deploy" / "watch"
    below.mkdir(parents=True)
    for name in ("rules", "remediations", "tocsin.yaml"):
        (folder / name).rename(below / name)
    (below / "rules" / "old.yaml").write_text(DOUBTFUL)
    commit(folder)
    (below / "rules" / "new.yaml").write_text(DOUBTFUL.replace("16m", "17m"))
    assert ids(check(below, "--changed", "HEAD", "-o", "json")) == ["rules/new.yaml ratio-without-minimum"]
    assert "file=deploy/watch/rules/new.yaml," in check(below, "--changed", "HEAD", "-o", "github")


@pytest.mark.parametrize("base", ["nothing", "--output=x", "HEAD~7"])
def test_a_base_that_is_none_is_a_wrong_call(folder: Path, base: str) -> None:
    assert "--changed" in check(folder, f"--changed={base}", code=2)
    assert not (folder / "x").exists()


# Forms


MANY = [Problem(f"rules/r{number:02}.yaml", 1, 1, "bad-value", "50% of it: a, b\nno") for number in range(12)]
DOUBT = Problem("tocsin.yaml", 3, 5, "idle-receiver", "nobody", width=4, hint="remove it", severity="warning")


def test_annotations_are_ten_of_a_kind_with_the_worst_first_and_the_rest_is_told() -> None:
    lines = reports.github([DOUBT, *MANY], "deploy/").splitlines()
    assert (
        lines[0] == "::error file=deploy/rules/r00.yaml,line=1,col=1,endColumn=2,title=bad-value::50%25 of it: a, b no"
    )
    assert sum(line.startswith("::error ") for line in lines) == 10
    assert "2 more of kind error" in lines[10]
    assert "rules/r11.yaml:1:1" in lines[12]
    warning = "::warning file=deploy/tocsin.yaml,line=3,col=5,endColumn=9,title=idle-receiver::nobody (remove it)"
    assert lines[13:] == [warning]


def test_an_annotations_properties_cannot_be_broken_out_of() -> None:
    evil = Problem("rules/a,line=9::b%.yaml", 1, 1, "bad-value", "::error::x\r\n::stop-commands::y")
    (line,) = reports.github([evil]).splitlines()
    assert line.startswith("::error file=rules/a%2Cline=9%3A%3Ab%25.yaml,line=1,")


def test_sarif_is_a_log_of_one_run_whose_results_name_their_rules() -> None:
    log = json.loads(reports.sarif([DOUBT, *MANY], "deploy/"))
    (run,) = log["runs"]
    rules = [each["id"] for each in run["tool"]["driver"]["rules"]]
    assert (log["version"], rules) == ("2.1.0", ["bad-value", "idle-receiver"])
    assert all(rules[each["ruleIndex"]] == each["ruleId"] for each in run["results"])
    assert [each["level"] for each in run["results"]] == ["error"] * 12 + ["warning"]
    place = run["results"][-1]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "deploy/tocsin.yaml"
    assert place["region"] == {"startLine": 3, "startColumn": 5, "endColumn": 9}


def test_junit_has_a_case_for_every_file_and_fails_those_with_errors() -> None:
    whole = ElementTree.fromstring(reports.junit([DOUBT, MANY[0], MANY[0]], ["rules/good.yaml", "tocsin.yaml"]))
    (suite,) = whole
    failed = {each.get("name"): each.find("failure") is not None for each in suite}
    assert failed == {"rules/good.yaml": False, "rules/r00.yaml": True, "tocsin.yaml": False}
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    assert "idle-receiver" in (suite[2].findtext("system-out") or "")
    strict = ElementTree.fromstring(reports.junit([DOUBT], [], strict=True))
    assert strict[0].get("failures") == "1"


# Microsoft's parser


QUERY = """summary: s
severity: P3
when:
  kql: |
    AppTraces
    | where Message startswith lower_case
    | summarize value = sum(ItemCount)
  above: 1
  over: 1h
"""


def test_the_parser_is_asked_where_it_is_and_only_there(folder: Path) -> None:
    (folder / "rules" / "own.yaml").write_text(QUERY)
    assert ids(check(folder, "--no-kql-parser", "-o", "json")) == []
    if lacking := kql_parser.missing():
        assert lacking in check(folder, "--kql-parser", code=2)
    else:
        assert ids(check(folder, "-o", "json", code=1)) == ["rules/own.yaml bad-kql"]


def test_a_parser_that_does_not_answer_is_said_and_done_without(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "rules" / "own.yaml").write_text(QUERY.replace("Message", "Mesage"))

    def fail(*_: object) -> None:
        raise kql_parser.ParserFailed("it fell")

    monkeypatch.setattr(kql_parser, "missing", lambda: "")
    monkeypatch.setattr(kql_parser, "problems", fail)
    told = runner.invoke(program, ["check", str(folder), "-o", "json"])
    assert "did not answer (it fell)" in told.stderr
    assert ids(told.stdout) == ["rules/own.yaml unknown-column"]
