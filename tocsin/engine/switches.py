"""Which switches are engaged, as the store knows it, and what has become of them in the world."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from tocsin.core import container, hold
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.audit import Record
from tocsin.core.config import Target
from tocsin.core.container import SCOPES, WHOLE, App
from tocsin.core.gauge import Reading
from tocsin.core.hold import Engaged, Standing
from tocsin.core.unreadable import Unreadable
from tocsin.ports import Configuration, Conflict, Store

BY_HAND = "person (by hand)"
"""Who released a switch outside of Tocsin: nobody knows the name."""


def engaged(store: Store, configuration: Configuration, target: Target, scope: str, by: str, now: datetime) -> None:
    """Remember that a switch was seen engaged, so that it is missed when it goes. One that stands is left alone."""
    app = configuration.read(target)
    if isinstance(app, NoAnswer):
        return
    found = Engaged(target.name, scope, by, now, hold.runs(app.template, target, SCOPES[scope]))
    with suppress(Conflict):
        store.keep(Engaged, found.key, found, None)


def stopped(store: Store, target: Target, by: str, now: datetime) -> None:
    """Remember that the whole app was seen stopped, so that somebody hears when it runs again."""
    found = Engaged(target.name, WHOLE, by, now, "")
    with suppress(Conflict):
        store.keep(Engaged, found.key, found, None)


def stopped_by(store: Store, target: Target) -> str:
    """Return by whom and since when the whole app is stopped, or an empty text where nobody has stopped it."""
    kept = store.kept(Engaged).get(f"{target.name}/{WHOLE}")
    return f"the app is stopped, by {kept.value.by} since {kept.value.at:%Y-%m-%d %H:%M} UTC" if kept else ""


def released(store: Store, target: Target, scope: str) -> None:
    """Forget a switch that a person releases: that it goes is no drift."""
    key = f"{target.name}/{scope}"
    kept = store.kept(Engaged).get(key)
    if kept is not None:
        with suppress(Conflict):
            store.keep(Engaged, key, None, kept.etag)


def look_for_releases(store: Store, configuration: Configuration, target: Target, now: datetime) -> int:
    """Record each switch of the target that a person released by hand: that person's word holds off every policy."""
    mine = [each.value for each in store.kept(Engaged).values() if each.value.target == target.name]
    app = configuration.read(target) if mine else None
    if app is None or isinstance(app, NoAnswer):
        return 0
    judged = [(each, *hold.judge(each, app, target)) for each in mine]
    for each, standing, _ in judged:
        if standing is Standing.HELD and each.scope != WHOLE:
            _deployed(store, each, app, target)
    by_hand = [(each, words) for each, standing, words in judged if standing is Standing.RELEASED]
    for each, words in by_hand:
        detail = {"scope": each.scope, "detail": words, "engaged by": each.by, "engaged": each.at.isoformat()}
        store.record(None, [Record(now, BY_HAND, "release seen", target.name, "killswitch", detail)])
        released(store, target, each.scope)
    return len(by_hand)


def _deployed(store: Store, since: Engaged, app: App, target: Target) -> None:
    """Remember what was deployed under the switch: a release by hand is told by what it leaves as it was."""
    now_runs = hold.runs(app.template, target, SCOPES[since.scope])
    kept = store.kept(Engaged).get(since.key)
    if now_runs == since.runs or kept is None or not container.engaged(app.env.get(SCOPES[since.scope])):
        return
    with suppress(Conflict):
        store.keep(Engaged, since.key, replace(since, runs=now_runs), kept.etag)


@dataclass(frozen=True, slots=True)
class Switches:
    """Reads how the switches of a target stand: ``drifted`` holds 1 for each that was engaged and has gone.

    ``engaged`` holds 1 for each that is on wherever requests go or is about to be, whoever engaged it.
    """

    store: Store
    configuration: Configuration

    def read(self, target: Target, reading: str, start: datetime, end: datetime) -> Sequence[Reading] | NoAnswer:  # noqa: ARG002
        """Return both for every switch there is; no readings where there is no app."""
        if not target.container_app:
            return []
        app = self.configuration.read(target)
        if isinstance(app, NoAnswer):
            return app
        if not app.serving:
            return NoAnswer(Why.MISSING, app.silence)
        readings = [
            Reading(
                "engaged",
                float(any(container.engaged(each.env.get(SCOPES[scope])) for each in app.serving)),
                {"scope": scope},
            )
            for scope in SCOPES
        ]
        kept = {
            each.value.scope: each.value
            for each in self.store.kept(Engaged).values()
            if each.value.target == target.name
        }
        lost = [each for each in self.store.unreadable() if each.what == Engaged.__name__]
        scopes = [*SCOPES, *([WHOLE] if WHOLE in kept else [])]
        drifts = [_drift(kept.get(scope), scope, app, target) for scope in scopes]
        return [*readings, *(_unless_lost(each, lost, target) for each in drifts)]


def _unless_lost(drift: Reading, lost: Sequence[Unreadable], target: Target) -> Reading:
    """Return the reading; whether a switch was engaged is not known where its row cannot be read."""
    found = next((each for each in lost if each.stands_for(f"{target.name}/{drift.labels['scope']}")), None)
    return replace(drift, value=None, why=str(found)) if found else drift


def _drift(since: Engaged | None, scope: str, app: App, target: Target) -> Reading:
    labels = {"scope": scope}
    if since is None:
        return Reading("drifted", 0.0, labels)
    standing, words = hold.judge(since, app, target)
    if standing is Standing.UNSURE:
        return Reading("drifted", None, labels, why=words)
    return Reading("drifted", float(standing is Standing.DRIFTED), labels, detail=words)
