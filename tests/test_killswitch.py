"""The killswitch through the real SDK against the local platform: one variable changes, and nothing else does."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.applications import Starlette

from tocsin import actuators
from tocsin.connections.arm import ContainerApps
from tocsin.connections.identity import StaticToken
from tocsin.core import container
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.config import Target
from tocsin.core.container import App, engaged, verify, with_variable
from tocsin.core.remedy import Applied, Did
from tocsin.local.container_apps import ContainerAppsStandIn
from tocsin.local.serve import Served
from tocsin.telemetry.container_app import ContainerAppConfiguration
from tocsin.testing import FrozenClock

T0 = datetime(2026, 11, 20, 3, tzinfo=UTC)
TARGET = Target(
    name="sales", workspace="w", role_name="r", subscription="sub", resource_group="rg", container_app="sales-api"
)
TOOLS = {"scope": "tools"}
SWITCH = "KILLSWITCH_TOOLS"


@dataclass
class Platform:
    """The local platform with one app, and everything that talks to it."""

    clock: FrozenClock
    arm: ContainerAppsStandIn
    apps: ContainerApps

    def engage(self, args: dict[str, str] = TOOLS) -> Applied:
        return actuators.made(self.apps)["killswitch.engage"].apply(TARGET, args)

    def release(self) -> Applied:
        return actuators.made(self.apps)["killswitch.release"].apply(TARGET, TOOLS)

    def read(self) -> App:
        app = ContainerAppConfiguration(self.apps).read(TARGET)
        assert isinstance(app, App), app
        return app

    def proven(self) -> bool:
        return verify(self.read(), SWITCH, True).holds

    def wait(self, seconds: int = 120) -> None:
        self.clock.advance(timedelta(seconds=seconds))


@pytest.fixture
def platform() -> Iterator[Platform]:
    clock = FrozenClock(T0)
    arm = ContainerAppsStandIn(clock.now)
    arm.create(TARGET, {"HITL_APPROVER_ENDPOINT": "https://approver.example"})
    with Served(Starlette(routes=arm.routes())) as served:
        yield Platform(clock, arm, ContainerApps(StaticToken("t"), served.url))


def difference(before: Any, after: Any, path: str = "") -> list[str]:
    """Return the paths at which two JSON values differ; null and absent are the same in a merge patch."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            found
            for key in sorted(before.keys() | after.keys())
            for found in difference(before.get(key), after.get(key), f"{path}.{key}")
        ]
    if isinstance(before, list) and isinstance(after, list):
        length = max(len(before), len(after))
        padded = [[*each, *["(absent)"] * (length - len(each))] for each in (before, after)]
        return [
            found
            for at, (one, two) in enumerate(zip(*padded, strict=True))
            for found in difference(one, two, f"{path}[{at}]")
        ]
    return [] if before == after else [path]


def test_engaging_changes_exactly_one_variable_and_sends_nothing_but_the_template(platform: Platform) -> None:
    before = platform.arm.template(TARGET)
    applied = platform.engage()
    assert applied.did is Did.DONE
    assert "/operations/op1" in applied.operation
    (patch,) = platform.arm.patches
    assert set(patch.body) == {"location", "properties"}
    assert set(patch.body["properties"]) == {"template"}
    assert difference(before, platform.arm.template(TARGET)) == [".containers[0].env[2]"]
    assert platform.arm.template(TARGET)["containers"][0]["env"][2] == {"name": SWITCH, "value": "on"}
    assert "aFieldOfTomorrow" in platform.arm.template(TARGET), "what the SDK does not know is kept"


def test_several_containers_init_containers_and_sidecars_are_sent_back_as_they_were(platform: Platform) -> None:
    template = platform.arm.template(TARGET)
    sidecar = {"name": "otel", "image": "otel:1", "env": [{"name": SWITCH, "value": "off"}], "tomorrow": 1}
    template["containers"].insert(0, sidecar)
    template["initContainers"] = [{"name": "migrate", "image": "m:1", "command": ["run"], "env": None}]
    template["volumes"] = [{"name": "tmp", "storageType": "EmptyDir", "mountOptions": ""}]
    platform.arm.set_template(TARGET, template)
    platform.wait()
    platform.engage()
    assert difference(template, platform.arm.template(TARGET)) == [".containers[1].env[2]"]


def test_a_variable_that_is_there_is_changed_in_its_place(platform: Platform) -> None:
    platform.arm.provision(TARGET, {SWITCH: "off", "HITL_APPROVER_ENDPOINT": "x"})
    platform.wait()
    before = platform.arm.template(TARGET)
    platform.engage()
    assert difference(before, platform.arm.template(TARGET)) == [".containers[0].env[1].value"]


def test_the_switch_is_proven_only_when_the_revision_that_serves_has_it_and_runs(platform: Platform) -> None:
    platform.engage()
    assert not platform.proven()
    platform.wait(60)
    assert not platform.proven()
    platform.wait(60)
    assert platform.proven()
    assert engaged(platform.arm.serving_env(TARGET)[SWITCH])


def test_engaging_twice_is_engaging_once(platform: Platform) -> None:
    platform.engage()
    assert platform.engage().did is Did.BUSY, "the first operation still runs"
    platform.wait()
    again = platform.engage()
    assert again.did is Did.ALREADY
    assert "already engaged" in again.detail
    assert len(platform.arm.patches) == 1


@pytest.mark.parametrize("value", ["1", "true", "ON", "On", "TRUE"])
def test_a_switch_that_a_person_engaged_is_left_as_it_is(platform: Platform, value: str) -> None:
    platform.arm.provision(TARGET, {SWITCH: value})
    platform.wait()
    assert platform.engage().did is Did.ALREADY
    assert not platform.arm.patches


def test_release_sets_the_variable_to_off_and_releasing_a_released_switch_does_nothing(platform: Platform) -> None:
    assert platform.release().did is Did.ALREADY
    platform.engage()
    platform.wait()
    assert platform.release().did is Did.DONE
    platform.wait()
    assert platform.arm.template_env(TARGET)[SWITCH] == "off"
    assert not platform.proven()


@pytest.mark.parametrize(
    ("scope", "variable"), [("tools", SWITCH), ("workflow", "KILLSWITCH_WORKFLOW"), ("all", "KILLSWITCH")]
)
def test_each_scope_has_its_variable(platform: Platform, scope: str, variable: str) -> None:
    platform.engage({"scope": scope})
    assert platform.arm.template_env(TARGET)[variable] == "on"


def test_a_variable_that_refers_to_a_secret_is_not_touched(platform: Platform) -> None:
    template = platform.arm.template(TARGET)
    template["containers"][0]["env"].append({"name": SWITCH, "secretRef": "switch"})
    platform.arm.set_template(TARGET, template)
    platform.wait()
    applied = platform.engage()
    assert (applied.did, "reference to a secret" in applied.detail) == (Did.FAILED, True)
    assert not platform.arm.patches


def test_a_container_that_is_not_in_the_app_is_named_with_those_that_are(platform: Platform) -> None:
    elsewhere = TARGET.model_copy(update={"container": "worker"})
    applied = actuators.made(platform.apps)["killswitch.engage"].apply(elsewhere, TOOLS)
    assert (applied.did, applied.detail.endswith("it has: api")) == (Did.FAILED, True)
    assert not platform.arm.patches


def test_a_deployment_between_the_two_reads_is_never_overwritten(platform: Platform) -> None:
    class Racing(ContainerApps):
        reads = 0

        def get(self, target: Target) -> App | NoAnswer:
            found = super().get(target)
            Racing.reads += 1
            if Racing.reads == 1:
                newer = platform.arm.template(TARGET)
                newer["containers"][0]["image"] = "registry.example/sales-research-api:2026.12"
                platform.arm.set_template(TARGET, newer)
            return found

    platform.apps.__class__ = Racing
    applied = platform.engage()
    assert applied.did is Did.BUSY
    assert platform.arm.template(TARGET)["containers"][0]["image"].endswith("2026.12")
    assert not platform.arm.patches


def test_in_multiple_mode_every_revision_with_traffic_must_have_it_and_traffic_is_moved(platform: Platform) -> None:
    platform.arm.create(TARGET, {}, multiple=True)
    platform.engage()
    platform.wait()
    assert not platform.proven(), "the old revision keeps its traffic"
    moved = platform.engage()
    assert moved.did is Did.DONE
    assert "was sales-api--0000001 100%" in moved.detail
    assert set(platform.arm.patches[-1].body["properties"]) == {"configuration"}
    assert platform.arm.serving(TARGET) == [("sales-api--0000002", 100)]
    assert platform.proven()
    assert platform.engage().did is Did.ALREADY


def test_a_revision_that_never_becomes_ready_is_never_proven(platform: Platform) -> None:
    platform.arm.never_ready = True
    platform.engage()
    platform.wait(3600)
    assert not platform.proven()
    assert "is not on on sales-api--0000001" in verify(platform.read(), SWITCH, True).words


@pytest.mark.parametrize(
    ("fault", "did"),
    [
        ("forbidden", Did.FAILED),
        ("missing", Did.FAILED),
        ("conflict", Did.BUSY),
        ("throttled", Did.BUSY),
        ("error", Did.BUSY),
        ("unavailable", Did.BUSY),
        ("disconnect", Did.BUSY),
    ],
)
def test_what_the_platform_answers_to_a_patch_decides_whether_it_is_tried_again(
    platform: Platform, fault: str, did: Did
) -> None:
    platform.arm.faults.add(fault, times=1, matching="PATCH", message="missing Microsoft.App/containerApps/write")
    applied = platform.engage()
    assert applied.did is did
    if did is Did.FAILED:
        assert "Microsoft.App/containerApps/write" in applied.detail
    assert platform.engage().did is Did.DONE
    assert len(platform.arm.patches) == 1, "no retry of the SDK doubles a PATCH"


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("forbidden", Why.FORBIDDEN),
        ("missing", Why.MISSING),
        ("conflict", Why.BUSY),
        ("throttled", Why.THROTTLED),
        ("error", Why.FAILED),
        ("garbage", Why.FAILED),
    ],
)
def test_an_app_that_cannot_be_read_says_why_and_is_never_taken_for_healthy(
    platform: Platform, fault: str, why: Why
) -> None:
    platform.arm.faults.add(fault, matching="GET")
    answer = platform.apps.get(TARGET)
    assert isinstance(answer, NoAnswer)
    assert answer.why is why


def test_the_right_app_in_another_subscription_is_not_found(platform: Platform) -> None:
    elsewhere = TARGET.model_copy(update={"subscription": "other"})
    answer = platform.apps.get(elsewhere)
    assert isinstance(answer, NoAnswer)
    assert answer.why is Why.MISSING


def test_provisioning_writes_the_templates_variables_back(platform: Platform) -> None:
    platform.engage()
    platform.wait()
    platform.arm.provision(TARGET, {"HITL_APPROVER_ENDPOINT": "https://approver.example"})
    platform.wait()
    assert not platform.proven()


def test_holds_says_what_the_template_has_and_none_when_it_cannot_be_read(platform: Platform) -> None:
    switch = actuators.made(platform.apps)["killswitch.engage"]
    assert switch.holds(TARGET, TOOLS) is False
    platform.engage()
    assert switch.holds(TARGET, TOOLS) is True
    platform.arm.faults.add("forbidden")
    assert switch.holds(TARGET, TOOLS) is None


def test_a_static_token_is_never_sent_beyond_this_machine() -> None:
    with pytest.raises(ValueError, match="loopback"):
        ContainerApps(StaticToken("t"), "https://management.azure.com")


def test_with_variable_leaves_its_argument_alone() -> None:
    template = {"containers": [{"name": "api"}]}
    before = copy.deepcopy(template)
    assert with_variable(template, "api", "A", "1")["containers"][0]["env"] == [{"name": "A", "value": "1"}]
    assert template == before


def test_the_manual_command_is_quoted_for_a_shell() -> None:
    odd = TARGET.model_copy(update={"resource_group": "rg; rm -rf /", "container_app": "app"})
    command = container.manual(odd, SWITCH, "on")
    assert "-g 'rg; rm -rf /'" in command
    assert command.endswith("--set-env-vars KILLSWITCH_TOOLS=on")


PRODUCTION = TARGET.model_copy(update={"labels": {"env": "prod"}})


@pytest.mark.parametrize(
    ("env", "target", "found"),
    [
        ({"HITL_APPROVER_ENDPOINT": "https://a"}, PRODUCTION, []),
        ({}, PRODUCTION, ["HITL_APPROVER_ENDPOINT is not set on sales-api--0000001"]),
        ({"HITL_APPROVER_ENDPOINT": "  "}, PRODUCTION, ["HITL_APPROVER_ENDPOINT is not set on sales-api--0000001"]),
        (
            {"HITL_APPROVER_ENDPOINT": "https://a", "HITL_DEV_MODE": "True"},
            PRODUCTION,
            ["HITL_DEV_MODE approves by itself on sales-api--0000001"],
        ),
        ({}, TARGET, []),
        ({}, PRODUCTION.model_copy(update={"side_effect_tools": ()}), []),
    ],
)
def test_what_is_wrong_with_the_approval_is_read_from_the_app(
    platform: Platform, env: dict[str, str], target: Target, found: list[str]
) -> None:
    platform.arm.create(TARGET, env)
    app = platform.apps.get(target)
    assert isinstance(app, App)
    assert container.approver_findings(app, target) == found


def test_an_approver_address_kept_as_a_secret_counts_as_set(platform: Platform) -> None:
    template = platform.arm.template(TARGET)
    template["containers"][0]["env"] = [{"name": "HITL_APPROVER_ENDPOINT", "secretRef": "approver"}]
    platform.arm.set_template(TARGET, template)
    platform.wait()
    assert container.approver_findings(platform.read(), PRODUCTION) == []
