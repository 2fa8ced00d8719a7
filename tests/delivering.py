"""Telling through failures: stories that go on after a kill, receivers that fail, and what must hold at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from tests.stage import Receiver
from tests.switchboard import MINUTE, SECOND, Episode, Switchboard
from tocsin.core.message import Kind, Notice, Outcome, Said, Settled
from tocsin.engine.tick import Engine

WRITES = ("commit", "record", "claim", "settle", "beat", "save_mark", "enqueue", "keep", "lock", "unlock", "sweep")


class Killed(BaseException):
    """The process is gone: no handler of the engine's sees this."""


@dataclass
class Mortal:
    """A store whose process dies at the ``nth`` write: right before it, or right after."""

    inner: Any
    nth: int = 0
    before: bool = False
    count: int = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)
        return self._counted(method) if name in WRITES else method

    def _counted(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.before and self.count == self.nth:
                raise Killed
            result = method(*args, **kwargs)
            if self.count == self.nth:
                raise Killed
            return result

        return counted


BUSY = Outcome(Said.AGAIN, "429", timedelta(seconds=90))
DOWN = Outcome(Said.AGAIN, "500")
LATE = Outcome(Said.AGAIN, "no answer in time")


@dataclass
class Failing:
    """A receiver that gives ``answers`` first, None standing for health. What it answers ``LATE`` it has accepted."""

    inner: Receiver
    clock: Callable[[], datetime]
    answers: list[Outcome | None] = field(default_factory=list)
    log: list[tuple[datetime, Notice]] = field(default_factory=list)
    """What it accepted, and when."""
    asked: int = 0

    @property
    def together(self) -> bool:
        return bool(getattr(self.inner, "together", False))

    def deliver(self, notice: Notice) -> Outcome:
        self.asked += 1
        answer = self.answers.pop(0) if self.answers else None
        if answer in (BUSY, DOWN):
            return answer
        self.log.append((self.clock(), notice))
        return replace(self.inner.deliver(notice), said=answer.said if answer else Said.ACCEPTED)

    @property
    def twice(self) -> int:
        """How often it accepted what it had accepted before."""
        return len(self.log) - len({notice.id for _, notice in self.log})


class Played(Switchboard):
    """A switchboard on which a story is played: who lived when is written down, and processes may die."""

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.store = Mortal(self.inner)
        self.failing = {name: Failing(each, lambda: self.now) for name, each in self.receivers.items()}
        self.lived: dict[Episode, datetime | None] = {}
        """Every episode, and when it ended."""
        self.kills = 0

    @property
    def engine(self) -> Engine:
        return replace(super().engine, store=self.store, notifiers=self.failing)  # type: ignore[arg-type]

    def fires(self, rule: str = "errors", severity: str = "P1", target: str = "sales", **labels: str) -> Episode:
        episode = super().fires(rule, severity, target, **labels)
        self.lived[episode] = None
        return episode

    def ends(self, *episodes: Episode) -> None:
        super().ends(*episodes)
        self.lived |= dict.fromkeys(episodes, self.now)

    def tick(self) -> None:
        """Tick now; a process that dies is replaced at once, and ticks five seconds later."""
        try:
            super().tick()
        except Killed:
            self.kills += 1
            self.now += 5 * SECOND
            super().tick()

    def until_quiet(self, most: timedelta) -> None:
        """Tick until nothing waits, for as long as that may take."""
        ends = self.now + most
        self.wait(15 * MINUTE)
        while self.now < ends and self.waiting():
            self.wait(MINUTE)

    def waiting(self) -> list[str]:
        return [each.id for each in self.inner.deliveries(10_000) if each.state is not Settled.DELIVERED]


# What must hold


def right(board: Played, muted: Iterable[Episode] = ()) -> None:
    """Nothing waits, nothing is lost, nothing is told after its end, and what may come twice is counted."""
    assert board.waiting() == []
    for name in ("people", "program"):
        in_order(board.failing[name])
    assert board.program.open == set(), "an incident that nothing closes"
    for episode in set(board.lived) - set(muted):
        heard_of(board, episode)


def in_order(receiver: Failing) -> None:
    """An end comes after its beginning, and nothing opens an incident again that was closed."""
    opened, closed, known = set[str](), set[str](), set[str]()
    for _, notice in receiver.log:
        if notice.id in known:
            continue
        known.add(notice.id)
        if receiver.together:
            continue  # a conversation: its messages name groups and no incidents
        if notice.kind is Kind.FIRED:
            assert notice.episode not in closed, f"{notice.id} after its end"
            opened.add(notice.episode)
        elif notice.kind is Kind.RESOLVED:
            assert notice.episode in opened, f"{notice.id} before its beginning"
            closed.add(notice.episode)


SOON = 20 * MINUTE
"""The longest group interval of these stories, and what a kill and a long gap between ticks may add."""


def heard_of(board: Played, episode: Episode) -> None:
    """Every receiver was told of the alert while the episode lasted or soon after, or had been and not of an end.

    The end of a flood comes once, with the last of its alerts, to a program.
    """
    ended = board.lived[episode]
    assert ended is not None
    for name in ("people", "program"):
        told = mentions(board, name, episode)
        assert told, f"{name} never heard of {episode.id}"
        flooded = name == "program" and any(key.startswith("flood/") for key in board.program.incidents)
        assert flooded or told[-1][1] is Kind.RESOLVED, f"{name} did not hear the end of {episode.id}"
        before = [kind for at, kind in told if at < episode.began][-1:]
        soon = [kind for at, kind in told if episode.began <= at <= ended + SOON]
        assert soon or before == [Kind.FIRED], f"{name} did not hear of {episode.id}"


def mentions(board: Played, name: str, episode: Episode) -> list[tuple[datetime, Kind]]:
    """Return when a receiver was written to of an alert, and what: that it fires, or that it is over."""
    words = {episode.notice(kind, episode.began).title: kind for kind in (Kind.FIRED, Kind.RESOLVED)}
    found = []
    for each in sorted(board.inner.deliveries(100_000), key=lambda each: (each.created, each.sequence)):
        said = [each.notice.title, *(fact.value for fact in each.notice.facts)] if each.receiver == name else []
        told = [kind for title, kind in words.items() if any(text.endswith(title) for text in said)]
        found += [(each.created, kind) for kind in told]
    return found


# A story


def story(board: Played) -> None:
    """Alerts fire, act, fail to act, end, and fire again; two of them share a group, one waits for company."""
    first, slow = board.fires(agent="a"), board.fires("slow", "P3")
    board.tick()
    board.wait(MINUTE)
    board.happens(Kind.ACTED, first)
    second = board.fires(agent="b")
    board.wait(2 * MINUTE)
    board.happens(Kind.FAILED, slow)
    board.wait(MINUTE)
    board.ends(first)
    board.wait(5 * MINUTE)
    board.ends(second)
    again = board.fires(agent="a")
    board.wait(3 * MINUTE)
    short = board.fires(agent="b")
    board.wait(MINUTE)
    board.ends(short)
    board.wait(6 * MINUTE)
    board.ends(again, slow)
    board.until_quiet(timedelta(hours=1))


def flood(board: Played) -> None:
    """More alerts fire at once than anybody reads, and end at different times."""
    episodes = [board.fires(f"rule{number}") for number in range(6)]
    board.tick()
    board.wait(2 * MINUTE)
    board.ends(*episodes[:3])
    board.wait(6 * MINUTE)
    board.ends(*episodes[3:])
    board.until_quiet(timedelta(hours=1))


def played(
    nth: int = 0,
    *,
    before: bool = False,
    answers: dict[str, list[Outcome | None]] | None = None,
    told: Callable[[Played], None] = story,
    **parts: Any,
) -> Played:
    """Play a story, killed at a write or with receivers that fail."""
    board = Played(**parts)
    board.store.nth, board.store.before = nth, before
    for name, given in (answers or {}).items():
        board.failing[name].answers = list(given)
    told(board)
    return board
