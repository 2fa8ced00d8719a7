"""One tick: evaluate, tell, act, tell what was done, beat. Timer, events and people all come through here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tocsin.core.compile import Part
from tocsin.core.config import Target
from tocsin.core.read import Project
from tocsin.core.signal import Signal
from tocsin.engine.acting import Actor
from tocsin.engine.asking import Asker
from tocsin.engine.evaluating import Evaluated, Evaluator
from tocsin.engine.notifying import Courier
from tocsin.engine.retiring import Retirer
from tocsin.engine.verifying import Verifier
from tocsin.ports import Actuator, Configuration, Log, Notifier, Store, StoreUnavailable, Telemetry


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
    guilty: set[Part] = field(default_factory=set)
    """Parts of queries that failed alone in this process: a hint, no state."""

    def tick(self, now: datetime, only: Sequence[str] | None = None) -> Ticked:
        """Run one tick at ``now``, over all targets or ``only`` the named ones. Raises ``StoreUnavailable``.

        The order is fixed: state is saved before anyone is told, an intent recorded before anything is done, and the
        heartbeat written last.
        """
        targets = [each for each in self.project.config.targets if only is None or each.name in only]
        courier = Courier(self.store, self.notifiers, self.project.config, self.log)
        evaluated = self._evaluate(targets, now)
        Retirer(self.project, self.store, self.log).retire(now)
        delivered = courier.deliver(now)
        acted = self._actor().act(now, targets)
        delivered += courier.deliver(now)
        self.store.beat(now)
        ticked = Ticked(evaluated.slots, evaluated.unknown, len(evaluated.changes), delivered, acted)
        self.log.info("tick", now=now, slots=ticked.slots, unknown=ticked.unknown, delivered=delivered, acted=acted)
        return ticked

    def _evaluate(self, targets: Sequence[Target], now: datetime) -> Evaluated:
        asker = Asker(self.telemetry, self.log, self.project.config.budgets.queries_at_once, self.guilty)
        evaluator = Evaluator(
            self.project, self.signals, self.store, self.telemetry, self.configuration, self.log, asker
        )
        total = Evaluated()
        for target in targets:
            try:
                total = total + evaluator.evaluate(target, now)
            except StoreUnavailable:
                raise
            except Exception as error:  # one target's failure must not blind the others
                self.log.error("target failed", target=target.name, error=repr(error)[:200])
        return total

    def _actor(self) -> Actor:
        verifier = Verifier(self.configuration, self.telemetry, self.signals)
        return Actor(self.project, self.store, self.actuators, verifier, self.log, self.owner)
