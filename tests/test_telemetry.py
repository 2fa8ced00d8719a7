"""Both telemetry adapters answer alike, and the service's every way of not answering has its own reason."""

from __future__ import annotations

import asyncio
import gzip
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from math import inf, isnan
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tocsin.connections.bucket import Bucket
from tocsin.connections.identity import StaticToken, credential, loopback, request_options
from tocsin.core.answer import NoAnswer, Query, Rows, Why
from tocsin.core.compile import freshness
from tocsin.core.config import Target
from tocsin.core.schema import TABLES
from tocsin.local.serve import Served
from tocsin.local.workspace import Workspace
from tocsin.ports import Telemetry
from tocsin.telemetry.embedded import EmbeddedTelemetry, Found
from tocsin.telemetry.log_analytics import LogAnalyticsTelemetry
from tocsin.telemetry.values import plain

T0 = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
TARGET = Target(name="sales", workspace="11111111-2222-3333-4444-555555555555", role_name="sales-api")
SECRET = "a-token-nobody-may-see"


class World:
    """The rows, their clock and the stand-in that serves them."""

    def __init__(self, workspace: Workspace, url: str) -> None:
        self.time = T0 + HOUR
        self.rows = EmbeddedTelemetry(now=lambda: self.time)
        self.workspace = workspace
        self.url = url
        workspace.telemetry = self.rows
        workspace.faults.clear()
        workspace.asked.clear()

    def traces(self, *messages: str, at: datetime = T0, **columns: Any) -> None:
        """Load one trace for each message, a second apart."""
        rows = [{"TimeGenerated": at + n * SECOND, "Message": text, **columns} for n, text in enumerate(messages)]
        self.rows.load("AppTraces", rows)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Workspace, str]]:
    workspace = Workspace(EmbeddedTelemetry(), known={TARGET.workspace})
    with Served(Starlette(routes=workspace.routes())) as server:
        yield workspace, server.url


@pytest.fixture
def world(served: tuple[Workspace, str]) -> Iterator[World]:
    world = World(*served)
    yield world
    world.rows.close()


@pytest.fixture
def remote(world: World) -> Iterator[LogAnalyticsTelemetry]:
    adapter = LogAnalyticsTelemetry(StaticToken(SECRET), world.url)
    yield adapter
    adapter.close()


@pytest.fixture(params=["embedded", "log_analytics"])
def telemetry(request: pytest.FixtureRequest, world: World) -> Telemetry:
    return world.rows if request.param == "embedded" else request.getfixturevalue("remote")


def ask(telemetry: Telemetry, text: str, start: datetime = T0, end: datetime = T0 + HOUR) -> Rows | NoAnswer:
    return telemetry.ask(Query(text, start, end), TARGET)


def rows(telemetry: Telemetry, text: str, start: datetime = T0, end: datetime = T0 + HOUR) -> list[tuple[Any, ...]]:
    answer = ask(telemetry, text, start, end)
    assert isinstance(answer, Rows), answer
    return list(answer.rows)


# The contract: whatever the adapter, the same rows with the same values.


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("datetime(2026-11-21T06:00:00.123456Z)", T0 + timedelta(microseconds=123456)),
        ("datetime(2026-11-21)", datetime(2026, 11, 21, tzinfo=UTC)),
        ("int(7)", 7),
        ("9007199254740993", 9007199254740993),
        ("-1", -1),
        ("1.5", 1.5),
        ("real(+inf)", inf),
        ("real(-inf)", -inf),
        ("'two' 'parts'", "twoparts"),
        ("'Grüße\\n\\'\\\\'", "Grüße\n'\\"),
        ("''", ""),
        ("true", True),
        ("false", False),
        ("1h + 0.5s", 3600.5),
        ("-1d", -86400.0),
        ("2d + 3h", 183600.0),
        ("guid(74be27de-1e4e-49d9-b579-fe0b331d3642)", "74be27de-1e4e-49d9-b579-fe0b331d3642"),
        ("dynamic({'a': 1, 'b': [true, null]})", '{"a":1,"b":[true,null]}'),
        ("dynamic('1.50')", "1.50"),
        ("dynamic('gpt')", "gpt"),
        ("dynamic(null)", None),
        ("long(null)", None),
        ("real(null)", None),
        ("datetime(null)", None),
        ("tostring(dynamic(null))", ""),
    ],
)
def test_a_value_of_every_type_comes_back_as_one_plain_python_value(
    telemetry: Telemetry, expression: str, value: object
) -> None:
    [[found]] = rows(telemetry, f"print x = {expression}")
    assert found == value
    assert type(found) is type(value)


def test_a_number_that_is_none_stays_a_float(telemetry: Telemetry) -> None:
    [[found]] = rows(telemetry, "print x = real(nan)")
    assert isinstance(found, float)
    assert isnan(found)


def test_a_datetime_is_aware_and_in_utc(world: World, telemetry: Telemetry) -> None:
    world.traces("x", at=T0.astimezone(timezone(timedelta(hours=5))))
    [[found]] = rows(telemetry, "AppTraces | project TimeGenerated")
    assert found == T0
    assert found.utcoffset() == timedelta()


def test_every_column_of_a_row_comes_back_as_it_was_loaded(world: World, telemetry: Telemetry) -> None:
    row = {
        "TimeGenerated": T0,
        "AppRoleName": "sales-api",
        "Message": "response.returned",
        "SeverityLevel": 1,
        "ItemCount": 3,
        "Properties": {"event_name": "response.returned", "ok": "false", "args_redacted.model": "gpt", "value": "12.5"},
    }
    world.rows.load("AppTraces", [row])
    answer = ask(telemetry, "AppTraces")
    assert isinstance(answer, Rows)
    [found] = answer.dicts()
    assert {name: found[name] for name in row if name != "Properties"} == {
        name: value for name, value in row.items() if name != "Properties"
    }
    assert found["Properties"] == (
        '{"event_name":"response.returned","ok":"false","args_redacted.model":"gpt","value":"12.5"}'
    )
    assert found["OperationId"] == "", "a string that was not given is empty, as Kusto has no null string"
    assert set(TABLES["AppTraces"]) <= set(answer.columns)


def test_properties_are_read_by_their_keys_even_with_a_dot_inside(world: World, telemetry: Telemetry) -> None:
    world.traces("x", Properties={"ok": "True", "value": "12.5", "args_redacted.model": "gpt"})
    expressions = [
        "tobool(tostring(Properties.ok))",
        "todouble(tostring(Properties.value))",
        "tostring(Properties['args_redacted.model'])",
        "tostring(Properties.absent)",
        "isnotempty(tostring(Properties.event_name))",
    ]
    assert rows(telemetry, f"AppTraces | project {', '.join(expressions)}") == [(True, 12.5, "gpt", "", False)]


def test_many_rows_come_back_in_the_order_asked_for(world: World, telemetry: Telemetry) -> None:
    world.traces(*(f"message {n:03}" for n in range(300)))
    found = rows(telemetry, "AppTraces | order by TimeGenerated desc | project Message, ItemCount")
    assert found == [(f"message {n:03}", 1) for n in reversed(range(300))]


def test_no_rows_is_an_answer(telemetry: Telemetry) -> None:
    answer = ask(telemetry, "AppTraces | where Message == 'never' | project Message, ItemCount")
    assert answer == Rows(("Message", "ItemCount"), ())


@pytest.mark.parametrize("table", TABLES)
def test_every_known_table_is_there_before_anything_was_emitted(telemetry: Telemetry, table: str) -> None:
    assert rows(telemetry, f"{table} | summarize n = sum(ItemCount), c = count()") in ([(0, 0)], [(None, 0)])


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("AppTypos | count", "AppTypos"),
        ("union AppTraces, AppTypos | count", "AppTypos"),
        ("AppTraces | where Nope == 'x'", "Nope"),
        ("AppTraces | wherex Message == 'x'", "parse"),
        ("AppTraces | where nofunction(Message)", "nofunction"),
        ("", "parse"),
        (".drop table AppTraces", "command"),
        (".set Stolen <| AppTraces", "ingestion"),
    ],
)
def test_a_query_that_cannot_be_run_is_broken_and_says_why(telemetry: Telemetry, text: str, named: str) -> None:
    answer = ask(telemetry, text)
    assert isinstance(answer, NoAnswer)
    assert answer.why is Why.BROKEN
    assert named in answer.detail


def test_the_bounds_hold_their_start_and_not_their_end(world: World, telemetry: Telemetry) -> None:
    microsecond = timedelta(microseconds=1)
    for at in (T0 - microsecond, T0, T0 + HOUR - microsecond, T0 + HOUR):
        world.traces(f"{(at - T0) / microsecond:.0f}", at=at, _IngestedAt=T0)
    assert rows(telemetry, "AppTraces | order by TimeGenerated asc | project Message") == [("0",), ("3599999999",)]


def test_the_bounds_hold_inside_every_table_of_a_union(world: World, telemetry: Telemetry) -> None:
    world.traces("before", at=T0 - HOUR)
    world.traces("within")
    world.rows.load("AppRequests", [{"TimeGenerated": T0 - HOUR}, {"TimeGenerated": T0}, {"TimeGenerated": T0}])
    assert rows(telemetry, "union AppTraces, AppRequests | count") == [(3,)]


@pytest.mark.parametrize(
    ("start", "end"), [(T0, T0), (T0 + HOUR, T0), (T0.replace(tzinfo=None), T0 + HOUR), (T0, T0.replace(tzinfo=None))]
)
def test_bounds_that_hold_nothing_or_have_no_zone_are_refused(
    telemetry: Telemetry, start: datetime, end: datetime
) -> None:
    """The service reads an empty timespan as none at all, and would answer from the whole table."""
    with pytest.raises(ValueError, match=r"bounds|start"):
        ask(telemetry, "AppTraces", start, end)


def test_a_row_is_seen_from_when_it_was_ingested(world: World, telemetry: Telemetry) -> None:
    world.traces("late", _IngestedAt=T0 + timedelta(minutes=30))
    world.time = T0 + timedelta(minutes=30) - SECOND
    assert rows(telemetry, "AppTraces | project Message") == []
    world.time = T0 + timedelta(minutes=30)
    assert rows(telemetry, "AppTraces | project Message") == [("late",)]


def test_the_same_text_at_another_time_gives_that_times_answer(world: World, telemetry: Telemetry) -> None:
    world.traces("a", "b", "c", AppRoleName="sales-api")
    for seconds in (1, 2, 3):
        text = (
            f"let _from = datetime(2026-11-21T06:00:00.000000Z);\nlet _to = datetime(2026-11-21T06:00:0{seconds}Z);\n"
            "AppTraces | where TimeGenerated >= _from and TimeGenerated < _to | summarize n = count()"
        )
        assert rows(telemetry, text) == [(seconds,)]


def test_the_question_for_freshness_names_the_minutes_with_anything_in_them(world: World, telemetry: Telemetry) -> None:
    world.traces("x", "y", AppRoleName="sales-api")
    world.traces("another workload", at=T0 + timedelta(minutes=1), AppRoleName="other")
    world.rows.load("AppRequests", [{"TimeGenerated": T0 + timedelta(minutes=2), "AppRoleName": "sales-api"}])
    answer = telemetry.ask(freshness(TARGET, T0, T0 + HOUR), TARGET)
    assert isinstance(answer, Rows)
    assert sorted(answer.rows) == [(T0, 2, 0.0), (T0 + timedelta(minutes=2), 1, 0.0)]


def test_questions_asked_at_once_each_get_their_own_answer(world: World, telemetry: Telemetry) -> None:
    world.traces(*("x" for _ in range(20)))
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda n: rows(telemetry, "AppTraces | count", T0, T0 + n * SECOND), range(1, 21))
        assert list(answers) == [[(n,)] for n in range(1, 21)]


# The service's every way of not answering.


@pytest.mark.parametrize(
    ("fault", "args", "why", "requests"),
    [
        ("bad_request", {}, Why.BROKEN, 1),
        ("unauthorized", {}, Why.FORBIDDEN, 1),
        ("forbidden", {}, Why.FORBIDDEN, 1),
        ("missing", {}, Why.MISSING, 1),
        ("throttled", {}, Why.THROTTLED, 1),
        ("timeout", {}, Why.TIMEOUT, 1),
        ("error", {}, Why.FAILED, 2),
        ("bad_gateway", {}, Why.FAILED, 2),
        ("unavailable", {}, Why.FAILED, 2),
        ("garbage", {}, Why.FAILED, 2),
        ("disconnect", {}, Why.UNREACHABLE, 2),
        ("partial", {}, Why.PARTIAL, 1),
        ("slow", {"seconds": 3}, Why.TIMEOUT, 1),
    ],
)
def test_every_failure_of_the_service_has_its_own_reason(
    world: World, fault: str, args: dict[str, Any], why: Why, requests: int
) -> None:
    """What may be cured by a second try is asked twice; a time-out, a refusal and a broken query are not."""
    world.workspace.faults.add(fault, **args)
    world.traces("x")
    answer = ask(LogAnalyticsTelemetry(StaticToken(SECRET), world.url, server_timeout=1, grace=0), "AppTraces | count")
    assert isinstance(answer, NoAnswer)
    assert answer.why is why
    assert answer.detail
    assert SECRET not in repr(answer)
    assert len(world.workspace.asked) == requests


@pytest.mark.parametrize("fault", ["error", "bad_gateway", "unavailable", "disconnect", "garbage"])
def test_one_failure_of_the_service_is_tried_again_and_forgotten(
    world: World, remote: LogAnalyticsTelemetry, fault: str
) -> None:
    world.workspace.faults.add(fault, times=1)
    assert rows(remote, "AppTraces | count") == [(0,)]
    assert len(world.workspace.asked) == 2


@pytest.mark.parametrize("fault", ["empty", "nothing"])
def test_an_answer_without_tables_is_no_rows(world: World, remote: LogAnalyticsTelemetry, fault: str) -> None:
    world.workspace.faults.add(fault)
    assert ask(remote, "AppTraces") == Rows((), ())


def test_a_known_table_that_does_not_resolve_is_no_rows(world: World, remote: LogAnalyticsTelemetry) -> None:
    """A workspace forgets a table that got nothing for 30 days."""
    world.workspace.faults.add("bad_request", table="AppMetrics")
    assert ask(remote, "AppMetrics | count") == Rows((), ())


def test_an_unknown_table_that_does_not_resolve_is_a_broken_query(world: World, remote: LogAnalyticsTelemetry) -> None:
    """No rows would make a rule with a misspelt table silent for ever."""
    world.workspace.faults.add("bad_request", table="AppMetrisc")
    answer = ask(remote, "AppMetrisc | count")
    assert isinstance(answer, NoAnswer)
    assert answer.why is Why.BROKEN
    assert "SEM0100" in answer.detail
    assert "AppMetrisc" in answer.detail


def test_a_table_that_does_not_resolve_beside_another_is_a_broken_query(
    world: World, remote: LogAnalyticsTelemetry
) -> None:
    """The rows of the other table were not looked at, so none is no answer."""
    world.workspace.faults.add("bad_request", table="AppMetrics")
    answer = ask(remote, "union AppMetrics, AppTraces | count")
    assert isinstance(answer, NoAnswer)
    assert answer.why is Why.BROKEN


def test_a_resource_id_is_asked_as_a_resource(world: World, remote: LogAnalyticsTelemetry) -> None:
    world.traces("x")
    resource = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Insights/components/app"
    target = TARGET.model_copy(update={"workspace": resource})
    answer = remote.ask(Query("AppTraces | count", T0, T0 + HOUR), target)
    assert isinstance(answer, Rows)
    assert answer.rows == ((1,),)
    assert world.workspace.asked[-1].workspace == resource


def test_what_the_service_says_of_its_work_is_kept(remote: LogAnalyticsTelemetry) -> None:
    answer = ask(remote, "AppTraces | count")
    assert isinstance(answer, Rows)
    assert answer.statistics["query"]["datasetStatistics"] == [{"tableRowCount": 1}]


def test_more_queries_than_a_minute_allows_wait_and_those_beyond_patience_are_refused_here(world: World) -> None:
    adapter = LogAnalyticsTelemetry(StaticToken(SECRET), world.url, server_timeout=1, per_minute=2)
    assert isinstance(ask(adapter, "print 1"), Rows)
    answer = ask(adapter, "print 1")
    assert isinstance(answer, NoAnswer)
    assert answer.why is Why.THROTTLED
    assert len(world.workspace.asked) == 1


def test_a_bucket_lets_half_a_minute_through_at_once_and_then_as_many_as_come_in() -> None:
    now, slept = [0.0], list[float]()
    bucket = Bucket(60, lambda: now[0], slept.append)
    assert all(bucket.take(0) for _ in range(30))
    assert not bucket.take(0.9)
    assert bucket.take(1.0)
    assert slept == [1.0]
    now[0] = 1.0
    assert not bucket.take(0.5), "that token was taken in advance"
    now[0] = 3.0
    assert [bucket.take(0) for _ in range(3)] == [True, True, False]


def test_half_a_letter_from_the_service_can_still_be_stored_and_sent() -> None:
    assert plain("string", "a\ud800b") == "a?b"
    assert plain("dynamic", '{"a":"\\ud800"}').encode("utf-8")


def test_throttling_says_how_long_to_wait(world: World, remote: LogAnalyticsTelemetry) -> None:
    world.workspace.faults.add("throttled", retry_after=17)
    answer = ask(remote, "AppTraces")
    assert isinstance(answer, NoAnswer)
    assert answer.retry_after == 17.0


def test_an_unknown_workspace_is_not_found(world: World, remote: LogAnalyticsTelemetry) -> None:
    elsewhere = TARGET.model_copy(update={"workspace": "99999999-2222-3333-4444-555555555555"})
    answer = remote.ask(Query("AppTraces", T0, T0 + HOUR), elsewhere)
    assert isinstance(answer, NoAnswer)
    assert answer.why is Why.MISSING


def test_nobody_listening_is_unreachable(served: tuple[Workspace, str]) -> None:
    with Served(Starlette()) as gone:
        url = gone.url
    answer = ask(LogAnalyticsTelemetry(StaticToken(SECRET), url), "AppTraces")
    assert isinstance(answer, NoAnswer)
    assert answer.why is Why.UNREACHABLE


def test_the_service_is_told_the_bounds_and_the_time_it_has(world: World, remote: LogAnalyticsTelemetry) -> None:
    ask(remote, "AppTraces | count", T0, T0 + timedelta(minutes=5, microseconds=1))
    [asked] = world.workspace.asked
    assert asked.workspace == TARGET.workspace
    assert asked.query == "AppTraces | count"
    assert asked.timespan == "2026-11-21T06:00:00.000Z/2026-11-21T06:05:00.000001Z"
    assert asked.wait == 30


@pytest.mark.parametrize("seconds", [0, 31, 600])
def test_a_server_time_out_beyond_half_a_minute_is_refused(seconds: int) -> None:
    with pytest.raises(ValueError, match="1 to 30"):
        LogAnalyticsTelemetry(StaticToken(SECRET), "http://127.0.0.1:1", server_timeout=seconds)


def answering(status: int, body: bytes, headers: dict[str, str] | None = None) -> Starlette:
    async def answer(request: Request) -> Response:
        return Response(body, status, headers)

    return Starlette(routes=[Route("/v1/workspaces/{id}/query", answer, methods=["POST"])])


def heard(app: Starlette) -> Rows | NoAnswer:
    with Served(app) as server:
        return ask(LogAnalyticsTelemetry(StaticToken(SECRET), server.url), "AppTraces")


def longest(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr("tocsin.telemetry.log_analytics.LARGEST_ANSWER", count)


def test_an_answer_of_more_bytes_than_are_read_is_a_partial_one_and_asked_once(
    world: World, remote: LogAnalyticsTelemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest(monkeypatch, 50_000)
    world.traces(*("x" * 1_000 for _ in range(100)))
    assert ask(remote, "AppTraces | project Message") == NoAnswer(Why.PARTIAL, "the answer is more than 50000 bytes")
    assert len(world.workspace.asked) == 1
    assert rows(remote, "AppTraces | count") == [(100,)], "the next query is answered as ever"


@pytest.mark.parametrize("status", [200, 400, 502])
def test_a_packed_answer_counts_as_what_it_unpacks_to(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    longest(monkeypatch, 50_000)
    packed = gzip.compress(b" " * 50_000_000)
    assert len(packed) < 50_000
    answer = heard(answering(status, packed, {"content-encoding": "gzip", "content-type": "application/json"}))
    assert answer == NoAnswer(Why.PARTIAL, "the answer is more than 50000 bytes")


def test_an_answer_that_never_ends_is_left_after_its_time() -> None:
    async def drops() -> AsyncIterator[bytes]:
        for _ in range(600):
            yield b" "
            await asyncio.sleep(0.05)

    async def answer(_: Request) -> Response:
        return StreamingResponse(drops(), media_type="application/json")

    app = Starlette(routes=[Route("/v1/workspaces/{id}/query", answer, methods=["POST"])])
    with Served(app) as server:
        adapter = LogAnalyticsTelemetry(StaticToken(SECRET), server.url, server_timeout=1, grace=0)
        assert ask(adapter, "AppTraces") == NoAnswer(Why.PARTIAL, "the answer is longer than 1 s")
        adapter.close()


def test_a_gateway_page_that_is_not_json_keeps_its_status() -> None:
    page = answering(502, b"<html>Bad Gateway</html>", {"content-type": "text/html"})
    assert heard(page) == NoAnswer(Why.FAILED, "HTTP 502")


def test_a_time_to_wait_may_be_a_date() -> None:
    dates = {"Date": "Sat, 21 Nov 2026 06:00:00 GMT", "Retry-After": "Sat, 21 Nov 2026 06:00:42 GMT"}
    answer = heard(answering(429, b"", dates))
    assert isinstance(answer, NoAnswer)
    assert answer.retry_after == 42.0


def test_a_redirect_is_not_followed_with_the_token() -> None:
    asked: list[str] = []

    async def elsewhere(request: Request) -> Response:
        asked.append(request.headers.get("authorization", ""))
        return Response(b"{}", media_type="application/json")

    with Served(Starlette(routes=[Route("/{rest:path}", elsewhere, methods=["GET", "POST"])])) as other:
        answer = heard(answering(307, b"", {"Location": f"{other.url}/taken"}))
    assert isinstance(answer, NoAnswer)
    assert answer.why is Why.FAILED
    assert asked == []


def test_an_older_error_shape_with_the_table_deep_inside_is_understood() -> None:
    body = (
        rb'{"error":{"message":"The request had some invalid properties","code":"BadArgumentError","innererror":'
        rb'{"code":"SyntaxError","message":"Syntax Error","information":{"details":"{\"error\":{\"innererror\":{'
        rb"\"code\":\"SEM0100\",\"message\":"
        rb"\"'where' operator: Failed to resolve table or column expression named 'AppTraces'"
        rb'\"}}}"}}}}'
    )
    assert heard(answering(400, body)) == Rows((), ())


def test_what_the_service_says_is_told_without_tokens_and_addresses() -> None:
    body = (
        b'{"error":{"code":"Odd","message":"see https://example.com/path?sig=hidden\\nfor Bearer abc.def '
        b'and eyJhbGciOi.eyJzdWIi.c2ln"}}'
    )
    answer = heard(answering(403, body))
    assert isinstance(answer, NoAnswer)
    assert "https://example.com/…" in answer.detail
    assert not any(secret in answer.detail for secret in ("hidden", "abc.def", "eyJ", "\n"))


@pytest.mark.parametrize(
    "body",
    [
        b'{"tables": [{"name": "PrimaryResult", "columns": [{"name": "n", "type": "long"}], "rows": [["many"]]}]}',
        b'{"tables": [{"name": "PrimaryResult", "columns": [{"name": "n", "type": "long"}], "rows": [[1, 2]]}]}',
        b'{"tables": [{"name": "PrimaryResult", "columns": [{"name": "n", "type": "long"}], "rows": null}]}',
        b'{"tables": 7}',
        b"[]",
        b"null",
    ],
)
def test_an_answer_that_makes_no_sense_is_a_failure_and_never_rows(body: bytes) -> None:
    answer = heard(answering(200, body, {"content-type": "application/json"}))
    assert isinstance(answer, NoAnswer) or answer == Rows((), ())
    assert isinstance(answer, NoAnswer)
    assert answer.why is Why.FAILED


@pytest.mark.parametrize(
    ("kind", "sent", "read"),
    [
        ("real", "NaN", None),
        ("real", "Infinity", inf),
        ("real", "-Infinity", -inf),
        ("decimal", "12.50", 12.5),
        ("timespan", "1.02:03:04.5000000", 93784.5),
        ("timespan", "-00:00:01", -1.0),
        ("datetime", "2026-11-21T06:00:00.1234567Z", T0 + timedelta(microseconds=123456)),
        ("bool", "true", True),
        ("bool", 0, False),
        ("long", "12", 12),
        ("dynamic", '{"a": 1}', '{"a":1}'),
        ("dynamic", {"a": 1}, '{"a":1}'),
        ("dynamic", "", None),
        ("guid", "74be27de-1e4e-49d9-b579-fe0b331d3642", "74be27de-1e4e-49d9-b579-fe0b331d3642"),
        ("string", None, ""),
    ],
)
def test_every_form_the_service_sends_is_read(kind: str, sent: object, read: object) -> None:
    found = plain(kind, sent)
    assert isnan(found) if read is None and kind == "real" else found == read


class Counted(EmbeddedTelemetry):
    """Counts how many questions it is answering at once."""

    def __init__(self) -> None:
        super().__init__()
        self.running = self.most = 0
        self.counting = threading.Lock()

    def find(self, query: Query) -> Found:
        with self.counting:
            self.running += 1
            self.most = max(self.most, self.running)
        time.sleep(0.05)
        try:
            return super().find(query)
        finally:
            with self.counting:
                self.running -= 1


def test_no_more_questions_than_allowed_are_put_at_once(world: World) -> None:
    counted = world.workspace.telemetry = Counted()
    adapter = LogAnalyticsTelemetry(StaticToken(SECRET), world.url, at_once=2)
    with ThreadPoolExecutor(8) as pool:
        assert all(isinstance(answer, Rows) for answer in pool.map(lambda _: ask(adapter, "print 1"), range(12)))
    # Eight want to ask. On a busy machine one that was given up and is asked again may still be under way over there.
    assert 1 <= counted.most <= 4


# Who asks.


class NoToken:
    """A credential that cannot get a token."""

    def get_token(self, *scopes: str, **options: Any) -> Any:
        from azure.core.exceptions import ClientAuthenticationError

        raise ClientAuthenticationError(f"nobody is signed in, not even with Bearer {SECRET}")


def test_no_token_is_no_permission(world: World) -> None:
    answer = ask(LogAnalyticsTelemetry(NoToken(), world.url), "AppTraces")
    assert isinstance(answer, NoAnswer)
    assert answer.why is Why.FORBIDDEN
    assert SECRET not in answer.detail
    assert not world.workspace.asked


@pytest.mark.parametrize("endpoint", [None, "https://api.loganalytics.io", "http://127.0.0.1.example.com", "127.0.0.1"])
def test_a_static_token_never_leaves_this_machine(endpoint: str | None) -> None:
    with pytest.raises(ValueError, match="loopback"):
        credential(static_token=SECRET, endpoint=endpoint)
    with pytest.raises(ValueError, match="loopback"):
        LogAnalyticsTelemetry(StaticToken(SECRET), endpoint)


def test_a_static_token_does_not_show_itself() -> None:
    assert SECRET not in repr(credential(static_token=SECRET, endpoint="http://localhost:1"))


def test_a_client_id_means_that_managed_identity_and_none_means_whoever_is_here() -> None:
    assert type(credential("11111111-0000-0000-0000-000000000000")).__name__ == "ManagedIdentityCredential"
    assert type(credential()).__name__ == "DefaultAzureCredential"


@pytest.mark.parametrize(
    ("endpoint", "here"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://localhost", True),
        ("http://[::1]:1/v1", True),
        ("http://10.0.0.1", False),
        ("https://localhost.example.com", False),
        ("http://127.0.0.1@example.com", False),
        (None, False),
    ],
)
def test_plain_http_is_let_through_to_loopback_alone(endpoint: str | None, here: bool) -> None:
    assert loopback(endpoint) is here
    assert request_options(endpoint) == ({"enforce_https": False} if here else {})


# The embedded engine alone.


def test_tens_of_thousands_of_rows_are_loaded_whole() -> None:
    telemetry = EmbeddedTelemetry()
    many = ({"TimeGenerated": T0 + timedelta(milliseconds=n), "ItemCount": 2} for n in range(25_000))
    assert telemetry.load("AppRequests", many) == 25_000
    assert rows(telemetry, "AppRequests | summarize sum(ItemCount), count()") == [(50_000, 25_000)]


@pytest.mark.parametrize(
    ("table", "row", "named"),
    [
        ("AppTypos", {"TimeGenerated": T0}, "no table 'AppTypos'"),
        ("AppTraces", {"TimeGenerated": T0, "Massage": "x"}, "no column Massage"),
        ("AppTraces", {"Message": "x"}, "TimeGenerated"),
        ("AppTraces", {"TimeGenerated": T0.replace(tzinfo=None)}, "without a zone"),
    ],
)
def test_a_row_that_does_not_fit_is_refused(table: str, row: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        EmbeddedTelemetry().load(table, [row])


@pytest.mark.parametrize("reading", ["['{path}']", "externaldata (x: string) ['{path}']"])
def test_a_query_cannot_read_a_file_of_this_machine(tmp_path: Path, reading: str) -> None:
    path = tmp_path / "secret.csv"
    path.write_text("password\nhunter2\n")
    answer = ask(EmbeddedTelemetry(), reading.format(path=path))
    assert isinstance(answer, NoAnswer)
    assert answer.why is Why.BROKEN
    assert "hunter2" not in answer.detail


def test_a_value_that_does_not_fit_is_not_told() -> None:
    """A database's error quotes the value, which may be somebody's e-mail address."""
    telemetry = EmbeddedTelemetry()
    telemetry.load("AppTraces", [{"TimeGenerated": T0, "Message": "private"}])
    answer = ask(telemetry, "AppTraces | where Message == 1")
    assert isinstance(answer, NoAnswer)
    assert answer.why is Why.BROKEN
    assert "private" not in answer.detail


def test_rows_in_a_file_outlive_the_process(tmp_path: Path) -> None:
    path = tmp_path / "rows.duckdb"
    first = EmbeddedTelemetry(path=path)
    first.load("AppTraces", [{"TimeGenerated": T0, "Message": "kept"}])
    first.close()
    assert rows(EmbeddedTelemetry(path=path), "AppTraces | project Message") == [("kept",)]


def test_without_a_clock_everything_is_seen_and_now_is_the_end_of_the_bounds() -> None:
    telemetry = EmbeddedTelemetry()
    telemetry.load("AppTraces", [{"TimeGenerated": T0, "_IngestedAt": T0 + 365 * 24 * HOUR}])
    assert rows(telemetry, "AppTraces | summarize n = count() | extend at = now()") == [(1, T0 + HOUR)]


def test_the_machines_time_zone_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        telemetry = EmbeddedTelemetry()
        assert rows(telemetry, "print datetime(2026-11-21T06:00:00Z), todatetime('2026-11-21 06:00')") == [(T0, T0)]
    time.tzset()


def test_the_clock_of_a_query_is_the_one_given(world: World) -> None:
    for time_ in (T0, T0 + SECOND):
        world.time = time_
        assert rows(world.rows, "print now(), ago(1h)") == [(time_, time_ - HOUR)]


def test_what_the_accelerator_really_emits_is_read_as_a_workspace_would_show_it(data: Path) -> None:
    telemetry = EmbeddedTelemetry()
    assert telemetry.load_recorded(data / "accelerator-telemetry.jsonl", T0) == 7
    breaching = "AppTraces | where Message == 'tool.hitl_misconfigured' or Message startswith 'HITL_DEV_MODE'"
    shown = "project AppRoleName, SeverityLevel, tostring(Properties.logger_name), tostring(Properties.external_system)"
    assert rows(telemetry, f"{breaching} | {shown}") == [
        ("sales-research-api", 1, "accelerator.telemetry", "send_email"),
        ("sales-research-api", 2, "accelerator.hitl", ""),
    ]


def test_loading_and_asking_at_once_loses_nothing() -> None:
    telemetry = EmbeddedTelemetry()
    load: Callable[[int], int] = lambda n: telemetry.load("AppTraces", [{"TimeGenerated": T0}] * n)  # noqa: E731
    with ThreadPoolExecutor(6) as pool:
        loaded = [pool.submit(load, 500) for _ in range(6)]
        counts = [count for [[count]] in pool.map(lambda _: rows(telemetry, "AppTraces | count"), range(10))]
        assert sum(each.result() for each in loaded) == 3000
    assert all(count % 500 == 0 for count in counts)
    assert rows(telemetry, "AppTraces | count") == [(3000,)]


def test_an_error_names_the_line_that_its_author_wrote() -> None:
    text = "let _from = datetime(2026-11-21T06:00:00Z);\nlet _to = datetime(2026-11-21T07:00:00Z);\nAppTraces\n| wherex"
    answer = ask(EmbeddedTelemetry(), text)
    assert isinstance(answer, NoAnswer)
    assert "4:" in answer.detail
