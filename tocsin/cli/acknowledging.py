"""``tocsin ack``: a person takes an episode on, and everybody who was told of it hears who has it."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import typer

from tocsin.app import App
from tocsin.cli.output import Exit, Output, emit_json, stop
from tocsin.cli.project import load_app
from tocsin.core import units
from tocsin.core.ack import Acknowledgement
from tocsin.engine import personal
from tocsin.ports import Conflict, StoreUnavailable


def run(episode: str, *, for_: str, by: str, comment: str, root: Path | None, output: Output) -> None:
    """Acknowledge; exit 2 when no such episode is open, 3 when the state does not answer."""
    length, app = duration(for_), load_app(root)
    now = app.clock.now()
    try:
        wanted = Acknowledgement(episode, by or getpass.getuser(), now, now + length, comment)
        given = personal.acknowledge(app.engine.store, wanted)
    except LookupError as error:
        stop(Exit.USAGE, f"{error.args[0]}; open: {', '.join(_open(app)) or 'none'}")
    except (StoreUnavailable, Conflict) as error:
        stop(Exit.NO_ANSWER, f"nothing was acknowledged: {error}")
    if output is Output.JSON:
        emit_json(asdict(given))
    else:
        typer.echo(
            f"{episode}: {given.by} has it until {given.until:%Y-%m-%d %H:%M} UTC; the next tick tells the others"
        )


def duration(text: str) -> timedelta:
    """Return a positive length of time; exit 2 for anything else."""
    try:
        found = units.duration(text)
    except ValueError as error:
        stop(Exit.USAGE, f"--for: {error}")
    return found or stop(Exit.USAGE, "--for: 0s is no time at all")


def _open(app: App) -> list[str]:
    try:
        return [each.episode for each in app.engine.store.open_alerts() if each.open]
    except StoreUnavailable:
        return []
