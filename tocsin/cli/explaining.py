"""``tocsin explain``: every reason about an alert, in the order in which things happen to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from itertools import groupby
from pathlib import Path

from tocsin.app import App
from tocsin.cli.examining import sighted
from tocsin.cli.output import Exit, Output, emit_json, say, stop
from tocsin.cli.project import load_app
from tocsin.cli.reasons import Known, Reason, Subject, reasons
from tocsin.core.alert import Alert, by_hash
from tocsin.core.group import Group
from tocsin.core.message import NEWS, Notice
from tocsin.core.read import NOT_REQUIRED
from tocsin.core.schedule import asleep, selects
from tocsin.core.sight import BUILT_IN
from tocsin.core.telling import key_of
from tocsin.diagnosing.wiring import blind, evidence
from tocsin.engine import standing
from tocsin.ports import StoreUnavailable


def run(name: str, root: Path | None, output: Output) -> None:
    """Explain every alert of that name; exit 2 when there is nothing of it, 3 when the state cannot be read."""
    app = load_app(root)
    try:
        known = look(app)
        found = [(each, [*reasons(each, known), *_unseen(each, app)]) for each in subjects(name, known)]
    except StoreUnavailable as error:
        stop(Exit.NO_ANSWER, str(error))
    told = [(subject.key, subject.episode, all_) for subject, all_ in found] or [(name, "", _calm(name, app))]
    if output is Output.JSON:
        emit_json([{"alert": k, "episode": e, "reasons": [asdict(each) for each in all_]} for k, e, all_ in told])
        return
    for key, episode, all_ in told:
        _show(episode or key, all_)


def look(app: App) -> Known:
    """Return everything the store and the files know, as of now. Raises ``StoreUnavailable``."""
    store, config, now = app.engine.store, app.engine.project.config, app.clock.now()
    groups = {name: each.value for name, each in store.kept(Group).items()}
    return Known(
        now=now,
        project=app.engine.project,
        audience=standing.audience(config),
        muting=standing.muting(config, store, groups.values(), now),
        acknowledged=standing.acknowledgements(store, now),
        groups=groups,
        alerts=tuple(store.open_alerts()),
        deliveries=tuple(sorted(store.deliveries(10_000), key=lambda each: (each.created, each.sequence, each.id))),
        executions=tuple(store.executions()),
    )


def subjects(name: str, known: Known) -> list[Subject]:
    """Return the alerts that an episode, ``rule/target`` or a rule names, each with its newest notice."""
    alerts = {_key(alert): alert for alert in known.alerts if _meant(name, alert)}
    notices: dict[str, Notice] = {}
    for notice in _notices(known):
        if name in (notice.episode, f"{notice.rule}/{notice.target}", notice.rule):
            notices[key_of(notice)] = notice
    found = [Subject(key, alerts.get(key), notices.get(key)) for key in dict.fromkeys((*alerts, *notices))]
    exact = [each for each in found if each.episode == name]
    return exact or found


def _notices(known: Known) -> Iterable[Notice]:
    """Yield what was told of single alerts, the newest last: a digest is about others, a receiver's copy is a copy."""
    yield from (each.notice for each in known.deliveries if each.receiver == NEWS)
    yield from (member.notice for each in known.groups.values() for member in each.members.values())


def _meant(name: str, alert: Alert) -> bool:
    return name in (alert.rule, f"{alert.rule}/{alert.target}", _key(alert)) or (
        bool(alert.episode) and name == alert.episode
    )


def _key(alert: Alert) -> str:
    return f"{alert.rule}/{alert.target}/{by_hash(alert.by)}"


def _calm(name: str, app: App) -> list[Reason]:
    """Return what is to be said of a rule of which nothing is stored: nothing is wrong, or nobody looked."""
    rule, _, target = name.partition("/")
    project = app.engine.project
    names, targets = [each.id for each in project.rules], [each.name for each in project.config.targets]
    if rule not in names or (target and target not in targets):
        stop(Exit.USAGE, f"nothing is known of '{name}'; rules: {', '.join(names)}; targets: {', '.join(targets)}")
    try:
        slots = {each: app.engine.store.mark(each).slots.get(rule) for each in ([target] if target else targets)}
        unjudged = [each for name in slots for each in _unjudged(rule, name, app)]
    except StoreUnavailable as error:
        stop(Exit.NO_ANSWER, str(error))
    calm = [Reason("state", each, _last(at)) for each, at in slots.items()]
    calm += unjudged
    if not calm:
        calm = [Reason("state", "", "never evaluated: no target is watched; `tocsin check` says why")]
    return [*calm, *(reason for each in slots for reason in _wiring(rule, each, app))]


def _unjudged(rule: str, target: str, app: App) -> Iterator[Reason]:
    """Yield why a rule of which nothing is stored may still not be calm: the watcher could not judge the target."""
    for alert in app.engine.store.open_alerts():
        about = dict(alert.by).get("rule", rule)
        if alert.target == target and about == rule and any(each.id == alert.rule for each in BUILT_IN):
            yield Reason("state", target, f"could not be judged: {alert.rule} is {alert.state.value}: {alert.reason}")


def _unseen(subject: Subject, app: App) -> Iterator[Reason]:
    """Yield why nothing was ever known of an alert, where that can be told."""
    if subject.alert is not None and subject.alert.known is None:
        yield from _wiring(subject.alert.rule, subject.alert.target, app)


def _wiring(rule: str, target: str, app: App) -> Iterator[Reason]:
    """Yield whether the rule can ever fire on the target: its telemetry is asked what it saw in 30 days."""
    project = app.engine.project
    watched = next((each for each in project.config.targets if each.name == target), None)
    written = next((each for each in project.rules if each.id == rule), None)
    if watched is None or written is None or not selects(written, watched):
        return
    exempt = written.enabled and not project.held_to(written, target).enabled
    if why := NOT_REQUIRED if exempt else asleep(written, app.clock.now()):
        yield Reason("rule", target, why)
        return
    signal, seen = app.engine.signals.get(written.when.signal or ""), sighted(app, watched, [written])
    lost = blind(written, signal, watched, seen)
    if lost is None:
        yield Reason("telemetry", target, evidence(written, signal, watched, seen))
    elif not lost.known:
        yield Reason("telemetry", target, f"whether it can ever fire is not known: {lost.why}")
    else:
        wire = f"; to wire it: {lost.how}" if lost.how else ""
        yield Reason("telemetry", target, f"it can never fire: {lost.why}{wire}")


def _last(at: datetime | None) -> str:
    return f"inactive; last evaluated for {at:%Y-%m-%d %H:%M} UTC" if at else "never evaluated"


def _show(title: str, found: list[Reason]) -> None:
    say(title)
    for step, some in groupby(found, key=lambda each: each.step):
        for number, each in enumerate(some):
            about = f"{each.about}: " if each.about else ""
            say(f"  {step if not number else '':<12}  {about}{each.says}")
