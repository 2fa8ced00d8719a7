"""Prometheus's own `promtool`, which says whether a file of tests holds. CI may not do without."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def needed() -> str:
    """Return where promtool is; without it the test is skipped, and fails in CI."""
    found = shutil.which("promtool")
    if found is None:
        words = "promtool is not here: apt-get install prometheus"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(words)
    assert found is not None
    return found


def tested(path: Path) -> tuple[bool, str]:
    """Return whether the tests of a file hold, and what promtool says."""
    done = subprocess.run([needed(), "test", "rules", str(path)], capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout + done.stderr


def checked(path: Path) -> tuple[bool, str]:
    """Return whether a rule file is one, and what promtool says."""
    done = subprocess.run([needed(), "check", "rules", str(path)], capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout + done.stderr
