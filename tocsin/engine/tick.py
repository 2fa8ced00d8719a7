"""One tick: evaluate, tell, act, tell what was done, beat. Timer, events and people all come through here."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tocsin.core import native as natives
from tocsin.core.compile import Part
from tocsin.core.config import Target
from tocsin.core.native import Native
from tocsin.core.read import Project
from tocsin.core.schedule import newest_slot
from tocsin.core.sight import UNEVALUATED, Reached
from tocsin.core.signal import Signal
from tocsin.engine.acting import Actor
from tocsin.engine.asking import Asker
from tocsin.engine.counting import SILENT
from tocsin.engine.evaluating import Evaluated, Evaluator
from tocsin.engine.expiring import record_expiries
from tocsin.engine.fanning import FanOut, is_about, named
from tocsin.engine.measuring import Measurer
from tocsin.engine.mirroring import Mirroring
from tocsin.engine.notifying import Courier
from tocsin.engine.reporting import Reporter
from tocsin.engine.retiring import Retirer
from tocsin.engine.switches import Switches
from tocsin.engine.telling import Teller
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

EVALUATE_WITHIN = 120.0
"""Seconds after which no further target is begun, so that the tick still tells and acts before the host ends it."""

EXPIRIES_EVERY = 5
"""Minutes between two looks for silences and acknowledgements that have ended: the audit alone waits for it."""

_TARGETS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Ticked:
    """What one tick did: slots evaluated, of which unknown; alerts changed; messages accepted; executions advanced."""

    slots: int
    unknown: int
    changes: int
    delivered: int
    acted: int


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
    events: dict[str, None] = field(default_factory=dict)
    """Events that this process has looked at, oldest first: a hint, no state."""
    tally: Tally = SILENT
    links: Links = no_links
    mirror: Mirror | None = None
    """The copy of the audit; None where the store alone keeps it."""

    def tick(self, now: datetime, only: Sequence[str] | None = None, *, evaluate: bool = True) -> Ticked:
        """Run one tick at ``now``, over all targets or ``only`` the named ones. Raises ``StoreUnavailable``.

        Without ``evaluate`` nothing is measured: what is known already is told and acted on.

        The order is fixed: state is saved before anyone is told, an intent recorded before anything is done, and the
        heartbeat written last.
        """
        begun = time.monotonic()

        def elapsed() -> timedelta:
            return timedelta(seconds=time.monotonic() - begun)

        targets = [each for each in self.project.config.targets if only is None or each.name in only]
        courier = Courier(self.store, self.notifiers, self.project.config, self.log, self.tally)
        teller = Teller(self.project, self.store, self.notifiers, self.log, self.links)

        def deliver() -> int:
            teller.tell(now)
            return courier.deliver(now)

        delivered = courier.deliver(now)
        share = self._own_share(targets, now) if only is None else targets
        evaluated = self._evaluate(share if evaluate else [], now)
        if only is None:
            Retirer(self.project, self.store, self.log).retire(now)
            self._expire(now)
            Receivers(self.store, self.project.config, self.log, now).beat()
        delivered += deliver()
        acted = self._actor(elapsed).act(now, targets)
        delivered += deliver()
        if self.mirror is not None:
            Mirroring(self.store, self.mirror, self.log).copy(now)
        if only is None and not now.minute:
            self.store.sweep(now)
            teller.tidy(now)
        if only is None and not now.minute % EXPIRIES_EVERY:
            record_expiries(self.store, now)
        if only is None:  # an event's tick says nothing of the timer's
            self.store.beat(now)
        ticked = Ticked(evaluated.slots, evaluated.unknown, len(evaluated.changes), delivered, acted)
        self.log.info("tick", now=now, slots=ticked.slots, unknown=ticked.unknown, delivered=delivered, acted=acted)
        return ticked

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
        self._evaluator().enter(UNEVALUATED, Reached(failed=True), (slot,), target, now)

    def enter(self, native: Native, target: Target, now: datetime) -> None:
        """Enter an alert of Azure Monitor's own. Raises ``StoreUnavailable`` when it could not be kept."""
        if not self._evaluator().enter(native.rule, native, native.slots, target, now):
            raise StoreUnavailable("an alert of Azure Monitor could not be entered")

    def _expire(self, now: datetime) -> None:
        """End what nothing is reported of any more. One that cannot be kept now is tried again in the next tick."""
        targets = {each.name: each for each in self.project.config.targets}
        slot = now.replace(microsecond=0)
        for alert, over in natives.ended(self.store.open_alerts(), now):
            rule = next(each for each in natives.NATIVE if each.id == alert.rule)
            self._evaluator().enter(rule, over, (slot,), targets.get(alert.target, natives.UNWATCHED), now)

    def _own_share(self, targets: Sequence[Target], now: datetime) -> list[Target]:
        return FanOut(self.project, self.store, self.queue, self.log).inline(targets, now)

    def _evaluator(self) -> Evaluator:
        asker = Asker(self.telemetry, self.log, self.project.config.budgets.queries_at_once, self.guilty)
        measurer = Measurer(self.signals, self.telemetry, asker, self.log)
        return Evaluator(
            self.project,
            self.signals,
            self.store,
            self.configuration,
            self.log,
            measurer,
            {**self.meters, "switches": Switches(self.store, self.configuration)},
            self.tally,
        )

    def _evaluate(self, targets: Sequence[Target], now: datetime) -> Evaluated:
        evaluator = self._evaluator()
        ends = time.monotonic() + EVALUATE_WITHIN

        def evaluate(target: Target) -> Evaluated:
            if time.monotonic() > ends:
                self.log.error("target left to the next tick", target=target.name)
                return Evaluated()
            try:
                return evaluator.evaluate(target, now)
            except StoreUnavailable:
                raise
            except Exception as error:  # one target's failure must not blind the others
                self.log.error("target failed", target=target.name, error=repr(error)[:200])
                self._failed(target, now)
                return Evaluated()

        # Another target begins each minute, so that the same ones are not always those left over.
        first = int(now.timestamp() // 60) % max(1, len(targets))
        with ThreadPoolExecutor(min(_TARGETS_AT_ONCE, max(1, len(targets)))) as pool:
            return sum(pool.map(evaluate, [*targets[first:], *targets[:first]]), Evaluated())

    @property
    def reporter(self) -> Reporter:
        """What saves and tells of executions, for what a person decides."""
        return Reporter(self.project, self.store, self.signals, self.log, self.tally)

    def _actor(self, elapsed: Callable[[], timedelta]) -> Actor:
        verifier = Verifier(self.configuration, self.telemetry, self.signals)
        # Each tick is an owner of its own: a timer and an event may run at once in one process.
        owner = f"{self.owner}/{secrets.token_hex(4)}"
        return Actor(self.project, self.store, self.actuators, verifier, self.log, owner, elapsed, self.tally)
