"""A store that refuses one item, and a receiver that hangs, end no tick and hold nothing up."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.stage import CONFIG, ERRORS, MINUTE, MISCONFIGURED, T0, Receiver, Stage
from tocsin.core.message import Delivery, Notice, Outcome, Said, outbox
from tocsin.engine.failing import Failures
from tocsin.engine.unstored import unavailable
from tocsin.ports import StoreUnavailable


def test_a_store_that_refuses_one_rule_and_answers_else_ends_no_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(ERRORS, MISCONFIGURED)
    stage.busy(T0 - 20 * MINUTE, T0 + 20 * MINUTE)
    commit = stage.inner.commit

    def refuses(rule: str, *rest: Any) -> None:
        if rule == "high_error_rate":
            raise StoreUnavailable("400")
        commit(rule, *rest)

    monkeypatch.setattr(stage.inner, "commit", refuses)
    for number in range(60):
        stage.trace(T0 + number * MINUTE / 12, "response.returned", ok="false", value="900", unit="ms")
    stage.run(range(6))
    assert stage.inner.last_beat() == T0 + 5 * MINUTE
    assert any("high_error_rate" in each for each in stage.inner.last_failed())
    assert [each.rule for each in stage.oncall.got] == ["tocsin_error"], "somebody is notified once"


def test_a_store_that_is_away_ends_the_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()

    def away(*_: Any) -> Any:
        raise StoreUnavailable("away")

    for name in ("load_all", "last_beat"):
        monkeypatch.setattr(stage.inner, name, away)
    with pytest.raises(StoreUnavailable):
        stage.engine.tick(T0)


class Hanging(Receiver):
    """Costs eleven seconds by the clock that is looked at, and takes nothing."""

    clock = 0.0

    def deliver(self, notice: Notice) -> Outcome:
        super().deliver(notice)
        Hanging.clock += 11.0
        return Outcome(Said.AGAIN, "timed out")


def test_a_receiver_that_hangs_is_not_called_again_in_that_round(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(config=CONFIG)
    stage.oncall = Hanging(stage.note)
    monkeypatch.setattr(time, "monotonic", lambda: Hanging.clock)
    messages: list[Delivery] = []
    for number in range(3):
        messages += outbox(unavailable(T0, "x", T0 + number * MINUTE), ["oncall", "team"], T0)
    stage.inner.enqueue(messages)
    stage.engine.courier(Failures()).deliver(T0 + 3 * MINUTE)
    assert len(stage.oncall.got) == 1
    assert len(stage.team.got) == 3, "the other receiver got everything"
