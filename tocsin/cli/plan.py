"""The command ``tocsin plan``, with its options; the work is in ``planned``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from tocsin.cli.backtest import Data, Days, Workspace
from tocsin.cli.options import Root


class Form(StrEnum):
    """What a plan looks like."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


def register(program: typer.Typer) -> None:
    """Add the command."""
    program.command()(plan)


def plan(
    base: Annotated[str, typer.Option("--base", metavar="REV", help="The commit the change is held against.")] = "main",
    data: Data = None,
    workspace: Workspace = False,
    days: Days = 30.0,
    output: Annotated[
        Form, typer.Option("--output", "-o", help="text for people, json for programs, markdown for a pull request.")
    ] = Form.TEXT,
    root: Root = None,
) -> None:
    """Say what a change means: rules and policies in words, queries, who is told, warnings, the backtest's difference.

    Without --data or --workspace nothing is replayed. Exit 1 when a file has an error, whatever differs otherwise.
    """
    from tocsin.cli.planned import Planning, run

    run(Planning(base, data, workspace, days, output), root)
