"""From alerts to who is told of what: routing, grouping, telling, beside Debian's real Alertmanager on the same input.

    python -m bench.delivery [ALERTS]

A seeded generator makes 100,000 alerts in 5,000 groups (of very different sizes) and 500 routes with equality, one-of
and regular expressions. Tocsin's first figure is its decisions alone, from plain values to who is told; its second
reads the same batches of JSON and writes the notifications as JSON. Alertmanager's is from the first POST of those
batches until the last webhook has come to a sink on loopback, less its ``group_wait``: HTTP is in its figure only.
Both have to come to the same groups, member by member, and each alert has to be told once.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import platform
import random
import sys
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.alertmanager.cases import Matcher, Route
from tests.alertmanager.server import _alertmanager, _matcher, find
from tests.test_alertmanager_agrees import route as ours
from tocsin.core import telling
from tocsin.core.fields import Severity
from tocsin.core.group import Decision, Group
from tocsin.core.message import Kind, Notice
from tocsin.core.mute import Muting
from tocsin.core.route import compiled
from tocsin.core.telling import Audience, News

AT = datetime(2026, 11, 20, 3, tzinfo=UTC)
ALERTS, TEAMS, CHILDREN, GROUPS = 100_000, 20, 24, 10
"""A team has a route and so many below it; each of these ends is told of so many groups."""
BATCH, CONNECTIONS = 2_000, 4
WAIT, INTERVAL = 5.0, 300.0
"""``group_wait``: longer than a group's alerts take to arrive, so that they are told together."""
RUNS = 3

Labels = dict[str, str]
Told = dict[tuple[str, tuple[tuple[str, str], ...]], list[str]]
"""Receiver and labels of a group → the ``instance`` of every alert that was told, in any order."""


# ── The input ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def routes() -> Route:
    """Return the tree: 20 teams, below each 24 routes of three kinds."""
    teams = (
        Route(
            receiver=f"team-{team}",
            matchers=(Matcher("team", "=", f"team-{team}"),),
            group_by=("rule", "target"),
            routes=tuple(_child(team, number) for number in range(CHILDREN)),
        )
        for team in range(TEAMS)
    )
    return Route(receiver="nobody", group_by=("rule",), group_wait=WAIT, group_interval=INTERVAL, routes=tuple(teams))


def _child(team: int, number: int) -> Route:
    receiver = f"team-{team}-{number}"
    if number % 3 == 0:
        return Route(receiver, (Matcher("customer", "=", f"customer-{number}"),), group_by=("rule", "target"))
    if number % 3 == 1:
        matchers = (Matcher("rule", "in", _rules(number)), Matcher("severity", "in", ("P0", "P1", "P2")))
        return Route(receiver, matchers, group_by=("target", "customer"))
    matchers = (Matcher("target", "=~", f"site{number}-.*"), Matcher("severity", "!~", "P[3-9]"))
    return Route(receiver, matchers, group_by=("target",))


def _rules(number: int) -> tuple[str, ...]:
    return (f"rule-{number}-slow", f"rule-{number}-wrong")


def alerts(count: int) -> list[list[Labels]]:
    """Return batches of alerts, those of a group one after the other, as an incident brings them."""
    chance = random.Random(1)
    ends = [(team, child, number) for team in range(TEAMS) for child in range(CHILDREN + 1) for number in range(GROUPS)]
    chance.shuffle(ends)
    weights = [1 / (1 + number) ** 0.5 for number in range(len(ends))]
    sizes = Counter(chance.choices(range(len(ends)), weights, k=count - len(ends)))
    order = list(enumerate(ends))
    chance.shuffle(order)
    found: list[list[Labels]] = [[]]
    names = (f"i{number}" for number in range(count))
    for place, end in order:
        found[-1] += (_alert(chance, *end, instance=next(names)) for _ in range(1 + sizes[place]))
        if len(found[-1]) >= BATCH:
            found.append([])
    return [batch for batch in found if batch]


def _alert(chance: random.Random, team: int, child: int, number: int, instance: str) -> Labels:
    labels = {
        "rule": f"errors-{number % 5}",
        "target": f"app-{number}",
        "severity": chance.choice(("P0", "P1", "P2")),
        "customer": f"small-{number}",
        "team": f"team-{team}",
        "instance": instance,
    }
    if child == CHILDREN:  # below none of the team's routes
        return labels
    if child % 3 == 0:
        return {**labels, "customer": f"customer-{child}"}
    if child % 3 == 1:
        return {**labels, "rule": chance.choice(_rules(child))}
    return {**labels, "target": f"site{child}-{number}"}


def body(batch: Sequence[Labels]) -> bytes:
    """Return what is posted: JSON as the Alertmanager's API takes it."""
    return json.dumps([{"labels": labels} for labels in batch]).encode()


# ── Tocsin ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def news(labels: Labels) -> News:
    """Return an alert that fires."""
    name = labels["instance"]
    severity = Severity(labels["severity"])
    notice = Notice(name, Kind.FIRED, f"{name}/1", labels["rule"], labels["target"], severity, AT, "It fires")
    return News(name, labels, notice, True, AT)


def decided(audience: Audience, parts: Sequence[Sequence[News]]) -> list[tuple[Group, Decision]]:
    """Return who is told of what: every batch enters its groups, and then all groups are flushed."""
    places, known = telling.places(audience.tree), dict[str, Group]()
    for part in parts:
        known |= telling.enter(known, audience, part, AT).groups
    labels = {each.key: each.labels for part in parts for each in part}
    now, muting, found = AT + timedelta(seconds=WAIT), Muting(), []
    for group in telling.due(known.values(), now):
        _, decisions = telling.flush(group, places[group.place], audience, muting, labels, now)
        found += [(group, each) for each in decisions if each.why.tells]
    return found


def with_json(audience: Audience, bodies: Sequence[bytes]) -> list[bytes]:
    """Return the notifications as JSON, from the batches as JSON: each says what an Alertmanager's webhook says."""
    parts = [[news(each["labels"]) for each in json.loads(body)] for body in bodies]
    labels = {each.key: each.labels for part in parts for each in part}
    return [json.dumps(_webhook(*each, labels)).encode() for each in decided(audience, parts)]


def _webhook(group: Group, decision: Decision, labels: dict[str, Labels]) -> dict[str, Any]:
    inside = [labels[key] for key in decision.firing]
    return {
        "version": "4",
        "groupKey": group.id,
        "status": "firing",
        "receiver": decision.receiver,
        "groupLabels": dict(group.labels),
        "commonLabels": dict(set.intersection(*(set(each.items()) for each in inside))),
        "alerts": [
            {"status": "firing", "labels": each, "startsAt": AT.isoformat(), "fingerprint": each["instance"]}
            for each in inside
        ],
    }


def timed(act: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds an act takes, by the clock and of the processor."""
    begun, used = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - begun, time.process_time() - used


def peak(act: Callable[[], object]) -> float:
    """Return the megabytes that an act needs at most beyond what was there before."""
    tracemalloc.start()
    act()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / 1e6


# ── Alertmanager ──────────────────────────────────────────────────────────────────────────────────────────────────────


def config(root: Route, port: int) -> str:
    """Return the routes as alertmanager.yml, every receiver a webhook to the sink."""
    names = [root.receiver, *(each.receiver for team in root.routes for each in (team, *team.routes))]
    hook = {"url": f"http://127.0.0.1:{port}/", "send_resolved": True}
    return json.dumps(
        {"route": _written(root), "receivers": [{"name": name, "webhook_configs": [hook]} for name in names]}
    )


def _written(route: Route) -> dict[str, Any]:
    waits = {"group_wait": f"{WAIT:g}s", "group_interval": f"{INTERVAL:g}s", "repeat_interval": "4h"}
    own: dict[str, Any] = {"receiver": route.receiver, "group_by": list(route.group_by or ()), **waits}
    own["routes"] = [_written(each) for each in route.routes]
    return {**own, "matchers": [_matcher(each) for each in route.matchers]} if route.matchers else own


class Sink(asyncio.Protocol):
    """One connection of webhooks: answers each at once, and keeps what came. It is read when the run is over."""

    def __init__(self, taken: Taken) -> None:
        self.taken, self.came = taken, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        """Take what is whole; the Alertmanager waits for the answer before it sends more."""
        self.came += data
        head, _, body = self.came.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if length and len(body) >= int(length):
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            self.taken.bodies.append(body)
            self.taken.last, self.came = time.perf_counter(), b""


class Taken:
    """What came to all connections, when the last of it came, and where they listen."""

    def __init__(self) -> None:
        self.port, self.bodies, self.last = 0, list[bytes](), 0.0


@contextmanager
def sink() -> Iterator[Taken]:
    """Serve webhooks in a thread."""
    taken, loop = Taken(), asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(lambda: Sink(taken), "127.0.0.1", 0, backlog=4096))
    taken.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield taken
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    server.close()


def theirs(program: str, root: Route, bodies: Sequence[bytes], notifications: int) -> tuple[dict[str, float], Told]:
    """Return what one run of the Alertmanager came to, and what it told."""
    with sink() as taken, _alertmanager(program, config(root, taken.port)) as api:
        before, begun = _cpu(api.process.pid), time.perf_counter()
        late = _post(int(api.root.rpartition(":")[2]), bodies)
        posted = time.perf_counter() - begun
        until = time.perf_counter() + 60
        while len(taken.bodies) < notifications and time.perf_counter() < until:
            time.sleep(0.05)
        time.sleep(0.5)  # whatever is told that should not be
        used, status = _cpu(api.process.pid) - before, Path(f"/proc/{api.process.pid}/status").read_text()
        most = int(status.partition("VmHWM:")[2].split()[0]) / 1000
        figures = {"s": taken.last - begun - WAIT, "posting_s": posted, "slowest_post_s": late, "cpu_s": used}
        return {**figures, "peak_mb": most}, told(taken.bodies)


def _post(port: int, bodies: Sequence[bytes]) -> float:
    """Post every batch, over several connections at once; return how long the slowest answer took."""

    def some(number: int) -> float:
        connection, slowest = http.client.HTTPConnection("127.0.0.1", port, timeout=60), 0.0
        for body in bodies[number::CONNECTIONS]:
            begun = time.perf_counter()
            connection.request("POST", "/api/v2/alerts", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            if said := answer.read() if answer.status != 200 else b"":
                raise SystemExit(f"Alertmanager refuses: {answer.status} {said[:300]!r}")
            answer.read()
            slowest = max(slowest, time.perf_counter() - begun)
        return slowest

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return max(pool.map(some, range(CONNECTIONS)))


def _cpu(process: int) -> float:
    times = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


# ── Both ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def told(bodies: Sequence[bytes]) -> Told:
    """Return what webhooks say."""
    found: Told = {}
    for each in map(json.loads, bodies):
        group = (each["receiver"], tuple(sorted(each["groupLabels"].items())))
        found.setdefault(group, []).extend(alert["labels"]["instance"] for alert in each["alerts"])
    return found


def same(mine: Told, other: Told) -> None:
    """Insist that both told the same groups of the same alerts, each alert once."""
    sort = {group: sorted(inside) for group, inside in mine.items()}
    if sort != {group: sorted(inside) for group, inside in other.items()}:
        wrong = [group for group in {**mine, **other} if sort.get(group) != sorted(other.get(group, []))]
        raise SystemExit(f"{len(wrong)} groups are not told alike, one is {wrong[0]}")


def one_group(sizes: Sequence[int]) -> dict[str, int]:
    """Return alerts a processor second when all are in one group, of these sizes: a group's size must not matter."""
    audience, found = Audience(compiled(ours(Route("r", group_by=("rule",), group_wait=WAIT)))), {}
    for size in sizes:
        every = [news({"rule": "r", "target": "t", "severity": "P2", "instance": f"i{n}"}) for n in range(size)]
        found[f"{size}"] = round(
            size / min(timed(lambda part=every: decided(audience, [part]))[1] for _ in range(RUNS))
        )  # type: ignore[misc]
    return found


def main() -> None:
    """Print the table and the line."""
    program = find()
    if program is None:
        sys.exit("Alertmanager is not here: apt-get install prometheus-alertmanager")
    count = int(sys.argv[1]) if sys.argv[1:] else ALERTS
    root, every = routes(), alerts(count)
    audience, bodies = Audience(compiled(ours(root))), [body(batch) for batch in every]
    parts = [[news(labels) for labels in batch] for batch in every]
    written = with_json(audience, bodies)
    mine = told(written)
    print(
        f"{count:,} alerts, {len(mine):,} groups, {len(list(telling.routes(audience.tree))) - 1} routes below the root"
    )
    runs, pure, both = [], [], []
    for _ in range(RUNS):  # in turn: others may share this machine
        pure.append(timed(lambda: decided(audience, parts)))
        both.append(timed(lambda: with_json(audience, bodies)))
        figures, other = theirs(program, root, bodies, len(written))
        same(mine, other)
        runs.append(figures)
    fastest = min(runs, key=lambda each: each["s"])
    rows = {
        "Tocsin, decisions": (*min(pure), peak(lambda: decided(audience, parts))),
        "Tocsin, JSON to JSON": (*min(both), peak(lambda: with_json(audience, bodies))),
        "Alertmanager, HTTP to HTTP": (fastest["s"], fastest["cpu_s"], fastest["peak_mb"]),
    }
    print(f"{'':>28}{'alerts/s':>10}{'s':>8}{'CPU s':>8}{'peak MB':>9}")
    for name, (seconds, cpu, most) in rows.items():
        print(f"{name:>28}{count / seconds:>10,.0f}{seconds:>8.2f}{cpu:>8.2f}{most:>9.0f}")
    print(
        f"Both told the same {len(mine):,} groups of the same alerts. The fastest of {RUNS} runs each. Requests, HTTP"
    )
    print("and the sink are in Alertmanager's seconds, on all cores; Tocsin uses one. Its group_wait is taken off: it")
    print("reads and tells one after the other, but is charged as if at once; its CPU seconds have all of it.")
    print("Tocsin's memory is beyond what holds the input, Alertmanager's the whole process.")
    (alone, alone_cpu), (read, read_cpu) = min(pure), min(both)
    line = {
        "alerts": count,
        "groups": len(mine),
        "notifications": len(written),
        "alerts_per_s": round(count / alone),
        "alerts_per_s_with_json": round(count / read),
        "alertmanager_alerts_per_s": round(count / fastest["s"]),
        "ratio_to_alertmanager": round(fastest["s"] / alone, 2),
        "ratio_with_json": round(fastest["s"] / read, 2),
        "alerts_per_cpu_s": round(count / alone_cpu),
        "alerts_per_cpu_s_with_json": round(count / read_cpu),
        "alertmanager_alerts_per_cpu_s": round(count / fastest["cpu_s"]),
        "peak_mb": round(rows["Tocsin, decisions"][2]),
        "alertmanager_peak_mb": round(fastest["peak_mb"]),
        "alerts_per_cpu_s_in_one_group": one_group((1_000, 10_000, 100_000)),
        "alertmanager_runs": [{name: round(value, 2) for name, value in each.items()} for each in runs],
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
