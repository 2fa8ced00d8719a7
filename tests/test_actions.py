"""Every action on a Container App, through the real SDK against the local platform."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from pytest_httpserver import HTTPServer
from starlette.applications import Starlette

from tocsin import actuators
from tocsin.actuators.connections import Connections
from tocsin.connections.arm import ContainerApps
from tocsin.connections.identity import StaticToken
from tocsin.core.action import Order, Preview, Undo
from tocsin.core.answer import NoAnswer
from tocsin.core.config import Probe, Target
from tocsin.core.container import App, Look
from tocsin.core.hold import Engaged, Standing, judge, runs
from tocsin.core.remedy import Did
from tocsin.core.starting import patience
from tocsin.local.container_apps import ContainerAppsStandIn
from tocsin.local.serve import Served
from tocsin.ports import Provable
from tocsin.testing import FrozenClock
from tocsin.testing.actuator_contract import ActuatorContract, ActuatorRefusals, Case

pytestmark = pytest.mark.slow

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
        clock.advance(timedelta(minutes=3))
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


SKIPPING = {"scope": "tools", "bootstrap": "skip"}
SKIP, FOUND = "BOOTSTRAP_SKIP", "BOOTSTRAP_SKIP_FOUND_BY_TOCSIN"


def engage_skipping(case: Case) -> None:
    case.finish(Order("before", TARGET, SKIPPING), "killswitch.engage")
    case.arm.patches.clear()


def starting_as(value: str, **more: str) -> Callable[[Case], None]:
    """The app's own template says whether its bootstrap is skipped."""

    def deploy(case: Case) -> None:
        case.arm.provision(TARGET, {**ENV, SKIP: value, **more})
        case.wait()
        where = case.arm.configuration(TARGET)["ingress"]["traffic"]
        if where[0].get("revisionName"):
            case.arm.set_traffic(TARGET, [{"revisionName": "sales-api--0000004", "weight": 100}])

    return deploy


def stop(case: Case) -> None:
    """The whole app was stopped."""
    case.finish(Order("before", TARGET, {}), "container_app.stop")
    case.arm.acts.clear()


def nothing(case: Case) -> None:
    pass


MODES = ("single", "pinned", "following")
CASES: list[tuple[str, dict[str, str], Callable[[Case], None], tuple[str, ...]]] = [
    ("killswitch.engage", {"scope": "tools"}, nothing, MODES),
    ("killswitch.release", {"scope": "tools"}, engage, MODES),
    ("killswitch.engage", SKIPPING, nothing, MODES),
    ("killswitch.engage", SKIPPING, starting_as("0"), ("single",)),
    ("killswitch.release", {"scope": "tools"}, engage_skipping, MODES),
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
    ("container_app.stop", {}, nothing, MODES),
    ("container_app.start", {}, stop, MODES),
]


def worlds(most: int) -> list[object]:
    """Return every case in the first ``most`` of its ways of sharing out traffic."""
    return [
        pytest.param((action, args, before, mode), id=f"{action} {' '.join(args.values())} {mode}".replace("  ", " "))
        for action, args, before, modes in CASES
        for mode in modes[:most]
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


def begun(request: pytest.FixtureRequest, make: Callable[..., Case]) -> Case:
    """Return the case that a test is about, at the moment its order is intended."""
    action, args, before, mode = request.param
    case = make(action, args, mode)
    before(case)
    case.wait(1)
    case.intend()
    return case


class TestEveryAction(ActuatorContract):
    @pytest.fixture(params=worlds(3))
    def case(self, request: pytest.FixtureRequest, make: Callable[..., Case]) -> Case:
        return begun(request, make)


class TestEveryActionRefused(ActuatorRefusals):
    @pytest.fixture(params=worlds(1))
    def case(self, request: pytest.FixtureRequest, make: Callable[..., Case]) -> Case:
        return begun(request, make)


def test_every_action_on_an_app_keeps_the_contract() -> None:
    ours = {name for name in actuators.known() if name.split(".")[0] in ("killswitch", "container_app", "model")}
    assert ours == {action for action, *_ in CASES}


ENGAGED, APPROVER = "KILLSWITCH_TOOLS", "HITL_APPROVER_ENDPOINT"


def serving_env(case: Case) -> dict[str, str]:
    return case.arm.serving_env(TARGET)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("args", [{}, {"to": ONE}])
def test_a_rollback_never_releases_a_killswitch_nor_drops_the_approver(
    make: Callable[..., Case], mode: str, args: dict[str, str]
) -> None:
    case = make("container_app.rollback", args, mode)
    case.arm.ail(TARGET, TWO)
    case.finish(Order("x", TARGET, {"scope": "tools"}), "killswitch.engage")
    assert serving_env(case)[ENGAGED] == "on"
    case.arm.ail(TARGET, TWO, unhealthy=False)
    outcomes = case.finish()
    assert outcomes[-1].did is Did.ALREADY, outcomes
    found = case.arm.serving(TARGET)
    assert len(found) == 1
    assert serving_env(case)[ENGAGED] == "on"
    assert serving_env(case)[APPROVER] == "https://approver.example"
    image = case.arm.template(TARGET)["containers"][-1]["image"]
    assert image == ("registry.example/sales-research-api:2026.11" if args else "registry.example/api:1")


def test_a_rollback_keeps_a_killswitch_that_is_only_coming_up(make: Callable[..., Case]) -> None:
    case = make("container_app.rollback")
    case.arm.never_ready = True
    case.apply(Order("x", TARGET, {"scope": "tools"}), "killswitch.engage")
    case.wait()
    assert serving_env(case)[ENGAGED] == "off", "the version that serves is too ill to come up with the switch"
    case.arm.never_ready = False
    case.finish()
    assert serving_env(case)[ENGAGED] == "on"
    assert case.arm.template(TARGET)["containers"][-1]["image"] == "registry.example/api:1"


def test_a_rollback_does_not_bring_back_an_approval_by_itself(make: Callable[..., Case]) -> None:
    case = make("container_app.rollback", {"to": "sales-api--0000004"})
    case.arm.provision(TARGET, {**ENV, "HITL_DEV_MODE": "true"})
    case.wait()
    case.arm.provision(TARGET, ENV)
    case.wait()
    template = case.arm.template(TARGET)
    template["containers"][-1]["image"] = "registry.example/api:3"
    case.arm.set_template(TARGET, template)
    case.wait()
    case.finish()
    assert "HITL_DEV_MODE" not in serving_env(case)
    assert case.arm.template(TARGET)["containers"][-1]["image"] == "registry.example/api:2"


def test_a_second_rollback_does_not_go_back_to_what_was_rolled_back_from(make: Callable[..., Case]) -> None:
    case = make("container_app.rollback")
    case.finish()
    assert case.arm.template(TARGET)["containers"][-1]["image"] == "registry.example/api:1"
    case.finish(Order("a later episode", TARGET, {}))
    assert case.arm.template(TARGET)["containers"][-1]["image"] == "registry.example/sales-research-api:2026.11"
    (last,) = case.finish(Order("a third", TARGET, {}))
    assert (last.did, "no version earlier" in last.detail) == (Did.FAILED, True)


def test_a_revision_that_failed_is_never_rolled_back_to(make: Callable[..., Case]) -> None:
    case = make("container_app.rollback")
    case.arm.failing = "Container crashing: api"
    template = case.arm.template(TARGET)
    template["containers"][-1]["image"] = "registry.example/api:crashes"
    case.arm.set_template(TARGET, template)
    case.wait()
    case.arm.failing = ""
    template["containers"][-1]["image"] = "registry.example/api:4"
    case.arm.set_template(TARGET, template)
    case.wait()
    case.finish()
    assert case.arm.template(TARGET)["containers"][-1]["image"] == "registry.example/api:2"


def test_what_the_bad_version_added_does_not_stay_after_a_rollback(make: Callable[..., Case]) -> None:
    case = make("container_app.rollback")
    good = case.arm.template(TARGET)
    bad = {
        **good,
        "volumes": [{"name": "v", "storageType": "EmptyDir"}],
        "scale": {**good["scale"], "cooldownPeriod": 9},
    }
    bad["containers"] = [*good["containers"][:-1], {**good["containers"][-1], "image": "registry.example/api:5"}]
    case.arm.set_template(TARGET, bad)
    case.wait()
    case.finish()
    left = case.arm.template(TARGET)
    assert left.pop("revisionSuffix").startswith("rollback-")
    assert left == {key: value for key, value in good.items() if key != "revisionSuffix"} | {"scale": left["scale"]}
    assert "cooldownPeriod" not in left["scale"]


@pytest.mark.parametrize(
    "name",
    [
        "KILLSWITCH_TOOLS",
        "killswitch",
        "BOOTSTRAP_SKIP_FOUND_BY_TOCSIN",
        "HITL_DEV_MODE",
        "API_KEY",
        "DB_CONNECTION",
        "X-Y",
    ],
)
def test_a_variable_that_is_nobodys_to_set_is_refused_before_and_while_it_is_applied(
    make: Callable[..., Case], name: str
) -> None:
    assert not actuators.known()["container_app.set_env"].args["name"].takes(name)
    case = make("container_app.set_env", {"name": name, "value": "off"})
    assert (case.apply().did, case.writes) == (Did.FAILED, 0)
    assert isinstance(case.preview(), NoAnswer)
    swap = make("model.swap", {"to": "x", "variable": name})
    assert (swap.apply().did, swap.writes) == (Did.FAILED, 0)


def with_entry(case: Case, entry: dict[str, str]) -> None:
    template = case.arm.template(TARGET)
    kept = [each for each in template["containers"][-1]["env"] if each["name"] != entry["name"]]
    template["containers"][-1]["env"] = [*kept, entry]
    case.arm.set_template(TARGET, template)
    case.wait()


@pytest.mark.parametrize(
    ("action", "args", "name"),
    [
        ("container_app.set_env", {"name": "LOG_LEVEL", "value": "x"}, "LOG_LEVEL"),
        ("container_app.set_env", {"name": "LOG_LEVEL"}, "LOG_LEVEL"),
        ("model.swap", {"to": "x"}, "AZURE_AI_FOUNDRY_MODEL"),
        ("model.swap", {"to": "x"}, "AZURE_AI_FOUNDRY_MODEL_MAP"),
    ],
)
def test_a_reference_to_a_secret_is_not_overwritten(
    make: Callable[..., Case], action: str, args: dict[str, str], name: str
) -> None:
    case = make(action, args)
    with_entry(case, {"name": name, "secretRef": "appinsights"})
    applied = case.apply()
    assert (applied.did, "reference to a secret" in applied.detail, case.writes) == (Did.FAILED, True, 0)
    assert case.holds() is None


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', '{"a b": "gpt-4o"}'])
def test_a_map_that_is_none_is_left_to_a_person(make: Callable[..., Case], text: str) -> None:
    case = make("model.swap", {"to": "x"})
    with_entry(case, {"name": "AZURE_AI_FOUNDRY_MODEL_MAP", "value": text})
    applied = case.apply()
    assert (applied.did, case.writes) == (Did.FAILED, 0)
    assert applied.detail.startswith("AZURE_AI_FOUNDRY_MODEL_MAP ")


def test_a_swap_takes_the_agents_of_the_same_deployment_with_it_and_back_letter_by_letter(
    make: Callable[..., Case],
) -> None:
    case = make("model.swap", {"to": "gpt-4o-mini"})
    undo = case.finish()[0].undo
    text = case.arm.template_env(TARGET)["AZURE_AI_FOUNDRY_MODEL_MAP"]
    assert text == MAP.replace('"gpt-4o",', '"gpt-4o-mini",').replace('"gpt-4o"}', '"gpt-4o-mini"}')
    assert undo == Undo("model.swap", {"to": "gpt-4o", "agents": "writer, judge"})
    case.finish(Order("back", TARGET, undo.args), "model.swap")
    assert case.arm.template_env(TARGET)["AZURE_AI_FOUNDRY_MODEL_MAP"] == MAP
    assert json.loads(MAP)["critic"] == "gpt-4o-mini", "it was so before, and stays"


def test_more_replicas_at_least_than_at_most_are_refused(make: Callable[..., Case]) -> None:
    case = make("container_app.scale", {"min": "4"})
    applied = case.apply()
    assert (applied.did, applied.detail) == (Did.FAILED, "at least 4 replicas are more than at most 3")
    takes = actuators.known()["container_app.scale"]
    assert [takes.args["min"].takes(each) for each in ("0", "1000", "1001", "-1", "+2", "07")] == [True, True] + [
        False
    ] * 4
    assert list(takes.lacking({})) == ["min or max"]


def test_a_revision_with_traffic_is_never_deactivated(make: Callable[..., Case]) -> None:
    case = make("container_app.deactivate_revision", {"revision": "sales-api--0000003"}, "pinned")
    applied = case.apply()
    assert (applied.did, "serves 100% of the traffic" in applied.detail) == (Did.FAILED, True)
    assert case.arm.acts == []


def test_of_several_unhealthy_revisions_one_must_be_named(make: Callable[..., Case]) -> None:
    case = make("container_app.deactivate_revision", {}, "pinned")
    for each in (ONE, TWO):
        case.arm.ail(TARGET, each)
    applied = case.apply()
    assert (applied.did, applied.detail) == (
        Did.FAILED,
        f"several revisions are unhealthy: {ONE}, {TWO}; say which with `revision`",
    )


def test_a_revision_without_the_switch_is_not_activated_beside_one_that_has_it(make: Callable[..., Case]) -> None:
    case = make("container_app.activate_revision", {"revision": TWO}, "pinned")
    pause(case)
    engage(case)
    applied = case.apply()
    assert (applied.did, "another killswitch" in applied.detail, case.arm.acts) == (Did.FAILED, True, [])


def test_a_restart_that_may_be_under_way_is_waited_for(make: Callable[..., Case]) -> None:
    case = make("container_app.restart")
    case.wait(5)
    case.intend()
    assert case.apply().did is Did.DONE
    assert case.holds() is None
    assert case.apply().did is Did.BUSY
    case.wait()
    assert (case.apply().did, case.holds(), case.arm.acts) == (Did.ALREADY, True, [("restart", "sales-api--0000003")])
    assert case.apply(Order("x", TARGET, {})).did is Did.FAILED, "without its instant no order is known to be done"


def test_a_preview_without_an_intent_still_tells_what_would_be_restarted(make: Callable[..., Case]) -> None:
    case = make("container_app.restart")
    restart = actuators.made(Connections(case.apps))["container_app.restart"]
    assert restart.preview(Order("x", TARGET, {})) == Preview(("sales-api--0000003: 1 replicas restart",))


@pytest.mark.parametrize("mode", MODES)
def test_a_change_is_proven_once_its_revision_serves_and_not_because_the_template_has_it(
    make: Callable[..., Case], mode: str
) -> None:
    case = make("container_app.scale", {"max": "20"}, mode)
    actuator, order = actuators.made(Connections(case.apps))["container_app.scale"], Order("o", TARGET, {"max": "20"})
    assert isinstance(actuator, Provable)
    assert not actuator.look(order).holds
    case.arm.never_ready = True
    assert actuator.apply(order).did is Did.DONE
    case.wait(600)
    assert not actuator.look(order).holds, "its revision never came to run"


def test_a_change_that_serves_is_proven(make: Callable[..., Case]) -> None:
    case = make("container_app.scale", {"max": "20"})
    case.finish()
    actuator = actuators.made(Connections(case.apps))["container_app.scale"]
    assert isinstance(actuator, Provable)
    assert actuator.look(Order("o", TARGET, {"max": "20"})).holds


def stopping(make: Callable[..., Case], mode: str = "single") -> tuple[Case, Provable]:
    case = make("container_app.stop", {}, mode)
    case.intend()
    actuator = actuators.made(Connections(case.apps))["container_app.stop"]
    assert isinstance(actuator, Provable)
    return case, actuator


@pytest.mark.parametrize("mode", MODES)
def test_a_stop_is_proven_once_no_replica_is_left_and_writes_no_template(make: Callable[..., Case], mode: str) -> None:
    case, actuator = stopping(make, mode)
    assert case.apply().did is Did.DONE
    assert (case.holds(), actuator.look(case.order).words) == (None, "the platform says that it is Progressing")
    case.wait()
    assert actuator.look(case.order) == Look(True, "stopped: no replica is left, and nothing answers")
    assert (case.arm.patches, case.arm.acts) == ([], [("stop", "sales-api")])
    assert (case.arm.serving(TARGET), case.arm.serving_env(TARGET)) == ([], {})


def test_a_stop_that_the_platform_has_not_finished_is_not_sent_again(make: Callable[..., Case]) -> None:
    case, _ = stopping(make)
    assert [case.apply().did, case.apply().did] == [Did.DONE, Did.BUSY]
    assert len(case.arm.acts) == 1


def test_a_probe_that_is_answered_as_ever_is_no_stopped_app(make: Callable[..., Case], httpserver: HTTPServer) -> None:
    case, actuator = stopping(make)
    httpserver.expect_request("/healthz").respond_with_data("ok")
    probed = TARGET.model_copy(update={"probes": (Probe(name="api", url=httpserver.url_for("/healthz")),)})
    case.finish()
    assert actuator.look(Order("o", probed, {})) == Look(False, "the probe api is still answered with 200")
    httpserver.clear()
    httpserver.expect_request("/healthz").respond_with_data("gone", 503)
    assert actuator.look(Order("o", probed, {})).holds


def test_a_stop_with_a_revision_that_never_comes_up_stops_what_serves(make: Callable[..., Case]) -> None:
    case, actuator = stopping(make)
    case.arm.never_ready = True
    case.apply(Order("x", TARGET, {"scope": "tools"}), "killswitch.engage")
    case.wait()
    assert serving_env(case)[ENGAGED] == "off", "the old revision serves on"
    case.finish()
    assert actuator.look(case.order).holds


def test_an_app_comes_back_as_it_was_stopped_and_takes_its_time(make: Callable[..., Case]) -> None:
    case, _ = stopping(make)
    case.finish()
    start = actuators.made(Connections(case.apps))["container_app.start"]
    assert isinstance(start, Provable)
    order = Order("x", TARGET, {})
    applied = start.apply(order)
    assert (applied.did, applied.starts) == (Did.DONE, patience(case.arm.template(TARGET)))
    look = start.look(order)
    assert (look.holds, look.starts) == (False, applied.starts)
    case.wait()
    assert start.look(order) == Look(True, "sales-api--0000003 runs")
    assert case.arm.serving(TARGET) == [("sales-api--0000003", 100)]


# Without the bootstrap


def entries(case: Case) -> dict[str, dict[str, str]]:
    return {each["name"]: each for each in case.arm.template(TARGET)["containers"][-1]["env"]}


@pytest.mark.parametrize("mode", MODES)
def test_where_a_bootstrap_cannot_end_the_switch_serves_only_if_that_is_skipped(
    make: Callable[..., Case], mode: str
) -> None:
    plain = make("killswitch.engage", {"scope": "tools"}, mode)
    plain.arm.bootstrap_fails = True
    plain.finish()
    assert serving_env(plain)[ENGAGED] == "off"
    quick = make("killswitch.engage", SKIPPING, mode)
    quick.finish()
    assert (serving_env(quick)[ENGAGED], serving_env(quick)[SKIP]) == ("on", "1")


@pytest.mark.parametrize("value", ["0", "", "true", "01"])
def test_a_bootstrap_that_was_set_otherwise_is_put_back_letter_by_letter(make: Callable[..., Case], value: str) -> None:
    case = make("killswitch.engage", SKIPPING)
    starting_as(value)(case)
    before = case.arm.template(TARGET)
    case.finish()
    assert entries(case)[SKIP]["value"] == "1"
    case.finish(Order("back", TARGET, {"scope": "tools"}), "killswitch.release")
    after = case.arm.template(TARGET)
    assert after["containers"] == before["containers"]


@pytest.mark.parametrize("entry", [{"name": SKIP, "value": "1"}, {"name": SKIP, "secretRef": "appinsights"}])
def test_a_bootstrap_that_is_skipped_already_or_is_a_secret_is_left_as_it_was_found(
    make: Callable[..., Case], entry: dict[str, str]
) -> None:
    case = make("killswitch.engage", SKIPPING)
    with_entry(case, entry)
    case.finish()
    assert (entries(case)[SKIP], FOUND in entries(case)) == (entry, False)
    assert serving_env(case)[ENGAGED] == "on", "the switch does not wait for it"
    case.finish(Order("back", TARGET, {"scope": "tools"}), "killswitch.release")
    assert entries(case)[SKIP] == entry


def test_what_somebody_else_has_set_meanwhile_is_theirs(make: Callable[..., Case]) -> None:
    case = make("killswitch.release", {"scope": "tools"})
    engage_skipping(case)
    with_entry(case, {"name": SKIP, "value": "no"})
    case.finish()
    assert (entries(case)[SKIP]["value"], FOUND in entries(case)) == ("no", False)


def test_while_another_switch_is_on_the_bootstrap_goes_on_being_skipped(make: Callable[..., Case]) -> None:
    case = make("killswitch.release", {"scope": "tools"})
    engage_skipping(case)
    case.finish(Order("x", TARGET, {**SKIPPING, "scope": "workflow"}), "killswitch.engage")
    case.finish()
    assert entries(case)[SKIP]["value"] == "1"
    case.finish(Order("y", TARGET, {"scope": "workflow"}), "killswitch.release")
    assert SKIP not in entries(case)


def test_a_release_by_hand_that_left_the_bootstrap_skipped_is_ended_by_the_next(make: Callable[..., Case]) -> None:
    case = make("killswitch.release", {"scope": "tools"})
    engage_skipping(case)
    with_entry(case, {"name": ENGAGED, "value": "off"})
    assert case.holds() is False
    case.finish()
    assert (case.holds(), SKIP in entries(case), FOUND in entries(case)) == (True, False, False)


def test_an_engaged_switch_makes_no_second_revision_to_skip_a_bootstrap(make: Callable[..., Case]) -> None:
    case = make("killswitch.engage", SKIPPING)
    engage(case)
    assert (case.apply().did, case.writes) == (Did.ALREADY, 0)


@pytest.mark.parametrize("on", [True, False])
def test_a_rollback_skips_the_bootstrap_as_long_as_the_switch_is_on(make: Callable[..., Case], on: bool) -> None:
    case = make("container_app.rollback")
    engage_skipping(case)
    if not on:
        template = case.arm.template(TARGET)
        template["containers"][-1]["image"] = "registry.example/api:6"
        case.arm.set_template(TARGET, template)
        case.wait()
        case.finish(Order("y", TARGET, {"scope": "tools"}), "killswitch.release")
    case.finish(Order("z", TARGET, {"to": ONE if on else "sales-api--0000004"}))
    assert (SKIP in entries(case), FOUND in entries(case)) == (on, on)


def test_a_hand_release_of_a_switch_that_skipped_the_bootstrap_is_no_drift(make: Callable[..., Case]) -> None:
    case = make("killswitch.engage", SKIPPING)
    case.finish()
    read = case.apps.get(TARGET)
    assert isinstance(read, App)
    since = Engaged(TARGET.name, "tools", "x", T0, runs(read.template, TARGET, ENGAGED))
    template = case.arm.template(TARGET)
    env = [each for each in template["containers"][-1]["env"] if each["name"] not in (SKIP, FOUND)]
    off = {"name": ENGAGED, "value": "off"}
    template["containers"][-1]["env"] = [off if each["name"] == ENGAGED else each for each in env]
    case.arm.set_template(TARGET, template)
    case.wait()
    now = case.apps.get(TARGET)
    assert isinstance(now, App)
    assert judge(since, now, TARGET)[0] is Standing.RELEASED
