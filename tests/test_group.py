"""Groups, where they are not the Alertmanager's, and what enters them at once."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tocsin.core import telling
from tocsin.core.audience import Route
from tocsin.core.fields import Severity
from tocsin.core.group import Group, Why, identity, reason, wait, without
from tocsin.core.message import Kind, Notice
from tocsin.core.mute import Muting
from tocsin.core.route import Node, compiled
from tocsin.core.telling import Audience, Entered, News

NOW = datetime(2026, 11, 20, 3, tzinfo=UTC)
HOUR = timedelta(hours=1)


def news(alert: str, number: int = 0, firing: bool = True, severity: str = "P2", **labels: str) -> News:
    kind = Kind.FIRED if firing else Kind.RESOLVED
    notice = Notice(f"{alert}-{number}", kind, f"{alert}/1", "r", "t", Severity(severity), NOW, "It fires")
    return News(alert, {"severity": severity, **labels}, notice, firing, NOW)


def tree(**said: object) -> Node:
    return compiled(Route.model_validate({"to": ["team"], "group_by": ["team"], **said}))


def whys(group: Group, node: Node, after: timedelta, acknowledged: tuple[str, ...] = ()) -> tuple[Group, list[Why]]:
    labels = {key: {"team": "a"} for key in group.members}
    flushed, made = telling.flush(group, node, Audience(node), Muting(), labels, NOW + after, acknowledged)
    return flushed, [each.why for each in made]


def only(entered: Entered) -> Group:
    (group,) = entered.groups.values()
    return group


def test_p0_and_p1_wait_for_nothing_unless_a_route_says_so() -> None:
    assert [wait(tree(), each).total_seconds() for each in Severity][:3] == [0, 0, 30]
    assert wait(tree(group_wait="10s"), Severity.P0) == timedelta(seconds=10)


def test_no_labels_spell_the_id_of_another_group() -> None:
    """Whatever telemetry puts into a value, and whatever the names of labels are."""
    pieces = ["a", "b", "=", ", ", ",", "\\", "{", "}", " ", "x"]
    texts = ["".join(some) for length in (1, 2, 3) for some in itertools.product(pieces, repeat=length)]
    node, chance = tree(), random.Random(7)
    every = {((name, text),) for text in texts for name in ("a", "a=x, b", "b")}
    every |= {(("a", one), ("b", other)) for one, other in (chance.sample(texts, 2) for _ in range(5_000))}
    every |= {(("a", "x" * count), ("b", "x" * (400 - count))) for count in range(1, 400)}
    assert len({identity(node, labels) for labels in every}) == len(every)


def test_a_groups_id_is_plain_for_plain_labels_and_never_long() -> None:
    assert identity(tree(), (("rule", "errors"), ("target", "sales-eu"))) == "routes {rule=errors, target=sales-eu}"
    assert len(identity(tree(), (("agent", "🙂" * 1_000), ("target", "x" * 1_000)))) == 300


def test_a_group_remembers_all_that_was_entered_at_once_and_little_of_each() -> None:
    """A crash before it is settled enters it once more, which changes nothing."""
    node = tree()
    many = [news(f"alert{number}" + "x" * 2_000) for number in range(1_000)]
    entered = only(telling.enter({}, Audience(node), many, NOW))
    flushed, _ = whys(entered, node, timedelta())
    gone = without(flushed, list(flushed.members), NOW)
    assert only(telling.enter({gone.id: gone}, Audience(node), many, NOW + HOUR)) is gone
    assert sum(map(len, entered.seen)) == 16 * 1_000


def test_a_group_knows_what_it_remembered_by_whole_ids() -> None:
    node, told = tree(), news("a")
    old = replace(only(telling.enter({}, Audience(node), [news("b")], NOW)), seen=(told.notice.id,))
    assert only(telling.enter({old.id: old}, Audience(node), [told], NOW)) is old


def test_a_repeat_falls_exactly_on_its_interval() -> None:
    node = tree(repeat_interval="1h")
    told, why = whys(only(telling.enter({}, Audience(node), [news("a")], NOW)), node, timedelta())
    assert why == [Why.FIRST]
    assert whys(told, node, HOUR - timedelta(seconds=1))[1] == [Why.NOTHING]
    assert whys(told, node, HOUR)[1] == [Why.REPEAT]


def test_a_group_is_not_repeated_while_all_of_it_is_acknowledged() -> None:
    node = tree(repeat_interval="1h")
    told, _ = whys(only(telling.enter({}, Audience(node), [news("a"), news("b")], NOW)), node, timedelta())
    assert whys(told, node, HOUR, ("a/1", "b/1"))[1] == [Why.ACKNOWLEDGED]
    assert whys(told, node, HOUR, ("a/1",))[1] == [Why.REPEAT]
    more = only(telling.enter({told.id: told}, Audience(node), [news("c")], NOW))
    assert whys(more, node, HOUR, ("a/1", "b/1", "c/1"))[1] == [Why.NEW]


def test_what_came_and_went_between_two_looks_is_told() -> None:
    node = tree()
    passed = [news("a"), news("a", 1, firing=False)]
    assert whys(only(telling.enter({}, Audience(node), passed, NOW)), node, HOUR)[1] == [Why.PASSED]
    assert whys(only(telling.enter({}, Audience(node), passed[1:], NOW)), node, HOUR)[1] == [Why.UNTOLD]


def test_sibling_routes_with_equal_matchers_and_receiver_are_told_each_by_itself() -> None:
    same = {"match": {"team": "a"}}
    node = tree(routes=[{**same, "continue": "true"}, same])
    entered = telling.enter({}, Audience(node), [news("a", team="a")], NOW)
    assert list(entered.groups) == ["routes[0] {team=a}", "routes[1] {team=a}"] == list(entered.names[0])
    places = telling.places(node)
    assert [whys(each, places[each.place], HOUR)[1] for each in entered.groups.values()] == [[Why.FIRST]] * 2


def test_several_receivers_of_a_route_are_told_each() -> None:
    node = tree(to=["team", "oncall"])
    assert whys(only(telling.enter({}, Audience(node), [news("a")], NOW)), node, HOUR)[1] == [Why.FIRST] * 2


@pytest.mark.parametrize("by", ["team", "...", "severity"])
@pytest.mark.parametrize("seed", range(10))
def test_what_enters_at_once_is_where_it_would_be_one_after_the_other(seed: int, by: str) -> None:
    chance = random.Random(seed)
    routes = [{"match": {"team": f"{n % 7}"}, "continue": "true" if n % 2 else "false"} for n in range(12)]
    audience = Audience(tree(group_by=[by], routes=routes))
    some = [
        news(f"a{chance.randrange(9)}", chance.randrange(12), chance.random() < 0.6, severity, team=team)
        for _ in range(60)
        for severity, team in [(chance.choice(("P1", "P2", "P3")), f"{chance.randrange(9)}")]
    ]
    known: dict[str, Group] = {}
    names = []
    for each in some:
        entered = telling.enter(known, audience, [each], NOW)
        known |= entered.groups
        names += entered.names
    assert telling.enter({}, audience, some, NOW) == Entered(known, names)


def test_a_reason_is_not_needed_for_what_was_never_told() -> None:
    assert reason(None, (), ("a",), NOW, HOUR) is Why.UNTOLD
