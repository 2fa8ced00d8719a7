"""One story under abuse: an app loses its approver in the middle, and the clock moves by what a tick really takes."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from tests.azurite.server import Azurite
from tests.conftest import ROOT
from tests.modes.place import CONFIG, MINUTE, SWITCH, TARGET
from tocsin.app import App, Parts, compose
from tocsin.core.container import engaged
from tocsin.local.world import ROLE, World
from tocsin.ports import Store, Telemetry
from tocsin.settings import Settings
from tocsin.stores import tables
from tocsin.stores.sqlite import SqliteStore
from tocsin.testing import Heard

START = datetime(2026, 11, 20, 3, tzinfo=UTC)
RULE = "hitl_misconfigured"
SHIPPED = ("rules/hitl_misconfigured.yaml", "remediations/stop_unsafe_tools.yaml")
"""The rule and the policy of the story, as they are shipped."""


class State(Protocol):
    """Where a story keeps its state."""

    name: str

    def store(self) -> Store:
        """Return the store, empty at first."""

    def size(self) -> tuple[int, int]:
        """Return how many rows it holds and about how many bytes."""

    def close(self) -> None:
        """Take it away."""


class OnSqlite:
    """A file."""

    name = "SQLite"

    def __init__(self, folder: Path) -> None:
        self._store = SqliteStore(folder / "state.sqlite")
        self._file = folder / "state.sqlite"

    def store(self) -> Store:
        """Return the store."""
        return self._store

    def size(self) -> tuple[int, int]:
        """Return rows of all tables, and the bytes of the file's pages."""
        import sqlite3

        with sqlite3.connect(self._file) as db:
            names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            rows = sum(int(db.execute(f"SELECT count(*) FROM {name}").fetchone()[0]) for name in names)
            pages, each = (int(db.execute(f"PRAGMA {what}").fetchone()[0]) for what in ("page_count", "page_size"))
        return rows, pages * each

    def close(self) -> None:
        """Close it."""
        self._store.close()


class OnAzurite:
    """Table Storage, as Azurite has it: a process of its own."""

    name = "Azurite"

    def __init__(self, folder: Path) -> None:
        self._server = Azurite(folder)
        self._store = tables.connect(self._server.connection)

    def store(self) -> Store:
        """Return the store."""
        return self._store

    def size(self) -> tuple[int, int]:
        """Return the entities, and the bytes of their properties."""
        entities = list(self._store._table.list_entities())
        return len(entities), sum(len(str(value).encode()) for each in entities for value in each.values())

    def close(self) -> None:
        """End the process."""
        self._store.close()
        self._server.stop()


STATES: Mapping[str, Callable[[Path], State]] = {"SQLite": OnSqlite, "Azurite": OnAzurite}


@dataclass(frozen=True)
class Abuse:
    """What is done to the watcher. ``share`` of everything is done, 1 in full.

    ``prepare`` is called once before the first tick, ``each`` before every tick; what they need is in the stage. The
    approver is taken away in minute ``lead``, and nobody ticks for ``gap`` minutes around then.
    """

    name: str
    words: str
    rules: Mapping[str, str] = field(default_factory=dict)
    receivers: str = ""
    to: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[Stage], None] = lambda stage: None
    each: Callable[[Stage, int], None] = lambda stage, minute: None
    telemetry: Callable[[Telemetry], Telemetry] | None = None
    store: Callable[[Store], Store] | None = None
    lead: int = 4
    tail: int = 12
    gap: int = 0
    half: bool = False
    """Whether half of everything is enough: several at once."""


NOTHING = Abuse("nothing", "the same story without abuse")


@dataclass
class Figures:
    """What one story came to. Times are since the approver was taken away, with what the tick itself took."""

    abuse: str
    state: str
    notified: timedelta | None = None
    engaged: timedelta | None = None
    ticks: int = 0
    worst: float = 0.0
    rows: int = 0
    size: int = 0
    seconds: float = 0.0
    failed: list[str] = field(default_factory=list)
    """What ticks raised: a tick that raises tells nothing more."""
    noted: dict[str, int] = field(default_factory=dict)
    """What else is counted: answers to what was posted."""


@dataclass
class Stage:
    """The world, the app that watches it, and how far the story is."""

    abuse: Abuse
    share: float
    world: World
    app: App
    figures: Figures
    burning: datetime | None = None

    @property
    def now(self) -> datetime:
        """The story's instant."""
        return self.world.clock.now()

    @property
    def store(self) -> Store:
        """The store as the app has it."""
        return self.app.engine.store

    def many(self, number: int) -> int:
        """Return the part of a number that is done."""
        return max(3, round(number * self.share * (0.5 if self.abuse.half else 1)))

    def play(self) -> None:
        """Let the story happen: a tick a minute, later where one took longer than that."""
        self.abuse.prepare(self)
        burns, ends = self.abuse.lead, self.abuse.lead + self.abuse.gap + self.abuse.tail
        minute = 0
        while minute < ends and not (minute > burns + self.abuse.gap + 1 and self._seen()):
            minute += 1
            self.abuse.each(self, minute)
            self._advance(burn=minute == burns)
            if burns <= minute < burns + self.abuse.gap:
                continue
            minute += int(self._tick() // 60)

    def _seen(self) -> bool:
        return self.figures.notified is not None and self.figures.engaged is not None and self.abuse.tail < 20

    def _advance(self, *, burn: bool) -> None:
        if burn:
            self.world.advance(self.now + MINUTE / 3)
            self.world.bypass_approver()
            self.burning = self.now
        self.world.advance(self.now.replace(second=0, microsecond=0) + MINUTE)

    def _tick(self) -> float:
        begun = time.monotonic()
        try:
            self.app.tick()
        except Exception as error:  # that it does is what is looked for here
            self.figures.failed.append(f"{type(error).__name__}: {error}"[:120])
        took = time.monotonic() - begun
        self.figures.ticks += 1
        self.figures.worst = max(self.figures.worst, took)
        self._look(timedelta(seconds=took))
        if took >= 60:  # what a tick takes is time that passes
            self.world.advance(self.now + timedelta(minutes=took // 60))
        return took

    def _look(self, took: timedelta) -> None:
        if self.burning is None:
            return
        after = self.now - self.burning + took
        if self.figures.notified is None and self._told():
            self.figures.notified = after
        if self.figures.engaged is None and engaged(self.world.template_env().get(SWITCH)):
            self.figures.engaged = after

    def _told(self) -> bool:
        incidents = (each.events for each in self.world.pagerduty.incidents)
        return any(RULE in json.dumps(each) for each in incidents)

    def emit(self, rows: list[dict[str, Any]]) -> None:
        """Let the accelerator's telemetry hold these rows, as of now."""
        whose = {"TimeGenerated": self.now, "AppRoleName": self.world.target().role_name, "SeverityLevel": 1}
        self.world.telemetry.load("AppTraces", [{**whose, **each} for each in rows])


def play(abuse: Abuse, state: str, share: float = 1.0) -> Figures:
    """Play a story on a store and return what it came to."""
    begun = time.monotonic()
    with TemporaryDirectory(prefix="tocsin-abuse-") as name, _staged(abuse, state, Path(name), share) as (stage, kept):
        stage.play()
        stage.figures.rows, stage.figures.size = kept.size()
    stage.figures.seconds = time.monotonic() - begun
    return stage.figures


@contextmanager
def _staged(abuse: Abuse, state: str, folder: Path, share: float) -> Iterator[tuple[Stage, State]]:
    kept = STATES[state](folder)
    try:
        with World(START) as world:
            world.arm.ready_after = timedelta()
            _write(abuse, folder)
            store = abuse.store(kept.store()) if abuse.store else kept.store()
            telemetry = abuse.telemetry(world.telemetry) if abuse.telemetry else None
            given = Settings(folder, {**world.settings(), **abuse.settings})
            app = compose(given, Parts(clock=world.clock, store=store, telemetry=telemetry, log=Heard()))
            assert not app.problems, [f"{each.path}:{each.line}: {each.message}" for each in app.problems]
            yield Stage(abuse, share, world, app, Figures(abuse.name, state)), kept
    finally:
        kept.close()


def _write(abuse: Abuse, folder: Path) -> None:
    for name in SHIPPED:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for name, text in abuse.rules.items():
        (folder / "rules" / f"{name}.yaml").write_text(text)
    watched = TARGET.format(name="sales-research", role=ROLE, app="sales-research-api")
    side = "    side_effect_tools: [crm_write_contact, send_email]\n    allow:"
    config = CONFIG.format(automation="act", targets=watched.replace("    allow:", side))
    names = ", ".join(("oncall", "team", *abuse.to))
    config = config.replace("to: [oncall, team]", f"to: [{names}]")
    (folder / "tocsin.yaml").write_text(config.replace("routes:", f"{abuse.receivers}routes:", 1))
