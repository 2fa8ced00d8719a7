"""``tocsin demo``: a story on this machine, with a live timeline and a summary of what had to be seen."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import typer
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from tocsin.app import Parts, compose
from tocsin.cli.output import Exit, Output, console, emit_json, stop
from tocsin.cli.project import find_root
from tocsin.cli.timeline import Timeline, since
from tocsin.local.play import Moment, Played, Stage, Story, Witness, play
from tocsin.local.stories import STORIES
from tocsin.local.world import World
from tocsin.settings import Settings
from tocsin.stores.sqlite import SqliteStore

NIGHT = datetime(2026, 11, 20, 2, 40, tzinfo=UTC)
"""When every story begins: a fixed night, so that the same seed gives the same story."""


def run(
    name: str,
    *,
    speed: float,
    seed: int,
    trace: Path | None,
    picture: Path | None,
    root: Path | None,
    output: Output,
) -> None:
    """Play the story; exit 1 when it did not come true."""
    story = STORIES.get(name)
    if story is None:
        stop(Exit.USAGE, f"no story '{name}'; known: {', '.join(STORIES)}")
    if not 0 <= speed <= 60:
        stop(Exit.USAGE, "--speed is at most 60 story seconds a second; 0 plays flat out")
    if trace and not trace.is_file():
        stop(Exit.USAGE, f"no trace at {trace}")
    screen = console(stderr=output is Output.JSON, record=picture is not None, width=118 if picture else None)
    screen.print(Text.assemble(("tocsin demo: ", "bold"), story.summary), soft_wrap=True)
    played = _play(story, screen, speed, seed, trace, find_root(root))
    if output is Output.JSON:
        emit_json(_document(played))
    else:
        _summarise(played, screen)
    if picture:
        screen.save_svg(str(picture), title=f"tocsin demo --story {name}", code_format=_svg_format())
    if played.unmet:
        raise typer.Exit(int(Exit.BAD_NEWS.value))


def _play(story: Story, screen: Console, speed: float, seed: int, trace: Path | None, root: Path) -> Played:
    with tempfile.TemporaryDirectory() as folder, World(NIGHT, seed=seed, trace=trace, fork=story.fork) as world:
        store = SqliteStore(Path(folder) / "state.sqlite")
        with _bar(screen, story) as moved:
            witness = Witness(world.clock.now, Timeline(screen, NIGHT).line)
            parts = Parts(clock=world.clock, store=store, log=witness, results=Path(folder))
            app = compose(Settings(root, world.settings()), parts)
            for problem in app.problems:
                witness.see("world", f"{problem.path}:{problem.line}: {problem.message}")
            stage = Stage(world, app, witness, NIGHT, dict(world.template_env()), Path(folder))
            played = play(story, stage, _pace(speed, moved))
        store.close()
    return played


def _pace(speed: float, moved: Callable[[timedelta], None]) -> Callable[[datetime], None]:
    """Return what waits until a story moment is due on the wall clock; flat out when ``speed`` is 0."""
    begun = time.monotonic()

    def wait(moment: datetime) -> None:
        passed = moment - NIGHT
        if speed:
            time.sleep(max(0.0, begun + passed.total_seconds() / speed - time.monotonic()))
        moved(passed)

    return wait


def _svg_format() -> str:
    """Return Rich's picture without the fonts it would fetch from elsewhere: a picture must open without a network."""
    return re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


@contextmanager
def _bar(screen: Console, story: Story) -> Any:
    """Show how far the story has come, on a terminal only."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f} story minutes"),
    )
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        task = progress.add_task(story.name, total=story.length / timedelta(minutes=1))
        yield lambda passed: progress.update(task, completed=passed / timedelta(minutes=1))


def _summarise(played: Played, screen: Console) -> None:
    screen.print()
    for name, at in played.milestones:
        when = f"{at:%H:%M:%S}  {since(played.started, at):>8}" if at else " " * 18
        screen.print(Text.assemble(_tick(at is not None), f" {when}  {name}"))
    for name, held in played.claims:
        screen.print(Text.assemble(_tick(held), f" {'':18}  {name}"))
    verdict = (
        Text("The story did not come true:", "bold red") if played.unmet else Text("The story came true.", "bold green")
    )
    screen.print(verdict)
    for words in played.unmet:
        screen.print(Text(f"  {words}"))


def _tick(good: bool) -> tuple[str, str]:
    return ("✓", "green") if good else ("✗", "bold red")


def _document(played: Played) -> dict[str, Any]:
    def moment(each: Moment) -> dict[str, str]:
        return {"at": each.at.isoformat(), "kind": each.kind, "words": each.words}

    return {
        "story": played.story,
        "true": not played.unmet,
        "milestones": {name: at.isoformat() if at else None for name, at in played.milestones},
        "claims": dict(played.claims),
        "unmet": list(played.unmet),
        "timeline": [moment(each) for each in played.moments],
    }
