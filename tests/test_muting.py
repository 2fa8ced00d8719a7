"""What is not told, why, and for how long: inhibited, in quiet hours, silenced. What was told is told to its end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.switchboard import HOUR, MINUTE, Switchboard
from tocsin.core.ack import Acknowledgement, in_force
from tocsin.core.message import Kind

BLIND = {
    "source": {"match": {"rule": "telemetry_blind"}},
    "target": {"matchers": ["rule!=telemetry_blind"]},
    "equal": ["target"],
}
NIGHT = {"name": "night", "match": {"severity": "P3"}, "time_zone": "Europe/Berlin", "from": "22:00", "to": "06:00"}


# Inhibited


def test_a_target_whose_telemetry_is_gone_is_not_told_of_again() -> None:
    board = Switchboard(inhibit=[BLIND])
    blind = board.fires("telemetry_blind")
    board.tick()
    board.now += MINUTE
    board.fires("errors")
    board.fires("errors", target="other")
    board.wait(10 * MINUTE)
    assert [(each.rule, each.target) for each in board.program.got] == [
        ("telemetry_blind", "sales"),
        ("errors", "other"),
    ]
    assert board.held() == ["inhibited by telemetry_blind on sales"]
    board.ends(blind)
    board.wait(10 * MINUTE)
    assert [each.target for each in board.program.got if each.rule == "errors"] == ["other", "sales"]


def test_what_fires_in_the_same_tick_as_its_inhibitor_is_not_told() -> None:
    board = Switchboard(inhibit=[BLIND])
    board.fires("errors")
    board.fires("telemetry_blind")
    board.wait(10 * MINUTE)
    assert [each.rule for each in board.program.got] == ["telemetry_blind"]


# Quiet hours


def told_at(board: Switchboard, start: datetime, hours: int) -> datetime | None:
    """Let a P3 fire at ``start`` and return when somebody was told, looking every five minutes."""
    board.now = start
    board.fires("slow", "P3")
    for _ in range(hours * 12):
        board.wait(5 * MINUTE, 5 * MINUTE)
        if board.people.got:
            return board.now
    return None


@pytest.mark.parametrize(
    ("fires", "told"),
    [
        # Berlin is at UTC+1 until 29 March 2026 01:00 UTC, then at UTC+2 until 25 October 01:00 UTC.
        (datetime(2026, 1, 15, 22, 0, tzinfo=UTC), datetime(2026, 1, 16, 5, 0, tzinfo=UTC)),
        (datetime(2026, 3, 28, 22, 0, tzinfo=UTC), datetime(2026, 3, 29, 4, 0, tzinfo=UTC)),
        (datetime(2026, 10, 24, 21, 0, tzinfo=UTC), datetime(2026, 10, 25, 5, 0, tzinfo=UTC)),
    ],
)
def test_quiet_hours_over_midnight_go_by_the_clock_on_the_wall(fires: datetime, told: datetime) -> None:
    board = Switchboard(quiet_hours=[NIGHT])
    found = told_at(board, fires, 10)
    assert found is not None
    assert told <= found <= told + 5 * MINUTE, "it still fires when the quiet ends: it is told at the next look"
    assert board.held("slow") == ["quiet hours: night"]


def test_quiet_hours_are_for_whom_they_name() -> None:
    board = Switchboard(quiet_hours=[NIGHT])
    board.now = datetime(2026, 1, 15, 23, 0, tzinfo=UTC)
    board.fires("errors", "P1")
    board.tick()
    assert board.people.kinds() == ["fired"]


# Silenced


def test_what_still_fires_when_its_silence_ends_is_told() -> None:
    board = Switchboard()
    board.silence("rule=errors", HOUR)
    board.fires()
    board.wait(HOUR - MINUTE)
    assert board.people.got == board.program.got == []
    assert board.held() == ["silenced by ann until 2026-11-20 04:00 UTC: known"]
    board.wait(6 * MINUTE)
    assert board.people.kinds() == board.program.kinds() == ["fired"]


def test_what_began_and_ended_within_a_silence_is_never_told() -> None:
    board = Switchboard()
    board.silence("rule=errors", HOUR)
    episode = board.fires()
    board.wait(10 * MINUTE)
    board.ends(episode)
    board.wait(2 * HOUR)
    assert board.people.got == board.program.got == []


def test_the_end_of_what_was_told_comes_through_a_silence() -> None:
    board = Switchboard(routes={"to": ["people", "program"], "repeat_interval": "1h"})
    episode = board.fires()
    board.tick()
    board.silence("rule=errors", 5 * HOUR)
    board.wait(2 * HOUR)
    assert board.people.kinds() == ["fired"], "no reminder of what is silenced"
    board.ends(episode)
    board.wait(10 * MINUTE)
    assert board.people.kinds() == board.program.kinds() == ["fired", "resolved"]


def test_what_was_told_and_silenced_is_not_told_anew_when_the_silence_ends() -> None:
    board = Switchboard()
    board.fires()
    board.tick()
    board.silence("rule=errors", HOUR)
    board.wait(2 * HOUR)
    assert board.program.kinds() == ["fired"]


def test_a_silence_in_the_file_holds_until_it_expires() -> None:
    code = {"match": {"rule": "errors"}, "author": "ann", "comment": "moving", "ends": "2026-11-20T05:00:00Z"}
    board = Switchboard(silences=[code])
    board.fires()
    board.fires("slow")
    board.wait(2 * HOUR - MINUTE)
    assert [each.rule for each in board.program.got] == ["slow"]
    board.wait(6 * MINUTE)
    assert [each.rule for each in board.program.got] == ["slow", "errors"]


@pytest.mark.parametrize(
    ("day", "begins"),
    [(datetime(2026, 3, 27, tzinfo=UTC), 8), (datetime(2026, 3, 30, tzinfo=UTC), 7)],
)
def test_a_silence_that_recurs_keeps_its_hour_on_the_wall_through_summer_time(day: datetime, begins: int) -> None:
    code = {
        "match": {"rule": "errors"},
        "author": "ann",
        "comment": "the nightly load",
        "starts": "2026-01-05T08:00:00Z",
        "ends": "2027-01-01",
        "recurs": "FREQ=DAILY",
        "lasts": "30m",
        "time_zone": "Europe/Berlin",
    }
    for minutes, silent in ((-10, False), (10, True), (20, True), (31, False)):
        board = Switchboard(silences=[code])
        board.now = day + timedelta(hours=begins, minutes=minutes)
        board.fires()
        board.tick()
        assert (board.people.got == []) is silent, minutes


def test_a_silence_that_recurs_and_is_stored_expires_too() -> None:
    board = Switchboard()
    board.silence("rule=errors", 47 * HOUR, rule="FREQ=DAILY", lasts=HOUR)
    start = board.now
    for hours, silent in ((0, True), (12, False), (24, True), (48, False)):
        board.now = start + hours * HOUR + MINUTE
        board.fires(agent=str(hours))
        board.tick()
        assert (board.held(f"errors/sales/{hours}") != []) is silent, hours


def test_what_went_wrong_with_production_comes_through_a_silence_and_what_went_well_does_not() -> None:
    board = Switchboard()
    board.silence("rule=errors", HOUR)
    episode = board.fires()
    board.tick()
    board.happens(Kind.ACTED, episode)
    board.tick()
    assert board.people.got == []
    board.now += MINUTE
    board.happens(Kind.FAILED, episode)
    board.tick()
    assert board.people.kinds() == board.program.kinds() == ["action failed"]


# A clock that was ahead


def test_what_a_clock_that_was_ahead_wrote_delays_nothing() -> None:
    """The clock is set back by a year: new alerts, ends and reminders come as if it had never been ahead."""
    board = Switchboard(routes={"to": ["people", "program"], "repeat_interval": "1h"})
    now = board.now
    board.now = now + timedelta(days=365)
    board.fires()
    board.tick()
    board.fires(agent="b")  # waits for the group's interval
    board.tick()
    board.now = now
    board.fires(agent="c")
    board.wait(6 * MINUTE)
    assert {each.title for each in board.program.got if each.kind is Kind.FIRED} != set()
    told = len(board.people.got)
    assert told >= 2, "the alerts that wait are told within the interval"
    board.wait(2 * HOUR)
    assert len(board.people.got) > told, "they are reminded of"


def test_an_acknowledgement_from_a_clock_that_was_ahead_holds_nothing_back() -> None:
    now = datetime(2026, 11, 20, 3, tzinfo=UTC)
    far = now + timedelta(days=365)
    assert not in_force(Acknowledgement("e", "ann", far, far + HOUR), now)
    assert in_force(Acknowledgement("e", "ann", now + 2 * MINUTE, now + HOUR), now)
