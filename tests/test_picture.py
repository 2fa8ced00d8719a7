"""The picture of a value's course: a PNG by an independent reader, what it shows, and what it never breaks."""

from __future__ import annotations

import importlib.util
import math
import os
import struct
import time
import zlib
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.notices import ALERT, APP, CASES, FIRED, MINUTE, RULE, TARGET, fired
from tocsin.cli import picturing
from tocsin.core.alert import Change
from tocsin.core.message import Kind, Notice
from tocsin.core.notice import compose
from tocsin.core.rule import Op, Rule
from tocsin.notifiers import mail, picture
from tocsin.notifiers.picture import HEIGHT, MOST, WIDTH, draw, words

SENDER = "tocsin@mail.example"
VALUE, LIMIT = (0x1F, 0x5F, 0xA8), (0xC4, 0x31, 0x1B)


@dataclass
class Decoded:
    """A PNG as it is shown: the colour of each pixel, row by row."""

    width: int
    height: int
    rows: list[list[tuple[int, ...]]]

    def longest(self, colour: tuple[int, ...], begin: int = 0, end: int = WIDTH) -> int:
        """Return how many pixels of the colour stand above each other, at most."""
        longest = 0
        for column in range(begin, end):
            run = 0
            for row in self.rows:
                run = run + 1 if row[column] == colour else 0
                longest = max(longest, run)
        return longest


def decoded(png: bytes) -> Decoded:
    """Return what a strict reader makes of it; it fails where the specification is not kept."""
    assert png[:8] == bytes([137, 80, 78, 71, 13, 10, 26, 10])
    chunks, place = [], 8
    while place < len(png):
        length = int.from_bytes(png[place : place + 4], "big")
        named, checked = png[place + 4 : place + 8 + length], png[place + 8 + length : place + 12 + length]
        assert zlib.crc32(named) == int.from_bytes(checked, "big")
        chunks.append((named[:4], named[4:]))
        place += 12 + length
    assert place == len(png)
    assert [name for name, _ in chunks] == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    (_, header), (_, palette), (_, packed), (_, nothing) = chunks
    width, height, *rest = struct.unpack(">IIBBBBB", header)
    assert (rest, nothing, len(palette) % 3) == ([8, 3, 0, 0, 0], b"", 0)
    raw = zlib.decompress(packed)
    assert len(raw) == height * (width + 1)
    assert set(raw[:: width + 1]) == {0}
    colours = [tuple(palette[each : each + 3]) for each in range(0, len(palette), 3)]
    rows = [raw[row * (width + 1) + 1 : (row + 1) * (width + 1)] for row in range(height)]
    return Decoded(width, height, [[colours[pixel] for pixel in row] for row in rows])


def of(values: Sequence[float], threshold: float | None = None, past: Op = Op.ABOVE, unit: str = "count") -> Notice:
    series = tuple((FIRED + number * MINUTE, value) for number, value in enumerate(values))
    return replace(fired(), series=series, threshold=threshold, comparison=past, unit=unit)


def shown(values: Sequence[float], threshold: float | None = None, past: Op = Op.ABOVE) -> Decoded:
    return decoded(draw(of(values, threshold, past)))


NUMBERS = st.floats(allow_nan=True, allow_infinity=True) | st.integers(-5, 5).map(float) | st.floats(0, 1)
DIAMOND = 11
"""Pixels from tip to tip; a dash is two high."""


@given(
    values=st.lists(NUMBERS, max_size=40),
    threshold=st.none() | NUMBERS,
    past=st.sampled_from(Op),
    unit=st.sampled_from(["count", "ratio", "ms", "usd"]),
)
def test_any_numbers_are_a_valid_picture_or_none(
    values: list[float], threshold: float | None, past: Op, unit: str
) -> None:
    notice = of(values, threshold, past, unit)
    made = draw(notice)
    assert bool(made) == bool(words(notice)) == any(map(math.isfinite, values))
    if made:
        read = decoded(made)
        assert (read.width, read.height) == (WIDTH, HEIGHT)
        assert len(made) <= MOST
        assert made == draw(notice) == picture.picture(notice)
        assert len(words(notice)) < 400


@given(moments=st.lists(st.datetimes(timezones=st.just(FIRED.tzinfo)), min_size=1, max_size=9), seed=NUMBERS)
def test_any_moments_in_any_order_are_a_valid_picture(moments: list[object], seed: float) -> None:
    notice = replace(fired(), series=tuple((at, seed) for at in moments))
    assert not draw(notice) or decoded(draw(notice)).width == WIDTH


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_notice_has_a_picture_when_it_has_values(name: str) -> None:
    notice = CASES[name]()
    assert bool(notice.series) == bool(picture.picture(notice)) == bool(mail.mail(notice, SENDER).picture)


def test_thousands_of_values_are_small_still_and_the_newest_are_shown() -> None:
    values = [math.sin(number / 3) * number for number in range(5_000)]
    assert len(draw(of(values, 100.0))) <= MOST
    assert draw(of([*([1e9] * 5_000), *([1.0] * 1_000)])) != draw(of([*([1.0] * 5_000), *([1e9] * 1_000)]))


# What is shown


def test_what_is_past_the_limit_differs_by_its_shape_and_not_by_colour_alone() -> None:
    assert shown([1, 2, 3, 2], 10).longest(LIMIT, 100) == 2
    assert shown([1, 2, 30, 2], 10).longest(LIMIT, 100) == DIAMOND
    assert shown([1, 2, 10, 2], 10).longest(LIMIT, 100) < DIAMOND
    assert shown([1, 2, 10, 2], 10, Op.AT_LEAST).longest(LIMIT, 100) >= DIAMOND


def test_below_is_past_a_limit_from_below() -> None:
    left, right = (32, 150), (450, WIDTH)
    read = shown([90, 90, 90, 10], 50, Op.BELOW)
    assert (read.longest(LIMIT, *left), read.longest(LIMIT, *right)) == (2, DIAMOND)
    read = shown([90, 90, 90, 10], 50, Op.ABOVE)
    assert (read.longest(LIMIT, *left), read.longest(LIMIT, *right)) == (DIAMOND, 2)


def test_the_limit_is_dashed_and_absent_without_one() -> None:
    row = next(row for row in shown([1, 2, 3], 10).rows if row.count(LIMIT) > 100)
    changes = sum(one != other for one, other in pairwise(row))
    assert changes > 40
    assert all(LIMIT not in row for row in shown([1, 2, 3]).rows)
    assert all(LIMIT not in row for row in shown([1, 2, 3], math.nan).rows)


def test_what_is_not_known_is_a_gap() -> None:
    middle = (WIDTH // 2, WIDTH // 2 + 40)
    assert shown([1, 2, 3, 4]).longest(VALUE, *middle) > 0
    assert shown([1, 2, math.nan, math.inf, 3, 4]).longest(VALUE, *middle) == 0


def test_a_value_higher_up_is_drawn_higher_up() -> None:
    def top(values: Sequence[float], column: int) -> int:
        return next(number for number, row in enumerate(shown(values, 50).rows) if row[column] == VALUE)

    rising = [top([0, 10, 20, 30, 40], column) for column in (100, 200, 300, 400)]
    assert rising == sorted(rising, reverse=True)
    assert len(set(rising)) == 4


def test_the_words_say_what_is_shown() -> None:
    said = "The value from 2026-11-20 03:00 to 2026-11-20 03:05 UTC: 5.2% → 8.3%, lowest 5.2%, highest 8.3%."
    assert words(fired()) == f"{said} Past the limit of 5%: 6 of 6 values."
    assert words(of([math.nan])) == words(of([])) == ""
    assert "Past" not in words(of([1.0]))


@pytest.mark.parametrize(("op", "number"), [(Op.BELOW, "95%"), (Op.AT_LEAST, "5%")])
def test_a_notice_knows_which_side_of_its_limit_is_bad(op: Op, number: str) -> None:
    when = {"signal": "response_errors", op.value: number, "over": "15m"}
    rule = Rule.model_validate({"id": "r", "summary": "s", "severity": "P1", "when": when})
    made = compose(ALERT, Change.FIRED, Kind.FIRED, rule, TARGET, None, will="", app=APP)
    assert made.comparison is op
    assert compose(ALERT, Change.FIRED, Kind.FIRED, RULE, TARGET, None, will="", app=APP).comparison is Op.ABOVE


# What it never breaks


def test_the_picture_goes_before_any_words_do(monkeypatch: pytest.MonkeyPatch) -> None:
    notice = replace(fired(), text="x" * 900)
    whole, worded = mail.mail(notice, SENDER), mail.mail(replace(notice, series=()), SENDER)
    monkeypatch.setattr(mail, "LIMIT", len(whole.html) - 1)
    assert mail.mail(notice, SENDER) == worded
    assert (whole.picture is None, worded.picture) == (False, None)
    monkeypatch.setattr(mail, "LIMIT", len(whole.html))
    assert mail.mail(notice, SENDER) == whole


def test_a_picture_that_is_large_or_cannot_be_drawn_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    worded = mail.mail(replace(fired(), series=()), SENDER)
    monkeypatch.setattr(picture, "MOST", 100)
    assert mail.mail(fired(), SENDER) == worded

    def broken(_notice: Notice) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr(picture, "draw", broken)
    assert mail.mail(fired(), SENDER) == worded


def test_drawing_is_quick_enough_for_a_flood() -> None:
    notice, begin = of([math.sin(number) for number in range(30)], 0.5), time.process_time()
    for _ in range(10):
        draw(notice)
    assert time.process_time() - begin < 2


@pytest.mark.slow
def test_a_browser_shows_the_picture_in_the_mail() -> None:
    browser = picturing._browser()
    if browser is None or importlib.util.find_spec("playwright") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs Playwright and Chromium")
    from playwright.sync_api import sync_playwright

    written = mail.mail(fired(), SENDER)
    assert written.picture
    data = f"data:image/png;base64,{b64encode(written.picture.png).decode()}"
    alone = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=alone)
        try:
            page = opened.new_context(viewport={"width": 360, "height": 600}, offline=True).new_page()
            page.set_content(written.html.replace(f"cid:{written.picture.id}", data))
            image = page.get_by_role("img", name="The value from 2026-11-20 03:00")
            assert image.evaluate("it => [it.complete, it.naturalWidth, it.naturalHeight]") == [True, WIDTH, HEIGHT]
            assert image.evaluate("it => it.getBoundingClientRect().right <= innerWidth"), "a phone shows all of it"
        finally:
            opened.close()


def test_two_notices_have_two_pictures() -> None:
    later = replace(fired(), id="another", series=tuple((at + timedelta(hours=1), v) for at, v in fired().series))
    one, other = mail.mail(fired(), SENDER).picture, mail.mail(later, SENDER).picture
    assert one
    assert other
    assert one.id != other.id
    assert one.png != other.png


@pytest.mark.parametrize(
    ("unit", "value", "limit", "drawn"),
    [
        ("usd", "3 USD", "2 USD", "3"),
        ("ms", "3 ms", "2 ms", "3"),
        ("percent", "3%", "2%", "3%"),
        ("ratio", "300%", "200%", "300%"),
        ("tokens", "3 tokens", "2 tokens", "3"),
    ],
)
def test_a_query_of_ones_own_is_drawn_and_told_in_its_unit(unit: str, value: str, limit: str, drawn: str) -> None:
    when = {"kql": "AppTraces | summarize value = 3.0", "unit": unit, "above": 2, "over": "15m"}
    rule = Rule.model_validate(
        {"id": "own", "file": "rules/own.yaml", "summary": "{value}", "severity": "P2", "when": when}
    )
    trail = tuple((FIRED + minute * MINUTE, 1.0 + minute) for minute in range(3))
    alert = replace(ALERT, rule="own", value=3.0, trail=trail)
    notice = compose(alert, Change.FIRED, Kind.FIRED, rule, TARGET, None, will="", app=APP)
    assert (notice.unit, notice.title) == (unit, value)
    assert f"→ {value}," in words(notice)
    assert f"Past the limit of {limit}:" in words(notice)
    assert picture._label(3.0, notice.unit) == drawn
    assert draw(notice)
