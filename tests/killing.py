"""Ticks that are killed with -9 at random moments, over a whole incident. Prints one line of JSON with what came of it.

    python -m tests.killing [KILLS] [SEED]

The world lives in a process of its own; each tick is forked from this one, so that a hundred of them take a minute.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tocsin.app import Parts, compose
from tocsin.core import audit
from tocsin.core.message import Settled
from tocsin.settings import Settings
from tocsin.stores.sqlite import SqliteStore
from tocsin.testing import FrozenClock, Heard

START = datetime(2026, 11, 20, 3, tzinfo=UTC)
MINUTES = 24


class Incident:
    """The world's process and the state file, and the ticks between them."""

    def __init__(self, folder: Path, seed: int) -> None:
        command = [sys.executable, "-m", "tests.world_process", START.isoformat()]
        self.world = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.settings = {**json.loads(self._read()), "TOCSIN_STATE": str(folder / "state.sqlite")}
        self.chance = random.Random(seed)

    def _read(self) -> str:
        assert self.world.stdout is not None
        return self.world.stdout.readline()

    def order(self, **what: Any) -> dict[str, Any]:
        """Tell the world, and return its answer."""
        assert self.world.stdin is not None
        self.world.stdin.write(json.dumps(what) + "\n")
        self.world.stdin.flush()
        answer: dict[str, Any] = json.loads(self._read())
        return answer

    def tick(self, now: datetime, kill_after: float | None = None) -> bool:
        """Run one tick in a child, killed after so many seconds unless it ended before; return whether it was."""
        child = os.fork()
        if child == 0:
            code = 1
            try:
                compose(Settings(ROOT, self.settings), Parts(clock=FrozenClock(now), log=Heard())).tick()
                code = 0
            finally:
                os._exit(code)
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            raise AssertionError("a tick failed by itself")
        return os.WIFSIGNALED(status)


def preload() -> None:
    """Import what every tick needs, so that a child does not spend its short life importing."""
    import microsoft_teams.cards  # noqa: F401


def play(kills: int, seed: int) -> dict[str, Any]:
    """Play the incident with at least ``kills`` ticks killed, and return what came of it."""
    preload()
    with tempfile.TemporaryDirectory() as folder:
        incident = Incident(Path(folder), seed)
        killed, seconds = 0, 0.5
        for minute in range(MINUTES):
            now = START + timedelta(minutes=minute)
            incident.order(advance=60 * minute, unset=minute == 1)
            quota = -(-(kills - killed) // max(1, MINUTES - 2 - minute))
            for _ in range(4 * quota):
                if quota <= 0:
                    break
                died = incident.tick(now, incident.chance.uniform(0.0, seconds))
                killed, quota = killed + died, quota - died
                # A tick with nothing left to do is short: the moments are drawn from as long as one seems to last.
                seconds = min(2.0, max(0.005, seconds * (1.2 if died else 0.6)))
            incident.tick(now + timedelta(seconds=55))
        return {"killed": killed, **outcome(incident)}


def outcome(incident: Incident) -> dict[str, Any]:
    """Return what both sides know at the end."""
    store = SqliteStore(incident.settings["TOCSIN_STATE"])
    seen = incident.order(report=True)
    assert incident.world.stdin is not None
    incident.world.stdin.close()
    incident.world.wait(20)
    return {
        **seen,
        "chain": audit.broken(store.audit()),
        "phases": [each.phase.value for each in store.executions()],
        "waiting": sum(1 for each in store.deliveries(1000) if each.state is not Settled.DELIVERED),
    }


if __name__ == "__main__":
    print(json.dumps(play(int(sys.argv[1]) if sys.argv[1:] else 100, int(sys.argv[2]) if sys.argv[2:] else 1)))
