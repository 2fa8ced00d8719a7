"""Tocsin's alerts are in the states that the real Prometheus puts them in, slot by slot."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests import promtool
from tests.promtool import SECOND, Case
from tocsin.core.alert import Alert, Seen, State, Timing, Verdict, transition

pytestmark = pytest.mark.slow

SEED, COUNT = 6, int(os.environ.get("SEQUENCES", "500"))
START = datetime(2026, 11, 20, 3, tzinfo=UTC)
SEEN = {"B": Seen(Verdict.BREACHED, 1.0), "C": Seen(Verdict.CLEAR, 0.0), "U": Seen(Verdict.UNKNOWN)}
LETTER = {State.INACTIVE: "I", State.PENDING: "P", State.FIRING: "F", State.RECOVERING: "F"}
"""Prometheus has no name for recovering: what ``keep_firing_for`` keeps, it calls firing."""


def ours(case: Case) -> str:
    """Return the states that the transitions lead through, one a slot."""
    alert, states = Alert("r", "t"), ""
    for slot, letter in enumerate(case.seen):
        alert, _ = transition(alert, SEEN[letter], case.timing, START + slot * case.every)
        states += LETTER[alert.state]
    return states


def differing(expected: Mapping[Case, str], folder: Path) -> dict[Case, tuple[str, str]]:
    """Return what was expected and what Prometheus says, of each case where that is not the same."""
    found = promtool.theirs(expected, folder, promtool.needed())
    return {case: (expected[case], found[case]) for case in expected if found[case] != expected[case]}


def test_without_unknown_slots_every_state_is_prometheus_own(tmp_path: Path) -> None:
    cases = promtool.generate(SEED, COUNT)
    assert differing({case: ours(case) for case in cases}, tmp_path) == {}


def test_the_sequences_begin_and_end_every_wait() -> None:
    cases = promtool.generate(SEED, 150)
    told = [ours(case) for case in cases]
    for passage in ("IP", "IF", "PI", "PF", "FI"):
        assert sum(passage in states for states in told) > 20, passage
    assert (
        sum(_another(case, keep_firing_for=0 * SECOND) != states for case, states in zip(cases, told, strict=True)) > 20
    )


def _another(case: Case, **durations: object) -> str:
    return ours(replace(case, timing=replace(case.timing, **durations)))  # type: ignore[arg-type]


FAULTS: dict[str, Callable[[Case], str]] = {
    "a slot too long": lambda case: _another(case, for_=case.timing.for_ + case.every),
    "a second too long": lambda case: _another(case, for_=case.timing.for_ + SECOND),
    "kept a second too long": lambda case: _another(case, keep_firing_for=case.timing.keep_firing_for + SECOND),
    "not kept": lambda case: _another(case, keep_firing_for=0 * SECOND),
    "a slot late": lambda case: "I" + ours(case)[:-1],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_in_exactly_the_cases_that_have_it(fault: str, tmp_path: Path) -> None:
    right = {case: ours(case) for case in promtool.generate(SEED, 40)}
    wrong = {case: FAULTS[fault](case) for case in right}
    found = differing(wrong, tmp_path)
    assert found
    assert found == {case: (wrong[case], right[case]) for case in right if wrong[case] != right[case]}


def test_a_series_that_is_gone_resolves_there_and_is_unknown_here(tmp_path: Path) -> None:
    """The deliberate difference, and why the comparison leaves unknown slots out."""
    timing, rest = Timing(60 * SECOND), "C" * (promtool.SLOTS - 6)
    case = Case(0, 60 * SECOND, timing, f"BBUUBC{rest}")
    assert ours(case)[:6] == "PFFFFI"
    assert differing({case: ours(case)}, tmp_path)[case][1][:6] == "PFIIPI"
