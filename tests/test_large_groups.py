"""Groups of many and of long alerts, on both stores: everybody is notified once, and later ticks do their work."""

from __future__ import annotations

import uuid

import pytest

from tests.switchboard import HOUR, MINUTE, Switchboard
from tocsin.core import group as groups
from tocsin.core.group import Group
from tocsin.core.route import Node, Pairs
from tocsin.ports import Store
from tocsin.stores import tables
from tocsin.stores.sqlite import SqliteStore

ALL = {"to": ["people", "program"], "group_by": ["team"]}


@pytest.fixture(params=["sqlite", pytest.param("tables", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    if request.param == "sqlite":
        return SqliteStore(":memory:")
    monkeypatch.setattr(tables, "TABLE", f"t{uuid.uuid4().hex}")
    return tables.connect(request.getfixturevalue("azurite").connection)


def test_one_group_of_many_alerts_and_alerts_with_long_names_stops_no_later_tick(store: Store) -> None:
    board = Switchboard(store, routes={"to": "people", "group_by": ["target"]})
    many = [board.fires(agent=f"agent-{number:034}") for number in range(190)]
    long = [board.fires("slow", agent=f"{number}" + "🙂" * 1_000) for number in range(16)]
    board.tick()
    board.ends(*many, *long)
    board.wait(5 * MINUTE, step=5 * MINUTE)
    board.fires(agent="new")
    board.wait(5 * MINUTE, step=5 * MINUTE)
    assert [each.title.partition(":")[0] for each in board.people.got] == [
        "206 firing",
        "206 over",
        "errors fired on sales (new)",
    ]
    assert board.log.named("failed") == []
    (group,) = board.inner.kept(Group).values()
    assert len(group.value.members) == 1


@pytest.mark.slow
def test_two_thousand_alerts_of_several_rules_and_targets_are_one_group() -> None:
    board = Switchboard(routes=ALL, storm="5000")
    fired = [
        board.fires(f"rule{number % 7}", target=f"target{number % 11}", team="a", agent=f"agent-{number:034}")
        for number in range(2_000)
    ]
    board.tick()
    (group,) = board.inner.kept(Group).values()
    assert len(group.value.members) == 2_000
    assert (len(board.people.got), len(board.program.opened)) == (1, 2_000)
    board.now += HOUR
    board.ends(*fired[:1_999])
    board.tick()
    assert len(board.program.open) == 1
    assert len(board.program.opened) == 2_000, "none is opened twice"


def _as_before(node: Node, labels: Pairs) -> str:
    return f"{node.place} {{{', '.join(f'{key}={value}' for key, value in labels)}}}"


def test_a_group_whose_id_was_ambiguous_goes_on_under_its_own_after_an_upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two groups had one id, for a value spelled the other's labels. Nobody is notified twice, and no end is lost."""
    board = Switchboard(routes={"to": ["people", "program"], "group_by": ["agent", "tool"]})
    with monkeypatch.context() as before:
        before.setattr(groups, "identity", _as_before)
        episodes = [board.fires(agent="a", tool="b"), board.fires(agent="a, tool=b")]
        board.tick()
        assert len(board.inner.kept(Group)) == 1
    heard = len(board.people.got), len(board.program.got)
    board.wait(20 * MINUTE)
    assert len(board.inner.kept(Group)) == 2
    assert (len(board.people.got), len(board.program.got)) == heard
    board.ends(*episodes)
    board.wait(10 * MINUTE)
    assert board.program.open == set()
    assert [each.kind.value for each in board.program.got] == ["fired", "fired", "resolved", "resolved"]
