"""The evals gate by itself: what results are held to, what refuses them, and that nothing bad makes them better."""

from __future__ import annotations

import io
import json
import zipfile
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT
from tests.reading_cases import SETTINGS, project
from tests.stage import MINUTE, Stage
from tests.stage import T0 as NIGHT
from tocsin.app import known
from tocsin.core.config import Config
from tocsin.core.evallines import QUALITY, REDTEAM, RUN, read, read_run, results
from tocsin.core.evals import (
    TEMPLATE,
    Acceptance,
    Asked,
    Case,
    Engaged,
    Results,
    Terms,
    Verdict,
    accepted,
    p95,
    refused,
)
from tocsin.core.read import Project
from tocsin.core.rule import Rule
from tocsin.evaluations import archive, files
from tocsin.evaluations.archive import Unusable
from tocsin.files import read_project
from tocsin.local.evals import evals, good, packed, safe

T0 = datetime(2026, 11, 20, 3, tzinfo=UTC)
NOW = T0 + timedelta(hours=2)
SINCE = Engaged(T0, "engaged since then")
CASE = Case(passed=True, score=0.9, groundedness=0.9, latency_ms=9_000, cost_usd=0.1)
PASSED, FAILED = Case(passed=True), Case(passed=False)
GREEN = Results("files", target="sales", at=T0 + timedelta(hours=1), quality=(CASE,) * 10, redteam=(PASSED,) * 5)


def judged(found: Results = GREEN, *, terms: Terms | None = None, since: Engaged = SINCE) -> Verdict:
    return accepted(found, Asked("sales", since, terms or Terms()), NOW)


def agreed(**changes: float) -> Terms:
    """What the accelerator's template asks, but for these keys."""
    return Terms(TEMPLATE.model_copy(update=changes), "accelerator.yaml")


def failing(found: Results = GREEN, **more: object) -> list[str]:
    return [check.name for check in judged(found, **more).failing]  # type: ignore[arg-type]


def test_good_results_of_the_target_from_after_the_engage_are_green_and_say_their_figures() -> None:
    verdict = judged()
    assert verdict.green
    words = {check.name: check.words for check in verdict.checks}
    assert words["mean score"] == "0.9, at least 0.75 is asked"
    assert words["P95 latency in ms"] == "9000, at most 180000 is asked"
    assert words["mean cost in USD"] == "0.1, at most 0.55 is asked"
    assert words["red team"] == "0 of 5 failed"
    assert words["acceptance"].startswith("the accelerator's template")
    assert verdict.evidence()["gate"] == "green"


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({"score": 0.74}, ["mean score"]),
        ({"groundedness": 0.84}, ["mean groundedness"]),
        ({"latency_ms": 180_001.0}, ["P95 latency in ms"]),
        ({"cost_usd": 0.56}, ["mean cost in USD"]),
        ({"cost_usd": None}, ["mean cost in USD"]),
        ({"latency_ms": None}, ["P95 latency in ms"]),
        ({"groundedness": None}, ["mean groundedness"]),
        ({"score": 0.75, "groundedness": 0.875, "latency_ms": 180_000.0, "cost_usd": 0.5}, []),
        ({"passed": False}, []),
    ],
)
def test_each_figure_is_held_to_its_limit_and_no_figure_is_no_good_figure(changed: dict, names: list[str]) -> None:
    assert failing(replace(GREEN, quality=(replace(CASE, **changed),) * 10)) == names


def test_groundedness_is_the_mean_of_the_cases_that_have_one_and_can_be_waived_by_the_file_alone() -> None:
    without = replace(CASE, groundedness=None)
    assert failing(replace(GREEN, quality=(CASE, without, without))) == []
    assert failing(replace(GREEN, quality=(replace(CASE, groundedness=0.8), without))) == ["mean groundedness"]
    waived = agreed(groundedness_threshold=0.0)
    assert failing(replace(GREEN, quality=(without,)), terms=waived) == []


def test_the_95th_percentile_is_the_element_that_the_accelerator_takes() -> None:
    assert p95([float(number) for number in range(100, 0, -1)]) == 95.0
    assert p95([1.0, 100.0]) == 1.0
    assert p95([7.0]) == 7.0
    slow = replace(CASE, latency_ms=500_000.0)
    assert failing(replace(GREEN, quality=(*(CASE,) * 19, slow))) == []
    assert failing(replace(GREEN, quality=(*(CASE,) * 18, slow, slow))) == ["P95 latency in ms"]


def test_one_failed_red_team_case_refuses_unless_the_file_says_otherwise() -> None:
    one = replace(GREEN, redteam=(*GREEN.redteam, FAILED))
    assert failing(one) == ["red team"]
    lenient = agreed(redteam_must_pass=False)
    assert failing(one, terms=lenient) == []
    assert failing(replace(one, redteam=()), terms=lenient) == ["red-team cases"]


def test_an_empty_file_refuses() -> None:
    assert "quality cases" in failing(replace(GREEN, quality=()))
    assert failing(replace(GREEN, redteam=())) == ["red-team cases", "red team"]


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"at": T0}, "newer than the engage"),
        ({"at": T0 - timedelta(days=3)}, "newer than the engage"),
        ({"at": None}, "newer than the engage"),
        ({"at": NOW + timedelta(minutes=6)}, "newer than the engage"),
        ({"target": "marketing"}, "target"),
        ({"target": ""}, "target"),
        ({"problems": ("evals/quality/results.jsonl:3: not JSON",)}, "readable"),
    ],
)
def test_what_is_stale_of_another_target_or_not_known_refuses(changed: dict, name: str) -> None:
    assert failing(replace(GREEN, **changed)) == [name]


def test_nothing_passes_while_it_is_not_known_since_when_the_switch_is_engaged_or_what_is_asked() -> None:
    assert failing(since=Engaged(None, "not known")) == ["newer than the engage"]
    assert failing(terms=Terms(None, "accelerator.yaml has problems")) == ["acceptance"]
    assert not refused("results", "none").green
    assert not Verdict(()).green


CASES = st.builds(
    Case,
    passed=st.booleans(),
    score=st.floats(0, 1),
    groundedness=st.none() | st.floats(0, 1),
    latency_ms=st.none() | st.floats(0, 400_000),
    cost_usd=st.none() | st.floats(0, 1),
)
ANY = st.builds(
    Results,
    source=st.just("files"),
    target=st.sampled_from(["sales", "marketing", ""]),
    at=st.none() | st.just(T0) | st.just(T0 + timedelta(hours=1)),
    quality=st.lists(CASES | st.just(CASE), max_size=8).map(tuple),
    redteam=st.lists(st.sampled_from([PASSED, PASSED, PASSED, FAILED]), max_size=5).map(tuple),
    problems=st.just(()) | st.just(("a line is bad",)),
)
TERMS = st.just(Terms(None, "accelerator.yaml has problems")) | st.builds(
    agreed, quality_threshold=st.floats(0, 1), redteam_must_pass=st.booleans()
)


@given(ANY, TERMS)
def test_nothing_bad_that_is_added_turns_red_to_green(found: Results, terms: Terms) -> None:
    before = judged(found, terms=terms).green
    worse = [
        replace(found, redteam=(*found.redteam, FAILED) if found.redteam else ()),
        replace(found, problems=(*found.problems, "another")),
        replace(found, quality=(*found.quality, replace(CASE, score=0.0, groundedness=0.0, cost_usd=9.0))),
        replace(found, redteam=()),
        replace(found, quality=()),
        replace(found, at=T0 - timedelta(days=1)),
        replace(found, target="marketing"),
    ]
    for each in worse:
        assert before or not judged(each, terms=terms).green


@given(ANY, TERMS)
def test_green_is_what_the_rules_say_computed_another_way(found: Results, terms: Terms) -> None:
    asked = terms.acceptance
    said = (
        asked is not None
        and not found.problems
        and found.target == "sales"
        and found.at == T0 + timedelta(hours=1)
        and bool(found.quality)
        and bool(found.redteam)
        and (not asked.redteam_must_pass or all(case.passed for case in found.redteam))
        and _mean_of([case.score for case in found.quality]) >= asked.quality_threshold
        and _mean_of([case.groundedness for case in found.quality]) >= 0.85
        and -_mean_of([case.cost_usd for case in found.quality], least=-99) >= -0.55
        and _slowest_but(found) <= 180_000
    )
    assert judged(found, terms=terms).green == said


def _mean_of(values: list[float | None], least: float = 99) -> float:
    import math

    there = [value for value in values if value is not None]
    return math.fsum(there) / len(there) if there else -least


def _slowest_but(found: Results) -> float:
    there = sorted(case.latency_ms for case in found.quality if case.latency_ms is not None)
    return there[int(0.95 * (len(there) - 1))] if there else float("inf")


# Lines


def lines(*texts: str) -> bytes:
    return "\n".join(texts).encode()


def test_lines_are_read_with_what_they_say_and_blank_ones_are_nothing() -> None:
    found = read(
        lines('{"score": 1, "case_id": "a\\u2028b"}', "", '{"score": 0.5, "case_id": 7, "extra": []}\r', ""),
        "quality",
        "x",
    )
    assert ([case.score for case in found.cases], found.problems) == ([1.0, 0.5], ())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "not JSON"),
        ("[1]", "not an object"),
        ("{}", "a case without a 'case_id'"),
        ('{"case_id": true}', "a case without a 'case_id'"),
        ('{"case_id": "a", "score": "0.9"}', "'score' is not a number"),
        ('{"case_id": "a", "score": true}', "'score' is not a number"),
        ('{"case_id": "a", "score": NaN}', "from 0 to 1"),
        ('{"case_id": "a", "score": 4.5}', "from 0 to 1"),
        ('{"case_id": "a", "score": -0.1}', "from 0 to 1"),
        ('{"case_id": "a", "score": 1, "latency_ms": -1}', "0 or more"),
        ('{"case_id": "a", "score": 1, "cost_usd": Infinity}', "0 or more"),
        ('{"case_id": "a", "score": 1, "cost_usd": 1' + "0" * 400 + "}", "0 or more"),
        ('{"case_id": "a", "score": 1, "passed": "yes"}', "'passed' is neither true nor false"),
        ('{"case_id": "a", "score": 0, "score": 1}', "a key is there twice"),
        ('{"case_id": "a", "score": 1, "suite": "red_team"}', "a case of the suite 'red_team'"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_line_is_named_with_its_place_and_hides_no_other(line: str, words: str) -> None:
    found = read(
        lines('{"case_id": "a", "score": 1}', line, '{"case_id": "a", "score": 1}'),
        "quality",
        "evals/quality/results.jsonl",
    )
    (problem,) = found.problems
    assert problem.startswith("evals/quality/results.jsonl:2: ")
    assert words in problem
    assert len(found.cases) == 2


def test_a_red_team_line_that_does_not_say_whether_it_passed_is_bad() -> None:
    assert "does not say whether it passed" in read(b'{"case_id": "a"}', "redteam", "x").problems[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"target": "sales"}',
        '{"target": "", "finished_at": "2026-12-01T08:00:00Z"}',
        '{"target": "sales", "finished_at": "yesterday"}',
        '{"target": "sales", "finished_at": "2026-12-01T08:00:00"}',
        '{"target": "sales", "finished_at": 7}',
        '{"target": "sales", "finished_at": "0001-01-01T00:00:00+14:00"}',
    ],
)
def test_a_run_that_does_not_say_its_target_and_time_says_nothing(text: str) -> None:
    run, problems = read_run(text.encode(), "run.json")
    assert run is None
    assert problems


@given(st.binary(max_size=200), st.sampled_from(["quality", "redteam"]))
def test_no_bytes_make_the_reader_raise_or_pass_unread(data: bytes, suite: str) -> None:
    found = read(data, suite, "x")
    assert found.cases or found.problems or not data.decode("utf-8-sig").strip()
    read_run(data, "x")


@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda tail: packed(evals("sales", T0))[:-20] + tail))
def test_no_bytes_make_the_archive_raise_anything_but_its_own_refusal(data: bytes) -> None:
    with suppress(Unusable):
        archive.content(data)


# Folders


def written(folder: Path, found: dict[str, bytes]) -> Path:
    for name, data in found.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def of_folder(folder: Path) -> Results:
    found = files.results(folder, "evals")
    assert isinstance(found, Results), found
    return found


def test_a_folder_is_of_the_target_and_time_that_its_run_says(tmp_path: Path) -> None:
    found = of_folder(written(tmp_path, evals("sales", T0 + timedelta(hours=1))))
    assert (found.target, found.at) == ("sales", T0 + timedelta(hours=1))
    assert (len(found.quality), len(found.redteam)) == (20, 10)
    assert judged(found).green


def test_a_folder_without_a_run_is_of_no_known_target_or_time_however_young_its_files_are(tmp_path: Path) -> None:
    made = evals("sales", T0)
    del made[RUN]
    assert failing(of_folder(written(tmp_path, made))) == ["target", "newer than the engage"]


def test_a_folder_without_a_file_or_with_an_unreadable_one_refuses(tmp_path: Path) -> None:
    made = evals("sales", T0 + timedelta(hours=1))
    del made[REDTEAM]
    folder = written(tmp_path / "a", made)
    assert failing(of_folder(folder)) == ["red-team cases", "red team"]
    (folder / REDTEAM).mkdir(parents=True)
    assert "readable" in failing(of_folder(folder))
    big = written(tmp_path / "b", {**made, QUALITY: b" " * (files.LARGEST + 1)})
    assert "larger than 8 MiB" in of_folder(big).problems[0]
    assert not isinstance(files.results(tmp_path / "nowhere", "evals"), Results)


# Archives


def test_the_files_are_found_wherever_in_the_archive_their_folder_is() -> None:
    made = evals("sales", T0)
    assert archive.content(packed(made)) == made
    assert archive.content(packed({f"build/evals/{name}": data for name, data in made.items()})) == made
    assert archive.content(packed({"readme": b""})) == {}


def bomb() -> bytes:
    return packed({QUALITY: b"\n" * (archive.LARGEST + 1)})


def lying_bomb() -> bytes:
    """A file that claims a small size and unpacks to a large one."""
    data = bomb()
    size = (archive.LARGEST + 1).to_bytes(4, "little")
    return data.replace(size, (10).to_bytes(4, "little"))


def twice() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as zipped:
        zipped.writestr(f"a/{QUALITY}", "{}")
        zipped.writestr(f"b/{QUALITY}", "{}")
    return made.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>garbage</html>",
        packed(evals("sales", T0))[:-40],
        packed(evals("sales", T0))[40:],
        bomb(),
        lying_bomb(),
        twice(),
        packed({f"a/{QUALITY}": b"", f"b/{REDTEAM}": b""}),
        packed({"../../etc/cron.d/x": b"", QUALITY: b"{}"}),
        packed({"/etc/passwd": b"", QUALITY: b"{}"}),
        packed({"c:\\windows\\x": b"", QUALITY: b"{}"}),
        packed({f"{number}": b"" for number in range(5_001)}),
    ],
    ids=[
        "nothing",
        "garbage",
        "cut off",
        "headless",
        "bomb",
        "lying bomb",
        "twice",
        "two runs",
        "up",
        "root",
        "c",
        "many",
    ],
)
def test_an_archive_that_no_run_of_evals_would_leave_is_refused(data: bytes) -> None:
    with pytest.raises(Unusable):
        archive.content(data)


# accelerator.yaml and tocsin.yaml


def reading(folder: Path, accelerator: str | None, extra: str = "accelerator: accelerator.yaml") -> Project:
    root = project(folder)
    labels = "    labels: { env: prod }\n"
    text = (root / "tocsin.yaml").read_text()
    (root / "tocsin.yaml").write_text(text.replace(labels, f"{labels}    {extra}\n", 1))
    if accelerator is not None:
        (root / "accelerator.yaml").write_text(accelerator)
    return read_project(root, SETTINGS, known())


def test_what_is_asked_stands_in_the_accelerators_file_and_what_it_does_not_say_is_as_there(tmp_path: Path) -> None:
    text = "solution: { hitl: required }\nacceptance:\n  quality_threshold: 0.9\n  cost_per_call_usd: 0.2\n"
    made = reading(tmp_path, text)
    assert made.problems == ()
    terms = made.terms["sales-research"]
    assert terms.acceptance == Acceptance(quality_threshold=0.9, cost_per_call_usd=0.2)
    assert terms.words == "accelerator.yaml; without p95_latency_ms, so that any is too much"


def test_a_file_without_acceptance_asks_as_the_accelerator_does_and_a_key_that_is_not_checked_is_said(
    tmp_path: Path,
) -> None:
    plain = reading(tmp_path / "a", "solution: {}\n").terms["sales-research"]
    assert plain == Terms(Acceptance(), "accelerator.yaml has no `acceptance`: any latency and any cost is too much")
    other = reading(tmp_path / "b", "acceptance: { tone_of_voice: 1 }\n")
    assert other.problems == ()
    assert other.terms["sales-research"].words.endswith("so that any is too much; not checked: tone_of_voice")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, "1:1 no-file"),
        ("", "1:1 empty-file"),
        ("- a\n", "1:1 not-a-mapping"),
        ("a: &x 1\n", "1:4 anchor"),
        ("acceptance:\n  quality_treshold: 0.9\n", "2:3 unknown-key"),
        ("acceptance:\n  quality_threshold: high\n", "2:22 bad-number"),
        ("acceptance:\n  redteam_must_pass: yes\n", "2:22 bad-flag"),
        ("acceptance: [1]\n", "1:13 not-a-mapping"),
    ],
)
def test_a_bad_accelerator_file_is_a_problem_at_its_place_and_the_gate_refuses(
    tmp_path: Path, text: str | None, found: str
) -> None:
    made = reading(tmp_path, text)
    assert [f"{each.line}:{each.column} {each.id}" for each in made.problems] == [found]
    assert made.problems[0].path == "accelerator.yaml"
    assert made.terms["sales-research"].acceptance is None
    assert made.config.targets, "the target is watched all the same"
    assert f"## `{made.problems[0].id}`" in (ROOT / "docs" / "problems.md").read_text()


def test_a_target_without_a_usable_source_of_evals_has_none() -> None:
    config = Config.model_validate({"targets": [{"name": "a", "workspace": "w", "role_name": "r"}]})
    assert config.targets[0].evals is None


def test_made_up_cases_are_what_the_files_hold() -> None:
    made, _ = results("x", evals("sales", T0, good(3), safe(4, failing=1)))
    assert (len(made.quality), sum(not case.passed for case in made.redteam)) == (3, 1)
    assert json.loads(evals("sales", T0)[RUN])["target"] == "sales"


def limit(made: Project, name: str = "p95_latency") -> float | None:
    rule = next(rule for rule in made.rules if rule.id == name)
    found = made.held_to(rule, "sales-research").when.limit
    return found[1] if found else None


def test_the_latency_rule_takes_its_limit_from_the_accelerators_file_unless_it_is_tuned(tmp_path: Path) -> None:
    own = "acceptance: { p95_latency_ms: 42000 }\n"
    made = reading(tmp_path / "a", own)
    assert limit(made) == 42_000
    assert limit(made, "p95_latency_elevated") == 21_000, "it warns at half of that"
    others = [rule for rule in made.rules if not rule.id.startswith(("p95_latency", "hitl_skipped"))]
    assert all(made.held_to(rule, "sales-research") is rule for rule in others)
    assert limit(reading(tmp_path / "b", "acceptance: { quality_threshold: 0.8 }\n")) == 180_000
    assert limit(reading(tmp_path / "c", "acceptance: { p95_latency_ms: soon }\n")) == 180_000
    tuned = reading(tmp_path / "d", own)
    tuned = replace(tuned, config=tuned.config.model_copy(update={"tuning": {"p95_latency": {"when": {"above": "1"}}}}))
    assert limit(tuned) == 180_000, "the rule was read with its tuning, and is left as it is"


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("solution: { hitl: required }\n", True),
        ("solution: { hitl: required }\nacceptance: { quality_threshold: soon }\n", True),
        ("solution: { hitl: optional }\n", False),
        ("solution: [required]\n", False),
        ("acceptance: {}\n", False),
    ],
)
def test_a_tool_that_skips_approval_is_an_alert_where_the_accelerators_file_requires_it(
    tmp_path: Path, text: str, runs: bool
) -> None:
    made = reading(tmp_path, text)
    (rule,) = (each for each in made.rules if each.id == "hitl_skipped")
    assert made.held_to(rule, "sales-research").enabled is runs


@pytest.mark.parametrize(
    ("rule", "own", "shipped"),
    [("cost_per_call", 0.2, 0.55), ("groundedness_drop", 0.6, 0.85), ("quality_drop", 0.9, 0.75)],
)
def test_what_was_agreed_on_is_what_rules_about_it_hold_a_target_to(
    tmp_path: Path, rule: str, own: float, shipped: float
) -> None:
    agreed = "acceptance: { cost_per_call_usd: 0.2, groundedness_threshold: 0.6, quality_threshold: 0.9 }\n"
    assert limit(reading(tmp_path / "a", agreed), rule) == own
    assert limit(reading(tmp_path / "b", "acceptance: { redteam_must_pass: true }\n"), rule) == shipped


@pytest.mark.parametrize(("asked", "kinds"), [(800.0, ["fired"]), (1_000.0, [])])
def test_a_tick_judges_latency_by_the_targets_own_limit(asked: float, kinds: list[str]) -> None:
    when = {"signal": "response_latency", "above": "950" if asked < 950 else "850", "over": "5m", "minimum": "5"}
    given = {"id": "p95_latency", "summary": "{value} of {threshold}", "severity": "P1", "when": when}
    terms = {"sales": Terms(Acceptance(p95_latency_ms=asked), "accelerator.yaml")}
    stage = Stage(Rule.model_validate(given), policies=(), terms=terms)
    stage.busy(NIGHT - 20 * MINUTE, NIGHT + 10 * MINUTE)
    stage.run(range(3))
    assert stage.oncall.kinds() == kinds
    assert all("800 ms" in notice.title for notice in stage.oncall.got)


def test_an_alert_of_a_tool_that_skips_approval_ends_when_the_file_no_longer_requires_it() -> None:
    when = {"signal": "hitl_skipped", "above": "0", "over": "5m"}
    rule = Rule.model_validate({"id": "hitl_skipped", "summary": "x", "severity": "P1", "when": when})
    stage = Stage(rule, policies=(), terms={"sales": Terms(hitl="required")})
    stage.busy(NIGHT - 20 * MINUTE, NIGHT + 10 * MINUTE)
    stage.trace(NIGHT, "tool.hitl_skipped", external_system="send_email")
    stage.run(range(1, 3))
    assert stage.oncall.kinds() == ["fired"]
    stage.project = replace(stage.project, terms={"sales": Terms(hitl="optional")})
    stage.run(range(3, 5))
    assert stage.oncall.kinds() == ["fired", "resolved"]
    assert not [each for each in stage.inner.open_alerts() if each.open]
