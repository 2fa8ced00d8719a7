"""What can be set, evaluated, told, done and called stands in a catalogue; what the runbooks ask for is answered."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT
from tests.documents import pages
from tests.notices import ALERT
from tests.stage import MINUTE, T0, Stage
from tocsin import actuators, notifiers, signals
from tocsin.core.policy import Policy
from tocsin.core.remedy import answers
from tocsin.core.rule import Rule
from tocsin.settings import KNOWN
from tools import costs, coverage, listings, runbooks

ASKED = ROOT.parent / "shared" / "design" / "accelerator.md"


def _page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def _headings(name: str) -> set[str]:
    return set(re.findall(r"^## `(.+)`$", _page(name), re.MULTILINE))


def test_every_signal_receiver_action_and_command_has_its_section() -> None:
    assert _headings("signals.md") == set(signals.known())
    assert _headings("receivers.md") == set(notifiers.known())
    assert _headings("actions.md") == set(actuators.known())
    assert _headings("commands.md") == {f"tocsin {name}" for name, _ in listings.every_command()}


def test_every_rule_policy_and_setting_has_its_line() -> None:
    for folder in ("rules", "remediations"):
        for path in (ROOT / folder).glob("*.yaml"):
            assert f"| [`{path.stem}`](../{folder}/{path.name})" in _page("rules.md")
    for name in {*KNOWN, *listings.named()}:
        assert f"| `{name}` |" in _page("settings.md")


def test_every_option_of_every_command_is_listed_with_its_meaning() -> None:
    for name, command in listings.every_command():
        section = _page("commands.md").partition(f"## `tocsin {name}`\n")[2].partition("\n## ")[0]
        for each in command.params:
            options = each.opts if each.param_type_name == "option" else [(each.metavar or each.name).upper()]
            if each.name != "help":
                assert all(f"`{option}`" in section for option in options), f"tocsin {name} {each.name}"
                assert each.help, f"tocsin {name} {each.name}"


def test_a_rule_is_said_to_be_answered_by_the_policies_that_the_engine_finds() -> None:
    """The pages read the files by themselves; the engine decides by ``core.remedy.answers``."""
    project = costs.shipped()
    for rule in project.rules:
        labels = {**rule.labels, "rule": rule.id, "severity": rule.severity.value}
        found = {policy.id for policy in project.policies if _answers(policy, rule, ALERT, labels)}
        told = {line.partition("`]")[0].removeprefix("[`") for line in runbooks.answers(rule.id) if "(off)" not in line}
        assert told == found, rule.id


def _answers(policy: Policy, rule: Rule, alert: object, labels: dict[str, str]) -> bool:
    return answers(policy, rule, alert, labels)  # type: ignore[arg-type]


def test_what_azd_is_told_and_asked_is_what_the_infrastructure_takes_and_gives() -> None:
    outputs = set(re.findall(r"^output (\w+)", (ROOT / "infra" / "main.bicep").read_text(), re.MULTILINE))
    azd = {"AZURE_LOCATION", "AZURE_RESOURCE_GROUP", "AZURE_ENV_NAME"}
    text = "".join(pages().values())
    told, asked = re.findall(r"azd env set (\w+)", text), re.findall(r"azd env get-value (\w+)", text)
    assert len(told) > 5 and len(asked) > 3
    assert set(told) - {"NAME"} <= {*listings.provisioned(), *azd}
    assert set(asked) <= {*outputs, *azd}
    assert all(words for words, _ in listings.provisioned().values())


# What the runbooks ask for


def test_the_rows_are_those_that_the_runbooks_ask_for() -> None:
    if not ASKED.is_file():
        pytest.skip("the runbooks' table is not here: ../shared/design/accelerator.md")
    asked = coverage.asked_in(ASKED.read_text(encoding="utf-8"))
    assert len(asked) > 20
    assert coverage.rows() == asked


def test_every_row_is_answered_and_no_cell_is_empty() -> None:
    lines = list(coverage.lines())
    assert {line[:3] for line in lines} == {row[:3] for row in coverage.rows()}
    assert all(cell.strip() for line in lines for cell in line)
    cells = [row for row in _page("coverage.md").splitlines() if row.startswith("| ") and "](" in row]
    assert len(cells) == len(lines)
    assert not [row for row in cells if re.search(r"\|\s*\|", row)]


def test_what_proves_an_answer_is_there() -> None:
    for row in coverage.data()["rows"]:
        for name in row.get("rules", ()):
            assert (ROOT / "tests" / "rules" / f"{name}.yaml").is_file()
        for other in row.get("instead", ()):
            assert (ROOT / other["proof"]).is_file(), other["proof"]


def test_a_rule_that_the_runbooks_name_is_in_its_row() -> None:
    for row in coverage.data()["rows"]:
        for name in re.findall(r"`([a-z0-9_]+)`", row["told"]):
            family = [rule for rule in runbooks.files("rules") if rule.startswith(name)]
            assert not family or set(family) & set(row.get("rules", ())), f"{row['asked']}: {name}"


def test_the_table_of_the_runbooks_is_read_row_by_row() -> None:
    head = "| from | signal and threshold | severity → to | Tocsin |\n|---|---|---|---|\n"
    found = coverage.asked_in(f"{head}| a | b | P1 | `c` |\n| | d | P2 | e |\n\n| x | y | z | w |\n")
    assert found == [("a", "b", "P1", "`c`"), ("a", "d", "P2", "e")]


# Costs


def test_queries_are_those_that_the_engine_asks() -> None:
    """Two minutes of the engine over one target like the sample's, with a store and a workspace of its own."""
    (target,) = costs.fleet(1)
    stage = Stage(
        *costs.shipped().rules, config=costs.shipped().config.model_copy(update={"targets": (target,)}), policies=()
    )
    asked: list[str] = []
    stage.answers = lambda query: asked.append(query.text)  # type: ignore[func-returns-value]
    at = T0 - 60 * MINUTE
    row = {"AppRoleName": target.role_name, "Message": "x", "Properties": {"event_name": "request.received"}}
    stage.telemetry.load("AppTraces", [{**row, "TimeGenerated": at + number * MINUTE} for number in range(90)])
    stage.run(range(2))
    asked.clear()
    stage.run(range(2, 4))
    assert len(asked) / 2 == pytest.approx(costs.load().queries, rel=0.3)


def test_fusing_asks_less_than_half_of_what_single_rules_would() -> None:
    assert costs.load().queries * 2 < costs.unfused()


def test_every_price_has_a_source_and_a_date() -> None:
    for name, price in costs.figures()["prices"].items():
        assert float(price["usd"]) > 0
        assert re.search(r"\b20\d\d-\d\d-\d\d\b", price["source"]), name
        assert re.search(r"azure\.microsoft\.com/pricing/", price["source"]), name
