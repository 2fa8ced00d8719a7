"""Routes that lead elsewhere from one day to the next, and floods: nobody is left out, and nothing stays open."""

from __future__ import annotations

import pytest

from tests.switchboard import HOUR, MINUTE, Switchboard, titles

BY_TARGET = {"routes": {"to": ["people", "program"], "group_by": ["target"]}}


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


def test_what_comes_back_to_a_group_by_other_routes_is_told_to_its_end_there() -> None:
    both = {"to": ["people", "program"], "group_by": ["target"]}
    board = Switchboard(routes=both)
    first, _ = board.fires("errors"), board.fires("slow")
    board.tick()
    board.ends(first)
    board.wait(6 * MINUTE)
    board.configure(routes={**both, "routes": [{"match": {"rule": "errors"}, "group_by": "rule"}]})
    again = board.fires("errors")
    board.wait(6 * MINUTE)
    board.configure(routes=both)
    board.wait(6 * MINUTE)
    board.ends(again)
    board.wait(6 * MINUTE)
    assert [each.kind.value for each in board.program.got if each.rule == "errors"] == ["fired", "resolved"] * 2


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
