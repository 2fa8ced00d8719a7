"""The house rules that no linter knows."""

from __future__ import annotations

import ast
import importlib
import json
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.reading_cases import problems
from tocsin.app import known
from tocsin.authoring.schema import schemas
from tocsin.core.config import Budgets, Config, Evals, Route, Target
from tocsin.core.evals import Acceptance
from tocsin.core.kpi import Kpi
from tocsin.core.message import OWN_ERROR
from tocsin.core.native import NATIVE
from tocsin.core.policy import Check, Guard, Policy, Trigger
from tocsin.core.rule import BurnRate, Change, Rule, Unusual, When
from tocsin.core.selecting import OWN_RULES
from tocsin.core.sight import BUILT_IN, SIGHT
from tocsin.scenarios import schema as scenarios
from tocsin.settings import KNOWN
from tools import catalogue
from tools.export_requirements import export

PACKAGE = ROOT / "tocsin"
MODULES = sorted(PACKAGE.rglob("*.py"))


def _imported(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after ``statement``."""
    report = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", statement], cwd=ROOT, capture_output=True, text=True, check=True
    ).stderr
    return {line.rsplit("|", 1)[1].strip() for line in report.splitlines() if line.startswith("import time:")}


def test_importing_the_function_app_loads_nothing_heavy() -> None:
    loaded = _imported("import function_app")
    assert "azure.functions" in loaded
    heavy = re.compile(r"(duckdb|duckdb_kql|playwright|rich|typer|starlette|uvicorn|pydantic|ruamel)(\.|$)")
    sdk = re.compile(r"azure\.(core|identity|mgmt|monitor|data|eventgrid|storage)(\.|$)|msal|microsoft_teams|opentelem")
    assert [name for name in loaded if heavy.match(name) or sdk.match(name)] == []


def test_composing_the_app_loads_no_command_line_and_no_local_world() -> None:
    loaded = _imported("import tocsin.app")
    wrong = re.compile(r"(duckdb|duckdb_kql|playwright|rich|typer|starlette|uvicorn|tocsin\.cli|tocsin\.local)(\.|$)")
    assert [name for name in loaded if wrong.match(name)] == []


def test_the_core_never_reads_a_clock() -> None:
    """``datetime.now()`` is no import, so the import contracts cannot see it."""
    clocks = {"now", "utcnow", "today", "time", "monotonic", "perf_counter"}
    for path in sorted((PACKAGE / "core").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Attribute) and called.attr in clocks:
                owner = ast.unparse(called.value)
                assert owner not in ("datetime", "date", "time", "dt"), (
                    f"{path.name}:{node.lineno}: {ast.unparse(node)}"
                )


def test_requirements_txt_is_the_export_of_the_lock() -> None:
    lock, pyproject = (ROOT / "requirements-dev.lock").read_text(), (ROOT / "pyproject.toml").read_text()
    assert (ROOT / "requirements.txt").read_text() == export(lock, pyproject), "run `make lock`"


def test_every_requirement_is_locked_with_hashes_and_nothing_local_is_deployed() -> None:
    text = (ROOT / "requirements.txt").read_text()
    for entry in re.split(r"\n(?=[a-z0-9])", text):
        if "==" in entry:
            assert "--hash=sha256:" in entry
    names = set(re.findall(r"^([a-z0-9-]+)==", text, flags=re.MULTILINE))
    assert not names & {"duckdb", "duckdb-kql", "rich", "typer", "pytest", "starlette", "uvicorn", "playwright"}
    assert {"azure-functions", "azure-monitor-query", "httpx", "ruamel-yaml"} <= names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is_and_can_be_read_in_a_sitting(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "a module begins with a sentence of what belongs there"
    assert len(text.splitlines()) <= 500


def test_functions_are_short() -> None:
    lengths = [
        node.end_lineno - node.lineno + 1 - len((ast.get_docstring(node) or "").splitlines())
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
    ]
    assert statistics.median(lengths) <= 10
    assert max(lengths) <= 60


def test_the_example_settings_are_exactly_those_the_code_and_the_files_read() -> None:
    values = json.loads((ROOT / "local.settings.example.json").read_text())["Values"]
    host = {"AzureWebJobsStorage", "FUNCTIONS_WORKER_RUNTIME"}
    written = re.sub(r"#.*", "", (ROOT / "tocsin.yaml").read_text())
    named = set(re.findall(r"(?<!\$)\$\{(\w+)\}", written)) | set(re.findall(r"_setting: *(\w+)", written))
    assert set(values) - host == set(KNOWN) | named


def test_every_setting_the_code_reads_is_declared() -> None:
    """``Settings.get`` raises KeyError for a name that is not, so this looks for names read any other way."""
    for path in MODULES:
        for name in re.findall(r"[\"'](TOCSIN_[A-Z_]+)[\"']", path.read_text()):
            assert name in KNOWN, f"{path.name} reads {name}, which settings.KNOWN does not declare"
    for name in KNOWN:
        assert (
            any(f'"{name}"' in path.read_text() for path in (*MODULES, ROOT / "host.json")) or name == "TICK_SCHEDULE"
        )


def test_the_timer_runs_on_the_declared_schedule() -> None:
    assert "%TICK_SCHEDULE%" in (ROOT / "function_app.py").read_text()


def test_no_machine_path_and_no_registry_host_is_in_the_repository() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    wrong = re.compile(r"/work/|/root/|/home/\w|pypi\.org|pythonhosted|registry\.npmjs|deb\.debian")
    for name in filter(None, listed):
        path = ROOT / name
        if path.is_file() and path.suffix not in (".png", ".ico") and name != "tests/test_house.py":
            assert not wrong.search(path.read_text(errors="replace")), name


@pytest.mark.parametrize("name", sorted(catalogue.pages()))
def test_the_catalogues_say_what_the_code_says(name: str) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == catalogue.pages()[name], "python -m tools.catalogue"


def test_the_schemas_say_what_the_models_say() -> None:
    found = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "schemas").glob("*.json")}
    expected = {**schemas(known()), scenarios.NAME: scenarios.schema(known())}
    assert found == expected, "python -m tools.catalogue"


def test_every_link_in_the_docs_leads_somewhere() -> None:
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_runbook_of_a_rule_has_its_section() -> None:
    sections = set(re.findall(r"^## ([a-z0-9-]+)$", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE))
    rules = [path.read_text() for path in (ROOT / "rules").glob("*.yaml")]
    named = [re.search(r"^runbook: docs/operations.md#(.+)$", text, re.MULTILINE) for text in rules]
    assert {match[1] for match in named if match} <= sections
    assert all(named)
    assert SIGHT.runbook.partition("#")[2] in sections


def test_the_rule_in_the_readme_is_a_rule(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    path = tmp_path / "x.yaml"
    path.write_text(f"# rule\n{block}")
    assert problems(path) == ()
    assert len((ROOT / "README.md").read_text().splitlines()) <= 70


def test_every_test_the_facts_name_exists() -> None:
    written = "".join(path.read_text() for path in (*(ROOT / "tests").glob("*.py"), *PACKAGE.rglob("testing/*.py")))
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs" / "azure-facts.md").read_text())
    assert len(named) > 30
    assert [name for name in named if f"def {name}(" not in written] == []


def test_nothing_is_asked_in_batches() -> None:
    assert not [path.name for path in MODULES if "query_batch" in path.read_text()]


def test_every_key_of_the_files_is_on_their_page() -> None:
    page = (ROOT / "docs" / "files.md").read_text()
    models = (
        Rule,
        When,
        Unusual,
        BurnRate,
        Change,
        Policy,
        Trigger,
        Guard,
        Check,
        Config,
        Target,
        Route,
        Budgets,
        Evals,
        Acceptance,
        Kpi,
    )
    keys = {found.alias or name for model in models for name, found in model.model_fields.items()} - {"id", "file"}
    missing = {key for key in keys if f"`{key}`" not in page and f"`{key}:" not in page and f" {key}:" not in page}
    assert missing == set()


def test_every_alert_that_tocsin_raises_about_itself_can_be_named_by_a_route() -> None:
    """The list of them is written by hand, for the core cannot import the engine that raises some."""
    raised = set[str]()
    for path in MODULES:
        if path.relative_to(PACKAGE).parts[0] in ("core", "engine"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            calls = [each for each in ast.walk(ast.parse(path.read_text())) if isinstance(each, ast.Call)]
            notices = [each for each in calls if isinstance(each.func, ast.Name) and each.func.id == "Notice"]
            rules = [keyword.value for each in notices for keyword in each.keywords if keyword.arg == "rule"]
            raised |= {each.value for each in rules if isinstance(each, ast.Constant)}  # type: ignore[misc]
            raised |= {getattr(importlib.import_module(name), each.id) for each in rules if isinstance(each, ast.Name)}
    assert OWN_ERROR in raised
    assert raised - set(OWN_RULES) == set()
    assert set(OWN_RULES) - raised - {each.id for each in (*NATIVE, *BUILT_IN)} == set()
