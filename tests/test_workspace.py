"""The Log Analytics stand-in speaks as the service does, its faults keep to their schedule, and servers come and go."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tocsin.local.faults import KINDS, Faults
from tocsin.local.serve import Served
from tocsin.local.workspace import Asked, Workspace
from tocsin.telemetry.embedded import EmbeddedTelemetry
from tocsin.telemetry.values import plain, wire

T0 = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HERE = "11111111-2222-3333-4444-555555555555"
SPAN = "2026-11-21T06:00:00Z/2026-11-21T07:00:00Z"


@pytest.fixture
def workspace() -> Workspace:
    return Workspace(EmbeddedTelemetry(now=lambda: T0), known={HERE})


@pytest.fixture
def client(workspace: Workspace) -> Iterator[httpx.Client]:
    with (
        Served(Starlette(routes=workspace.routes())) as server,
        httpx.Client(base_url=server.url, headers={"Authorization": "Bearer x"}, trust_env=False) as client,
    ):
        yield client


def query(client: httpx.Client, text: str, timespan: str | None = SPAN, workspace: str = HERE) -> httpx.Response:
    return client.post(f"/v1/workspaces/{workspace}/query", json={"query": text, "timespan": timespan})


# The wire shapes.


@pytest.mark.parametrize(
    ("expression", "kind", "sent"),
    [
        ("datetime(2026-11-21T06:00:00Z)", "datetime", "2026-11-21T06:00:00Z"),
        ("datetime(2026-11-21T06:00:00.5Z)", "datetime", "2026-11-21T06:00:00.500000Z"),
        ("int(7)", "int", 7),
        ("7", "long", 7),
        ("1.5", "real", 1.5),
        ("real(nan)", "real", "NaN"),
        ("real(+inf)", "real", "Infinity"),
        ("real(-inf)", "real", "-Infinity"),
        ("true", "bool", True),
        ("'text'", "string", "text"),
        ("1h", "timespan", "01:00:00"),
        ("-26h - 0.5s", "timespan", "-1.02:00:00.5000000"),
        ("guid(74be27de-1e4e-49d9-b579-fe0b331d3642)", "guid", "74be27de-1e4e-49d9-b579-fe0b331d3642"),
        ("dynamic({'a': [1]})", "dynamic", '{"a":[1]}'),
        ("long(null)", "long", None),
    ],
)
def test_a_value_is_sent_with_its_type_as_the_service_sends_it(
    client: httpx.Client, expression: str, kind: str, sent: object
) -> None:
    answer = query(client, f"print x = {expression}")
    assert answer.json() == {
        "tables": [{"name": "PrimaryResult", "columns": [{"name": "x", "type": kind}], "rows": [[sent]]}]
    }
    assert type(answer.json()["tables"][0]["rows"][0][0]) is type(sent)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("timespan", 0.0),
        ("timespan", -0.000001),
        ("timespan", 93784.5),
        ("real", 1e300),
        ("long", 2**62),
        ("datetime", T0 + timedelta(microseconds=1)),
        ("string", "Grüße\n'"),
        ("bool", False),
        ("dynamic", '{"a":1}'),
    ],
)
def test_what_is_sent_is_read_back_as_the_same(kind: str, value: object) -> None:
    sent = wire(kind, timedelta(seconds=value) if kind == "timespan" else value)  # type: ignore[arg-type]
    assert plain(kind, sent) == value


def test_a_query_that_does_not_parse_is_refused_as_the_service_refuses_it(client: httpx.Client) -> None:
    answer = query(client, "AppTraces | wherex")
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "BadArgumentError"
    assert error["innererror"]["code"] == "SyntaxError"


def test_a_table_there_is_not_does_not_resolve(client: httpx.Client) -> None:
    answer = query(client, "AppTypos | count")
    assert answer.status_code == 400
    inner = answer.json()["error"]["innererror"]
    assert inner["code"] == "SemanticError"
    assert inner["innererror"]["code"] == "SEM0100"
    assert "Failed to resolve table or column expression named 'AppTypos'" in inner["innererror"]["message"]


def test_a_column_there_is_not_is_a_semantic_error_and_no_missing_table(client: httpx.Client) -> None:
    inner = query(client, "AppTraces | where Nope == 'x'").json()["error"]["innererror"]
    assert inner["code"] == "SemanticError"
    assert "resolve table" not in inner["innererror"]["message"]


def test_an_unknown_workspace_is_a_path_there_is_not(client: httpx.Client) -> None:
    answer = query(client, "print 1", workspace="sales")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "PathNotFoundError"


def test_without_a_token_nothing_is_answered(client: httpx.Client) -> None:
    del client.headers["Authorization"]
    answer = query(client, "print 1")
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "AuthenticationFailed"


@pytest.mark.parametrize("timespan", ["PT1H", "yesterday", "2026-11-21T07:00:00Z/2026-11-21T06:00:00Z", "a/b"])
def test_a_timespan_that_is_not_understood_is_refused(client: httpx.Client, timespan: str) -> None:
    assert query(client, "AppTraces | count", timespan).status_code == 400


def test_no_timespan_is_all_there_is(workspace: Workspace, client: httpx.Client) -> None:
    workspace.telemetry.load("AppTraces", [{"TimeGenerated": T0 - timedelta(days=400)}])
    assert query(client, "AppTraces | count", None).json()["tables"][0]["rows"] == [[1]]
    assert query(client, "AppTraces | count").json()["tables"][0]["rows"] == [[0]]


def test_a_body_that_is_no_json_is_refused(client: httpx.Client) -> None:
    assert client.post(f"/v1/workspaces/{HERE}/query", content=b"query=print 1").status_code == 400


def test_every_request_is_remembered_with_what_it_asked_for(workspace: Workspace, client: httpx.Client) -> None:
    body = {"query": "print 1", "timespan": SPAN}
    client.post(f"/v1/workspaces/{HERE}/query", json=body, headers={"Prefer": "wait=25,include-statistics=true"})
    query(client, "AppTraces", workspace="other")
    assert workspace.asked == [Asked(HERE, "print 1", SPAN, 25), Asked("other", "AppTraces", SPAN, None)]


# The faults.


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("bad_request", 400, "BadArgumentError"),
        ("unauthorized", 401, "AuthenticationFailed"),
        ("forbidden", 403, "InsufficientAccessError"),
        ("missing", 404, "PathNotFoundError"),
        ("throttled", 429, "ThrottledError"),
        ("error", 500, "InternalServerError"),
        ("bad_gateway", 502, "BadGateway"),
        ("unavailable", 503, "ServiceUnavailable"),
        ("timeout", 504, "GatewayTimeout"),
    ],
)
def test_a_fault_answers_with_its_status_and_the_services_error(
    workspace: Workspace, client: httpx.Client, kind: str, status: int, code: str
) -> None:
    workspace.faults.add(kind, retry_after=7)
    answer = query(client, "print 1")
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert answer.headers["Retry-After"] == "7"


def test_a_partial_answer_holds_rows_and_an_error(workspace: Workspace, client: httpx.Client) -> None:
    workspace.faults.add("partial")
    answer = query(client, "print 1")
    assert answer.status_code == 200
    assert answer.json()["error"]["code"] == "PartialError"
    assert answer.json()["tables"][0]["rows"] == [[1]]


def test_the_faults_without_a_status_of_their_own(workspace: Workspace, client: httpx.Client) -> None:
    for kind in ("empty", "nothing", "garbage", "disconnect", "slow"):
        workspace.faults.add(kind, times=1, seconds=0.01)
    assert query(client, "print 1").status_code == 204
    assert query(client, "print 1").json() == {}
    assert "not what you asked for" in query(client, "print 1").text
    with pytest.raises(httpx.RemoteProtocolError):
        query(client, "print 1")
    assert query(client, "print 1").json()["tables"][0]["rows"] == [[1]], "slow answers in the end"


def planned(**args: Any) -> Faults:
    faults = Faults()
    faults.add("error", **args)
    return faults


def test_a_fault_lasts_from_its_start_until_just_before_its_end() -> None:
    faults = planned(start=T0, end=T0 + MINUTE)
    moments = [T0 - MINUTE / 60, T0, T0 + MINUTE / 2, T0 + MINUTE]
    assert [faults.next(now) is not None for now in moments] == [False, True, True, False]


def test_a_fault_happens_as_often_as_planned_and_no_more() -> None:
    faults = planned(times=2)
    assert [faults.next(T0) is not None for _ in range(3)] == [True, True, False]


def test_a_fault_concerns_only_the_requests_it_matches() -> None:
    faults = planned(matching="/revisions", times=1)
    assert faults.next(T0, "GET /containerApps/api") is None
    assert faults.next(T0, "GET /containerApps/api/revisions") is not None


def test_the_fault_that_was_planned_first_comes_first() -> None:
    faults = planned(times=1)
    faults.add("throttled", retry_after=5)
    found = [faults.next(T0) for _ in range(2)]
    assert [fault.kind for fault in found if fault] == ["error", "throttled"]


def test_without_a_clock_only_faults_without_bounds_happen() -> None:
    assert planned().next(None) is not None
    assert planned(start=T0).next(None) is None


def test_forgotten_faults_do_not_happen() -> None:
    faults = planned()
    faults.clear()
    assert faults.next(T0) is None


def test_a_fault_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="no fault 'explode'") as refused:
        planned().add("explode")
    assert all(kind in str(refused.value) for kind in KINDS)


# The server.


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


APP = Starlette(routes=[Route("/", hello)])


def test_a_server_answers_while_its_block_lasts_and_not_after() -> None:
    with Served(APP) as server:
        url = server.url
        assert httpx.get(url, trust_env=False).text == "hello"
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)
    with pytest.raises(RuntimeError, match="not serving"):
        _ = server.url


def test_servers_side_by_side_have_ports_of_their_own() -> None:
    with Served(APP) as one, Served(APP) as other:
        assert one.url != other.url
        assert httpx.get(one.url, trust_env=False).text == httpx.get(other.url, trust_env=False).text == "hello"


def test_a_server_takes_the_port_it_is_given_again_and_again() -> None:
    with Served(APP) as first:
        port = int(first.url.rpartition(":")[2])
    for _ in range(2):
        with Served(APP, port) as server:
            assert server.url.endswith(f":{port}")
            assert httpx.get(server.url, trust_env=False).text == "hello"


def test_a_port_that_is_taken_is_an_error_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        Served(APP, taken.getsockname()[1]).start()


def test_stopping_twice_is_stopping_once() -> None:
    server = Served(APP).start()
    server.stop()
    server.stop()
