"""``tocsin plan``: the change since a commit, in words, in queries, in who is told, and replayed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from tocsin import files
from tocsin.app import known
from tocsin.backtest import outcome as outcomes
from tocsin.backtest import prose as backtested
from tocsin.backtest.measures import NotAnswered
from tocsin.backtest.outcome import Outcome
from tocsin.backtest.recording import NoRecording
from tocsin.cli import changes, checking
from tocsin.cli.output import Exit, console, emit_json, say, stop
from tocsin.cli.plan import Form
from tocsin.cli.project import find_root, load_settings
from tocsin.cli.replaying import Replay, difference_table, fitted, opened, played
from tocsin.core.errors import Problem, printable, render
from tocsin.core.read import Project, Written
from tocsin.planning import prose
from tocsin.planning.consequences import queries, routing
from tocsin.planning.differing import Difference, differences, left_out
from tocsin.planning.prose import Plan

NOT_REPLAYED = "Not replayed: give `--data FOLDER` with exported tables, or `--workspace`."


@dataclass(frozen=True, slots=True)
class Planning:
    """What is asked of a plan: see the command's options."""

    base: str
    data: Path | None
    workspace: bool
    days: float
    form: Form

    @property
    def replays(self) -> bool:
        """Whether there is a history to replay."""
        return self.workspace or self.data is not None


def run(how: Planning, root: Path | None) -> None:
    """Plan and show; exit 1 when a file has an error."""
    folder = find_root(root)
    screen = console(stderr=how.form is not Form.TEXT)
    try:
        with changes.as_it_was(folder, how.base) as old:
            made, both = _planned(how, folder, old, screen)
    except changes.NoBase as error:
        stop(Exit.USAGE, f"--base {how.base}: {error}")
    except NotAnswered as error:
        stop(Exit.NO_ANSWER, f"the history does not answer: {error}")
    except NoRecording as error:
        stop(Exit.USAGE, str(error))
    if how.form is Form.JSON:
        emit_json(made.document())
    elif how.form is Form.MARKDOWN:
        typer.echo(prose.markdown(made), nl=False)
    else:
        _show(made, both, screen)
    if any(each.is_error for each in made.problems):
        raise typer.Exit(int(Exit.BAD_NEWS.value))


Both = tuple[Outcome, Outcome]


def _planned(how: Planning, folder: Path, old: Path, screen: Console) -> tuple[Plan, Both | None]:
    values = load_settings(folder).values
    before, after = (files.read_written(each, values, known()) for each in (old, folder))
    both = _replayed(how, folder, before.project, after.project, screen) if how.replays else None
    replayed = backtested.comparison_markdown(*both) if both else NOT_REPLAYED
    document: dict[str, Any] | None = outcomes.comparison_document(*both) if both else None
    made = Plan(
        how.base,
        tuple(left_out(each) if _there(each, folder) else each for each in differences(before, after)),
        tuple(queries(before.project, after.project, known().signals)),
        tuple(routing(before.project, after.project)),
        _problems(how, folder, after),
        replayed,
        document,
    )
    return made, both


def _there(gone: Difference, folder: Path) -> bool:
    """Return whether the file of what is gone is there, so that nobody meant to remove it."""
    place = {"rule": "rules", "policy": "remediations"}.get(gone.kind)
    return gone.what == "removed" and place is not None and (folder / place / f"{gone.id}.yaml").is_file()


def _problems(how: Planning, folder: Path, after: Written) -> tuple[Problem, ...]:
    """Return what there is to say of the files that the change touches, and every error."""
    found = checking.found(folder, folder, datetime.now(UTC))
    own = changes.touched(found, folder, how.base, lambda old: checking.found(old, folder, datetime.now(UTC)))
    errors = [each for each in after.project.problems if each.is_error and each.id != "missing-setting"]
    return tuple(dict.fromkeys((*errors, *(each for each in own if each.id != "missing-setting"))))


def _replayed(how: Planning, folder: Path, before: Project, after: Project, screen: Console) -> Both:
    with opened(Replay(how.data, how.workspace, how.days), folder, screen) as (studies, apps):
        base = played(studies, fitted(before, apps, screen, before=True), None, screen)
        return base, played(studies, fitted(after, apps, screen), None, screen)


def _show(made: Plan, both: Both | None, screen: Console) -> None:
    for line in prose.lines(made):
        say(printable(line))
    if made.problems:
        say(render(made.problems))
    if both is None:
        say(NOT_REPLAYED.replace("`", ""))
        return
    say(backtested.heading(both[1]))
    rows, done = backtested.difference_rows(*both), backtested.acting_otherwise(*both)
    if rows:
        screen.print(difference_table(rows))
    elif not done:
        say(backtested.alike(both[1]))
    told = [*backtested.capped(backtested.only(*both)), *backtested.capped(done)]
    for line in (*told, *backtested.unplayed(both[1])):
        say(printable(line))
