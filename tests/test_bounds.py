"""What enters from outside is read up to a number of bytes, lines and levels, whatever is sent."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Iterator

import pytest
from azure.core.pipeline.transport import HttpRequest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.stage import T0, Stage
from tocsin.connections.bounded import TooMuch, transport
from tocsin.connections.event_grid import cloud_event, publish
from tocsin.connections.http import Fetched, Http, Reply
from tocsin.core.evallines import QUALITY, read
from tocsin.engine.fanning import named
from tocsin.local.serve import Served

# Answers over HTTP


async def endless(_: Request) -> Response:
    async def drops() -> AsyncIterator[bytes]:
        for _ in range(20_000):
            yield b"x" * 10_000

    return StreamingResponse(drops())


async def packed(_: Request) -> Response:
    return Response(gzip.compress(b"x" * 50_000_000), headers={"content-encoding": "gzip"})


async def elsewhere(_: Request) -> Response:
    return RedirectResponse("/endless")


async def dripping(_: Request) -> Response:
    async def drops() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(0.1)

    return StreamingResponse(drops(), 429, {"content-length": "100000", "retry-after": "9"})


READ = (endless, packed, elsewhere, dripping)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    routes = [Route(f"/{each.__name__}", each, methods=["GET", "POST"]) for each in READ]
    with Served(Starlette(routes=routes)) as served:
        yield served.url


@pytest.mark.parametrize("path", ["endless", "packed"])
def test_the_answer_to_a_message_is_read_to_its_first_2000_letters(url: str, path: str) -> None:
    answer = Http().post(f"{url}/{path}", json={})
    assert isinstance(answer, Reply)
    assert (answer.status, len(answer.text) <= 2_000) == (200, True)


@pytest.mark.parametrize("path", ["endless", "packed"])
def test_a_body_that_is_longer_than_asked_for_is_not_whole_and_is_never_unpacked(url: str, path: str) -> None:
    answer = Http().fetch("GET", f"{url}/{path}", largest=20_000, within=20)
    assert isinstance(answer, Fetched)
    assert (answer.whole, len(answer.body)) == (False, 20_000)


def test_a_redirect_is_an_answer_and_not_followed(url: str) -> None:
    answer = Http().fetch("GET", f"{url}/elsewhere", largest=20_000, within=20)
    assert isinstance(answer, Fetched)
    assert (answer.status, answer.body) == (307, b"")


@pytest.mark.parametrize(("path", "status"), [("endless", 200), ("packed", 200), ("elsewhere", 307), ("dripping", 429)])
def test_of_what_a_topic_answers_the_beginning_is_read_and_its_status_counts(url: str, path: str, status: int) -> None:
    within = 1.0 if path == "dripping" else 20.0
    answer = publish(f"{url}/{path}", cloud_event("1", "sales", "tocsin.test", "x", {}, T0), "a key", within)
    assert isinstance(answer, Reply)
    assert (answer.status, len(answer.text) <= 2_000) == (status, True)
    assert answer.headers.get("retry-after") == ("9" if path == "dripping" else None)


@pytest.mark.parametrize(
    ("path", "words"), [("endless", "more than 9999 bytes"), ("packed", "more than"), ("dripping", "longer than 1 s")]
)
def test_an_answer_to_an_azure_sdk_ends_at_its_limit_however_it_comes(url: str, path: str, words: str) -> None:
    """A workspace that answers a byte at a time must not keep a tick for hours."""
    asked = HttpRequest("GET", f"{url}/{path}")
    with pytest.raises(TooMuch, match=words):
        transport(9_999, 1.0 if path == "dripping" else 20.0).send(asked, read_timeout=20)


# Eval results


def test_reading_eval_results_stops_at_the_twentieth_bad_line() -> None:
    good = json.dumps({"suite": "quality", "score": 1.0})
    found = read(("nonsense\n" * 400_000 + good).encode(), "quality", QUALITY)
    assert (len(found.problems), found.cases) == (20, ())


def test_more_lines_than_are_read_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.core.evallines._MOST_LINES", 3)
    good = json.dumps({"suite": "quality", "case_id": "q1", "score": 1.0})
    assert read("\n".join([good] * 3).encode(), "quality", QUALITY).problems == ()
    found = read("\n".join([good] * 4).encode(), "quality", QUALITY)
    assert found.problems == ("quality/results.jsonl:4: more than 3 lines, none of the rest is read",)
    assert len(found.cases) == 3


# Work from the queue


@pytest.mark.parametrize(
    "message", ['{"target": ' * 5_000 + "1" + "}" * 5_000, '{"target": "' + "x" * 70_000 + '"}', "[" * 60_000, "\ud800"]
)
def test_a_message_that_no_tick_wrote_is_refused_however_deep_or_long(message: str) -> None:
    with pytest.raises(ValueError, match="not a request to evaluate a target"):
        named(message)
    stage = Stage()
    stage.engine.given_up(message, T0)
    assert stage.log.named("work given up")
