"""Asking for everything due on one target in as few queries as possible; what fails is split until it stands alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial

from tocsin.core.answer import NoAnswer, Rows, Why
from tocsin.core.compile import Ask, Part
from tocsin.core.config import Target
from tocsin.core.failing import Subject
from tocsin.core.fuse import Fused, fuse, halves
from tocsin.engine.failing import Failures
from tocsin.ports import Log, Telemetry

_SPLIT = frozenset({Why.BROKEN, Why.PARTIAL})
"""Answers that one bad part can cause. An outage is not cured by asking more."""

Answers = dict[int, Rows | NoAnswer]
"""What each ask heard, by its number."""


@dataclass(slots=True)
class Asker:
    """Asks fused queries, ``at_once`` at a time.

    ``guilty`` holds the parts that failed alone, so that they are asked by themselves from then on. It is a hint for
    this process: without it a bad part is found again by halving.
    """

    telemetry: Telemetry
    log: Log
    at_once: int = 4
    guilty: set[Part] = field(default_factory=set)
    failures: Failures = field(default_factory=Failures)

    def ask(self, asks: Mapping[int, Ask], target: Target) -> Answers:
        """Return what every ask heard. Each that fails does so alone: the others keep their answers."""
        answers: Answers = {}
        with ThreadPoolExecutor(max(1, self.at_once)) as pool:
            running = self._started(pool, self._fused(asks, target, answers), target)
            while running:
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    fused = running.pop(future)
                    again = self._taken(fused, future.result(), answers, target)
                    running |= self._started(pool, again, target)
        return answers

    def _fused(self, asks: Mapping[int, Ask], target: Target, answers: Answers) -> list[Fused]:
        """Return the queries for the asks; where one ask cannot be fused, the others are, each by itself."""
        subject = Subject("asking", target=target.name)
        together = self.failures.attempt(subject, lambda: list(fuse(asks, target, self.guilty)), None)
        if together is not None:
            return together
        found: list[Fused] = []
        for number, ask in asks.items():
            alone = self.failures.attempt(subject, partial(fuse, {number: ask}, target, self.guilty), None)
            found += alone or ()
            if alone is None:
                answers[number] = NoAnswer(Why.BROKEN, "it failed by itself")
        return found

    def _taken(self, fused: Fused, answer: Rows | NoAnswer, answers: Answers, target: Target) -> list[Fused]:
        """Keep the answer as ``_take`` does; one that cannot be read is none, for what asked it alone."""
        again = self.failures.attempt(
            Subject("asking", target=target.name), lambda: self._take(fused, answer, answers, target), None
        )
        if again is None:
            answers |= dict.fromkeys(fused.asks, NoAnswer(Why.BROKEN, "it failed by itself"))
        return again or []

    def _started(
        self, pool: ThreadPoolExecutor, queries: Iterable[Fused], target: Target
    ) -> dict[Future[Rows | NoAnswer], Fused]:
        return {pool.submit(self._answer, fused, target): fused for fused in queries}

    def _answer(self, fused: Fused, target: Target) -> Rows | NoAnswer:
        broken = NoAnswer(Why.BROKEN, "the adapter failed")  # and no reason to stop the others
        subject = Subject("telemetry", target=target.name)
        return self.failures.attempt(subject, lambda: self.telemetry.ask(fused.query, target), broken)

    def _take(self, fused: Fused, answer: Rows | NoAnswer, answers: Answers, target: Target) -> list[Fused]:
        """Keep the answer, or return the queries to ask in its place."""
        if isinstance(answer, Rows):
            used = {"statistics": dict(answer.statistics)} if answer.statistics else {}
            self.log.info("asked", target=target.name, parts=len(fused.shares), rows=len(answer.rows), **used)
            if answer.cut and not fused.alone:
                return halves(fused, target)
            self._judge(fused, answer)
            answers.update(fused.rows(answer))
            return []
        if answer.why in _SPLIT and not fused.alone:
            return halves(fused, target)
        if answer.why in _SPLIT:
            self.guilty.add(fused.shares[0].part)
            if len(fused.asks) > 1:  # as its author wrote it, it may be right
                return fuse(fused.asks, target, self.guilty)
        answers.update(dict.fromkeys(fused.asks, answer))
        return []

    def _judge(self, fused: Fused, answer: Rows) -> None:
        """Ask what filled a whole answer by itself the next time; what did not may join the others again."""
        change = self.guilty.update if answer.cut else self.guilty.difference_update
        change(share.part for share in fused.shares if fused.alone)


def affordable(asks: Sequence[Sequence[Ask]], budget: int, least: int, target: Target) -> int:
    """Return how many of these groups of asks, from the first on, take at most ``budget`` queries together.

    ``least`` of them are asked whatever they take: a group that is too dear by itself would otherwise never be asked.
    """

    def queries(count: int) -> int:
        return len(fuse(dict(enumerate(ask for group in asks[:count] for ask in group)), target))

    if queries(len(asks)) <= budget:
        return len(asks)
    least, most = min(least, len(asks)), len(asks)
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if queries(middle) <= budget else (least, middle)
    return least
