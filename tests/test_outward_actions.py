"""Actions that call out, over real HTTP: once at most by their ids, telling nobody what telemetry or a secret says."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from werkzeug import Request as Received
from werkzeug import Response as Answer

from tests.reading_cases import SETTINGS, project
from tests.stage import CONFIG, MINUTE, MISCONFIGURED, STOP, T0, TARGET, Stage
from tests.test_acting import misconfigured
from tocsin import actuators
from tocsin.actuators.connections import Connections
from tocsin.actuators.github_workflow import Workflow, mark, told
from tocsin.actuators.outward import identity
from tocsin.app import known
from tocsin.connections.arm import ContainerApps
from tocsin.connections.event_grid import SCOPE
from tocsin.connections.github import Run
from tocsin.connections.http import Http
from tocsin.connections.identity import StaticToken, bearer
from tocsin.core import remedy
from tocsin.core.action import Order, Preview
from tocsin.core.alert import Alert, State
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.policy import Guard, Policy, Step
from tocsin.core.remedy import Applied, Did, Phase
from tocsin.files import read_project
from tocsin.local.github import TOKEN, GitHubStandIn
from tocsin.local.serve import Served
from tocsin.local.webhooks import SECRET, WebhookStandIn
from tocsin.ports import Actuator

pytestmark = pytest.mark.slow

NOW = datetime(2026, 11, 20, 3, tzinfo=UTC)
HOSTILE = 'x"}],<@everyone> https://evil.example/$(curl evil) ${{ secrets.ALL }}\u202e\nBcc: a@evil.example'
KEY = "a-topic-access-key-of-the-local-world"
REPO = "contoso/sales-research"

ARGS: dict[str, dict[str, str]] = {
    "webhook.call": {"url_setting": "PARTNER_URL", "secret_setting": "PARTNER_SECRET", "says": "We have stopped."},
    "event_grid.publish": {"topic_setting": "TOPIC", "key_setting": "TOPIC_KEY", "type": "com.contoso.stopped"},
    "github_workflow.run": {
        "repo": REPO,
        "workflow": "evals.yml",
        "token_setting": "GITHUB_TOKEN",
        "input.suite": "quality",
    },
}
CALLS = ("webhook.call", "event_grid.publish")


def order(action: str, **changes: Any) -> Order:
    """Return the order that the engine gives for an alert whose every label is hostile."""
    labels = {"team": HOSTILE, "env": "prod"}
    target = TARGET.model_copy(update={"labels": labels, "role_name": HOSTILE})
    policy = Policy.model_validate(
        {
            "id": "notify_partner",
            "summary": HOSTILE.replace("\n", " "),
            "on": {"rule": MISCONFIGURED.id},
            "do": [{action: {**ARGS[action], **changes}}],
            "guard": {"mode": "act"},
        }
    )
    alert = Alert(MISCONFIGURED.id, TARGET.name, (("tool", HOSTILE),), State.FIRING, fired=NOW, detail=HOSTILE)
    begun = remedy.begin(policy, replace(alert, reason=HOSTILE), NOW)
    return remedy.order(begun.moved(Phase.INTENDED, HOSTILE, intended=NOW), target)


@dataclass
class Endpoint:
    """An endpoint that keeps every request, and answers as it is told; by default 200."""

    server: HTTPServer
    answers: list[Answer] = field(default_factory=list)
    got: list[Received] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server.expect_request("/hooks/T0SECRETPATH").respond_with_handler(self._answer)

    def _answer(self, request: Received) -> Answer:
        request.get_data()
        self.got.append(request)
        return self.answers.pop(0) if self.answers else Answer(status=200)

    @property
    def url(self) -> str:
        return self.server.url_for("/hooks/T0SECRETPATH?code=querysecret")

    def made(self, action: str, **settings: str) -> Actuator:
        values = {
            "PARTNER_URL": self.url,
            "PARTNER_SECRET": SECRET,
            "TOPIC": self.url,
            "TOPIC_KEY": KEY,
            "GITHUB_TOKEN": TOKEN,
            **settings,
        }
        return actuators.made(connections(values, self.server.url_for("")))[action]


def connections(values: dict[str, str], url: str) -> Connections:
    def secret(name: str) -> str:
        if name not in values:
            raise LookupError(f"the app setting {name} is not set")
        return values[name]

    def token(scope: str, endpoint: str) -> str | NoAnswer:
        return bearer(StaticToken("identity-token"), scope, endpoint)

    return Connections(ContainerApps(StaticToken("t"), url), Http(timeout=1.0), secret, url.rstrip("/"), token)


@pytest.fixture
def endpoint(httpserver: HTTPServer) -> Endpoint:
    return Endpoint(httpserver)


def sent(request: Received) -> dict[str, Any]:
    """Return the one message of a request; Event Grid takes batches."""
    body = json.loads(request.get_data())
    found: dict[str, Any] = body[0] if isinstance(body, list) and len(body) == 1 else body
    return found


def sent_id(request: Received) -> str:
    return str(request.headers.get("webhook-id") or sent(request)["id"])


# What goes out


@pytest.mark.parametrize("action", CALLS)
def test_applying_twice_sends_the_same_body_with_the_same_id(endpoint: Endpoint, action: str) -> None:
    made, given = endpoint.made(action), order(action)
    assert [made.apply(given).did for _ in range(2)] == [Did.DONE, Did.DONE]
    assert len({request.get_data() for request in endpoint.got}) == 1
    assert {sent_id(request) for request in endpoint.got} == {identity(given)}
    assert identity(given) != identity(replace(given, id="another"))


@pytest.mark.parametrize("action", CALLS)
def test_nothing_of_telemetry_goes_out(endpoint: Endpoint, action: str) -> None:
    given = order(action)
    assert endpoint.made(action).apply(given).did is Did.DONE
    (request,) = endpoint.got
    body = request.get_data(as_text=True)
    assert not [part for part in ("evil", "everyone", "Bcc", "secrets.ALL") if part in body + str(request.headers)]
    data = sent(request)["data"]
    assert data["facts"] == dict(given.facts)
    assert set(data) <= {"id", "action", "target", "facts", "says"}


def test_a_call_is_signed_so_that_the_other_side_can_verify_it_and_drop_a_repetition() -> None:
    hook = WebhookStandIn(lambda: NOW)
    with Served(Starlette(routes=hook.routes())) as served:
        values = {"PARTNER_URL": f"{served.url}/hook", "PARTNER_SECRET": SECRET}
        made, given = actuators.made(connections(values, served.url))["webhook.call"], order("webhook.call")
        hook.faults.add("slow", times=1, seconds=1.5)
        late = made.apply(given)
        again = made.apply(given)
    assert late.did is Did.BUSY
    assert "may have arrived; it is sent again with the same id" in late.detail
    assert again.did is Did.DONE
    (kept,) = hook.received.values()
    assert kept["type"] == "action.called"
    assert kept["data"]["says"] == "We have stopped."
    assert kept["timestamp"] == NOW.isoformat()


def test_an_event_is_a_cloud_event_of_the_authors_type(endpoint: Endpoint) -> None:
    endpoint.made("event_grid.publish").apply(order("event_grid.publish"))
    (request,) = endpoint.got
    event = sent(request)
    assert request.headers["content-type"].startswith("application/cloudevents-batch+json")
    assert request.headers["aeg-sas-key"] == KEY
    assert (event["specversion"], event["type"], event["time"]) == ("1.0", "com.contoso.stopped", f"{NOW:%FT%T}.000Z")
    assert (event["source"], event["subject"]) == ("/tocsin/sales", "hitl_misconfigured/sales")


def test_without_a_key_the_identity_that_acts_publishes(endpoint: Endpoint) -> None:
    given = order("event_grid.publish")
    keyless = replace(given, args={key: value for key, value in given.args.items() if key != "key_setting"})
    assert endpoint.made("event_grid.publish").apply(keyless).did is Did.DONE
    (request,) = endpoint.got
    assert request.headers["authorization"] == "Bearer identity-token"
    assert "aeg-sas-key" not in request.headers


def test_a_token_of_this_machine_goes_to_no_topic_elsewhere(endpoint: Endpoint) -> None:
    with pytest.raises(ValueError, match="loopback"):
        bearer(StaticToken("t"), SCOPE, "https://topic.example")
    given = order("event_grid.publish")
    keyless = replace(given, args={key: value for key, value in given.args.items() if key != "key_setting"})
    found = endpoint.made("event_grid.publish", TOPIC="https://topic.example/api/events").apply(keyless)
    assert (found.did, endpoint.got) == (Did.FAILED, [])


# What an answer means


ANSWERS = [
    (200, {}, Did.DONE, "answered 200"),
    (202, {}, Did.DONE, "answered 202"),
    (400, {}, Did.FAILED, "400 no such thing"),
    (401, {}, Did.FAILED, "401"),
    (404, {}, Did.FAILED, "404"),
    (408, {}, Did.BUSY, "408"),
    (409, {}, Did.FAILED, "409"),
    (410, {}, Did.FAILED, "410"),
    (429, {"Retry-After": "90"}, Did.BUSY, "again in 90 s"),
    (500, {}, Did.BUSY, "500"),
    (503, {"Retry-After": "5"}, Did.BUSY, "again in 5 s"),
    (302, {"Location": "https://elsewhere.example/"}, Did.FAILED, "a redirect, and none is followed"),
]


@pytest.mark.parametrize("action", CALLS)
@pytest.mark.parametrize(("status", "headers", "did", "words"), ANSWERS, ids=lambda value: str(value)[:20])
def test_what_an_answer_to_a_call_means(
    endpoint: Endpoint, action: str, status: int, headers: dict[str, str], did: Did, words: str
) -> None:
    endpoint.answers = [Answer("no such thing\r\n", status, headers)]
    found = endpoint.made(action).apply(order(action))
    assert found.did is did
    assert words in found.detail
    assert found.undo is None
    assert endpoint.made(action).holds(order(action)) is None
    assert len(endpoint.got) == 1


@pytest.mark.parametrize("action", CALLS)
def test_a_redirect_is_not_followed_with_a_secret(httpserver: HTTPServer, endpoint: Endpoint, action: str) -> None:
    endpoint.answers = [Answer(status=307, headers={"Location": httpserver.url_for("/elsewhere")})]
    assert endpoint.made(action).apply(order(action)).did is Did.FAILED
    assert [request.path for request, _ in httpserver.log] == ["/hooks/T0SECRETPATH"]


@pytest.mark.parametrize("action", CALLS)
def test_nobody_listening_is_busy_and_nothing_was_sent(endpoint: Endpoint, action: str) -> None:
    nowhere = "http://127.0.0.1:9/x"
    found = endpoint.made(action, PARTNER_URL=nowhere, TOPIC=nowhere).apply(order(action))
    assert found.did is Did.BUSY
    assert "nothing was sent" in found.detail


BAD = [
    ("webhook.call", {"PARTNER_URL": "http://partner.example/T0SECRETPATH"}, "PARTNER_URL: the address must be https"),
    ("webhook.call", {"PARTNER_URL": "https://user:T0SECRETPATH@partner.example/"}, "PARTNER_URL"),
    ("webhook.call", {"PARTNER_SECRET": "whsec_c2hvcnQ="}, "PARTNER_SECRET must hold 24 to 64 bytes"),
    ("event_grid.publish", {"TOPIC": "http://topic.example/T0SECRETPATH"}, "TOPIC: the address must be https"),
    ("event_grid.publish", {"TOPIC_KEY": "not\nprintable"}, "TOPIC_KEY must hold"),
    ("github_workflow.run", {"GITHUB_TOKEN": "two words"}, "GITHUB_TOKEN: the GitHub token"),
]


@pytest.mark.parametrize(("action", "settings", "words"), BAD)
def test_a_setting_that_cannot_be_used_is_an_outcome_that_names_it_alone(
    endpoint: Endpoint, action: str, settings: dict[str, str], words: str
) -> None:
    found = endpoint.made(action, **settings).apply(order(action))
    assert found.did is Did.FAILED
    assert words in found.detail
    assert not [value for value in settings.values() if value in found.detail]
    assert "T0SECRETPATH" not in found.detail
    assert endpoint.server.log == []


@pytest.mark.parametrize("action", ARGS)
def test_a_setting_that_is_not_set_is_named_before_anything_is_sent(endpoint: Endpoint, action: str) -> None:
    missing = {name: "NOT_SET" for name in ARGS[action] if name.endswith("_setting")}
    found = endpoint.made(action).apply(order(action, **missing))
    seen = endpoint.made(action).preview(order(action, **missing))
    assert found == Applied(Did.FAILED, found.detail)
    assert "the app setting NOT_SET is not set" in found.detail
    assert seen == NoAnswer(Why.BROKEN, "the app setting NOT_SET is not set")
    assert endpoint.server.log == []


# Dry runs and secrets


@pytest.mark.parametrize("action", CALLS)
def test_a_preview_names_the_host_and_sends_nothing(endpoint: Endpoint, action: str) -> None:
    seen = endpoint.made(action).preview(order(action))
    assert isinstance(seen, Preview)
    (change,) = seen.changes
    assert f"{endpoint.server.host}:{endpoint.server.port}" in change
    assert not [secret for secret in ("T0SECRETPATH", "querysecret", SECRET, KEY, "hooks") if secret in change]
    assert (seen.undo, endpoint.server.log) == (None, [])


@pytest.mark.parametrize("status", [400, 403, 429, 500])
@pytest.mark.parametrize("action", CALLS)
def test_an_answer_that_repeats_every_secret_tells_nobody(
    endpoint: Endpoint, action: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = {"webhook.call": SECRET, "event_grid.publish": KEY}[action]
    made, given = endpoint.made(action), order(action)
    said = f"{endpoint.url} {secret} {secret.removeprefix('whsec_')} no T0SECRETPATH with querysecret\u202e\x1b[31m"
    endpoint.answers = [Answer(said, status)]
    found = made.apply(given)
    logged = [record.getMessage() for record in caplog.records if record.name != "werkzeug"]
    shown = f"{found!r} {made!r} {given!r} {logged}"
    assert "with …" in found.detail
    for each in (secret, secret.removeprefix("whsec_"), "T0SECRETPATH", "querysecret", "\u202e", "\x1b"):
        assert each not in shown
    assert len(found.detail) < 300


def test_a_page_of_html_is_no_words(endpoint: Endpoint) -> None:
    endpoint.answers = [Answer("<html><script>alert(1)</script>", 404)]
    assert endpoint.made("webhook.call").apply(order("webhook.call")).detail == "404"


# GitHub


class Actions(GitHubStandIn):
    """GitHub with one workflow, whose ``run-name`` is this; an input that it does not declare is refused."""

    run_name = "Evals · tocsin {tocsin}"
    inputs = frozenset({"suite", "tocsin"})

    def __init__(self) -> None:
        super().__init__(lambda: NOW + timedelta(seconds=20), REPO)
        self.titles: dict[int, str] = {}
        self.at = NOW + timedelta(seconds=30)
        self.ran(NOW - timedelta(days=1))

    def by_hand(self, at: datetime = NOW) -> None:
        number = self.ran(at)
        self.titles[number] = self.run_name.format(tocsin="").strip()

    async def _dispatch(self, request: Request) -> Response:
        given = (await request.json()).get("inputs", {})
        if unknown := set(given) - self.inputs:
            return JSONResponse({"message": f"Unexpected inputs provided: {sorted(unknown)}"}, 422)
        before = len(self._runs)
        answer = await super()._dispatch(request)
        for run in self._runs[before:]:
            self.titles[run.id] = self.run_name.format(**given)
        return answer

    def _shown(self, run: Any) -> dict[str, Any]:
        return {**super()._shown(run), "display_title": self.titles.get(run.id, "Evals")}


@pytest.fixture
def hub() -> Iterator[tuple[Actions, Workflow]]:
    actions = Actions()
    with Served(Starlette(routes=actions.routes())) as served:
        yield actions, Workflow(connections({"GITHUB_TOKEN": TOKEN}, served.url), lambda: actions.at)


RUN = order("github_workflow.run")
SECOND = replace(RUN, attempts=1)
SETTLED = NOW + timedelta(minutes=5)


def test_a_workflow_is_run_once_however_often_it_is_ordered(hub: tuple[Actions, Workflow]) -> None:
    actions, made = hub
    assert made.holds(RUN) is False
    first, second = made.apply(RUN), made.apply(RUN)
    assert (first.did, second.did) == (Did.DONE, Did.ALREADY)
    assert actions.dispatched == [
        {"workflow": "evals.yml", "ref": "main", "inputs": {"suite": "quality", "tocsin": mark(RUN)}}
    ]
    assert made.holds(RUN) is True
    assert first.after == second.after != ""


def test_another_order_is_another_run(hub: tuple[Actions, Workflow]) -> None:
    actions, made = hub
    assert made.apply(RUN).did is Did.DONE
    assert made.apply(replace(RUN, id="another")).did is Did.DONE
    assert len(actions.dispatched) == 2


def lose_the_answer(actions: Actions) -> None:
    actions.faults.add("slow", times=1, seconds=1.3, matching="dispatches")


def arrives(actions: Actions) -> None:
    """Wait until the request arrives whose sender has stopped waiting."""
    until = time.monotonic() + 5
    while not actions.dispatched and time.monotonic() < until:
        time.sleep(0.02)


def test_a_dispatch_that_got_no_answer_is_found_and_not_sent_again(hub: tuple[Actions, Workflow]) -> None:
    actions, made = hub
    lose_the_answer(actions)
    lost = made.apply(RUN)
    assert lost.did is Did.BUSY
    assert "unknown until its runs are read again" in lost.detail
    early = made.apply(SECOND)
    assert (early.did, actions.dispatched) == (Did.BUSY, []), "it is still on its way"
    assert made.holds(SECOND) is None
    arrives(actions)
    assert made.apply(SECOND).did is Did.ALREADY
    assert len(actions.dispatched) == 1


def test_a_dispatch_that_never_arrived_is_sent_again_once_it_would_show(hub: tuple[Actions, Workflow]) -> None:
    actions, made = hub
    actions.faults.add("error", times=1, matching="dispatches")
    assert made.apply(RUN).did is Did.BUSY
    assert made.apply(SECOND).did is Did.BUSY
    actions.at = SETTLED
    assert made.holds(SECOND) is False
    assert made.apply(SECOND).did is Did.DONE
    assert len(actions.dispatched) == 1


def test_a_second_attempt_without_an_answer_calls_a_person(hub: tuple[Actions, Workflow]) -> None:
    actions, made = hub
    actions.at = SETTLED
    actions.faults.add("error", times=1, matching="dispatches")
    found = made.apply(SECOND)
    assert found.did is Did.FAILED
    assert "look before beginning one" in found.detail


def test_a_run_that_does_not_say_for_whom_it_is_may_be_ours_and_nothing_is_sent(hub: tuple[Actions, Workflow]) -> None:
    actions, made = hub
    actions.run_name = "Evals"
    lose_the_answer(actions)
    assert made.apply(RUN).did is Did.BUSY
    arrives(actions)
    actions.at = SETTLED
    found = made.apply(SECOND)
    assert found.did is Did.BUSY
    assert "its run-name must hold 'tocsin ${{ inputs.tocsin }}'" in found.detail
    assert made.holds(SECOND) is None
    assert len(actions.dispatched) == 1


def test_a_run_that_a_person_began_is_none_of_ours(hub: tuple[Actions, Workflow]) -> None:
    actions, made = hub
    actions.by_hand()
    assert made.apply(RUN).did is Did.DONE


def test_a_run_from_before_the_intent_is_none_of_ours(hub: tuple[Actions, Workflow]) -> None:
    actions, made = hub
    actions.ran(NOW - timedelta(minutes=6))
    assert made.apply(RUN).did is Did.DONE


def test_a_clock_that_is_minutes_off_hides_no_run(hub: tuple[Actions, Workflow]) -> None:
    actions, made = hub
    actions.titles[actions.ran(NOW - timedelta(minutes=4))] = f"Evals · tocsin {mark(RUN)}"
    assert made.apply(RUN).did is Did.ALREADY


def test_so_many_runs_that_ours_may_be_hidden_are_no_answer(hub: tuple[Actions, Workflow]) -> None:
    actions, made = hub
    for _ in range(100):
        actions.by_hand()
    assert made.holds(RUN) is None
    assert made.apply(RUN).did is Did.FAILED
    assert actions.dispatched == []


def test_what_a_run_concluded_can_be_read(hub: tuple[Actions, Workflow]) -> None:
    actions, made = hub
    made.apply(RUN)
    begun = made.run(RUN)
    assert isinstance(begun, Run)
    assert "in_progress" in told(begun)
    actions._runs[-1].conclusion = "failure"
    ended = made.run(RUN)
    assert isinstance(ended, Run)
    assert told(ended).startswith(f"run {ended.id}: completed, failure; https://github.com/")


def test_a_preview_of_a_run_reads_and_sends_nothing(hub: tuple[Actions, Workflow]) -> None:
    actions, made = hub
    seen = made.preview(RUN)
    assert isinstance(seen, Preview)
    (change,) = seen.changes
    assert change.startswith("one run of evals.yml of contoso/sales-research on main, suite quality")
    assert actions.dispatched == []
    made.apply(RUN)
    assert made.preview(RUN) == Preview(())


GITHUB = [
    ("unauthorized", {}, Did.FAILED, "no permission"),
    ("forbidden", {}, Did.FAILED, "no permission"),
    ("forbidden", {"retry_after": 60}, Did.BUSY, "again in 60 s"),
    ("missing", {}, Did.FAILED, "not found"),
    ("bad_request", {}, Did.FAILED, "400"),
    ("throttled", {"retry_after": 7}, Did.BUSY, "again in 7 s"),
    ("error", {}, Did.BUSY, "500"),
    ("unavailable", {}, Did.BUSY, "503"),
    ("disconnect", {}, Did.BUSY, ""),
]


@pytest.mark.parametrize("path", ["dispatches", "runs"])
@pytest.mark.parametrize(("fault", "args", "did", "words"), GITHUB, ids=lambda value: str(value)[:20])
def test_what_an_answer_of_github_means(
    hub: tuple[Actions, Workflow], path: str, fault: str, args: dict[str, Any], did: Did, words: str
) -> None:
    actions, made = hub
    actions.faults.add(fault, times=1, matching=path, **args)
    found = made.apply(RUN)
    assert found.did is did
    assert words in found.detail
    assert actions.dispatched == []
    assert TOKEN not in f"{found!r} {made!r}"
    if path == "runs":
        actions.faults.add(fault, times=1, matching=path, **args)
        assert made.holds(RUN) is None


def test_a_workflow_that_does_not_declare_the_mark_is_told_so_at_once(hub: tuple[Actions, Workflow]) -> None:
    actions, made = hub
    actions.inputs = frozenset({"suite"})
    found = made.apply(RUN)
    assert found.did is Did.FAILED
    assert "Unexpected inputs provided: ['tocsin']" in found.detail


def test_a_repository_that_has_moved_is_not_followed_with_the_token(endpoint: Endpoint, httpserver: HTTPServer) -> None:
    path = f"/repos/{REPO}/actions/workflows/evals.yml/runs"
    httpserver.expect_request(path).respond_with_data(status=301, headers={"Location": httpserver.url_for("/moved")})
    found = endpoint.made("github_workflow.run").apply(RUN)
    assert "301" in found.detail
    assert [request.path for request, _ in httpserver.log] == [path]


# In the engine


def test_an_order_says_since_when_and_how_often_it_was_tried() -> None:
    execution = remedy.Execution("p/e", "p", "sales", "r/sales/-/e", "x.y", {}, Phase.INTENDED, intended=NOW)
    given = remedy.order(execution.moved(Phase.INTENDED, "busy", attempts=2), TARGET)
    assert (given.since, given.attempts, given.id) == (NOW, 2, "p/e")


def playing(endpoint: Endpoint, mode: str) -> Stage:
    """Play ten minutes of an alert that a policy answers with a call, on the real engine."""
    name = "webhook.call"
    target = TARGET.model_copy(update={"allow": (name,), "labels": {"env": "prod", "team": HOSTILE}})
    calling = STOP.model_copy(
        update={
            "do": (Step(action=name, args=ARGS[name]),),
            "verify": (),
            "guard": Guard.model_validate({"mode": mode}),
        }
    )
    stage = misconfigured(policies=(calling,), config=CONFIG.model_copy(update={"targets": (target,)}))
    made = endpoint.made(name)
    for minute in range(10):
        replace(stage.engine, actuators={name: made}).tick(T0 + minute * MINUTE)
    return stage


@pytest.mark.parametrize("mode", ["observe", "ask", "off"])
def test_a_policy_that_may_not_act_calls_nobody(endpoint: Endpoint, mode: str) -> None:
    stage = playing(endpoint, mode)
    assert endpoint.server.log == []
    assert [each.phase for each in stage.inner.executions()] == {
        "observe": [Phase.OBSERVED],
        "ask": [Phase.ASKED],
        "off": [Phase.REFUSED],
    }[mode]


def test_a_busy_endpoint_is_called_again_by_the_next_tick_with_the_same_body(endpoint: Endpoint) -> None:
    endpoint.answers = [Answer(status=503, headers={"Retry-After": "30"}), Answer(status=500)]
    stage = playing(endpoint, "act")
    assert len(endpoint.got) == 3
    assert len({(sent_id(request), request.get_data()) for request in endpoint.got}) == 1
    (execution,) = stage.inner.executions()
    assert execution.applied is not None
    written = json.dumps(stage.inner.audit())
    assert "again in 30 s" in written
    assert not [secret for secret in ("T0SECRETPATH", "querysecret", SECRET) if secret in written]


def test_an_endpoint_that_refuses_calls_a_person_once(endpoint: Endpoint) -> None:
    endpoint.answers = [Answer("no such customer", 404)]
    stage = playing(endpoint, "act")
    assert len(endpoint.got) == 1
    assert stage.inner.executions()[0].phase is Phase.FAILED
    assert "404 no such customer" in stage.inner.executions()[0].reason
    assert "action failed" in stage.oncall.kinds()


# In a policy


def policy(step: str) -> str:
    return f"summary: Tell the partner.\non: {{ rule: hitl_misconfigured }}\ndo:\n  - {step}\nguard: {{ mode: ask }}\n"


GOOD = [
    "webhook.call: { url_setting: PARTNER_URL, secret_setting: PARTNER_SECRET, says: We have stopped. }",
    "event_grid.publish: { topic_setting: TOPIC, type: com.contoso.stopped, subject: sales/stopped }",
    "github_workflow.run: { repo: contoso/sales, workflow: evals.yml, token_setting: GITHUB_TOKEN }",
    "github_workflow.run: { repo: c/s, workflow: e.yaml, ref: v1/x, token_setting: T, input.suite: red team }",
]


@pytest.mark.parametrize("step", GOOD)
def test_a_policy_may_call_out(tmp_path: Any, step: str) -> None:
    root = project(tmp_path)
    (root / "remediations" / "notify_partner.yaml").write_text(policy(step))
    found = read_project(root, SETTINGS, known())
    assert found.problems == ()
    assert "notify_partner" in {each.id for each in found.policies}


WRONG = [
    ("webhook.call: { url_setting: PARTNER_URL }", "missing-argument"),
    ("webhook.call: { url_setting: 'https://partner.example/x', secret_setting: S }", "bad-argument"),
    ("event_grid.publish: { topic_setting: TOPIC, type: two words }", "bad-argument"),
    ("github_workflow.run: { repo: contoso, workflow: evals.yml, token_setting: T }", "bad-argument"),
    ("github_workflow.run: { repo: contoso/.., workflow: evals.yml, token_setting: T }", "bad-argument"),
    ("github_workflow.run: { repo: c/s, workflow: ../e.yml, token_setting: T }", "bad-argument"),
    ("github_workflow.run: { repo: c/s, workflow: e.yml, token_setting: T, input.: x }", "unknown-argument"),
    ("github_workflow.run: { repo: c/s, workflow: e.yml, token_setting: T, suite: x }", "unknown-argument"),
    ("github_workflow.run: { repo: c/s, workflow: e.yml, token_setting: T, input.tocsin: x }", "bad-argument"),
]


@pytest.mark.parametrize(("step", "problem"), WRONG)
def test_what_a_policy_may_not_say(tmp_path: Any, step: str, problem: str) -> None:
    root = project(tmp_path)
    (root / "remediations" / "notify_partner.yaml").write_text(policy(step))
    assert [each.id for each in read_project(root, SETTINGS, known()).problems] == [problem]
