"""VictoriaMetrics' ``vmalert -replay`` over the same series and the same thresholds: the peer of ``bench-backtest``.

Timed is the replay alone: it asks the database for each rule's points, judges them, and writes the alerts' states back.
The database has started and holds the series before; what was written is read afterwards. What makes it slow by default
is turned off: its pause after each rule, and small queries, each of which forgets how long an alert was pending. It has
two writers instead of one; more of them and larger writes are no faster.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

MINUTE = timedelta(minutes=1)
PROGRAMS = ("victoria-metrics", "vmalert")
POINTS = 10_000
"""Points a line of what is imported."""

Points = Sequence[tuple[datetime, float]]


class Absent(RuntimeError):
    """What is needed is not on this machine."""


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    """Breached while the series is above a number."""

    name: str
    series: str
    above: float
    for_: timedelta = timedelta()
    keep_firing_for: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class Peer:
    """How long the replay took, the state of every rule in each slot in which it had one, and by which version.

    ``cpu_seconds`` are those of ``vmalert`` and of the database meanwhile, which others on the machine do not lengthen.
    """

    seconds: float
    cpu_seconds: float
    alerts: Mapping[str, list[tuple[datetime, str]]]
    version: str


def replay(
    series: Mapping[str, Points],
    rules: Sequence[ThresholdRule],
    start: datetime,
    end: datetime,
    step: timedelta = MINUTE,
) -> Peer:
    """Return what ``vmalert`` makes of the rules, in every slot from ``start`` to ``end``, both included.

    Every series has a point in each slot: where one is missing, the database would take an older one. ``start`` and
    ``end`` are whole multiples of ``step``, or the database would move them. Raises ``Absent`` without Debian's
    ``victoria-metrics``, ``ValueError`` for a rule its ``vmalert`` cannot state, and ``RuntimeError`` when it fails.
    """
    if absent := [name for name in PROGRAMS if shutil.which(name) is None]:
        raise Absent(f"{' and '.join(absent)} not here: apt-get install victoria-metrics")
    if any(moment.timestamp() % step.total_seconds() for moment in (start, end)):
        raise ValueError(f"{start} and {end} are no multiples of {step}")
    with tempfile.TemporaryDirectory(prefix="vmalert-") as name:
        folder = Path(name)
        written = json.dumps(_groups(rules, step))
        (folder / "rules.yml").write_text(written)
        with _database(folder) as (root, process):
            _load(root, series)
            before, begun = _used(process), time.perf_counter()
            _run(folder, root, start, end, step)
            seconds, used = time.perf_counter() - begun, _used(process) - before
            return Peer(seconds, used, _alerts(root, [rule.name for rule in rules]), version())


def version() -> str:
    """Return the version of Debian's package; the programs do not say theirs."""
    asked = ["dpkg-query", "--show", "--showformat=${Version}", "victoria-metrics"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout or "unknown"
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _groups(rules: Iterable[ThresholdRule], step: timedelta) -> dict[str, Any]:
    """Return the rules as a file of ``vmalert``: JSON, which is YAML."""
    return {"groups": [{"name": "peer", "interval": _duration(step), "rules": [_rule(each) for each in rules]}]}


def _rule(rule: ThresholdRule) -> dict[str, Any]:
    if rule.keep_firing_for:
        raise ValueError(f"{rule.name}: Debian's vmalert, 1.79, does not know keep_firing_for")
    expr = f"seen{{of={json.dumps(rule.series)}}} > {rule.above!r}"
    return {"alert": rule.name, "expr": expr, "for": _duration(rule.for_)}


def _duration(given: timedelta) -> str:
    return f"{given // timedelta(seconds=1)}s"


# ── The database ──────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _database(folder: Path) -> Iterator[tuple[str, int]]:
    """Start the database and yield its address and its process."""
    port = _free_port()
    options = {
        "storageDataPath": folder / "data",
        "httpListenAddr": f"127.0.0.1:{port}",
        "retentionPeriod": "100y",
        # A month of minutes in one answer.
        "search.maxPointsPerTimeseries": 10_000_000,
        "search.maxQueryDuration": "10m",
        "loggerLevel": "WARN",
    }
    log = folder / "database.log"
    with log.open("wb") as output:
        process = subprocess.Popen(_command("victoria-metrics", options), cwd=folder, stdout=output, stderr=output)
    root = f"http://127.0.0.1:{port}"
    try:
        _wait_for(root, process, log)
        yield root, process.pid
    finally:
        _end(process)


def _command(program: str, options: Mapping[str, object]) -> list[str]:
    return [program, *(f"-{key}={value}" for key, value in options.items())]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(root: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        try:
            _ask(f"{root}/health")
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"VictoriaMetrics did not come up:\n{log.read_text()[-3000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


def _ask(address: str, body: bytes | None = None) -> bytes:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, body), timeout=300) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{address}: {error.code} {error.read().decode()[:500]}") from error


def _load(root: str, series: Mapping[str, Points]) -> None:
    """Import all series, and make them searchable."""
    for name, points in series.items():
        _ask(f"{root}/api/v1/import", b"\n".join(_lines(name, points)))
    _ask(f"{root}/internal/force_flush")


def _lines(name: str, points: Points) -> Iterator[bytes]:
    metric = {"__name__": "seen", "of": name}
    for first in range(0, len(points), POINTS):
        some = points[first : first + POINTS]
        stamps = [round(at.timestamp() * 1000) for at, _ in some]
        line = {"metric": metric, "values": [value for _, value in some], "timestamps": stamps}
        yield json.dumps(line).encode()


# ── The replay ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _run(folder: Path, root: str, start: datetime, end: datetime, step: timedelta) -> None:
    """Replay from beginning to end."""
    options = {
        "rule": folder / "rules.yml",
        "datasource.url": root,
        "datasource.queryStep": _duration(step),
        "remoteWrite.url": root,
        "remoteWrite.concurrency": 2,
        "remoteWrite.maxQueueSize": 10_000_000,
        "replay.timeFrom": _moment(start),
        "replay.timeTo": _moment(end),
        "replay.maxDatapointsPerQuery": (end - start) // step + 2,
        "replay.rulesDelay": "0s",
        "replay.ruleRetryAttempts": 1,
        "replay.disableProgressBar": "true",
        "loggerLevel": "WARN",
    }
    run = subprocess.run(_command("vmalert", options), cwd=folder, capture_output=True, text=True, check=False)
    # It ends well after an error, too: what it said decides.
    if run.returncode or "\terror\t" in run.stderr:
        raise RuntimeError(f"vmalert failed ({run.returncode}):\n{run.stderr[-3000:]}")


def _used(database: int) -> float:
    """Return the processor's seconds so far of the database and of all processes that ended."""
    times = Path(f"/proc/{database}/stat").read_text().rpartition(")")[2].split()[11:13]
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK") + ended.ru_utime + ended.ru_stime


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _alerts(root: str, names: Iterable[str]) -> dict[str, list[tuple[datetime, str]]]:
    """Return what the replay wrote: the slots in which each rule was pending or firing, in order."""
    _ask(f"{root}/internal/force_flush")
    found: dict[str, list[tuple[datetime, str]]] = {name: [] for name in names}
    asked = urllib.parse.urlencode({"match[]": "ALERTS"})
    for line in _ask(f"{root}/api/v1/export?{asked}").splitlines():
        written = json.loads(line)
        metric = written["metric"]
        found[metric["alertname"]] += [
            (datetime.fromtimestamp(stamp / 1000, UTC), metric["alertstate"]) for stamp in written["timestamps"]
        ]
    return {name: sorted(slots) for name, slots in found.items()}
