"""How commands show things: for people on a terminal, or as JSON for programs."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tocsin.core.errors import printable


class Output(StrEnum):
    """The two forms of every answer."""

    TEXT = "text"
    JSON = "json"


class Exit(StrEnum):
    """Names for the exit codes, as documented in ``docs/cli.md``."""

    BAD_NEWS = "1"
    USAGE = "2"
    NO_ANSWER = "3"


_WIDEST = 10_000
"""Columns where nobody looks at a terminal: an id that is broken over two lines is found by no program."""


class SafeConsole(Console):
    """A console that prints no control and no bidirectional character, whatever it is given."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as Rich does, each text made harmless."""
        super().print(*map(_harmless, objects), **options)


def console(**options: Any) -> Console:
    """Return a console for stdout; colours only on a terminal, and lines broken only there."""
    wide = not (sys.stderr if options.get("stderr") else sys.stdout).isatty() and "COLUMNS" not in os.environ
    return SafeConsole(**{"highlight": False, **({"width": _WIDEST} if wide else {}), **options})


def say(text: object = "", *, err: bool = False) -> None:
    """Print text for people, made harmless: see ``harmless``."""
    typer.echo(harmless(str(text)), err=err)


def harmless(text: str) -> str:
    """Return ``text`` whose lines neither move a cursor, turn round nor are a command to the workflow that runs it."""
    return "\n".join(_COMMAND.sub(r"\1 \2", printable(line)) for line in text.split("\n"))


_COMMAND = re.compile(r"(^\s*:|#)(:|#\[)")
"""What begins a workflow command of GitHub: ``::error …`` on a line's start, ``##[error]`` anywhere."""


def _harmless(value: Any) -> Any:
    if isinstance(value, Text):
        value.plain = "\n".join(map(printable, value.plain.split("\n")))
    return harmless(value) if isinstance(value, str) else value


def json_text(value: Any) -> str:
    """Return JSON whose letters people can read, and in which all that does not print is escaped."""
    made = json.dumps(value, indent=2, ensure_ascii=False)
    return "".join(each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in made)


def emit_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    typer.echo(json.dumps(value, indent=2, default=str))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], whole: int = 1) -> Table:
    """Return a table of plain text cells, never read as markup. The first ``whole`` columns are not broken."""
    drawn = Table(title=printable(title), title_justify="left", box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        drawn.add_column(column, overflow="fold", no_wrap=number < whole)
    for row in rows:
        drawn.add_row(*(escape(printable(str(cell))) for cell in row))
    return drawn


def stop(code: Exit, message: str) -> NoReturn:
    """Say on stderr why the command stops, and stop."""
    say(f"tocsin: {message}", err=True)
    raise typer.Exit(int(code.value))
