"""``tocsin tick`` and ``tocsin run``: what the timer does in Azure, on this machine."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import typer

from tocsin.app import App, Parts
from tocsin.cli.output import Exit, Output, console, emit_json, stop
from tocsin.cli.project import find_root, load_app
from tocsin.cli.timeline import Timeline
from tocsin.engine.tick import Ticked
from tocsin.ports import StoreUnavailable


def run_once(root: Path | None, output: Output) -> None:
    """Run one tick; exit 1 when there is nothing to watch, 3 when the state does not answer."""
    app = load_app(root)
    for problem in app.problems:
        typer.echo(f"{problem.path}:{problem.line}:{problem.column}: {problem.message}", err=True)
    if not app.engine.project.config.targets:
        stop(Exit.BAD_NEWS, "no target is watched; see `tocsin check`")
    ticked = _tick(app)
    if output is Output.JSON:
        emit_json(asdict(ticked))
    else:
        typer.echo(_words(ticked))


def _tick(app: App) -> Ticked:
    try:
        return app.tick()
    except StoreUnavailable as error:
        stop(Exit.NO_ANSWER, str(error))


def _words(ticked: Ticked) -> str:
    return (
        f"{ticked.slots} slots ({ticked.unknown} unknown), {ticked.changes} changes, "
        f"{ticked.delivered} messages accepted, {ticked.acted} actions advanced"
    )


def run_loop(root: Path | None, *, local: bool, every: float, speed: float, ticks: int, trace: Path | None) -> None:
    """Tick until interrupted or ``ticks`` are done; with ``local`` the world runs beside it."""
    if trace and not local:
        stop(Exit.USAGE, "--trace is the load of the local world: it needs --local")
    with ExitStack() as stack:
        if local:
            app, pause = _local(stack, find_root(root), speed, trace), every / speed
        else:
            app, pause = load_app(root), every
        try:
            _loop(app, pause, ticks)
        except KeyboardInterrupt:
            typer.echo("stopped; the state is kept and the next tick goes on", err=True)


def _loop(app: App, pause: float, ticks: int) -> None:
    done = 0
    while not ticks or done < ticks:
        begun = time.monotonic()
        typer.echo(f"{app.clock.now():%H:%M:%S}  {_words(_tick(app))}")
        done += 1
        if not ticks or done < ticks:
            time.sleep(max(0.0, pause - (time.monotonic() - begun)))


def _local(stack: ExitStack, root: Path, speed: float, trace: Path | None) -> App:
    """Return the app of this folder's rules over a simulated world that runs ``speed`` times as fast as the clock."""
    from tocsin.app import compose
    from tocsin.local.play import Witness
    from tocsin.local.world import World, live
    from tocsin.settings import Settings
    from tocsin.stores.sqlite import SqliteStore

    world = stack.enter_context(World(datetime.now(UTC), seed=7, trace=trace))
    clock = stack.enter_context(live(world, speed))
    timeline = Timeline(console(), clock.now())
    witness = Witness(clock.now, timeline.line)
    typer.echo(f"the local world answers at {world.url}; it runs {speed:g} times as fast as the clock")
    return compose(Settings(root, world.settings()), Parts(clock=clock, store=SqliteStore(":memory:"), log=witness))
