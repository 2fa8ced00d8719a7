"""Every action on a Container App, through the real SDK against the local platform."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from starlette.applications import Starlette

from tocsin import actuators
from tocsin.actuators.connections import Connections
from tocsin.connections.arm import ContainerApps
from tocsin.connections.identity import StaticToken
from tocsin.core.action import Order, Preview, Undo
from tocsin.core.answer import NoAnswer
from tocsin.core.config import Target
from tocsin.core.remedy import Did
from tocsin.local.container_apps import ContainerAppsStandIn
from tocsin.local.serve import Served
from tocsin.testing import FrozenClock
from tocsin.testing.actuator_contract import ActuatorContract, Case

T0 = datetime(2026, 11, 20, 3, tzinfo=UTC)
TARGET = Target(
    name="sales", workspace="w", role_name="r", subscription="sub", resource_group="rg", container_app="sales-api"
)
BYSTANDER = TARGET.model_copy(update={"name": "other", "container_app": "other-api"})
MAP = '{"writer": "gpt-4o",  "critic":"gpt-4o-mini", "judge": "gpt-4o"}'
ENV = {
    "HITL_APPROVER_ENDPOINT": "https://approver.example",
    "KILLSWITCH_TOOLS": "off",
    "LOG_LEVEL": "info",
    "AZURE_AI_FOUNDRY_MODEL": "gpt-4o",
    "AZURE_AI_FOUNDRY_MODEL_MAP": MAP,
}
ONE, TWO = "sales-api--0000001", "sales-api--0000002"


def build(arm: ContainerAppsStandIn, clock: FrozenClock, multiple: bool, follows: bool = False) -> None:
    """Make an app with a sidecar and an init container, whose second revision is another version and serves."""
    for target in (TARGET, BYSTANDER):
        arm.create(target, ENV, multiple=multiple)
        template = arm.template(target)
        sidecar = {"name": "otel", "image": "otel:1", "env": [{"name": "LOG_LEVEL", "value": "warn"}]}
        template["containers"].insert(0, sidecar)
        template["initContainers"] = [{"name": "migrate", "image": "m:1", "env": [{"name": "A", "secretRef": "a"}]}]
        template["containers"][-1]["image"] = "registry.example/api:1"
        arm.set_template(target, template)
        clock.advance(timedelta(minutes=3))
        arm.state(target)
        template["containers"][-1]["image"] = "registry.example/api:2"
        arm.set_template(target, template)
        clock.advance(timedelta(minutes=3))
        if multiple:
            to = {"latestRevision": True} if follows else {"revisionName": f"{target.container_app}--0000003"}
            arm.set_traffic(target, [{**to, "weight": 100}])
        arm.state(target)


def ailing(case: Case) -> None:
    """A newer revision without traffic is unhealthy: where traffic is pinned, nothing lets it serve."""
    case.arm.ail(TARGET, TWO)


def pause(case: Case) -> None:
    """A revision without traffic was deactivated."""
    case.apply(Order("before", TARGET, {"revision": TWO}), "container_app.deactivate_revision")
    case.arm.acts.clear()


def engage(case: Case) -> None:
    case.finish(Order("before", TARGET, {"scope": "tools"}), "killswitch.engage")
    case.arm.patches.clear()


def nothing(case: Case) -> None:
    pass


MODES = ("single", "pinned", "following")
CASES: list[tuple[str, dict[str, str], Callable[[Case], None], tuple[str, ...]]] = [
    ("killswitch.engage", {"scope": "tools"}, nothing, MODES),
    ("killswitch.release", {"scope": "tools"}, engage, MODES),
    ("container_app.set_env", {"name": "LOG_LEVEL", "value": "debug"}, nothing, MODES),
    ("container_app.set_env", {"name": "LOG_LEVEL"}, nothing, MODES),
    ("container_app.set_env", {"name": "NEW", "value": ""}, nothing, ("single",)),
    ("container_app.scale", {"min": "2", "max": "6"}, nothing, MODES),
    ("container_app.scale", {"max": "20"}, nothing, ("single",)),
    ("container_app.restart", {}, nothing, MODES),
    ("container_app.rollback", {}, nothing, MODES),
    ("container_app.rollback", {"to": TWO}, nothing, MODES),
    ("container_app.deactivate_revision", {}, ailing, ("pinned",)),
    ("container_app.deactivate_revision", {"revision": TWO}, nothing, ("pinned", "following")),
    ("container_app.activate_revision", {"revision": TWO}, pause, ("pinned", "following")),
    ("model.swap", {"to": "gpt-4o-mini"}, nothing, MODES),
]


def worlds(cases: object = CASES) -> list[object]:
    return [
        pytest.param((action, args, before, mode), id=f"{action} {' '.join(args.values())} {mode}".replace("  ", " "))
        for action, args, before, modes in CASES
        for mode in modes
    ]


@pytest.fixture
def make() -> Iterator[Callable[..., Case]]:
    clock = FrozenClock(T0)
    arm = ContainerAppsStandIn(clock.now)
    with Served(Starlette(routes=arm.routes())) as served:

        def made(action: str = "", args: dict[str, str] | None = None, mode: str = "single") -> Case:
            build(arm, clock, mode != "single", mode == "following")
            apps = ContainerApps(StaticToken("t"), served.url)
            return Case(action, args or {}, clock, arm, apps, TARGET, BYSTANDER)

        yield made


class TestEveryAction(ActuatorContract):
    @pytest.fixture(params=worlds())
    def case(self, request: pytest.FixtureRequest, make: Callable[..., Case]) -> Case:
        action, args, before, mode = request.param
        case = make(action, args, mode)
        before(case)
        case.wait(1)
        case.__post_init__()
        return case


def test_every_action_on_an_app_keeps_the_contract() -> None:
    ours = {name for name in actuators.known() if name.split(".")[0] in ("killswitch", "container_app", "model")}
    assert ours == {action for action, *_ in CASES}
