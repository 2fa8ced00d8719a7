"""What every test shares. Nothing but loopback is reachable: pyproject.toml hands pytest-socket the hosts."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import settings
from typer import testing

from tests.amount import CI
from tests.azurite.server import Azurite
from tests.ran import PAGE, Ran, named

# The runner composes every command anew for each call, which takes longer than most of them.
testing._get_command = functools.cache(testing._get_command)  # type: ignore[attr-defined]

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"

settings.register_profile("here", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True, max_examples=20)
# The second Python is asked whether it does the same, not whether it holds in every corner again.
settings.register_profile("quick", settings.get_profile("ci"), max_examples=10)
settings.load_profile(("quick" if os.environ.get("QUICK") else "ci") if CI else "here")


def pytest_configure(config: pytest.Config) -> None:
    """Watch over the tests that the list of failures names."""
    config.pluginmanager.register(Ran(ROOT, named(ROOT / PAGE)), "named-tests-ran")


@pytest.fixture
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture
def data() -> Path:
    """The real recordings beside the repository; without them a test that needs them is skipped, saying so."""
    if not DATA.is_dir():
        pytest.skip("the recordings are not here: ../shared/data")
    return DATA


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the files that take long: what begins last is waited for by every other worker.

    In continuous integration the second Python runs one test in eight, and all of those that only it can run; `make
    test` runs them all on either.
    """
    if CI and os.environ.get("QUICK"):
        left = [item for item in items if crc32(item.nodeid.encode()) % 8 and item.path.name not in WHOLE]
        config.hook.pytest_deselected(items=left)
        out = {item.nodeid for item in left}
        items[:] = [item for item in items if item.nodeid not in out]
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    longest = {f"test_{name}.py": rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: (longest.get(item.path.name, len(longest)), item.path not in slow))


WHOLE = ("test_worker.py", "test_package.py", "test_function_app.py")
"""Files of which the second Python runs every test: what Azure runs the functions with is for that one."""

LONGEST = (
    "stories",
    "outages",
    "alertmanager",
    "interleaving",
    "delivery_killed",
    "simulation",
    "killed",
    "engine",
    "backtest_agrees",
    "fanning",
    "fuse",
    "receivers",
    "acting",
    "releasing",
    "inbound",
)
"""The files that take longest, the longest first."""


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Run Azurite's Table service for the tests of one file."""
    server = Azurite(tmp_path_factory.mktemp("azurite"))
    yield server
    server.stop()
