"""``tocsin backtest``: rules over exported files or a workspace, alone, against an earlier commit, or under a sweep."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tocsin import files, notifiers, signals
from tocsin.app import App, compose, known
from tocsin.backtest import outcome as outcomes
from tocsin.backtest import prose
from tocsin.backtest import sweep as sweeping
from tocsin.backtest.history import App as Recorded
from tocsin.backtest.history import FileHistory
from tocsin.backtest.measures import History, NotAnswered
from tocsin.backtest.outcome import Outcome
from tocsin.backtest.recording import NoRecording, Recording
from tocsin.backtest.study import Studies, Watched
from tocsin.backtest.sweep import Sweep
from tocsin.backtest.workspace import WorkspaceHistory
from tocsin.cli import changes
from tocsin.cli.backtest import Shape
from tocsin.cli.output import Exit, console, emit_json, say, stop, table
from tocsin.cli.project import find_root, load_settings
from tocsin.core.compile import owns
from tocsin.core.config import Target
from tocsin.core.errors import nearest, printable, render
from tocsin.core.read import Project
from tocsin.telemetry.embedded import EmbeddedTelemetry


@dataclass(frozen=True, slots=True)
class Replay:
    """What is asked of a backtest: see the command's options."""

    data: Path | None = None
    workspace: bool = False
    days: float = 30.0
    until: datetime | None = None
    base: str = ""
    sweep: Sequence[str] = field(default_factory=list)
    shape: Shape = Shape.TEXT
    html: Path | None = None


def run(what: Sequence[str], how: Replay, root: Path | None) -> None:
    """Replay and show; exit 2 for a wrong call or where nothing can be replayed, 3 when history did not answer."""
    folder = find_root(root)
    project = read(folder, folder)
    axes = [each for each in what if "=" in each]
    names = chosen([each for each in what if "=" not in each], project, folder)
    screen = console(stderr=how.shape is not Shape.TEXT)
    try:
        with opened(how, folder, screen) as (studies, apps):
            project = fitted(project, apps, screen)
            if (how.sweep or axes) and how.base:
                stop(Exit.USAGE, "--sweep and --base are two questions: ask one of them")
            if how.sweep or axes:
                shown = _swept(studies, project, names, [*how.sweep, *axes], screen)
            elif how.base:
                base = _base(studies, names, apps, folder, how, screen)
                shown = Shown(played(studies, project, names, screen), base=base)
            else:
                shown = Shown(_something(played(studies, project, names, screen)))
            _show(how, screen, shown)
    except NotAnswered as error:
        stop(Exit.NO_ANSWER, f"the history does not answer: {error}")
    except NoRecording as error:
        stop(Exit.USAGE, str(error))
    if how.workspace and any(each.unanswered for each in shown.outcome.unplayed):
        stop(Exit.NO_ANSWER, "a part of the history did not answer: see what was not replayed")


def _something(found: Outcome) -> Outcome:
    """Return the outcome if anything was replayed: nothing known must not be read as nothing wrong."""
    if not found.rules:
        silent = any(each.unanswered for each in found.unplayed)
        lines = "\n".join(printable(line) for line in prose.unplayed(found))
        stop(Exit.NO_ANSWER if silent else Exit.USAGE, f"{prose.NOTHING}\n{lines}")
    return found


def read(folder: Path, root: Path) -> Project:
    """Return the project in a folder, read with the settings of ``root``; with problems, nothing is replayed.

    Of files as they were, what can be read is replayed: nobody can mend them any more.
    """
    project = files.read_project(folder, load_settings(root).values, known())
    problems = [each for each in project.problems if each.id != "missing-setting" and each.is_error]
    if problems and folder != root:
        say(f"of the files as they were, {len(problems)} problems are left out", err=True)
    elif problems:
        stop(Exit.USAGE, f"nothing was replayed, for the files have problems\n{render(problems)}")
    return project


def chosen(names: Sequence[str], project: Project, folder: Path) -> set[str] | None:
    """Return the ids of the rules that are meant by names, files or folders; None where all are."""
    if not names:
        return None
    ids, found = {rule.id for rule in project.rules}, set[str]()
    for name in names:
        path = Path(name) if Path(name).exists() else folder / name
        if path.is_dir():
            found |= {each.stem for each in path.glob("*.yaml")} & ids
        elif Path(name).stem in ids:
            found.add(Path(name).stem)
        else:
            stop(Exit.USAGE, f"no rule '{name}' {nearest(Path(name).stem, sorted(ids))}".strip())
    return found


@contextmanager
def opened(how: Replay, folder: Path, screen: Console) -> Iterator[tuple[Studies, list[Recorded]]]:
    """Yield the studies over the history that is asked for, and of files the apps that they hold rows of."""
    if how.workspace == (how.data is not None):
        which = ", and not both" if how.workspace else ""
        stop(Exit.USAGE, f"say where history is: --data FOLDER with exported tables, or --workspace{which}")
    if how.data is None:
        app = compose(load_settings(folder))
        end = how.until.replace(tzinfo=UTC) if how.until else datetime.now(UTC) - timedelta(minutes=5)
        yield Studies(_asked(app), signals.known(), end - timedelta(days=how.days), end), []
        return
    recording = Recording.of(how.data)
    try:
        with _bar(screen, recording.count, "files") as moved:
            history = FileHistory(EmbeddedTelemetry(recorded=lambda database: recording.lay(database, moved)))
    finally:
        for each in prose.capped(recording.ignored):
            screen.print(printable(each), style="dim", markup=False)
    try:
        yield Studies(history, signals.known(), *_period(how, history)), history.apps()
    finally:
        history.close()


def _asked(app: App) -> History:
    return WorkspaceHistory(app.engine.telemetry)


def fitted(project: Project, apps: Sequence[Recorded], screen: Console, *, before: bool = False) -> Project:
    """Return the project for a recording of these apps: the only app is taken for the only target.

    On a laptop the settings that name the app are seldom those of production; of several apps the one with the target's
    role name is meant. Raises NoRecording when no target has rows; as it was ``before``, a project is as it is.
    """
    if not all(each.component for each in apps):
        project = _by_role(project, screen if not before else None)
        apps = [Recorded("", role) for role in sorted({each.role for each in apps})]
    targets = project.config.targets
    found = any(owns(target, each.component, each.role) for target in targets for each in apps)
    if not apps or (before and not targets) or found:
        return project
    meant = [each for each in apps if len(targets) == 1 and each.role == targets[0].role_name] or list(apps)
    if len(meant) != 1 or len(targets) != 1:
        if before:
            return project
        words = "no target's application_insights and role_name have rows in the recording; what has"
        raise NoRecording(f"{words}: {', '.join(printable(each.said) for each in meant[:10])}")
    (only,) = meant
    screen.print(f"the recording of {printable(only.said)} is taken for {targets[0].name}'s", style="dim", markup=False)
    taken = {"application_insights": only.component, "role_name": only.role}
    return _with(project, (targets[0].model_copy(update=taken),))


def _by_role(project: Project, screen: Console | None) -> Project:
    """Return the project with its targets found by role name, where a recording does not say more."""
    targets = project.config.targets
    if screen is not None and any(each.application_insights for each in targets):
        words = "not every row of the recording has a _ResourceId: they are chosen by the role name alone"
        screen.print(words, style="dim", markup=False)
    return _with(project, tuple(each.model_copy(update={"application_insights": ""}) for each in targets))


def _with(project: Project, targets: tuple[Target, ...]) -> Project:
    return replace(project, config=project.config.model_copy(update={"targets": targets}))


def _period(how: Replay, history: FileHistory) -> tuple[datetime, datetime]:
    """Return what is replayed: at most so many days before the end, and nothing before the first row."""
    span = history.span()
    if span is None:
        raise NoRecording("the recording holds no row")
    last = span[1].replace(second=0, microsecond=0) + timedelta(minutes=1)
    end = how.until.replace(tzinfo=UTC) if how.until else last
    start = max(span[0].replace(second=0, microsecond=0), end - timedelta(days=how.days))
    if start >= end:
        raise NoRecording(f"the recording goes from {span[0]:%Y-%m-%d %H:%M} to {span[1]:%Y-%m-%d %H:%M} UTC")
    return start, end


def played(studies: Studies, project: Project, names: set[str] | None, screen: Console) -> Outcome:
    """Return the outcome of the project's rules, of none where none watches, with a bar while it takes long."""
    watched = studies.watched(project, names)
    together = [name for name, each in project.config.receivers.items() if notifiers.together(each.type)]
    with _bar(screen, sum(each.grid.count for each in watched), "slots") as moved:
        studies.moved = moved
        return outcomes.outcome(studies.study(watched), project, together)


@contextmanager
def _bar(screen: Console, total: int, what: str) -> Iterator[Callable[[int], None]]:
    if not screen.is_terminal:
        with _lines(total, what) as moved:
            yield moved
        return
    columns = (TextColumn("{task.completed:,} of {task.total:,} " + what), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True) as shown:
        task = shown.add_task("", total=total)
        yield lambda count: shown.advance(task, count)


_EVERY = 10.0
"""Seconds from one line of progress to the next where nobody looks at a terminal: a log that is silent looks hung."""


@contextmanager
def _lines(total: int, what: str) -> Iterator[Callable[[int], None]]:
    """Say how far it is every ten seconds, on stderr: also while one file takes longer than that."""
    done, over, begun = [0], threading.Event(), time.monotonic()

    def moved(count: int) -> None:
        done[0] += count

    def tell() -> None:
        while not over.wait(_EVERY):
            say(f"{done[0]:,} of {total:,} {what}, {time.monotonic() - begun:.0f} s", err=True)

    telling = threading.Thread(target=tell, name="tocsin-progress", daemon=True)
    telling.start()
    try:
        yield moved
    finally:
        over.set()
        telling.join()


def _base(
    studies: Studies, names: set[str] | None, apps: Sequence[Recorded], folder: Path, how: Replay, screen: Console
) -> Outcome:
    """Return the outcome of the rules as they were."""
    try:
        with changes.as_it_was(folder, how.base) as before:
            old = fitted(read(before, folder), apps, screen, before=True)
            return played(studies, old, names, screen)
    except changes.NoBase as error:
        stop(Exit.USAGE, f"--base {how.base}: {error}")


def _swept(studies: Studies, project: Project, names: set[str] | None, given: Sequence[str], screen: Console) -> Shown:
    if names is None or len(names) != 1:
        stop(Exit.USAGE, "--sweep is of one rule: name it")
    watched: list[Watched] = studies.watched(project, names)
    if not watched:
        stop(Exit.USAGE, f"{', '.join(names)} is off, or watches no target")
    try:
        axes = [sweeping.axis(each) for each in given]
        found = _something(played(studies, project, names, screen))
        cells = 1
        for each in axes:
            cells *= len(each.values)
        with _bar(screen, cells, "settings") as moved:
            swept = sweeping.sweep(studies, watched, axes, lambda: moved(1))
    except ValueError as error:
        stop(Exit.USAGE, f"--sweep: {error}")
    return Shown(found, sweep=swept)


@dataclass(frozen=True, slots=True)
class Shown:
    """What there is to show: an outcome, the one it is compared with, or a sweep."""

    outcome: Outcome
    base: Outcome | None = None
    sweep: Sweep | None = None

    def document(self, *, series: bool = False) -> dict[str, Any]:
        """Return it as plain values."""
        if self.base is not None:
            return outcomes.comparison_document(self.base, self.outcome, series=series)
        made = outcomes.document(self.outcome, series=series)
        return {**made, "sweep": sweeping.document(self.sweep)} if self.sweep else made

    def markdown(self) -> str:
        """Return it for a pull request's comment."""
        if self.base is not None:
            return prose.comparison_markdown(self.base, self.outcome)
        swept = prose.sweep_markdown(self.sweep) + "\n" if self.sweep else ""
        return swept + prose.markdown(self.outcome)


def _show(how: Replay, screen: Console, shown: Shown) -> None:
    if how.html is not None:
        _write(how.html, shown)
    if how.shape is Shape.JSON:
        emit_json(shown.document())
    elif how.shape is Shape.MARKDOWN:
        typer.echo(shown.markdown(), nl=False)
    elif how.shape is Shape.HTML:
        say(_page(shown))
    else:
        _tell(screen, shown)


def _page(shown: Shown) -> str:
    from tocsin.backtest.page import page

    swept = sweeping.document(shown.sweep) if shown.sweep else None
    return page(shown.document(series=True), title=f"Backtest · {prose.heading(shown.outcome)}", sweep=swept)


def _write(path: Path, shown: Shown) -> None:
    try:
        path.write_text(_page(shown), encoding="utf-8")
    except OSError as error:
        stop(Exit.USAGE, f"{path} cannot be written: {error.strerror}")


def _tell(screen: Console, shown: Shown) -> None:
    found = shown.outcome
    say(prose.heading(found))
    if shown.sweep is not None:
        screen.print(table("", prose.sweep_columns(shown.sweep), prose.sweep_rows(shown.sweep)))
        say(prose.recommending(shown.sweep))
    elif shown.base is not None:
        _tell_difference(screen, shown.base, found)
    else:
        _tell_outcome(screen, found)
    for line in prose.unplayed(found):
        say(printable(line))


def _tell_difference(screen: Console, base: Outcome, head: Outcome) -> None:
    rows, done = prose.difference_rows(base, head), prose.acting_otherwise(base, head)
    if not rows and not done:
        say(prose.alike(head))
        return
    if rows:
        screen.print(difference_table(rows))
    for line in [*prose.capped(prose.only(base, head)), *prose.capped(done)]:
        say(printable(line))


def difference_table(rows: Sequence[tuple[str, ...]]) -> Table:
    """Return a table of what ``prose.difference_rows`` found."""
    return _of_targets(prose.DIFFERENCES, rows)


def _tell_outcome(screen: Console, found: Outcome) -> None:
    screen.print(_of_targets(prose.COLUMNS, prose.rows(found)))
    episodes = prose.episode_rows(found)
    if episodes:
        cells = [[printable(cell) for cell in row] for row in episodes]
        screen.print(table("", prose.EPISODE_COLUMNS, cells, whole=3))
    more = len(found.episodes) - len(episodes)
    acting = prose.capped(prose.acting(found))
    for line in ([f"… {more} more"] if more > 0 else []) + [prose.telling(found), *acting]:
        say(printable(line))


def _of_targets(columns: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Table:
    """Return the table; of a single target its column is left out, for the heading names it."""
    at = columns.index("target")
    if len({row[at] for row in rows}) == 1:
        columns, rows = (*columns[:at], *columns[at + 1 :]), [(*row[:at], *row[at + 1 :]) for row in rows]
    return table("", columns, rows)
