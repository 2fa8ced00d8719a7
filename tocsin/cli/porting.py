"""Commands that bring rules from elsewhere and take them there: `import` and `export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tocsin.cli.options import Form, Root
from tocsin.cli.output import Output


class To(StrEnum):
    """What rules can be exported to."""

    AZURE = "azure"
    PROMTOOL = "promtool"


def register(program: typer.Typer) -> None:
    """Add the commands."""
    program.command("import")(import_)
    program.command("export")(export)


def import_(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Azure's rules as JSON, Prometheus rule files, Sloth's SLOs.")
    ],
    into: Annotated[
        Path | None, typer.Option("--into", help="The folder to write to; default: the project's rules/.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing; show the rules as well.")] = False,
    kql_parser: Annotated[
        bool | None,
        typer.Option("--kql-parser/--no-kql-parser", help="Microsoft's parser for queries; default: where it is."),
    ] = None,
    root: Root = None,
    output: Form = Output.TEXT,
) -> None:
    """Make rules of alerts from elsewhere, and say what differs in meaning or why there can be none."""
    from tocsin.cli.importing import run

    run(files, into=into, dry_run=dry_run, parser=kql_parser, root=root, output=output)


def export(
    to: Annotated[To, typer.Option("--to", help="azure: an ARM template; promtool: rule files and their tests.")],
    into: Annotated[
        Path | None, typer.Option("--into", help="A file (azure) or a folder (promtool); default: stdout.")
    ] = None,
    rule: Annotated[list[str] | None, typer.Option("--rule", help="Only these rules.")] = None,
    target: Annotated[str, typer.Option("--target", "-t", help="azure: whose rows; default: every target.")] = "",
    choice: Annotated[
        str, typer.Option("--run", help="promtool: a regular expression: scenarios by 'RULE: NAME'.")
    ] = "",
    watcher_only: Annotated[
        bool, typer.Option("--watcher-only", help="azure: only the alerts that watch the watcher.")
    ] = False,
    root: Root = None,
    output: Form = Output.TEXT,
) -> None:
    """Write rules as alerts of Azure or tests for promtool, and say which cannot be and why. Never overwrites."""
    from tocsin.cli.exporting import Wanted, run

    run(Wanted(to.value, tuple(rule or ()), target, choice, watcher_only), into, root, output)
