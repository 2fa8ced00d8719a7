"""A new revision has the time of its own probes to start. Until then it is starting, and not unproven."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.stage import MINUTE, STOP, SWITCH, T0, TARGET, Stage
from tests.test_acting import facts, misconfigured, told
from tocsin.core.container import App, Revision
from tocsin.core.remedy import Applied, Did, Phase
from tocsin.core.starting import AROUND, LONGEST, patience, starting

STARTUP = {"type": "Startup", "periodSeconds": 10, "failureThreshold": 60, "timeoutSeconds": 5}


def template(*probes: dict[str, Any]) -> dict[str, Any]:
    return {"containers": [{"name": TARGET.container, "probes": list(probes)}]}


@pytest.mark.parametrize(
    ("probes", "seconds"),
    [
        ([STARTUP], 605),
        ([{**STARTUP, "initialDelaySeconds": 30}], 635),
        ([STARTUP, {"type": "Liveness", "periodSeconds": 240, "failureThreshold": 10}], 605),
        ([{"type": "Liveness", "periodSeconds": 30, "failureThreshold": 4, "timeoutSeconds": 2}], 122),
        ([{"type": "Liveness"}, {"type": "Readiness", "periodSeconds": 20, "initialDelaySeconds": 5}], 66),
        ([{"type": "Startup"}], 31),
        ([], 244),
        ([{"type": "Startup", "periodSeconds": "many", "failureThreshold": None, "timeoutSeconds": -1}], 31),
        ([{**STARTUP, "failureThreshold": 10**9}], 1800),
        ([{**STARTUP, "periodSeconds": float("inf")}], 1800),
    ],
)
def test_a_start_may_take_what_its_probes_allow(probes: list[dict[str, Any]], seconds: int) -> None:
    assert patience(template(*probes)) == timedelta(seconds=seconds) + AROUND


def test_the_slowest_container_decides_and_a_template_without_any_has_the_platforms_probe() -> None:
    both = {"containers": [{"name": "otel"}, {"name": "api", "probes": [STARTUP]}]}
    assert patience(both) == timedelta(seconds=605) + AROUND
    assert patience({}) == patience(template())
    assert patience(template({**STARTUP, "failureThreshold": 10_000})) == LONGEST + AROUND


def app(**changes: Any) -> App:
    """Return an app whose old revision serves and whose new one has the switch and is coming up."""
    old = Revision("r1", True, 100, True, {}, template=template(STARTUP))
    new = Revision("r2", True, 0, False, {SWITCH: "on"}, state="Processing", template=template(STARTUP))
    new = replace(new, **changes)
    return App("id", "westeurope", new.template, {SWITCH: "on"}, (old, new), latest="r2")


def on(revision: Revision) -> bool:
    return revision.env.get(SWITCH) == "on"


@pytest.mark.parametrize(
    "changes",
    [{"running": True}, {"failed": True}, {"active": False}, {"env": {}}],
)
def test_what_runs_failed_is_off_or_is_another_does_not_start(changes: dict[str, Any]) -> None:
    assert starting(app(), on) == patience(template(STARTUP))
    assert starting(app(**changes), on) is None
    assert starting(replace(app(), latest="r3"), on) == patience(template(STARTUP)), "it is not listed yet"
    assert starting(replace(app(), latest=""), on) is None


# What a person reads


def slow(stage: Stage) -> None:
    """Let a change make a revision that has the switch and goes on starting."""
    stage.platform.outcomes = [Applied(Did.DONE, f"{SWITCH}: unset → on", starts=patience(template(STARTUP)))]
    stage.platform.read = lambda target: app()  # type: ignore[method-assign]


def phases(stage: Stage) -> list[str]:
    return [each.state for each in stage.inner.executions()]


def test_a_revision_that_takes_its_own_time_is_starting_and_not_unproven() -> None:
    stage = misconfigured(policies=(STOP,))
    slow(stage)
    stage.run(range(6 + 16))  # it is applied in minute 6, and `verify` gives it ten minutes
    assert phases(stage) == ["starting"]
    assert told(stage, "action failed") == []
    (acted,) = told(stage, "acted")
    assert acted.title.startswith("Starting, proof follows")
    assert "State: starting" in facts(acted)
    assert "the revision with it is starting, which may take until 03:21 UTC" in facts(acted)
    applied = [each["detail"]["reason"] for each in stage.inner.audit() if each["event"] == "applied"]
    assert applied == [f"{SWITCH}: unset → on; starting: it may take until 03:21:05 UTC, by the app's own probes"]
    assert "starting" in [each["phase"] for each in stage.log.named("execution")]


def test_a_revision_that_never_comes_up_is_unproven_once_its_time_is_up() -> None:
    stage = misconfigured(policies=(STOP,))
    slow(stage)
    stage.run(range(24))
    assert phases(stage) == ["unverified"]
    assert told(stage, "action failed")[0].title.startswith("Done but NOT proven")


def test_a_revision_that_failed_has_the_policys_time_and_no_more() -> None:
    stage = misconfigured(policies=(STOP,))
    slow(stage)
    stage.platform.read = lambda target: app(failed=True, state="Failed: exit 1")  # type: ignore[method-assign]
    stage.run(range(9))
    assert phases(stage) == ["applied"]
    assert "r2 has it and is Failed: exit 1" in stage.inner.executions()[0].reason
    stage.run(range(9, 18))
    assert phases(stage) == ["unverified"]


def test_a_later_check_has_as_much_longer_as_the_start_took() -> None:
    stage = misconfigured(policies=(STOP,))
    slow(stage)
    stage.run(range(20))
    serves = replace(app().revisions[1], weight=100, running=True)
    stage.platform.read = lambda target: replace(app(), revisions=(serves,))  # type: ignore[method-assign]
    at = T0 + 6 * MINUTE
    while at < T0 + 28 * MINUTE:  # and tools go on running for a while: their proof comes late, too
        stage.trace(at, "tool.executed", ok="true", external_system="send_email")
        at += timedelta(seconds=20)
    stage.run(range(20, 28))
    assert phases(stage) == ["applied"], "more than 20 minutes after it was applied: the start took four too many"
    stage.run(range(28, 31))
    assert phases(stage) == ["verified"]


def test_a_start_that_was_not_known_when_it_was_applied_is_recorded_when_it_is_seen() -> None:
    stage = misconfigured(policies=(STOP,))
    slow(stage)
    stage.platform.outcomes = [Applied(Did.DONE, "sent")]
    stage.run(range(8))
    assert phases(stage) == ["starting"]
    assert [each["event"] for each in stage.inner.audit()].count("starting") == 1
    assert stage.inner.executions()[0].phase is Phase.APPLIED


def test_an_app_that_cannot_be_read_while_it_starts_has_the_time_that_was_known() -> None:
    stage = misconfigured(policies=(STOP,))
    slow(stage)
    stage.run(range(7))
    del stage.platform.read  # type: ignore[method-assign]
    stage.platform.unreadable = True
    stage.run(range(7, 20))
    assert phases(stage) == ["starting"]
    stage.run(range(20, 23))
    assert phases(stage) == ["unverified"]
