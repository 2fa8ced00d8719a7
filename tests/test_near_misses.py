"""What is almost right is answered with what was meant, and an error of YAML itself with what to do."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reading_cases import SETTINGS, project
from tocsin import app
from tocsin.core import meant, units
from tocsin.core.errors import Problem
from tocsin.document import parse
from tocsin.files import read_project

MEANT = [
    (meant.duration, "5", "5m"),
    (meant.duration, "10 min", "10m"),
    (meant.duration, "1h 30m", "1h30m"),
    (meant.duration, "1.5h", "1h30m"),
    (meant.duration, "30m1h", "1h30m"),
    (meant.duration, "PT5M", "5m"),
    (meant.duration, "P1DT2H", "1d2h"),
    (meant.duration, "00:05:00", "5m"),
    (meant.duration, "1 hour and 5 minutes", "1h5m"),
    (meant.duration, "500ms", ""),
    (meant.duration, "soon", ""),
    (meant.number, "5 %", "5%"),
    (meant.number, "5 percent", "5%"),
    (meant.number, "1,000", "1000"),
    (meant.number, "0,5", "0.5"),
    (meant.number, "$5", "5"),
    (meant.number, "1k", "1000"),
    (meant.number, "five", ""),
    (meant.count, "1,000", "1000"),
    (meant.count, "20.0", "20"),
    (meant.count, "20.5", ""),
    (meant.flag, "off", "false"),
    (meant.flag, "Yes", "true"),
    (meant.flag, "maybe", ""),
    (meant.clock, "9:00", "09:00"),
    (meant.clock, "9:30 pm", "21:30"),
    (meant.clock, "12am", "00:00"),
    (meant.clock, "24:00", "00:00"),
    (meant.clock, "25:00", ""),
    (meant.instant, "1.12.2026", "2026-12-01"),
    (meant.instant, "2026-12-1", "2026-12-01"),
    (meant.instant, "12/01/2026", ""),
    (meant.days, "2026-12-24 to 2026-12-26", "2026-12-24..2026-12-26"),
    (meant.days, "2026-12-26..2026-12-24", "2026-12-24..2026-12-26"),
    (meant.per, "1/h", "1 per 1h"),
    (meant.per, "1 per hour", "1 per 1h"),
    (meant.out_of, "5 of 3", "3 of 5"),
    (meant.out_of, "3 out of 5", "3 of 5"),
]
SEVERITIES, MODES = ("P0", "P1", "P2", "P3"), ("off", "observe", "ask", "act")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@pytest.mark.parametrize(("read", "typed", "wanted"), MEANT, ids=lambda each: getattr(each, "__name__", str(each)))
def test_what_is_almost_right_is_read_as_it_was_meant(read: object, typed: str, wanted: str) -> None:
    assert callable(read)
    assert read(typed) == wanted


@pytest.mark.parametrize(
    ("typed", "choices", "wanted"),
    [
        ("monday", WEEKDAYS, "mon"),
        ("wednesday", WEEKDAYS, "wed"),
        ("fri-mon", WEEKDAYS, "fri, sat, sun, mon"),
        ("P5", SEVERITIES, "P3"),
        ("p1", SEVERITIES, "P1"),
        ("sev2", SEVERITIES, "P2"),
        ("critical", SEVERITIES, "P0"),
        ("false", MODES, "off"),
        ("true", ("on", "off"), "on"),
    ],
)
def test_a_choice_in_other_words_is_understood(typed: str, choices: tuple[str, ...], wanted: str) -> None:
    assert meant.choice(typed, choices) == wanted


def test_no_other_word_is_read_as_the_wish_to_act() -> None:
    assert meant.choice("true", MODES) == meant.choice("on", MODES) == meant.choice("yes", MODES) == ""


def test_a_city_is_enough_to_find_its_time_zone() -> None:
    assert meant.zone("New York", available_timezones()) == "America/New_York"


@given(st.text(max_size=40) | st.from_regex(r"\s*\d{1,12}[.,]?\d{0,8}\s*(m|min|h|hours|d|w)?\s*", fullmatch=True))
def test_whatever_is_offered_for_a_duration_is_one(text: str) -> None:
    found = meant.duration(text)
    assert not found or units.duration(found) is not None


VALUES = {
    "for: 5": "'5m'",
    "for: 10 min": "'10m'",
    "severity: P5": "'P3'",
    "enabled: off": "'false'",
    "in: 3/5": "'3 of 5'",
    "keep_firing_for: 1.5h": "'1h30m'",
    "max_instances: 1,000": "'1000'",
}


@pytest.mark.parametrize("line", VALUES)
def test_a_near_miss_in_a_rule_is_answered_with_what_was_meant(tmp_path: Path, line: str) -> None:
    root = project(tmp_path)
    path = root / "rules" / "high_error_rate.yaml"
    kept = [each for each in path.read_text().splitlines() if not each.startswith(line.partition(":")[0] + ":")]
    path.write_text("\n".join([*kept, line]) + "\n")
    (problem,) = [each for each in read_project(root, SETTINGS, app.known()).problems if each.path.startswith("rules/")]
    assert problem.hint == f"did you mean {VALUES[line]}?"


SYNTAX = {
    "a:\n\tb: 1\n": ("2:1", "use spaces"),
    "a: @b c\n": ("1:4", "quote the whole text"),
    "a: %b\n": ("1:4", "quote the whole text"),
    "a: `b`\n": ("1:4", "quote the whole text"),
    "a: *.example\n": ("1:4", "quote a text that begins with * or &"),
    "a: &\n": ("1:5", "quote the whole text"),
    "a: {b} of it\nc: 1\n": ("1:8", "begins with a quotation mark, [ or {"),
    "a: [b] c\n": ("1:8", "begins with a quotation mark, [ or {"),
    "a: 'it's'\n": ("1:8", "begins with a quotation mark, [ or {"),
    "a: b: c\n": ("1:5", "quote the whole text"),
    "a: 'b\nc: d\n": ("1:4", "close it"),
    'a: "\\d+"\n': ("1:6", "single quotes"),
    "a: [b, c\nd: e\n": ("2:2", "needs quotes"),
    "a: { b: ${X} }\n": ("1:10", "needs quotes"),
    "a: ]\n": ("1:4", "delete it"),
    "a: 1\n  b: 2\n": ("2:4", "indent it"),
    "a:\n  b: 1\n c: 2\n": ("3:2", "align it"),
    "a: 1\nb:2\n": ("2:1", "after a colon comes a space"),
    "a: > b\n": ("1:6", "on the next line"),
    "a: - b\n": ("1:4", "on the next line"),
    "a: !b\n": ("1:4", "quote a text that begins with !"),
    "%a\nb: 1\n": ("2:1", ""),
}


@pytest.mark.parametrize("text", SYNTAX)
def test_an_error_of_yaml_says_what_to_do(text: str) -> None:
    problem: Problem = parse("x.yaml", text.encode()).problems[0]
    place, remedy = SYNTAX[text]
    assert f"{problem.line}:{problem.column}" == place
    assert remedy in problem.hint
