"""What the documentation shows is what there is: blocks are loaded, run or looked up; links lead somewhere."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main

from tests.conftest import ROOT
from tests.documents import Block, anchors, blocks, commands, links, pages, spans
from tests.kql.binder import Binder
from tests.reading_cases import SETTINGS, project
from tests.test_cli import runner
from tests.test_cli import world as world
from tocsin import signals
from tocsin.app import known
from tocsin.cli.commands import program
from tocsin.core.answer import Query
from tocsin.core.config import Config
from tocsin.document import parse
from tocsin.files import read_project
from tocsin.local.world import World
from tocsin.scenarios import reading
from tocsin.telemetry.embedded import EmbeddedTelemetry, Refused
from tools import runbooks

LANGUAGES = {"yaml", "json", "sh", "kusto", "text"}
DRAWN = {"docs/architecture.md", "docs/rule-tests.md", "docs/problems.md"}
"""Pages that show a drawing, or what a command prints."""

NOW = datetime(2026, 11, 20, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)


# Blocks


def test_every_block_says_its_language() -> None:
    assert len(blocks()) > 130
    assert [f"{each}: {each.language or 'none'}" for each in blocks() if each.language not in LANGUAGES] == []
    assert {each.page for each in blocks("text")} <= DRAWN


def test_every_json_block_is_json() -> None:
    for block in blocks("json"):
        json.loads(block.text)


_CONFIG = set(Config.model_fields) - {"id", "file"}
_RULE = {"summary": "x", "severity": "P3"}
_POLICY = "summary: x\non: { rule: high_error_rate }\nguard: { mode: ask }\n"


def _load(block: Block, root: Path) -> None:
    """Put the block where a file of its kind stands, and read the whole project with it."""
    parsed = parse(str(block), block.text.encode())
    assert parsed.node, parsed.problems
    keys = {key.text for key, _ in parsed.node.pairs or ()}
    if "when" in keys:
        needed = "".join(f"{key}: {value}\n" for key, value in _RULE.items() if key not in keys)
        (root / "rules" / "shown.yaml").write_text(block.text + needed)
    elif "do" in keys:
        (root / "remediations" / "shown.yaml").write_text(("" if "on" in keys else _POLICY) + block.text)
    elif "cases" in keys:
        path = root / "shown.yaml"
        path.write_text(block.text)
        found = reading.read(path, str(block), read_project(root, SETTINGS, known()), signals.known())
        assert found.scenarios, found.problems
        assert found.problems == ()
    elif keys <= _CONFIG:
        kept = re.split(r"^(?=[a-z_]+:)", (root / "tocsin.yaml").read_text(), flags=re.MULTILINE)
        kept = [part for part in kept if part.partition(":")[0] not in keys]
        (root / "tocsin.yaml").write_text("".join(kept) + "\n" + block.text)
    else:
        assert "on" in keys, f"{block}: neither a rule, a policy, scenarios, settings nor a workflow: {keys}"
        assert keys <= {"name", "run-name", "on", "jobs", "permissions"}, block


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_every_yaml_block_is_read_as_what_it_shows(block: Block, tmp_path: Path) -> None:
    _load(block, project(tmp_path))
    assert read_project(tmp_path, SETTINGS, known()).problems == ()


def test_a_yaml_block_that_is_wrong_is_found(tmp_path: Path) -> None:
    _load(Block("x.md", 1, "yaml", "tuning:\n  high_error_rate: { when: { abov: 5% } }\n"), project(tmp_path))
    assert [each.id for each in read_project(tmp_path, SETTINGS, known()).problems] == ["unknown-key"]
    with pytest.raises(AssertionError, match="neither a rule"):
        _load(Block("x.md", 1, "yaml", "colour: red\n"), tmp_path)


# Queries


def _asked(block: Block) -> str:
    """Return a query as somebody asks it: signals' have a place for the target's own tools."""
    return block.text.replace("{side_effect_tools}", "('crm_write_contact', 'send_email')")


def _rows(at: datetime) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a row of everything that the pages' queries look for."""
    common = {"TimeGenerated": at, "AppRoleName": "sales-research-api", "OperationId": "0" * 32, "ItemCount": 1}
    cost = {"args_redacted.agent": "writer", "args_redacted.model": "gpt-5"}
    tokens = {"args_redacted.input_tokens": "900", "args_redacted.output_tokens": "90"}
    case = {"args_redacted.score": "0.7", "args_redacted.groundedness": "0.8", "args_redacted.case_id": "c1"}
    told: Mapping[str, dict[str, str]] = {
        "request.received": {},
        "response.returned": {"ok": "false", "error": "Foundry: 503", "value": "900"},
        "worker.completed": {"ok": "false", "external_system": "writer", "error": "Foundry: 503"},
        "retrieval.returned": {"ok": "true", "value": "4"},
        "tool.executed": {"ok": "true", "external_system": "send_email"},
        "tool.failed": {"error": "killswitch engaged: tools", "args_redacted.tool": "send_email"},
        "tool.hitl_rejected": {"external_system": "send_email", "error": "reviewer_denied"},
        "tool.hitl_misconfigured": {"external_system": "send_email"},
        "tool.hitl_skipped": {"external_system": "send_email"},
        "cost.call": {"value": "0.6", **cost, **tokens},
        "eval.result": case,
    }
    stopped = {"ok": "false", "error": "Error code: 400 content_filter"}
    told_besides = {
        "agent.version_lookup_failed": {"error": "Error code: 404"},
        "response.returned": stopped,
        "cost.call": {"value": "0.0", **cost, **tokens},
        "eval.result": {
            "args_redacted.suite": "redteam",
            "args_redacted.passed": "False",
            "args_redacted.case_id": "r1",
        },
    }
    for name, more in (*told.items(), *told_besides.items()):
        yield "AppTraces", {**common, "Message": name, "Properties": {"event_name": name, **more}}
    refused = {**common, "Name": "POST /research/stream", "Success": False, "DurationMs": 1200.0}
    yield (
        "AppTraces",
        {**common, "OperationId": "1" * 32, "Message": "x", "Properties": {"event_name": "request.received"}},
    )
    yield "AppRequests", {**refused, "ResultCode": "500"}
    yield "AppDependencies", {**refused, "ResultCode": "", "Target": "search", "DependencyType": "HTTP"}
    yield "AppExceptions", {**common, "ExceptionType": "gaierror", "OuterMessage": "Name or service not known"}
    given_up = {"Message": "work given up", "Properties": {"message": "sales-research"}}
    yield "AppTraces", {**common, "AppRoleName": "tocsin", **given_up}
    counted = {"cause": "timer", "outcome": "done"}
    for name in ("tocsin.ticks", "tocsin.slots"):
        yield "AppMetrics", {**common, "AppRoleName": "tocsin", "Name": name, "Sum": 1.0, "Properties": counted}


@pytest.fixture(scope="module")
def workspace() -> Iterator[EmbeddedTelemetry]:
    """A workspace with a row of everything, some minutes and an hour old."""
    made = EmbeddedTelemetry()
    for age in (timedelta(minutes=3), HOUR):
        for table, row in _rows(NOW - age):
            made.load(table, [row])
    yield made
    made.close()


@pytest.fixture(scope="module")
def binder() -> Iterator[Binder]:
    made = Binder()
    yield made
    made.close()


@pytest.mark.parametrize("block", blocks("kusto"), ids=str)
def test_every_query_runs_and_finds_what_it_looks_for(block: Block, workspace: EmbeddedTelemetry) -> None:
    found = workspace.find(Query(_asked(block), NOW - timedelta(days=10), NOW))
    assert found.rows


def test_every_query_is_understood_by_microsofts_parser(binder: Binder) -> None:
    wrong = {str(block): bound.errors for block in blocks("kusto") if (bound := binder.bind(_asked(block))).errors}
    assert wrong == {}


def test_a_query_that_is_wrong_is_found(workspace: EmbeddedTelemetry, binder: Binder) -> None:
    text = "AppTraces | where Mesage == 'x'"
    with pytest.raises(Refused):
        workspace.find(Query(text, NOW - HOUR, NOW))
    assert binder.bind(text).errors


# Commands

_PLACE = r"\$\{?(\w+)\}?"
_GIVEN = {"MESSAGE", "MESSAGE_ID", "POP_RECEIPT", "PFX_PASSWORD", "THUMBPRINT"}
"""Names that stand for what another command has printed, or for a secret."""

ELSEWHERE = {
    "demo": "tests/test_stories.py plays every story",
    "run": "it runs until it is interrupted: tests/test_cli.py",
    "drill": "it takes minutes: tests/test_drill.py",
    "test": "it plays every scenario: tests/test_scenarios.py",
    "render": "with a picture it needs a browser: tests/test_rendering.py",
    "import": "it needs a file of somebody's alerts: tests/test_porting.py",
    "export": "what it writes is held to its readers: tests/test_exporting.py",
    "ack": "it needs an episode: tests/test_people.py",
    "approve": "it needs a question: tests/test_asking.py",
    "decline": "it needs a question: tests/test_asking.py",
}
"""Commands that are looked up here, with their options and arguments, and run by other tests."""


@cache
def _shown() -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((place, tuple(words)) for block in blocks("sh") for place, words in commands(block))


@cache
def _exports(page: str) -> Mapping[str, str]:
    """Return what a reader of the page has exported: there, or before anything else under operations."""
    found: dict[str, str] = {}
    for each in ("docs/operations.md", page):
        for block in blocks("sh"):
            if block.page == each:
                for _, words in commands(block):
                    found |= dict(word.split("=", 1) for word in words[1:] if words[0] == "export" and "=" in word)
    return found


def _filled(words: tuple[str, ...], page: str) -> list[str]:
    names = _exports(page)
    return [re.sub(_PLACE, lambda found: names.get(found[1], found[0]), word) for word in words]


WRONG = typer.BadParameter.__bases__[0]
"""What is raised for a wrong call. Typer carries its own click, and exports this one of its errors."""


def _resolved(words: list[str]) -> None:
    """Look a command up as the program would, without running it. Raises ``WRONG`` for what is no such call."""
    command, rest = _program(), list(words[1:])
    context = command.make_context("tocsin", list(rest))
    while hasattr(command, "commands"):
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, list(rest), parent=context)


def _tocsin() -> Iterator[tuple[str, list[str]]]:
    for place, words in _shown():
        if words[0].rpartition("/")[2] == "tocsin":
            yield place, ["tocsin", *_filled(words, place.partition(":")[0])[1:]]


@cache
def _program() -> Any:
    return typer.main.get_command(program)


def test_every_tocsin_command_is_one_with_these_options() -> None:
    found = list(_tocsin())
    assert len(found) > 50
    for place, words in found:
        try:
            _resolved(words)
        except WRONG as error:
            pytest.fail(f"{place}: {' '.join(words)}: {error.format_message()}")


def test_a_command_that_is_none_is_found() -> None:
    for wrong in (["tocsin", "explan", "x"], ["tocsin", "explain"], ["tocsin", "check", "--stric"]):
        with pytest.raises(WRONG):
            _resolved(wrong)


ALIKE = {"explain", "plan", "backtest"}
"""Commands of which one is run for all that are shown."""


def _prepared(folder: Path) -> None:
    """Put what is shipped into a folder with a history, and an hour of recorded telemetry."""
    project(folder)
    shutil.copytree(ROOT / "tests" / "rules", folder / "tests" / "rules")
    for name in ("shipped", "shipped_required", "approval_required"):
        shutil.copy(ROOT / "tests" / f"{name}.yaml", folder / "tests")
    row = {"Message": "x", "AppRoleName": "sales-research-api", "ItemCount": 1}
    told = {"event_name": "response.returned", "ok": "true", "value": "900"}
    rows = [
        {**row, "TimeGenerated": (NOW + number * HOUR / 60).isoformat(), "Properties": told} for number in range(60)
    ]
    (folder / "recorded").mkdir()
    (folder / "recorded" / "AppTraces.json").write_text("\n".join(map(json.dumps, rows)))
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=x", "-c", "user.email=x@y", "commit", "-qm", "x"]):
        subprocess.run(["git", *words], cwd=folder, check=True)


def test_every_tocsin_command_runs(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a copy of what is shipped, on Azure's stand-in. Bad news (1) is an answer; a wrong call is none.

    Of commands that differ in the rule alone, or in what a change is held against, one is run; of the others the names
    are looked at.
    """
    _prepared(tmp_path)
    monkeypatch.chdir(tmp_path)
    world.arm.ready_after = timedelta()
    monkeypatch.setenv("TOCSIN_AUDIT", str(tmp_path / "copy.jsonl"))
    for before in (["tick", "--once"], ["audit", "export", "old-audit.jsonl"]):
        assert runner.invoke(program, before).exit_code == 0
    done: set[tuple[str, ...]] = set()
    for place, words in _tocsin():
        if words[1] in ELSEWHERE:
            continue
        if words[1] == "explain":
            name, _, target = words[2].partition("/")
            assert name in runbooks.files("rules") or name.replace("_", "-") in OWN, place
            assert target == "sales-research", place
        if words[1] == "plan":
            assert words[words.index("--base") + 1] in ("HEAD", "HEAD~1", "origin/main"), place
        alike = tuple(words[1:2] if words[1] in ALIKE else words[1:])
        if alike not in done:
            done.add(alike)
            result = runner.invoke(program, words[1:])
            assert result.exit_code in (0, 1), f"{place}: {' '.join(words)}: {result.output}"
            assert result.exception is None or isinstance(result.exception, SystemExit), f"{place}: {result.exception}"
    assert len(done) > 12


FOREIGN = {"az", "azd", "gh", "curl", "openssl", "detect-secrets", "promtool"}


def _foreign() -> Mapping[str, list[str]]:
    found: Mapping[str, list[str]] = runbooks.written(ROOT / "tests" / "azure_cli.yaml")
    return found


def test_every_command_of_other_programs_is_one_that_was_looked_up() -> None:
    list_, used = _foreign(), set()
    for place, words in _shown():
        if words[0] in FOREIGN:
            text = " ".join(words)
            name = max((each for each in list_ if f"{text} ".startswith(f"{each} ")), key=len, default="")
            assert name, f"{place}: {text} is not in tests/azure_cli.yaml"
            used.add(name)
            options = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
            assert options <= set(list_[name]), f"{place}: {name} has no {sorted(options - set(list_[name]))}"
    assert len(used) > 30


def test_every_other_command_is_one_of_this_repository() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*)(?=[: ])", (ROOT / "Makefile").read_text(), re.MULTILINE))
    targets |= set(re.findall(r"bench-[a-z]+", (ROOT / "Makefile").read_text()))
    plain = {"tocsin", "export", "cd", "git"}
    for place, shown in _shown():
        words = tuple(word for word in shown if not re.fullmatch(r"[A-Z_]+=.*", word)) or shown
        if words[0] == "make":
            assert set(words[1:]) <= targets, f"{place}: {' '.join(words)}"
        elif words[0] in ("python", "python3"):
            assert words[1] == "-m" and importlib.util.find_spec(words[2]), f"{place}: {' '.join(words)}"
        elif words[0].startswith("./") or "/" in words[0]:
            assert (ROOT / words[0]).is_file() or words[0] == ".venv/bin/tocsin", f"{place}: {words[0]}"
        else:
            assert words[0] in {*FOREIGN, *plain}, f"{place}: {' '.join(words)}"
    for page, span in spans():
        if span.startswith("make "):
            named = {word for word in span.split()[1:] if re.fullmatch(r"[a-z][a-z-]*", word)}
            assert named <= targets, f"{page}: {span}"


def test_every_name_in_a_command_is_given_where_it_is_used() -> None:
    for place, words in _shown():
        page = place.partition(":")[0]
        used = {name for word in words for name in re.findall(_PLACE, word)}
        assert used <= {*_exports(page), *_GIVEN}, f"{place}: {sorted(used - {*_exports(page), *_GIVEN})}"


def test_every_command_named_in_a_sentence_is_one() -> None:
    count = 0
    for page, span in spans():
        words = re.sub(r"[\[\]|…\\]", " ", span).split()
        if not words or words[0] != "tocsin" or len(words) < 2:
            continue
        command: Any = _program()
        for word in words[1:]:
            if hasattr(command, "commands") and re.fullmatch(r"[a-z]+", word):
                assert word in command.commands, f"{page}: {span}"
                command = command.commands[word]
        count += 1
        options = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
        named = {word for word in words if re.match(r"--?[a-z]", word)}
        assert named <= {*options, "--help", "--version"}, f"{page}: {span}"
    assert count > 50


# Runbooks

PAGE = "docs/operations.md"


def _runbook(name: str) -> str:
    return runbooks.sections(pages()[PAGE])[name.replace("_", "-")]


@pytest.mark.parametrize("name", sorted(runbooks.files("rules")))
def test_every_rule_has_a_runbook_of_eight_parts(name: str) -> None:
    text = _runbook(name)
    parts = re.split(r"^### (.+)\n", text, flags=re.MULTILINE)
    assert tuple(parts[1::2]) == runbooks.HEADINGS
    assert all(each.strip() for each in parts[2::2])
    told = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert f"tocsin explain {name}/$TARGET" in told["Diagnosis"]
    assert f"<!-- facts: {name} -->\n{runbooks.facts(name)}\n" in told["Overview"], "python -m tools.catalogue"
    assert re.match(r"P\d: ", told["Escalation"].strip())[0] == f"{runbooks.files('rules')[name]['severity']}: "  # type: ignore[index]
    reviewed = date.fromisoformat(told["Last reviewed"].strip()[:10])
    assert date(2026, 11, 1) <= reviewed <= datetime.now(UTC).date() + timedelta(days=1)
    assert runbooks.files("rules")[name]["runbook"] == f"{PAGE}#{name.replace('_', '-')}"


OWN = ("telemetry-blind", "rule-blind", "evaluation-failed", "azure-monitor-alerts")
OWN += ("receiver-quiet", "audit-not-mirrored", "state-unavailable")
"""What the watcher tells of itself."""


@pytest.mark.parametrize("name", OWN)
def test_what_the_watcher_tells_of_itself_has_a_runbook_of_the_same_parts(name: str) -> None:
    parts = re.split(r"^### (.+)\n", runbooks.sections(pages()[PAGE])[name], flags=re.MULTILINE)
    assert tuple(parts[1::2]) == runbooks.HEADINGS
    assert all(each.strip() for each in parts[2::2])


def test_the_template_has_the_same_parts() -> None:
    headings = re.findall(r"^### (.+)$", pages()["docs/runbooks/TEMPLATE.md"], re.MULTILINE)
    assert tuple(headings) == runbooks.HEADINGS


def test_the_runbook_of_a_rule_names_each_policy_that_answers_it() -> None:
    for name in runbooks.files("rules"):
        for policy in runbooks.answers(name):
            word = policy.partition("`]")[0].removeprefix("[`")
            assert f"`{word}`" in _runbook(name)


# Links


@pytest.mark.parametrize("page", sorted(pages()))
def test_every_link_leads_to_a_place_that_is_there(page: str) -> None:
    for path, place in links(page):
        assert path.exists(), f"{page}: {path}"
        if place and path.suffix == ".md":
            assert place in anchors(str(path.relative_to(ROOT))), f"{page}: {path.name}#{place}"


def test_every_runbook_that_the_code_names_is_there() -> None:
    """The watcher's own alerts and messages lead to a place, as those of rules do."""
    named = {
        match
        for path in (ROOT / "tocsin").rglob("*.py")
        for match in re.findall(r"docs/([a-z-]+\.md)#([a-z0-9-]+)", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 6
    assert [f"{page}#{place}" for page, place in named if place not in anchors(f"docs/{page}")] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, ahead = set(), {"README.md"}
    while ahead:
        page = ahead.pop()
        reached.add(page)
        found = {
            str(path.relative_to(ROOT)) for path, _ in links(page) if path.suffix == ".md" and path.is_relative_to(ROOT)
        }
        folders = {path for path, _ in links(page) if path.is_dir()}
        found |= {str(each.relative_to(ROOT)) for folder in folders for each in folder.glob("*.md")}
        ahead |= (found & set(pages())) - reached
    assert set(pages()) - reached == set()
