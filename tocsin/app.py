"""The composition root: settings and files become one engine, on first use and never at import."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tocsin import __version__, actuators, files, notifiers, settings, signals
from tocsin.connections.arm import ContainerApps
from tocsin.connections.http import Http
from tocsin.connections.identity import credential
from tocsin.connections.metrics import Metrics
from tocsin.connections.queues import look
from tocsin.core.crosscheck import Known
from tocsin.core.errors import Problem
from tocsin.core.message import NEWS, Delivery, Settled
from tocsin.core.native import Native
from tocsin.core.read import Project
from tocsin.core.sight import BUILT_IN
from tocsin.engine.counting import SILENT, CountedTelemetry, counted
from tocsin.engine.react import enter, react, take
from tocsin.engine.releasing import Gate
from tocsin.engine.tick import Engine, Ticked
from tocsin.evaluations import Sources
from tocsin.ports import (
    NO_EVALUATIONS,
    Clock,
    Configuration,
    Evaluations,
    Log,
    Meter,
    Notifier,
    Store,
    StoreUnavailable,
    Tally,
    Telemetry,
    WorkQueue,
    no_links,
)
from tocsin.settings import Settings
from tocsin.telemetry.container_app import ContainerAppConfiguration, Whereabouts
from tocsin.telemetry.metrics import ContainerAppMetrics
from tocsin.telemetry.probes import ApproverProbe, HttpProbes
from tocsin.telemetry.queues import QueueDepths

if TYPE_CHECKING:
    from tocsin.tokens import Signed

STALE = timedelta(minutes=5)
"""A watcher whose last tick is older than this is not watching."""


class SystemClock:
    """The machine's clock, in UTC."""

    def now(self) -> datetime:
        """Return the present instant."""
        return datetime.now(UTC)


_REMEMBERED = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class App:
    """Everything composed: what the faces call. ``problems`` are those of the files, the settings and the receivers."""

    engine: Engine
    clock: Clock
    problems: tuple[Problem, ...] = ()
    links: Signed | None = None
    """What signs the links in messages; None where there are none."""
    evaluations: Evaluations = NO_EVALUATIONS

    @property
    def gate(self) -> Gate:
        """What a release of a killswitch by a person has to pass."""
        return Gate(self.engine.project, self.engine.store, self.engine.configuration, self.evaluations)

    def tick(self) -> Ticked:
        """Run one tick now."""
        return counted(self.engine.tally, "timer", lambda: self.engine.tick(self.clock.now()))

    def react(self, event: Mapping[str, Any]) -> Ticked | None:
        """Evaluate what an event concerns, now."""
        return counted(self.engine.tally, "event", lambda: react(self.engine, event, self.clock.now()))

    def take(self, native: Native) -> Ticked | None:
        """Enter an alert of Azure Monitor's own, and tell and act at once."""
        return counted(self.engine.tally, "alert", lambda: take(self.engine, native, self.clock.now()))

    def enter(self, native: Native) -> bool:
        """Enter an alert of Azure Monitor's own, and leave the rest to the next tick; return whether it was taken."""
        return bool(enter(self.engine, native, self.clock.now()))

    def work(self, message: str) -> Ticked | None:
        """Evaluate a target that a tick handed out, now."""
        return counted(self.engine.tally, "work", lambda: self.engine.work(message, self.clock.now()))

    def given_up(self, message: str) -> None:
        """Tell of work that failed again and again."""
        self.engine.given_up(message, self.clock.now())

    def health(self) -> dict[str, Any]:
        """Return whether Tocsin watches, and if not, which file, setting or part is the reason."""
        now, found = self.clock.now(), [f"{each.path}:{each.line}: {each.message}" for each in self.problems]
        store = self.engine.store
        try:
            beat = store.last_beat()
            blind = [each for each in store.open_alerts() if each.rule in {rule.id for rule in BUILT_IN} and each.open]
            untold = undelivered(store.deliveries(1_000), now - _REMEMBERED)
        except StoreUnavailable as error:
            return _health("broken", [*found, str(error)], None)
        if beat is None or abs(now - beat) > STALE:
            found.append("no tick has ended yet" if beat is None else f"the last tick ended {now - beat} ago")
        found += [f"{each.target}: {' '.join([*dict(each.by).values(), each.reason])}" for each in blind]
        found += [f"nobody was told within a day: {each}" for each in untold]
        if not self.engine.project.config.targets:
            return _health("broken", [*found, "no target is watched"], beat)
        return _health("degraded" if found else "ok", found, beat)


def undelivered(deliveries: Sequence[Delivery], since: datetime) -> list[str]:
    """Return the notices that were given up since then and reached nobody at all."""
    told = {each.notice.id for each in deliveries if each.state is not Settled.DEAD and each.receiver != NEWS}
    dead = (each for each in deliveries if each.state is Settled.DEAD and (each.settled or each.created) >= since)
    return sorted({each.notice.id for each in dead} - told)


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


def compose(given: Settings, parts: Parts | None = None) -> App:
    """Return the app for these settings. Bad files or receivers never raise: they stand in ``problems``."""
    parts = parts or Parts()
    project = files.read_project(given.root, given.values, known())
    log = parts.log or _log()
    http = Http()
    receivers, unusable = _notifiers(project, given, http)
    clock = parts.clock or SystemClock()
    configuration = parts.configuration or ContainerAppConfiguration(_apps(given, "TOCSIN_READER_CLIENT_ID"))
    tally, untold = _tally(given, project)
    links = _links(given)
    telemetry = CountedTelemetry(parts.telemetry or _telemetry(given, project), tally)
    engine = Engine(
        project=project,
        signals=signals.known(),
        store=parts.store or _store(given),
        telemetry=telemetry,
        configuration=configuration,
        notifiers=receivers,
        actuators=actuators.made(_apps(given, "TOCSIN_ACTUATOR_CLIENT_ID")),
        log=log,
        owner=f"{socket.gethostname()}/{os.getpid()}",
        meters=_meters(given, configuration, clock),
        queue=_queue(given),
        tally=tally,
        links=links or no_links,
    )
    problems = (*project.problems, *settings.problems(given), *unusable, *untold)
    sources = Sources(given.root, http, given.secret, telemetry, given.get("TOCSIN_GITHUB_ENDPOINT"))
    return App(engine, clock, problems, links, sources)


def known() -> Known:
    """Return the names an operator may use: signals, receiver types and actions, each from its folder's listing."""
    types = {kind: notifiers.options(kind) for kind in notifiers.known()}
    return Known(signals.known(), types, actuators.known())


def environment() -> Settings:
    """Return the settings of this process; the app's folder is the one that holds ``function_app.py``."""
    root = Path(os.environ.get("AzureWebJobsScriptRoot") or Path(__file__).resolve().parent.parent)  # noqa: SIM112
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
    where = given.get("TOCSIN_TABLES")
    if where:
        from tocsin.stores import tables

        return tables.connect(where, given.get("TOCSIN_ACTUATOR_CLIENT_ID"))
    from tocsin.stores.sqlite import SqliteStore

    given.state_file.parent.mkdir(parents=True, exist_ok=True)
    return SqliteStore(given.state_file)


def _links(given: Settings) -> Signed | None:
    secret, base = given.get("TOCSIN_LINK_SECRET"), given.get("TOCSIN_PUBLIC_URL")
    if not secret or not base or settings.link_problems(given):
        return None
    from tocsin.tokens import Signed

    return Signed(secret, base)


def _queue(given: Settings) -> WorkQueue | None:
    where = given.get("TOCSIN_QUEUES")
    if not where:
        return None
    from tocsin.connections.queues import work

    return work(where, given.get("TOCSIN_ACTUATOR_CLIENT_ID"))


def _telemetry(given: Settings, project: Project) -> Telemetry:
    from tocsin.telemetry.log_analytics import LogAnalyticsTelemetry

    endpoint = given.get("TOCSIN_LOG_ANALYTICS_ENDPOINT")
    identity = credential(given.get("TOCSIN_READER_CLIENT_ID"), given.get("TOCSIN_STATIC_TOKEN"), endpoint)
    budgets = project.config.budgets
    return LogAnalyticsTelemetry(
        identity, endpoint, at_once=budgets.queries_at_once, per_minute=budgets.queries_per_minute
    )


def _apps(given: Settings, client_id: str) -> ContainerApps:
    """Return the Container Apps as one identity sees them: what reads cannot write, what writes does nothing else."""
    endpoint = given.get("TOCSIN_ARM_ENDPOINT")
    return ContainerApps(credential(given.get(client_id), given.get("TOCSIN_STATIC_TOKEN"), endpoint), endpoint)


def _meters(given: Settings, configuration: Configuration, clock: Clock) -> dict[str, Meter]:
    endpoint = given.get("TOCSIN_METRICS_ENDPOINT")
    identity = credential(
        given.get("TOCSIN_READER_CLIENT_ID"),
        given.get("TOCSIN_STATIC_TOKEN"),
        endpoint or given.get("TOCSIN_ARM_ENDPOINT"),
    )
    metrics, region = Metrics(identity, endpoint), Whereabouts(configuration)
    return {
        "metrics": ContainerAppMetrics(metrics, region),
        "queues": QueueDepths(partial(look, identity), metrics, region, clock.now),
        "probes": HttpProbes(clock.now),
        "approver": ApproverProbe(configuration),
    }


def _notifiers(project: Project, given: Settings, http: Http) -> tuple[dict[str, Notifier], list[Problem]]:
    """Return the receivers that can be used, and a problem for each that cannot: one bad receiver silences no other."""
    made: dict[str, Notifier] = {}
    unusable: list[Problem] = []
    for name, receiver in project.config.receivers.items():
        try:
            made[name] = notifiers.make(receiver.type, receiver.options, given.secret, http)
        except (LookupError, ValueError, ImportError) as error:
            reason = f"receiver '{name}' cannot be used: {error}"
            unusable.append(Problem("tocsin.yaml", 1, 1, "unusable-receiver", reason))
    return made, unusable


def _tally(given: Settings, project: Project) -> tuple[Tally, list[Problem]]:
    """Return what takes the watcher's own counts and log, or a tally that keeps nothing and why it must be that one."""
    connection, role = given.get("APPLICATIONINSIGHTS_CONNECTION_STRING"), given.get("TOCSIN_ROLE_NAME") or ""
    if not connection:
        return SILENT, []
    if role in {target.role_name for target in project.config.targets}:
        reason = f"TOCSIN_ROLE_NAME is '{role}', as a watched target's role_name: the watcher would see itself there"
        return SILENT, [Problem(settings.PATH, 1, 1, "own-role-name", reason)]
    try:
        from tocsin.telemetry import own

        return own.connect(connection, role), []
    except Exception as error:  # whatever it is, watching goes on; its words could hold the connection string
        reason = f"APPLICATIONINSIGHTS_CONNECTION_STRING cannot be used: {type(error).__name__}"
        return SILENT, [Problem(settings.PATH, 1, 1, "no-own-telemetry", reason)]


def _log() -> Log:
    """Return a log of one JSON object a line, through the standard library, which the Functions host exports."""
    import structlog

    processors: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.JSONRenderer(default=str),
    ]
    wrapped = structlog.wrap_logger(
        logging.getLogger("tocsin"), processors=processors, wrapper_class=structlog.stdlib.BoundLogger
    )
    return cast(Log, wrapped)
