"""Receivers are watched too: heartbeats, a pace they can take, and somebody who hears of one that takes nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.stage import CONFIG, ERRORS, MINUTE, MISCONFIGURED, T0, Stage
from tocsin.core.audience import Receiver, SilenceAsCode
from tocsin.core.config import Config
from tocsin.core.fields import Rate, Severity
from tocsin.core.matching import one_of
from tocsin.core.message import NEWS, Outcome, Said
from tocsin.core.mute import Silence


def config(**changes: Any) -> Config:
    receivers = {"oncall": Receiver(type="stdout"), "team": Receiver(type="stdout")}
    return CONFIG.model_copy(update={"receivers": receivers, **changes})


def burning(given: Config, minutes: int = 60) -> Stage:
    stage = Stage(ERRORS, config=given)
    for second in range(0, minutes * 60, 5):
        stage.trace(T0 + timedelta(seconds=second - 300), "response.returned", ok="false")
    return stage


def told(stage: Stage, receiver: str) -> list[tuple[str, str]]:
    return [(notice.rule, notice.kind.value) for notice in getattr(stage, receiver).got]


def test_every_receiver_hears_a_heartbeat_when_it_is_due_and_no_more() -> None:
    stage = Stage(config=config(watchdog=timedelta(minutes=10)))
    stage.run(range(25))
    assert told(stage, "oncall").count(("watchdog", "watchdog")) == 3
    assert told(stage, "team").count(("watchdog", "watchdog")) == 3


def test_without_being_asked_for_there_is_none() -> None:
    stage = Stage(config=config())
    stage.run(range(3))
    assert told(stage, "oncall") == []


def test_a_receiver_that_takes_nothing_for_a_quarter_of_an_hour_is_told_of_at_another_once() -> None:
    stage = burning(config(give_up_after=timedelta(hours=3), fallback=""))
    stage.oncall.outcomes = [Outcome(Said.AGAIN, "HTTP 503")] * 1_000
    stage.run(range(40))
    assert told(stage, "team").count(("receiver_quiet", "fired")) == 1
    (notice,) = [each for each in stage.team.got if each.rule == "receiver_quiet"]
    assert "oncall has taken no message for" in notice.title
    assert "HTTP 503" in str(notice.facts)
    stage.oncall.outcomes.clear()
    stage.run(range(40, 52))
    assert told(stage, "team").count(("receiver_quiet", "resolved")) == 1


def test_one_that_fails_for_a_moment_is_nobodys_business() -> None:
    stage = burning(config(fallback=""))
    stage.oncall.outcomes = [Outcome(Said.AGAIN, "HTTP 503")] * 3
    stage.run(range(30))
    assert ("receiver_quiet", "fired") not in told(stage, "team")


def test_a_receiver_with_a_limit_is_sent_no_more_and_the_rest_later_the_worst_first() -> None:
    limited = Receiver(type="stdout", at_most=Rate(count=1, per=timedelta(minutes=10)))
    given = config(receivers={"oncall": Receiver(type="stdout"), "team": limited})
    minor = ERRORS.model_copy(update={"id": "minor", "severity": Severity.P3})
    stage = burning(given)
    stage.project = Stage(minor, ERRORS, config=given).project
    stage.run(range(1))
    assert told(stage, "team") == [("high_error_rate", "fired")]
    assert len(told(stage, "oncall")) == 2
    stage.run(range(1, 9))
    assert len(told(stage, "team")) == 1
    stage.run(range(9, 12))
    assert told(stage, "team")[1] == ("minor", "fired")
    assert all(each.attempts == 1 for each in stage.inner.deliveries() if each.receiver == "team" and each.settled)


@pytest.mark.parametrize(("kind", "pace"), [("teams", 100), ("email_acs", 100), ("slack", 60), ("pagerduty", None)])
def test_what_a_service_takes_is_known_and_what_is_said_wins(kind: str, pace: int | None) -> None:
    known = Receiver(type=kind).pace
    assert (known.count if known else None) == pace
    said = Receiver.model_validate({"type": kind, "at_most": "5 per 1m"}).pace
    assert said == Rate(count=5, per=MINUTE)


def test_news_is_no_message_to_a_receiver() -> None:
    stage = burning(config())
    stage.run(range(2))
    assert {each.receiver for each in stage.inner.deliveries()} == {NEWS, "oncall", "team"}


# Silences that stop actions


def misconfigured(given: Config) -> Stage:
    stage = Stage(MISCONFIGURED, config=given)
    stage.busy(T0 - 20 * MINUTE, T0 + 30 * MINUTE)
    del stage.platform.env["HITL_APPROVER_ENDPOINT"]
    return stage


def silence(**changes: Any) -> SilenceAsCode:
    given = {"match": {"rule": "hitl_misconfigured"}, "author": "ops", "comment": "drill", "ends": "2027-01-01"}
    return SilenceAsCode.model_validate({**given, **changes})


def test_a_silence_mutes_the_telling_and_not_the_acting() -> None:
    stage = misconfigured(config(silences=(silence(),)))
    stage.run(range(10))
    assert stage.platform.changes == 1
    assert ("hitl_misconfigured", "fired") not in told(stage, "oncall")


def test_a_silence_that_says_so_stops_actions_too_and_says_why() -> None:
    stage = misconfigured(config(silences=(silence(actions="too"),)))
    stage.run(range(10))
    assert stage.platform.changes == 0
    (execution,) = stage.inner.executions()
    assert execution.reason == "silenced by ops, actions too: drill"


def test_a_stored_silence_stops_actions_too_until_it_ends() -> None:
    stage = misconfigured(config())
    stored = Silence(
        "s1", (one_of("rule", ["hitl_misconfigured"]),), "ops", "drill", T0, T0 + 12 * MINUTE, actions=True
    )
    stage.inner.keep(Silence, "s1", stored, None)
    stage.run(range(11))
    assert stage.platform.changes == 0
    stage.run(range(12, 14))
    assert stage.platform.changes == 1
