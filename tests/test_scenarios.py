"""``tocsin test``: each expectation can fail and says how, faults do what they say, and what is wrong has its place."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from tests.conftest import ROOT
from tests.reading_cases import project as shipped
from tocsin import files, signals
from tocsin.app import known
from tocsin.cli.commands import program
from tocsin.core.message import Kind
from tocsin.core.read import Project
from tocsin.core.remedy import Phase
from tocsin.core.rule import Rule
from tocsin.scenarios import coverage, format, reading, timeline
from tocsin.scenarios.judging import Look, judge
from tocsin.scenarios.playing import Played, play
from tocsin.scenarios.reading import FOLDER, read
from tocsin.telemetry.embedded import EmbeddedTelemetry

pytestmark = pytest.mark.slow

runner = CliRunner()

TARGET = """
automation: act
targets:
  - { name: sales, workspace: w, role_name: api, subscription: s, resource_group: rg, container_app: api,
      labels: { env: prod }, allow: [killswitch.engage], offset: 0s,
      queues: [{ queue: work, storage: "https://a.queue.core.windows.net" }] }
receivers:
  oncall: { type: stdout }
  team: { type: stdout }
routes: { to: [team], routes: [{ match: { severity: P1 }, to: [oncall, team] }] }
"""
RULE = """
summary: "{value} fail."
severity: P1
when: { signal: response_errors, above: 5%, over: 5m, minimum: 5 }
for: 2m
keep_firing_for: 2m
"""
QUEUE = """
summary: "{value} wait."
severity: P2
when: { signal: queue_depth, above: 100, over: 1m, by: [queue] }
"""
APPROVER = """
summary: No approver.
severity: P1
when: { signal: hitl_misconfigured, above: 0, over: 5m }
"""
STOP = """
summary: Stop the tools.
on: { rule: approver }
do: [ killswitch.engage: { scope: tools } ]
guard: { mode: act }
"""
BREACH = """
      - { event: response.returned, from: -10m, to: 30m, each: 20s, ok: "true" }
      - { event: response.returned, from: 5m, to: 15m, each: 20s, ok: "false" }"""


@pytest.fixture(scope="module")
def telemetry() -> Iterator[EmbeddedTelemetry]:
    made = EmbeddedTelemetry()
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with three rules and one policy."""
    for name, text in {
        "tocsin.yaml": TARGET,
        "rules/errors.yaml": RULE,
        "rules/queue.yaml": QUEUE,
        "rules/approver.yaml": APPROVER,
        "remediations/stop.yaml": STOP,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / FOLDER).mkdir(parents=True)
    return tmp_path


def project_of(folder: Path) -> Project:
    found = files.read_project(folder, {}, known())
    assert found.problems == ()
    return found


def played(
    folder: Path, telemetry: EmbeddedTelemetry, case: str, rule: str = "errors", *, foresee: bool = True
) -> Played:
    """Play one case, given as the YAML of its keys."""
    path = folder / FOLDER / f"{rule}.yaml"
    path.write_text(f"rule: {rule}\ncases:\n  - name: it\n    {case.strip()}\n")
    project = project_of(folder)
    found = read(path, path.name, project, signals.known())
    assert found.scenarios is not None, found.problems
    return play(found.scenarios, 0, project, signals.known(), telemetry, foresee=foresee)


def missed(result: Played) -> list[tuple[str, str, str]]:
    assert result.trouble == ()
    return [(miss.what, miss.expected, miss.got) for _, miss in result.misses]


# Expectations


def expecting(expect: str) -> str:
    return f"rows:{BREACH}\n    expect: [{expect}]"


@pytest.mark.parametrize(
    ("expect", "miss"),
    [
        ("{ at: 10m, state: pending }", ("state", "pending", "firing")),
        ("{ at: 10m, state: unknown }", ("state", "unknown", "breached")),
        ("{ at: 10m, verdict: clear }", ("verdict", "clear", "breached")),
        ("{ at: 10m, why: throttled }", ("why", "throttled", "condition holds")),
        ("{ at: 10m, severity: P2 }", ("severity", "P2", "P1")),
        ("{ at: 10m, value: 40% }", ("value", "40%", "50%")),
        ("{ at: 10m, tells: [] }", ("tells", "nobody", "oncall (fired), team (fired)")),
        ("{ at: 4m, tells: [oncall] }", ("tells", "oncall", "nobody")),
        ("{ at: 10m, not_tells: team }", ("tells", "not team", "oncall (fired), team (fired)")),
        ("{ at: 10m, kinds: [fired, resolved] }", ("kinds", "fired, resolved", "fired")),
        ("{ at: 10m, actions: { stop: verified } }", ("actions", "stop verified", "none")),
        ("{ at: 10m, silenced: true }", ("silenced", "true", "false")),
        ("{ at: 10m, instances: [] }", ("instances not inactive", "none", "the whole target")),
        ("{ at: 10m, rule: telemetry_blind, state: firing }", ("state", "firing", "inactive")),
    ],
)
def test_what_does_not_come_as_expected_is_said(
    folder: Path, telemetry: EmbeddedTelemetry, expect: str, miss: tuple[str, str, str]
) -> None:
    assert missed(played(folder, telemetry, expecting(expect))) == [miss]


def test_what_comes_as_expected_is_no_miss(folder: Path, telemetry: EmbeddedTelemetry) -> None:
    expect = (
        "{ at: 4m, state: inactive, verdict: clear, tells: [], kinds: [] }, "
        "{ at: 10m, state: firing, severity: P1, value: 50%, tells: [oncall, team], kinds: [fired], actions: {}, "
        "silenced: false, instances: [{}] }, { at: 29m, state: inactive, not_tells: [], kinds: [resolved] }"
    )
    assert missed(played(folder, telemetry, expecting(expect))) == []


def test_instances_are_told_apart_by_their_labels(folder: Path, telemetry: EmbeddedTelemetry) -> None:
    readings = """readings:
      - { meter: queues, reading: depth, value: 500, labels: { queue: work } }
      - { meter: queues, reading: depth, value: 5, labels: { queue: other } }
    expect:
      - { at: 5m, state: firing, instances: [{ queue: work }], value: 500, tells: team }
      - { at: 5m, state: firing, instances: [{ queue: other }] }
      - { at: 5m, state: inactive, instances: [{ queue: other }], value: 5 }"""
    result = played(folder, telemetry, readings, "queue")
    assert missed(result) == [("instances firing", "queue=other", "queue=work")]
    assert {line.instance for line in timeline.lines(result, "queue")} == {"queue=work", "queue=other"}


def test_what_is_told_counts_from_the_expectation_before(folder: Path, telemetry: EmbeddedTelemetry) -> None:
    expect = (
        "{ at: 10m, kinds: [fired] }, { at: 14m, kinds: [] }, { at: 14m, tells: [] }, { at: 29m, kinds: [resolved] }"
    )
    assert missed(played(folder, telemetry, expecting(expect))) == []


def test_a_policy_acts_on_the_app_of_the_case(folder: Path, telemetry: EmbeddedTelemetry) -> None:
    rows = """rows: [{ event: request.received, from: -10m, to: 30m, each: 1m }]
    app: [{ at: 3m, unset: HITL_APPROVER_ENDPOINT }]"""
    acts = f"{rows}\n    expect: [{{ at: 3m, state: inactive, actions: {{}} }}]"
    assert [what for what, _, _ in missed(played(folder, telemetry, acts, "approver"))] == ["state", "actions"]
    after = (
        f"{rows}\n    expect: [{{ at: 2m, actions: {{}} }}, {{ at: 8m, state: firing, actions: {{ stop: verified }} }}]"
    )
    assert missed(played(folder, telemetry, after, "approver")) == []
    watched = f"{rows}\n    automation: observe\n    expect: [{{ at: 8m, actions: {{ stop: observed }} }}]"
    assert missed(played(folder, telemetry, watched, "approver")) == []


def test_a_silence_mutes_and_says_why(folder: Path, telemetry: EmbeddedTelemetry) -> None:
    silence = "silences: [{ match: { rule: errors }, to: 12m, comment: known }]"
    expect = "{ at: 10m, state: firing, silenced: false, tells: [] }, { at: 14m, tells: [oncall] }"
    ((what, _, got),) = missed(played(folder, telemetry, f"{silence}\n    {expecting(expect)}"))
    assert (what, "known" in got) == ("silenced", True)


# Faults


@pytest.mark.parametrize(
    ("answer", "why"), [("error", "service error"), ("partial", "partial result"), ("throttled", "throttled")]
)
def test_a_workspace_that_does_not_answer_makes_unknown(
    folder: Path, telemetry: EmbeddedTelemetry, answer: str, why: str
) -> None:
    inject = f"inject: [{{ from: 6m, to: 9m, answer: {answer} }}]"
    expect = f"{{ at: 8m, state: unknown, why: {why}, tells: [] }}, {{ at: 9m, verdict: breached }}"
    assert missed(played(folder, telemetry, f"{inject}\n    {expecting(expect)}")) == []


def test_a_fault_of_one_source_leaves_the_others(folder: Path, telemetry: EmbeddedTelemetry) -> None:
    inject = "inject: [{ from: 6m, to: 9m, answer: error, of: configuration }]"
    assert missed(played(folder, telemetry, f"{inject}\n    {expecting('{ at: 8m, verdict: breached }')}")) == []
    readings = """readings: [{ meter: queues, reading: depth, value: 500, labels: { queue: work } }]
    inject: [{ from: 3m, to: 5m, answer: throttled, of: queues }]
    expect: [{ at: 4m, state: unknown, why: throttled }, { at: 4m, state: firing }]"""
    assert missed(played(folder, telemetry, readings, "queue")) == []


def test_late_rows_are_not_seen_before_they_arrive(folder: Path, telemetry: EmbeddedTelemetry) -> None:
    inject = "inject: [{ from: 5m, to: 16m, answer: late(3m) }]"
    expect = "{ at: 7m, state: inactive }, { at: 15m, state: firing, kinds: [fired] }"
    in_time = played(folder, telemetry, expecting("{ at: 7m, state: pending }"))
    late = played(folder, telemetry, f"{inject}\n    {expecting(expect)}")
    assert (missed(in_time), missed(late)) == ([], [])


def test_a_restart_leaves_out_ticks_and_what_it_missed_is_caught_up(folder: Path, telemetry: EmbeddedTelemetry) -> None:
    inject = "inject: [{ from: 6m, to: 11m, answer: restart }]"
    result = played(
        folder, telemetry, f"{inject}\n    {expecting('{ at: 10m, tells: [] }, { at: 11m, kinds: [fired] }')}"
    )
    assert missed(result) == []
    caught_up = [slot.slot for slot in result.slots if slot.at == timedelta(minutes=11)]
    assert caught_up == [timedelta(minutes=each) for each in range(6, 12)]


def test_two_instances_at_once_tell_once(folder: Path, telemetry: EmbeddedTelemetry) -> None:
    inject = "inject: [{ from: 0m, to: 30m, answer: twice }]"
    alone = played(folder, telemetry, expecting("{ at: 29m, state: inactive }"))
    both = played(folder, telemetry, f"{inject}\n    {expecting('{ at: 29m, state: inactive }')}")
    assert both.told == alone.told
    assert [slot.states for slot in both.slots] == [slot.states for slot in alone.slots]


def test_what_is_asked_ahead_is_what_would_be_asked_in_time(folder: Path, telemetry: EmbeddedTelemetry) -> None:
    inject = "inject: [{ from: 9m, to: 12m, answer: error }]"
    case = f"{inject}\n    {expecting('{ at: 29m, state: inactive }')}"
    ahead, in_time = (played(folder, telemetry, case, foresee=each) for each in (True, False))
    assert ahead.slots == in_time.slots
    assert ahead.told == in_time.told


@pytest.mark.parametrize("name", ["hitl_misconfigured", "dependency_failures", "slo_burn", "private_endpoint_dns"])
def test_shipped_scenarios_come_to_the_same_asked_ahead_or_in_time(
    root: Path, telemetry: EmbeddedTelemetry, name: str
) -> None:
    settings = json.loads((root / "local.settings.example.json").read_text())["Values"]
    project = files.read_project(root, settings, known())
    found = read(root / FOLDER / f"{name}.yaml", name, project, signals.known())
    assert found.scenarios is not None
    ends = [case.expect[-1].at for case in found.scenarios.cases]
    shortest = ends.index(min(ends))
    ahead, in_time = (
        play(found.scenarios, shortest, project, signals.known(), telemetry, foresee=each) for each in (True, False)
    )
    assert [(slot.slot, slot.seen) for slot in ahead.slots] == [(slot.slot, slot.seen) for slot in in_time.slots]


# What is covered


def test_a_rule_s_own_keys_say_which_transitions_it_can_make(folder: Path) -> None:
    rules = {rule.id: rule for rule in project_of(folder).rules}
    assert coverage.possible(rules["queue"]) == (
        "inactive → firing", "firing → inactive", "known → unknown", "unknown → known", "firing → blind",
    )  # fmt: skip
    assert len(coverage.possible(rules["errors"])) == 9


def test_what_no_case_makes_is_named(folder: Path, telemetry: EmbeddedTelemetry) -> None:
    result = played(folder, telemetry, expecting("{ at: 29m, state: inactive }"))
    rule = next(each for each in project_of(folder).rules if each.id == "errors")
    found = coverage.covered(rule, [result])
    assert str(found) == (
        "errors: 4 of 9 transitions; not: pending → inactive, recovering → firing, known → unknown, unknown → known, "
        "firing → blind"
    )
    assert found.share == pytest.approx(4 / 9)


def test_every_kind_and_phase_there_is_can_be_expected() -> None:
    assert set(get_args(format.KindName)) == {kind.value for kind in Kind} - {Kind.WATCHDOG.value}
    assert set(get_args(format.PhaseName)) == {phase.value for phase in Phase}


# Files that are wrong


@pytest.mark.parametrize(
    ("text", "place", "identity", "words"),
    [
        ("rule: erors", (1, 7), "unknown-rule", "errors"),
        ("cases: []", (2, 8), "bad-length", "at least 1"),
        ("cases: [{ name: a, expect: [{ at: soon }] }]", (2, 35), "bad-moment", "-7d"),
        ("cases: [{ name: a, expect: [{ at: 1m, state: fires }] }]", (2, 46), "bad-choice", "firing"),
        ("cases: [{ name: a, expect: [{ at: 1m, tels: [] }] }]", (2, 39), "unknown-key", "tells"),
        ("cases: [{ name: a, expect: [{ at: 1m, tells: [x] }] }]", (2, 46), "unknown-receiver", "oncall"),
        ("cases: [{ name: a, expect: [{ at: 1m, actions: { x: failed } }] }]", (2, 50), "unknown-policy", "stop"),
        ("cases: [{ name: a, inject: [{ answer: slow }], expect: [{ at: 1m }] }]", (2, 39), "bad-fault", "late(3m)"),
        ("rows: [{ evnt: a, at: 1m }]", (2, 10), "unknown-key", "event"),
        ("rows: [{ event: a, from: 1m }]", (2, 8), "bad-stretch", "each"),
        ("rows: [{ table: Requests, at: 1m }]", (2, 17), "unknown-table", "AppRequests"),
        ("rows: [{ table: AppRequests, at: 1m, Success: nope }]", (2, 47), "wrong-kind", "true or false"),
        ("rows: [{ event: response.returned, to: 1000d, each: 1s }]", (2, 7), "too-many-rows", "less often"),
        ("readings: [{ meter: queues, reading: deep }]", (2, 38), "unknown-reading", "depth"),
        ("target: { nam: x }", (2, 11), "unknown-key", "name"),
        ("cases: [{ name: a, expect: [{ at: 2m }, { at: 1m }] }]", (2, 9), "bad-order", "order"),
        ("cases: [{ name: a, expect: [{ at: 1m }] }, { name: a, expect: [{ at: 1m }] }]", (2, 52), "same-name", "'a'"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_named_with_its_place(
    folder: Path, text: str, place: tuple[int, int], identity: str, words: str
) -> None:
    path = folder / FOLDER / "errors.yaml"
    whole = text if "cases:" in text else f"{text}\ncases: [{{ name: a, expect: [{{ at: 1m }}] }}]"
    head = "" if whole.startswith("rule:") else "rule: errors\n"
    path.write_text(f"{head}{whole}\n")
    (problem,) = read(path, "errors.yaml", project_of(folder), signals.known()).problems
    assert ((problem.line, problem.column), problem.id) == (place, identity)
    assert words in f"{problem.message} {problem.hint} {problem.choices}"


# The command

PASSES = f"rule: errors\ncases:\n  - name: it fires\n    {expecting('{ at: 10m, state: firing }')}\n"
FAILS = PASSES + "  - name: it is calm\n    rows:" + BREACH + "\n    expect: [{ at: 10m, state: inactive }]\n"


def run(folder: Path, *arguments: str, code: int = 0) -> str:
    result = runner.invoke(program, ["test", "--root", str(folder), "--jobs", "1", *arguments])
    assert result.exit_code == code, result.output
    return result.stderr if code == 2 else result.stdout


def test_a_run_says_what_failed_with_its_course_and_what_is_covered(folder: Path) -> None:
    (folder / FOLDER / "errors.yaml").write_text(FAILS)
    said = run(folder, code=1)
    assert "FAIL errors: it is calm (tests/rules/errors.yaml:8)" in said
    assert "at 10m (line 12): state: expected inactive, got firing" in said
    assert "fired: oncall, team" in said
    assert "it fires" not in said
    assert "errors: 2 of 9 transitions; not: " in said
    assert "queue: 0 of 5 transitions" in said
    assert "2 cases, 1 failed" in said
    assert "1 cases passed" in run(folder, "--run", "fires$")


def test_a_run_is_told_to_programs_and_to_build_servers(folder: Path, tmp_path: Path) -> None:
    (folder / FOLDER / "errors.yaml").write_text(FAILS)
    report = tmp_path / "report.xml"
    told = json.loads(run(folder, "-o", "json", "--junit", str(report), code=1))
    assert (told["passed"], told["failed"]) == (1, 1)
    (miss,) = told["cases"][1]["misses"]
    assert miss == {"at": 600.0, "line": 12, "what": "state", "expected": "inactive", "got": "firing"}
    top = ElementTree.fromstring(report.read_bytes())
    assert (top.tag, top.get("tests"), top.get("failures")) == ("testsuites", "2", "1")
    first, second = top.findall("testsuite/testcase")
    assert (first.get("name"), first.find("failure")) == ("it fires", None)
    failure = second.find("failure")
    assert failure is not None
    assert failure.get("message") == "at 10m (line 12): state: expected inactive, got firing"


def test_too_little_coverage_is_bad_news(folder: Path) -> None:
    (folder / FOLDER / "errors.yaml").write_text(PASSES)
    assert "covered less than 50%: errors" in run(folder, "--run", "errors", "--coverage-min", "50", code=1)
    assert "1 cases passed" in run(folder, "--run", "errors", "--coverage-min", "20")


def test_a_tuned_threshold_is_what_is_tested(folder: Path) -> None:
    (folder / FOLDER / "errors.yaml").write_text(PASSES)
    (folder / "tocsin.yaml").write_text(TARGET + "tuning: { errors: { when: { above: 60% } } }\n")
    assert "state: expected firing, got inactive" in run(folder, code=1)


def test_a_rule_that_is_off_is_not_played_and_one_that_snoozes_is(folder: Path) -> None:
    (folder / FOLDER / "errors.yaml").write_text(PASSES)
    (folder / "tocsin.yaml").write_text(TARGET + "tuning: { errors: { snooze: { until: 2030-01-01, reason: x } } }\n")
    assert "1 cases passed" in run(folder)
    (folder / "tocsin.yaml").write_text(TARGET + "tuning: { errors: { enabled: false } }\n")
    (folder / FOLDER / "queue.yaml").write_text(PASSES.replace("errors", "queue").replace("firing", "inactive"))
    said = run(folder)
    assert "not played, for the rule is off: errors" in said
    assert "1 cases passed" in said


def test_a_rule_that_was_never_evaluated_is_not_inactive() -> None:
    when = {"signal": "cost", "above": "1", "over": "1h"}
    rule = Rule.model_validate({"id": "x", "summary": "s", "severity": "P1", "when": when})
    expect = format.Expect.model_validate({"at": "1m", "state": "inactive"})
    nothing = Look(rule, {}, {}, {}, (), {}, evaluated=False)
    assert [miss.got for miss in judge(expect, nothing)] == ["nothing was evaluated"]
    assert judge(expect, replace(nothing, evaluated=True)) == []


def test_a_wrong_call_plays_nothing_and_says_why(folder: Path) -> None:
    assert "no scenarios" in run(folder, code=2)
    (folder / FOLDER / "errors.yaml").write_text(PASSES)
    assert "no case is chosen by 'nothing'" in run(folder, "--run", "nothing", code=2)
    assert "no regular expression" in run(folder, "--run", "(", code=2)
    assert "cannot be written" in run(folder, "--junit", str(folder / "a" / "b.xml"), code=2)
    assert "the file cannot be read" in run(folder, str(folder / "none.yaml"), code=2)
    (folder / "rules" / "errors.yaml").write_text("summary: s\n")
    assert "rules/errors.yaml:1:1: error[missing-key]" in run(folder, code=2)


def test_a_case_that_cannot_be_played_fails_alone(
    folder: Path, telemetry: EmbeddedTelemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no target today")

    monkeypatch.setattr("tocsin.scenarios.playing.target_of", broken)
    result = played(folder, telemetry, expecting("{ at: 1m }"))
    assert (result.passed, result.trouble) == (
        False,
        ("the case could not be played: RuntimeError: no target today",),
    )


def test_every_problem_of_scenarios_is_explained(root: Path) -> None:
    page = (root / "docs" / "problems.md").read_text()
    written = Path(reading.__file__).read_text() + Path(format.__file__).read_text()
    identities = set(re.findall(r"(?:Error|problem|missing)\(\s*(?:[\w.()]+, )?\"([a-z]+(?:-[a-z0-9]+)+)\"", written))
    assert len(identities) > 8
    assert [name for name in identities if f"## `{name}`" not in page] == []


def test_every_key_of_the_format_is_on_its_page(root: Path) -> None:
    page = (root / "docs" / "rule-tests.md").read_text()
    models = (format.Scenarios, format.Case, format.Row, format.AppChange, format.RevisionOf, format.ReadingOf,
              format.Inject, format.SilenceOf, format.Expect)  # fmt: skip
    keys = {field.alias or name for model in models for name, field in model.model_fields.items()} - {"file"}
    assert {key for key in keys if f"`{key}`" not in page} == set()


@pytest.mark.slow
@pytest.mark.long
def test_every_shipped_rule_has_scenarios_that_pass_and_make_every_transition_it_can(root: Path) -> None:
    result = runner.invoke(program, ["test", "--root", str(root), "--coverage-min", "100"])
    assert result.exit_code == 0, result.output


def test_an_event_that_no_signal_reads_is_told_with_the_nearest(folder: Path) -> None:
    path = folder / FOLDER / "errors.yaml"
    case = "  - name: c\n    rows: [{ event: response.retruned, at: 0m }]\n    expect: [{ at: 1m, state: inactive }]\n"
    path.write_text(f"rule: errors\ncases:\n{case}")
    (problem,) = read(path, "errors.yaml", project_of(folder), signals.known()).problems
    assert (problem.id, problem.hint) == ("unknown-event", "did you mean 'response.returned'?")


# A fork of the shipped files


@pytest.fixture
def fork(tmp_path: Path) -> Path:
    root = shipped(tmp_path)
    (root / FOLDER).mkdir(parents=True)
    shutil.copy(ROOT / FOLDER / "high_error_rate.yaml", root / FOLDER)
    shutil.copy(ROOT / "tests" / "shipped.yaml", root / "tests")
    text = (root / "tocsin.yaml").read_text().replace("oncall", "pager")  # and automation observes
    hours = "quiet_hours: [{ name: all, matchers: [severity!=P0] }]\n"
    tuned = "tuning: { high_error_rate: { when: { above: 60% } }, stop_on_error_storm: { enabled: false } }\n"
    (root / "tocsin.yaml").write_text(text + hours + tuned)
    return root


def test_shipped_scenarios_test_shipped_rules_whatever_the_forks_tuning_receivers_and_hours_are(fork: Path) -> None:
    told = runner.invoke(program, ["test", "--root", str(fork), "--run", "BREACH|breach", "--jobs", "1"])
    assert told.exit_code == 0, told.output
    assert "cases passed" in told.stdout


OWN = """rule: high_error_rate
cases:
  - name: "Half of all fail: below the fork's limit."
    rows:
      - { event: response.returned, from: -15m, to: 40m, each: 10s, ok: "true" }
      - { event: response.returned, from: -15m, to: 40m, each: 10s, ok: "false" }
    expect:
      - { at: 30m, state: inactive, verdict: clear, tells: [] }
  - name: "More than the fork's limit, in its quiet hours."
    rows:
      - { event: response.returned, from: -15m, to: 40m, each: 30s, ok: "true" }
      - { event: response.returned, from: -15m, to: 40m, each: 5s, ok: "false" }
    expect:
      - { at: 30m, state: firing, tells: [] }
"""


def test_a_forks_own_scenarios_test_the_fork(fork: Path) -> None:
    (fork / FOLDER / "own.yaml").write_text(OWN)
    told = runner.invoke(program, ["test", "--root", str(fork), "--run", "fork", "--jobs", "1"])
    assert told.exit_code == 0, told.output
    assert "2 cases passed" in told.stdout


@pytest.mark.parametrize(
    ("said", "mode"), [({}, "observe"), ({"TOCSIN_AUTOMATION": "ask"}, "ask"), ({"TOCSIN_AUTOMATION": " "}, "observe")]
)
def test_shipped_automation_observes_until_somebody_says_another(said: dict[str, str], mode: str) -> None:
    made = files.read_project(ROOT, said, known())
    assert made.config.automation.value == mode
    assert not [each for each in made.problems if "AUTOMATION" in each.message]


def test_what_the_shipped_scenarios_are_played_with_is_what_is_shipped() -> None:
    own, used = (
        files.read_project(ROOT, {}, known()).config,
        files.read_project(ROOT, {}, known(), "tests/shipped.yaml").config,
    )
    (mine,), (theirs,) = own.targets, used.targets
    names = {"workspace", "role_name", "subscription", "resource_group", "container_app"}
    assert mine.model_dump(exclude=names) == theirs.model_dump(exclude=names)
    assert own.receivers.keys() == used.receivers.keys()
    others = {"targets", "receivers", "automation"}
    assert own.model_dump(exclude=others) == used.model_dump(exclude=others)
