"""The way of somebody who has just found this repository, walked by ``tests/newcomer.sh`` from a fresh clone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.long
def test_a_newcomer_clones_runs_edits_checks_tests_and_sees_the_difference() -> None:
    """With the environment that these tests run in, so that nothing is installed."""
    walked = subprocess.run(
        [str(ROOT / "tests" / "newcomer.sh"), sys.prefix], check=False, capture_output=True, text=True, timeout=600
    )
    assert walked.returncode == 0, f"{walked.stdout[-4000:]}\n{walked.stderr[-4000:]}"
    assert "== done" in walked.stdout
    assert "high_error_rate" in walked.stdout.partition("== the difference")[2]
