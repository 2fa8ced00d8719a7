"""The composition root: settings and files become one engine, on first use and never at import."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tocsin import __version__, actuators, files, notifiers, settings, signals
from tocsin.connections import event_grid
from tocsin.connections.http import Http
from tocsin.core.copying import Mirrored
from tocsin.core.crosscheck import Known
from tocsin.core.errors import Problem
from tocsin.core.event import Event
from tocsin.core.instance import shown
from tocsin.core.message import NEWS, Delivery, Settled
from tocsin.core.native import Native
from tocsin.core.sight import BUILT_IN
from tocsin.engine.counting import CountedTelemetry, counted
from tocsin.engine.react import Concern, concern, enter, look, react, take
from tocsin.engine.releasing import Gate
from tocsin.engine.tick import Engine, Ticked
from tocsin.engine.unstored import LastResort, Outage
from tocsin.evaluations import Sources
from tocsin.parts import (
    apps_of,
    connections_of,
    links_of,
    log_of,
    meters_of,
    mirror_of,
    notifiers_of,
    queue_of,
    store_of,
    tally_of,
    telemetry_of,
)
from tocsin.ports import (
    NO_EVALUATIONS,
    Clock,
    Configuration,
    Evaluations,
    Log,
    Store,
    StoreUnavailable,
    Telemetry,
    no_links,
)
from tocsin.settings import Settings
from tocsin.signing_in import NOBODY, Approvers, approvers
from tocsin.telemetry.container_app import ContainerAppConfiguration

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
    approvers: Approvers = NOBODY
    outage: Outage = field(default_factory=Outage)
    """What this process has seen of a store that does not answer."""
    started: datetime | None = None
    """When this was composed."""

    @property
    def gate(self) -> Gate:
        """What a release of a killswitch by a person has to pass."""
        return Gate(self.engine.project, self.engine.store, self.engine.configuration, self.evaluations)

    def tick(self) -> Ticked:
        """Run one tick now. Raises ``StoreUnavailable``, of which the fallback is told when it lasts."""
        return counted(self.engine.tally, "timer", self._ticked)

    def _ticked(self) -> Ticked:
        now, engine = self.clock.now(), self.engine
        anybody = LastResort(engine.notifiers, engine.project.config.fallback, engine.log)
        try:
            ticked = engine.tick(now)
        except StoreUnavailable as error:
            self.outage.lasts(anybody, str(error), now)
            raise
        self.outage.over(anybody, now)
        return ticked

    def react(self, given: Mapping[str, Any]) -> Ticked | None:
        """Evaluate what an EventGridEvent or a CloudEvent concerns, now."""
        event = self._read(given)
        return counted(
            self.engine.tally, "event", lambda: react(self.engine, event, self.clock.now()) if event else None
        )

    def concern(self, given: Mapping[str, Any]) -> Concern | None:
        """Return what an event asks to be looked at, if anything; ``look`` does so, for many events at once."""
        event = self._read(given)
        return concern(self.engine, event, self.clock.now()) if event else None

    def _read(self, given: Mapping[str, Any]) -> Event | None:
        try:
            return event_grid.read(given)
        except ValueError as error:
            self.engine.log.info("event ignored", type="", id="", why=str(error))
            return None

    def look(self, concerns: Sequence[Concern]) -> Ticked:
        """Evaluate what these events concern, in one tick."""
        return counted(self.engine.tally, "event", lambda: look(self.engine, concerns, self.clock.now()))

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
            beat, failed = store.last_beat(), store.last_failed()
            blind = [each for each in store.open_alerts() if each.rule in {rule.id for rule in BUILT_IN} and each.open]
            untold = undelivered(store.deliveries(1_000), now - _REMEMBERED)
            found += self._uncopied()
        except StoreUnavailable as error:
            return _health("broken", [*found, str(error)], None)
        stopped = self._stopped(beat, now)
        found = [*([stopped] if stopped else []), *found]
        found += [f"the last tick failed at {each}" for each in failed]
        found += [f"{each.target}: {' '.join([*shown(each.by).values(), each.reason])}" for each in blind]
        found += [f"nobody was told within a day: {each}" for each in untold]
        if not self.engine.project.config.targets:
            return _health("broken", [*found, "no target is watched"], beat)
        return _health("broken" if self._silent(beat, now) else "degraded" if found else "ok", found, beat)

    def pulse(self) -> dict[str, Any]:
        """Return what anybody may know: whether Tocsin watches, and when the last tick ended. Reads one row."""
        try:
            beat, failed = self.engine.store.last_beat(), self.engine.store.last_failed()
        except StoreUnavailable:
            return {"status": "broken", "last_tick": None}
        broken = self._silent(beat, self.clock.now()) or not self.engine.project.config.targets
        status = "broken" if broken else "degraded" if failed or self.problems else "ok"
        return {"status": status, "last_tick": beat.isoformat() if beat else None}

    def _silent(self, beat: datetime | None, now: datetime) -> bool:
        """Return whether no tick has ended for too long; before the first, since this process began."""
        return abs(now - (beat or self.started or now)) > STALE

    def _stopped(self, beat: datetime | None, now: datetime) -> str:
        if beat is None:
            return "no tick has ended yet"
        return f"the last tick ended {now - beat} ago, at {beat.isoformat()}" if self._silent(beat, now) else ""

    def _uncopied(self) -> list[str]:
        """Return what somebody was told of the audit's copy."""
        mirror = self.engine.mirror
        kept = self.engine.store.kept(Mirrored).get(mirror.name) if mirror else None
        trouble = kept.value.trouble if kept else None
        return [f"the audit is not copied: {trouble.words}"] if trouble and trouble.told else []


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
    results: Path | None = None
    """The folder that those of eval results are relative to."""


def compose(given: Settings, parts: Parts | None = None) -> App:
    """Return the app for these settings. Bad files or receivers never raise: they stand in ``problems``."""
    parts = parts or Parts()
    project = files.read_project(given.root, given.values, known())
    log = parts.log or log_of()
    http = Http()
    receivers, unusable = notifiers_of(project, given, http)
    clock = parts.clock or SystemClock()
    configuration = parts.configuration or ContainerAppConfiguration(apps_of(given, "TOCSIN_READER_CLIENT_ID"))
    tally, untold = tally_of(given, project)
    links = links_of(given)
    mirror, unmirrored = mirror_of(given)
    telemetry = CountedTelemetry(parts.telemetry or telemetry_of(given, project), tally)
    engine = Engine(
        project=project,
        signals=signals.known(),
        store=parts.store or store_of(given),
        telemetry=telemetry,
        configuration=configuration,
        notifiers=receivers,
        actuators=actuators.made(connections_of(given, http)),
        log=log,
        owner=f"{socket.gethostname()}/{os.getpid()}",
        meters=meters_of(given, configuration, clock),
        queue=queue_of(given),
        tally=tally,
        links=links or no_links,
        mirror=mirror,
        takes=actuators.known(),
    )
    problems = (*project.problems, *settings.problems(given), *unusable, *untold, *unmirrored)
    sources = Sources(parts.results or given.root, http, given.secret, telemetry, given.get("TOCSIN_GITHUB_ENDPOINT"))
    allowed = approvers(given.values, given.get("TOCSIN_APPROVERS"))
    return App(engine, clock, problems, links, sources, allowed, started=clock.now())


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


def pulse() -> dict[str, Any]:
    """Return what anybody may know of the app's health; nothing of why it cannot be composed."""
    try:
        return current().pulse()
    except Exception:  # said with a key
        return {"status": "broken", "last_tick": None}
