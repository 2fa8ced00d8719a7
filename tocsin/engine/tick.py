"""One tick: evaluate, act, tell, beat. Timer, events and people all come through here."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from tocsin.core import native as natives
from tocsin.core.action import Takes
from tocsin.core.alert import Alert
from tocsin.core.compile import Part
from tocsin.core.config import Target
from tocsin.core.failing import INBOUND, Subject, summary, unkept
from tocsin.core.native import Native
from tocsin.core.read import Project
from tocsin.core.schedule import newest_slot
from tocsin.core.sight import UNEVALUATED, Reached
from tocsin.core.signal import Signal
from tocsin.core.text import scrub
from tocsin.engine.acting import Actor
from tocsin.engine.asking import Asker
from tocsin.engine.counting import SILENT
from tocsin.engine.evaluating import Evaluated, Evaluator
from tocsin.engine.expiring import record_expiries
from tocsin.engine.failing import Alarm, Failures
from tocsin.engine.fanning import FanOut, is_about, named
from tocsin.engine.measuring import Measurer
from tocsin.engine.mirroring import Mirroring
from tocsin.engine.notifying import Courier
from tocsin.engine.reporting import Reporter
from tocsin.engine.retiring import Retirer
from tocsin.engine.switches import Switches
from tocsin.engine.telling import Teller
from tocsin.engine.unstored import LastResort
from tocsin.engine.verifying import Verifier
from tocsin.engine.watching import Receivers
from tocsin.ports import (
    Actuator,
    Configuration,
    Links,
    Log,
    Meter,
    Mirror,
    Notifier,
    Store,
    StoreUnavailable,
    Tally,
    Telemetry,
    WorkQueue,
    no_links,
)

T = TypeVar("T")

EVALUATE_WITHIN = 120.0
"""Seconds after which no further target is begun, so that the tick still tells and acts before the host ends it."""

EXPIRIES_EVERY = 5
"""Minutes between two looks for silences and acknowledgements that have ended: the audit alone waits for it."""

_DELIVER_BEFORE, _DELIVER_AFTER = 20.0, 60.0
"""Seconds after which no further message is begun, before anything is evaluated and after everything was done."""

_DELIVERING = Subject("delivering")
"""Where nothing at all can be delivered, the failures are told past the store."""

_TARGETS_AT_ONCE = 8


class _Noted(StoreUnavailable):
    """The store refused something, which is noted already."""


@dataclass(frozen=True, slots=True)
class Ticked:
    """What one tick did: slots evaluated (of which unknown), alerts changed, messages accepted, executions advanced.

    ``failed`` counts the items that failed by themselves.
    """

    slots: int
    unknown: int
    changes: int
    delivered: int
    acted: int
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Engine:
    """Everything one tick needs. Holds no state of its own between ticks that it could not do without."""

    project: Project
    signals: Mapping[str, Signal]
    store: Store
    telemetry: Telemetry
    configuration: Configuration
    notifiers: Mapping[str, Notifier]
    actuators: Mapping[str, Actuator]
    log: Log
    owner: str
    meters: Mapping[str, Meter] = field(default_factory=dict)
    queue: WorkQueue | None = None
    guilty: set[Part] = field(default_factory=set)
    """Parts of queries that failed alone in this process: a hint, no state."""
    shouted: set[str] = field(default_factory=set)
    """Hours in which this process told of failures that could not be kept: a hint, no state."""
    events: dict[str, None] = field(default_factory=dict)
    """Events that this process has looked at, oldest first: a hint, no state."""
    tally: Tally = SILENT
    links: Links = no_links
    mirror: Mirror | None = None
    """The copy of the audit; None where the store alone keeps it."""
    takes: Mapping[str, Takes] = field(default_factory=dict)
    """What each action takes; arguments of one that is not there are not looked at again."""

    def tick(self, now: datetime, only: Sequence[str] | None = None, *, evaluate: bool = True) -> Ticked:
        """Run one tick at ``now``, over all targets or ``only`` the named ones. Raises ``StoreUnavailable``.

        Without ``evaluate`` nothing is measured: what is known already is told and acted on.

        The order is fixed: state is saved before anyone is told, an intent recorded before anything is done, what is
        due is done before anyone is told of it, and the heartbeat written last. A part that fails stops no other.
        """
        begun = time.monotonic()

        def elapsed() -> timedelta:
            return timedelta(seconds=time.monotonic() - begun)

        targets = [each for each in self.project.config.targets if only is None or each.name in only]
        failures = Failures(self.log, self.store.last_beat)
        telling = _Telling(self, failures, now, whole=only is None)
        delivered = telling.deliver(_DELIVER_BEFORE)
        share = self._own_share(targets, now, failures) if only is None else targets
        evaluated = self._evaluate(share if evaluate else [], now, failures)
        acted = failures.attempt(Subject("acting"), lambda: self._actor(elapsed, failures).act(now, targets), 0)
        if only is None:
            self._look_after(now, failures)
        delivered += telling.tell()
        if self.mirror is not None:
            mirroring = Mirroring(self.store, self.mirror, self.log)
            failures.attempt(Subject("copying of the audit"), lambda: mirroring.copy(now), 0)
        if only is None:
            self._tidy(now, failures)
        delivered += telling.tell_failures()
        if only is None:  # an event's tick says nothing of the timer's
            self.store.beat(now, summary(failures.failed))
        ticked = Ticked(
            evaluated.slots, evaluated.unknown, len(evaluated.changes), delivered, acted, len(failures.failed)
        )
        self.log.info(
            "tick",
            now=now,
            slots=ticked.slots,
            unknown=ticked.unknown,
            delivered=delivered,
            acted=acted,
            failed=ticked.failed,
        )
        return ticked

    def _look_after(self, now: datetime, failures: Failures) -> None:
        """End the alerts that nothing evaluates any more, and send the receivers their heartbeats."""
        retirer = Retirer(self.project, self.store, self.log, failures)
        failures.attempt(Subject("retiring"), lambda: retirer.retire(now), 0)
        failures.attempt(Subject("expiry"), lambda: self._expire(now, failures), None)
        receivers = Receivers(self.store, self.project.config, self.log, now, failures)
        failures.attempt(Subject("heartbeats"), receivers.beat, None)

    def _tidy(self, now: datetime, failures: Failures) -> None:
        """Forget what is not needed any more, and record what has ended by itself."""
        if not now.minute:
            failures.attempt(Subject("sweeping"), lambda: self.store.sweep(now), 0)
            failures.attempt(Subject("tidying"), lambda: self.teller(failures).tidy(now), None)
        if not now.minute % EXPIRIES_EVERY:
            failures.attempt(Subject("recording of expiries"), lambda: record_expiries(self.store, now), 0)

    def work(self, message: str, now: datetime) -> Ticked | None:
        """Do the work that a tick handed out; None when its target is not watched any more.

        Raises ValueError for a message that no tick wrote.
        """
        name = named(message)
        if all(each.name != name for each in self.project.config.targets):
            self.log.info("work ignored", target=name[:100], why="no such target")
            return None
        return self.tick(now, only=[name])

    def given_up(self, message: str, now: datetime) -> None:
        """Make an alert of work that failed again and again, on the target that was not evaluated."""
        self.log.error("work given up", message=message[:200])
        for target in self.project.config.targets:
            if is_about(message, target):
                self._failed(target, now)
        self.tick(now, only=[])

    def _failed(self, target: Target, now: datetime) -> None:
        """Make an alert of a target that could not be evaluated; its next evaluation ends it."""
        slot = newest_slot(UNEVALUATED.every, timedelta(), now)
        failed, subject = Reached(failed=True), Subject("evaluating", target=target.name)
        self.alone(subject, lambda: self._evaluator().enter(UNEVALUATED, failed, (slot,), target, now), now)

    def enter(self, native: Native, target: Target, now: datetime) -> None:
        """Enter an alert of Azure Monitor's own. Raises ``StoreUnavailable`` when it should be sent again.

        One that can never be entered becomes an alert of Tocsin's own: whoever sent it could only send the same.
        """

        def entered() -> None:
            if not self._evaluator().enter(native.rule, native, native.slots, target, now):
                raise StoreUnavailable("an alert of Azure Monitor could not be entered")

        self.alone(Subject(INBOUND, scrub(native.name, 100), target.name), entered, now)

    def alone(self, subject: Subject, step: Callable[[], T], now: datetime) -> T | None:
        """Return what ``step`` makes of one thing that came from outside; None when it failed by itself.

        Somebody is notified of that with the next tick. Raises ``StoreUnavailable`` when it may go well later: the
        store is away or full, or refuses this one, of which somebody is notified when it lasts.
        """
        failures = Failures(self.log, self.store.last_beat)
        later: Exception | None = None
        try:
            return step()
        except _Noted:
            raise
        except Exception as error:
            failures.add(subject, error)
            later = error if isinstance(error, StoreUnavailable | OSError) else None
        Alarm(self.store, self.project.config, self.log).tell(failures, now, whole=False)
        if later is not None:
            raise _Noted(str(later)) from later
        return None

    def _expire(self, now: datetime, failures: Failures) -> None:
        """End what nothing is reported of any more. One that cannot be kept now is tried again in the next tick."""
        alerts = self.store.open_alerts()
        for alert in alerts:
            subject = Subject("expiry of", alert.rule, alert.target)
            failures.attempt(subject, partial(self._end, alert, alerts, now), None)

    def _end(self, alert: Alert, alerts: Sequence[Alert], now: datetime) -> None:
        over = natives.end_of(alert, alerts, now)
        if over is None:
            return
        rule = next(each for each in natives.NATIVE if each.id == alert.rule)
        target = next((each for each in self.project.config.targets if each.name == alert.target), natives.UNWATCHED)
        self._evaluator().enter(rule, over, (now.replace(microsecond=0),), target, now)

    def _own_share(self, targets: Sequence[Target], now: datetime, failures: Failures) -> list[Target]:
        fanning = FanOut(self.project, self.store, self.queue, self.log, failures)
        return failures.attempt(Subject("handing out"), lambda: fanning.inline(targets, now), list(targets))

    def teller(self, failures: Failures) -> Teller:
        """Return what tells people of news."""
        return Teller(self.project, self.store, self.notifiers, self.log, self.links, failures)

    def courier(self, failures: Failures) -> Courier:
        """Return what delivers messages."""
        return Courier(self.store, self.notifiers, self.project.config, self.log, self.tally, failures)

    def _evaluator(self, failures: Failures | None = None) -> Evaluator:
        failures = failures or Failures(self.log, self.store.last_beat)
        asker = Asker(self.telemetry, self.log, self.project.config.budgets.queries_at_once, self.guilty, failures)
        measurer = Measurer(self.signals, self.telemetry, asker, self.log, failures)
        return Evaluator(
            self.project,
            self.signals,
            self.store,
            self.configuration,
            self.log,
            measurer,
            {**self.meters, "switches": Switches(self.store, self.configuration)},
            self.tally,
            failures,
        )

    def _evaluate(self, targets: Sequence[Target], now: datetime, failures: Failures) -> Evaluated:
        evaluator = self._evaluator(failures)
        ends = time.monotonic() + EVALUATE_WITHIN

        def evaluate(target: Target) -> Evaluated:
            if time.monotonic() > ends:
                self.log.error("target left to the next tick", target=target.name)
                return Evaluated()
            subject = Subject("evaluating", target=target.name)
            return failures.attempt(subject, lambda: evaluator.evaluate(target, now), Evaluated())

        # Another target begins each minute, so that the same ones are not always those left over.
        first = int(now.timestamp() // 60) % max(1, len(targets))
        with ThreadPoolExecutor(min(_TARGETS_AT_ONCE, max(1, len(targets)))) as pool:
            return sum(pool.map(evaluate, [*targets[first:], *targets[:first]]), Evaluated())

    @property
    def reporter(self) -> Reporter:
        """What saves and tells of executions, for what a person decides."""
        return Reporter(self.project, self.store, self.signals, self.log, self.tally)

    def _actor(self, elapsed: Callable[[], timedelta], failures: Failures | None = None) -> Actor:
        failures = failures or Failures(self.log, self.store.last_beat)
        verifier = Verifier(self.configuration, self.telemetry, self.signals)
        # Each tick is an owner of its own: a timer and an event may run at once in one process.
        owner = f"{self.owner}/{secrets.token_hex(4)}"
        own = (self.log, owner, elapsed, self.tally, failures, self.takes)
        return Actor(self.project, self.store, self.actuators, verifier, *own)


@dataclass(slots=True)
class _Telling:
    """Telling people in one tick: of what happened, and of what the tick failed at."""

    engine: Engine
    failures: Failures
    now: datetime
    whole: bool

    def deliver(self, within: float) -> int:
        """Deliver what waits for at most about so many seconds; return how many messages were accepted."""
        courier = self.engine.courier(self.failures)
        return self.failures.attempt(_DELIVERING, lambda: courier.deliver(self.now, within), 0)

    def tell(self) -> int:
        """Make messages of the news and deliver them; return how many were accepted."""
        teller = self.engine.teller(self.failures)
        self.failures.attempt(Subject("telling"), lambda: teller.tell(self.now), 0)
        return self.deliver(_DELIVER_AFTER)

    def tell_failures(self) -> int:
        """Tell of what failed so far, and of what fails while that is told; return how many messages were accepted."""
        accepted = 0
        for _ in range(2):
            if not self._alarm():
                break
            accepted += self.tell()
        return accepted

    def _alarm(self) -> int:
        """Return how many alerts began or ended. One that cannot be kept or delivered is told past the store."""
        alarm = Alarm(self.engine.store, self.engine.project.config, self.engine.log)
        self.failures.unreadable(self.engine.store.unreadable())
        ask = lambda: alarm.tell(self.failures, self.now, whole=self.whole)  # noqa: E731
        begun = self.failures.attempt(Subject("telling of failures"), ask, None)
        hour = f"{self.now:%Y%m%dT%H}"
        stuck = begun is None or any(each.subject == _DELIVERING for each in self.failures.failed)
        if stuck and self.failures.failed and hour not in self.engine.shouted:
            engine = self.engine
            anybody = LastResort(engine.notifiers, engine.project.config.fallback, engine.log)
            if anybody.tell(unkept(self.failures.failed, self.now)):
                engine.shouted.add(hour)
        return begun or 0
