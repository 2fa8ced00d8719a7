"""The HTML report of a backtest: one file, what it tells, and what a browser without a network makes of it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tocsin import signals
from tocsin.backtest.grid import grid
from tocsin.backtest.outcome import Outcome, comparison_document, document, outcome
from tocsin.backtest.page import page
from tocsin.backtest.plots import plotted
from tocsin.backtest.replay import Alive, Course, replayed
from tocsin.backtest.series import Recorded, Values
from tocsin.backtest.study import Study, Unplayed
from tocsin.cli import picturing
from tocsin.core.alert import Instance
from tocsin.core.condition import score
from tocsin.core.config import Config, Target
from tocsin.core.policy import Policy
from tocsin.core.read import Project
from tocsin.core.rule import Rule

T0 = datetime(2026, 11, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
END = T0 + timedelta(hours=4)
HOSTILE = "</script ><img src=x onerror=document.title='taken'>"
TARGET = Target(name="sales", workspace="w", role_name="sales-api", offset=timedelta(), allow=("killswitch.engage",))
QUIET = TARGET.model_copy(update={"name": "quiet"})
CONFIG = Config.model_validate({"automation": "act", "targets": [TARGET, QUIET], "routes": {"to": ["team"]}})
POLICY = Policy.model_validate(
    {
        "id": "stop",
        "summary": "Stop.",
        "on": {"rule": "errors", "firing_for": "5m"},
        "do": [{"killswitch.engage": {"scope": "tools"}}],
        "guard": {"mode": "ask", "at_most": "1 per 1h", "blast_radius": "1 target per 15m"},
        "verify": [{"signal": "side_effect_tools", "at_most": "0", "over": "2m", "within": "10m"}],
        "undo": {"by": "a person"},
        "owner": "ai-ops",
    }
)


def rule(name: str, signal: str, **given: Any) -> Rule:
    own = {key: given.pop(key) for key in list(given) if key in ("for", "keep_firing_for", "severity")}
    when = {"signal": signal, "over": "1m", **given}
    return Rule.model_validate({"id": name, "summary": "{value} of {agent}", "severity": "P2", "when": when, **own})


ERRORS = rule("errors", "response_errors", above="5%", severity="P1", keep_firing_for="10m", **{"for": "2m"})
WORKERS = rule("workers", "worker_failures", above="50%", by=["agent"])
ODD = rule("odd", "response_latency", unusual={"score": "4", "baseline": "1h", "seasonal": "none"}, over="5m")


def course(judged: Rule, lines: dict[Instance, Any], target: Target = TARGET) -> Course:
    """Return what becomes of a rule when its values are these, one a slot."""
    slots = grid(judged, target.name, T0, END)
    assert slots is not None
    many = tuple(np.full(slots.count, 10) for _ in slots.windows)
    values = {by: Values(tuple(_moved(line, until) for _, until in slots.windows), many) for by, line in lines.items()}
    alive = Alive.over([T0 + number * MINUTE for number in range(slots.count)])
    return replayed(judged, target, signals.known()[judged.when.signal or ""], slots, [Recorded(slots, values)], alive)


def _moved(line: Any, back: int) -> Any:
    return np.concatenate([np.full(back, line[0]), line])[: len(line)]


def values(high: float, begin: int = 60, end: int = 90, low: float = 0.01) -> Any:
    line = np.full(int((END - T0) / MINUTE), low) * (1 + 0.1 * np.sin(np.arange(240)))
    line[begin:end] = high
    return line


def found(judged: Rule = ERRORS) -> Outcome:
    """Return a backtest with two rules that fire, one that does not, and one that could not be replayed."""
    agents = {(("agent", HOSTILE),): values(0.9, 100, 130), (("agent", "planner"),): values(0.2)}
    courses = (
        course(judged, {(): values(0.3)}),
        course(WORKERS, agents),
        course(judged, {(): values(0.01)}, QUIET),
    )
    unplayed = (Unplayed("queue_depth", "sales", "no history of the queue's <b>metrics</b>"),)
    project = Project(rules=(judged, WORKERS), policies=(POLICY,), config=CONFIG)
    return outcome(Study(T0, END, courses, unplayed), project)


SWEEP = {
    "axes": [{"key": "when.above", "values": ["1%", "5%"]}, {"key": "for", "values": ["1m", "5m", "15m"]}],
    "cells": [
        {"settings": {"when.above": above, "for": wait}, "episodes": number, "pages": 2 * number, "flaps": 0,
         "seconds_firing": 600 * number}
        for number, (above, wait) in enumerate((above, wait) for above in ("1%", "5%") for wait in ("1m", "5m", "15m"))
    ],
    "recommended": {"when.above": "5%", "for": "5m"},
    "why": "fewest flaps of those that find both incidents",
}  # fmt: skip


class Parsed(HTMLParser):
    """The tags of a page, its text, and the tables' rows as texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self._in = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in = tag if tag in ("th", "td", "script") else self._in
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self._in in ("th", "td") and self.rows:
            self.rows[-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._in = "" if tag == self._in else self._in

    def row(self, first: str, second: str) -> list[str]:
        """Return the first row that begins so."""
        return next(row for row in self.rows if row[:2] == [first, second])


def test_the_tables_tell_everything_without_a_script() -> None:
    read = Parsed(page(document(found(), series=True), title="Backtest"))
    assert read.row("errors", "sales")[2:7] == ["P1", "1", "2", "0", "38m"]
    assert read.row("workers", "sales")[3] == "1"
    assert ["team", "4", "2", "2"] in read.rows
    asked = next(row for row in read.rows if row[1:3] == ["stop", "killswitch.engage (scope tools)"])
    assert asked[5] == "asks a person"
    assert read.row("queue_depth", "sales")[2:] == ["not replayed", "no history of the queue's <b>metrics</b>"]
    order = [row[0] for row in read.rows if len(row) == 9 and row[1] in ("sales", "quiet")]
    assert order[:3] == ["errors", "errors", "workers"], "the gravest first"


def test_what_telemetry_says_is_never_markup() -> None:
    text = page(document(found(), series=True), title=HOSTILE, incidents=[_incident(HOSTILE)])
    read = Parsed(text)
    assert not [tag for tag, _ in read.tags if tag in ("img", "b")]
    assert sum(tag == "script" for tag, _ in read.tags) == text.count("</script>") == 3
    charts = json.loads(re.findall(r'<script type="application/json" id="charts">(.*?)</script>', text)[0])
    assert f"agent {HOSTILE}" in charts[1]["lines"]


def _incident(text: str) -> dict[str, str]:
    return {"target": "", "from": T0.isoformat(), "to": (T0 + 9 * MINUTE).isoformat(), "text": text}


def test_nothing_is_loaded_from_elsewhere() -> None:
    read = Parsed(text := page(document(found(), series=True), title="Backtest"))
    assert {tag for tag, _ in read.tags} & {"link", "iframe", "object", "base", "form"} == set()
    assert [own for _, own in read.tags if {"src", "href"} & set(own)] == []
    policy = next(own["content"] for tag, own in read.tags if own.get("http-equiv") == "Content-Security-Policy")
    assert "Copyright (c) 2022 Leon Sorokin" in text, "a licence stays with its library"
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def test_a_comparison_begins_with_what_differs() -> None:
    later = ERRORS.model_copy(update={"for_": timedelta(minutes=40)})
    text = page(comparison_document(found(), found(later), series=True), title="Change")
    read = Parsed(text)
    assert read.row("errors", "sales")[2:] == ["1 → 0", "2 → 0", "0", "38m → –", "1", "0", ""]
    assert text.index("<h2>Differences") < text.index("<h2>Course of what differs") < text.index("<h2>Rules")
    assert sum("data-chart" in own for _, own in read.tags) == 2
    same = page(comparison_document(found(), found(), series=True), title="Change")
    assert "Nothing: the same episodes and as many pages" in same


def test_a_sweep_marks_the_recommended_cell_and_no_other() -> None:
    read = Parsed(page(document(found()), title="Sweep", sweep=SWEEP))
    chosen = [own for tag, own in read.tags if tag == "td" and own.get("class") == "chosen"]
    assert [own["title"] for own in chosen] == ["episodes 4, pages 8, flaps 0, time firing 40m"]
    heats = [own["style"] for tag, own in read.tags if tag == "td" and "style" in own]
    assert heats == [f"--heat:{number / 5:.3f}" for number in range(6)]
    one = {**SWEEP, "axes": SWEEP["axes"][:1], "cells": SWEEP["cells"][::3]}  # type: ignore[index]
    assert ["5%", "3", "6", "0", "30m", ""] in Parsed(page(document(found()), title="x", sweep=one)).rows


def test_bands_are_the_states_in_their_order_and_of_several_instances_the_gravest() -> None:
    one = plotted(course(ERRORS, {(): values(0.3)}))["bands"]
    assert [(state, (end - begin) / 60) for begin, end, state in one] == [
        ("pending", 2),
        ("firing", 28),
        ("recovering", 10),
    ]
    by = rule("workers", "worker_failures", above="50%", by=["agent"], keep_firing_for="20m")
    two = {(("agent", "a"),): values(0.9, 60, 90), (("agent", "b"),): values(0.9, 100, 140)}
    both = plotted(course(by, two))["bands"]
    assert [(state, (end - begin) / 60) for begin, end, state in both] == [
        ("firing", 30), ("recovering", 10), ("firing", 40), ("recovering", 20)
    ]  # fmt: skip


def test_a_line_past_the_drawn_limit_is_a_line_with_the_score_the_rule_asks_for() -> None:
    seen = course(ODD, {(): values(900.0, low=100)})
    drawn = plotted(seen)
    slots = seen.sources[0].instances[()].value
    limits = drawn["limits"]["value"]
    assert drawn["limit"] is None
    for slot in range(0, len(limits), 7):
        usual = [float(line[slot]) for line in slots[1:]]
        assert score(limits[slot], usual) == pytest.approx(4, rel=1e-4)


def test_of_many_slots_the_drawn_one_is_the_worst() -> None:
    long = replace(course(ERRORS, {(): values(0.3)}), open={})
    many = np.tile(values(0.01), 40)
    many[7_777] = 0.77
    grown = replace(long.grid, count=len(many))
    source = Recorded(grown, {(): Values((many,), (np.full(len(many), 10),))})
    drawn = plotted(replace(long, grid=grown, sources=(source,)))
    assert len(drawn["lines"]["value"]) <= 3_000
    assert drawn["lines"]["value"][int(7_777 * 60 / drawn["step"])] == 0.77


# In a browser


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if picturing._browser() is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs Chromium")
    playwright_api = pytest.importorskip("playwright.sync_api")
    path: Path = tmp_path_factory.mktemp("report") / "report.html"
    text = page(document(found(), series=True), title="Backtest", sweep=SWEEP, incidents=[_incident(HOSTILE)])
    path.write_text(text, encoding="utf-8")
    alone = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=picturing._browser(), args=alone)
        context = browser.new_context(viewport={"width": 1200, "height": 900}, offline=True)
        shown = context.new_page()
        said: list[str] = []
        shown.on("console", lambda each: said.append(each.text))
        shown.on("pageerror", lambda each: said.append(str(each)))
        shown.on("request", lambda each: said.append(each.url) if each.url != path.as_uri() else None)
        shown.goto(path.as_uri())
        shown.said = said
        yield shown
        browser.close()


SCALES = "tocsin.plots().map(each => [each.scales.x.min, each.scales.x.max])"


@pytest.mark.slow
def test_a_browser_draws_each_rule_and_complains_of_nothing(opened: Any) -> None:
    assert opened.locator("section .chart canvas:visible").count() == 2
    opened.get_by_text("Rules without an episode (1)").click()
    opened.wait_for_function("tocsin.plots().length === 3")
    assert (
        opened.locator(".chart[role=img]").nth(0).get_attribute("aria-label").startswith("errors on sales: 1 episode")
    )
    assert opened.title() == "Backtest"
    assert opened.locator("img").count() == 0
    assert f"agent {HOSTILE}" in opened.locator(".u-legend .u-label").all_inner_texts()
    assert opened.said == []


@pytest.mark.slow
def test_dragging_looks_closer_in_all_plots_and_a_double_click_shows_all(opened: Any) -> None:
    area = opened.locator(".chart .u-over").nth(0)
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    whole = opened.evaluate(SCALES)
    third, y = box["width"] / 3, box["y"] + 60
    opened.mouse.move(box["x"] + third, y)
    opened.mouse.down()
    opened.mouse.move(box["x"] + 2 * third, y + 5, steps=3)
    opened.mouse.up()
    opened.wait_for_function(f"{SCALES}[1][0] > {whole[1][0]}")
    closer, length = opened.evaluate(SCALES), whole[0][1] - whole[0][0]
    assert len(set(map(tuple, closer))) == 1
    assert closer[0] == pytest.approx([whole[0][0] + length / 3, whole[0][0] + 2 * length / 3], abs=length / 50)
    opened.mouse.dblclick(box["x"] + third, y)
    opened.wait_for_function(f"{SCALES}[1][0] === {whole[1][0]}")
    assert opened.evaluate(SCALES) == whole


@pytest.mark.slow
def test_the_cursor_tells_what_happened_there(opened: Any) -> None:
    area = opened.locator(".chart .u-over").nth(0)
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    opened.mouse.move(box["x"] + box["width"] * 75 / 240, box["y"] + 40)
    opened.wait_for_function("!document.querySelector('.chart .tip').hidden")
    assert opened.locator(".chart .tip").nth(0).inner_text().startswith("firing")
    opened.mouse.move(box["x"] + box["width"] * 5 / 240, box["y"] + 40)
    opened.wait_for_function("document.querySelector('.chart .tip').textContent.startsWith('known')")
    assert HOSTILE in opened.locator(".chart .tip").nth(0).inner_text()
