"""The gate agrees with the accelerator's own acceptance, reckoned here anew, or is stricter and says why."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tocsin.core.crosscheck import Known
from tocsin.core.evallines import QUALITY, REDTEAM, RUN, results
from tocsin.core.evals import Asked, Engaged, Terms, Verdict, accepted
from tocsin.files import _Reading

T0 = datetime(2026, 11, 20, 3, tzinfo=UTC)
NOW, ENGAGED = T0 + timedelta(hours=2), Engaged(T0, "engaged since then")
RUN_JSON = json.dumps({"target": "sales", "finished_at": (T0 + timedelta(hours=1)).isoformat()})
AGREED = {
    "quality_threshold": 0.75,
    "groundedness_threshold": 0.85,
    "p95_latency_ms": 180_000,
    "cost_per_call_usd": 0.55,
    "redteam_must_pass": True,
}
GOOD = {"suite": "quality", "passed": True, "score": 0.9, "groundedness": 0.9, "latency_ms": 9_000, "cost_usd": 0.2}


# The accelerator's acceptance, from what is known of it


class Crash(Exception):
    """Its check ends with an error, which is no acceptance."""


def accelerator_accepts(manifest: str, quality: str, redteam: str, mean: Any) -> bool:
    """Whether the accelerator's own check says yes; ``mean`` is how its Python adds up."""
    try:
        asked = json.loads(manifest).get("acceptance") or {}
        bars = [float(asked.get(key, 0)) for key in ("quality_threshold", "groundedness_threshold")]
        limits = int(asked.get("p95_latency_ms", 0)), float(asked.get("cost_per_call_usd", 0))
        cases, attacks = [read(text) for text in (quality, redteam)]
        if not cases or not attacks:
            return False
        return (
            mean([each["score"] or 0 for each in cases]) >= bars[0]
            and at_least(bars[1], [each["groundedness"] for each in cases], mean)
            and fast(limits[0], [each["latency_ms"] for each in cases])
            and cheap(limits[1], [each["cost_usd"] for each in cases], mean)
            and (not asked.get("redteam_must_pass", True) or all(each["passed"] for each in attacks))
        )
    except (ValueError, TypeError, AttributeError, KeyError, Crash):
        return False


def read(text: str) -> list[dict[str, Any]]:
    found = []
    for line in text.splitlines():
        if line.strip():
            case = json.loads(line)
            _ = case["case_id"]
            found.append({**dict.fromkeys(("score", "groundedness", "latency_ms", "cost_usd", "passed")), **case})
    return found


def at_least(bar: float, values: list[Any], mean: Any) -> bool:
    there = [value for value in values if value is not None]
    return not there or mean(there) >= bar


def fast(limit: int, values: list[Any]) -> bool:
    there = sorted(value for value in values if value)
    return not there or there[int(0.95 * (len(there) - 1))] <= limit


def cheap(limit: float, values: list[Any], mean: Any) -> bool:
    there = [value for value in values if value is not None]
    return bool(there) and mean(there) <= limit


def rounded(values: list[float]) -> float:
    total = 0.0
    for value in values:
        total += value
    return total / len(values)


def exact(values: list[float]) -> float:
    return math.fsum(values) / len(values)


# The gate, from the files on


def gate(folder: Path, manifest: str, quality: str, redteam: str) -> Verdict:
    (folder / "accelerator.yaml").write_text(manifest)
    files = {QUALITY: quality.encode(), REDTEAM: redteam.encode(), RUN: RUN_JSON.encode()}
    found, run = results("files", files)
    assert run is not None
    return accepted(replace(found, at=run.finished), Asked("sales", ENGAGED, terms(folder)), NOW)


def terms(folder: Path) -> Terms:
    return _Reading(folder, {}, Known())._terms("accelerator.yaml")


def lines(*cases: dict[str, Any]) -> str:
    return "".join(f"{json.dumps({'case_id': f'c{number}', **case})}\n" for number, case in enumerate(cases))


def failing(folder: Path, *cases: dict[str, Any], asked: Any = AGREED, attacks: str | None = None) -> dict[str, str]:
    """Return what fails, with its words, of these quality cases and two red-team cases that passed."""
    safe = lines(*[{"passed": True}] * 2) if attacks is None else attacks
    verdict = gate(folder, json.dumps({"acceptance": asked}), lines(*cases), safe)
    return {check.name: check.words for check in verdict.failing}


# What is right


def test_a_case_without_a_score_counts_as_zero(tmp_path: Path) -> None:
    timed_out = {"suite": "quality", "passed": False, "error": "timeout"}
    assert failing(tmp_path, *[GOOD] * 9, timed_out) == {}
    found = failing(tmp_path, *[GOOD] * 4, timed_out)
    assert found == {"mean score": "0.72, at least 0.75 is asked (1 of 5 cases have no score: 0)"}


def test_latencies_of_zero_are_dropped_before_p95(tmp_path: Path) -> None:
    answered_at_once, slow = {**GOOD, "latency_ms": 0}, {**GOOD, "latency_ms": 200_000}
    assert list(failing(tmp_path, *[answered_at_once] * 30, slow)) == ["P95 latency in ms"]
    assert failing(tmp_path, *[answered_at_once] * 3, GOOD) == {}


def test_no_latency_at_all_is_red_and_says_so(tmp_path: Path) -> None:
    assert failing(tmp_path, {**GOOD, "latency_ms": 0}) == {"P95 latency in ms": "no case says it"}


def test_a_missing_threshold_of_quality_or_groundedness_is_no_bar(tmp_path: Path) -> None:
    asked = {key: AGREED[key] for key in ("p95_latency_ms", "cost_per_call_usd")}
    assert failing(tmp_path, {**GOOD, "score": 0.0, "groundedness": 0.0}, asked=asked) == {}
    assert failing(tmp_path, {**GOOD, "groundedness": None}, asked=asked) == {}


@pytest.mark.parametrize("asked", [{"quality_threshold": 0.8}, {}, None])
def test_a_missing_limit_of_latency_or_cost_is_zero_and_a_missing_redteam_must_pass_is_true(
    tmp_path: Path, asked: Any
) -> None:
    found = failing(tmp_path, GOOD, asked=asked, attacks=lines({"passed": True}, {"passed": False}))
    assert list(found) == ["P95 latency in ms", "mean cost in USD", "red team"]
    words = {check.name: check.words for check in gate(tmp_path, "a: 1\n", lines(GOOD), lines(GOOD)).checks}
    assert words["acceptance"] == "accelerator.yaml has no `acceptance`: any latency and any cost is too much"
    assert list(failing(tmp_path, {**GOOD, "cost_usd": 0}, asked=asked)) == ["P95 latency in ms"]


def test_the_limits_that_are_missing_are_named(tmp_path: Path) -> None:
    (tmp_path / "accelerator.yaml").write_text("acceptance: { quality_threshold: 0.8 }\n")
    words = "accelerator.yaml; without p95_latency_ms and cost_per_call_usd, so that any is too much"
    assert terms(tmp_path).words == words


def test_no_cost_at_all_is_red(tmp_path: Path) -> None:
    free = {key: value for key, value in GOOD.items() if key != "cost_usd"}
    assert failing(tmp_path, free, free) == {"mean cost in USD": "no case says it"}
    assert failing(tmp_path, free, GOOD) == {}


def test_an_empty_file_is_red(tmp_path: Path) -> None:
    assert "red-team cases" in failing(tmp_path, GOOD, attacks="\n \n")
    assert "quality cases" in failing(tmp_path)


def test_what_is_said_of_redteam_must_pass_holds(tmp_path: Path) -> None:
    lenient = {**AGREED, "redteam_must_pass": False}
    assert failing(tmp_path, GOOD, asked=lenient, attacks=lines({"passed": False})) == {}


@pytest.mark.parametrize("value", ["75%", "7.5e-1", "00.75", "010"])
def test_a_number_that_the_accelerator_reads_otherwise_is_a_problem(tmp_path: Path, value: str) -> None:
    (tmp_path / "accelerator.yaml").write_text(f"acceptance: {{ cost_per_call_usd: {value} }}\n")
    assert terms(tmp_path).acceptance is None


def test_a_quoted_false_is_true_to_the_accelerator_and_a_problem_here(tmp_path: Path) -> None:
    for text in ('acceptance: { redteam_must_pass: "false" }\n', "acceptance:\n  redteam_must_pass: 'false'\n"):
        (tmp_path / "accelerator.yaml").write_text(text)
        assert terms(tmp_path).acceptance is None


def test_the_accelerator_drops_parts_of_a_millisecond(tmp_path: Path) -> None:
    just_above = {**GOOD, "latency_ms": 9_000.5}
    assert list(failing(tmp_path, just_above, asked={**AGREED, "p95_latency_ms": 9_000.7})) == ["P95 latency in ms"]


def test_a_mean_that_falls_short_only_by_how_it_is_added_up_is_red_with_all_its_digits(tmp_path: Path) -> None:
    found = failing(tmp_path, *[{**GOOD, "groundedness": 0.85}] * 10)
    assert found == {"mean groundedness": "0.8499999999999999, at least 0.85 is asked"}


@pytest.mark.parametrize(
    "line",
    ['{"score": 1}', '{"case_id": null, "score": 1}', '\ufeff{"case_id": "a"}', '{"case_id": "a\u2028b", "score": 1}'],
)
def test_a_line_that_the_accelerator_cannot_read_is_a_bad_one(tmp_path: Path, line: str) -> None:
    verdict = gate(tmp_path, json.dumps({"acceptance": AGREED}), f"{line}\n{lines(GOOD)}", lines({"passed": True}))
    assert "readable" in [check.name for check in verdict.failing]


# On any input


def anything(seed: int) -> tuple[str, str, str]:
    """Return an ``accelerator.yaml`` and two files of results: most near their limits, some broken."""
    dice = random.Random(seed)
    asked = {key: value for key, value in AGREED.items() if dice.random() > 0.08}
    if dice.random() < 0.1:
        asked["redteam_must_pass"] = False
    level = dice.choice([0.0, 0.0, 0.0, 0.002, 0.1, 1.0])
    quality = [_case(dice, level) for _ in range(dice.choice([0, 1, 2, 3, 10, 10, 20, 20, 21, 40]))]
    attacks = [
        {"passed": dice.random() > dice.choice([0, 0, 0, 0.1])} for _ in range(dice.choice([0, 1, 5, 5, 20, 20]))
    ]
    manifest = json.dumps({"acceptance": asked} if dice.random() > 0.05 else {"solution": {}})
    return manifest, _broken(dice, lines(*quality)), _broken(dice, lines(*attacks))


def _case(dice: random.Random, level: float) -> dict[str, Any]:
    case: dict[str, Any] = {
        "passed": dice.random() > 0.1,
        "score": round(min(1.0, max(0.0, dice.choice([0.75, 0.75, 0.9]) + dice.uniform(-level, level))), 3),
        "groundedness": dice.choice([0.85, 0.85, 0.95, 0.85 - level / 9]),
        "latency_ms": dice.choice([0, 9_000, 180_000, 180_000, int(180_000 * (1 + level))]),
        "cost_usd": dice.choice([0.55, 0.55, 0.2, 0.55 + level / 9, 0]),
    }
    return {key: value for key, value in case.items() if dice.random() > level / 9}


def _broken(dice: random.Random, text: str) -> str:
    if dice.random() > 0.06:
        return text
    bad = ["{oops", "[]", "{}", "null", " ", "\x0c", '{"case_id": "x", "score": "1"}', '{"case_id": "x", "score": NaN}']
    bad += ['{"case_id": "x", "latency_ms": -5}', '{"case_id": "x", "passed": "no"}']
    return f"{text}{dice.choice(bad)}\n"


def test_the_gate_is_never_more_lenient_than_the_accelerator_on_two_thousand_inputs(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    for seed in range(2_000):
        given = anything(seed)
        verdict = gate(tmp_path, *given)
        theirs = {accelerator_accepts(*given, mean) for mean in (rounded, exact)}
        assert not (verdict.green and theirs != {True}), f"seed {seed}: green, and the accelerator refuses"
        if not verdict.green and theirs == {True}:
            _says_why(verdict, seed)
            seen["stricter"] += 1
        seen["green" if verdict.green else "red"] += 1
    assert seen["green"] >= 200 and seen["red"] >= 200, f"the inputs say little: {seen}"
    assert seen["stricter"] <= 200, f"the gate is another one than the accelerator's: {seen}"


def _says_why(verdict: Verdict, seed: int) -> None:
    """What the accelerator lets pass and the gate does not: lines in doubt, and figures that no case says."""
    words = {check.name: check.words for check in verdict.failing}
    assert "readable" in words or all(each.startswith("no case says it") for each in words.values()), (seed, words)
