"""Receivers are watched too: heartbeats, a pace they can take, and somebody who hears of one that takes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.stage import CONFIG, ERRORS, MINUTE, MISCONFIGURED, T0, TARGET, Stage
from tocsin.core.audience import Inhibition, Receiver, SilenceAsCode
from tocsin.core.config import Config
from tocsin.core.fields import Rate, Severity
from tocsin.core.group import Group
from tocsin.core.matching import one_of
from tocsin.core.message import NEWS, Outcome, Said
from tocsin.core.mute import Silence
from tocsin.engine.watching import MOMENTS, Paced, with_one


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


def test_a_heartbeat_that_was_not_taken_does_not_tell_another_that_nothing_is_wrong() -> None:
    stage = Stage(config=config(watchdog=timedelta(hours=1), fallback="team"))
    stage.oncall.outcomes = [Outcome(Said.REFUSED, "HTTP 401")]
    stage.run(range(2))
    assert [notice.title for notice in stage.team.got] == [
        "Tocsin reaches team: this is its heartbeat.",
        "Receiver oncall did not take its heartbeat.",
    ]
    assert "HTTP 401" in str(stage.team.got[1].facts)


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


# Floods, and what is tidied away


def flooded(together: bool) -> tuple[Stage, int]:
    """Fourteen targets that fail in one minute, at receivers for people or for programs."""
    targets = tuple(TARGET.model_copy(update={"name": f"sales-{number}"}) for number in range(14))
    stage = Stage(ERRORS, config=config(targets=targets, storm=10))
    stage.oncall.together = stage.team.together = together  # type: ignore[attr-defined]
    for second in range(0, 900, 5):
        stage.trace(T0 + timedelta(seconds=second - 300), "response.returned", ok="false")
    stage.run(range(1))
    return stage, len(targets)


@pytest.mark.parametrize("together", [True, False])
def test_a_flood_is_one_message_that_says_what_it_holds(together: bool) -> None:
    stage, count = flooded(together)
    (digest,) = stage.oncall.got
    assert f"{count} messages at once: {count} firing" in digest.title
    assert "sales-0 1" in str([fact.value for fact in digest.facts if fact.name == "By target"])


@pytest.mark.slow
def test_the_end_of_a_flood_closes_what_its_digest_opened_with_the_last_alert() -> None:
    stage, _ = flooded(together=False)
    opened = stage.oncall.got[0].episode
    stage.busy(T0 + 15 * MINUTE, T0 + 40 * MINUTE)
    stage.run(range(1, 30))
    ends = [notice for notice in stage.oncall.got if notice.kind.value == "resolved"]
    assert [notice.episode for notice in ends] == [opened]


@pytest.mark.slow
def test_what_closes_incidents_is_never_made_a_digest() -> None:
    targets = tuple(TARGET.model_copy(update={"name": f"sales-{number}"}) for number in range(12))
    stage = Stage(ERRORS, config=config(targets=targets, storm=1_000))
    for second in range(0, 600, 5):
        stage.trace(T0 + timedelta(seconds=second - 300), "response.returned", ok="false")
    stage.run(range(1))
    assert len(stage.oncall.got) == len(targets)
    stage.project = replace(stage.project, config=config(targets=targets, storm=5))
    stage.busy(T0 + 10 * MINUTE, T0 + 40 * MINUTE)
    stage.run(range(10, 25))
    ends = [notice.episode for notice in stage.oncall.got if notice.kind.value == "resolved"]
    assert sorted(ends) == sorted({notice.episode for notice in stage.oncall.got if notice.kind.value == "fired"})


def test_groups_that_are_long_empty_are_forgotten() -> None:
    stage = burning(config(), minutes=2)
    stage.run(range(1))
    assert stage.inner.kept(Group)
    stage.busy(T0 + 2 * MINUTE, T0 + 30 * MINUTE)
    stage.run(range(10, 20))
    assert [kept.value.members for kept in stage.inner.kept(Group).values()] == [{}]
    stage.run(range(7 * 24 * 60, 7 * 24 * 60 + 1))
    assert {kept.value.id for kept in stage.inner.kept(Group).values() if "high_error_rate" in kept.value.id} == set()


def test_what_begins_to_inhibit_in_the_same_minute_inhibits_at_once() -> None:
    rule = {"source": {"match": {"rule": "first"}}, "target": {"match": {"rule": "second"}}, "equal": ["target"]}
    first, second = (ERRORS.model_copy(update={"id": name}) for name in ("first", "second"))
    stage = burning(config(inhibit=(Inhibition.model_validate(rule),)))
    stage.project = replace(stage.project, rules=(second, first))
    stage.run(range(2))
    assert told(stage, "oncall") == [("first", "fired")]
    assert stage.log.named("held")[0]["why"] == "inhibited by first on sales"


def test_the_fallback_hears_the_end_of_what_it_heard_in_anothers_place() -> None:
    """A receiver that comes back before the end takes the end itself; the incident at the fallback is closed too."""
    only = CONFIG.routes.model_copy(update={"to": ("oncall",)})
    stage = burning(config(routes=only), minutes=5)
    stage.oncall.outcomes = [Outcome(Said.REFUSED, "HTTP 400")]
    stage.run(range(1))
    stage.busy(T0 + 5 * MINUTE, T0 + 40 * MINUTE)
    stage.run(range(1, 20))
    assert told(stage, "team") == [("high_error_rate", "fired"), ("high_error_rate", "resolved")]
    assert [notice.episode for notice in stage.team.got] == [stage.oncall.got[0].episode] * 2


def test_a_receivers_pace_is_counted_right_however_many_messages_it_takes() -> None:
    """And one row of the store holds it."""
    moments: list[tuple[datetime, int]] = []
    for number in range(3_000):
        for _ in range(3):
            moments = with_one(moments, T0 + number * MINUTE)
    assert sum(count for _, count in moments) == 9_000
    assert (len(moments), moments[-1]) == (MOMENTS, (T0 + 2_999 * MINUTE, 3))
    assert moments == sorted(moments)
    assert Paced("a", (T0, T0)).moments == [(T0, 1), (T0, 1)], "as it was stored before"
