"""Who is told, when and why: groups, repeats, acknowledgements, escalations, routes that change, floods."""

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


# Routes


def test_labels_that_only_a_deeper_route_asks_for_lead_there() -> None:
    deep = {"match": {"target": "sales"}, "routes": [{"match": {"agent": "b"}, "to": "boss"}]}
    board = Switchboard(routes={"to": "people", "routes": [{**deep, "to": "program"}]})
    board.fires(agent="a")
    board.fires(agent="b")
    board.fires(target="other", agent="b")
    board.tick()
    assert [each.labels["agent"] for each in board.program.got] == ["a"]
    assert [each.labels["agent"] for each in board.boss.got] == ["b"]
    assert [each.target for each in board.people.got] == ["other"]


def test_a_tree_without_receivers_tells_the_fallback() -> None:
    board = Switchboard(routes={"routes": [{"match": {"rule": "slow"}, "to": "people"}]}, fallback="boss")
    episode = board.fires()
    board.tick()
    board.ends(episode)
    board.wait(5 * MINUTE)
    assert board.boss.kinds() == ["fired", "resolved"]
    assert board.people.got == []


def test_a_receiver_that_does_not_hear_of_ends_hears_of_every_beginning() -> None:
    receivers = {"people": {"type": "x", "resolved": "false"}, "program": {"type": "x", "resolved": "false"}}
    board = Switchboard(receivers=receivers, **BY_TARGET)
    first = board.fires("errors")
    board.tick()
    board.now += MINUTE
    board.ends(board.fires("slow"))
    board.wait(5 * MINUTE)
    assert board.program.kinds() == ["fired", "fired"]
    assert [each.rule for each in board.program.got] == ["errors", "slow"]
    assert board.people.kinds() == ["fired", "fired"]
    board.ends(first)
    board.wait(10 * MINUTE)
    assert board.program.kinds() == board.people.kinds() == ["fired", "fired"]
    board.fires("errors")
    board.wait(5 * MINUTE)
    assert len(board.program.got) == len(board.people.got) == 3, "what fires again is new"


def test_a_route_that_disappears_while_a_group_waits_loses_nothing() -> None:
    route = {"match": {"rule": "errors"}, "group_wait": "10m", "to": "program"}
    board = Switchboard(routes={"to": "people", "routes": [route]})
    episode = board.fires()
    board.wait(3 * MINUTE)
    board.configure(routes={"to": "people"})
    board.wait(10 * MINUTE)
    assert (board.people.kinds(), board.program.kinds()) == (["fired"], [])
    board.ends(episode)
    board.wait(10 * MINUTE)
    assert board.people.kinds() == ["fired", "resolved"]
    board.writes()
    board.wait(HOUR)
    assert board.writes() == []


@pytest.mark.parametrize("wait", ["0s", "2m", "10m"])
def test_a_route_that_disappears_when_its_group_is_due_stops_no_tick(wait: str) -> None:
    route = {"match": {"rule": "errors"}, "group_wait": wait, "to": "people"}
    board = Switchboard(routes={"to": "people", "routes": [route]})
    episode = board.fires()
    board.wait(2 * MINUTE)
    board.configure(routes={"to": "people"})
    board.now += HOUR
    board.tick()
    assert board.people.kinds() == ["fired"]
    board.ends(episode)
    board.wait(10 * MINUTE)
    assert board.people.kinds() == ["fired", "resolved"], "who was told of it hears of its end"


def test_a_route_that_is_put_before_another_takes_nothing_from_it() -> None:
    own = {"match": {"rule": "errors"}, "to": "program"}
    board = Switchboard(routes={"to": "people", "routes": [own]})
    told, waiting = board.fires(), board.fires("slow", "P3")
    board.tick()
    board.configure(routes={"to": "people", "routes": [{"match": {"rule": "slow"}, "to": "boss"}, own]})
    board.wait(10 * MINUTE)
    assert [each.rule for each in board.boss.got] == ["slow"]
    assert [each.rule for each in board.program.got] == ["errors"]
    board.ends(told, waiting)
    board.wait(10 * MINUTE)
    assert board.program.open == board.boss.open == set()
    assert board.program.kinds() == board.boss.kinds() == ["fired", "resolved"]


def test_who_is_not_routed_to_any_more_hears_the_end_of_what_was_told_and_nothing_else() -> None:
    board = Switchboard(routes={"to": ["people", "program"]})
    first = board.fires()
    board.tick()
    board.configure(routes={"to": "people"})
    board.wait(5 * HOUR)
    assert (len(board.people.got), len(board.program.got)) == (2, 1), "no reminder"
    board.ends(first)
    board.wait(10 * MINUTE)
    assert board.program.kinds() == ["fired", "resolved"]


def test_routes_that_change_places_change_nothing_for_what_is_told() -> None:
    one, two = {"match": {"rule": "errors"}, "to": "program"}, {"match": {"rule": "slow"}, "to": "boss"}
    board = Switchboard(routes={"to": "people", "group_by": ["target"], "routes": [one, two]})
    episodes = [board.fires("errors"), board.fires("slow")]
    board.tick()
    for order in ([two, one], [one, two], [two, one]):
        board.configure(routes={"to": "people", "group_by": ["target"], "routes": order})
        board.wait(10 * MINUTE)
    board.ends(*episodes)
    board.wait(10 * MINUTE)
    assert board.program.kinds() == board.boss.kinds() == ["fired", "resolved"]
    assert board.people.got == []


# Floods


def test_a_flood_is_one_digest_a_receiver_and_ends_with_the_last_of_its_alerts() -> None:
    board = Switchboard(storm="5")
    episodes = [board.fires(f"rule{number}") for number in range(8)]
    board.tick()
    assert len(board.people.got) == len(board.program.got) == 1
    assert board.program.got[0].title.startswith("8 messages at once: 8 firing, 0 over")
    (incident,) = board.program.opened
    board.now += MINUTE
    board.ends(*episodes[:7])
    board.wait(10 * MINUTE)
    assert board.program.open == {incident}
    board.ends(episodes[7])
    board.wait(10 * MINUTE)
    assert board.program.open == set()
    assert board.program.opened == [incident]


def test_a_flood_of_ends_leaves_no_incident_open() -> None:
    board = Switchboard(storm="5")
    episodes = [board.fires(f"rule{number}") for number in range(4)]
    board.tick()
    board.now += 10 * MINUTE
    episodes += [board.fires(f"rule{number}") for number in range(4, 8)]
    board.tick()
    assert len(board.program.open) == 8
    board.ends(*episodes)
    board.wait(10 * MINUTE)
    assert board.program.open == set()
    assert [title for title in titles(board.people) if "at once" in title] == [
        "8 messages at once: 0 firing, 8 over. Each is in `tocsin alerts`."
    ], "people read one message"


def test_a_flood_within_one_group_ends_once() -> None:
    board = Switchboard(storm="5")
    episodes = [board.fires(agent=f"a{number}") for number in range(8)]
    board.tick()
    assert len(board.program.got) == 1
    board.now += MINUTE
    board.ends(*episodes)
    board.wait(10 * MINUTE)
    assert board.program.kinds() == ["fired", "resolved"]
    assert board.program.open == set()
