"""The real SDK against the local platform, and against documents as the platform writes them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tocsin.connections.arm import ContainerApps, Progress, Sent, State
from tocsin.connections.identity import StaticToken
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.config import Target
from tocsin.core.container import SECRET, App, Look, verify
from tocsin.local.container_apps import ContainerAppsStandIn, merged
from tocsin.local.revisions import Refused
from tocsin.local.serve import Served
from tocsin.telemetry.container_app import ContainerAppConfiguration
from tocsin.testing import FrozenClock

T0 = datetime(2026, 11, 20, 3, tzinfo=UTC)
TARGET = Target(
    name="sales", workspace="w", role_name="r", subscription="sub", resource_group="rg", container_app="sales-api"
)

RICH: dict[str, Any] = {
    "containers": [
        {"name": "otel", "image": "otel:1", "args": ["--config", "x"], "env": [{"name": "A", "value": ""}]},
        {
            "name": "api",
            "image": "registry.example/api@sha256:0",
            "imageType": "ContainerImage",
            "command": ["python", "-m", "api"],
            "resources": {"cpu": 0.25, "gpu": 1.5, "memory": "0.5Gi", "ephemeralStorage": "4Gi"},
            "env": [{"name": "KEY", "secretRef": "key"}, {"name": "NUMBER", "value": "007", "ofTomorrow": 1}],
            "probes": [{"type": "Startup", "tcpSocket": {"port": 8000}, "terminationGracePeriodSeconds": 5}],
            "volumeMounts": [{"volumeName": "tmp", "mountPath": "/tmp", "subPath": "a"}],
        },
    ],
    "initContainers": [{"name": "migrate", "image": "m:1", "env": [{"name": "DSN", "secretRef": "dsn"}]}],
    "scale": {
        "minReplicas": 0,
        "maxReplicas": 10,
        "cooldownPeriod": 300,
        "rules": [
            {"name": "http", "http": {"metadata": {"concurrentRequests": "50"}}},
            {
                "name": "queue",
                "custom": {
                    "type": "azure-queue",
                    "metadata": {"queueLength": "5"},
                    "auth": [{"secretRef": "q", "triggerParameter": "connection"}],
                },
            },
        ],
    },
    "serviceBinds": [{"serviceId": "/s", "name": "redis"}],
    "terminationGracePeriodSeconds": 30,
    "volumes": [
        {"name": "tmp", "storageType": "EmptyDir"},
        {"name": "keys", "storageType": "Secret", "secrets": [{"secretRef": "key", "path": "key.pem"}]},
    ],
    "ofTomorrow": {"deep": [{"Kept": None}, 1.0, True, "2026-11-20T03:00:00Z"]},
}
"""A template with every part that there is, and some that there are not yet."""


@dataclass
class Here:
    """The local platform with one app, and the SDK's view of it."""

    clock: FrozenClock
    arm: ContainerAppsStandIn
    apps: ContainerApps
    url: str

    def read(self) -> App:
        app = self.apps.get(TARGET)
        assert isinstance(app, App), app
        return app

    def deploy(self, **changes: Any) -> str:
        """Change the template through the SDK; return where the platform reports on that."""
        app = self.read()
        sent = self.apps.patch_template(TARGET, app, {**app.template, **changes})
        assert isinstance(sent, Sent), sent
        return sent.operation


@pytest.fixture
def here() -> Iterator[Here]:
    clock = FrozenClock(T0)
    arm = ContainerAppsStandIn(clock.now)
    arm.create(TARGET, {"A": "1"})
    with Served(Starlette(routes=arm.routes())) as served:
        yield Here(clock, arm, ContainerApps(StaticToken("t"), served.url), served.url)


# What is carried


def test_a_template_with_everything_in_it_is_carried_whole_and_sending_it_back_changes_nothing(here: Here) -> None:
    here.arm.set_template(TARGET, RICH)
    here.clock.advance(timedelta(minutes=2))
    app = here.read()
    assert dict(app.template) == RICH
    sent = here.apps.patch_template(TARGET, app, app.template)
    assert sent == Sent(), "a template that does not differ makes no revision and no operation"
    (patch,) = here.arm.patches
    assert patch.body == {"location": "westeurope", "properties": {"template": RICH}}
    assert here.arm.template(TARGET) == merged({}, RICH)


def test_values_of_secrets_never_leave_the_platform_and_never_go_missing(here: Here) -> None:
    app = here.read()
    assert "never returned" not in repr(app)
    here.deploy(terminationGracePeriodSeconds=31)
    assert here.arm.configuration(TARGET)["secrets"] == [{"name": "appinsights", "value": "never returned"}]


def test_the_variables_of_the_watched_container_are_read_and_secrets_only_by_reference(here: Here) -> None:
    here.arm.set_template(TARGET, RICH)
    assert here.read().env == {"KEY": SECRET, "NUMBER": "007"}


def test_a_target_without_an_app_is_not_asked_for(here: Here) -> None:
    bare = Target(name="bare", workspace="w", role_name="r")
    answer = ContainerAppConfiguration(here.apps).read(bare)
    assert isinstance(answer, NoAnswer)
    assert (answer.why, answer.detail) == (Why.MISSING, "target bare names no Container App")


# How failures are told apart


def test_a_read_is_tried_again_through_a_short_failure(here: Here) -> None:
    here.arm.faults.add("unavailable", times=2)
    assert here.read().latest == "sales-api--0000001"


def test_a_change_is_sent_once_whatever_the_platform_says_about_trying_again(here: Here) -> None:
    app = here.read()
    for kind in ("unavailable", "throttled", "timeout", "disconnect"):
        here.arm.faults.add(kind, times=1, matching="PATCH", retry_after=0)
        answer = here.apps.patch_template(TARGET, app, {**app.template, "terminationGracePeriodSeconds": 9})
        assert isinstance(answer, NoAnswer), kind
    assert not here.arm.patches


def test_no_read_sleeps_because_the_platform_asks_it_to(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    here.arm.faults.add("throttled", retry_after=3600, times=1)
    throttled = here.apps.get(TARGET)
    assert isinstance(throttled, NoAnswer)
    assert (throttled.why, throttled.retry_after) == (Why.THROTTLED, 3600.0)
    here.arm.faults.add("unavailable", retry_after=3600)
    assert isinstance(here.apps.get(TARGET), NoAnswer)
    assert max(slept) < 5


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("bad_request", Why.BROKEN),
        ("unauthorized", Why.FORBIDDEN),
        ("forbidden", Why.FORBIDDEN),
        ("missing", Why.MISSING),
        ("timeout", Why.TIMEOUT),
        ("conflict", Why.BUSY),
        ("bad_gateway", Why.FAILED),
        ("disconnect", Why.UNREACHABLE),
        ("garbage", Why.FAILED),
        ("nothing", Why.BROKEN),
    ],
)
def test_each_failure_of_a_change_and_of_a_read_has_its_name(here: Here, fault: str, why: Why) -> None:
    app = here.read()
    here.arm.faults.add(fault)
    read = here.apps.get(TARGET)
    assert isinstance(read, NoAnswer)
    assert read.why is why, read
    if fault not in ("garbage", "nothing"):
        sent = here.apps.patch_template(TARGET, app, app.template)
        assert isinstance(sent, NoAnswer)
        assert sent.why is why, sent


def test_a_platform_that_is_not_there_is_unreachable(here: Here) -> None:
    gone = Served(Starlette())
    with gone as served:
        url = served.url
    answer = ContainerApps(StaticToken("t"), url).get(TARGET)
    assert isinstance(answer, NoAnswer)
    assert answer.why is Why.UNREACHABLE


def test_an_identity_that_cannot_sign_in_is_forbidden_and_its_token_is_not_told(here: Here) -> None:
    from azure.core.exceptions import ClientAuthenticationError

    class SignedOut:
        def get_token(self, *scopes: str, **options: Any) -> Any:
            raise ClientAuthenticationError("refused: Bearer abc.def of eyJhbGciOi.payload.signature")

    answer = ContainerApps(SignedOut(), here.url).get(TARGET)
    assert isinstance(answer, NoAnswer)
    assert answer.why is Why.FORBIDDEN
    assert "abc.def" not in answer.detail
    assert "payload" not in answer.detail


def test_the_permission_that_is_missing_is_named_first(here: Here) -> None:
    words = (
        "The client '0b' with object id '0b' does not have authorization to perform action "
        "'Microsoft.App/containerApps/revisions/read' over scope '/subscriptions/sub'."
    )
    here.arm.faults.add("forbidden", message=words, matching="/revisions")
    answer = here.apps.get(TARGET)
    assert isinstance(answer, NoAnswer)
    assert answer.detail.startswith("403: the identity lacks Microsoft.App/containerApps/revisions/read: ")


# Long operations


def test_an_operation_is_followed_from_running_to_done(here: Here) -> None:
    url = here.deploy(terminationGracePeriodSeconds=31)
    assert here.apps.operation(TARGET, url) == Progress(State.RUNNING)
    here.clock.advance(timedelta(seconds=90))
    assert here.apps.operation(TARGET, url) == Progress(State.SUCCEEDED)


def test_an_operation_that_fails_tells_the_platforms_reason(here: Here) -> None:
    here.arm.failing = "Field 'template.containers.api.image' is invalid"
    url = here.deploy(terminationGracePeriodSeconds=31)
    here.clock.advance(timedelta(seconds=90))
    assert here.apps.operation(TARGET, url) == Progress(State.FAILED, here.arm.failing)


def test_an_operation_that_never_ends_is_running_for_ever(here: Here) -> None:
    here.arm.stuck = True
    url = here.deploy(terminationGracePeriodSeconds=31)
    here.clock.advance(timedelta(days=2))
    assert here.apps.operation(TARGET, url) == Progress(State.RUNNING)


def test_an_operation_whose_result_is_polled_for_is_followed_too(here: Here) -> None:
    url = here.deploy(terminationGracePeriodSeconds=31).replace("Statuses", "Results")
    assert here.apps.operation(TARGET, url) == Progress(State.RUNNING)
    here.clock.advance(timedelta(seconds=90))
    assert here.apps.operation(TARGET, url) == Progress(State.SUCCEEDED)


@pytest.mark.parametrize("fault", ["forbidden", "missing", "throttled", "error", "garbage"])
def test_an_operation_that_cannot_be_read_is_unknown_and_never_taken_for_done(here: Here, fault: str) -> None:
    url = here.deploy(terminationGracePeriodSeconds=31)
    here.arm.faults.add(fault, matching="containerappOperationStatuses")
    assert here.apps.operation(TARGET, url).state is State.UNKNOWN


def test_an_operation_at_a_foreign_address_is_never_asked_as_the_request_carries_a_token(here: Here) -> None:
    asked: list[str] = []

    async def foreign(request: Request) -> Response:
        asked.append(request.headers.get("authorization", ""))
        return JSONResponse({"status": "Succeeded"})

    with Served(Starlette(routes=[Route("/{path:path}", foreign)])) as served:
        found = here.apps.operation(TARGET, f"{served.url}/op")
    assert (found.state, asked) == (State.UNKNOWN, [])


# Documents as the platform writes them


@dataclass
class Documents:
    """A platform that answers with these documents."""

    mode: str
    shares: bool = True
    revisions: list[dict[str, Any]] = field(default_factory=list)

    def add(self, name: str, container: str = "api", env: dict[str, str] | None = None, **properties: Any) -> None:
        variables = [{"name": key, "value": value} for key, value in (env or {}).items()]
        template = {"containers": [{"name": container, "image": "i", "env": variables}]}
        given = {"active": True, "trafficWeight": 0, "runningState": "Running", "template": template, **properties}
        self.revisions.append({"id": name, "name": name, "properties": given})

    def look(self, variable: str = "KILLSWITCH_TOOLS") -> Look:
        """Return what verifying finds in them, read through the SDK."""
        routes = [Route("/{path:path}/revisions", self._list), Route("/{path:path}", self._get)]
        with Served(Starlette(routes=routes)) as served:
            app = ContainerApps(StaticToken("t"), served.url).get(TARGET)
        assert isinstance(app, App), app
        return verify(app, variable, True)

    async def _list(self, request: Request) -> Response:
        return JSONResponse({"value": self.revisions})

    async def _get(self, request: Request) -> Response:
        newest = self.revisions[-1]
        properties = {
            "provisioningState": "Succeeded",
            "latestRevisionName": newest["name"],
            "configuration": {
                "activeRevisionsMode": self.mode,
                **({"ingress": {"targetPort": 8000}} if self.shares else {}),
            },
            "template": newest["properties"]["template"],
        }
        return JSONResponse({"id": "/app", "location": "westeurope", "properties": properties})


ON = {"KILLSWITCH_TOOLS": "on"}


@pytest.mark.parametrize(
    ("state", "health", "holds"),
    [
        ("Running", "Healthy", True),
        ("RunningAtMaxScale", "Healthy", True),
        ("ScaledToZero", "Healthy", True),
        ("Running", "Unhealthy", False),
        ("Degraded", "Unhealthy", False),
        ("Processing", "None", False),
        ("Activating", "None", False),
        ("Failed", "Unhealthy", False),
        ("Unknown", None, False),
        (None, None, False),
    ],
)
def test_only_a_revision_that_runs_proves_anything(state: str | None, health: str | None, holds: bool) -> None:
    documents = Documents("Single")
    documents.add("app--1", env=ON, trafficWeight=100, runningState=state, healthState=health)
    assert documents.look().holds is holds


@pytest.mark.parametrize("state", ["Running", "RunningAtMaxScale", "Degraded", "Unknown"])
def test_in_single_mode_an_old_revision_that_is_still_up_may_answer_whatever_its_weight(state: str) -> None:
    documents = Documents("Single")
    documents.add("app--1", runningState=state, trafficWeight=0)
    documents.add("app--2", env=ON, trafficWeight=100)
    assert documents.look().words == "KILLSWITCH_TOOLS is not on on app--1"
    documents.revisions[0]["properties"].update(active=False, runningState="Stopped")
    assert documents.look().holds


def test_in_multiple_mode_a_revision_without_traffic_does_not_count() -> None:
    documents = Documents("Multiple")
    documents.add("app--1", trafficWeight=0)
    documents.add("app--2", env=ON, trafficWeight=100)
    assert documents.look().holds
    documents.revisions[0]["properties"]["trafficWeight"] = 1
    assert not documents.look().holds


def test_an_old_revision_from_before_the_container_had_its_name_does_not_make_the_app_unreadable() -> None:
    documents = Documents("Single")
    documents.add("app--1", container="main", active=False, runningState="Stopped")
    documents.add("app--2", env=ON, trafficWeight=100)
    assert documents.look().holds


def test_without_ingress_every_revision_that_is_up_counts() -> None:
    documents = Documents("Multiple", shares=False)
    documents.add("app--1", trafficWeight=0)
    documents.add("app--2", env=ON, trafficWeight=0)
    assert documents.look().words == "KILLSWITCH_TOOLS is not on on app--1"


def test_without_a_revision_that_serves_nothing_is_proven() -> None:
    documents = Documents("Multiple")
    documents.add("app--1", env=ON, trafficWeight=0)
    assert documents.look() == Look(False, "no revision serves")


# The stand-in is as strict as the platform


def test_a_merge_patch_replaces_arrays_whole_and_null_removes() -> None:
    old = {"a": [1, 2], "b": {"c": 1, "d": 2}, "e": 1}
    assert merged(old, {"a": [3], "b": {"c": None}}) == {"a": [3], "b": {"d": 2}, "e": 1}


def test_a_revision_suffix_used_twice_is_refused(here: Here) -> None:
    here.arm.set_template(TARGET, {**here.arm.template(TARGET), "revisionSuffix": "one"})
    here.clock.advance(timedelta(minutes=2))
    app = here.read()
    again = {**app.template, "terminationGracePeriodSeconds": 5}
    answer = here.apps.patch_template(TARGET, app, again)
    assert isinstance(answer, NoAnswer)
    assert (answer.why, "suffix already exists" in answer.detail) == (Why.BROKEN, True)
    with pytest.raises(Refused):
        here.arm.set_template(TARGET, again)


def test_a_change_while_another_runs_is_refused(here: Here) -> None:
    here.deploy(terminationGracePeriodSeconds=31)
    app = here.read()
    assert app.provisioning == "InProgress"
    answer = here.apps.patch_template(TARGET, app, {**app.template, "terminationGracePeriodSeconds": 32})
    assert isinstance(answer, NoAnswer)
    assert answer.why is Why.BUSY


def test_in_single_mode_the_old_revision_serves_until_the_new_is_ready(here: Here) -> None:
    here.arm.provision(TARGET, {"A": "2"})
    here.clock.advance(timedelta(seconds=89))
    assert here.arm.serving_env(TARGET)["A"] == "1"
    here.clock.advance(timedelta(seconds=1))
    assert here.arm.serving_env(TARGET)["A"] == "2"
    old, new = here.read().revisions
    assert (old.active, new.serving) == (False, True)


def test_provisioning_writes_back_the_variables_and_keeps_references_to_secrets(here: Here) -> None:
    here.arm.provision(TARGET, {"A": "1", "B": "2"})
    env = here.arm.template_env(TARGET)
    assert env == {"APPLICATIONINSIGHTS_CONNECTION_STRING": SECRET, "A": "1", "B": "2"}


# What is read is bounded


def test_an_app_of_more_revisions_than_are_read_is_unknown_and_never_read_in_part(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.deploy(terminationGracePeriodSeconds=40)
    monkeypatch.setattr("tocsin.connections.arm._MOST_REVISIONS", 1)
    assert here.apps.get(TARGET) == NoAnswer(Why.FAILED, "TooMuch: the app has more than 1 revisions")
    monkeypatch.setattr("tocsin.connections.arm._MOST_REVISIONS", 2)
    assert len(here.read().revisions) == 2


def test_an_answer_of_more_bytes_than_are_read_is_no_answer(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.connections.arm._LARGEST", 2_000)
    here.arm.set_template(TARGET, {**RICH, "ofTomorrow": "x" * 2_000})
    apps = ContainerApps(StaticToken("t"), here.url)
    assert apps.get(TARGET) == NoAnswer(Why.FAILED, "TooMuch: the answer is more than 2000 bytes")
