"""Who is told: the first child that matches, unless it says otherwise; nobody is told twice and nobody forgotten."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core import matching
from tocsin.core.audience import Route
from tocsin.core.matching import Matcher, accepted, parse
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
        (r'severity=~"a\\.b"', ["a.b"], ["axb"]),
        (r'severity=~"a\.b"', ["a.b"], ["axb"]),
        (r'severity="a\nb"', ["a b"], ["anb"]),
        (r'severity="C:\x"', [r"C:\x"], ["C:x"]),
        ("severity=", [""], ["P1"]),
        ("severity=~x.*", ["x" + "y" * 5_000], ["y"]),
        ("severity=~a|ab", ["a", "ab"], ["b", "aab"]),
    ],
)
def test_matchers_are_written_as_the_alertmanager_writes_them(text: str, yes: list[str], no: list[str]) -> None:
    matcher = parse(text)
    assert all(matcher.accepts({"severity": value} if value else {}) for value in yes)
    assert not any(matcher.accepts({"severity": value}) for value in no)


@pytest.mark.parametrize(
    "text", ["", "P1", "=P1", "sev erity=P1", "severity=~[", "severity~P1", "1a=b", "severity=~a)(b"]
)
def test_what_is_no_matcher_is_refused_with_the_way_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"matcher|expression"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("env==prod", "write env=prod"),
        ("env == prod", "write env=prod"),
        ("env!==prod", "write env!=prod"),
        ("agent='x'", 'write agent="x"'),
        ('agent="x', 'write agent="x"'),
        ('agent=x"', 'write agent="x"'),
        ("agent=~`a.*`", 'write agent=~"a.*"'),
    ],
)
def test_a_matcher_that_is_surely_meant_otherwise_is_refused_with_the_way_to_write_it(text: str, meant: str) -> None:
    with pytest.raises(ValueError, match=re.escape(meant)):
        parse(text)


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        (r"(a|b)-\1", "escape sequence"),
        ("(?=prod).*", "perl operator"),
        ("(?<!test)-api", "perl operator|capture"),
        ("(?>a+)b", "perl operator"),
        ("a{1001}", "repetition"),
        (r"\pL{1000}", "too large"),
        (r"prod\Z", "escape sequence"),
    ],
)
def test_a_pattern_that_cannot_be_matched_in_linear_time_is_refused_with_the_reason(expression: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"RE2's dialect: .*({why}).*no lookaround"):
        parse(f"agent=~{expression}")


def test_a_stored_pattern_that_is_not_in_the_dialect_accepts_nothing() -> None:
    for op in ("=~", "!~"):
        assert not Matcher("agent", op, ("(?=a).*",)).accepts({"agent": "a"})


def test_a_lone_surrogate_is_a_letter_like_any_other() -> None:
    assert parse("agent=~a.b").accepts({"agent": "a\ud800b"})
    assert not parse("agent=~[a-z]+").accepts({"agent": "a\ud800b"})


# Patterns whose time grows with the square or worse where a matcher goes back, on values that almost match. With `re`
# the last values would take longer than the universe has existed: that this ends at all is the assertion.
ADVERSARIAL = (
    ("([a-z0-9]+-?)+", "abcdefghijklmnopqrstuvwx (prod)"),
    ("(a+)+", "a" * 100_000 + "!"),
    ("(a|a)*", "a" * 100_000 + "!"),
    ("(a|aa)+", "a" * 100_000 + "!"),
    ("(.*a){20}", "a" * 19 + "b" * 100_000),
    ("(.*)(.*)(.*)(.*)(.*)x", "y" * 100_000),
    ("(\\w+\\s?)+", "word " * 20_000 + "!"),
    ("(.+)*(.+)*(.+)*é", "\u202e\ud800e\u0301" * 20_000),
)


@pytest.mark.parametrize(("expression", "value"), ADVERSARIAL)
def test_no_value_makes_a_matcher_slow(expression: str, value: str) -> None:
    assert not parse(f"agent=~{expression}").accepts({"agent": value})


ATOMS = st.sampled_from(["a", "b", "-", ".", "[ab]", "[^a]", "é", r"\."])


def grown(inside: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    repeated = st.builds(
        lambda part, often: f"({part}){often}", inside, st.sampled_from(["*", "+", "?", "{1,3}", "*?"])
    )
    return repeated | st.builds("({}|{})".format, inside, inside) | st.builds("{}{}".format, inside, inside)


@given(st.recursive(ATOMS, grown, max_leaves=5), st.text("ab-.é\n", max_size=6))
def test_small_patterns_accept_what_they_accept_in_python(expression: str, value: str) -> None:
    expected = re.fullmatch(expression, value) is not None
    assert Matcher("agent", "=~", (expression,)).accepts({"agent": value}) is expected
    assert Matcher("agent", "!~", (expression,)).accepts({"agent": value}) is not expected


def test_what_matchers_keep_in_memory_is_bounded() -> None:
    for number in range(3_000):
        parse(f"agent=~[a-z]+{number}").accepts({"agent": f"x{number}" * 100})
    assert matching._compiled.cache_info().currsize <= 1_000
    assert matching._known_answer.cache_info().currsize <= 10_000


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
