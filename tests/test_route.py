"""Who is told: the first child that matches, unless it says otherwise; nobody is told twice and nobody forgotten."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.config import Route
from tocsin.core.route import matches, receivers

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
    assert [each.receiver for each in receivers(TREE, labels)] == told


def test_each_receiver_says_which_route_named_it() -> None:
    whys = [each.why for each in receivers(TREE, {"severity": "P1"})]
    assert whys == ["routes[0] (severity=P0|P1)"] * 2
    assert receivers(TREE, {})[0].why == "routes (default)"


def test_a_missing_label_matches_only_the_empty_text() -> None:
    assert matches(Route.model_validate({"match": {"team": ""}}), {})
    assert not matches(Route.model_validate({"match": {"team": "a"}}), {})


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
def test_a_tree_with_a_default_leaves_no_alert_untold_and_tells_nobody_twice(
    tree: Route, labels: dict[str, str]
) -> None:
    told = [each.receiver for each in receivers(tree.model_copy(update={"to": ("z",)}), labels)]
    assert told
    assert len(told) == len(set(told))
