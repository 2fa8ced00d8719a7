"""The operators' files: every mistake is found at its place, and no mistake hides another or stops the watch."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from tests.reading_cases import FOLDER, SETTINGS, problems, project, read, subject
from tocsin import app
from tocsin.core.errors import nearest, render
from tocsin.core.fields import Automation
from tocsin.document import parse
from tocsin.files import LARGEST, read_project

BAD = sorted(FOLDER.glob("*.bad.yaml"))
GOOD = sorted(FOLDER.glob("*.good.yaml"))


def case(path: Path) -> str:
    return path.name.split(".")[0]


def first_comment(path: Path) -> tuple[str, list[str]]:
    """Return what kind of file it is and the problems that are expected, as ``line:column id``."""
    words = path.read_text(encoding="utf-8-sig").splitlines()[0].removeprefix("# ")
    kind, _, listed = words.partition(" ")
    return kind, listed.split(", ") if listed else []


def test_there_are_at_least_forty_mistakes() -> None:
    assert len(BAD) >= 40


@pytest.mark.parametrize("path", BAD, ids=case)
def test_the_mistake_is_found_at_its_place(path: Path) -> None:
    kind, expected = first_comment(path)
    assert expected
    found = problems(path)
    assert [f"{each.line}:{each.column} {each.id}" for each in found] == expected
    assert {each.path for each in found} == {subject(kind)}


@pytest.mark.parametrize("path", BAD, ids=case)
def test_the_report_shows_the_line_under_which_the_caret_stands(path: Path) -> None:
    for problem in problems(path):
        shown = render([problem]).splitlines()
        assert shown[0].startswith(f"{problem.path}:{problem.line}:{problem.column}: error[{problem.id}]: ")
        lines = path.read_text(encoding="utf-8").splitlines()
        if problem.line <= len(lines) and problem.source:
            assert lines[problem.line - 1].startswith(problem.source[:200])
            assert shown[2].index("^") - shown[1].index("|") - 2 == problem.column - 1


@pytest.mark.parametrize("path", BAD, ids=case)
def test_a_mistake_takes_nothing_else_with_it(path: Path) -> None:
    kind, _ = first_comment(path)
    made = read(path)
    assert {rule.id for rule in made.rules} - {"subject"} >= {"high_error_rate", "hitl_misconfigured"} - (
        {"high_error_rate"} if "tuning_with" in path.name else set()
    )
    assert kind == "config" or all(rule.id != "subject" for rule in made.rules)
    assert kind == "config" or all(policy.id != "subject" for policy in made.policies)
    # A target without a usable name cannot be spoken of; every other mistake leaves it watched.
    assert kind != "config" or made.config.targets or "target_name" in path.name


@pytest.mark.parametrize("path", GOOD, ids=case)
def test_what_is_right_has_no_problem(path: Path) -> None:
    made = read(path)
    assert render(made.problems) == ""
    kind, _ = first_comment(path)
    there = {"rule": made.rules, "policy": made.policies, "config": made.config.targets}[kind]
    assert [each for each in there if kind == "config" or each.id == "subject"]  # type: ignore[union-attr]


def test_values_stay_what_was_typed() -> None:
    made = read(FOLDER / "words_that_look_like_something_else.good.yaml")
    (rule,) = [each for each in made.rules if each.id == "subject"]
    assert (rule.summary, rule.owner) == ("on", "007")
    assert rule.labels == {
        "yes": "no",
        "off": "1:30",
        "nil": "",
        "date": "2026-12-01",
        "octal": "0o17",
        "quoted key": "it's",
    }


# Settings and tuning


def test_a_setting_takes_its_place_and_two_dollars_stand_for_one() -> None:
    made = read(FOLDER / "several_targets_and_routes.good.yaml")
    assert made.config.targets[0].workspace == "w-watched-role-name-${not_a_setting}"


def test_a_setting_that_is_unset_is_its_default_and_one_without_is_a_problem(tmp_path: Path) -> None:
    root, problems = project(tmp_path), []
    for name in ("TOCSIN_AUTOMATION", "TOCSIN_AUTOMATIN"):
        (root / "tocsin.yaml").write_text(f"automation: ${{{name}}}\n")
        made = read_project(root, {}, app.known())
        assert made.config.automation.value == "observe"
        problems.append({each.id for each in made.problems if name in each.message})
    assert problems == [set(), {"bad-choice", "missing-setting"}], "a slip in the name is a problem"


def test_the_value_of_a_setting_is_in_no_report(tmp_path: Path) -> None:
    root = project(tmp_path)
    (root / "tocsin.yaml").write_text(
        "automation: ${HUSH}\ntargets: [{ name: '${HUSH}', workspace: w, role_name: r }]\n"
    )
    made = read_project(root, {**SETTINGS, "HUSH": "S3cret-Value"}, app.known())
    assert {each.id for each in made.problems if each.path == "tocsin.yaml"} >= {"bad-choice", "bad-name"}
    assert "S3cret" not in render(made.problems)
    assert "S3cret" not in repr([each.as_dict() for each in made.problems])


def test_tuning_changes_a_shipped_rule_and_keeps_the_rest_of_it(tmp_path: Path) -> None:
    root = project(tmp_path)
    text = (root / "tocsin.yaml").read_text() + "tuning:\n  high_error_rate: { when: { at_least: 10% }, in: 2 of 3 }\n"
    (root / "tocsin.yaml").write_text(text)
    made = read_project(root, SETTINGS, app.known())
    assert made.problems == ()
    (rule,) = [each for each in made.rules if each.id == "high_error_rate"]
    assert (rule.when.at_least, rule.when.above, rule.when.minimum) == (0.1, None, 20)
    assert rule.in_ is not None
    assert rule.for_.total_seconds() == 0


def test_a_mistake_in_tuning_is_shown_where_it_was_written() -> None:
    (problem,) = problems(FOLDER / "tuning_with_a_bad_value.bad.yaml")
    assert problem.path == "tocsin.yaml"
    assert "for: soon" in problem.source


# The configuration without its bad parts


@pytest.mark.parametrize("mode", ["on", "of", "[act]"])
def test_a_mode_nobody_knows_never_acts(tmp_path: Path, mode: str) -> None:
    root = project(tmp_path)
    text = (root / "tocsin.yaml").read_text().replace("automation: act", f"automation: {mode}")
    (root / "tocsin.yaml").write_text(text)
    made = read_project(root, SETTINGS, app.known())
    assert made.config.automation is Automation.OBSERVE
    assert made.config.targets[0].allow == ("killswitch.engage", "container_app.rollback", "container_app.stop")


def test_a_target_that_lost_a_part_is_watched_and_never_acted_on(tmp_path: Path) -> None:
    root = project(tmp_path)
    text = (
        (root / "tocsin.yaml").read_text().replace("labels: { env: prod }", "labels: { env: prod }\n    offset: soon")
    )
    (root / "tocsin.yaml").write_text(text)
    (target,) = read_project(root, SETTINGS, app.known()).config.targets
    assert (target.name, target.automation) == ("sales-research", Automation.OFF)


def test_a_route_that_lost_a_part_does_not_end_the_search(tmp_path: Path) -> None:
    root = project(tmp_path)
    text = (root / "tocsin.yaml").read_text().replace("to: [oncall, team]", "to: [oncall, team]\n      until: noon")
    (root / "tocsin.yaml").write_text(text)
    *others, route = read_project(root, SETTINGS, app.known()).config.routes.routes
    assert route.continue_
    assert not any(each.continue_ for each in others)


# Files that are no documents


def test_a_folder_without_any_file_is_told(tmp_path: Path) -> None:
    made = read_project(tmp_path, {}, app.known())
    assert [each.id for each in made.problems] == ["no-file"]
    assert made.rules == ()


def test_a_file_of_more_than_256_kib_is_not_read(tmp_path: Path) -> None:
    root = project(tmp_path)
    (root / "rules" / "big.yaml").write_bytes(b"#" * (LARGEST + 1))
    (problem,) = read_project(root, SETTINGS, app.known()).problems
    assert (problem.path, problem.id) == ("rules/big.yaml", "too-large")


def test_a_billion_laughs_are_not_laughed(tmp_path: Path) -> None:
    lines = ["a0: &a0 [lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    read = parse("x.yaml", "\n".join(lines).encode())
    assert {each.id for each in read.problems} == {"anchor", "too-many"}


def test_twenty_thousand_keys_are_read_in_a_sitting() -> None:
    text = "".join(f"k{n}: 1\n" for n in range(20_000))
    read = parse("x.yaml", text.encode())
    assert read.whole
    assert read.node is not None
    assert len(read.node.pairs or ()) == 20_000


def test_bytes_that_are_no_utf8_are_told_with_their_line() -> None:
    (problem,) = parse("x.yaml", b"a: 1\nb: \xff\n").problems
    assert (problem.line, problem.id) == (2, "not-utf8")


def test_a_name_that_cannot_be_an_id_and_an_ending_that_is_not_read(tmp_path: Path) -> None:
    root = project(tmp_path)
    good = (root / "rules" / "high_error_rate.yaml").read_text()
    (root / "rules" / "High-Rate.yaml").write_text(good)
    (root / "rules" / "other.yml").write_text(good)
    (root / "rules" / "CAPS.YAML").write_text(good)
    (root / "tests" / "rules").mkdir(parents=True)
    (root / "tests" / "rules" / "other.yml").write_text("scenarios that nobody plays")
    (root / "rules" / "sales").mkdir()
    (root / "rules" / "sales" / "nested.yaml").write_text(good)
    (root / "rules" / "README.md").write_text("not a rule")
    found = read_project(root, SETTINGS, app.known()).problems
    assert [(each.path, each.id) for each in found] == [
        ("rules/CAPS.YAML", "bad-file-name"),
        ("rules/High-Rate.yaml", "bad-file-name"),
        ("rules/other.yml", "bad-file-name"),
        ("rules/sales/nested.yaml", "bad-file-name"),
        ("tests/rules/other.yml", "bad-file-name"),
    ]


def test_every_mistake_of_a_file_is_in_one_report(tmp_path: Path) -> None:
    root = project(tmp_path)
    text = "summary: x\nsummary: y\nseverity: P9\nwhen: { signal: nope, above: five, over: 1 }\nowner: &a b\nwrong: 1\n"
    (root / "rules" / "many.yaml").write_text(text)
    found = read_project(root, SETTINGS, app.known()).problems
    assert [each.id for each in found] == [
        "duplicate-key",
        "bad-choice",
        "unknown-signal",
        "bad-number",
        "bad-duration",
        "anchor",
        "unknown-key",
    ]


EVERYTHING = {
    "rules/many.yaml": (
        "sumary: '{valeu} of it'\nseverity: P7\nfor: 10 min\nresolv: { below: x }\n"
        "when: { signal: response_eror, by: [agnet], above: 5%, below: 1%, over: soon }\n",
        ["unknown-placeholder", "unknown-key", "bad-choice", "bad-duration", "unknown-key", "bad-number",
         "unknown-signal", "one-condition", "bad-duration"],
    ),
    "remediations/many.yaml": (
        "summary: s\non: { rule: hitl_misconfigurd, firing_for: 5 }\n"
        "do:\n  - killswitch.engage: { scop: tools }\n    within: soon\n  - nothing.at_all:\n"
        "verify:\n  - { signal: side_effects, within: 10m }\nguard: { mode: acting, hours: { from: '9:00' } }\n"
        "if_it_fails: { escalat: nobody }\n",
        ["unknown-rule", "bad-duration", "unknown-argument", "missing-argument", "bad-duration", "unknown-action",
         "bad-check", "unknown-signal", "bad-choice", "bad-clock", "unknown-key", "unknown-receiver"],
    ),
    "tocsin.yaml": (
        "targets:\n  - { name: sales, role_name: r, container_app: api, allow: [nothing.at_all], lag: soon }\n"
        "receivers: { team: { type: teems, at_most: often } }\n"
        "routes: { to: [tea], match: { severity: [P8] }, group_wait: x }\n"
        "silences: [{ match: { rul: high_error_rate }, author: a, comment: c, ends: tomorrow }]\n",
        ["missing-key", "half-an-app", "unknown-action", "bad-duration", "unknown-receiver-type", "bad-rate",
         "unknown-receiver", "bad-choice", "bad-duration", "unknown-label", "bad-time"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EVERYTHING)
def test_no_mistake_hides_another(tmp_path: Path, name: str) -> None:
    root, (text, wanted) = project(tmp_path), EVERYTHING[name]
    (root / name).write_text(text)
    found = [each for each in read_project(root, SETTINGS, app.known()).problems if each.path == name]
    assert sorted(each.id for each in found) == sorted(wanted), render(found)


def test_a_broken_target_or_receiver_is_no_unknown_one_elsewhere(tmp_path: Path) -> None:
    root = project(tmp_path)
    text = (root / "tocsin.yaml").read_text()
    text = text.replace("workspace: ${WATCHED_WORKSPACE}", "workspac: w").replace("type: pagerduty", "typ: pagerduty")
    (root / "tocsin.yaml").write_text(text)
    found = read_project(root, SETTINGS, app.known()).problems
    assert [each.id for each in found] == ["unknown-key", "unknown-key"], render(found)


@given(st.text(max_size=300))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_no_text_makes_the_reader_fall(text: str) -> None:
    read = parse("x.yaml", text.encode("utf-8", "surrogatepass"))
    assert read.node is not None or read.problems


WORDS = [
    "summary",
    "severity",
    "when",
    "P1",
    "x",
    ":",
    "\n",
    "  ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "'",
    '"',
    "&a",
    "*a",
]
WORDS += ["signal", "over", "5m", "above", "5%", "#", "|", ">", "? ", "~", "!x ", "labels", "${A}"]


@given(st.lists(st.sampled_from(WORDS), max_size=40).map("".join))
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_no_near_yaml_makes_a_project_fall(tmp_path: Path, text: str) -> None:
    for name in ("tocsin.yaml", "rules/subject.yaml", "remediations/subject.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    made = read_project(tmp_path, {}, app.known())
    assert render(made.problems)


# The page of each problem


def sources() -> str:
    folders = [ROOT / "tocsin" / name for name in ("core", "linting", "porting", "scenarios", "")]
    cli = [ROOT / "tocsin" / "cli" / f"{name}.py" for name in ("importing", "kql_parser")]
    modules = [*(path for each in folders for path in each.glob("*.py")), *cli]
    return "\n".join(path.read_text() for path in modules)


def test_every_id_in_the_corpus_has_its_section() -> None:
    page = (ROOT / "docs" / "problems.md").read_text()
    sections = set(re.findall(r"^## `([a-z0-9-]+)`$", page, re.MULTILINE))
    ids = {each.split()[1] for path in BAD for each in first_comment(path)[1]}
    assert ids - sections == set()
    unknown = {name for name in sections if f'"{name}"' not in sources()}
    assert unknown == set(), "a section for a problem that no code tells"


def test_every_id_the_code_tells_has_its_section() -> None:
    page = (ROOT / "docs" / "problems.md").read_text()
    told = set(
        re.findall(
            r"(?:PydanticCustomError|problem|Problem|warning|_refuse|_end|missing)\([^)]*?\"([a-z0-9]+(?:-[a-z0-9]+)+)\"",
            sources(),
        )
    )
    told |= set(re.findall(r"_read\([\w.]+, \"([a-z-]+)\"[),]", sources()))
    assert {name for name in told if f"## `{name}`" not in page} == set()


def test_the_nearest_word_is_offered_and_a_far_one_is_not() -> None:
    assert nearest("sevrity", ["severity", "summary"]) == "did you mean 'severity'?"
    assert nearest("SEVERITY", ["severity"]) == "did you mean 'severity'?"
    assert nearest("zzz", ["severity"]) == ""
