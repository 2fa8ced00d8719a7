"""Rules taken elsewhere: what is said to be equal decides the same when it comes back, and promtool agrees."""

from __future__ import annotations

import json
import math
import re
import subprocess
import typing
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.conftest import ROOT
from tests.kql.binder import Binder
from tests.porting.cases import PROJECT
from tests.promtool import needed
from tests.queries import AT, OWN, TARGET
from tests.reading_cases import SETTINGS
from tests.test_golden import event
from tocsin import app, signals
from tocsin.cli import exporting, importing
from tocsin.cli.commands import program
from tocsin.core.answer import NoAnswer, Query, Rows
from tocsin.core.compile import Window, compile_logs
from tocsin.core.read import Project, build
from tocsin.core.rule import Rule
from tocsin.core.schema import TABLES
from tocsin.core.signal import Logs
from tocsin.document import parse
from tocsin.files import read_project
from tocsin.porting import to_azure, to_promtool, watcher
from tocsin.porting.to_azure import Exported
from tocsin.ports import Counted
from tocsin.telemetry.embedded import EmbeddedTelemetry

runner = CliRunner()


@cache
def shipped() -> Project:
    return read_project(ROOT, SETTINGS, app.known())


def rule(**said: Any) -> Rule:
    given = {"id": "some_rule", "summary": "s", "severity": "P1", **said}
    given["when"] = {"signal": "response_errors", "over": "15m", "minimum": "20", **given.get("when", {"above": "5%"})}
    return Rule.model_validate(given, by_alias=True)


def exported(given: Rule) -> Exported:
    return to_azure.exported(given, signals.known().get(given.when.signal or ""), TARGET)


def back(found: Exported) -> Rule:
    """Return what an exported rule is when it is imported."""
    assert found.resource is not None
    document = to_azure.template([found.resource])
    document["parameters"]["workspace"] = {"type": "string", "defaultValue": "/subscriptions/s/w"}
    (outcome,) = importing.read("x.json", json.dumps(document).encode()).outcomes
    assert outcome.text is not None, outcome.refusals
    node = parse("x", outcome.text.encode()).node
    assert node is not None
    made, problems = build(Rule, node, {"id": outcome.rule, "file": "x"})
    assert made is not None, problems
    return made


def decision(of: Rule) -> dict[str, Any]:
    """Return what a rule decides by, apart from what it measures."""
    limit = of.when.limit
    return {
        "limit": limit and (limit[0], round(limit[1], 9)),
        "over": of.when.over,
        "by": of.when.by,
        "every": of.every,
        "for": of.for_,
        "in": of.in_ and (of.in_.hits, of.in_.slots),
        "resolve-delay": of.keep_firing_for,
        "severity": of.severity,
        "enabled": of.enabled,
    }


_DIFFERS = {"for": ("for",), "frequency": ("every", "resolve-delay"), "resolve-delay": ("resolve-delay",), "bins": ()}
"""What a difference that the export told is about."""


def assert_same(given: Rule, found: Exported) -> None:
    other = back(found)
    excused = {name for identity, _ in found.differences for name in _DIFFERS.get(identity, ())}
    mine, theirs = decision(given), decision(other)
    if given.for_ and theirs["in"]:  # a wait is so many periods on end
        hits, slots = theirs["in"]
        assert hits == slots == given.for_ // given.every + 1
        excused |= {"for", "in"}
    assert {name: value for name, value in mine.items() if name not in excused} == {
        name: value for name, value in theirs.items() if name not in excused
    }


def test_every_shipped_rule_that_can_be_exported_comes_back_as_it_was() -> None:
    found = exporting.azure(shipped(), shipped().rules, shipped().config.targets)
    rules = {each.id: each for each in shipped().rules}
    made = [each for each in found if each.resource is not None]
    assert len(made) > 15
    for each in made:
        assert_same(shipped().held_to(rules[each.rule], each.target), each)
    assert all(each.why for each in found if each.resource is None)


EQUAL = rule(keep_firing_for="10m")


def test_a_rule_without_a_wait_that_ends_as_azure_does_is_equal() -> None:
    found = exported(EQUAL)
    assert found.as_dict()["counterpart"] == "equal"
    assert decision(back(found)) == decision(EQUAL)


@given(
    above=st.sampled_from(["above", "at_least", "below", "at_most"]),
    over=st.sampled_from(["1m", "3m", "5m", "15m", "1h", "1d", "2d", "7d"]),
    every=st.sampled_from(["30s", "1m", "2m", "5m", "15m", "1h"]),
    wait=st.sampled_from([{}, {"for": "5m"}, {"for": "10m"}, {"in": "2 of 3"}, {"in": "3 of 9"}]),
    keep=st.sampled_from(["0s", "10m", "15m", "1h"]),
    severity=st.sampled_from(["P0", "P1", "P2", "P3"]),
    enabled=st.sampled_from(["true", "false"]),
)
@settings(max_examples=60)
def test_what_is_exported_comes_back_but_for_what_was_said(
    above: str, over: str, every: str, wait: dict[str, str], keep: str, severity: str, enabled: str
) -> None:
    said = {"every": every, "keep_firing_for": keep, "severity": severity, "enabled": enabled, **wait}
    given_ = rule(when={above: "5%", "over": over}, **said)
    found = exported(given_)
    if found.resource is None:
        assert found.why
    else:
        assert_same(given_, found)


ROWS = [
    *(event("response.returned", AT - timedelta(minutes=4), count, ok="True") for count in (10, 15)),
    event("response.returned", AT - timedelta(minutes=5), 5, ok="False"),
    event("response.returned", AT - timedelta(minutes=16), 50, ok="False"),
    event("response.returned", AT - timedelta(minutes=5), 50, role="another", ok="False"),
]


def _values(answer: Rows | NoAnswer) -> list[float | None]:
    assert isinstance(answer, Rows), answer
    return [None if row["value"] is None or math.isnan(row["value"]) else row["value"] for row in answer.dicts()]


@pytest.mark.parametrize("minimum", ["20", "40"])
def test_the_query_measures_what_the_rule_did(minimum: str) -> None:
    telemetry = EmbeddedTelemetry()
    telemetry.load("AppTraces", ROWS)
    given_ = rule(when={"above": "5%", "minimum": minimum}, keep_firing_for="10m")
    other = back(exported(given_))
    window = (Window(AT, AT - given_.when.over, AT),)
    signal = signals.known()["response_errors"]
    (source,) = signal.sources
    assert isinstance(source, Logs)
    (mine,) = compile_logs(given_, signal, source, TARGET, window)
    (theirs,) = compile_logs(other, None, None, TARGET, window)
    measured, found = (_values(telemetry.ask(each.query, TARGET)) for each in (mine, theirs))
    telemetry.close()
    assert measured == [pytest.approx(5 / 30)]
    # Of too few responses the query itself says nothing, as `minimum` does.
    assert found == (measured if minimum == "20" else [None])


def test_an_own_query_is_bound_to_its_target_and_comes_back() -> None:
    found = exported(OWN)
    assert found.resource is not None
    (condition,) = found.resource["properties"]["criteria"]["allOf"]
    assert condition["query"].startswith(
        f"let AppExceptions = AppExceptions | where AppRoleName == '{TARGET.role_name}';\n"
    )
    other = back(found)
    assert "let " not in (other.when.kql or "")
    assert decision(other)["by"] == ("exception",)


NONE = {
    "burn_rate": {"when": {"burn_rate": {"objective": "99%"}, "over": "1h"}},
    "change": {"when": {"change": {"more_than": "20%", "versus": "7d"}}},
    "unusual": {"when": {"unusual": {"score": "4"}, "over": "1h"}},
    "no window of 3m": {"when": {"above": "5%", "over": "3m"}},
    "`resolve`": {"resolve": {"below": "1%"}},
    "`in` counts": {"in": "3 of 5"},
    "once a minute": {"every": "30s"},
    "not in the workspace": {"when": {"signal": "queue_depth", "above": "5"}},
    "3 places": {"when": {"signal": "transport_errors", "above": "5"}},
    "arrivals": {"when": {"signal": "hitl_rejections", "above": "5"}, "counting": "arrivals"},
}


@pytest.mark.parametrize("words", NONE)
def test_what_has_no_counterpart_says_why(words: str) -> None:
    found = exported(rule(**NONE[words]))
    assert found.resource is None
    assert words in found.why


def test_a_text_that_looks_like_an_expression_is_a_text() -> None:
    made = to_azure.said("[resourceGroup().id]")
    assert made == "[[resourceGroup().id]"


# The watcher


def test_the_watchers_alerts_ask_for_what_the_watcher_counts() -> None:
    counted = {f"tocsin.{name}" for name in typing.get_args(Counted)}
    page = (ROOT / "docs" / "operations.md").read_text()
    for own in watcher.OWN:
        assert own.metric in counted
        (line,) = [line for line in page.splitlines() if line.startswith(f"| `{own.metric}` |")]
        labels = line.split("|")[3]
        for name, values in own.labels.items():
            assert f"`{name}`" in labels
            assert all(value in labels or value == "timer" for value in values)


_TICKS = ((3, "timer", "done"), (4, "timer", "done"), (5, "timer", "failed"), (6, "event", "done"))


def test_the_watchers_alerts_see_a_heartbeat_that_stops() -> None:
    telemetry = EmbeddedTelemetry()
    (own,) = [each for each in watcher.OWN if each.metric == "tocsin.ticks" and each.operator == "LessThan"]
    tick = {"AppRoleName": "tocsin", "Name": "tocsin.ticks", "Sum": 1.0, "ItemCount": 1}
    rows = [
        {**tick, "TimeGenerated": AT - timedelta(minutes=at), "Properties": {"cause": cause, "outcome": outcome}}
        for at, cause, outcome in (
            (3, "timer", "done"),
            (4, "timer", "done"),
            (5, "timer", "failed"),
            (6, "event", "done"),
        )
    ]
    telemetry.load("AppMetrics", rows)
    value = lambda start, end: telemetry.find(Query(own.query("tocsin"), start, end)).rows  # noqa: E731
    assert value(AT - timedelta(minutes=15), AT) == ((2.0,),)
    assert value(AT - timedelta(minutes=45), AT - timedelta(minutes=30)) == ((0.0,),)
    telemetry.close()


def test_microsofts_parser_binds_the_watchers_queries_with_and_without_their_table() -> None:
    binder = Binder()
    tables = {name: columns for name, columns in TABLES.items() if name != "AppMetrics"}
    bound = [binder.bind(own.query("tocsin"), known) for own in watcher.OWN for known in (TABLES, tables)]
    binder.close()
    assert [(each.errors, dict(each.columns)) for each in bound] == [((), {"value": "real"})] * len(bound)


def test_the_watchers_alerts_can_be_imported_and_are_accepted() -> None:
    document = to_azure.template(watcher.alerts("tocsin"))
    assert set(document["parameters"]) == {"location", "actionGroups", "watcher"}
    read = importing.read("x.json", json.dumps(document).encode())
    made = importing.accepted(read.outcomes, PROJECT, parser=False)
    assert [each.refusals for each in made] == [()] * len(watcher.OWN)


# promtool


RULES = ("high_error_rate", "queue_lag")
SOME = re.compile("burst that|fires once|neither fires|the limit")
"""A few of their scenarios: all of them take a minute."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of two rules: one over logs, one over readings with a split."""
    folder = tmp_path_factory.mktemp("promtool")
    rules = [each for each in shipped().rules if each.id in RULES]
    for each in exporting.courses(shipped(), rules, ROOT, SOME):
        assert each.kept, each
        (folder / f"{each.rule}.rules.yml").write_text(each.rules)
        (folder / f"{each.rule}.test.yml").write_text(each.tests)
    return folder


def promtool(*arguments: object) -> tuple[bool, str]:
    """Return whether promtool is content, and what it says."""
    done = subprocess.run([needed(), *map(str, arguments)], capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", RULES)
def test_promtool_agrees_with_what_the_scenarios_came_to(files: Path, name: str) -> None:
    good, said = promtool("check", "rules", files / f"{name}.rules.yml")
    assert good, said
    good, said = promtool("test", "rules", files / f"{name}.test.yml")
    assert good, said


@pytest.mark.parametrize(
    ("old", "new"), [("for: 5m", "for: 6m"), ("keep_firing_for: 10m", "keep_firing_for: 9m"), ("> 0.05", "> 0.9")]
)
def test_promtool_notices_another_rule(files: Path, tmp_path: Path, old: str, new: str) -> None:
    text = (files / "high_error_rate.rules.yml").read_text()
    assert old in text
    (tmp_path / "high_error_rate.rules.yml").write_text(text.replace(old, new))
    (tmp_path / "x.test.yml").write_text((files / "high_error_rate.test.yml").read_text())
    good, said = promtool("test", "rules", tmp_path / "x.test.yml")
    assert not good, said


def test_a_scenario_in_which_something_is_unknown_is_left_out_and_named(files: Path) -> None:
    text = (files / "high_error_rate.test.yml").read_text()
    assert "neither fires nor resolves" not in text
    assert "A burst that is gone before five minutes pages nobody." in text


@pytest.mark.parametrize("words", ["`burn_rate`", "`in`", "`resolve`"])
def test_what_promtool_cannot_tell_says_why(words: str) -> None:
    said = {"`burn_rate`": NONE["burn_rate"], "`in`": NONE["`in` counts"], "`resolve`": NONE["`resolve`"]}[words]
    assert words in to_promtool.exported(rule(**said), ()).why


# The command


def run(*arguments: object, code: int = 0) -> str:
    result = runner.invoke(program, [*map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.stdout if code != 2 else result.output


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project with two rules, of which one has a counterpart."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "tocsin.yaml").write_text((PROJECT / "tocsin.yaml").read_text())
    for name in RULES:
        (tmp_path / "rules" / f"{name}.yaml").write_text((ROOT / "rules" / f"{name}.yaml").read_text())
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--to", "azure", "--run", "x"], "--run is not for --to azure"),
        (["--to", "promtool", "--watcher-only"], "--watcher-only is not for --to promtool"),
        (["--to", "promtool", "--target", "x"], "--target is not for --to promtool"),
        (["--to", "azure", "--watcher-only", "--rule", "x"], "--watcher-only and --rule exclude each other"),
        (["--to", "promtool", "--run", "nothing like it"], "no scenario is chosen by --run 'nothing like it'"),
    ],
)
def test_an_option_that_means_nothing_is_not_passed_over(arguments: list[str], words: str, project: Path) -> None:
    assert words in run("export", *arguments, "--root", project, code=2)


def test_a_template_is_written_once_and_says_what_differs(project: Path) -> None:
    into = project / "alerts.json"
    said = run("export", "--to", "azure", "--into", into, "--root", project)
    assert (
        "near: high_error_rate on sales-research\n  differs [for]: Azure has no wait over windows that overlap" in said
    )
    assert "no counterpart: queue_lag on sales-research" in said
    assert "1 rules (0 decide the same while everything is known), 1 without a counterpart; 5 alerts" in said
    names = [each["name"] for each in json.loads(into.read_text())["resources"]]
    assert names[-1] == "tocsin-high-error-rate-sales-research"
    assert "is there already" in run("export", "--to", "azure", "--into", into, "--root", project, code=2)


def test_as_json_the_template_stands_beside_the_report(project: Path) -> None:
    told = json.loads(run("export", "--to", "azure", "--rule", "queue_lag", "--root", project, "-o", "json"))
    assert told["watcher"] == []
    assert [each["counterpart"] for each in told["rules"]] == ["none"]
    told = json.loads(run("export", "--to", "azure", "--watcher-only", "--root", project, "-o", "json"))
    assert (told["rules"], len(told["watcher"])) == ([], len(watcher.OWN))


def test_a_rule_or_target_that_is_not_there_is_a_wrong_call(project: Path) -> None:
    assert "did you mean 'queue_lag'?" in run(
        "export", "--to", "promtool", "--rule", "queue_lags", "--root", project, code=2
    )
    assert "known: sales-research" in run("export", "--to", "azure", "--target", "x", "--root", project, code=2)


def test_a_rule_without_scenarios_has_no_tests_and_says_so(project: Path) -> None:
    told = json.loads(run("export", "--to", "promtool", "--rule", "queue_lag", "--root", project, "-o", "json"))
    assert told["rules"][0]["why"] == "it has no scenarios"
    assert told["files"] == {}
