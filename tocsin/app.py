"""The composition root: settings and files become one engine, on first use and never at import."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from tocsin import __version__, actuators, files, settings, signals
from tocsin.connections.http import Http
from tocsin.core.errors import Problem
from tocsin.engine.react import react
from tocsin.engine.tick import Engine, Ticked
from tocsin.ports import Clock, Configuration, Log, Store, StoreUnavailable, Telemetry
from tocsin.settings import Settings

STALE = timedelta(minutes=5)
"""A watcher whose last tick is older than this is not watching."""


class SystemClock:
    """The machine's clock, in UTC."""

    def now(self) -> datetime:
        """Return the present instant."""
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class App:
    """Everything composed: what the faces call. ``problems`` are those of the files, the settings and the receivers."""

    engine: Engine
    clock: Clock
    problems: tuple[Problem, ...] = ()

    def tick(self) -> Ticked:
        """Run one tick now."""
        return self.engine.tick(self.clock.now())

    def react(self, event: Mapping[str, Any]) -> Ticked | None:
        """Evaluate what an event concerns, now."""
        return react(self.engine, event, self.clock.now())

    def health(self) -> dict[str, Any]:
        """Return whether Tocsin watches, and if not, which file, setting or part is the reason."""
        now, found = self.clock.now(), [f"{each.path}:{each.line}: {each.message}" for each in self.problems]
        try:
            beat = self.engine.store.last_beat()
        except StoreUnavailable as error:
            return _health("broken", [*found, str(error)], None)
        if beat is None or now - beat > STALE:
            found.append("no tick has ended yet" if beat is None else f"the last tick ended {now - beat} ago")
        if not self.engine.project.config.targets:
            return _health("broken", [*found, "no target is watched"], beat)
        return _health("degraded" if found else "ok", found, beat)


def _health(status: str, problems: list[str], beat: datetime | None) -> dict[str, Any]:
    last = beat.isoformat() if beat else None
    return {"status": status, "version": __version__, "last_tick": last, "problems": problems}


@dataclass(frozen=True, slots=True)
class Parts:
    """Stand-ins for single parts; whatever is None is composed from the settings."""

    clock: Clock | None = None
    store: Store | None = None
    telemetry: Telemetry | None = None
    configuration: Configuration | None = None
    log: Log | None = None


def compose(given: Settings, parts: Parts = Parts()) -> App:
    """Return the app for these settings. Bad files or receivers never raise: they stand in ``problems``."""
    project = files.read_project(given.root, given.values)
    log = parts.log or _log()
    http = Http()
    reading, acting = _arm(given, "TOCSIN_READER_CLIENT_ID"), _arm(given, "TOCSIN_ACTUATOR_CLIENT_ID")
    receivers, unusable = _notifiers(project, given, http)
    engine = Engine(
        project=project,
        signals=signals.known(),
        store=parts.store or _store(given),
        telemetry=parts.telemetry or _telemetry(given, project),
        configuration=parts.configuration or reading,
        notifiers=receivers,
        actuators=actuators.made(acting),
        log=log,
        owner=f"{socket.gethostname()}/{os.getpid()}",
    )
    problems = (*project.problems, *settings.problems(given), *unusable)
    return App(engine, parts.clock or SystemClock(), problems)


def environment() -> Settings:
    """Return the settings of this process; the app's folder is the one that holds ``function_app.py``."""
    root = Path(os.environ.get("AzureWebJobsScriptRoot") or Path(__file__).resolve().parent.parent)
    return Settings(root, dict(os.environ))


@cache
def current() -> App:
    """Return this process's app, composed on first use."""
    return compose(environment())


def health() -> dict[str, Any]:
    """Return the app's health; when it cannot even be composed, why."""
    try:
        return current().health()
    except Exception as error:  # whatever it is, the one page that must answer is this one
        return _health("broken", [f"composition failed: {type(error).__name__}: {error}"[:500]], None)


def _store(given: Settings) -> Store:
    from tocsin.stores.sqlite import SqliteStore

    given.state_file.parent.mkdir(parents=True, exist_ok=True)
    return SqliteStore(given.state_file)
