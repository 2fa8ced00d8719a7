"""The parts of the app, each made from the settings: which adapter stands for which port.

Belongs here: choosing and connecting one part. Does not belong here: putting them together (``tocsin.app``).
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from tocsin import notifiers, settings
from tocsin.actuators.connections import Connections
from tocsin.connections import github
from tocsin.connections.arm import ContainerApps
from tocsin.connections.http import Http
from tocsin.connections.identity import bearer, credential
from tocsin.connections.metrics import Metrics
from tocsin.connections.queues import look
from tocsin.core.errors import Problem
from tocsin.core.read import Project
from tocsin.engine.counting import SILENT
from tocsin.ports import Clock, Configuration, Log, Meter, Mirror, Notifier, Store, Tally, Telemetry, WorkQueue
from tocsin.settings import Settings
from tocsin.telemetry.metrics import ContainerAppMetrics
from tocsin.telemetry.probes import ApproverProbe, HttpProbes
from tocsin.telemetry.queues import QueueDepths

if TYPE_CHECKING:
    from tocsin.tokens import Signed


def store_of(given: Settings) -> Store:
    """Return where state is kept: Table storage where its setting is set, else a file."""
    where = given.get("TOCSIN_TABLES")
    if where:
        from tocsin.stores import tables

        return tables.connect(where, given.get("TOCSIN_ACTUATOR_CLIENT_ID"))
    from tocsin.stores.sqlite import SqliteStore

    given.state_file.parent.mkdir(parents=True, exist_ok=True)
    return SqliteStore(given.state_file)


def mirror_of(given: Settings) -> tuple[Mirror | None, list[Problem]]:
    """Return the audit's copy, or why there is none though somebody wants one: watching goes on without it."""
    where = given.get("TOCSIN_AUDIT")
    if not where:
        return None, []
    try:
        from tocsin.stores import mirror

        return mirror.connect(where, given.root, given.get("TOCSIN_ACTUATOR_CLIENT_ID")), []
    except (ImportError, ValueError) as error:  # its words could hold the connection string
        reason = f"TOCSIN_AUDIT cannot be used ({type(error).__name__}): the audit is not copied"
        return None, [Problem(settings.PATH, 1, 1, "no-audit-copy", reason)]


def links_of(given: Settings) -> Signed | None:
    """Return what signs the links in messages, or None where links are not set up."""
    secret, base = given.get("TOCSIN_LINK_SECRET"), given.get("TOCSIN_PUBLIC_URL")
    if not secret or not base or settings.link_problems(given):
        return None
    from tocsin.tokens import Signed

    return Signed(secret, base)


def queue_of(given: Settings) -> WorkQueue | None:
    """Return the work queue, or None where a tick does all of it itself."""
    where = given.get("TOCSIN_QUEUES")
    if not where:
        return None
    from tocsin.connections.queues import work

    return work(where, given.get("TOCSIN_ACTUATOR_CLIENT_ID"))


def telemetry_of(given: Settings, project: Project) -> Telemetry:
    """Return the workspaces, asked with the identity that reads."""
    from tocsin.telemetry.log_analytics import LogAnalyticsTelemetry

    endpoint = given.get("TOCSIN_LOG_ANALYTICS_ENDPOINT")
    identity = credential(given.get("TOCSIN_READER_CLIENT_ID"), given.get("TOCSIN_STATIC_TOKEN"), endpoint)
    budgets = project.config.budgets
    return LogAnalyticsTelemetry(
        identity, endpoint, at_once=budgets.queries_at_once, per_minute=budgets.queries_per_minute
    )


def apps_of(given: Settings, client_id: str) -> ContainerApps:
    """Return the Container Apps as one identity sees them: what reads cannot write, what writes does nothing else."""
    endpoint = given.get("TOCSIN_ARM_ENDPOINT")
    return ContainerApps(credential(given.get(client_id), given.get("TOCSIN_STATIC_TOKEN"), endpoint), endpoint)


def connections_of(given: Settings, http: Http) -> Connections:
    """Return what actions reach the world through, all with the one identity that may change things."""
    client, endpoint = given.get("TOCSIN_ACTUATOR_CLIENT_ID"), given.get("TOCSIN_ARM_ENDPOINT")
    token = partial(bearer, credential(client, given.get("TOCSIN_STATIC_TOKEN"), endpoint))
    apps, where = apps_of(given, "TOCSIN_ACTUATOR_CLIENT_ID"), given.get("TOCSIN_GITHUB_ENDPOINT") or github.ENDPOINT
    return Connections(apps, http, given.secret, where, token)


def meters_of(given: Settings, configuration: Configuration, clock: Clock) -> dict[str, Meter]:
    """Return what reads numbers from elsewhere than the workspaces, by the name that signals use."""
    client, endpoint = given.get("TOCSIN_READER_CLIENT_ID"), given.get("TOCSIN_ARM_ENDPOINT")
    identity = credential(client, given.get("TOCSIN_STATIC_TOKEN"), endpoint)
    metrics = Metrics(apps_of(given, "TOCSIN_READER_CLIENT_ID"))
    return {
        "metrics": ContainerAppMetrics(metrics),
        "queues": QueueDepths(partial(look, identity), metrics, clock.now),
        "probes": HttpProbes(clock.now),
        "approver": ApproverProbe(configuration),
    }


def notifiers_of(project: Project, given: Settings, http: Http) -> tuple[dict[str, Notifier], list[Problem]]:
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


def tally_of(given: Settings, project: Project) -> tuple[Tally, list[Problem]]:
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


def log_of() -> Log:
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
