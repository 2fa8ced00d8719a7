"""What is refused is in the audit and in ``explain``; who is paged for it, and how often."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.acted import Bench, policy
from tests.stage import MINUTE, T0
from tocsin.cli.reasons import Known, Subject, reasons
from tocsin.core.matching import parse
from tocsin.core.message import Kind
from tocsin.core.mute import Muting, Silence
from tocsin.core.remedy import Phase
from tocsin.engine import standing

ONE_STEP = {"first.do": {}}
LIMITS = {"cooldown": "1h"}, {"at_most": "1 per 1h"}


def silence(bench: Bench) -> None:
    made = Silence("s1", (parse("target=sales"),), "ann", "load test", T0, T0 + timedelta(days=1), actions=True)
    bench.inner.keep(Silence, made.id, made, None)


def flaps(bench: Bench, times: int) -> None:
    """Let the alert fire anew every four minutes, each time for so long that its policy is due.

    What was done has been undone by then: what is in force already is no refusal.
    """
    for number in range(times):
        bench.done.clear()
        at = T0 + number * 4 * MINUTE
        bench.alert = replace(bench.alert, since=at, fired=at)
        bench.act(number * 4)
        bench.act(number * 4 + 1)


def pages(bench: Bench) -> list[str]:
    return [each.title for each in bench.told() if each.kind is Kind.FAILED]


def test_an_action_that_a_silence_keeps_back_pages_nobody_and_is_in_the_audit_and_explained() -> None:
    bench = Bench(policy(ONE_STEP))
    silence(bench)
    flaps(bench, 15)
    assert bench.told() == []
    assert bench.first.orders == []
    refused = [entry for entry in bench.inner.audit() if "silenced by ann" in str(entry)]
    assert len(refused) == 15, "one an episode"
    audience, done = standing.audience(bench.project.config), tuple(bench.inner.executions())
    known = Known(T0 + 60 * MINUTE, bench.project, audience, Muting(), {}, {}, (bench.alert,), (), done)
    told = " ".join(each.says for each in reasons(Subject("k", bench.alert, None), known))
    assert "silenced by ann, actions too: load test" in told


@pytest.mark.parametrize("limit", LIMITS)
def test_an_alert_that_flaps_is_paged_once_an_hour_for_the_same_refusal(limit: dict[str, str]) -> None:
    bench = Bench(policy(ONE_STEP, guard=limit))
    flaps(bench, 15)
    assert [each.phase for each in bench.inner.executions()].count(Phase.REFUSED) == 14
    assert len(pages(bench)) == 1
    again = Bench(policy(ONE_STEP, guard={name: value.replace("1h", "6h") for name, value in limit.items()}))
    flaps(again, 40)
    assert len(pages(again)) == 3, "one an hour while it goes on"


def test_another_alert_that_is_refused_is_paged_by_itself() -> None:
    bench = Bench(policy(ONE_STEP, guard={"cooldown": "6h"}))
    bench.act(0)
    bench.act(1)
    bench.done.clear()
    first, second = (replace(bench.alert, fired=T0 + 4 * MINUTE, by=(("agent", name),)) for name in ("a", "b"))
    for alert in (first, second):
        bench.act(5, replace(alert, slot=T0 + 5 * MINUTE))
    assert len(pages(bench)) == 2
