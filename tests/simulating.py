"""Lives drawn by lot: alerts come, go and come again, are silenced and taken on, while receivers fail and engines die.

At the end everything is over, every receiver is well again, and what semantics §6 says about telling has to hold.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

from tests.delivering import BUSY, DOWN, LATE, SOON, Played, right
from tests.switchboard import MINUTE, SECOND, Episode
from tocsin.core.ack import Acknowledgement
from tocsin.core.message import Kind

MINUTES = 40
ALERTS = [("errors", "P1", "a"), ("errors", "P1", "b"), ("slow", "P3", "a"), ("costly", "P2", "b")]
ROUTES: list[dict[str, Any]] = [
    {},
    {"group_by": ["target"]},
    {"group_by": ["..."]},
    {"group_by": ["severity"], "group_wait": "2m", "group_interval": "1m"},
    {
        "routes": [
            {"match": {"rule": "slow"}, "group_interval": "3m"},
            {"match": {"agent": "a"}, "repeat_interval": "9m"},
        ]
    },
    {
        "routes": [
            {"match": {"agent": "a"}, "repeat_interval": "9m"},
            {"match": {"rule": "slow"}, "group_interval": "3m"},
        ]
    },
]


class Life:
    """One story drawn by lot."""

    def __init__(self, seed: int) -> None:
        self.seed, self.chance = seed, random.Random(seed)
        self.board = Played()
        self.firing: dict[tuple[str, str, str], Episode] = {}
        self.silences: list[tuple[str, datetime, datetime]] = []
        self.storm = self.chance.choice(["3", "1000", "1000"])
        self.edit()

    def edit(self) -> None:
        """Put other routes into the file."""
        root = {"to": ["people", "program"], **self.chance.choice(ROUTES)}
        self.board.configure(routes=root, escalate=[{"to": "boss", "unacknowledged_for": "10m"}], storm=self.storm)

    def minute(self) -> None:
        """Let something happen, and tick."""
        chance = self.chance
        for alert in ALERTS:
            if chance.random() < 0.15:
                self.turn(alert)
        if self.firing and chance.random() < 0.15:
            self.about(chance.choice(list(self.firing.values())))
        if chance.random() < 0.04:
            self.silence(chance.choice(ALERTS)[0])
        if chance.random() < 0.03:
            self.edit()
        self.fail()
        self.board.now += chance.choice([30 * SECOND, MINUTE, MINUTE, 3 * MINUTE])
        self.board.tick()

    def turn(self, alert: tuple[str, str, str]) -> None:
        """Let an alert end if it fires, and fire if it does not; one second later, so that no two episodes are one."""
        self.board.now += SECOND
        if alert in self.firing:
            self.board.ends(self.firing.pop(alert))
        else:
            rule, severity, agent = alert
            self.firing[alert] = self.board.fires(rule, severity, agent=agent)

    def silence(self, rule: str) -> None:
        """Silence a rule; the one silence there was before ends with that."""
        made = self.board.silence(f"rule={rule}", self.chance.randint(1, 15) * MINUTE)
        self.silences.append((rule, made.starts, made.ends))

    @property
    def silenced(self) -> set[Episode]:
        """Episodes of which nobody may have heard."""
        return {
            each
            for each, ended in self.board.lived.items()
            for rule, start, end in self.silences
            if rule == each.rule and ended and start <= ended + SOON and each.began <= end
        }

    def about(self, episode: Episode) -> None:
        """Let something happen within an episode, or a person take it on."""
        if self.chance.random() < 0.3 and episode.id not in self.board.inner.kept(Acknowledgement):
            self.board.acknowledge(episode, self.chance.randint(1, 60) * MINUTE)
        else:
            self.board.now += SECOND
            self.board.happens(self.chance.choice([Kind.ACTED, Kind.FAILED, Kind.BLIND]), episode)

    def fail(self) -> None:
        """Let a receiver fail, or the process die within the next writes."""
        if self.chance.random() < 0.15:
            failing = self.board.failing[self.chance.choice(["people", "program", "boss"])]
            failing.answers = [self.chance.choice([BUSY, DOWN, LATE, None]) for _ in range(self.chance.randint(1, 8))]
        if self.chance.random() < 0.25:
            store = self.board.store
            store.nth, store.before = store.count + self.chance.randint(1, 20), self.chance.random() < 0.5

    def end(self) -> None:
        """Let everything be over."""
        self.board.store.nth = 0
        for each in self.board.failing.values():
            each.answers.clear()
        for alert in list(self.firing):
            self.turn(alert)
        self.board.until_quiet(timedelta(hours=2))


def simulate(seed: int) -> Played:
    """Live one life and hold it to what must be so."""
    life = Life(seed)
    for _ in range(MINUTES):
        life.minute()
    life.end()
    board = life.board
    try:
        right(board, muted=life.silenced)
        assert board.boss.open == set()
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error
    return board
