"""One piece of news, group, alert, receiver, silence or acknowledgement that fails stops none of the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.switchboard import HOUR, MINUTE, Switchboard
from tocsin.core import group, mute, telling
from tocsin.core.message import NEWS, OWN_ERROR, Delivery, Settled
from tocsin.engine import muting, wording
from tocsin.engine import telling as engine_telling
from tocsin.ports import TooLarge

ERRORS = [ValueError, MemoryError, RecursionError]


def failing(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, error: type[Exception], bad: str) -> None:
    """Let a function or method raise wherever one of its arguments says ``bad``."""
    right: Callable[..., Any] = getattr(where, name)

    def maybe(*given: Any, **named: Any) -> Any:
        if any(bad in repr(each) for each in (*given[-2:], *named.values())):
            raise error("a defect")
        return right(*given, **named)

    monkeypatch.setattr(where, name, maybe)


def board_of(**parts: Any) -> Switchboard:
    return Switchboard(routes={"to": ["people", "program"], "group_by": ["team"]}, fallback="boss", **parts)


def rules(told: list[Any]) -> list[str]:
    return [each.rule for each in told if each.rule != OWN_ERROR]


def pages(board: Switchboard) -> list[str]:
    """Return what the fallback was notified of that fails."""
    return [each.title for each in board.boss.got if each.rule == OWN_ERROR]


@pytest.mark.parametrize("error", ERRORS)
def test_news_that_fails_is_in_nobodys_way_and_is_tried_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    board = board_of()
    with monkeypatch.context() as defect:
        failing(defect, telling, "news_of", error, "rule='bad'")
        board.fires("bad", team="a")
        for number in range(3):
            board.fires(f"good{number}", team="b")
        board.tick()
        assert sorted(rules(board.program.got)) == ["good0", "good1", "good2"]
        (page,) = pages(board)
        assert "news bad/sales/a" in page
        board.wait(HOUR)
    (news,) = [each for each in board.inner.waiting(board.now + HOUR) if each.receiver == NEWS]
    assert news.attempts <= 12
    board.wait(11 * MINUTE)
    assert "bad" in rules(board.program.got), "once it works it is told"


@pytest.mark.parametrize("error", ERRORS)
def test_a_group_that_fails_after_it_was_decided_is_not_saved_as_notified(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    board = board_of()
    with monkeypatch.context() as defect:
        right: Callable[..., Any] = engine_telling.Words

        def maybe(one: group.Group, *given: Any) -> Any:
            if "team=a" in one.id:
                raise error("a defect")
            return right(one, *given)

        defect.setattr(engine_telling, "Words", maybe)
        board.fires("bad", team="a")
        board.fires("good", team="b")
        board.tick()
        assert rules(board.program.got) == ["good"]
        assert any("team=a" in each for each in pages(board))
    board.wait(6 * MINUTE)
    assert rules(board.people.got) == rules(board.program.got) == ["good", "bad"]


@pytest.mark.parametrize("error", ERRORS)
def test_an_alert_of_a_group_that_fails_leaves_the_others_of_the_group(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    board = board_of()
    first = [board.fires(name, team="a") for name in ("bad", "good")]
    with monkeypatch.context() as defect:
        failing(defect, wording.Words, "_notice", error, "bad/sales")
        failing(defect, wording.Words, "_again", error, "bad/sales")
        board.tick()
        assert rules(board.people.got) == rules(board.program.got) == ["good"]
        assert len(pages(board)) > 0
        board.ends(*first)
        board.wait(6 * MINUTE)
        assert [each.episode for each in board.program.got if each.kind.ends] == [first[1].id]
    later = board.fires("bad", team="a")
    board.wait(12 * MINUTE)
    board.ends(later)
    board.wait(6 * MINUTE)
    assert [each.kind.value for each in board.program.got if each.rule == "bad"][-2:] == ["fired", "resolved"]
    assert board.program.open == set()


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("step", ["flush", "due"])
def test_a_group_that_fails_leaves_the_other_groups_and_is_told_later(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception], step: str
) -> None:
    board = board_of()
    with monkeypatch.context() as defect:
        right: Callable[..., Any] = getattr(group, step)

        def maybe(one: group.Group, *given: Any, **named: Any) -> Any:
            if "team=a" in one.id:
                raise error("a defect")
            return right(one, *given, **named)

        defect.setattr(group, step, maybe)
        board.fires("bad", team="a")
        board.fires("good", team="b")
        board.wait(3 * MINUTE)
        assert rules(board.program.got) == ["good"]
        assert any("team=a" in each for each in pages(board))
    board.wait(2 * MINUTE)
    assert rules(board.program.got) == ["good", "bad"]


@pytest.mark.parametrize("error", ERRORS)
def test_a_receiver_of_a_group_that_fails_leaves_the_others_and_hears_everything_later(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    board = board_of()
    known = board.fires("known", team="a")
    board.tick()
    with monkeypatch.context() as defect:
        failing(defect, wording.Words, "messages", error, "receiver='program'")
        board.fires("new", team="a")
        board.ends(known)
        board.wait(7 * MINUTE)
        assert [each.title.partition(":")[0] for each in board.people.got] == [
            "known fired on sales (a)",
            "1 firing, 1 over",
        ]
        assert rules(board.program.got) == ["known"]
        assert pages(board)
    board.wait(7 * MINUTE)
    assert sorted((each.rule, each.kind.value) for each in board.program.got) == [
        ("known", "fired"),
        ("known", "resolved"),
        ("new", "fired"),
    ]
    assert len(rules(board.people.got)) == 2, "the others are not told again"


@pytest.mark.parametrize("error", ERRORS)
def test_a_silence_that_fails_mutes_nothing_and_the_others_still_do(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    board = board_of()
    board.silence("rule=muted", HOUR)
    board.silence("rule=bad", HOUR, id="broken")
    failing(monkeypatch, mute, "in_force_until", error, "broken")
    for name in ("muted", "bad", "good"):
        board.fires(name, team=name)
    board.tick()
    assert sorted(rules(board.program.got)) == ["bad", "good"]
    assert [each for each in pages(board) if "silence broken" in each]


@pytest.mark.parametrize("error", ERRORS)
def test_an_acknowledgement_that_fails_acknowledges_nothing_and_the_others_still_do(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    board = board_of()
    episodes = [board.fires(name, team=name) for name in ("bad", "taken")]
    board.tick()
    for each in episodes:
        board.acknowledge(each)
    failing(monkeypatch, muting, "in_force", error, "bad/sales")
    board.wait(5 * HOUR, step=5 * MINUTE)
    assert [each.rule for each in board.people.got if each.title.startswith("Still")] == ["bad"]
    assert pages(board)


def test_a_group_that_cannot_be_saved_leaves_the_others_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    board = board_of()
    keep = board.inner.keep

    def refused(kind: type, key: str, *given: Any) -> None:
        if "team=a" in key:
            raise TooLarge("a row holds 480000")
        keep(kind, key, *given)

    with monkeypatch.context() as defect:
        defect.setattr(board.inner, "keep", refused)
        board.fires("bad", team="a")
        board.fires("good", team="b")
        board.wait(3 * MINUTE)
        assert rules(board.program.got) == ["good"]
        assert pages(board)
    board.wait(10 * MINUTE)
    assert rules(board.program.got) == ["good", "bad"]


def test_news_that_never_works_is_given_up_as_a_message_is(monkeypatch: pytest.MonkeyPatch) -> None:
    board = board_of(give_up_after="2h")
    failing(monkeypatch, telling, "news_of", ValueError, "rule='bad'")
    board.fires("bad", team="a")
    board.wait(3 * HOUR, step=5 * MINUTE)
    found: list[Delivery] = [each for each in board.inner.deliveries(1_000) if each.notice.rule == "bad"]
    assert [each.state for each in found] == [Settled.DEAD]
