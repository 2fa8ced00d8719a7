"""Two engines at once on one store, their steps taken in an order drawn by lot: every order gives the same outcome."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.stage import MINUTE, MISCONFIGURED, SWITCH, T0, Platform, Receiver, project
from tocsin import signals
from tocsin.core.answer import Query, Rows
from tocsin.core.audit import broken
from tocsin.core.config import Target
from tocsin.engine.tick import Engine
from tocsin.ports import Store
from tocsin.testing import Heard

MINUTES = 12


class Lots:
    """Lets one of those who wait take its next step, drawn by lot once all who live are waiting."""

    def __init__(self, seed: int) -> None:
        self._chance, self._all = random.Random(seed), threading.Condition()
        self._living: set[str] = set()
        self._waiting: set[str] = set()
        self._turn = ""

    def begin(self, names: list[str]) -> None:
        """Say who takes part from now on."""
        self._living = set(names)

    def step(self, me: str) -> None:
        """Wait for the next turn."""
        with self._all:
            self._waiting.add(me)
            self._draw()
            if not self._all.wait_for(lambda: self._turn == me, timeout=30):
                raise TimeoutError(f"{me} was never drawn")
            self._waiting.discard(me)
            self._turn = ""

    def end(self, me: str) -> None:
        """Take part no longer."""
        with self._all:
            self._living.discard(me)
            self._draw()

    def _draw(self) -> None:
        if not self._turn and self._waiting and self._waiting == self._living:
            self._turn = self._chance.choice(sorted(self._waiting))
            self._all.notify_all()


class Stepped:
    """Anything whose every call waits for its owner's turn."""

    def __init__(self, inner: Any, step: Callable[[], None]) -> None:
        self._inner, self._step = inner, step

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def stepped(*args: Any, **kwargs: Any) -> Any:
            self._step()
            return method(*args, **kwargs)

        return stepped


class Steady:
    """Telemetry of a target that is alive and well; the app's configuration tells what is wrong."""

    def ask(self, query: Query, target: Target) -> Rows:
        if "minute = bin" in query.text:
            return Rows(("minute", "events", "lag"), tuple((query.end - MINUTE * n, 1, 0.0) for n in range(1, 17)))
        return Rows((), ())


@dataclass
class Outcome:
    """What the world saw."""

    pages: list[str] = field(default_factory=list)
    changes: int = 0
    phases: list[str] = field(default_factory=list)
    chain: str | None = None
    refused: int = 0


def play(seed: int, stores: Callable[[], Store]) -> Outcome:
    """Play an incident with two engines that tick at the same instants, interleaved by ``seed``."""
    lots, log = Lots(seed), Heard()
    receiver, platform = Receiver(lambda what: None), Platform(lambda what: None, {})
    engines = {name: _engine(name, stores(), receiver, platform, lots, log) for name in ("one", "two")}
    for minute in range(MINUTES):
        lots.begin(list(engines))
        failed: list[BaseException] = []
        threads = [
            threading.Thread(target=_tick, args=(name, engine, T0 + minute * MINUTE, lots, failed))
            for name, engine in engines.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        if failed:
            raise failed[0]
    store = stores()
    pages = [f"{notice.episode} {notice.kind.value}" for notice in receiver.got if notice.kind.value == "fired"]
    phases = [each.phase.value for each in store.executions()]
    return Outcome(pages, platform.changes, phases, broken(store.audit()), len(log.named("target failed")))


def _tick(name: str, engine: Engine, now: datetime, lots: Lots, failed: list[BaseException]) -> None:
    try:
        engine.tick(now)
    except BaseException as error:
        failed.append(error)
    finally:
        lots.end(name)


def _engine(name: str, store: Store, receiver: Receiver, platform: Platform, lots: Lots, log: Heard) -> Engine:
    def step() -> None:
        lots.step(name)

    stepped: Any = Stepped(platform, step)
    return Engine(
        project=project(MISCONFIGURED),
        signals=signals.known(),
        store=Stepped(store, step),  # type: ignore[arg-type]
        telemetry=Steady(),
        configuration=stepped,
        notifiers={"oncall": Stepped(receiver, step), "team": Receiver(lambda what: None)},  # type: ignore[dict-item]
        actuators={"killswitch.engage": stepped},
        log=log,
        owner=name,
    )


def engaged(platform: Platform) -> bool:
    """Return whether the switch is on."""
    return platform.env.get(SWITCH) == "on"
