"""Looking a watcher over, through the connections it works with: what is read here, ``tocsin.diagnosing`` judges.

Nothing is changed but one row of the store, which is written, read back and taken out again.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

from tocsin.app import App, known
from tocsin.connections.http import Http, Unreached
from tocsin.connections.identity import bearer, credential
from tocsin.core import container
from tocsin.core.answer import NoAnswer, Rows, Why
from tocsin.core.config import Target
from tocsin.core.copying import Mirrored
from tocsin.core.gauge import Reading
from tocsin.core.heartbeat import Ailing
from tocsin.core.message import Delivery
from tocsin.core.rule import Rule
from tocsin.core.schedule import asleep
from tocsin.diagnosing import access, running, telemetry, wiring
from tocsin.diagnosing.finding import Finding, State, bad
from tocsin.diagnosing.wiring import Sighted
from tocsin.parts import apps_of
from tocsin.ports import Conflict, Diverged, MirrorUnavailable, StoreUnavailable
from tocsin.settings import KNOWN, Settings, default

_LOGS, _ARM = "https://api.loganalytics.io", "https://management.azure.com"
_SECRETS = frozenset(
    {
        "APPLICATIONINSIGHTS_CONNECTION_STRING",
        "TOCSIN_AUDIT",
        "TOCSIN_LINK_SECRET",
        "TOCSIN_QUEUES",
        "TOCSIN_STATIC_TOKEN",
        "TOCSIN_TABLES",
    }
)
"""Settings that hold a secret, or a connection string with one."""

_ALWAYS = "killswitch.engage"
"""What a person must be able to do on every target, whatever its policies may."""

_RECENT = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Trial:
    """The row that is written to prove that rows can be."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """What is looked over: an app, the settings it was composed from, and these of its targets."""

    app: App
    settings: Settings
    targets: Sequence[Target]

    @property
    def now(self) -> datetime:
        """The present instant."""
        return self.app.clock.now()


def examine(place: Place, begins: Callable[[str], object] = str) -> list[Finding]:
    """Return every finding, in the order in which one would look. ``begins`` is told what is looked at."""
    parts: list[tuple[str, Callable[[], Iterable[Finding]]]] = [
        ("settings", lambda: access.settings(_given(place))),
        ("identities", lambda: _tokens(place.settings)),
        *((f"target {each.name}", lambda target=each: _target(place, target)) for each in place.targets),
        ("store", lambda: _store(place)),
        ("receivers", lambda: _receivers(place)),
        ("schedule", lambda: _schedule(place)),
        ("clock", lambda: [_clock(place)]),
    ]
    found: list[Finding] = []
    with _unlogged():
        for name, look in parts:
            begins(name)
            found += _isolated(name, look)
    return found


@contextmanager
def _unlogged() -> Iterator[None]:
    """Keep Azure's libraries from logging to the terminal what the findings say in fewer words."""
    log = logging.getLogger("azure")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def _isolated(name: str, look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """Return what was found. What breaks in one look is no reason to look at nothing else."""
    found: list[Finding] = []
    try:
        found.extend(look())
    except Exception as error:
        found.append(Finding(name, "all", State.UNKNOWN, f"the look itself failed: {type(error).__name__}"))
    return found


# Settings and identities


def _given(place: Place) -> access.Given:
    settings = place.settings
    path = settings.root / "tocsin.yaml"
    needed, secret = access.named(path.read_text(encoding="utf-8", errors="replace") if path.is_file() else "")
    present = {name for name in {*KNOWN, *needed} if settings.values.get(name, "").strip()}
    needed = {name for name in needed if default(name) is None}
    reader, actuator = settings.get("TOCSIN_READER_CLIENT_ID"), settings.get("TOCSIN_ACTUATOR_CLIENT_ID")
    return access.Given(
        present,
        needed,
        len(place.app.engine.project.config.targets),
        secret | _SECRETS,
        place.app.problems,
        settings.get("TICK_SCHEDULE") or "",
        bool(settings.get("TOCSIN_STATIC_TOKEN")) or reader != actuator,
    )


def _tokens(given: Settings) -> Iterator[Finding]:
    """Yield whether each identity gets a token for each service that it is used on."""
    wanted = (
        ("the reader", "TOCSIN_READER_CLIENT_ID", _LOGS, "TOCSIN_LOG_ANALYTICS_ENDPOINT"),
        ("the reader", "TOCSIN_READER_CLIENT_ID", _ARM, "TOCSIN_ARM_ENDPOINT"),
        ("the actuator", "TOCSIN_ACTUATOR_CLIENT_ID", _ARM, "TOCSIN_ARM_ENDPOINT"),
    )
    for who, setting, service, endpoint in wanted:
        yield access.token(who, service, _token(given, setting, service, given.get(endpoint) or service))


def _token(given: Settings, setting: str, service: str, endpoint: str) -> str | NoAnswer:
    if given.get("TOCSIN_STATIC_TOKEN"):
        return "a fixed token, for a stand-in on this machine"
    client = given.get(setting)
    found = bearer(credential(client, None, endpoint), f"{service}/.default", endpoint)
    if isinstance(found, NoAnswer):
        return found
    return f"a token of the managed identity {client}" if client else "a token of whoever is signed in here"


# One target


def _target(place: Place, target: Target) -> Iterator[Finding]:
    now, engine = place.now, place.app.engine
    held = [engine.project.held_to(rule, target.name) for rule in engine.project.rules]
    rules = wiring.watching(held, target, now)
    events = engine.telemetry.ask(wiring.events_query(target, now), target)
    yield access.workspace(target, events)
    seen = Sighted(unread=f"{events.why.value}") if isinstance(events, NoAnswer) else Sighted()
    if not isinstance(events, NoAnswer):
        found = _tables(place, target, wiring.tables_of(rules, engine.signals))
        yield from telemetry.tables(target, found, _lags(place, target, found), now)
        seen = wiring.sighted(target, events, found)
    read, readings = engine.configuration.read(target), _readings(place.app, target, rules)
    seen = replace(seen, unanswered=_unanswered(target, read, readings))
    yield from telemetry.never_firing(target, rules, engine.signals, seen)
    awake = [rule for rule in held if not asleep(rule, now)]
    yield from telemetry.left_out(target, awake, (each for each in engine.project.policies if each.enabled))
    yield from _app(place, target, read)
    for meter, found_ in readings.items():
        yield access.gauge(target, meter, found_)


_Readings = Mapping[str, Sequence[Reading] | NoAnswer]


def _readings(app: App, target: Target, rules: Sequence[Rule]) -> _Readings:
    """Return what the meters that rules read say of a target, by meter; the approver is asked apart."""
    now, engine = app.clock.now(), app.engine
    wanted = wiring.meters_of(rules, engine.signals).items()
    return {
        meter: engine.meters[meter].read(target, reading, now - _RECENT, now)
        for meter, reading in wanted
        if meter != "approver" and _has(target, meter)
    }


def _unanswered(target: Target, read: container.App | NoAnswer, readings: _Readings) -> dict[str, str]:
    """Return what could not be read, and why: a rule that needs it is not said to see anything."""
    found = {meter: each.why.value for meter, each in readings.items() if isinstance(each, NoAnswer)}
    for meter, each in readings.items():
        if not isinstance(each, NoAnswer) and each and all(one.value is None for one in each):
            found[meter] = each[0].why
    if isinstance(read, NoAnswer) and target.container_app:
        found |= dict.fromkeys((wiring.CONFIGURATION, "switches", "approver"), read.why.value)
    return found


def sighted(app: App, target: Target, rules: Sequence[Rule]) -> Sighted:
    """Return what a target emitted of late, as far as these rules need to know."""
    now = app.clock.now()
    with _unlogged():
        events = app.engine.telemetry.ask(wiring.events_query(target, now), target)
        tables = () if isinstance(events, NoAnswer) else wiring.tables_of(rules, app.engine.signals)
        found = {table: app.engine.telemetry.ask(wiring.table_query(table, now), target) for table in tables}
        missing = _unanswered(target, app.engine.configuration.read(target), _readings(app, target, rules))
    return replace(wiring.sighted(target, events, found), unanswered=missing)


def _tables(place: Place, target: Target, names: Sequence[str]) -> dict[str, Rows | NoAnswer]:
    ask = place.app.engine.telemetry.ask
    return {table: ask(wiring.table_query(table, place.now), target) for table in names}


def _lags(place: Place, target: Target, tables: dict[str, Rows | NoAnswer]) -> dict[str, float | None]:
    """Return how late a day's rows came, by table; of one that holds none it is not asked."""
    found: dict[str, float | None] = {}
    for table, answer in tables.items():
        if isinstance(answer, Rows) and answer.rows:
            said = place.app.engine.telemetry.ask(wiring.lag_query(table, target, place.now), target)
            rows = said.dicts() if isinstance(said, Rows) else []
            found[table] = rows[0]["lag"] if rows and rows[0]["events"] else None
    return found


def _has(target: Target, meter: str) -> bool:
    """Return whether the target names anything that the meter could read."""
    return bool({"metrics": target.container_app, "queues": target.queues, "probes": target.probes}.get(meter))


def _app(place: Place, target: Target, read: container.App | NoAnswer) -> Iterator[Finding]:
    engine, now = place.app.engine, place.now
    yield from access.app(target, read)
    asked = engine.meters["approver"].read(target, "unreachable", now, now)
    yield running.approver(target, read, asked, now)
    if target.container_app:
        actions = known().actions
        needs = [need for name in (_ALWAYS, *target.allow) if name in actions for need in actions[name].needs]
        acts = apps_of(place.settings, "TOCSIN_ACTUATOR_CLIENT_ID").permissions(target)
        yield access.acting(target, needs, acts)
        if _given(place).identities_differ and not place.settings.get("TOCSIN_STATIC_TOKEN"):
            yield access.reading(target, apps_of(place.settings, "TOCSIN_READER_CLIENT_ID").permissions(target))


# What the watcher keeps, and where


def _store(place: Place) -> Iterator[Finding]:
    tables = place.settings.get("TOCSIN_TABLES")
    yield access.store("Table storage" if tables else f"the file {place.settings.state_file}", _tried(place))
    yield _copied(place)
    queue = place.app.engine.queue
    if queue is not None:
        yield access.queue("the work queue", queue.waiting())


def _tried(place: Place) -> str:
    """Write a row, read it back and take it out again; return what went wrong."""
    store, key, row = place.app.engine.store, f"doctor-{secrets.token_hex(4)}", Trial(place.now)
    try:
        store.keep(Trial, key, row, None)
        kept = store.kept(Trial).get(key)
        if kept is None or kept.value != row:
            return "what was written could not be read back"
        store.keep(Trial, key, None, kept.etag)
    except (StoreUnavailable, Conflict) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _copied(place: Place) -> Finding:
    mirror, store = place.app.engine.mirror, place.app.engine.store
    if mirror is None:
        return access.copy("", "", 0)
    try:
        place_, newest = mirror.tail(), store.audit_end()
        kept = store.kept(Mirrored).get(mirror.name)
    except (MirrorUnavailable, Diverged, StoreUnavailable) as error:
        return access.copy(mirror.name, f"{type(error).__name__}: {error}", 0)
    trouble = kept.value.trouble.words if kept and kept.value.trouble else ""
    return access.copy(mirror.name, trouble, newest - place_.end.sequence)


def _receivers(place: Place) -> Iterator[Finding]:
    engine = place.app.engine
    try:
        history, ailing = history_of(place.app), engine.store.kept(Ailing)
    except StoreUnavailable as error:
        yield bad("receivers", "all", State.UNKNOWN, "receivers-unknown", str(error))
        return
    failing = {name: each.value for name, each in ailing.items()}
    yield from running.receivers(engine.project.config, unusable(place.app), history, failing, place.now)
    somebody = place.app.approvers.trusted and bool(place.app.approvers.names)
    yield from running.approvals(engine.project.policies, engine.project.config, somebody)


def history_of(app: App) -> list[Delivery]:
    """Return what was sent to whom in thirty days, newest first. Raises ``StoreUnavailable``."""
    return app.engine.store.deliveries(running.MOST)


def unusable(app: App) -> dict[str, str]:
    """Return the receivers that cannot be used, and why."""
    said = [each.message for each in app.problems if each.id == "unusable-receiver"]
    names = app.engine.project.config.receivers
    return {name: each for name in names for each in said if f"receiver '{name}'" in each}


# The schedule and the clock


def _schedule(place: Place) -> list[Finding]:
    schedule, store = place.settings.get("TICK_SCHEDULE") or "", place.app.engine.store
    try:
        return [running.ticking(schedule, store.last_beat(), place.now), *running.failed(store.last_failed())]
    except StoreUnavailable as error:
        return [bad("schedule", "tick", State.UNKNOWN, "receivers-unknown", str(error))]


def _clock(place: Place) -> Finding:
    """Compare this clock with what a service says in the head of its answer, whatever else it answers."""
    service = place.settings.get("TOCSIN_LOG_ANALYTICS_ENDPOINT") or _LOGS
    before, http = place.now, Http()
    try:
        answer = http.fetch("GET", service, largest=0, within=10)
    finally:
        http.close()
    now = before + (place.now - before) / 2
    if isinstance(answer, Unreached):
        return running.clock("Log Analytics", None, now, f"{Why.UNREACHABLE.value}: {answer.reason}")
    return running.clock("Log Analytics", _told(answer.headers.get("date", "")), now)


def _told(text: str) -> datetime | None:
    try:
        told = parsedate_to_datetime(text)
    except ValueError:
        return None
    return told if told.tzinfo else None
