"""Who is told: the first child that matches, unless it says otherwise; nobody is told twice and nobody forgotten."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.audience import Route
from tocsin.core.matching import accepted, parse
from tocsin.core.route import Node, compiled, ends

TREE = Route.model_validate(
    {
        "to": ["team"],
        "routes": [
            {"match": {"severity": ["P0", "P1"]}, "to": ["oncall", "team"]},
            {
                "match": {"team": "billing"},
                "to": ["billing"],
                "continue": "true",
                "routes": [{"match": {"severity": "P2"}, "to": "billing-lead"}, {"match": {"target": "x"}}],
            },
            {"match": {"env": "test"}, "to": ["log"]},
        ],
    }
)


def told_by(tree: Route, labels: dict[str, str]) -> list[str]:
    """Return who is told, each once, in the order of the routes."""
    return list(dict.fromkeys(name for node in ends(compiled(tree), labels) for name in node.to))


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ({}, ["team"]),
        ({"severity": "P1"}, ["oncall", "team"]),
        ({"severity": "P0", "team": "billing"}, ["oncall", "team"]),
        ({"severity": "P3", "team": "billing"}, ["billing"]),
        ({"severity": "P2", "team": "billing"}, ["billing-lead"]),
        ({"severity": "P3", "team": "billing", "target": "x"}, ["billing"]),
        ({"severity": "P3", "team": "billing", "env": "test"}, ["billing", "log"]),
        ({"env": "prod"}, ["team"]),
    ],
)
def test_labels_find_their_receivers_in_order(labels: dict[str, str], told: list[str]) -> None:
    assert told_by(TREE, labels) == told


def test_each_end_says_where_it_stands_and_why() -> None:
    (found,) = ends(compiled(TREE), {"severity": "P1"})
    assert (found.place, found.why) == ("routes[0]", "severity=P0|P1")
    assert [each.why for each in ends(compiled(TREE), {})] == ["default"]


def test_a_missing_label_matches_only_the_empty_text() -> None:
    assert accepted(Route.model_validate({"match": {"team": ""}}).matching, {})
    assert not accepted(Route.model_validate({"match": {"team": "a"}}).matching, {})


@pytest.mark.parametrize(
    ("text", "yes", "no"),
    [
        ("severity=P1", ["P1"], ["P2", "", "P10"]),
        ('severity="P1"', ["P1"], ["P2"]),
        ("severity!=P1", ["P2", ""], ["P1"]),
        ("severity=~P[01]", ["P0", "P1"], ["P2", "P01", ""]),
        ('severity=~"P0|P1"', ["P0", "P1"], ["P2", "P0|P1"]),
        ('severity!~".+"', [""], ["P1"]),
        ('severity = "a \\"b\\""', ['a "b"'], ["a b"]),
        ("severity=", [""], ["P1"]),
        ("severity=~x.*", ["x" + "y" * 5_000], ["y"]),
    ],
)
def test_matchers_are_written_as_the_alertmanager_writes_them(text: str, yes: list[str], no: list[str]) -> None:
    matcher = parse(text)
    assert all(matcher.accepts({"severity": value} if value else {}) for value in yes)
    assert not any(matcher.accepts({"severity": value}) for value in no)


@pytest.mark.parametrize("text", ["", "P1", "=P1", "sev erity=P1", "severity=~[", "severity~P1", "1a=b"])
def test_what_is_no_matcher_is_refused_with_the_way_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"matcher|expression"):
        parse(text)


def test_what_a_route_does_not_say_it_has_from_the_one_above() -> None:
    tree = compiled(
        Route.model_validate(
            {
                "to": "team",
                "group_by": "target",
                "group_wait": "10s",
                "routes": [
                    {"match": {"a": "1"}, "repeat_interval": "1h", "routes": [{"match": {"b": "1"}, "to": "x"}]}
                ],
            }
        )
    )
    (leaf,) = ends(tree, {"a": "1", "b": "1"})
    assert (leaf.to, leaf.group_by, leaf.group_wait) == (("x",), ("target",), timedelta(seconds=10))
    assert (leaf.repeat_interval, leaf.group_interval) == (timedelta(hours=1), timedelta(minutes=5))


LABELS = st.dictionaries(
    st.sampled_from(["severity", "team", "env", "target"]), st.sampled_from(["P1", "P2", "x", "test"])
)


def trees(depth: int) -> st.SearchStrategy[Route]:
    children = st.lists(trees(depth - 1), max_size=3) if depth else st.just([])
    return st.builds(
        lambda match, to, go_on, routes: Route(match=match, to=to, continue_=go_on, routes=tuple(routes)),
        LABELS.map(lambda found: {key: (value,) for key, value in found.items()}),
        st.lists(st.sampled_from("abcd"), max_size=2).map(tuple),
        st.booleans(),
        children,
    )


@given(trees(3), LABELS)
def test_a_tree_with_a_default_leaves_no_alert_untold(tree: Route, labels: dict[str, str]) -> None:
    rooted = tree.model_copy(update={"to": ("z",), "match": {}})
    assert told_by(rooted, labels)


@given(st.lists(trees(1), min_size=9, max_size=14), LABELS)
def test_a_tree_that_is_looked_up_tells_who_a_tree_that_is_walked_tells(
    children: list[Route], labels: dict[str, str]
) -> None:
    tree = compiled(Route(to=("z",), routes=tuple(children)))
    walked = without_index(tree)
    assert [each.place for each in ends(tree, labels)] == [each.place for each in ends(walked, labels)]


def without_index(node: Node) -> Node:
    return replace(node, index={}, children=tuple(map(without_index, node.children)))
