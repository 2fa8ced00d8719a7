"""How commands show things: for people on a terminal, or as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table


class Output(StrEnum):
    """The two forms of every answer."""

    TEXT = "text"
    JSON = "json"


class Exit(StrEnum):
    """Names for the exit codes, as documented in ``docs/cli.md``."""

    BAD_NEWS = "1"
    USAGE = "2"
    NO_ANSWER = "3"


def console(**options: Any) -> Console:
    """Return a console for stdout; colours only on a terminal."""
    return Console(highlight=False, **options)


def emit_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    typer.echo(json.dumps(value, indent=2, default=str))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], whole: int = 1) -> Table:
    """Return a table of plain text cells, never read as markup. The first ``whole`` columns are not broken."""
    drawn = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        drawn.add_column(column, overflow="fold", no_wrap=number < whole)
    for row in rows:
        drawn.add_row(*(escape(str(cell)) for cell in row))
    return drawn


def stop(code: Exit, message: str) -> NoReturn:
    """Say on stderr why the command stops, and stop."""
    typer.echo(f"tocsin: {message}", err=True)
    raise typer.Exit(int(code.value))
