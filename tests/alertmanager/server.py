"""One real Alertmanager on loopback, what it is configured with, and what it tells.

It has no clock to set, so many cases run in one process at once: each has a route of its own at the top, chosen by the
label ``case``, and receivers of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.alertmanager.cases import (
    HORIZON,
    Case,
    Event,
    Inhibit,
    Labels,
    Matcher,
    Notification,
    Route,
    labels,
    receivers,
)

_NAMES = ("prometheus-alertmanager", "alertmanager")
_AFTER_CLEANUP = 0.25
"""The process forgets empty groups every 30 seconds of its own; the run begins so long after one, to be between two."""


def find() -> str | None:
    """Return the program; Debian's has a name of its own."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


def needed() -> str:
    """Return the program, or skip the test, saying why; where every check must run, fail it."""
    program = find()
    if program is None:
        _absent("Alertmanager is not here: apt-get install prometheus-alertmanager")
    return program


def run(cases: Sequence[Case], program: str | None = None) -> dict[int, list[Notification]]:
    """Run all cases at once, in ``HORIZON`` real seconds, and return what each case's receivers were told, in order."""
    with _sink() as sink, _alertmanager(program or needed(), render(cases, sink.port)) as api:
        start = _restarted(api) + _AFTER_CLEANUP
        sink.start = start
        late = _play(api, cases, start)
        time.sleep(max(0.0, start + HORIZON - time.monotonic()))
        if late > 0.2:
            raise TimeoutError(f"This machine was {late:.2f} s late: what was told proves nothing")
        return {case.id: list(sink.told.get(case.id, [])) for case in cases}


# ── The configuration ─────────────────────────────────────────────────────────────────────────────────────────────────


def render(cases: Sequence[Case], port: int) -> str:
    """Return all cases as one alertmanager.yml (in JSON, which is YAML and needs no thought about quoting)."""
    return json.dumps(
        {
            "route": {"receiver": "nobody", "routes": [_top(case) for case in cases]},
            "inhibit_rules": [_inhibit(case, rule) for case in cases for rule in case.inhibits],
            "receivers": [{"name": "nobody"}, *(each for case in cases for each in _receivers(case, port))],
        },
        indent=1,
    )


def _receivers(case: Case, port: int) -> Iterator[dict[str, Any]]:
    for name in receivers(case):
        hook = {"url": f"http://127.0.0.1:{port}/", "send_resolved": name not in case.only_firing}
        yield {"name": f"case-{case.id}-{name}", "webhook_configs": [hook]}


def _top(case: Case) -> dict[str, Any]:
    top = _route(case, case.route)
    return {**top, "matchers": [_of(case), *top["matchers"]]}


def _of(case: Case) -> str:
    return f'case="{case.id}"'


def _route(case: Case, route: Route) -> dict[str, Any]:
    written: dict[str, Any] = {
        "receiver": f"case-{case.id}-{route.receiver}" if route.receiver else None,
        "matchers": [_matcher(each) for each in route.matchers],
        "continue": route.continue_,
        "group_by": None if route.group_by is None else list(route.group_by),
        "group_wait": _duration(route.group_wait),
        "group_interval": _duration(route.group_interval),
        "repeat_interval": _duration(route.repeat_interval),
        "routes": [_route(case, each) for each in route.routes],
    }
    return {key: value for key, value in written.items() if value is not None}


def _inhibit(case: Case, rule: Inhibit) -> dict[str, Any]:
    return {
        "source_matchers": [_of(case), *map(_matcher, rule.source)],
        "target_matchers": [_of(case), *map(_matcher, rule.target)],
        "equal": list(rule.equal),
    }


def _matcher(matcher: Matcher) -> str:
    op, value = matcher.op, matcher.value
    if isinstance(value, tuple):
        op, value = "=~", "|".join(map(re.escape, value))
    return f"{matcher.label}{op}{json.dumps(value)}"


def _duration(seconds: float | None) -> str | None:
    return None if seconds is None else f"{round(seconds * 1000)}ms"


# ── The process ───────────────────────────────────────────────────────────────────────────────────────────────────────


class _Api:
    def __init__(self, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self.root, self.process, self.log = f"http://127.0.0.1:{port}", process, log

    def ask(self, path: str, body: Any = None, method: str | None = None) -> None:
        """Ask; anything but success is an exception that says what was answered."""
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self.root + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=10) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path}: {error.code} {error.read().decode()[:500]}") from error


@contextmanager
def _alertmanager(program: str, config: str) -> Iterator[_Api]:
    with tempfile.TemporaryDirectory(prefix="alertmanager-") as name:
        folder, port = Path(name), _free_port()
        (folder / "alertmanager.yml").write_text(config)
        options = {
            "config.file": folder / "alertmanager.yml",
            "storage.path": folder / "data",
            "web.listen-address": f"127.0.0.1:{port}",
            # It talks to no peers, and so waits for none.
            "cluster.listen-address": "",
            "log.level": "warn",
        }
        log = folder / "log"
        with log.open("wb") as output:
            arguments = [f"--{key}={value}" for key, value in options.items()]
            process = subprocess.Popen([program, *arguments], cwd=folder, stdout=output, stderr=output)
        api = _Api(port, process, log)
        try:
            _wait_for(api)
            yield api
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _wait_for(api: _Api) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until and api.process.poll() is None:
        try:
            return api.ask("/-/ready")
        except (OSError, RuntimeError):
            time.sleep(0.1)
    raise RuntimeError(f"Alertmanager did not come up:\n{api.log.read_text()[-3000:]}")


def _restarted(api: _Api) -> float:
    """Have the process start its dispatcher anew, and return when: its 30 seconds count from then."""
    api.ask("/-/reload", {}, "POST")
    return time.monotonic()


def _play(api: _Api, cases: Sequence[Case], start: float) -> float:
    """Post every case's events at their times; return by how much the latest post was late."""
    steps: dict[float, list[tuple[Case, Event]]] = {}
    for case in cases:
        for event in case.timeline:
            steps.setdefault(event.at, []).append((case, event))
    since: dict[tuple[int, Labels], datetime] = {}
    firing: set[tuple[int, Labels]] = set()
    late = 0.0
    for at in sorted(steps):
        time.sleep(max(0.0, start + at - time.monotonic()))
        now = datetime.now(UTC)
        body = []
        for case, event in steps[at]:
            key = (case.id, event.labels)
            posted: dict[str, Any] = {"labels": {**dict(event.labels), "case": str(case.id)}}
            if event.state == "firing":
                if key not in firing:
                    since[key] = now - timedelta(seconds=event.age)
                firing.add(key)
                began = min(since[key], now - timedelta(seconds=event.age))
            else:
                firing.discard(key)
                began = since.setdefault(key, now)
                posted["endsAt"] = now.isoformat()
            body.append({**posted, "startsAt": began.isoformat()})
        api.ask("/api/v2/alerts", body)
        late = max(late, time.monotonic() - start - at)
    return late


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# ── What it tells ─────────────────────────────────────────────────────────────────────────────────────────────────────


class _Sink:
    def __init__(self) -> None:
        self.port, self.start = 0, 0.0
        self.told: dict[int, list[Notification]] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one webhook."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?im)^content-length:\s*(\d+)", head)
        body = await reader.readexactly(int(length[1]) if length else 0)
        self._take(json.loads(body), time.monotonic() - self.start)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    def _take(self, told: dict[str, Any], at: float) -> None:
        _, case, receiver = told["receiver"].split("-", 2)
        standing: dict[str, list[Labels]] = {"firing": [], "resolved": []}
        for alert in told["alerts"]:
            standing[alert["status"]].append(_bare(alert["labels"]))
        self.told.setdefault(int(case), []).append(
            Notification(
                receiver=receiver,
                group_labels=_bare(told["groupLabels"]),
                at_seconds=round(at, 3),
                firing=frozenset(standing["firing"]),
                resolved=frozenset(standing["resolved"]),
            )
        )


def _bare(given: dict[str, str]) -> Labels:
    return labels(**{key: value for key, value in given.items() if key != "case"})


@contextmanager
def _sink() -> Iterator[_Sink]:
    sink, ready, loop = _Sink(), threading.Event(), asyncio.new_event_loop()

    def serve() -> None:
        asyncio.set_event_loop(loop)
        server = loop.run_until_complete(asyncio.start_server(sink.serve, "127.0.0.1", 0, backlog=1024))
        sink.port = server.sockets[0].getsockname()[1]
        ready.set()
        loop.run_forever()
        server.close()
        loop.run_until_complete(server.wait_closed())
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.05))
        loop.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield sink
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def _absent(why: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"{why}; CI may not do without")
    pytest.skip(why)
