"""Playing many cases, on several processors where there are some, and gathering what came of them."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import groupby

from tocsin import signals
from tocsin.core.rule import Rule
from tocsin.scenarios.coverage import Coverage, covered
from tocsin.scenarios.format import Case, Scenarios
from tocsin.scenarios.playing import Played, play
from tocsin.scenarios.reading import Read
from tocsin.telemetry.embedded import EmbeddedTelemetry


@dataclass(frozen=True, slots=True)
class Wanted:
    """One case that is to be played: its file, and its number there."""

    read: Read
    number: int

    @property
    def scenarios(self) -> Scenarios:
        """The file's content."""
        assert self.read.scenarios is not None
        return self.read.scenarios

    @property
    def case(self) -> Case:
        """The case."""
        return self.scenarios.cases[self.number]

    @property
    def rule(self) -> Rule:
        """The rule that the file is about, as it is played."""
        return next(each for each in self.read.project.rules if each.id == self.scenarios.rule)

    @property
    def name(self) -> str:
        """The case's whole name, by which ``--run`` chooses."""
        return f"{self.scenarios.rule}: {self.case.name}"

    @property
    def line(self) -> int:
        """Where it begins in its file."""
        return self.read.lines[self.number][0]

    def line_of(self, expectation: int) -> int:
        """Return where one of its expectations stands."""
        return self.read.lines[self.number][1][expectation]


@dataclass(frozen=True, slots=True)
class Result:
    """One case, and what came of it."""

    wanted: Wanted
    played: Played


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a run, and what its cases cover."""

    results: tuple[Result, ...]
    coverage: tuple[Coverage, ...]
    seconds: float

    @property
    def failed(self) -> tuple[Result, ...]:
        """The cases of which something did not come as expected."""
        return tuple(each for each in self.results if not each.played.passed)


def run(wanted: Sequence[Wanted], rules: Sequence[Rule], jobs: int, moved: Callable[[], None]) -> Report:
    """Play the cases and return what came of them, in their order; ``moved`` is called after each.

    ``rules`` are those whose coverage is told.
    """
    begun = time.perf_counter()
    results = []
    players = _alone(wanted) if jobs <= 1 or len(wanted) <= 1 else _together(wanted, jobs)
    for each, played in zip(wanted, players, strict=True):
        results.append(Result(each, played))
        moved()
    coverage = tuple(covered(rule, [each.played for each in results if each.wanted.scenarios.rule == rule.id])
                     for rule in rules)  # fmt: skip
    return Report(tuple(results), coverage, time.perf_counter() - begun)


def _alone(wanted: Sequence[Wanted]) -> Iterator[Played]:
    telemetry, known = EmbeddedTelemetry(), signals.known()
    try:
        for each in wanted:
            yield play(each.scenarios, each.number, each.read.project, known, telemetry)
    finally:
        telemetry.close()


_here: dict[str, EmbeddedTelemetry] = {}
"""This process's workspace, for every case that it plays."""


def _together(wanted: Sequence[Wanted], jobs: int) -> Iterator[Played]:
    # Begun anew and not forked: a database and its threads do not survive that.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(wanted)), context) as pool:
        # A file at a time: its cases ask alike, and what was translated for one serves the next.
        by_file = [list(some) for _, some in groupby(wanted, key=lambda each: each.read.file)]
        begun = [pool.submit(_play, some[0].read, [each.number for each in some]) for some in by_file]
        try:
            for each in begun:
                yield from each.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _play(read: Read, numbers: Sequence[int]) -> list[Played]:
    assert read.scenarios is not None
    if not _here:
        _here["telemetry"] = EmbeddedTelemetry()
    known = signals.known()
    return [play(read.scenarios, number, read.project, known, _here["telemetry"]) for number in numbers]
