"""What every test shares. Nothing but loopback is reachable: pyproject.toml hands pytest-socket the hosts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.ran import PAGE, Ran, named

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"

settings.register_profile("here", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True, max_examples=60)
# The second Python is asked whether it does the same, not whether it holds in every corner again.
settings.register_profile("quick", settings.get_profile("ci"), max_examples=20)
settings.load_profile(("quick" if os.environ.get("QUICK") else "ci") if os.environ.get("CI") else "here")


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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long: what begins last is waited for by every other worker."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    longest = {f"test_{name}.py": rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: (longest.get(item.path.name, len(longest)), item.path not in slow))


LONGEST = (
    "stories",
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
)
"""The files that take longest, the longest first."""
