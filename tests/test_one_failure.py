"""An item the store refuses and a receiver that hangs end no tick; many failures of one kind hide none of another."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.stage import CONFIG, ERRORS, MINUTE, MISCONFIGURED, T0, Receiver, Stage
from tocsin.core.failing import MANY, Failing, Failure, Subject, judge
from tocsin.core.message import Delivery, Kind, Notice, Outcome, Said, outbox
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


# Many failures at once


def failures(*subjects: Subject) -> list[Failure]:
    return [Failure(each, "ValueError") for each in subjects]


def test_a_flood_of_failures_from_outside_hides_no_failure_to_act_and_none_to_notify() -> None:
    flood = failures(*(Subject("inbound alert", str(number)) for number in range(50)))
    flooded, (told,) = judge(Failing(), flood, (), T0)
    assert (told[0], told[1].kind) == (MANY, Kind.FIRED)
    to_act, to_notify = Subject("policy", "stop_unsafe_tools", "sales"), Subject("group", "by rule")
    after, notices = judge(flooded, [*flood, *failures(to_act, to_notify)], (), T0 + MINUTE)
    assert {subject: notice.kind for subject, notice in notices} == {to_act: Kind.FAILED, to_notify: Kind.FIRED}
    assert len(after.open) == 3


@pytest.mark.parametrize("what", ["policy", "group"])
def test_many_failures_of_a_kind_are_one_alert_that_goes_the_way_of_its_kind(what: str) -> None:
    one = Subject(what, "0")
    after, ((many, notice),) = judge(Failing(), failures(*(Subject(what, str(each)) for each in range(11))), (), T0)
    assert many.direct == one.direct
    assert notice.kind is (Kind.FAILED if what == "policy" else Kind.FIRED)
    assert len([fact for fact in notice.facts if fact.name == "Failed"]) == 12  # each of them, and how many
    assert set(after.open) == {many.key}
