"""Engine, store, platform, receivers and people, drawn from seeds: whatever goes wrong, what must hold holds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter

import pytest

from tests.amount import often
from tests.conftest import ROOT
from tests.simulation import run
from tests.simulation.planted import FAULTS, Fault, found, told

pytestmark = pytest.mark.slow

SEEDS = often(200, 45)

HAPPENS = (
    "Activity Log alert posted",
    "Log alert posted",
    "Metric alert posted",
    "answer lost",
    "change refused",
    "clock stepped",
    "consent",
    "crash",
    "deployment",
    "did dial.back",
    "did killswitch.engage",
    "did partner.call",
    "flood of agents",
    "hostile names",
    "item raises",
    "overtaken",
    "receiver away",
    "resolution posted",
    "rollout failing",
    "rollout never",
    "rollout stuck",
    "row spoiled: alert",
    "row spoiled: execution",
    "row spoiled: group",
    "row spoiled: mark",
    "row spoiled: message",
    "silence, once",
    "silence, recurring",
    "silence, senseless",
    "stale read",
    "store away",
    "telemetry refused",
)


@pytest.mark.slow
def test_the_first_seeds_end_as_they_must_and_leave_nothing_out() -> None:
    counts = Counter[str]()
    for seed in range(SEEDS):
        seen = run.play(seed)
        assert not seen.wrong, f"seed {seed}: {seen.wrong}\n{seen.story}"
        counts.update(seen.story.counts)
    assert [each for each in HAPPENS if not counts[each]] == []


def test_a_seed_tells_the_same_story_every_time_and_another_seed_another() -> None:
    first, again, other = run.play(7), run.play(7), run.play(8)
    assert first.story.lines == again.story.lines
    assert first.story.lines != other.story.lines


def test_a_seed_tells_the_same_story_in_another_process() -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "1234"}
    command = [sys.executable, "-m", "tests.simulation.run", "1", "7", "--trace"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert f"seed=7 digest={run.play(7).story.digest} " in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda each: each.name)
def test_a_planted_fault_is_found_by_the_seed_that_is_known_for_it(fault: Fault) -> None:
    assert found(fault, 1, fault.seed).seed == fault.seed
    assert not run.play(fault.seed).wrong


@pytest.mark.slow
def test_a_seed_that_fails_prints_its_story_and_how_to_play_it_again() -> None:
    fault = next(each for each in FAULTS if each.name == "a person's release is overruled")
    said = told(fault, 1, fault.seed)
    assert re.search(r"^ +\d+:\d\d  one       ticks", said, re.MULTILINE)
    assert re.search(r"^ +\d+:\d\d  WRONG     done for ", said, re.MULTILINE)
    assert f"again: make simulate SEEDS=1 FROM={fault.seed} TRACE=1" in said
