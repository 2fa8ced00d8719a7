"""What helps authors: schemas that agree with the models, a layout that keeps the meaning, a first rule that is one."""

from __future__ import annotations

import json
import shutil
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from typer.testing import CliRunner

from tests.conftest import ROOT
from tests.reading_cases import FOLDER, SETTINGS, project
from tocsin import signals
from tocsin.app import known
from tocsin.authoring import keys
from tocsin.authoring.layout import Unchanged, laid_out
from tocsin.authoring.schema import MODELS, schema
from tocsin.cli.commands import program
from tocsin.core.policy import Policy
from tocsin.core.rule import Rule
from tocsin.document import parse
from tocsin.files import read_project
from tocsin.scenarios import schema as scenarios

KINDS = {"rule": "rule", "policy": "policy", "config": "tocsin"}
GOOD, BAD = sorted(FOLDER.glob("*.good.yaml")), sorted(FOLDER.glob("*.bad.yaml"))
SHIPPED = [
    *sorted((ROOT / "rules").glob("*.yaml")),
    *sorted((ROOT / "remediations").glob("*.yaml")),
    ROOT / "tocsin.yaml",
]
runner = CliRunner()


def case(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def kind_of(path: Path) -> str:
    if path.parent == FOLDER:
        return KINDS[path.read_text(encoding="utf-8-sig").split()[1]]
    return {"rules": "rule", "remediations": "policy"}.get(path.parent.name, "tocsin")


# Schemas


VALIDATORS = {name: Draft7Validator(schema(name, known())) for name in MODELS}


def loaded(path: Path) -> Any:
    """Return the file as an editor's YAML 1.2 has it: days are texts."""
    return _plain(YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8-sig")))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.isoformat() if isinstance(value, date | datetime) else value


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_schema_is_one_of_draft_seven(name: str) -> None:
    Draft7Validator.check_schema(schema(name, known()))


@pytest.mark.parametrize("path", [*GOOD, *SHIPPED], ids=case)
def test_what_is_read_without_a_problem_an_editor_does_not_underline(path: Path) -> None:
    found = VALIDATORS[kind_of(path)].iter_errors(loaded(path))
    assert [f"{each.json_path}: {each.message}" for each in found] == []


STRUCTURAL = {
    "unknown-key",
    "missing-key",
    "wrong-kind",
    "not-a-mapping",
    "bad-flag",
    "bad-count",
    "one-condition",
    "no-measure",
    "unknown-signal",
    "unknown-dimension",
    "unknown-receiver-type",
    "unknown-option",
    "missing-option",
    "needs-no-by",
    "not-yet",
}
"""Problems that are of one file, and of its shape; what takes arithmetic or another file is not an editor's to know."""


@pytest.mark.parametrize(
    "path",
    [
        each
        for each in BAD
        if STRUCTURAL & set(each.read_text(encoding="utf-8-sig").splitlines()[0].replace(",", "").split())
    ],
    ids=case,
)
def test_what_has_the_wrong_shape_an_editor_underlines(path: Path) -> None:
    try:
        found = loaded(path)
    except YAMLError:
        return
    assert not VALIDATORS[kind_of(path)].is_valid(found)


def test_every_key_has_its_authors_words() -> None:
    silent = [
        f"{part}.{key.name}"
        for model in MODELS.values()
        for part, owner in keys.parts(model).items()
        for key in keys.keys(owner)
        if not key.meaning and part not in ("Step", "Receiver")
    ]
    assert silent == []


def test_an_app_setting_may_stand_for_a_value_of_tocsin_yaml_and_of_no_rule() -> None:
    assert VALIDATORS["tocsin"].is_valid({"automation": "${MODE}"})
    assert not VALIDATORS["tocsin"].is_valid({"automation": "sometimes"})
    rule = {"summary": "s", "severity": "${S}", "when": {"signal": "cost", "above": 1, "over": "1h"}}
    assert not VALIDATORS["rule"].is_valid(rule)
    assert VALIDATORS["rule"].is_valid({**rule, "severity": "P1"})


def test_the_editors_settings_name_the_schemas_that_are_there() -> None:
    found = json.loads((ROOT / ".vscode" / "settings.json").read_text())["yaml.schemas"]
    assert {Path(name).name for name in found} == {path.name for path in (ROOT / "schemas").glob("*.json")}


# Layout


@pytest.mark.parametrize("path", [*GOOD, *SHIPPED], ids=case)
def test_a_file_laid_out_means_the_same_and_stays_so(path: Path) -> None:
    text = path.read_bytes().decode()
    model = MODELS[kind_of(path)]
    made = laid_out(text, model)
    before, after = parse("x", text.encode()).node, parse("x", made.encode()).node
    assert before is not None
    assert after is not None
    assert after.plain() == before.plain()
    assert laid_out(made, model) == made


@pytest.mark.parametrize("path", SHIPPED, ids=case)
def test_the_shipped_files_are_laid_out_and_name_their_schema(path: Path) -> None:
    up = "" if path.name == "tocsin.yaml" else "../"
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# yaml-language-server: $schema={up}schemas/{kind_of(path)}.schema.json\n")
    assert laid_out(text, MODELS[kind_of(path)]) == text, "tocsin fmt"


UNTIDY = """# The head.
owner: 'ops'   # mine
# Why it waits.
for: 5m


# About the measure.
when:
    over: 15m
    # The limit.
    above: 1e1
    signal: 'cost'
    by: [ agent,model ]
labels: {team:   ai, since: 2026-12-01, yes: no}
severity: P1
summary: "it's {value}"
runbook: 'say "when"'

# tuning: not yet
"""

TIDY = """# The head.
summary: "it's {value}"
severity: P1


# About the measure.
when:
  signal: "cost"
  # The limit.
  above: 1e1
  over: 15m
  by: [agent, model]
# Why it waits.
for: 5m
labels: { team: ai, since: 2026-12-01, yes: no }
runbook: 'say "when"'
owner: "ops"   # mine

# tuning: not yet
"""


def test_keys_are_ordered_with_their_comments_and_values_stay_as_typed() -> None:
    assert laid_out(UNTIDY, Rule) == TIDY
    assert laid_out(TIDY, Rule) == TIDY


def test_steps_and_checks_keep_their_order_and_their_comments() -> None:
    text = """guard: { mode: act }
do:
# First the tools.
- killswitch.engage: { scope: tools }
  id: tools
# Then everything.
- killswitch.engage: { scope: all }
on: { rule: x }
summary: s
"""
    assert (
        laid_out(text, Policy)
        == """summary: s
on: { rule: x }
do:
  # First the tools.
  - killswitch.engage: { scope: tools }
    id: tools
  # Then everything.
  - killswitch.engage: { scope: all }
guard: { mode: act }
"""
    )


@pytest.mark.parametrize("text", ["", "a: &x 1\nb: *x\n", "a: 1\na: 2\n", "a: [\n", "- 1\n---\n- 2\n", "a: !x 1\n"])
def test_what_cannot_be_read_is_left_as_it_is(text: str) -> None:
    with pytest.raises(Unchanged):
        laid_out(text, Rule)


WORDS = st.text(st.sampled_from("abc :#'\"{}[],-&*!|>%@`~ü🙂\n\\019.ey"), max_size=20)
VALUES = st.recursive(
    WORDS, lambda below: st.lists(below, max_size=3) | st.dictionaries(WORDS, below, max_size=4), max_leaves=8
)


@given(st.dictionaries(st.sampled_from(["summary", "when", "labels", "owner", "for", "severity"]), VALUES, min_size=1))
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=150)
def test_whatever_it_says_it_says_the_same_laid_out(value: dict[str, Any]) -> None:
    from io import StringIO

    out = StringIO()
    YAML(typ="safe", pure=True).dump(value, out)
    text = out.getvalue()
    try:
        made = laid_out(text, Rule)
    except Unchanged:
        return
    before, after = parse("x", text.encode()).node, parse("x", made.encode()).node
    assert before is not None
    assert after is not None
    assert before.plain() == after.plain()
    assert laid_out(made, Rule) == made


def test_files_are_written_once_and_only_said_to_change_with_check(tmp_path: Path) -> None:
    root = project(tmp_path)
    path = root / "rules" / "untidy.yaml"
    path.write_text(UNTIDY)
    told = runner.invoke(program, ["fmt", "--check", "--root", str(root)])
    assert (told.exit_code, path.read_text()) == (1, UNTIDY)
    assert "rules/untidy.yaml: would change" in told.output
    assert runner.invoke(program, ["fmt", str(path), "--root", str(root)]).exit_code == 0
    assert path.read_text() == TIDY
    assert runner.invoke(program, ["fmt", "--check", "--root", str(root)]).exit_code == 0


def test_the_line_for_editors_is_added_where_the_schema_is(tmp_path: Path) -> None:
    root = project(tmp_path)
    shutil.copytree(ROOT / "schemas", root / "schemas")
    path = root / "rules" / "untidy.yaml"
    path.write_text(UNTIDY)
    assert runner.invoke(program, ["fmt", str(path), "--root", str(root)]).exit_code == 0
    assert path.read_text() == f"# yaml-language-server: $schema=../schemas/rule.schema.json\n{TIDY}"
    assert runner.invoke(program, ["fmt", "--check", str(path), "--root", str(root)]).exit_code == 0


def test_a_file_that_cannot_be_laid_out_is_bad_news_and_kept(tmp_path: Path) -> None:
    root = project(tmp_path)
    path = root / "rules" / "twice.yaml"
    path.write_text("summary: a\nsummary: b\n")
    told = runner.invoke(program, ["fmt", str(path), "--root", str(root)])
    assert (told.exit_code, path.read_text()) == (1, "summary: a\nsummary: b\n")
    assert runner.invoke(program, ["fmt", str(root / "other.yaml"), "--root", str(root)]).exit_code == 2


# A first rule


@pytest.mark.parametrize("signal", sorted(signals.known()))
def test_a_first_rule_on_any_signal_passes_check_and_is_laid_out(
    tmp_path: Path, signal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = project(tmp_path)
    told = runner.invoke(program, ["init", "rule", "mine", "--signal", signal, "--owner", "ops", "--root", str(root)])
    assert told.exit_code == 0, told.output
    text = (root / "rules" / "mine.yaml").read_text()
    assert laid_out(text, Rule) == text
    assert [each for each in read_project(root, SETTINGS, known()).problems if "mine" in each.path] == []
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    report = json.loads(runner.invoke(program, ["check", str(root), "-o", "json"]).output)
    # A shipped rule on the same signal may say the same by chance.
    mine = [each["id"] for each in report["problems"] if "mine" in each["path"]]
    assert set(mine) <= {"duplicate-rule"}


def test_a_first_rule_never_takes_the_place_of_another(tmp_path: Path) -> None:
    root = project(tmp_path)
    before = (root / "rules" / "high_error_rate.yaml").read_text()
    given = ["init", "rule", "high_error_rate", "--signal", "cost", "--root", str(root)]
    assert runner.invoke(program, given).exit_code == 2
    assert (root / "rules" / "high_error_rate.yaml").read_text() == before


@pytest.mark.parametrize(
    "given",
    [
        ["--signal", "nope"],
        ["--signal", "cost", "--severity", "P9"],
        ["--signal", "cost", "--over", "soon"],
        ["--signal", "cost", "--threshold", "much"],
        ["--signal", "cost", "--threshold", "1 }\nenabled: false #"],
        ["--signal", "cost", "--owner", "a: b"],
        ["Not-A-Name", "--signal", "cost"],
        ["../escape", "--signal", "cost"],
        [],
    ],
)
def test_what_makes_no_rule_writes_nothing(tmp_path: Path, given: list[str]) -> None:
    root = project(tmp_path)
    before = sorted(path.name for path in (root / "rules").iterdir())
    assert runner.invoke(program, ["init", "rule", *given, "--root", str(root)]).exit_code == 2
    assert sorted(path.name for path in (root / "rules").iterdir()) == before


# What may stand in a file


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "tocsin schema signals"),
        ("rule", "keep_firing_for"),
        ("policy", "killswitch.engage"),
        ("tocsin", "quiet_hours"),
        ("signals", "response_errors"),
        ("response_errors", "summarize value"),
        ("hitl_misconfigured", "configuration"),
        ("cpu", "reads metrics"),
        ("blast_radius", "3 targets per 15m"),
        ("when", "absent_for"),
    ],
)
def test_a_name_is_explained_in_both_forms(name: str, words: str) -> None:
    given = ["schema", *([name] if name else [])]
    told = runner.invoke(program, given)
    assert told.exit_code == 0
    assert words in told.output
    assert json.loads(runner.invoke(program, [*given, "-o", "json"]).output)


def test_a_name_that_is_none_is_answered_with_the_nearest() -> None:
    told = runner.invoke(program, ["schema", "keep_fireing_for"])
    assert told.exit_code == 2
    assert "did you mean 'keep_firing_for'?" in told.stderr


# Scenarios

SCENARIOS = Draft7Validator(json.loads((ROOT / "schemas" / scenarios.NAME).read_text()))


def written(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def test_the_schema_takes_every_shipped_scenario() -> None:
    Draft7Validator.check_schema(SCENARIOS.schema)
    for path in sorted((ROOT / "tests" / "rules").glob("*.yaml")):
        assert [error.message for error in SCENARIOS.iter_errors(written(path))] == [], path.name


@pytest.mark.parametrize(
    ("was", "now"),
    [("state:", "stat:"), ("at: 20m", "at: soon"), ("cases:", "case:"), ("answer: error", "answer: nonsense")],
)
def test_the_schema_refuses_a_scenario_that_cannot_be_played(was: str, now: str, tmp_path: Path) -> None:
    text = next(text for path in sorted((ROOT / "tests" / "rules").glob("*.yaml")) if was in (text := path.read_text()))
    (tmp_path / "x.yaml").write_text(text.replace(was, now, 1))
    assert list(SCENARIOS.iter_errors(written(tmp_path / "x.yaml")))
