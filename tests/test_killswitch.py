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
from tocsin.actuators.connections import Connections
from tocsin.connections.arm import ContainerApps
from tocsin.connections.identity import StaticToken
from tocsin.core import container
from tocsin.core.action import Order
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.config import Target
from tocsin.core.container import App, engaged, environment, verify, with_variable
from tocsin.core.remedy import Applied, Did
from tocsin.core.template import without_variable
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
        return actuators.made(Connections(self.apps))["killswitch.engage"].apply(Order("x", TARGET, args))

    def release(self) -> Applied:
        return actuators.made(Connections(self.apps))["killswitch.release"].apply(Order("x", TARGET, TOOLS))

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
    assert applied.operation.endswith("/containerappOperationStatuses/op1")
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
    early = platform.engage()
    assert early.did is Did.ALREADY
    assert "sales-api--0000002 has it and is Processing" in early.detail
    platform.wait()
    again = platform.engage()
    assert again.did is Did.ALREADY
    assert again.detail == "already engaged; KILLSWITCH_TOOLS is on on sales-api--0000002"
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
    for applied in (platform.engage(), platform.release()):
        assert (applied.did, "reference to a secret" in applied.detail) == (Did.FAILED, True)
    assert not platform.arm.patches
    assert actuators.made(Connections(platform.apps))["killswitch.release"].holds(Order("x", TARGET, TOOLS)) is None
    for on in (True, False):
        assert "cannot be read" in verify(platform.read(), SWITCH, on).words, "neither on nor off is proven"


def test_a_variable_that_is_given_twice_is_engaged_in_both_places_and_read_as_the_last_says(platform: Platform) -> None:
    template = platform.arm.template(TARGET)
    template["containers"][0]["env"] += [{"name": SWITCH, "value": "on"}, {"name": SWITCH, "value": "off"}]
    platform.arm.set_template(TARGET, template)
    platform.wait()
    assert environment(template, TARGET.container)[SWITCH] == "off"
    changed = with_variable(template, TARGET.container, SWITCH, "on")
    assert [each["value"] for each in changed["containers"][0]["env"] if each["name"] == SWITCH] == ["on", "on"]


def test_a_reference_to_no_secret_is_a_value_like_any_other() -> None:
    template = {"containers": [{"name": "api", "env": [{"name": SWITCH, "value": "on", "secretRef": None}]}]}
    assert environment(template, "api") == {SWITCH: "on"}
    changed = with_variable(template, "api", SWITCH, "off")
    assert environment(changed, "api") == {SWITCH: "off"}
    assert environment(without_variable(template, "api", SWITCH), "api") == {}


def test_a_deployments_own_revision_suffix_is_given_up_as_it_may_not_be_used_twice(platform: Platform) -> None:
    template = {**platform.arm.template(TARGET), "revisionSuffix": "build-81"}
    platform.arm.set_template(TARGET, template)
    platform.wait()
    assert platform.engage().did is Did.DONE
    platform.wait()
    assert platform.arm.serving(TARGET) == [("sales-api--0000003", 100)]
    assert difference(template, platform.arm.template(TARGET)) == [".containers[0].env[2]", ".revisionSuffix"]


def test_secrets_registries_and_ingress_are_neither_sent_nor_changed(platform: Platform) -> None:
    before = platform.arm.configuration(TARGET)
    platform.engage()
    assert platform.arm.configuration(TARGET) == before
    assert before["secrets"] == [{"name": "appinsights", "value": "never returned"}]
    assert "never returned" not in repr(platform.read())


def test_a_container_that_is_not_in_the_app_is_named_with_those_that_are(platform: Platform) -> None:
    elsewhere = TARGET.model_copy(update={"container": "worker"})
    applied = actuators.made(Connections(platform.apps))["killswitch.engage"].apply(Order("x", elsewhere, TOOLS))
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


def changing_behind(platform: Platform, reads: int) -> None:
    """Let somebody else deploy right after each of the next ``reads`` reads of the app."""

    class Racing(ContainerApps):
        left = reads

        def get(self, target: Target) -> App | NoAnswer:
            found = super().get(target)
            if Racing.left:
                Racing.left -= 1
                newer = platform.arm.template(TARGET)
                newer["containers"][0]["image"] += "1"
                platform.arm.set_template(TARGET, newer)
            return found

    platform.apps.__class__ = Racing


def test_a_deployment_that_ended_between_the_two_reads_is_carried_over(platform: Platform) -> None:
    platform.arm.ready_after = timedelta(0)
    changing_behind(platform, 1)
    assert platform.engage().did is Did.DONE
    template = platform.arm.template(TARGET)
    assert template["containers"][0]["image"].endswith("2026.111")
    assert platform.arm.template_env(TARGET)[SWITCH] == "on"


def test_an_app_that_changes_at_each_read_is_left_to_a_later_tick(platform: Platform) -> None:
    platform.arm.ready_after = timedelta(0)
    changing_behind(platform, 10)
    applied = platform.engage()
    assert (applied.did, "a deployment is in progress" in applied.detail) == (Did.BUSY, True)
    assert not platform.arm.patches


def test_a_deployment_under_way_is_waited_for(platform: Platform) -> None:
    platform.arm.provision(TARGET, {"A": "1"})
    assert platform.engage().did is Did.BUSY
    platform.wait()
    assert platform.engage().did is Did.DONE


def test_a_deployment_that_failed_does_not_stand_in_the_way(platform: Platform) -> None:
    platform.arm.failing = "Container crashing: api"
    platform.arm.provision(TARGET, {"A": "1"})
    platform.wait()
    assert platform.read().provisioning == "Failed"
    platform.arm.failing = ""
    assert platform.engage().did is Did.DONE
    platform.wait()
    assert platform.proven()


def test_an_operation_that_never_ends_is_neither_repeated_nor_proven(platform: Platform) -> None:
    platform.arm.stuck = True
    assert platform.engage().did is Did.DONE
    for _ in range(3):
        platform.wait(3600)
        assert platform.engage().did is Did.ALREADY
    assert len(platform.arm.patches) == 1
    assert not platform.proven()


def test_a_change_whose_answer_was_lost_is_said_to_be_unknown_and_is_not_sent_again(platform: Platform) -> None:
    platform.arm.lose_answers = 1
    lost = platform.engage()
    assert (lost.did, "is unknown until the app is read again" in lost.detail) == (Did.BUSY, True)
    assert platform.engage().did is Did.ALREADY
    assert len(platform.arm.patches) == 1


def test_an_app_that_was_deleted_ends_the_execution(platform: Platform) -> None:
    platform.arm.delete(TARGET)
    applied = platform.engage()
    assert (applied.did, "was not found" in applied.detail) == (Did.FAILED, True)


def test_in_multiple_mode_every_revision_with_traffic_must_have_it_and_traffic_is_moved(platform: Platform) -> None:
    platform.arm.create(TARGET, {}, multiple=True)
    platform.engage()
    platform.wait()
    assert not platform.proven(), "the old revision keeps its traffic"
    moved = platform.engage()
    assert moved.did is Did.DONE
    assert moved.detail == "all traffic to sales-api--0000002; it was sales-api--0000001 100%"
    assert set(platform.arm.patches[-1].body["properties"]) == {"configuration"}
    assert platform.arm.serving(TARGET) == [("sales-api--0000002", 100)]
    assert platform.proven()
    assert platform.engage().did is Did.ALREADY


def test_a_revision_that_never_becomes_ready_is_never_proven(platform: Platform) -> None:
    platform.arm.never_ready = True
    platform.engage()
    platform.wait(3600)
    assert not platform.proven()
    words = verify(platform.read(), SWITCH, True).words
    assert words.endswith("is not on on sales-api--0000001; sales-api--0000002 has it and is Processing")


def test_a_revision_that_fails_is_never_proven_and_the_platforms_reason_is_told(platform: Platform) -> None:
    platform.arm.failing = "Container crashing: api"
    platform.engage()
    platform.wait()
    assert not platform.proven()
    assert verify(platform.read(), SWITCH, True).words.endswith("has it and is Failed: Container crashing: api")


def test_in_multiple_mode_traffic_waits_for_the_revision_that_has_the_switch(platform: Platform) -> None:
    platform.arm.create(TARGET, {}, multiple=True)
    platform.arm.never_ready = True
    platform.engage()
    platform.wait()
    assert platform.engage().did is Did.ALREADY
    assert len(platform.arm.patches) == 1
    assert platform.arm.serving(TARGET) == [("sales-api--0000001", 100)]


def test_split_traffic_of_one_version_goes_to_the_newest_revision_and_the_old_shares_are_told(
    platform: Platform,
) -> None:
    platform.arm.create(TARGET, {}, multiple=True)
    platform.arm.set_template(TARGET, {**platform.arm.template(TARGET), "terminationGracePeriodSeconds": 31})
    platform.wait()
    one, two = "sales-api--0000001", "sales-api--0000002"
    shares = [{"revisionName": one, "weight": 80}, {"revisionName": two, "weight": 20, "label": "canary"}]
    platform.arm.set_traffic(TARGET, shares)
    before = platform.arm.configuration(TARGET)
    platform.engage()
    platform.wait()
    assert "is not on on sales-api--0000001, sales-api--0000002" in verify(platform.read(), SWITCH, True).words
    moved = platform.engage()
    assert moved.detail.endswith(f"it was {one} 80%, {two} 20% (label canary)")
    assert platform.proven()
    after = platform.arm.configuration(TARGET)
    assert all(path.startswith(".ingress.traffic[") for path in difference(before, after))


def blue_and_green(platform: Platform, green: int, **more: str) -> None:
    """Blue serves with what is left of the traffic; green, newer and different, has ``green`` percent."""
    platform.arm.create(TARGET, {"V": "blue"}, multiple=True)
    platform.arm.provision(TARGET, {"V": "green", "HITL_DEV_MODE": "true", **more})
    platform.wait()
    shares = [("sales-api--0000001", 100 - green), ("sales-api--0000002", green)]
    platform.arm.set_traffic(TARGET, [{"revisionName": name, "weight": weight} for name, weight in shares])


@pytest.mark.parametrize("more", [{}, {SWITCH: "on"}])
def test_a_version_that_nobody_let_serve_is_not_put_into_production(platform: Platform, more: dict[str, str]) -> None:
    blue_and_green(platform, 0, **more)
    for _ in range(3):
        platform.engage()
        platform.wait()
    assert platform.proven()
    (serving,) = platform.read().serving
    assert dict(serving.env) | {"V": "blue", SWITCH: "on"} == dict(serving.env)
    assert "HITL_DEV_MODE" not in serving.env


def test_versions_that_share_the_traffic_are_left_to_a_person(platform: Platform) -> None:
    blue_and_green(platform, 20)
    applied = platform.engage()
    assert applied.did is Did.FAILED
    assert applied.detail == (
        f"sales-api--0000001, sales-api--0000002 share the traffic and differ in more than {SWITCH}: "
        "a person must set it on each"
    )
    assert platform.arm.patches == []


def test_an_app_that_follows_its_newest_revision_goes_on_doing_so(platform: Platform) -> None:
    platform.arm.create(TARGET, {}, multiple=True)
    shares = [{"revisionName": "sales-api--0000001", "weight": 90}, {"latestRevision": True, "weight": 10}]
    platform.arm.set_traffic(TARGET, shares)
    platform.engage()
    platform.wait()
    assert not platform.proven(), "nine requests of ten still reach a revision without the switch"
    assert platform.engage().did is Did.DONE
    assert platform.arm.configuration(TARGET)["ingress"]["traffic"] == [{"weight": 100, "latestRevision": True}]
    assert platform.proven()


def test_in_multiple_mode_a_release_moves_traffic_too(platform: Platform) -> None:
    platform.arm.create(TARGET, {}, multiple=True)
    for step in (platform.engage, platform.release):
        step()
        platform.wait()
        assert step().did is Did.DONE
    assert platform.arm.serving(TARGET) == [("sales-api--0000003", 100)]
    assert verify(platform.read(), SWITCH, False).holds
    assert platform.release().did is Did.ALREADY


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
    words = (
        "The client 'c' does not have authorization to perform action 'Microsoft.App/containerApps/write' over '/s'."
    )
    platform.arm.faults.add(fault, times=1, matching="PATCH", message=words, retry_after=3600)
    applied = platform.engage()
    assert applied.did is did
    if fault == "forbidden":
        assert "the identity lacks Microsoft.App/containerApps/write" in applied.detail
    if fault == "throttled":
        assert applied.detail.endswith("again in 3600 s, it says")
    assert ("unknown" in applied.detail) == (fault in ("error", "unavailable", "disconnect"))
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
    switch, order = actuators.made(Connections(platform.apps))["killswitch.engage"], Order("x", TARGET, TOOLS)
    assert switch.holds(order) is False
    platform.engage()
    assert switch.holds(order) is True
    platform.arm.faults.add("forbidden")
    assert switch.holds(order) is None


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
        ({}, PRODUCTION, ["no-approver"]),
        ({"HITL_APPROVER_ENDPOINT": "  ", "HITL_DEV_MODE": "off"}, PRODUCTION, ["no-approver"]),
        ({"HITL_APPROVER_ENDPOINT": "  ", "HITL_DEV_MODE": "True"}, PRODUCTION, ["dev-mode"]),
        ({"HITL_APPROVER_ENDPOINT": "https://a", "HITL_DEV_MODE": "True"}, PRODUCTION, []),
        ({}, TARGET, ["no-approver"]),
        ({}, TARGET.model_copy(update={"labels": {"env": "dev"}}), []),
        ({}, PRODUCTION.model_copy(update={"side_effect_tools": ()}), []),
    ],
)
def test_what_is_wrong_with_the_approval_is_read_from_the_app(
    platform: Platform, env: dict[str, str], target: Target, found: list[str]
) -> None:
    platform.arm.create(TARGET, env)
    app = platform.apps.get(target)
    assert isinstance(app, App)
    assert [each.labels["sign"] for each in container.approver_findings(app, target, T0)] == found
    beside = env == {"HITL_APPROVER_ENDPOINT": "https://a", "HITL_DEV_MODE": "True"}
    assert bool(container.unused_dev_mode(app, target, T0)) == beside


def test_a_revision_that_crashes_is_found_and_one_that_starts_is_not(platform: Platform) -> None:
    findings = container.FINDINGS["revisions"]
    assert findings(platform.read(), TARGET, T0) == []
    platform.engage()
    assert findings(platform.read(), TARGET, T0) == [], "the new revision is only starting"
    platform.wait()
    platform.arm.failing = "Container crashing: api"
    platform.release()
    platform.wait()
    assert findings(platform.read(), TARGET, T0) == [
        container.Finding("sales-api--0000003 is Failed: Container crashing: api")
    ]


def test_an_approver_address_kept_as_a_secret_counts_as_set(platform: Platform) -> None:
    template = platform.arm.template(TARGET)
    template["containers"][0]["env"] = [{"name": "HITL_APPROVER_ENDPOINT", "secretRef": "approver"}]
    platform.arm.set_template(TARGET, template)
    platform.wait()
    assert container.approver_findings(platform.read(), PRODUCTION, T0) == []


# The opposite on its way


def test_engaging_while_a_release_is_rolling_out_is_no_engaged_switch(platform: Platform) -> None:
    platform.engage()
    platform.wait()
    platform.release()
    assert platform.arm.serving_env(TARGET)[SWITCH] == "on", "the revision with the switch still serves"
    assert platform.engage().did is Did.BUSY
    platform.wait()
    assert platform.engage().did is Did.DONE
    platform.wait()
    assert platform.proven()


def test_releasing_while_an_engage_is_rolling_out_is_no_released_switch(platform: Platform) -> None:
    platform.arm.never_ready = True
    platform.engage()
    assert platform.release().did is Did.BUSY
    platform.wait()
    assert platform.release().did is Did.DONE
    assert platform.arm.template_env(TARGET)[SWITCH] == "off"
