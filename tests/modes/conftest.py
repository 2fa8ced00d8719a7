"""One world a test, none of which takes longer to make than its stand-ins need to listen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.modes.place import START, Place, load
from tocsin.local.world import World


@pytest.fixture
def place(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Return a healthy target that is watched, and a policy that may act on it."""
    with World(START, trace=load(tmp_path_factory.getbasetemp())) as world:
        yield Place(world, tmp_path)
