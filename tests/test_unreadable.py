"""A stored row that cannot be read stops nothing but itself: people are told, and what acts stays on the safe side."""

from __future__ import annotations

import pytest

from tests.stage import MINUTE, MISCONFIGURED, T0, TARGET, Stage
from tests.switchboard import Switchboard
from tocsin.core.answer import NoAnswer
from tocsin.core.failing import Failing
from tocsin.core.hold import Engaged
from tocsin.core.matching import parse
from tocsin.core.message import OWN_ERROR, Outcome, Said
from tocsin.core.mute import Silence
from tocsin.core.remedy import Applied, Did, Phase
from tocsin.engine.claiming import Since, claims
from tocsin.engine.notifying import StoodIn
from tocsin.engine.switches import Switches
from tocsin.stores.sqlite import SqliteStore

BROKEN = "edited by hand"


def spoil(stage: Stage, table: str, holding: str, text: str = BROKEN) -> None:
    """Put a text in place of those that hold another."""
    assert isinstance(stage.inner, SqliteStore)
    with stage.inner._transaction() as db:
        changed = db.execute(f"UPDATE {table} SET body = ? WHERE instr(body, ?) > 0", (text, holding))
        assert changed.rowcount > 0


def there(stage: Stage, table: str) -> int:
    """Return how many rows still hold what cannot be read."""
    assert isinstance(stage.inner, SqliteStore)
    with stage.inner._transaction() as db:
        found = db.execute(f"SELECT COUNT(*) FROM {table} WHERE body = ?", (BROKEN,)).fetchone()
    return int(found[0])


def board_of() -> Switchboard:
    return Switchboard(routes={"to": ["people", "program"], "group_by": ["team"]}, fallback="boss")


def pages(board: Switchboard) -> list[str]:
    return [each.title for each in board.boss.got if each.rule == OWN_ERROR]


def rules(board: Switchboard) -> list[str]:
    return [each.rule for each in board.program.got if each.rule != OWN_ERROR]


def misconfigured(**changes: object) -> Stage:
    """Return a stage on which the policy engages the killswitch in the seventh tick."""
    stage = Stage(MISCONFIGURED, **changes)  # type: ignore[arg-type]
    stage.busy(T0 - 20 * MINUTE, T0 + 40 * MINUTE)
    del stage.platform.env["HITL_APPROVER_ENDPOINT"]
    return stage


def failures(stage: Stage) -> list[str]:
    """Return what the log says has failed."""
    return [str(each["subject"]) for each in stage.log.named("failed")]


# People are notified


def test_a_group_that_cannot_be_read_stops_no_other_and_its_news_is_told_by_itself() -> None:
    board = board_of()
    first, other = board.fires("first", team="a"), board.fires("other", team="b")
    board.tick()
    spoil(board, "kept", "team=a")
    board.fires("second", team="a")
    board.fires("third", team="b")
    board.wait(6 * MINUTE)
    assert sorted(rules(board)) == ["first", "other", "second", "third"]
    (page,) = pages(board)
    assert "group stored at" in page
    assert "team=a" in page
    board.ends(first, other)
    board.wait(6 * MINUTE)
    assert first.id not in board.program.open
    assert other.id not in board.program.open
    assert there(board, "kept") == 1


def test_news_of_a_group_that_cannot_be_read_is_told_once_its_silence_has_ended() -> None:
    board = board_of()
    board.fires("first", team="a")
    board.tick()
    spoil(board, "kept", "team=a")
    silence = Silence("s", (parse("team=a"),), "ops", "x", board.now, board.now + 10 * MINUTE)
    board.inner.keep(Silence, "s", silence, None)
    board.fires("second", team="a")
    board.wait(5 * MINUTE)
    assert rules(board) == ["first"]
    board.wait(20 * MINUTE)
    assert rules(board) == ["first", "second"]


def test_a_message_that_cannot_be_read_keeps_no_other_from_anybody() -> None:
    board = board_of()
    board.people.outcomes = [Outcome(Said.AGAIN, "not now")]
    board.fires("first", team="a")
    board.tick()
    board.people.got.clear()
    spoil(board, "deliveries", '"receiver":"people"')
    board.fires("second", team="b")
    board.wait(3 * MINUTE)
    assert "second" in rules(board)
    assert [each.rule for each in board.people.got] == ["second"]
    assert [page for page in pages(board) if "message stored at" in page]


def test_a_silence_that_cannot_be_read_silences_nothing_and_the_others_do() -> None:
    board = board_of()
    for name in ("bad", "good"):
        silence = Silence(name, (parse(f"team={name}"),), "ops", name, board.now, board.now + 60 * MINUTE)
        board.inner.keep(Silence, name, silence, None)
    spoil(board, "kept", '"comment":"bad"')
    board.fires("first", team="bad")
    board.fires("second", team="good")
    board.wait(3 * MINUTE)
    assert rules(board) == ["first"]
    assert [page for page in pages(board) if "silence stored at bad" in page]
    assert there(board, "kept") == 1


def test_failures_are_told_past_the_row_of_failures_that_cannot_be_read() -> None:
    board = board_of()
    board.fires("first", team="a")
    board.tick()
    spoil(board, "kept", "team=a")
    board.tick()
    assert len(pages(board)) == 1
    spoil(board, "kept", '"open"')
    board.wait(3 * MINUTE)
    assert len({each.id for each in board.boss.got if each.rule == OWN_ERROR}) == 2, "past the store, once an hour"
    assert board.inner.kept(Failing) == {}
    assert there(board, "kept") == 2


def test_the_fallback_is_told_though_nobody_can_read_what_it_stands_in_for() -> None:
    board = board_of()
    board.program.outcomes = [Outcome(Said.AGAIN, "not now")] * 100
    board.configure(routes={"to": ["program"]}, fallback="boss", give_up_after="1m")
    board.inner.keep(StoodIn, "x", StoodIn("x", board.now), None)
    first = board.fires("first")
    board.inner.keep(StoodIn, first.id, StoodIn(first.id, board.now), None)
    spoil(board, "kept", first.id)
    board.wait(10 * MINUTE)
    assert [each.rule for each in board.boss.got if each.rule != OWN_ERROR] == ["first"]


# Alerts


def test_an_alert_that_cannot_be_read_is_unknown_and_neither_begun_anew_nor_acted_on() -> None:
    stage = misconfigured()
    stage.run(range(2))
    assert stage.oncall.kinds() == ["fired"]
    spoil(stage, "alerts", "hitl_misconfigured")
    stage.run(range(2, 12))
    assert [each.rule for each in stage.oncall.got].count("hitl_misconfigured") == 1, "no page a tick"
    assert stage.platform.changes == 0
    assert there(stage, "alerts") == 1
    assert any("alert stored at" in each for each in failures(stage))
    assert [each.rule for each in stage.inner.open_alerts() if each.open] == ["rule_blind"]


def test_a_target_s_alerts_inhibit_nothing_while_one_of_them_cannot_be_read() -> None:
    board = board_of()
    inhibit = {"source": {"match": {"rule": "errors"}}, "target": {"match": {"rule": "slow"}}, "equal": ["target"]}
    board.configure(routes={"to": ["program"]}, inhibit=[inhibit])
    assert isinstance(board.inner, SqliteStore)
    with board.inner._transaction() as db:
        db.execute("INSERT INTO alerts VALUES ('alerts/sales/errors', '[]', ?)", (BROKEN,))
    for target in ("sales", "support"):
        board.fires("errors", target=target)
    board.tick()
    for target in ("sales", "support"):
        board.fires("slow", target=target)
    board.wait(3 * MINUTE)
    assert [each.target for each in board.program.got if each.rule == "slow"] == ["sales"]


def test_what_was_begun_waits_while_its_alert_cannot_be_read() -> None:
    stage = misconfigured()
    stage.platform.outcomes = [Applied(Did.BUSY, "busy")] * 9
    stage.run(range(7))
    (execution,) = stage.inner.executions()
    assert execution.phase is Phase.INTENDED
    spoil(stage, "alerts", "hitl_misconfigured")
    stage.run(range(7, 9))
    (execution,) = stage.inner.executions()
    assert execution.phase is Phase.INTENDED, "neither let go nor done"


def test_a_mark_that_cannot_be_read_is_told_and_evaluation_goes_on() -> None:
    stage = misconfigured()
    stage.run(range(2))
    spoil(stage, "heads", "slots")
    stage.run(range(2, 8))
    assert stage.oncall.kinds()[0] == "fired"
    assert failures(stage) == ["mark stored at mark/sales on sales"]
    assert stage.inner.mark("sales").slots


# What acts


def test_an_execution_that_cannot_be_read_is_not_begun_a_second_time() -> None:
    stage = misconfigured()
    stage.run(range(7))
    assert stage.platform.changes == 1
    spoil(stage, "executions", "killswitch.engage")
    stage.run(range(7, 20))
    assert stage.platform.changes == 1
    assert stage.inner.executions() == []
    assert there(stage, "executions") == 1
    assert any("execution stored at" in each for each in failures(stage))


@pytest.mark.parametrize("target", ["sales", ""])
def test_one_that_may_be_under_way_on_a_target_keeps_others_from_it(target: str) -> None:
    stage = misconfigured()
    name = f"other/a_rule/{target}/all/20261120T030000Z" if target else "unknown"
    write_execution(stage, name)
    stage.run(range(12))
    (execution,) = stage.inner.executions()
    assert execution.phase is Phase.REFUSED
    assert "which cannot be read) is still under way on sales" in execution.reason
    assert stage.platform.changes == 0


def test_one_of_another_target_keeps_nothing_from_this_one() -> None:
    stage = misconfigured()
    write_execution(stage, "other/a_rule/support/all/20261120T030000Z")
    stage.run(range(9))
    assert stage.platform.changes == 1


def write_execution(stage: Stage, name: str) -> None:
    """Store an execution that cannot be read."""
    assert isinstance(stage.inner, SqliteStore)
    with stage.inner._transaction() as db:
        db.execute("INSERT INTO executions VALUES (?, 1, ?)", (name, BROKEN))


def test_a_silence_that_cannot_be_read_may_have_silenced_actions() -> None:
    stage = misconfigured()
    silence = Silence("s", (parse("app=x"),), "ops", "x", T0, T0 + 60 * MINUTE, actions=True)
    stage.inner.keep(Silence, "s", silence, None)
    spoil(stage, "kept", "app")
    stage.run(range(12))
    (execution,) = stage.inner.executions()
    assert execution.phase is Phase.REFUSED
    assert "a stored silence cannot be read" in execution.reason


def test_a_switch_whose_row_cannot_be_read_is_not_called_steady() -> None:
    stage = misconfigured()
    for scope in ("tools", "all"):
        engaged = Engaged("sales", scope, "ops", T0, "")
        stage.inner.keep(Engaged, engaged.key, engaged, None)
    spoil(stage, "kept", '"tools"')
    readings = Switches(stage.inner, stage.platform).read(TARGET, "drifted", T0, T0)
    assert not isinstance(readings, NoAnswer)
    drifted = {each.labels["scope"]: each for each in readings if each.name == "drifted"}
    assert drifted["tools"].value is None
    assert "cannot be read" in drifted["tools"].why
    assert drifted["all"].value is not None


def test_a_drill_keeps_a_switch_that_an_execution_may_want_which_cannot_be_read() -> None:
    stage = misconfigured()
    write_execution(stage, "other/a_rule/sales/all/20261120T030000Z")
    (found,) = claims(stage.engine, TARGET, "tools", Since())
    assert "execution" in found
    assert "cannot be read" in found
