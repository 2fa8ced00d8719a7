"""Who is told, when and why: groups, repeats, acknowledgements, escalations."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.switchboard import HOUR, MINUTE, SECOND, Switchboard, titles
from tocsin.core.message import Kind

BY_TARGET = {"routes": {"to": ["people", "program"], "group_by": ["target"]}}


# Groups


def test_a_p1_is_told_at_once() -> None:
    board = Switchboard()
    board.fires(severity="P1")
    board.tick()
    assert board.people.kinds() == board.program.kinds() == ["fired"]


def test_a_p3_waits_for_company_and_is_told_with_what_joined_it() -> None:
    board = Switchboard(**BY_TARGET)
    board.fires("slow", "P3")
    board.tick()
    board.now += 20 * SECOND
    board.fires("costly", "P3")
    board.tick()
    assert board.people.got == board.program.got == []
    board.wait(10 * SECOND, 10 * SECOND)
    assert titles(board.people) == ["2 firing: costly, slow on sales"]
    assert sorted(titles(board.program)) == ["costly fired on sales", "slow fired on sales"]


def test_a_new_member_is_told_at_the_next_interval_and_not_before() -> None:
    board = Switchboard(**BY_TARGET)
    board.fires("errors")
    board.tick()
    board.now += MINUTE
    board.fires("slow")
    board.wait(3 * MINUTE)
    assert len(board.people.got) == len(board.program.got) == 1
    board.wait(MINUTE)
    assert titles(board.people)[1:] == ["2 firing: errors, slow on sales"]
    assert titles(board.program)[1:] == ["slow fired on sales"], "a program is told what is new, and nothing twice"


def test_what_still_fires_is_said_again_after_the_repeat_interval() -> None:
    board = Switchboard(routes={"to": ["people", "program"], "repeat_interval": "1h"})
    board.fires()
    board.tick()
    board.wait(59 * MINUTE)
    assert len(board.people.got) == 1
    board.wait(MINUTE)
    assert titles(board.people)[1:] == titles(board.program)[1:] == ["Still: errors fired on sales"]
    board.wait(HOUR)
    assert len(board.people.got) == len(board.program.got) == 3
    assert len(board.program.opened) == 1


def test_with_nothing_new_nobody_is_told_and_nothing_is_written() -> None:
    board = Switchboard()
    board.fires()
    board.tick()
    board.wait(10 * MINUTE)
    board.writes()
    board.wait(2 * HOUR)
    assert board.writes() == []


def test_several_instances_in_one_group_are_one_message_to_people_and_one_an_episode_to_a_program() -> None:
    board = Switchboard()
    episodes = [board.fires(agent=name) for name in ("a", "b", "c")]
    board.tick()
    assert titles(board.people) == ["3 firing: errors on sales"]
    assert [each.episode for each in board.program.got] == [each.id for each in episodes]
    board.now += MINUTE
    board.ends(*episodes[:2])
    board.wait(5 * MINUTE)
    assert titles(board.people)[1:] == ["1 firing, 2 over: errors on sales"]
    assert board.program.open == {episodes[2].id}


def test_news_in_the_very_tick_of_a_look_does_not_put_it_off() -> None:
    board = Switchboard(routes={"to": ["people", "program"], "group_by": ["target"]})
    board.fires("errors")
    board.tick()
    board.now += MINUTE
    board.fires("slow")
    board.wait(3 * MINUTE)
    for number in range(3):
        board.now += 100 * SECOND
        board.fires(f"late{number}")
        board.tick()
    assert sorted(each.rule for each in board.program.got)[:3] == ["errors", "late0", "slow"]


def test_what_came_and_went_between_two_looks_is_told_to_its_end() -> None:
    board = Switchboard(**BY_TARGET)
    board.fires("errors")
    board.tick()
    board.now += MINUTE
    board.ends(board.fires("slow"))
    board.wait(5 * MINUTE)
    assert [each.kind.value for each in board.program.got if each.rule == "slow"] == ["fired", "resolved"]
    assert "1 over" in titles(board.people)[1]


def test_an_episode_that_ends_and_begins_again_between_two_looks_keeps_its_incident() -> None:
    board = Switchboard()
    first = board.fires()
    board.tick()
    board.now += MINUTE
    board.ends(first)
    board.wait(MINUTE)
    again = board.fires()
    board.wait(10 * MINUTE)
    assert board.program.opened == [first.id]
    assert board.program.open == {first.id}, "nobody is told that it was over for a moment"
    board.ends(again)
    board.wait(10 * MINUTE)
    assert board.program.open == set()
    assert board.program.opened == [first.id]
    assert board.program.got[-1].episode == first.id, "the end comes under the key that the receiver knows"


def test_an_end_that_arrives_after_the_next_beginning_does_not_end_that() -> None:
    board = Switchboard()
    first = board.fires()
    board.tick()
    board.now += MINUTE
    over = first.notice(Kind.RESOLVED, board.now)
    board.now += MINUTE
    again = board.fires()
    board.tick()
    board.enter(over)
    board.wait(10 * MINUTE)
    assert board.program.open == {first.id}
    board.ends(again)
    board.wait(10 * MINUTE)
    assert board.program.open == set()


def test_what_is_done_is_told_at_once_and_after_what_it_is_about() -> None:
    board = Switchboard(**BY_TARGET)
    board.fires("errors")
    board.tick()
    board.now += MINUTE
    waiting = board.fires("slow")
    board.tick()
    board.now += MINUTE
    board.happens(Kind.ACTED, waiting)
    board.tick()
    assert [each.kind.value for each in board.program.got if each.rule == "slow"] == ["fired", "acted"]
    assert board.people.kinds() == ["fired", "fired", "acted"]


# Acknowledged


def test_nobody_is_reminded_of_what_a_person_has_taken_on_until_that_ends_with_the_episode() -> None:
    board = Switchboard(routes={"to": ["people", "program"], "repeat_interval": "1h"}, escalate=[{"to": "boss"}])
    taken = board.fires()
    board.tick()
    board.acknowledge(taken)
    board.wait(5 * HOUR)
    assert len(board.people.got) == len(board.program.got) == 1
    assert board.boss.got == []
    board.ends(taken)
    board.wait(10 * MINUTE)
    assert board.people.kinds() == board.program.kinds() == ["fired", "resolved"]
    board.fires()
    board.wait(2 * HOUR + 5 * MINUTE)
    assert board.people.kinds()[2:] == ["fired", "fired", "fired"], "another episode is nobody's yet"
    assert len(board.boss.got) == 1


def test_an_acknowledgement_that_runs_out_reminds_again() -> None:
    board = Switchboard(routes={"to": ["people"], "repeat_interval": "1h"})
    board.acknowledge(board.fires(), 3 * HOUR)
    board.tick()
    board.wait(3 * HOUR - MINUTE)
    assert len(board.people.got) == 1
    board.wait(2 * MINUTE)
    assert len(board.people.got) == 2


def test_beside_an_alert_that_was_taken_on_a_program_is_reminded_of_the_others_alone() -> None:
    board = Switchboard(routes={"to": ["people", "program"], "repeat_interval": "1h", "group_by": ["target"]})
    board.acknowledge(board.fires("errors"))
    board.fires("slow")
    board.tick()
    board.wait(HOUR)
    assert [each for each in titles(board.program) if each.startswith("Still")] == ["Still: slow fired on sales"]


# Escalated


@pytest.mark.parametrize(
    ("severity", "after"), [("P0", 15 * MINUTE), ("P1", 30 * MINUTE), ("P2", 2 * HOUR), ("P3", None)]
)
def test_what_nobody_takes_on_is_escalated_once_and_its_end_is_told_there_too(
    severity: str, after: timedelta | None
) -> None:
    board = Switchboard(escalate=[{"to": "boss"}])
    episode = board.fires(severity=severity)
    board.tick()
    board.wait((after or 3 * HOUR) - MINUTE)
    assert board.boss.got == []
    board.wait(3 * HOUR)
    assert board.boss.kinds() == (["fired"] if after else [])
    assert all("Nobody acknowledged this for" in title for title in titles(board.boss))
    board.ends(episode)
    board.wait(10 * MINUTE)
    assert board.boss.kinds() == (["fired", "resolved"] if after else [])
    assert board.boss.open == set()


def test_escalations_have_their_own_times_and_each_comes_once() -> None:
    steps = [{"to": "boss", "unacknowledged_for": "10m"}, {"to": "people", "unacknowledged_for": "20m"}]
    board = Switchboard(routes={"to": "program"}, escalate=steps)
    board.fires(severity="P3")
    board.wait(10 * MINUTE)
    assert (len(board.boss.got), len(board.people.got)) == (1, 0)
    board.wait(2 * HOUR)
    assert (len(board.boss.got), len(board.people.got)) == (1, 1)


def test_an_escalation_within_one_receiver_is_no_second_incident() -> None:
    board = Switchboard(escalate=[{"to": "program", "unacknowledged_for": "10m"}])
    first = board.fires()
    board.tick()
    board.now += MINUTE
    board.ends(first)
    board.tick()
    again = board.fires()
    board.wait(15 * MINUTE)
    assert board.program.kinds() == ["fired", "fired"]
    assert board.program.opened == [first.id]
    board.ends(again)
    board.wait(10 * MINUTE)
    assert board.program.open == set()


def test_what_is_held_is_not_escalated_not_even_when_it_is_held_since_a_moment_ago() -> None:
    board = Switchboard(escalate=[{"to": "boss"}])
    board.fires()
    board.wait(29 * MINUTE)
    board.silence("rule=errors", 2 * HOUR)
    board.wait(2 * HOUR - MINUTE)
    assert board.boss.got == []
    board.wait(10 * MINUTE)
    assert len(board.boss.got) == 1


def test_a_group_whose_time_was_set_by_a_clock_that_was_ahead_is_notified_at_once() -> None:
    board = Switchboard()
    board.now += 40 * MINUTE
    board.silence("target=sales", 5 * MINUTE, starts=board.now)
    board.fires("errors")
    board.tick()
    board.now -= 40 * MINUTE
    board.wait(2 * MINUTE)
    assert titles(board.program) == ["errors fired on sales"]
