"""``tocsin ack``: a person takes an episode on, and everybody who was told of it hears who has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path

from tocsin.app import App
from tocsin.cli.author import author
from tocsin.cli.output import Exit, Output, emit_json, say, stop
from tocsin.cli.project import load_app
from tocsin.core import meant, units
from tocsin.core.ack import Acknowledgement
from tocsin.core.alert import Alert, by_hash
from tocsin.core.errors import did_you_mean
from tocsin.core.text import scrub
from tocsin.engine import personal
from tocsin.ports import Conflict, StoreUnavailable


def run(name: str, *, for_: str, by: str, comment: str, root: Path | None, output: Output) -> None:
    """Acknowledge; exit 2 when the name is of no open alert or of several, 3 when the state does not answer."""
    length, app, who = duration(for_), load_app(root), author(by)
    now = app.clock.now()
    try:
        episode = _meant(name, app)
        wanted = Acknowledgement(episode, who.name, now, now + length, comment)
        given = personal.acknowledge(app.engine.store, wanted, who)
    except LookupError as error:
        stop(Exit.USAGE, str(error.args[0]))
    except (StoreUnavailable, Conflict) as error:
        stop(Exit.NO_ANSWER, f"nothing was acknowledged: {error}")
    if output is Output.JSON:
        emit_json(asdict(given))
    else:
        say(f"{episode}: {given.by} has it until {given.until:%Y-%m-%d %H:%M} UTC; the next tick tells the others")


def _meant(name: str, app: App) -> str:
    """Return the episode of the one open alert that ``name`` means. Raises ``StoreUnavailable``."""
    alerts = [each for each in app.engine.store.open_alerts() if each.open]
    found = [each for each in alerts if name in (each.episode, handle(each), f"{each.rule}/{each.target}")]
    if len(found) == 1:
        return found[0].episode
    if found:
        stop(Exit.USAGE, f"'{scrub(name, 200)}' is {len(found)} open alerts; say which:\n{_listed(found)}")
    return stop(Exit.USAGE, f"no open alert is named '{scrub(name, 200)}'{_suggested(name, alerts)}")


def handle(alert: Alert) -> str:
    """Return the shortest name that means this alert alone while it is open: rule, target and what tells it apart."""
    return f"{alert.rule}/{alert.target}" + (f"/{by_hash(alert.by)}" if alert.by else "")


def _suggested(name: str, alerts: Sequence[Alert]) -> str:
    if not alerts:
        return "; no alert is open"
    handles = {handle(each): each for each in alerts}
    near = get_close_matches(name, handles, _MOST, 0.5) or [each for each in handles if name in each.split("/")]
    if near:
        return f"; did you mean:\n{_listed([handles[each] for each in near[:_MOST]])}"
    return f"; open:\n{_listed(alerts)}"


def _listed(alerts: Sequence[Alert]) -> str:
    lines = [f"  tocsin ack {handle(each)}  {_apart(each)}".rstrip() for each in alerts[:_MOST]]
    more = [f"  and {len(alerts) - _MOST} more; see `tocsin alerts`"] if len(alerts) > _MOST else []
    return "\n".join([*lines, *more])


def _apart(alert: Alert) -> str:
    return scrub(", ".join(f"{name}={value}" for name, value in alert.by))


_MOST = 10
"""Alerts that are listed where a name means several, or none."""


def duration(text: str) -> timedelta:
    """Return a positive length of time; exit 2 for anything else."""
    try:
        found = units.duration(text)
    except ValueError as error:
        near = did_you_mean(meant.duration(text[:100]))
        stop(Exit.USAGE, f"--for: {error}{near and f'; {near}'}")
    return found or stop(Exit.USAGE, "--for: 0s is no time at all")
