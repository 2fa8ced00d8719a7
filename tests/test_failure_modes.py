"""The list of failures names every one, each with tests that exist; and a session that skips one of these fails."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.ran import PAGE, named

ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def test_each_has_its_row_and_each_row_its_test() -> None:
    rows = ROW.findall(page())
    assert [int(number) for number, *_ in rows] == list(range(1, 43))
    for number, happens, does, tests in rows:
        assert happens.strip() and does.strip()
        assert re.findall(r"`(tests/\S+::test_\S+)`", tests), f"{number} has no test"


def test_every_test_the_list_names_exists_once_and_every_test_of_a_failure_is_on_it() -> None:
    listed = named(ROOT / PAGE)
    assert len(set(listed)) == len(listed) == page().count("::")
    there = [
        f"{path.relative_to(ROOT)}::{name}" for path in (ROOT / "tests").rglob("test_*.py") for name in functions(path)
    ]
    assert [each for each in listed if there.count(each) != 1] == []
    assert {each for each in there if re.search(r"::test_\d\d_", each)} <= set(listed)
    for each in listed:
        number = re.search(r"::test_(\d\d)_", each)
        assert number is None or re.search(rf"^\| {int(number[1])} \|.*{re.escape(each)}", page(), re.MULTILINE), each


def page() -> str:
    return (ROOT / PAGE).read_text()


def functions(path: Path) -> list[str]:
    """Return the names of a module's tests; of two of one name, the interpreter would only know the later."""
    found = ast.parse(path.read_text()).body
    return [each.name for each in found if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")]


SAMPLE = """
import pytest

def test_01_first(): pass

@pytest.mark.parametrize("n", [1, 2])
def test_02_second(n):
    if n == {skipped}: pytest.skip("not today")

{mark}
def test_03_third(): {third}

def test_other(): pass
"""
CONFTEST = """
from pathlib import Path
from tests.ran import Ran, named

def pytest_configure(config):
    config.pluginmanager.register(Ran(Path(__file__).parent, named(Path(__file__).parent / "page.md")))
"""
NAMES = ["test_01_first", "test_02_second", "test_03_third"]


def session(folder: Path, *arguments: str, names: list[str] = NAMES, **sample: str) -> tuple[int, str]:
    """Run a session in which a page names three tests; return its exit code and what it said of the page."""
    (folder / "tests").mkdir()
    (folder / "page.md").write_text(" ".join(f"`tests/test_sample.py::{each}`" for each in names))
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "pytest.ini").write_text("[pytest]\ntestpaths = tests\nmarkers = slow\n")
    body = SAMPLE.format(**{"skipped": "0", "mark": "", "third": "pass", **sample})
    (folder / "tests" / "test_sample.py").write_text(body)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    # Without the plugins that happen to be installed, which take longer to load than all of this.
    environment = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    said = [line for line in run.stdout.splitlines() if "did not pass here" in line]
    return run.returncode, " ".join(said)


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n", "2")], ids=["alone", "two workers"])
def test_a_session_that_passes_every_test_of_the_list_is_good(tmp_path: Path, workers: tuple[str, ...]) -> None:
    assert session(tmp_path, *workers) == (0, "")


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n", "2")], ids=["alone", "two workers"])
def test_a_session_in_which_one_of_them_is_skipped_fails(tmp_path: Path, workers: tuple[str, ...]) -> None:
    code, said = session(tmp_path, *workers, skipped="2")
    assert code == 1
    assert "test_02_second, which did not pass here: passed, skipped" in said
    assert "test_01_first" not in said


@pytest.mark.parametrize(
    "sample",
    [
        {"mark": "@pytest.mark.skip"},
        {"mark": "@pytest.mark.xfail", "third": "assert False"},
        {"mark": "@pytest.mark.xfail", "third": "pass"},
    ],
    ids=["skipped by a mark", "expected to fail", "passes though expected to fail"],
)
def test_what_is_not_plainly_passed_is_not_passed(tmp_path: Path, sample: dict[str, str]) -> None:
    code, said = session(tmp_path, **sample)
    assert (code, "test_03_third" in said) == (1, True)


def test_a_whole_session_in_which_one_of_them_is_not_there_fails(tmp_path: Path) -> None:
    code, said = session(tmp_path, names=[*NAMES, "test_04_gone"])
    assert code == 1
    assert said.endswith("test_04_gone, which did not pass here: not run")


@pytest.mark.parametrize(
    "arguments",
    [
        ("-k", "first or other"),
        ("-m", "not slow"),
        ("tests/test_sample.py::test_other",),
        ("--collect-only",),
        ("--deselect", "tests/test_sample.py::test_03_third"),
        ("--ignore", "tests/test_none.py", "tests"),
    ],
    ids=["a keyword", "a marker", "one test", "none", "all but one", "all but a file"],
)
def test_a_session_that_was_asked_for_a_part_is_judged_by_that(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert session(tmp_path, *arguments, mark="@pytest.mark.slow") == (0, "")


def test_a_part_is_no_excuse_for_what_it_skipped(tmp_path: Path) -> None:
    assert session(tmp_path, "-k", "second", skipped="1")[0] == 1


def test_a_session_that_failed_by_itself_says_no_more_than_that(tmp_path: Path) -> None:
    assert session(tmp_path, third="assert False") == (1, "")
