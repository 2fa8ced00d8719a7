"""``tocsin tick`` and ``tocsin run``: what the timer does in Azure, on this machine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory

from tocsin.app import App, Parts, compose
from tocsin.cli.output import Exit, Output, console, emit_json, say, stop
from tocsin.cli.project import find_root, load_app
from tocsin.cli.timeline import Timeline
from tocsin.engine.tick import Ticked
from tocsin.ports import StoreUnavailable
from tocsin.settings import Settings


def run_once(root: Path | None, output: Output) -> None:
    """Run one tick; exit 1 when there is nothing to watch, 3 when the state does not answer."""
    app = load_app(root)
    for problem in app.problems:
        say(f"{problem.path}:{problem.line}:{problem.column}: {problem.message}", err=True)
    if not app.engine.project.config.targets:
        stop(Exit.BAD_NEWS, "no target is watched; see `tocsin check`")
    ticked = _tick(app)
    if output is Output.JSON:
        emit_json(asdict(ticked))
    else:
        say(_words(ticked))


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


@dataclass(frozen=True, slots=True)
class Practice:
    """How the local world runs: how fast, with which load, and where its settings are written besides."""

    speed: float
    trace: Path | None = None
    env: Path | None = None


def run_loop(root: Path | None, *, local: Practice | None, every: float, ticks: int) -> None:
    """Tick until interrupted or ``ticks`` are done; with ``local`` the world runs beside it."""
    with ExitStack() as stack:
        if local:
            app, pause = _local(stack, find_root(root), local), every / local.speed
        else:
            app, pause = load_app(root), every
        try:
            _loop(app, pause, ticks)
        except KeyboardInterrupt:
            say("stopped" if local else "stopped; the state is kept and the next tick goes on", err=True)


def _loop(app: App, pause: float, ticks: int) -> None:
    done = 0
    while not ticks or done < ticks:
        begun = time.monotonic()
        say(f"{app.clock.now():%H:%M:%S}  {_words(_tick(app))}")
        done += 1
        if not ticks or done < ticks:
            time.sleep(max(0.0, pause - (time.monotonic() - begun)))


def _local(stack: ExitStack, root: Path, practice: Practice) -> App:
    """Return the app of this folder's rules over a simulated world that runs as fast as was asked."""
    from tocsin.local.play import Witness
    from tocsin.local.world import CLOCK, World, live

    folder = Path(stack.enter_context(TemporaryDirectory(prefix="tocsin-practice-")))
    world = stack.enter_context(World(datetime.now(UTC), seed=7, trace=practice.trace))
    clock = stack.enter_context(live(world, practice.speed))
    settings = {**world.settings(), "TOCSIN_STATE": str(folder / "state.sqlite"), CLOCK: clock.setting}
    _share({**settings, **dict.fromkeys(_ELSEWHERE, "")}, practice.env)
    say(f"the local world answers at {world.url}; it runs {practice.speed:g} times as fast as the clock")
    timeline = Timeline(console(), clock.now())
    return compose(Settings(root, settings), Parts(clock=clock, log=Witness(clock.now, timeline.line)))


_ELSEWHERE = ("TOCSIN_TABLES", "TOCSIN_QUEUES", "TOCSIN_AUDIT")
"""Settings that would win over the practice's own: a second process must not take it for production, or the reverse."""


def _share(settings: Mapping[str, str], file: Path | None) -> None:
    """Print the settings, for another terminal, and write them where that was asked for; exit 2 when it cannot be."""
    lines = [f"export {name}={quote(value)}" for name, value in settings.items()]
    if file is None:
        say("for practice: these settings reach the same world from another terminal (or use --env FILE)")
        say("\n".join(lines))
        return
    try:
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        stop(Exit.USAGE, f"--env: {file} cannot be written: {error.strerror}")
    say(f"for practice: `. {quote(str(file))}` in another terminal, and every command reaches the same world")
