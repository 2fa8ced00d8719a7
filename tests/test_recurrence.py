"""When a silence that recurs, and quiet hours, are in force: as RFC 5545 says, at every change of the clock too.

What is right is reckoned here by another way: python-dateutil lists the local times, and a local time becomes UTC by
trying which instants show it on the clock of the zone. `ZONES=60 make clocks` looks at every change of 60 zones.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from functools import cache
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from dateutil.rrule import rrulestr
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.amount import often
from tocsin.core.audience import QuietHours, SilenceAsCode
from tocsin.core.mute import Muting, Silence, active, in_force_until, quiet
from tocsin.core.recurrence import recurrence

DAY, HOUR, MINUTE, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
BERLIN = {"match": {"target": ["sales-research"]}, "author": "ops@example.com", "comment": "nightly job"} | {
    "starts": "2026-01-01T02:30",
    "recurs": "FREQ=DAILY",
    "lasts": "2h",
    "time_zone": "Europe/Berlin",
}


def silence(**given: Any) -> Silence:
    return SilenceAsCode.model_validate({**BERLIN, **given}).silence(0)


def covered(made: Silence, begin: str, hours: int) -> list[tuple[str, str]]:
    """Return the intervals of UTC in which the silence is in force, to the minute."""
    at, found, inside = datetime.fromisoformat(f"{begin}+00:00"), [], False
    for _ in range(hours * 60 + 1):
        if active(made, at) != inside:
            inside = not inside
            found.append(f"{at:%d %H:%M}")
        at += MINUTE
    return list(zip(found[::2], found[1::2], strict=True))


# ── The clock changes ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_time_that_comes_twice_is_the_first_and_lasts_as_long_as_ever() -> None:
    assert covered(silence(), "2026-10-24T12:00", 36) == [("25 00:30", "25 02:30")]


def test_a_time_that_the_clock_skips_takes_the_offset_from_before() -> None:
    assert covered(silence(), "2026-03-28T12:00", 36) == [("29 01:30", "29 03:30")]
    assert covered(silence(lasts="1h"), "2026-03-28T12:00", 36) == [("29 01:30", "29 02:30")]


def test_a_silence_that_starts_at_a_skipped_time_recurs_at_that_time() -> None:
    made = silence(starts="2026-03-29T02:30", lasts="1h")
    assert covered(made, "2026-03-28T12:00", 60) == [("29 01:30", "29 02:30"), ("30 00:30", "30 01:30")]


def test_an_occurrence_in_the_gap_outlasts_one_right_behind_it() -> None:
    """02:45 is skipped and becomes 01:45Z, 03:00 is 01:00Z: the newest local time is not the newest in UTC."""
    made = silence(recurs="FREQ=DAILY;BYHOUR=2,3;BYMINUTE=0,45", lasts="10m")
    assert covered(made, "2026-03-29T00:30", 2) == [("29 01:00", "29 01:10"), ("29 01:45", "29 01:55")]


def test_starts_and_ends_go_by_the_clock_of_the_time_zone_and_by_their_own_where_they_name_one() -> None:
    made = silence(ends="2026-07-03", starts="2026-07-01T02:30")
    assert covered(made, "2026-06-30T12:00", 96) == [("01 00:30", "01 02:30"), ("02 00:30", "02 02:30")]
    assert covered(silence(starts="2026-07-01T02:30Z"), "2026-07-01T00:00", 12) == [("01 02:30", "01 04:30")]
    once = silence(starts="2026-10-25T02:30", ends="2026-10-25T03:30", recurs="", lasts="0s")
    assert covered(once, "2026-10-24T12:00", 36) == [("25 00:30", "25 02:30")]


@pytest.mark.parametrize(
    ("hours", "begin", "expected"),
    [
        # Berlin: forward at 01:00Z on 29 March, back at 01:00Z on 25 October.
        (("22:00", "06:00"), "2026-03-28T12:00", [("28 21:00", "29 04:00")]),
        (("22:00", "06:00"), "2026-10-24T12:00", [("24 20:00", "25 05:00")]),
        (("02:30", "04:00"), "2026-03-28T12:00", [("29 01:30", "29 02:00")]),
        (("01:00", "02:30"), "2026-03-28T12:00", [("29 00:00", "29 01:30")]),
        (("02:30", "03:30"), "2026-10-24T12:00", [("25 00:30", "25 02:30")]),
        (("01:00", "02:30"), "2026-10-24T12:00", [("24 23:00", "25 00:30")]),
    ],
)
def test_quiet_hours_begin_and_end_once_where_the_clock_is_changed(
    hours: tuple[str, str], begin: str, expected: list[tuple[str, str]]
) -> None:
    given = {"name": "n", "match": {"rule": "x"}, "time_zone": "Europe/Berlin", "from": hours[0], "to": hours[1]}
    made = QuietHours.model_validate(given).hours
    at, found, inside = datetime.fromisoformat(f"{begin}+00:00"), [], False
    for _ in range(24 * 60):
        if quiet(made, at) != inside:
            inside = not inside
            found.append(f"{at:%d %H:%M}")
        at += MINUTE
    assert list(zip(found[::2], found[1::2], strict=True)) == expected


@cache
def changes(name: str) -> tuple[datetime, ...]:
    """Return every change of a zone's clock from 2015 to 2029, in UTC."""
    zone, at, found = ZoneInfo(name), datetime(2015, 1, 1, tzinfo=UTC), []
    while at.year < 2030:
        low, high = at, at + DAY
        if offset(zone, low) != offset(zone, high):
            while high - low > SECOND:
                middle = low + (high - low) // SECOND // 2 * SECOND
                low, high = (middle, high) if offset(zone, middle) == offset(zone, at) else (low, middle)
            found.append(high)
        at += DAY
    return tuple(found)


def offset(zone: ZoneInfo, at: datetime) -> timedelta:
    found = at.astimezone(zone).utcoffset()
    assert found is not None
    return found


def in_utc(local: datetime, zone: ZoneInfo, change: datetime) -> datetime:
    """Return the first instant at which the clock shows this, or the one by the offset from before the change."""
    before, after = offset(zone, change - SECOND), offset(zone, change)
    shown = [
        at
        for at in (local.replace(tzinfo=UTC) - before, local.replace(tzinfo=UTC) - after)
        if at.astimezone(zone).replace(tzinfo=None) == local
    ]
    return min(shown, default=local.replace(tzinfo=UTC) - before)


ALL_ZONES = sorted(
    name for name in available_timezones() if "/" in name and not name.startswith(("Etc/", "posix", "ri"))
)
SOME_ZONES = ["Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca"]
ZONES = int(os.environ.get("ZONES", "3"))
OTHERS = (name for name in ALL_ZONES[::3] if name not in SOME_ZONES and changes(name))
CHOSEN = [*SOME_ZONES, *islice(OTHERS, ZONES - len(SOME_ZONES))]


@pytest.mark.parametrize("name", CHOSEN)
def test_at_every_change_of_the_clock_silences_and_quiet_hours_agree_with_another_reckoning(name: str) -> None:
    zone = ZoneInfo(name)
    assert changes(name)
    for change in changes(name):
        local = max(change.replace(tzinfo=None) + offset(zone, change + shift) for shift in (-SECOND, 0 * SECOND))
        for shift in (-90, -60, -45, -30, -1, 0, 15):
            first = local + shift * MINUTE
            for rule, lasts in (("FREQ=DAILY", 45 * MINUTE), ("FREQ=HOURLY;INTERVAL=2", 70 * MINUTE)):
                _silence_agrees(rule, lasts, first, zone, change)
            _quiet_hours_agree(first.time(), (first + 80 * MINUTE).time(), zone, change)
        _silence_agrees("FREQ=MINUTELY;INTERVAL=7", 3 * MINUTE, local, zone, change)


def _silence_agrees(rule: str, lasts: timedelta, first: datetime, zone: ZoneInfo, change: datetime) -> None:
    begins = first - 2 * DAY
    end = datetime(2040, 1, 1, tzinfo=UTC)
    made = Silence("s", (), "a", "c", begins.replace(tzinfo=zone), end, rule, lasts, zone.key)
    locals_ = rrulestr(rule, dtstart=begins).between(first - 4 * HOUR, first + 4 * HOUR, inc=True)
    started = [in_utc(each, zone, change) for each in locals_]
    for at in _moments([*started, *(each + lasts for each in started)], change):
        right = any(each <= at < each + lasts for each in started)
        assert active(made, at) is right, (zone.key, rule, begins, at)


def _quiet_hours_agree(start: time, end: time, zone: ZoneInfo, change: datetime) -> None:
    given = {"name": "n", "match": {"rule": "x"}, "time_zone": zone.key, "from": f"{start:%H:%M}", "to": f"{end:%H:%M}"}
    hours = QuietHours.model_validate(given).hours
    today = change.astimezone(zone).date()
    spans = []
    for day in (today + number * DAY for number in range(-3, 3)):
        last = day + DAY if hours.end <= hours.start else day
        begins, ends = datetime.combine(day, hours.start), datetime.combine(last, hours.end)
        spans.append((in_utc(begins, zone, change), in_utc(ends, zone, change)))
    for at in _moments([each for span in spans for each in span], change):
        assert quiet(hours, at) is any(begins <= at < ends for begins, ends in spans), (zone.key, start, end, at)


def _moments(edges: list[datetime], change: datetime) -> Iterator[datetime]:
    """Yield the moments right before and at each edge that is near the change."""
    for edge in sorted(set(edges)):
        if abs(edge - change) < 3 * HOUR:
            yield from (edge - SECOND, edge)


# ── The rules ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def some(*values: Any) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True).map(lambda v: ",".join(map(str, v)))


NEW_YEAR = datetime(2020, 1, 1)  # noqa: DTZ001 - rules are about local times
# Only what occurs every few years at least: dateutil goes through all time to come to find the next one.
TIMES = {
    "INTERVAL": st.sampled_from(["1", "2", "3", "7"]),
    "BYDAY": some("MO", "TU", "WE", "FR", "SU"),
    "BYHOUR": some(0, 2, 9, 23),
    "BYMINUTE": some(0, 7, 30, 59),
    "BYSECOND": some(0, 1, 59),
    "WKST": st.sampled_from(["MO", "SU", "TH"]),
    "UNTIL": st.sampled_from(["20200301", "20210310T043000"]),
}
DAYS = TIMES | {"BYMONTH": some(1, 3, 12), "BYMONTHDAY": some(1, 13, 29, 31, -1, -3)}


def rules(frequencies: list[str], parts: dict[str, st.SearchStrategy[str]]) -> st.SearchStrategy[str]:
    made = st.fixed_dictionaries({"FREQ": st.sampled_from(frequencies)}, optional=parts)
    return made.map(lambda parts: ";".join(f"{name}={value}" for name, value in parts.items()))


RULES = rules(["YEARLY", "MONTHLY", "WEEKLY", "DAILY"], DAYS) | rules(["HOURLY", "MINUTELY"], TIMES)
SPANS = st.integers(0, 2 * 86_400).map(lambda seconds: seconds * SECOND)
FIRSTS = st.integers(0, 366 * 86_400).map(lambda seconds: NEW_YEAR + seconds * SECOND)


@settings(max_examples=int(os.environ.get("RULES", often(60, 20))), deadline=None)
@given(RULES, FIRSTS, SPANS.map(lambda span: 450 * span), SPANS)
def test_the_newest_occurrence_is_the_one_that_is_found_by_listing_all(
    rule: str, first: datetime, later: timedelta, back: timedelta
) -> None:
    pace = 1_000 if "MINUTELY" in rule else 20 if "HOURLY" in rule else 1  # listing all takes its time
    at = first + later // pace // SECOND * SECOND
    try:
        listed = rrulestr(rule, dtstart=first).between(at - back, at, inc=True)
    except ValueError:  # dateutil finds a rule without a single occurrence, where the hours never fit the interval
        listed = []
    assert recurrence(rule, first).latest(at, at - back) == (listed[-1] if listed else None)


@pytest.mark.parametrize(
    ("rule", "days"),
    [
        ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", ["2026-01-30", "2026-02-27", "2026-03-31"]),
        ("FREQ=MONTHLY;BYDAY=-1SU", ["2026-01-25", "2026-02-22", "2026-03-29"]),
        ("FREQ=YEARLY;BYDAY=20MO", ["2026-05-18", "2027-05-17"]),
        ("FREQ=YEARLY;BYWEEKNO=1;BYDAY=MO", ["2027-01-04", "2028-01-03"]),
        ("FREQ=YEARLY;BYWEEKNO=53;BYDAY=SU", ["2027-01-03", "2033-01-02"]),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=SU", ["2026-01-11", "2026-01-13", "2026-01-25", "2026-01-27"]),
        ("FREQ=DAILY;COUNT=3", ["2026-01-01", "2026-01-02", "2026-01-03"]),
        ("FREQ=MONTHLY;BYMONTHDAY=31;COUNT=2", ["2026-01-31", "2026-03-31"]),
        ("RRULE:freq=weekly;byday=th;until=20260108", ["2026-01-01", "2026-01-08"]),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", ["2028-02-29"]),
    ],
)
def test_examples_of_rules(rule: str, days: list[str]) -> None:
    made, found = recurrence(rule, NEW_YEAR.replace(year=2026, hour=9)), []
    at = datetime.fromisoformat(days[-1]) + (40 * DAY if "COUNT" in rule or "until" in rule else DAY)
    while (newest := made.latest(at, made.first)) is not None:
        found.append(newest.date().isoformat())
        at = newest - SECOND
    assert found[::-1] == days


@pytest.mark.parametrize("until", ["20260702T003000Z", "20260702T023000", "20260702", "20260703T002959Z"])
def test_the_last_occurrence_is_named_in_utc_in_local_time_or_by_its_day(until: str) -> None:
    made = silence(recurs=f"FREQ=DAILY;UNTIL={until}", starts="2026-07-01T02:30", ends="2027-01-01")
    for hours, right in ((0, True), (24, False)):
        assert active(made, datetime(2026, 7, 2, 1, tzinfo=UTC) + hours * HOUR) is right
        assert active(made, datetime(2026, 7, 1, 1, tzinfo=UTC) + hours * HOUR)


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("every sunday", "its parts must be one of FREQ, INTERVAL"),
        ("FREQ=FORTNIGHTLY", "FREQ must be one of YEARLY"),
        ("INTERVAL=2", "FREQ must be one of"),
        ("FREQ=DAILY;BYHOUR=24", "BYHOUR must be from 0 to 23, and not '24'"),
        ("FREQ=DAILY;BYMONTHDAY=0", "BYMONTHDAY must be from -31 to 31"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL must be a whole number from 1"),
        ("FREQ=DAILY;BYDAY=2MO", "BYDAY=2MO needs FREQ=MONTHLY or FREQ=YEARLY"),
        ("FREQ=DAILY;UNTIL=2027-01-01", "UNTIL must be like 20271231T235959Z"),
        ("FREQ=DAILY;UNTIL=20270101;COUNT=2", "exclude each other"),
        ("FREQ=DAILY;FREQ=DAILY", "each name once"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30;COUNT=1", "too far off"),
        ("FREQ=SECONDLY;BYSETPOS=2;COUNT=1", "too far off"),
    ],
)
def test_what_is_no_rule_is_refused_with_the_reason(rule: str, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        silence(recurs=rule)


def test_a_silence_has_an_end_unless_it_comes_again() -> None:
    with pytest.raises(ValidationError, match="'ends' is needed"):
        silence(recurs="", lasts="0s")
    assert active(silence(), datetime(2040, 1, 1, 2, tzinfo=UTC))


def test_the_reason_says_when_the_occurrence_ends() -> None:
    muting = Muting(silences=[silence()])
    reason = muting.reason({"target": "sales-research"}, datetime(2026, 7, 1, 1, tzinfo=UTC))
    assert reason == "silenced by ops@example.com until 2026-07-01 02:30 UTC: nightly job"


# ── What it costs ─────────────────────────────────────────────────────────────────────────────────────────────────────


def calls(made: Silence, at: datetime) -> int:
    """Return how many functions of Python it takes to say whether the silence is in force, once the rule is read."""
    in_force_until(made, at)
    count = 0

    def seen(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(seen)
    try:
        in_force_until(made, at)
    finally:
        sys.setprofile(None)
    return count


def test_neither_age_nor_frequency_makes_a_silence_dearer() -> None:
    now = datetime(2026, 7, 1, 12, tzinfo=UTC)
    for rule in ("FREQ=SECONDLY", "FREQ=MINUTELY", "FREQ=HOURLY", "FREQ=DAILY", "FREQ=SECONDLY;BYHOUR=3"):
        young = calls(silence(recurs=rule, starts="2026-06-28", lasts="5m"), now)
        old = calls(silence(recurs=rule, starts="1990-01-01", lasts="5m"), now)
        assert old <= young, rule
        assert old < 120, rule


def test_labels_are_matched_before_any_time_is_reckoned(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("tocsin.core.mute.in_force_until", lambda silence, now: asked.append(silence.id))
    muting = Muting(silences=[silence(match={"rule": f"r{number}"}) for number in range(1_000)])
    now = datetime(2026, 7, 1, 12, tzinfo=UTC)
    for number in range(30):
        assert muting.reason({"rule": "other", "agent": str(number)}, now) == ""
    assert asked == []
    for number in range(30):
        muting.reason({"rule": "r7", "agent": str(number)}, now)
    assert len(asked) == 1
