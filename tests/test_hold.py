"""A switch stays engaged until a person releases it: what undid it is told apart, and it is held where it may be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.applications import Starlette
from typer.testing import CliRunner

from tests.conftest import ROOT
from tests.stage import CONFIG, MINUTE, MISCONFIGURED, STOP, SWITCH, TARGET, Stage
from tocsin import actuators
from tocsin.actuators.connections import Connections
from tocsin.cli.commands import program
from tocsin.connections.arm import ContainerApps
from tocsin.connections.identity import StaticToken
from tocsin.core import hold
from tocsin.core.container import SECRET, App, Revision
from tocsin.core.hold import Engaged, Standing
from tocsin.core.policy import Policy
from tocsin.core.read import Project
from tocsin.core.remedy import Phase
from tocsin.engine import switches
from tocsin.files import read_project
from tocsin.local.container_apps import ContainerAppsStandIn
from tocsin.local.serve import Served
from tocsin.local.world import World
from tocsin.stores.sqlite import SqliteStore
from tocsin.telemetry.container_app import ContainerAppConfiguration
from tocsin.testing import FrozenClock

T0 = datetime(2026, 11, 20, 3, tzinfo=UTC)


# What is seen, and what is concluded


def template(env: dict[str, str], image: str = "api:1") -> dict[str, Any]:
    entries = [{"name": name, "value": value} for name, value in env.items()]
    return {"containers": [{"name": "api", "image": image, "env": entries}]}


def revision(name: str, env: dict[str, str], weight: int = 100) -> Revision:
    return Revision(name, active=True, weight=weight, running=True, env=env)


def an_app(env: dict[str, str], *serving: Revision, image: str = "api:1", multiple: bool = False) -> App:
    shown = serving or (revision("r1", env),)
    traffic = tuple({"revisionName": each.name, "weight": each.weight} for each in shown) if multiple else ()
    return App("id", "westeurope", template(env, image), env, shown, multiple, traffic=traffic)


ON, OFF = {"A": "1", SWITCH: "on"}, {"A": "1", SWITCH: "off"}
SINCE = Engaged("sales", "tools", "policy stop", T0, hold.runs(template(ON), TARGET, SWITCH))


@pytest.mark.parametrize(
    ("app", "standing"),
    [
        (an_app(ON), Standing.HELD),
        (an_app({"A": "1", SWITCH: "TRUE"}), Standing.HELD),
        (an_app(ON, image="api:2"), Standing.HELD),
        (an_app({"A": "1"}), Standing.DRIFTED),
        (an_app({"A": "2"}), Standing.DRIFTED),
        (an_app({"A": "1"}, revision("r1", ON)), Standing.DRIFTED),  # the next revision comes without it
        (an_app(OFF), Standing.RELEASED),
        (an_app({"A": "1", SWITCH: "Off"}), Standing.RELEASED),
        (an_app(OFF, revision("r1", ON)), Standing.RELEASED),
        (an_app(OFF, image="api:2"), Standing.DRIFTED),
        (an_app({**OFF, "A": "2"}), Standing.DRIFTED),
        (an_app({**OFF, "B": "1"}), Standing.DRIFTED),
        (an_app({"A": "1", SWITCH: ""}), Standing.DRIFTED),  # a template's empty default is nobody's word
        (an_app({"A": "1", SWITCH: "0"}), Standing.DRIFTED),
        (an_app({"A": "1", SWITCH: SECRET}), Standing.UNSURE),
        (an_app(ON, revision("r1", {SWITCH: SECRET})), Standing.UNSURE),
        (an_app(ON, revision("r1", ON, weight=0)), Standing.UNSURE),
    ],
)
def test_what_became_of_a_switch_is_told_from_what_serves_and_what_the_template_says(
    app: App, standing: Standing
) -> None:
    found, words = hold.judge(SINCE, app, TARGET)
    assert found is standing
    assert words


@pytest.mark.parametrize(
    ("env", "serving", "standing"),
    [
        (ON, (revision("new", ON, 20), revision("old", {"A": "1"}, 80)), Standing.DRIFTED),
        (ON, (revision("new", ON, 20), revision("old", ON, 80)), Standing.HELD),
        ({"A": "1"}, (revision("old", ON),), Standing.HELD),  # what is deployed serves nobody yet
        (OFF, (revision("new", OFF, 20), revision("old", ON, 80)), Standing.RELEASED),
        (OFF, (revision("new", OFF, 20), revision("older", {"A": "1"}, 80)), Standing.DRIFTED),
    ],
)
def test_where_traffic_is_shared_out_every_revision_with_some_of_it_counts(
    env: dict[str, str], serving: tuple[Revision, ...], standing: Standing
) -> None:
    assert hold.judge(SINCE, an_app(env, *serving, multiple=True), TARGET)[0] is standing


# In the world


@dataclass
class Held:
    """A stage on the local platform, with the shipped rule and policy about drift."""

    clock: FrozenClock
    arm: ContainerAppsStandIn
    apps: ContainerApps
    stage: Stage
    minute: int = 0

    def run(self, minutes: int) -> None:
        engine = replace(
            self.stage.engine,
            configuration=ContainerAppConfiguration(self.apps),
            actuators=actuators.made(Connections(self.apps)),
        )
        for _ in range(minutes):
            self.clock.advance(T0 + self.minute * MINUTE - self.clock.now())
            engine.tick(self.clock.now())
            self.minute += 1

    def provision(self, **env: str) -> None:
        self.arm.provision(TARGET, {"HITL_APPROVER_ENDPOINT": "https://approver.example", **env})

    def by_hand(self, value: str) -> None:
        """Set the variable and nothing else, as the printed command does."""
        changed = self.arm.template(TARGET)
        entries = changed["containers"][0]["env"]
        entries[:] = [*(each for each in entries if each["name"] != SWITCH), {"name": SWITCH, "value": value}]
        self.arm.set_template(TARGET, changed)

    def deploy(self) -> None:
        changed = self.arm.template(TARGET)
        changed["containers"][0]["image"] += ".1"
        self.arm.set_template(TARGET, changed)

    @property
    def on(self) -> bool:
        return self.arm.serving_env(TARGET).get(SWITCH) == "on"

    @property
    def kept(self) -> list[Engaged]:
        return [each.value for each in self.stage.inner.kept(Engaged).values()]

    def holds(self) -> list[Phase]:
        found = [each for each in self.stage.inner.executions() if each.policy == "hold_killswitch"]
        return [each.phase for each in sorted(found, key=lambda each: str(each.begun))]

    def engage(self) -> None:
        """Let the first policy engage it, and prove it."""
        self.run(8)
        self.provision()
        self.run(10)


def shipped() -> Project:
    found = read_project(ROOT, {}, actuators_known())
    rules = tuple(each for each in found.rules if each.id == "killswitch_drift")
    policies = tuple(each for each in found.policies if each.id == "hold_killswitch")
    assert len(rules) == len(policies) == 1
    stop = Policy.model_validate({**STOP.model_dump(by_alias=True, exclude={"guard", "verify"}), "guard": GUARD})
    return Project(rules=(MISCONFIGURED, *rules), policies=(stop, *policies), config=CONFIG)


GUARD = {"mode": "act", "cooldown": "0s"}


def actuators_known() -> Any:
    from tocsin.app import known

    return known()


@pytest.fixture
def held() -> Iterator[Held]:
    clock = FrozenClock(T0)
    arm = ContainerAppsStandIn(clock.now)
    arm.create(TARGET, {})
    project = shipped()
    stage = Stage(*project.rules, policies=project.policies)
    stage.busy(T0 - 20 * MINUTE, T0 + 150 * MINUTE)
    with Served(Starlette(routes=arm.routes())) as served:
        found = Held(clock, arm, ContainerApps(StaticToken("t"), served.url), stage)
        found.run(8)
        assert found.arm.template_env(TARGET)[SWITCH] == "on"
        found.run(4)
        assert found.on
        assert [each.scope for each in found.kept] == ["tools"]
        yield found


def test_provisioning_that_clears_the_switch_is_told_and_it_is_engaged_again_three_times_an_hour(held: Held) -> None:
    for _ in range(3):
        held.provision()
        held.run(9)
        assert held.on
    assert held.holds() == [Phase.VERIFIED] * 3
    titles = [each.title for each in held.stage.oncall.got if each.rule == "killswitch_drift"]
    assert "The killswitch (tools) of sales was engaged and is gone, though nobody released it." in titles
    held.provision()
    held.run(9)
    assert not held.on
    assert held.holds()[3:] == [Phase.REFUSED]
    refused = held.stage.oncall.got[-1]
    assert refused.kind.value == "action failed"
    assert "acted 3 times within 1h, at most 3" in " ".join(fact.value for fact in refused.facts)


def test_what_a_person_releases_by_hand_is_no_drift_and_no_policy_acts_in_this_episode(held: Held) -> None:
    held.by_hand("off")
    held.run(15)
    assert not held.on
    assert (held.kept, held.holds()) == ([], [])
    (seen,) = [each for each in held.stage.inner.audit() if each["event"] == "release seen"]
    assert (seen["actor"], seen["detail"]["engaged by"]) == ("person (by hand)", "policy stop_unsafe_tools")
    assert not [each for each in held.stage.inner.open_alerts() if each.rule == "killswitch_drift" and each.open]
    again = Policy.model_validate(
        {**STOP.model_dump(by_alias=True, exclude={"guard", "id"}), "id": "b", "guard": GUARD}
    )
    held.stage.project = replace(held.stage.project, policies=(*held.stage.project.policies, again))
    held.run(3)
    assert not held.on
    (second,) = [each for each in held.stage.inner.executions() if each.policy == "b"]
    assert (second.phase, second.stopped_by) == (Phase.REFUSED, "held off, told")


def test_a_release_by_hand_after_a_deployment_under_the_switch_is_a_release_all_the_same(held: Held) -> None:
    held.deploy()
    held.run(4)
    assert held.on
    held.by_hand("off")
    held.run(8)
    assert not held.on
    assert held.holds() == []


def test_off_together_with_other_changes_is_drift(held: Held) -> None:
    held.provision(**{SWITCH: "off", "A": "1"})
    held.run(9)
    assert held.on
    assert held.holds() == [Phase.VERIFIED]


def test_a_policy_that_does_not_hold_lets_it_drift_and_it_is_told(held: Held) -> None:
    held.stage.project = replace(held.stage.project, policies=held.stage.project.policies[:1])
    held.provision()
    held.run(9)
    assert not held.on
    assert any(each.rule == "killswitch_drift" for each in held.stage.oncall.got)


def test_an_app_that_cannot_be_read_is_neither_drift_nor_release(held: Held) -> None:
    held.arm.delete(TARGET)
    held.run(5)
    assert held.holds() == []
    assert len(held.kept) == 1
    assert not any(each["event"] == "release seen" for each in held.stage.inner.audit())


def test_what_was_engaged_twice_is_kept_once_and_as_it_was_first(held: Held) -> None:
    (before,) = held.kept
    switches.engaged(held.stage.inner, ContainerAppConfiguration(held.apps), TARGET, "tools", "kim", T0 + timedelta(9))
    assert held.kept == [before]


def test_a_release_by_the_command_line_forgets_it(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.reading_cases import project

    with World(T0, seed=1) as world:
        world.arm.ready_after = timedelta()
        root = project(tmp_path)
        for name, value in {**world.settings(), "TOCSIN_STATE": str(tmp_path / "state.sqlite")}.items():
            monkeypatch.setenv(name, value)

        def run(verb: str, *more: str) -> None:
            given = ["killswitch", verb, "-t", "sales-research", "--reason", "it was tried again", "--root", str(root)]
            result = CliRunner().invoke(program, [*given, *more])
            assert result.exit_code == 0, result.output

        store = SqliteStore(tmp_path / "state.sqlite")
        run("engage")
        (kept,) = [each.value for each in store.kept(Engaged).values()]
        assert (kept.scope, kept.by.startswith("person ")) == ("tools", True)
        run("release", "--override")
        assert store.kept(Engaged) == {}
