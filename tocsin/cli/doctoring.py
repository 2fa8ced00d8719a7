"""``tocsin doctor``: everything the watcher depends on, tried for real, with what to do about each thing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import typer

from tocsin.app import App
from tocsin.cli import project
from tocsin.cli.examining import Place, examine
from tocsin.cli.output import Exit, Output, console, emit_json, stop
from tocsin.cli.project import find_root, load_settings
from tocsin.diagnosing.finding import Finding, State, bad, counted
from tocsin.settings import Settings

_STYLE = {State.OK: "green", State.WARNING: "yellow", State.ERROR: "red", State.UNKNOWN: "magenta"}


def run(root: Path | None, target: str, output: Output) -> None:
    """Show every finding; exit 1 when one is an error, 2 for a target there is not, 3 when something is unknown."""
    found = _found(root, target)
    if output is Output.JSON:
        emit_json({"counts": counted(found), "findings": [each.as_dict() for each in found]})
    else:
        _show(found)
    if any(each.state is State.ERROR for each in found):
        raise typer.Exit(int(Exit.BAD_NEWS.value))
    if any(each.state is State.UNKNOWN for each in found):
        raise typer.Exit(int(Exit.NO_ANSWER.value))


def _found(root: Path | None, target: str) -> list[Finding]:
    """Return every finding; of an app that cannot even be composed, why: that is what one comes here for."""
    try:
        place = place_of(root, target)
    except typer.Exit:
        raise
    except Exception as error:
        words = f"the app cannot be composed: {type(error).__name__}: {error}"
        return [bad("settings", "all", State.ERROR, "setting-malformed", words)]
    return look(place)


def composed(root: Path | None) -> tuple[App, Settings]:
    """Return the app of the folder, and the settings it was composed from."""
    given = load_settings(find_root(root))
    return project.composed(given), given


def place_of(root: Path | None, target: str) -> Place:
    """Return what is looked over: all targets, or the one named; exit 2 when there is none of that name."""
    app, given = composed(root)
    targets = app.engine.project.config.targets
    chosen = [each for each in targets if target in ("", each.name)]
    if target and not chosen:
        stop(Exit.USAGE, f"no target '{target}'; known: {', '.join(each.name for each in targets) or 'none'}")
    return Place(app, given, chosen)


def look(place: Place) -> list[Finding]:
    """Return every finding, saying on a terminal what is looked at."""
    screen = console(stderr=True)
    with screen.status("") as status:
        return examine(place, lambda name: status.update(f"looking at {name} …"))


def _show(found: Sequence[Finding]) -> None:
    screen = console(soft_wrap=True)
    for (name, do), some in groupby(found, key=lambda each: (each.id, each.do)):
        for each in some:
            head = f"{each.state.value:<8} {each.check:<12}"
            screen.print(f"{head} {each.about}: {each.seen}", style=_STYLE[each.state], markup=False)
        if do:
            screen.print(f"{'':<8} {'':<12} → {do} [{name}]", markup=False)
    counts = ", ".join(f"{count} {name}" for name, count in counted(found).items() if count)
    screen.print(counts, markup=False)
