"""Sequences of breached and clear slots, and what the real Prometheus makes of them, by ``promtool test rules``.

Each sequence is one series and one alerting rule; hundreds are one file, and all files are one process. Every slot's
whole ``ALERTS`` is stated as we expect it, so it is promtool that compares; where it disagrees, it says what it found.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tocsin.core.alert import Timing

SECOND = timedelta(seconds=1)
BATCH = 250
"""Sequences a file: promtool prints all of a slot that differs, and a reader has to find something in it."""
SLOTS = 36
"""Of each sequence: what shorter ones would show, their beginnings show."""
FIRST = (2, 42)
"""The first Prometheus that knows ``keep_firing_for``."""
VALUES = {"B": "1", "C": "0", "U": "stale"}
STATES = {"pending": "P", "firing": "F"}


@dataclass(frozen=True, slots=True)
class Case:
    """One rule and what its slots said: a letter each, B for breached, C for clear, U for a series that is gone."""

    number: int
    every: timedelta
    timing: Timing
    seen: str

    @property
    def name(self) -> str:
        """What the rule is called."""
        return f"rule_{self.number}"


def generate(seed: int, count: int) -> list[Case]:
    """Return as many cases, the same for a seed each time."""
    chance = random.Random(seed)
    return [_case(chance, number) for number in range(count)]


def _case(chance: random.Random, number: int) -> Case:
    every = chance.choice((30, 60, 60, 300, 420)) * SECOND
    timing = Timing(_wait(chance, every), _wait(chance, every))
    # Quick and slow ones: a long wait only ends in a sequence that does not change its mind.
    stays, seen = chance.choice((0.5, 0.7, 0.8, 0.9)), chance.choice("BC")
    while len(seen) < SLOTS:
        seen += seen[-1] if chance.random() < stays else "BC"[seen[-1] == "B"]
    return Case(number, every, timing, seen)


def _wait(chance: random.Random, every: timedelta) -> timedelta:
    """Return none, some slots, or a time between two slots: a second can decide whether one more is waited."""
    slots = chance.choice((0, 0, 1, 2, 3, 5))
    return max(timedelta(), slots * every + chance.choice((0, 0, 0, -1, 1, 17)) * SECOND)


# ── Both ways ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def theirs(expected: Mapping[Case, str], folder: Path, program: str) -> dict[Case, str]:
    """Return Prometheus's states of each case, one of I, P, F a slot, given the states that are expected of it."""
    batches = dict(enumerate(_batches(list(expected))))
    for number, cases in batches.items():
        (folder / f"rules-{number}.yml").write_text(json.dumps(_rules(cases)))
        (folder / f"tests-{number}.yml").write_text(json.dumps(_tests(cases, expected, f"rules-{number}.yml")))
    names = [f"tests-{number}.yml" for number in batches]
    asked = [program, "test", "rules", *names]
    both = subprocess.STDOUT
    run = subprocess.run(asked, check=False, cwd=folder, stdout=subprocess.PIPE, stderr=both, text=True)
    said = dict(re.findall(r"(?ms)^Unit Testing: +(\S+)\n(.*?)(?=^Unit Testing: |\Z)", run.stdout))
    agreed = {name: "SUCCESS" in text for name, text in said.items()}
    if list(said) != names or all(agreed.values()) != (run.returncode == 0):
        raise RuntimeError(f"promtool does not say what it found:\n{run.stdout[:3000]}")
    found = dict(expected)
    for number, cases in batches.items():
        if not agreed[names[number]]:
            found |= _corrected(cases, expected, said[names[number]])
    return found


def _batches(cases: Sequence[Case]) -> list[list[Case]]:
    """Return files of cases: a file is evaluated by one clock."""
    found: list[list[Case]] = []
    for every in sorted({case.every for case in cases}):
        alike = [case for case in cases if case.every == every]
        found += [alike[start : start + BATCH] for start in range(0, len(alike), BATCH)]
    return found


def _rules(cases: Sequence[Case]) -> dict[str, Any]:
    rules = [
        {
            "alert": case.name,
            "expr": f'seen{{of="{case.name}"}} > 0.5',
            "for": _written(case.timing.for_),
            "keep_firing_for": _written(case.timing.keep_firing_for),
        }
        for case in cases
    ]
    return {"groups": [{"name": "cases", "rules": rules}]}


def _tests(cases: Sequence[Case], expected: Mapping[Case, str], rules: str) -> dict[str, Any]:
    every = _written(cases[0].every)
    series = [
        {"series": f'seen{{of="{case.name}"}}', "values": " ".join(VALUES[letter] for letter in case.seen)}
        for case in cases
    ]
    asked = [
        {"expr": "ALERTS", "eval_time": _written(slot * cases[0].every), "exp_samples": _samples(cases, expected, slot)}
        for slot in range(SLOTS)
    ]
    test = {"interval": every, "input_series": series, "promql_expr_test": asked}
    return {"rule_files": [rules], "evaluation_interval": every, "tests": [test]}


def _written(duration: timedelta) -> str:
    return f"{duration // SECOND}s"


def _samples(cases: Sequence[Case], expected: Mapping[Case, str], slot: int) -> list[dict[str, Any]]:
    state_of = {letter: state for state, letter in STATES.items()}
    return [
        {"labels": f'ALERTS{{alertname="{case.name}",alertstate="{state}",of="{case.name}"}}', "value": 1}
        for case in cases
        if (state := state_of.get(expected[case][slot]))
    ]


def _corrected(cases: Sequence[Case], expected: Mapping[Case, str], said: str) -> dict[Case, str]:
    """Return what was found instead, in the slots of which promtool says so."""
    states = {case.name: list(expected[case]) for case in cases}
    for written, got in re.findall(r'expr: "ALERTS", time: (\S+),\n +exp: .*\n +got: (.*)', said):
        slot = _read(written) // cases[0].every
        found = dict(re.findall(r'alertname="(\w+)", alertstate="(\w+)"', got))
        for name in states:
            states[name][slot] = STATES[found[name]] if name in found else "I"
    return {case: "".join(states[case.name]) for case in cases}


def _read(written: str) -> timedelta:
    """Return a duration as Prometheus writes it: 1h2m3s."""
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([hms])", written)) * SECOND


# ── The program ───────────────────────────────────────────────────────────────────────────────────────────────────────


def needed() -> str:
    """Return the program, or skip the test, saying why; where every check must run, fail it."""
    program = shutil.which("promtool")
    if program is None:
        _absent("promtool is not here: apt-get install prometheus")
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    version = re.search(r"version (\d+)\.(\d+)", said.stdout + said.stderr)
    if version is None or tuple(map(int, version.groups())) < FIRST:
        _absent(f"promtool is too old for keep_firing_for: {said.stdout.strip()[:80]}")
    return program


def _absent(why: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"{why}; CI may not do without")
    pytest.skip(why)
