"""``tocsin report kpis``: 30 days by the day, through the workspace's own API and a query a KPI."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from tests.conftest import ROOT
from tests.reading_cases import project
from tocsin import files
from tocsin.app import App, Parts, compose
from tocsin.cli import doctoring
from tocsin.cli.commands import program
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.kpi import DAYS, Day, Kpi, Standing, Trend, trend
from tocsin.local.world import World
from tocsin.settings import Settings

T0 = datetime(2026, 11, 20, 3, tzinfo=UTC)
ROLE = "sales-research-api"
runner = CliRunner()

MANIFEST = """
schema_version: "1.0"
acceptance: { quality_threshold: 0.75 }
kpis:
  - { name: briefing_production_time, type: duration_ms, baseline: 10800000, target: 90000 }
  - { name: outreach_reply_rate, type: ratio, baseline: 0.02, target: 8%, owner: sales }
  - { name: hitl_approval_rate, type: ratio, baseline: 1.0, target: 0.9 }
  - { name: "<b>leads | won</b>", type: count, baseline: 1, target: 5 }
"""


def event(day: int, name: str, count: int = 1, **properties: str) -> dict[str, Any]:
    """Return a row so many days before today, at noon; ``count`` is how many it stands for."""
    at = T0.replace(hour=0) - timedelta(days=day) + timedelta(hours=1)
    kept = {"event_name": name, **properties}
    return {"TimeGenerated": at, "AppRoleName": ROLE, "Message": name, "ItemCount": count, "Properties": kept}


def rows() -> list[dict[str, Any]]:
    """Return 30 days of replies that get better, with a gap, and what must not be counted."""
    found = [event(day, "outreach_reply_rate", 10, value=str(0.09 - day * 0.002)) for day in range(30) if day != 9]
    found += [event(day, "tool.hitl_approved") for day in range(30)] * 3
    found += [event(day, "tool.hitl_rejected") for day in range(30)]
    found += [event(40, "outreach_reply_rate", 1000, value="0.9"), event(1, "outreach_reply_rate", value="none")]
    other = {**event(1, "outreach_reply_rate", 1000, value="0.9"), "_ResourceId": "another component"}
    return [*found, other]


@pytest.fixture(scope="module")
def served() -> Iterator[World]:
    with World(T0, seed=1) as world:
        world.telemetry.load("AppTraces", rows())
        yield world


class Office:
    """Where the report is asked for."""

    def __init__(self, world: World, root: Path) -> None:
        self.world, self.root = world, root

    def composed(self, _root: Path | None = None) -> tuple[App, Settings]:
        given = Settings(self.root, {**self.world.settings(), "TOCSIN_STATE": str(self.root / "s.sqlite")})
        return compose(given, Parts(clock=self.world.clock)), given

    def manifest(self, text: str) -> None:
        (self.root / "accelerator.yaml").write_text(text)

    def run(self, *options: str, code: int = 0) -> Any:
        result = runner.invoke(program, ["report", "kpis", "--root", str(self.root), *options])
        assert result.exit_code == code, result.output
        return json.loads(result.stdout) if "json" in options else result.stdout + result.stderr


@pytest.fixture
def office(served: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    monkeypatch.setenv("COLUMNS", "220")
    made = Office(served, project(tmp_path))
    text = (tmp_path / "tocsin.yaml").read_text()
    (tmp_path / "tocsin.yaml").write_text(
        text.replace("    labels: { env: prod }\n", "    labels: { env: prod }\n    accelerator: accelerator.yaml\n")
    )
    made.manifest(MANIFEST)
    monkeypatch.setattr(doctoring, "composed", made.composed)
    yield made
    served.workspace.faults.clear()


def kpis(report: Any) -> dict[str, Any]:
    return {each["name"]: each for each in report["targets"][0]["kpis"]}


def test_each_kpi_is_asked_for_with_one_query_and_held_to_both_its_figures(office: Office) -> None:
    asked = len(office.world.workspace.asked)
    found = kpis(office.run("-o", "json"))
    assert len(office.world.workspace.asked) - asked == 4
    replies = found["outreach_reply_rate"]
    assert (replies["standing"], replies["moving"], replies["better"]) == (
        "better than the baseline",
        "improving",
        "more",
    )
    known = [0.09 - day * 0.002 for day in range(30) if day != 9]
    assert replies["value"] == pytest.approx(sum(known) / len(known))
    assert replies["progress"] == pytest.approx((replies["value"] - 0.02) / 0.06)
    days = {each["day"]: (each["value"], each["events"]) for each in replies["days"]}
    assert list(days) == [f"{T0.date() - timedelta(days=back)}" for back in reversed(range(30))]
    assert days["2026-11-20"] == (pytest.approx(0.09), 10)
    assert days["2026-11-11"] == (None, 0)


def test_the_templates_own_kpis_are_measured_by_events_that_are_there_already(office: Office) -> None:
    found = kpis(office.run("-o", "json"))
    time, approved = found["briefing_production_time"], found["hitl_approval_rate"]
    assert time["measured_by"] == "how long answers took, those that succeeded"
    assert 0 < time["value"] < 90_000
    assert (time["standing"], time["better"]) == ("target reached", "less")
    assert approved["value"] == pytest.approx(0.75, abs=0.06)
    assert (approved["standing"], approved["better"]) == ("target not reached", "more")


def test_what_telemetry_does_not_say_is_unknown_and_says_how_to_wire_it(office: Office) -> None:
    lost = kpis(office.run("-o", "json"))["<b>leads | won</b>"]
    assert (lost["standing"], lost["value"], lost["progress"]) == ("unknown", None, None)
    assert "emit an event named <b>leads | won</b> with `value`" in lost["why_unknown"]
    assert all(each["value"] is None for each in lost["days"])


def test_a_kpi_with_an_event_of_its_own_is_measured_by_that_alone() -> None:
    kpi = Kpi(name="hitl_approval_rate", type="ratio", baseline=1.0, target=0.9)
    from tocsin.core.answer import Rows

    day = T0.replace(hour=0)
    answer = Rows(("day", "own", "total", "events"), ((day, True, 9.5, 10), (day, False, 1.0, 4)))
    found = trend(kpi, answer, T0)
    assert found.value == pytest.approx(0.95)
    assert found.measured == "the mean of the event hitl_approval_rate"


def test_a_share_without_a_value_is_read_from_ok(office: Office) -> None:
    events = [event(0, "booked", 3, ok="True"), event(0, "booked", 1, ok="false"), event(0, "booked", 5)]
    office.world.telemetry.load("AppTraces", events)
    office.manifest("kpis: [{ name: booked, type: ratio, baseline: 0, target: 0.5 }]\n")
    found = kpis(office.run("-o", "json"))["booked"]
    assert (found["value"], found["days"][-1]["events"]) == (0.75, 4)


def test_the_page_is_whole_by_itself_and_names_are_text(office: Office) -> None:
    out = office.run("--report", str(office.root / "november"))
    assert "november.html" in out
    page = (office.root / "november.html").read_text()
    assert "<b>leads" not in page
    assert "&lt;b&gt;leads | won&lt;/b&gt;" in page
    assert not re.search(r"<script|<link|<img|url\(|https?://", page)
    charts = [ElementTree.fromstring(each) for each in re.findall(r"<svg.*?</svg>", page)]
    assert len(charts) == 3
    replies = next(each for each in charts if each.attrib["aria-label"].startswith("outreach_reply_rate"))
    assert len(list(replies.iter("path"))) == 2  # the day without a reply is a gap
    assert len(list(replies.iter("circle"))) == 29
    assert {each.attrib["class"] for each in replies.iter("line")} == {"baseline", "target"}
    table = (office.root / "november.md").read_text()
    assert r"| outreach\_reply\_rate | 2% | 8% |" in table
    assert r"leads \| won" in table
    assert json.loads((office.root / "november.json").read_text())["tocsin"]
    assert "there already" in office.run("--report", str(office.root / "november.html"), code=2)


def test_a_workspace_that_does_not_answer_is_no_figure_and_exit_code_three(office: Office) -> None:
    office.world.workspace.faults.add("partial")
    assert "partial result" in office.run(code=3)
    office.world.workspace.faults.clear()
    office.world.workspace.faults.add("forbidden", matching="outreach_reply_rate")
    found = kpis(office.run("-o", "json"))
    assert found["outreach_reply_rate"]["why_unknown"] == "telemetry did not answer: no permission"
    assert found["hitl_approval_rate"]["value"] is not None


def test_without_kpis_there_is_nothing_to_report(office: Office) -> None:
    office.manifest("acceptance: {}\n")
    assert "`kpis`" in office.run(code=2)
    assert "known: sales-research" in office.run("-t", "nobody", code=2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "kpis: [{ name: x, type: ratio, baseline: 1 }]\n",
            "accelerator.yaml:1:8: error[missing-key]: 'target' is needed",
        ),
        ("kpis: [{ name: x, type: ratio, baseline: low, target: 2 }]\n", "error[bad-number]"),
        ("kpis: { name: x }\n", "error[wrong-kind]: a list was expected"),
    ],
)
def test_a_kpi_that_is_not_understood_is_named_with_its_place(office: Office, text: str, words: str) -> None:
    office.manifest(text)
    assert words in office.run(code=1)


def test_what_is_wrong_with_a_kpi_keeps_no_switch_from_its_release(office: Office) -> None:
    from tocsin.app import known

    office.manifest("kpis: [{ name: x }]\nacceptance: { quality_threshold: 0.8 }\n")
    read = files.read_project(office.root, office.composed()[1].values, known())
    assert read.problems == ()
    assert read.terms["sales-research"].acceptance is not None


def _trend(values: list[float | None], baseline: float = 100, target: float = 50, name: str = "x") -> Trend:
    start = T0.date() - timedelta(days=DAYS - 1)
    days = tuple(Day(start + timedelta(days=n), value, 1 if value is not None else 0) for n, value in enumerate(values))
    return Trend(Kpi(name=name, type="duration_ms", baseline=baseline, target=target), days)


@pytest.mark.parametrize(
    ("value", "baseline", "target", "standing", "progress"),
    [
        (50, 100, 50, Standing.REACHED, 1),
        (75, 100, 50, Standing.BETTER, 0.5),
        (100, 100, 50, Standing.WORSE, 0),
        (120, 100, 50, Standing.WORSE, -0.4),
        (120, 100, 150, Standing.BETTER, 0.4),
        (160, 100, 150, Standing.REACHED, 1.2),
        (90, 100, 100, Standing.WORSE, None),
    ],
)
def test_a_kpi_stands_where_its_own_figures_put_it(
    value: float, baseline: float, target: float, standing: Standing, progress: float | None
) -> None:
    found = _trend([value] * DAYS, baseline, target)
    assert found.standing is standing
    assert found.progress == (pytest.approx(progress) if progress is not None else None)


@pytest.mark.parametrize(
    ("first", "last", "moving"),
    [(80.0, 60.0, "improving"), (60.0, 80.0, "worsening"), (80.0, 80.5, "steady"), (None, 80.0, "unknown")],
)
def test_the_last_week_is_held_against_the_first(first: float | None, last: float | None, moving: str) -> None:
    assert _trend([first] * 7 + [70.0] * 16 + [last] * 7).moving == moving


def test_no_answer_is_no_day_at_all() -> None:
    kpi = Kpi(name="x", type="ratio", baseline=0, target=1)
    found = trend(kpi, NoAnswer(Why.TIMEOUT), T0)
    assert (found.value, found.standing, len(found.days)) == (None, Standing.UNKNOWN, DAYS)


def test_microsofts_parser_accepts_every_query_of_the_reports() -> None:
    """The embedded engine runs them in the other tests; the service must take the same text."""
    from tests.kql.binder import Binder
    from tests.reading_cases import SETTINGS
    from tocsin.app import known
    from tocsin.core.kpi import query
    from tocsin.core.schema import TABLES
    from tocsin.diagnosing import wiring

    target = files.read_project(ROOT, SETTINGS, known()).config.targets[0]
    kinds = [("hitl_approval_rate", "ratio"), ("briefing_production_time", "duration_ms"), ("o'brien \\ x", "count")]
    kpis = [Kpi(name=name, type=kind, baseline=0, target=1) for name, kind in kinds]
    texts = [query(each, target, T0).text for each in kpis]
    texts += [wiring.events_query(target, T0).text]
    texts += [
        ask.text for table in TABLES for ask in (wiring.table_query(table, T0), wiring.lag_query(table, target, T0))
    ]
    binder = Binder()
    try:
        assert [(text, found) for text in texts if (found := binder.bind(text).errors)] == []
        assert dict(binder.bind(texts[0]).columns) == {
            "day": "datetime", "own": "bool", "total": "real", "events": "long"
        }  # fmt: skip
    finally:
        binder.close()
