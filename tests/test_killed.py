"""A process killed with -9 at any point of a tick loses no page, doubles no PATCH, and the next tick goes on."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.amount import often
from tests.conftest import ROOT


@pytest.mark.slow
def test_ticks_killed_at_random_moments_lose_nothing_and_double_nothing() -> None:
    kills = often(100, 4)
    command = [sys.executable, "-m", "tests.killing", str(kills)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=400)
    assert run.returncode == 0, run.stderr[-2000:]
    came = json.loads(run.stdout)
    assert came["killed"] >= kills
    assert came["patches"] == 1
    assert came["switch"] == "on"
    assert [incident[0] for incident in came["incidents"]] == ["fired", "fired"], "one for each sign"
    assert all(incident.count("acted") >= 2 for incident in came["incidents"])
    assert {"P1 fired", "P1 acted"} <= set(came["cards"])
    assert came["cards"].index("P1 fired") < came["cards"].index("P1 acted")
    assert came["phases"] == ["verified", "verified"]
    assert came["waiting"] == 0
    assert came["chain"] is None
