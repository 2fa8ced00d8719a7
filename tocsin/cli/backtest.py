"""The command ``tocsin backtest``, with its options; the work is in ``replaying``."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tocsin.cli.options import Root


class Shape(StrEnum):
    """What a backtest's outcome looks like."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"


_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]

Data = Annotated[
    Path | None,
    typer.Option("--data", help="Exported telemetry: a folder, a file or a pattern; Parquet, CSV, JSON in any form."),
]
Workspace = Annotated[bool, typer.Option("--workspace", help="Ask the targets' own workspaces instead of files.")]
Days = Annotated[float, typer.Option("--days", help="How far back to go from the end.", min=0.01, max=3650)]
Until = Annotated[
    datetime | None, typer.Option("--until", formats=_FORMATS, help="Where to end, in UTC; default: the last row.")
]


def register(program: typer.Typer) -> None:
    """Add the command."""
    program.command()(backtest)


def backtest(
    what: Annotated[
        list[str] | None,
        typer.Argument(help="Rules by name or file, folders of them; default: all; KEY=FROM..TO: an axis of a sweep."),
    ] = None,
    data: Data = None,
    workspace: Workspace = False,
    days: Days = 30.0,
    until: Until = None,
    base: Annotated[
        str, typer.Option("--base", metavar="REV", help="Compare with the rules as they were at this commit.")
    ] = "",
    sweep: Annotated[
        list[str] | None,
        typer.Option("--sweep", metavar="KEY=FROM..TO", help="Try settings: threshold=1%..10% for=1m..15m."),
    ] = None,
    output: Annotated[Shape, typer.Option("--output", "-o", help="What the outcome looks like.")] = Shape.TEXT,
    html: Annotated[Path | None, typer.Option("--html", help="Also write the report with plots to this file.")] = None,
    root: Root = None,
) -> None:
    """Replay rules over recorded history: what would have fired, who been told, and what would have been done."""
    from tocsin.cli.replaying import Replay, run

    run(what or [], Replay(data, workspace, days, until, base, sweep or [], output, html), root)
