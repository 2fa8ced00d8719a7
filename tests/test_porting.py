"""Alerts from elsewhere: each becomes a rule that `check` accepts or has a reason, and nothing is dropped unsaid."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.conftest import ROOT
from tests.kql.binder import Binder
from tests.porting import cases
from tests.porting.cases import PROJECT, all_read, paths, rendered, reports
from tests.queries import AT, MINUTE, TARGET
from tocsin.app import known
from tocsin.cli import importing
from tocsin.cli.commands import program
from tocsin.core import kql
from tocsin.core.alert import Alert, Seen, Timing, Verdict, transition
from tocsin.core.answer import Query, Rows
from tocsin.core.compile import Window, compile_logs
from tocsin.core.node import Node
from tocsin.core.read import build
from tocsin.core.rule import OutOf, Rule
from tocsin.document import parse
from tocsin.files import read_project
from tocsin.porting import promql, queries
from tocsin.porting.outcome import Outcome
from tocsin.telemetry.embedded import EmbeddedTelemetry

runner = CliRunner()


def run(*arguments: str, code: int = 0) -> str:
    result = runner.invoke(program, [*map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.stdout if code != 2 else result.output


def test_a_folder_that_is_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "tocsin.yaml").write_text((PROJECT / "tocsin.yaml").read_text())
    into = tmp_path / "file"
    into.write_text("mine")
    source = next(path for path in paths() if path.stem == "classic_names")
    said = run("import", str(source), "--no-kql-parser", "--root", str(tmp_path), "--into", str(into), code=2)
    assert "file cannot be written" in said
    assert into.read_text() == "mine"


@pytest.mark.parametrize("path", paths(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_becomes_of_a_file_is_what_was_read_before(path: Path) -> None:
    name = f"{path.parent.name}/{path.stem}.json"
    assert (cases.EXPECTED / name).read_text(encoding="utf-8") == rendered()[name], (
        "python -m tools.golden; read the diff"
    )


def test_no_report_is_left_of_a_file_that_is_gone() -> None:
    assert {str(path.relative_to(cases.EXPECTED)) for path in cases.EXPECTED.rglob("*.json")} == set(rendered())


@pytest.mark.parametrize("form", cases.FORMS)
def test_there_are_ten_files_of_each_form_and_some_of_each_are_refused(form: str) -> None:
    found = [report for path, report in reports().items() if path.parent.name == form]
    rules = [rule for report in found for rule in report["rules"]]
    assert len(found) >= 10
    assert sum(rule["rule"] is not None for rule in rules) >= 10
    assert sum(rule["rule"] is None for rule in rules) >= 10


def test_every_alert_is_a_rule_or_says_at_its_place_why_not() -> None:
    for path, report in reports().items():
        lines = path.read_text(encoding="utf-8").splitlines()
        for rule in report["rules"]:
            assert (rule["rule"] is None) == bool(rule["refused"]), rule["source"]
            assert all(1 <= each["line"] <= len(lines) and each["column"] >= 1 for each in rule["refused"])
            assert rule["differences"] or rule["rule"] is None
        assert report["rules"] or report["problems"]


def test_every_rule_that_was_made_is_accepted_beside_the_shipped_ones(tmp_path: Path) -> None:
    texts = {
        f"{path.stem[:20]}_{rule['rule']}"[:60]: rule["text"]
        for path, report in reports().items()
        for rule in report["rules"]
        if rule["rule"]
    }
    (tmp_path / "rules").mkdir()
    (tmp_path / "tocsin.yaml").write_text((PROJECT / "tocsin.yaml").read_text())
    for name, text in texts.items():
        (tmp_path / "rules" / f"{name}.yaml").write_text(text, encoding="utf-8")
    project = read_project(tmp_path, {}, known())
    assert project.problems == ()
    assert {rule.id for rule in project.rules} == set(texts)


def _queries() -> list[tuple[str, Query]]:
    """Return every query of a rule that was made, as it will be asked."""
    found = []
    for report in reports().values():
        for rule in report["rules"]:
            node = parse("x", (rule["text"] or "").encode()).node if rule["rule"] else None
            made = build(Rule, node, {"id": rule["rule"], "file": "x"})[0] if node is not None else None
            if made is not None and made.when.kql is not None:
                (ask,) = compile_logs(made, None, None, TARGET, (Window(AT, AT - made.when.over, AT),))
                found.append((rule["source"], ask.query))
    return found


def test_every_query_that_was_made_is_answered() -> None:
    telemetry = EmbeddedTelemetry()
    answers = {name: telemetry.ask(query, TARGET) for name, query in _queries()}
    telemetry.close()
    assert len(answers) > 12
    assert {name: answer for name, answer in answers.items() if not isinstance(answer, Rows)} == {}
    assert all({"_window", "value"} <= set(answer.columns) for answer in answers.values() if isinstance(answer, Rows))


def test_microsofts_parser_binds_every_query_that_was_made() -> None:
    binder = Binder()
    errors = {name: binder.bind(query.text).errors for name, query in _queries()}
    binder.close()
    assert {name: said for name, said in errors.items() if said} == {}


def test_a_query_that_names_events_says_how_many_there_are() -> None:
    """Else the column would be missing where the compiler looks for it, and the rule would be broken at night."""
    document = json.loads((cases.HERE / "azure" / "count_of_failed_calls.json").read_text())
    criteria = document["resources"][0]["properties"]["criteria"]["allOf"][0]
    criteria["query"] = "AppTraces | summarize events = sum(ItemCount) by OperationName"
    criteria |= {"timeAggregation": "Total", "metricMeasureColumn": "events"}
    (outcome,) = importing.read("x.json", json.dumps(document).encode()).outcomes
    node = parse("x", (outcome.text or "").encode()).node
    assert node is not None
    made, _ = build(Rule, node, {"id": "x", "file": "x"})
    assert made is not None
    (ask,) = compile_logs(made, None, None, TARGET, (Window(AT, AT - made.when.over, AT),))
    telemetry = EmbeddedTelemetry()
    answer = telemetry.ask(ask.query, TARGET)
    telemetry.close()
    assert isinstance(answer, Rows), answer
    assert [(row["value"], row["events"]) for row in answer.dicts()] == [(0.0, None)]


# Nothing is dropped


def _leaves(node: Node, path: str = "") -> Iterator[str]:
    for key, value in node.pairs or ():
        here = f"{path}.{key.text}" if path else key.text or ""
        if value.pairs:
            yield from _leaves(value, here)
        elif value.items and any(each.pairs for each in value.items):
            for number, each in enumerate(value.items):
                yield from _leaves(each, f"{here}[{number}]")
        elif value.text != "" and value.items != ():
            yield here


STRUCTURE = re.compile(r"^(type|name)$")
"""What tells of which rule it is, or is part of a field that is named."""


def _named(outcome: Outcome) -> set[str]:
    said = {*outcome.carried, *(each.field.partition(" ")[0] for each in outcome.differences)}
    words = " ".join(each.message for each in outcome.refusals)
    return said | set(re.findall(r"`([\w.\[\]$-]+)`", words))


def _nodes() -> Iterator[tuple[Outcome, Node]]:
    for path, read in all_read().items():
        parsed = parse("x", path.read_bytes())
        assert parsed.node is not None
        for outcome in read.outcomes if read.form == "azure" else ():
            for node in _mappings(parsed.node):
                if node.line == outcome.line and node.get("type") is not None and node.get("properties") is not None:
                    yield outcome, node
                    break


def _mappings(node: Node) -> Iterator[Node]:
    if node.pairs is not None:
        yield node
    for _, value in node.pairs or ():
        yield from _mappings(value)
    for item in node.items or ():
        yield from _mappings(item)


def test_every_field_of_an_azure_rule_that_is_translated_is_named_in_its_report() -> None:
    looked = 0
    for outcome, node in _nodes():
        if outcome.text is None:
            continue
        named = _named(outcome)
        for leaf in _leaves(node):
            looked += 1
            above = [leaf[: found.start()] for found in re.finditer(r"[.\[]|$", leaf)]
            assert STRUCTURE.search(leaf) or named & {*above, leaf}, f"{outcome.source}: {leaf}"
    assert looked > 100


@given(
    st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=4, max_size=12),
    st.sampled_from(["", "p", "c"]),
)
def test_a_field_that_nobody_knows_refuses_an_azure_rule(name: str, place: str) -> None:
    document = json.loads((cases.HERE / "azure" / "count_of_failed_calls.json").read_text())
    rule = document["resources"][0]
    inside = {"": rule, "p": rule["properties"], "c": rule["properties"]["criteria"]["allOf"][0]}[place]
    if name.casefold() in {each.casefold() for each in (*inside, *KNOWN)}:
        return
    inside[name] = "x"
    (outcome,) = importing.read("x.json", json.dumps(document).encode()).outcomes
    assert [(each.id, name in each.message) for each in outcome.refusals] == [("unknown-field", True)]


KNOWN = ("tags", "etag", "identity", "condition", "resources", "scope", "comments", "copy", "kind", "actions", "source")


@given(st.text(max_size=60), st.sampled_from(["expr", "for", "labels", "annotations"]))
def test_no_text_makes_the_import_of_a_prometheus_rule_fail(text: str, key: str) -> None:
    rule = {"alert": "X", "expr": "up == 0", **({key: {"summary": text}} if key.endswith("s") else {key: text})}
    document = json.dumps({"groups": [{"name": "g", "rules": [rule]}]}, ensure_ascii=False)
    read = importing.read("x.yaml", document.encode("utf-8", "replace"))
    assert read.problems or all(each.text or each.refusals for each in read.outcomes)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "type",
                        "resources",
                        "properties",
                        "criteria",
                        "allOf",
                        "groups",
                        "rules",
                        "slos",
                        "version",
                        "value",
                        "name",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_no_document_makes_the_import_fail(document: object) -> None:
    read = importing.read("x.json", json.dumps(document).encode())
    assert read.problems or read.form


def _replaced(value: Any, path: tuple[Any, ...], instead: Any) -> Any:
    if not path:
        return instead
    made = list(value) if isinstance(value, list) else dict(value)
    made[path[0]] = _replaced(value[path[0]], path[1:], instead)
    return made


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inside:
        yield from _places(below, (*path, key))


EXPORTED = json.loads((cases.HERE / "azure" / "exported_with_parameters.json").read_text())
ODD = (
    [],
    {},
    [[]],
    {"a": {}},
    None,
    "",
    "x",
    "[x",
    "[parameters('none')]",
    "[variables('query')]",
    "[[x]",
    -1,
    1e300,
    True,
)


@given(st.sampled_from(sorted(_places(EXPORTED), key=repr)), st.sampled_from(ODD))
def test_no_value_anywhere_makes_the_import_of_a_template_fail(path: tuple[Any, ...], instead: Any) -> None:
    read = importing.read("x.json", json.dumps(_replaced(EXPORTED, path, instead)).encode())
    assert read.problems or all(bool(each.text) != bool(each.refusals) for each in read.outcomes)


# Queries


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("AppTraces | where TimeGenerated > ago(1h)", "AppTraces"),
        ("AppTraces\n| where TimeGenerated > ago(1h)\n| where Message has 'x'", "AppTraces\n| where Message has 'x'"),
        ("AppTraces | where TimeGenerated >= ago(30min) and a == 1", "AppTraces | where a == 1"),
        ("AppTraces | where a == 1 and TimeGenerated > now() - 1d and b == 2", "AppTraces | where a == 1 and b == 2"),
        ("AppTraces | where a or b and TimeGenerated between (ago(1h) .. now())", "AppTraces | where a or b"),
        ("AppTraces | where TimeGenerated > now(-2h) and TimeGenerated <= now()", "AppTraces"),
        ("union (AppTraces | where timestamp > ago(1d)), AppRequests", "union (AppTraces ), AppRequests"),
    ],
)
def test_what_says_no_more_than_the_window_is_taken_away(text: str, left: str) -> None:
    assert queries.read(text).text == left


@pytest.mark.parametrize(
    "text",
    [
        "AppTraces | where TimeGenerated > ago(1h) or a == 1",
        "AppTraces | where TimeGenerated > ago(1h)\n  or a == 1",
        "AppTraces | where a == 1 and TimeGenerated > ago(1h) or b == 1",
        "AppTraces | where not(TimeGenerated < ago(1h))",
        "AppTraces | where TimeGenerated > startofday(now())",
        "AppTraces | extend Old = TimeGenerated < ago(5m)",
    ],
)
def test_what_says_more_stays_and_reads_past_the_window(text: str) -> None:
    assert queries.read(text).text == text
    assert kql.past_the_window(text)


@pytest.mark.parametrize(
    "text", ["AppTraces | where Message == ' and TimeGenerated > ago(1h)'", "AppTraces // ago(1h)"]
)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert queries.read(text).text == text
    assert queries.read(text).inner is None


@given(
    st.lists(st.booleans(), min_size=1, max_size=60),
    st.integers(1, 6).flatmap(lambda slots: st.tuples(st.just(slots), st.integers(1, slots))),
    st.integers(2, 4),
)
def test_looks_that_overlap_fire_no_later_than_periods_that_do_not(
    breached: list[bool], periods: tuple[int, int], times: int
) -> None:
    """``breached`` says of each look whether the window that ends then is; a period is so many looks long."""
    slots, hits = periods
    azure = [
        sum(breached[at - times * back] for back in range(slots) if at >= times * back) >= hits for at in _all(breached)
    ]
    alert, timing = Alert("r", "t"), Timing(out_of=OutOf(hits=hits, slots=slots * times))
    fired: list[bool] = []
    for at in _all(breached):
        seen = Seen(Verdict.BREACHED if breached[at] else Verdict.CLEAR, 1.0)
        alert, _ = transition(alert, seen, timing, AT + at * MINUTE)
        fired.append(any(fired) or alert.open)
    assert all(ours or not theirs for ours, theirs in zip(fired, azure, strict=True))


def _all(of: list[bool]) -> range:
    return range(len(of))


# PromQL


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1 + 2 * 3", promql.Number(7.0)),
        ("-(2 + 1)", promql.Number(-3.0)),
        ("14.4 * (1 - 0.999)", promql.Number(14.4 * (1 - 0.999))),
        ("up{job='a', x!~`b.`}", promql.Selector("up", (("job", "=", "a"), ("x", "!~", "b.")))),
        ("sum by (a, b) (up)", promql.Call("sum", (promql.Selector("up"),), ("a", "b"))),
        ("sum(up) without (a)", promql.Call("sum", (promql.Selector("up"),), (), ("a",))),
        ("a == bool b # no more", promql.Binary("==", promql.Selector("a"), promql.Selector("b"), "bool")),
    ],
)
def test_promql_is_read_as_prometheus_reads_it(text: str, meant: object) -> None:
    assert promql.parse(text) == meant


@pytest.mark.parametrize("text", ["", "up{", "sum(", "up[5m", "a b", "1 +", "up{a~'b'}", "&", "label_replace(up, 'a')"])
def test_what_is_no_promql_is_said(text: str) -> None:
    with pytest.raises(promql.NotPromql):
        promql.parse(text)


# The command


def test_files_are_written_once_and_never_over(tmp_path: Path) -> None:
    path = cases.HERE / "azure" / "count_of_failed_calls.json"
    said = run("import", path, "--into", tmp_path / "rules", "--root", PROJECT, "--no-kql-parser")
    assert "1 rules written, 0 refused" in said
    assert "differs [resolve-delay] properties.autoMitigate" in said
    before = (tmp_path / "rules" / "failed_model_calls.yaml").read_text()
    again = run("import", path, "--into", tmp_path / "rules", "--root", PROJECT, "--no-kql-parser", code=1)
    assert "name-taken" in again
    assert (tmp_path / "rules" / "failed_model_calls.yaml").read_text() == before


def test_a_dry_run_shows_the_rules_and_writes_none(tmp_path: Path) -> None:
    path = cases.HERE / "sloth" / "calls_of_the_model.yaml"
    said = run("import", path, "--into", tmp_path / "rules", "--root", PROJECT, "--dry-run", "--no-kql-parser")
    assert "| when: { signal: model_errors, burn_rate: { objective: 95%, alert: page } }" in said
    assert not (tmp_path / "rules").exists()


def test_a_refusal_shows_its_place_and_ends_with_one(tmp_path: Path) -> None:
    path = cases.HERE / "prometheus" / "refused_for_their_shape.yaml"
    said = run("import", path, "--into", tmp_path, "--root", PROJECT, "--no-kql-parser", code=1)
    assert f"{path}:4:36: error[no-metric-engine]" in said
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_is_a_wrong_call(tmp_path: Path) -> None:
    assert "cannot be read" in run("import", tmp_path / "none.json", "--root", PROJECT, code=2)
    path = cases.HERE / "azure" / "no_rules_at_all.json"
    assert "unknown-format" in run("import", path, "--root", PROJECT, "--no-kql-parser", code=2)


# The documentation


def test_every_difference_and_every_refusal_is_documented() -> None:
    page, problems = ((ROOT / "docs" / name).read_text() for name in ("porting.md", "problems.md"))
    code = "".join(path.read_text() for path in (ROOT / "tocsin" / "porting").glob("*.py"))
    code += (ROOT / "tocsin" / "cli" / "importing.py").read_text()
    differs = {each["id"] for report in reports().values() for rule in report["rules"] for each in rule["differences"]}
    differs |= set(re.findall(r'differs\(\s*"([a-z-]+)"', code)) | set(re.findall(r'append\(\(\s*"([a-z-]+)"', code))
    refused = set(re.findall(r'refuse\(\s*"([a-z-]+)"', code)) | {"name-taken", "not-accepted", "unknown-format"}
    assert [each for each in sorted(differs) if f"| `{each}` |" not in page] == []
    assert [each for each in sorted(refused) if f"## `{each}`" not in problems] == []
