"""A run of the evals is held against those before it: part of the cases, or luck at a second try, releases nothing."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT
from tocsin.core.evallines import read_run
from tocsin.core.evals import TEMPLATE, Asked, Case, Earlier, Engaged, Results, Terms, Verdict, accepted
from tocsin.engine.releasing import judged

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
DAY = timedelta(days=1)
ENGAGED = Engaged(NOW - 40 * HOUR, "engaged since then", serving=NOW - 40 * HOUR)


def cases(count: int, **changes: float | bool) -> tuple[Case, ...]:
    good = Case(passed=True, score=0.9, groundedness=0.9, latency_ms=9_000, cost_usd=0.1)
    return tuple(replace(good, case_id=f"c{number}", **changes) for number in range(count))  # type: ignore[arg-type]


def run(at: datetime, quality: int = 10, redteam: int = 5, *, failed: int = 0, **changes: float | bool) -> Results:
    """Return a run of the target with so many cases; the first few of the red team failed."""
    attacks = tuple(replace(case, passed=number >= failed) for number, case in enumerate(cases(redteam)))
    return Results("x", f"of {at}", "sales", at, cases(quality, **changes), attacks)


def look(newest: Results, *earlier: Results, **asked: object) -> Verdict:
    wanted = {"target": "sales", "engaged": ENGAGED, "terms": Terms(TEMPLATE, "agreed"), **asked}
    return accepted(replace(newest, earlier=earlier), Asked(**wanted), NOW)  # type: ignore[arg-type]


def failing(newest: Results, *earlier: Results, **asked: object) -> list[str]:
    return [check.name for check in look(newest, *earlier, **asked).failing]


NEWEST = run(NOW - HOUR)


def test_a_first_run_has_nothing_to_be_held_against() -> None:
    assert failing(NEWEST) == []


@pytest.mark.parametrize(
    ("before", "found"),
    [
        (run(NOW - 9 * DAY, 10, 5), []),
        (run(NOW - 9 * DAY, 11, 5), ["enough cases"]),
        (run(NOW - 9 * DAY, 10, 6), ["enough cases"]),
        (run(NOW - 9 * DAY, 11, 6, failed=1), []),
        (run(NOW - 23 * HOUR, 11, 5, failed=1), ["enough cases", "red runs"]),
    ],
    ids=["as many", "more quality cases", "more red-team cases", "an old red run", "a red run of today"],
)
def test_a_run_needs_as_many_cases_as_the_accepted_one_before_it_and_as_a_red_one_of_today(
    before: Results, found: list[str]
) -> None:
    assert failing(NEWEST, before) == found


def test_a_run_with_too_few_cases_is_no_measure_for_the_next_one() -> None:
    assert failing(NEWEST, run(NOW - 2 * DAY), run(NOW - 9 * DAY, 40, 20)) == ["enough cases"]


def test_the_run_that_released_last_is_the_measure_whatever_was_before_it() -> None:
    released = Earlier("7", NOW - 2 * DAY, 10, 5, good=True, released=True)
    assert failing(NEWEST, run(NOW - 9 * DAY, 40, 20), before=(released,)) == []
    assert failing(NEWEST, run(NOW - DAY, 40, 20), before=(released,)) == ["enough cases"]


def test_minimum_cases_stands_in_for_the_run_before_and_hides_no_red_one() -> None:
    larger, red = run(NOW - 9 * DAY, 40, 20), run(NOW - 2 * HOUR, 40, 20, failed=3)
    assert failing(NEWEST, larger, minimum=5) == []
    assert failing(NEWEST, larger, minimum=6) == ["enough cases"]
    assert failing(NEWEST, red, minimum=5) == ["red runs"]


def test_the_same_case_twice_is_one_case() -> None:
    twice = replace(NEWEST, quality=cases(5) * 2)
    assert failing(twice, run(NOW - 9 * DAY)) == ["enough cases"]


@pytest.mark.parametrize(
    ("at", "serving", "found"),
    [
        (NOW - 2 * HOUR, NOW - 3 * HOUR, ["red runs"]),
        (NOW - 2 * HOUR, NOW - 2 * HOUR + SECOND, []),
        (NOW - 2 * HOUR, None, ["red runs"]),
        (NOW - DAY + SECOND, NOW - 3 * DAY, ["red runs"]),
        (NOW - DAY, NOW - 3 * DAY, []),
    ],
    ids=["of what serves", "of what served before", "of what is not known", "of this day", "of the day before"],
)
def test_a_red_run_of_what_serves_now_refuses_for_a_day(
    at: datetime, serving: datetime | None, found: list[str]
) -> None:
    assert failing(NEWEST, run(at, failed=1), engaged=replace(ENGAGED, serving=serving)) == found


@pytest.mark.parametrize(
    "changes", [{"score": 0.5}, {"groundedness": 0.5}, {"latency_ms": 1e6}, {"cost_usd": 2.0}], ids=str
)
def test_any_figure_that_is_not_met_makes_a_run_red(changes: dict[str, float]) -> None:
    assert failing(NEWEST, run(NOW - 2 * HOUR, **changes)) == ["red runs"]


def test_what_says_nothing_about_the_system_makes_no_run_red() -> None:
    bad = run(NOW - 2 * HOUR)
    nothing_said = replace(bad, quality=tuple(replace(case, cost_usd=None) for case in bad.quality))
    for before in (nothing_said, replace(bad, problems=("cut off",)), replace(bad, redteam=())):
        assert failing(NEWEST, before) == []
    assert failing(NEWEST, replace(run(NOW - 2 * HOUR, failed=5), target="marketing")) == []


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12), st.integers(1, 6), st.integers(0, 1)), max_size=5))
def test_no_earlier_run_ever_makes_a_run_better(told: list[tuple[int, int, int, int]]) -> None:
    earlier = [run(NOW - hours * HOUR, many, few, failed=failed) for hours, many, few, failed in told]
    for newest in (NEWEST, run(NOW - HOUR, failed=1)):
        assert set(failing(newest)) <= set(failing(newest, *earlier))


# What the audit knows


def refusal(at: datetime, **checks: str) -> dict[str, object]:
    found = {f"check.{name.replace('_', ' ')}": words for name, words in checks.items()}
    return {"target": "sales", "detail": {"gate": "red", "run": "7", "results from": at.isoformat(), **found}}


def test_the_audit_remembers_the_cases_and_figures_of_what_was_judged() -> None:
    kept = look(run(NOW - 2 * HOUR, 40, 20, failed=2)).evidence()
    (found,) = judged("sales", [{"target": "sales", "detail": kept}, {"target": "other", "detail": kept}])
    assert found == Earlier(f"of {NOW - 2 * HOUR}", NOW - 2 * HOUR, 40, 20, ("red team",))
    assert failing(NEWEST, before=(found,)) == ["enough cases", "red runs"]
    (good,) = judged("sales", [{"target": "sales", "detail": look(NEWEST).evidence()}])
    assert (good.released, good.quality, good.redteam) == (True, 10, 5)


def test_a_refusal_for_want_of_a_figure_or_without_results_is_no_red_run() -> None:
    assert judged("sales", [refusal(NOW, mean_cost_in_USD="FAILED: no case says it")])[0].red == ()
    assert judged("sales", [{"target": "sales", "detail": {"gate": "red", "check.results": "FAILED: none"}}]) == ()
    assert judged("sales", [{"target": "sales", "detail": {}}]) == ()


def test_the_run_itself_is_no_earlier_one() -> None:
    again = Earlier(NEWEST.run, NEWEST.at, 90, 90, ("mean score",), good=True)
    assert failing(NEWEST, before=(again,)) == []


# The accelerator's workflow


def test_the_lines_for_the_workflow_write_a_run_that_is_read(tmp_path: Path) -> None:
    (line,) = re.findall(r"run: >-\n((?: +.*\n){2})", (ROOT / "docs" / "files.md").read_text())
    (tmp_path / "evals").mkdir()
    shell = {"GITHUB_RUN_ID": "4711", "PATH": "/usr/bin:/bin"}
    subprocess.run(["bash", "-ec", " ".join(line.split())], cwd=tmp_path, env=shell, check=True)
    found, problems = read_run((tmp_path / "evals" / "run.json").read_bytes(), "run.json")
    assert problems == ()
    assert found is not None and (found.target, found.name) == ("sales-research", "4711")
    assert abs(datetime.now(UTC) - found.finished) < DAY
