"""One failure stays one failure: each item is tried by itself, and what fails becomes an alert somebody hears of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import TypeVar

from tocsin.core.config import Config
from tocsin.core.failing import Failing, Failure, Subject, judge
from tocsin.core.message import NEWS, Delivery, Notice, outbox
from tocsin.core.unreadable import Unreadable
from tocsin.ports import Conflict, Kept, Log, Store, StoreUnavailable

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")

_KEY = "all"
_TRIES = 4
"""How often a lost race for the one row is decided again before it is left to the next tick."""


@dataclass(slots=True)
class Failures:
    """What failed by itself in one tick, and what did not. Threads may share it.

    ``answers`` asks the store something small, and raises ``StoreUnavailable`` when the whole store is away: then
    nothing is decided. Where it answers, one item that it refused has failed, as by any other exception.
    """

    log: Log | None = None
    answers: Callable[[], object] | None = None
    _failed: dict[Subject, Failure] = field(default_factory=dict)
    _passed: set[Subject] = field(default_factory=set)
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    def attempt(self, subject: Subject, step: Callable[[], T], otherwise: U) -> T | U:
        """Return what ``step`` returns, or ``otherwise`` when it fails or another instance was first.

        Raises ``StoreUnavailable`` when the store does not answer at all, and no other exception.
        """
        try:
            found = step()
        except Conflict as lost:
            self._note("info", "another instance was first", subject, what=_words(lost))
            return otherwise
        except Exception as error:
            self.add(subject, error)
            return otherwise
        with self._mutex:
            self._passed.add(subject)
        return found

    def each(
        self, items: Iterable[T], named: Callable[[T], Subject], step: Callable[[T], U], otherwise: V
    ) -> list[U | V]:
        """Return what ``step`` returns for each item, each by itself. Raises as ``attempt`` does."""
        return [self.attempt(named(item), partial(step, item), otherwise) for item in items]

    def add(self, subject: Subject, error: Exception) -> None:
        """Note that an item failed. Raises ``StoreUnavailable`` when the store does not answer at all."""
        if isinstance(error, StoreUnavailable):
            if self.answers is None:
                raise error
            self.answers()
        failure = Failure(subject, type(error).__name__, _where(error.__traceback__))
        with self._mutex:
            self._failed.setdefault(subject, failure)
        self._note("error", "failed", subject, error=_words(error), where=failure.where)

    def unreadable(self, rows: Iterable[Unreadable]) -> None:
        """Note stored rows that were passed over, each once."""
        known = {each.subject for each in self.failed}
        for each in rows:
            if each.subject not in known:
                self.add(each.subject, each)

    @property
    def failed(self) -> tuple[Failure, ...]:
        """Return every failure so far, in the order of their subjects."""
        with self._mutex:
            return tuple(self._failed[subject] for subject in sorted(self._failed))

    @property
    def passed(self) -> frozenset[Subject]:
        """Return what worked, and did not fail elsewhere in the tick."""
        with self._mutex:
            return frozenset(self._passed - self._failed.keys())

    def _note(self, level: str, event: str, subject: Subject, **more: str) -> None:
        if self.log is not None:
            getattr(self.log, level)(event, subject=subject.words, **more)


@dataclass(frozen=True, slots=True)
class Alarm:
    """Turns the failures of a tick into alerts, kept in one small row of the store."""

    store: Store
    config: Config
    log: Log

    def tell(self, failures: Failures, now: datetime, *, whole: bool) -> int:
        """Keep what fails now and enqueue a message for each alert that begins or ends; return how many alerts do."""
        for _ in range(_TRIES):
            kept = self._kept()
            before = kept.value if kept else Failing()
            after, notices = judge(before, failures.failed, failures.passed, now, whole=whole)
            if after == before:
                return 0
            messages = [each for subject, notice in notices for each in self._messages(subject, notice, now)]
            try:
                self.store.keep(Failing, _KEY, after, kept.etag if kept else None, messages)
            except Conflict:
                continue
            return len(notices)
        self.log.warning("lost every race", kind="Failing")
        return 0

    def _kept(self) -> Kept[Failing] | None:
        """Return what failed before. Raises ``Unreadable``: what was told is not known then, and is not replaced."""
        found = self.store.kept(Failing).get(_KEY)
        for each in self.store.unreadable() if found is None else ():
            if each.what == Failing.__name__:
                raise each
        return found

    def _messages(self, subject: Subject, notice: Notice, now: datetime) -> list[Delivery]:
        """Address an alert to the routes, or past them where they may be what fails."""
        target = next((each for each in self.config.targets if each.name == subject.target), None)
        notice = replace(notice, labels=dict(target.labels)) if target else notice
        return outbox(notice, self._others(subject) if subject.direct else [NEWS], now)

    def _others(self, subject: Subject) -> list[str]:
        """Return the fallback, or everybody but the receiver that fails, or the routes where there is nobody else."""
        itself = subject.name if subject.what == "receiver" else ""
        if self.config.fallback not in ("", itself):
            return [self.config.fallback]
        return [name for name in self.config.receivers if name != itself] or [NEWS]


def _words(error: BaseException) -> str:
    """Return what an exception says, for the log; saying it may fail, too."""
    try:
        return repr(error)[:200]
    except Exception:
        return type(error).__name__


def _where(trace: TracebackType | None) -> str:
    """Return the innermost place in Tocsin that an exception went through, as ``module:line``."""
    found = ""
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__", ""))
        found = f"{name}:{trace.tb_lineno}" if name.startswith("tocsin.") else found
        trace = trace.tb_next
    return found
