"""Kill -9 between any two steps of delivery, and receivers that fail in every way they have: nothing is lost.

What a receiver accepts and then drops is seen by nobody from here: its 2xx is all there is. It is the watchdog that is
for this, a message whose absence somebody else notices. The rest is shown here, and duplicates are counted: at a
receiver that knows its keys there are none, at another one a kill or time-out at most.
"""

from __future__ import annotations

import os
import threading
from datetime import timedelta
from typing import Any

import pytest

from tests.amount import often
from tests.delivering import BUSY, DOWN, LATE, Played, flood, played, right, story
from tests.interleaving import Lots, Stepped
from tests.simulating import simulate
from tests.stage import T0
from tocsin.core.message import Outcome

STEPS = played().store.count


def survives(nth: int, *, before: bool) -> int:
    """Play the story with one kill; return how often somebody was told twice."""
    board = played(nth, before=before)
    assert board.kills == 1
    right(board)
    assert board.program.opened == list(dict.fromkeys(board.program.opened)), "one incident an episode"
    twice = sum(each.twice for each in board.failing.values())
    assert twice <= 1
    return twice


@pytest.mark.parametrize("nth", range(1, STEPS + 1, 6))
def test_a_process_killed_at_one_of_some_steps_loses_nothing(nth: int) -> None:
    survives(nth, before=nth % 4 == 1)


@pytest.mark.slow
def test_a_process_killed_before_or_after_any_write_loses_nothing_and_tells_at_most_one_message_twice() -> None:
    after = [survives(nth, before=False) for nth in range(1, STEPS + 1)]
    before = [survives(nth, before=True) for nth in range(1, STEPS + 1)]
    handed = sum(len(each.log) for each in played().failing.values())
    assert sum(after) == 0, "what was written is known: a message is told twice only if its receipt was not"
    assert sum(before) == handed, "each message once: by the kill between its being accepted and its receipt"


def test_a_receiver_that_accepts_and_then_times_out_hears_each_of_these_twice_and_a_program_opens_nothing_twice() -> (
    None
):
    board = played(answers={"people": [LATE] * 4, "program": [LATE] * 4})
    right(board)
    assert board.failing["people"].twice == board.failing["program"].twice == 4
    assert board.program.opened == played().program.opened


@pytest.mark.parametrize("answer", [BUSY, DOWN], ids=["429", "500"])
@pytest.mark.parametrize("name", ["people", "program"])
def test_a_receiver_that_refuses_for_a_while_hears_everything_once_and_in_order(name: str, answer: Outcome) -> None:
    board = played(answers={name: [answer] * 6})
    right(board)
    assert [each.twice for each in board.failing.values()] == [0, 0, 0]
    other = "program" if name == "people" else "people"
    plain = played().failing[other].log
    assert [notice.id for _, notice in board.failing[other].log] == [notice.id for _, notice in plain], "nor does"


def test_a_receiver_that_says_when_to_come_again_is_not_asked_before() -> None:
    board = played(answers={"people": [BUSY]})
    first = next(at for at, notice in board.failing["people"].log if notice.rule == "errors")
    assert first - T0 >= timedelta(seconds=90)


@pytest.mark.parametrize("answer", [LATE, BUSY, DOWN], ids=["late", "429", "500"])
def test_whichever_message_a_receiver_fails_at_its_end_comes_after_its_beginning(answer: Outcome) -> None:
    messages = len(played().failing["program"].log)
    for number in range(messages):
        board = played(answers={"program": [*[None] * number, answer, answer]})
        right(board)
        assert board.failing["program"].twice == (2 if answer is LATE else 0)


def test_a_kill_and_a_time_out_at_once_tell_twice_once_each() -> None:
    for nth in range(3, 40, 4):
        board = played(nth, before=True, answers={"people": [None, LATE], "program": [LATE]})
        right(board)
        assert sum(each.twice for each in board.failing.values()) <= 3


@pytest.mark.slow
def test_a_process_killed_while_it_tells_of_a_flood_loses_none_of_it() -> None:
    steps = played(told=flood, storm="3").store.count
    for before in (True, False):
        for nth in range(1, steps + 1, often(1, 9)):
            board = played(nth, before=before, told=flood, storm="3")
            right(board)
            assert sum(each.twice for each in board.failing.values()) <= 1


# Two at once


class Twofold(Played):
    """A board on which two engines tick at each instant, their steps in an order drawn by lot."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.lots, self.failed = Lots(seed), list[BaseException]()

    def tick(self) -> None:
        self.lots.begin(["one", "two"])
        threads = [threading.Thread(target=self._one, args=(name,)) for name in ("one", "two")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert self.failed == []

    def _one(self, name: str) -> None:
        engine = self.engine
        stepped: Any = Stepped(engine.store, lambda: self.lots.step(name))
        object.__setattr__(engine, "store", stepped)
        try:
            engine.tick(self.now, evaluate=False)
        except BaseException as error:
            self.failed.append(error)
        finally:
            self.lots.end(name)


def together(seed: int) -> None:
    board = Twofold(seed)
    story(board)
    right(board)
    assert [each.twice for each in board.failing.values()] == [0, 0, 0], seed


def test_two_engines_on_one_store_tell_nothing_twice() -> None:
    for seed in range(3):
        together(seed)


@pytest.mark.slow
def test_two_engines_on_one_store_tell_nothing_twice_in_many_orders() -> None:
    for seed in range(int(os.environ.get("ORDERS", often(60, 4)))):
        together(seed)


# Everything at once


def test_whatever_happens_every_beginning_is_told_and_its_end_after_it() -> None:
    for seed in range(often(25, 8)):
        simulate(seed)


@pytest.mark.slow
def test_whatever_happens_in_many_lives_every_beginning_is_told_and_its_end_after_it() -> None:
    for seed in range(int(os.environ.get("LIVES", often(120, 6)))):
        simulate(seed)
