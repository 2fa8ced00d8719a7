"""The last resort: the whole app is stopped, by a person's word, where no killswitch comes to serve."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, ClassVar

import pytest

from tests.stage import CONFIG, MINUTE, MISCONFIGURED, STOP, SWITCH, T0, TARGET, Stage, by
from tests.test_acting import facts, told
from tests.test_guard import ALERT, NOW, a_case, refused
from tests.test_starting import slow
from tocsin.core.action import Order, Preview, Undo
from tocsin.core.answer import NoAnswer
from tocsin.core.config import Config
from tocsin.core.container import WHOLE, App, Look
from tocsin.core.fields import Automation
from tocsin.core.guard import Answer, Ruling, World, permit
from tocsin.core.hold import Engaged
from tocsin.core.message import Kind
from tocsin.core.policy import Policy
from tocsin.core.remedy import Applied, Did, Execution, Phase
from tocsin.core.rule import Rule
from tocsin.engine import consenting, switches

LAST = Policy.model_validate(
    {
        "id": "last_resort",
        "summary": "Stop the whole app.",
        "on": {"rule": "hitl_misconfigured"},
        "do": [{"container_app.stop": {}}],
        "guard": {"mode": "ask", "cooldown": "0s", "blast_radius": "1 target per 15m"},
        "if_it_fails": {"escalate": "oncall"},
    }
)
STOPPED_BY = "the app is stopped, by policy last_resort since 2026-11-20 03:26 UTC"
ALLOWED = ("killswitch.engage", "container_app.stop")


# When it may be asked


def engage(phase: Phase, minutes: int = 20, **changes: Any) -> Execution:
    """Return what became of the attempt to engage the switch in the episode of the alert."""
    at = NOW - minutes * MINUTE
    found = Execution("stop/e", "stop", "sales", ALERT.episode, "killswitch.engage", {"scope": "tools"}, phase)
    return replace(found, begun=at, intended=at, **changes)


def last(*history: Execution, world: World | None = None, **changes: Any) -> Answer:
    target = a_case().target.model_copy(update={"allow": ALLOWED})
    given = {"policy": LAST, "target": target, "history": history, "world": world or World(False), **changes}
    return permit(a_case(**given))


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.UNVERIFIED])
def test_it_is_asked_once_an_engage_failed_or_stayed_unproven(phase: Phase) -> None:
    answer = last(engage(phase))
    assert (answer.ruling, answer.check) == (Ruling.ASK, "mode")
    assert answer.checks[0].words == f"stop/e is {phase.value}: "


@pytest.mark.parametrize("phase", [each for each in Phase if each not in (Phase.FAILED, Phase.UNVERIFIED)])
def test_it_is_not_due_while_an_engage_may_still_come_to_serve_or_was_never_begun(phase: Phase) -> None:
    assert refused(last(engage(phase)), "last resort")


def test_it_is_not_due_for_what_failed_in_another_episode_or_was_no_engage_or_is_tried_anew() -> None:
    assert refused(last(), "last resort")
    assert refused(last(engage(Phase.FAILED, episode="another")), "last resort")
    assert refused(last(engage(Phase.FAILED, action="model.swap")), "last resort")
    again = replace(engage(Phase.VERIFIED, 5), id="hold/e")
    assert refused(last(engage(Phase.FAILED), again), "last resort")
    assert last(again, replace(engage(Phase.FAILED, 2), id="third/e")).ruling is Ruling.ASK


def test_it_is_not_asked_once_the_switch_serves_after_all() -> None:
    answer = last(engage(Phase.UNVERIFIED), world=World(False, serves=SWITCH))
    assert refused(answer, "last resort")
    assert answer.reason == f"{SWITCH} is on everything that serves by now"


@pytest.mark.parametrize("automation", list(Automation))
def test_it_is_never_done_unasked(automation: Automation) -> None:
    policy = LAST.model_copy(update={"guard": LAST.guard.model_copy(update={"mode": Automation.ACT})})
    answer = last(engage(Phase.FAILED), policy=policy, automation=automation)
    assert answer.ruling is not Ruling.PERMIT
    assert last(engage(Phase.FAILED), policy=policy).ruling is Ruling.ASK


def test_one_target_is_stopped_at_a_time() -> None:
    other = replace(engage(Phase.APPLIED), id="last/other", target="support", action="container_app.stop")
    assert refused(last(engage(Phase.FAILED), other), "one at a time")
    assert last(engage(Phase.FAILED), replace(other, phase=Phase.VERIFIED)).ruling is Ruling.ASK


def test_of_a_stopped_app_no_switch_is_engaged() -> None:
    assert refused(permit(a_case(world=World(False, stopped=True))), "app runs")
    assert last(engage(Phase.FAILED), world=World(True, stopped=True)).check == "already in force"


# From the question to the proof


@dataclass
class Halt:
    """An app that can be stopped; it is its own actuator."""

    stage: Stage
    stopped: bool = False
    busy: int = 0
    orders: list[Order] = field(default_factory=list)
    readable: ClassVar[bool] = True
    finishes: ClassVar[bool] = False

    def preview(self, order: Order) -> Preview | NoAnswer:
        return Preview(() if self.stopped else ("r1: stops",), Undo("container_app.start", {}))

    def apply(self, order: Order) -> Applied:
        self.orders.append(order)
        if self.busy:
            self.busy -= 1
            return Applied(Did.BUSY, "a deployment is in progress")
        before, self.stopped = self.stopped, True
        return Applied(Did.ALREADY if before else Did.DONE, "stopped", undo=Undo("container_app.start", {}))

    def holds(self, order: Order) -> bool | None:
        return self.stopped

    def look(self, order: Order) -> Look:
        return Look(self.stopped, "stopped" if self.stopped else "running")


def burning(policy: Policy = LAST, **config: Any) -> tuple[Stage, Halt]:
    """Return a stage on which the switch never comes to serve, with the last resort at hand."""
    target = TARGET.model_copy(update={"allow": ALLOWED})
    changed = Config.model_validate({**dict(CONFIG), "targets": (target,), **config})
    stage = Stage(policies=(STOP, policy), config=changed)
    stage.busy(T0 - 20 * MINUTE, T0 + 90 * MINUTE)
    del stage.platform.env["HITL_APPROVER_ENDPOINT"]
    slow(stage)
    halt = Halt(stage)
    stage.actuators["container_app.stop"] = halt
    coming = stage.platform.read

    def read(given: Any) -> App | NoAnswer:
        app = coming(given)
        return replace(app, status="Stopped" if halt.stopped else "Running") if isinstance(app, App) else app

    stage.platform.read = read  # type: ignore[method-assign]
    return stage, halt


def of(stage: Stage, policy: str = "last_resort") -> Execution:
    return next(each for each in stage.inner.executions() if each.policy == policy)


def approve(stage: Stage, at: datetime) -> None:
    consenting.consent(stage.engine.reporter, of(stage).asks, by("ada"), at)


def test_it_is_asked_when_the_time_for_a_start_is_up_and_not_before() -> None:
    stage, halt = burning()
    stage.run(range(21))
    assert [each.policy for each in stage.inner.executions()] == ["stop_unsafe_tools"], "nothing is recorded of it yet"
    stage.run(range(21, 25))
    assert (of(stage).phase, halt.orders) == (Phase.ASKED, [])
    (asked,) = [each for each in told(stage, "acted") if "container_app.stop" in each.title]
    assert asked.title.startswith("A person must decide")
    assert asked.asks == of(stage).asks
    assert "/stop?api-version=" in asked.manual


def test_a_page_that_promises_says_when_it_would_be_asked() -> None:
    stage, _ = burning()
    stage.run(range(3))
    words = "last_resort asks before it does container_app.stop should a killswitch that is engaged for this fail"
    assert words in facts(told(stage, "fired")[0])


def test_what_a_person_approved_is_done_once_proven_and_remembered() -> None:
    stage, halt = burning()
    stage.run(range(25))
    approve(stage, T0 + 25 * MINUTE)
    stage.run(range(25, 30))
    assert (of(stage).phase, len(halt.orders)) == (Phase.VERIFIED, 1)
    done = told(stage, "acted")[-1]
    assert done.title.startswith("Done and proven: container_app.stop")
    assert "tocsin killswitch start --target sales" in facts(done)
    assert "/start?api-version=" in done.manual
    assert (
        switches.stopped_by(stage.inner, TARGET)
        == "the app is stopped, by policy last_resort since 2026-11-20 03:26 UTC"
    )


def test_nobody_is_asked_any_more_and_nothing_is_stopped_once_the_switch_serves() -> None:
    stage, halt = burning()
    stage.run(range(25))
    approve(stage, T0 + 25 * MINUTE)
    found = stage.platform.read(TARGET)
    assert isinstance(found, App)
    serves = replace(found.revisions[1], weight=100, running=True)
    stage.platform.read = lambda target: replace(found, revisions=(serves,))  # type: ignore[method-assign]
    stage.run(range(25, 28))
    assert (of(stage).phase, halt.orders) == (Phase.REFUSED, [])
    assert "is on everything that serves by now" in facts(told(stage, Kind.FAILED.value)[-1]), (
        "who approved hears why not"
    )


def test_what_waits_for_a_busy_platform_is_let_go_once_the_switch_serves() -> None:
    stage, halt = burning()
    stage.run(range(25))
    approve(stage, T0 + 25 * MINUTE)
    halt.busy = 2
    stage.run(range(25, 27))
    assert (of(stage).phase, halt.stopped) == (Phase.INTENDED, False)
    found = stage.platform.read(TARGET)
    assert isinstance(found, App)
    serves = replace(found.revisions[1], weight=100, running=True)
    stage.platform.read = lambda target: replace(found, revisions=(serves,))  # type: ignore[method-assign]
    stage.run(range(27, 29))
    assert (of(stage).phase, halt.stopped) == (Phase.STOOD_DOWN, False)
    assert "is on everything that serves by now" in facts(told(stage, Kind.FAILED.value)[-1])


def test_in_observe_it_is_only_noted() -> None:
    stage, halt = burning(automation="observe")
    stage.run(range(30))
    assert [each.policy for each in stage.inner.executions()] == ["stop_unsafe_tools"], "nothing was engaged"
    assert halt.orders == []


# While it is stopped


def stopped() -> tuple[Stage, Halt]:
    stage, halt = burning()
    stage.run(range(25))
    approve(stage, T0 + 25 * MINUTE)
    stage.run(range(25, 28))
    stage.telemetry.forget()  # what is stopped says nothing, and what was said before is out of every window
    return stage, halt


def test_nothing_resolves_while_the_app_is_stopped_and_the_blind_note_says_who_stopped_it() -> None:
    stage, _ = stopped()
    stage.run(range(28, 60))
    alerts = {each.rule: each for each in stage.inner.open_alerts()}
    assert alerts["hitl_misconfigured"].state.value == "firing"
    (blind,) = [each for each in told(stage, "blind") if each.rule == "telemetry_blind"]
    assert STOPPED_BY in facts(blind)
    assert STOPPED_BY in alerts["telemetry_blind"].reason
    assert [each for each in stage.oncall.got if each.rule == "rule_blind"] == [], "that says it all"


def drift() -> Rule:
    when = {"signal": "killswitch_drift", "above": "0", "over": "1m", "by": ["scope"]}
    given = {"id": "killswitch_drift", "summary": "{scope} is gone.", "severity": "P1", "when": when}
    return Rule.model_validate(given)


HOLD = Policy.model_validate(
    {
        "id": "hold_killswitch",
        "summary": "Engage it again.",
        "on": {"rule": "killswitch_drift"},
        "do": [{"killswitch.engage": {"scope": "{scope}"}}],
        "guard": {"mode": "act"},
        "hold": True,
    }
)


def test_an_app_that_runs_again_though_nobody_started_it_is_drift_which_no_policy_answers() -> None:
    stage = Stage(MISCONFIGURED, drift(), policies=(HOLD,))
    stage.busy(T0 - 20 * MINUTE, T0 + 20 * MINUTE)
    stage.meters["switches"] = switches.Switches(stage.inner, stage.platform)
    switches.stopped(stage.inner, TARGET, "policy last_resort", T0)
    stage.run(range(3))
    (fired,) = told(stage, "fired")
    assert (fired.rule, fired.title) == ("killswitch_drift", "app is gone.")
    assert "the app was stopped, and it runs again" in facts(fired)
    assert stage.inner.executions() == []
    switches.released(stage.inner, TARGET, WHOLE)
    stage.run(range(3, 6))
    assert stage.inner.open_alerts() == []


def test_a_stopped_app_that_stays_so_is_no_drift() -> None:
    stage, _ = stopped()
    assert stage.inner.kept(Engaged)
    stage.meters["switches"] = switches.Switches(stage.inner, stage.platform)
    found = stage.meters["switches"].read(TARGET, "drifted", T0, T0)
    assert isinstance(found, NoAnswer)
    assert found.detail == "the app is stopped"
    assert switches.look_for_releases(stage.inner, stage.platform, TARGET, T0 + 30 * MINUTE) == 0
