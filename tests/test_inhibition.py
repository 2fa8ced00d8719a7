"""Who suppresses whom: never each other in a circle, and nobody who is suppressed `check` finds circles first."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stage import ERRORS, TARGET
from tests.switchboard import HOUR, MINUTE, Switchboard, config
from tocsin.core.inhibition import Inhibit, inhibited
from tocsin.core.inhibition_circles import problems
from tocsin.core.matching import Labels, parse
from tocsin.core.node import Node
from tocsin.core.rule import Rule
from tocsin.document import parse as parse_document


def hides(source: str, target: str, *equal: str, **more: Any) -> dict[str, Any]:
    """Return an entry of ``inhibit``, with one matcher on each side."""
    return {"source": {"matchers": [source]}, "target": {"matchers": [target]}, "equal": list(equal), **more}


CIRCLE = [hides("rule=a", "rule=b"), hides("rule=b", "rule=c"), hides("rule=c", "rule=a")]


def told(board: Switchboard) -> list[str]:
    return [notice.rule for notice in board.program.got if notice.kind.value == "fired"]


# What the engine does


@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
@pytest.mark.parametrize(("severities", "most"), [("P0 P1 P2", "a"), ("P1 P2 P0", "c"), ("P0 P0 P0", "a")])
def test_the_most_severe_of_a_circle_is_notified(order: tuple[str, ...], severities: str, most: str) -> None:
    of = dict(zip("abc", severities.split(), strict=True))
    board = Switchboard(inhibit=CIRCLE)
    for rule in order:
        board.fires(rule, of[rule])
    board.wait(10 * MINUTE)
    assert most in told(board)
    following = {"a": "b", "b": "c", "c": "a"}[most]
    assert following not in told(board), "what the notified one inhibits stays inhibited"


@pytest.mark.parametrize("suppressed", [False, True])
def test_two_that_inhibit_each_other_are_notified_once(suppressed: bool) -> None:
    both = [hides("rule=a", "rule=b", suppressed=suppressed), hides("rule=b", "rule=a", suppressed=suppressed)]
    board = Switchboard(inhibit=both)
    board.fires("a", "P0")
    board.fires("b", "P0")
    board.wait(10 * MINUTE)
    assert told(board) == ["a"]


def test_what_a_circle_inhibits_stays_inhibited_by_whoever_is_notified() -> None:
    board = Switchboard(inhibit=[hides("rule=a", "rule=b"), hides("rule=b", "rule=a"), hides("rule=a", "rule=d")])
    board.fires("d", "P0")
    board.fires("b", "P2")
    board.fires("a", "P1")
    board.wait(10 * MINUTE)
    assert told(board) == ["a"]


def test_an_inhibited_source_inhibits_nothing_unless_the_file_says_so() -> None:
    chain = [hides("rule=a", "rule=b"), hides("rule=b", "rule=c")]
    for more, expected in (({}, ["a", "c"]), ({"suppressed": True}, ["a"])):
        board = Switchboard(inhibit=[chain[0], {**chain[1], **more}])
        for rule in "abc":
            board.fires(rule, "P1")
        board.wait(10 * MINUTE)
        assert sorted(told(board)) == expected


def test_a_silenced_source_inhibits_nothing_unless_the_file_says_so() -> None:
    for more, expected in (({}, ["b"]), ({"suppressed": True}, [])):
        board = Switchboard(inhibit=[hides("rule=a", "rule=b", **more)])
        board.silence("rule=a", HOUR)
        board.fires("a")
        board.fires("b")
        board.wait(10 * MINUTE)
        assert told(board) == expected


def test_a_source_in_quiet_hours_inhibits_nothing() -> None:
    quiet = {"name": "day", "match": {"rule": "a"}, "time_zone": "UTC", "from": "00:00", "to": "12:00"}
    board = Switchboard(inhibit=[hides("rule=a", "rule=b")], quiet_hours=[quiet])
    board.fires("a", "P3")
    board.fires("b", "P3")
    board.wait(10 * MINUTE)
    assert told(board) == ["b"]


_RULES = st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("abcde"), st.booleans()), max_size=8)
_FIRING = st.dictionaries(st.sampled_from("abcde"), st.sampled_from(["P0", "P1", "P2"]), min_size=1)


@given(_RULES, _FIRING, st.sets(st.sampled_from("abcde")))
def test_somebody_who_is_notified_inhibits_whatever_is_inhibited(
    entries: list[tuple[str, str, bool]], firing: dict[str, str], silenced: set[str]
) -> None:
    rules = [Inhibit((parse(f"rule={a}"),), (parse(f"rule={b}"),), suppressed=also) for a, b, also in entries]
    alerts: list[Labels] = [{"rule": name, "severity": severity} for name, severity in firing.items()]
    found = inhibited(rules, alerts, lambda labels: labels["rule"] in silenced)
    by = {each["rule"]: found.by(each) for each in alerts}
    heard = {name for name, source in by.items() if source is None and name not in silenced}
    for name, source in by.items():
        if source is not None:
            also = any((a, b) == (source["rule"], name) and more for a, b, more in entries)
            assert source["rule"] in heard or also
    assert heard or set(firing) <= silenced or any(also for _, _, also in entries)


# What check says


def rule(name: str, severity: str = "P1", **changes: Any) -> Rule:
    return ERRORS.model_copy(update={"id": name, "severity": type(ERRORS.severity)(severity), **changes})


def circles(inhibit: list[dict[str, Any]], *rules: Rule) -> list[str]:
    made = config(inhibit=inhibit, targets=[TARGET, TARGET.model_copy(update={"name": "other"})])
    text = "inhibit:\n" + "".join(f"  - entry {number}\n" for number in range(len(inhibit)))
    node = parse_document("tocsin.yaml", text.encode()).node
    assert isinstance(node, Node)
    return [each.message for each in problems(made, rules, node)]


def test_a_circle_of_any_length_is_refused_with_its_way() -> None:
    names = [f"r{number}" for number in range(12)]
    rules = [rule(name) for name in names]
    ring = [hides(f"rule={a}", f"rule={b}") for a, b in zip(names, [*names[1:], names[0]], strict=True)]
    (found,) = circles(ring, *rules)
    assert "r0 on sales → r1 on sales" in found
    assert circles(ring[:-1], *rules) == []


@pytest.mark.parametrize(
    "entries",
    [
        [hides("severity=P1", "rule=b", "target"), hides('rule=~"b|x"', 'rule=~"a.*"', "target")],
        [hides("target=sales", "target=other"), hides("target=other", "target=sales")],
        [hides("rule=a", "agent=x"), hides("agent=x", "rule=a")],
        [hides("rule=a", "severity=P2"), hides("rule!=a", "rule=a")],
        [hides("rule=a", "rule=telemetry_blind"), hides("rule=telemetry_blind", "rule!=telemetry_blind", "target")],
    ],
)
def test_a_circle_by_matchers_across_rules_and_targets_is_refused(entries: list[dict[str, Any]]) -> None:
    by = ERRORS.when.model_copy(update={"by": ("agent",)})
    assert circles(entries, rule("a"), rule("b", "P2"), rule("c", "P2", when=by))


@pytest.mark.parametrize(
    "entries",
    [
        [hides("rule=a", "rule=b"), hides("rule=a", "rule=c"), hides("rule=b", "rule=c")],
        [hides("severity=P1", 'severity=~"P[12]"', "target")],
        [hides("agent=x", "agent=y"), hides("agent=y", "agent=z")],
        [hides("rule=a", "rule=b", "env"), hides("rule=b", "target=nowhere")],
        [hides("rule=telemetry_blind", "rule!=telemetry_blind", "target")],
    ],
)
def test_what_closes_no_circle_is_fine(entries: list[dict[str, Any]]) -> None:
    by = ERRORS.when.model_copy(update={"by": ("agent",)})
    assert circles(entries, rule("a"), rule("b", "P2"), rule("c", "P2", when=by)) == []


def test_an_entry_whose_alerts_would_inhibit_themselves_is_refused() -> None:
    (found,) = circles([hides("rule=a", "rule=a", "target")], rule("a"))
    assert "no alert inhibits itself" in found


def test_two_circles_are_two_problems() -> None:
    two = [hides("rule=a", "rule=b"), hides("rule=b", "rule=a"), hides("rule=c", "rule=d"), hides("rule=d", "rule=c")]
    assert len(circles(two, *(rule(name) for name in "abcd"))) == 2
