"""The commands of reports, with their options; the work is in the modules beside this one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tocsin.cli.options import Form, Root
from tocsin.cli.output import Output

report = typer.Typer(no_args_is_help=True, help="What a solution is worth, for people who decide about it.")


@report.callback()
def _reports() -> None:
    """What a solution is worth, for people who decide about it."""


@report.command("kpis")
def report_kpis(
    target: Annotated[str, typer.Option("--target", "-t", help="Only this target; default: all that name KPIs.")] = "",
    report: Annotated[
        Path | None, typer.Option("--report", help="Write PATH.html, PATH.md and PATH.json; none may be there.")
    ] = None,
    root: Root = None,
    output: Form = Output.TEXT,
) -> None:
    """Show 30 days of each KPI of accelerator.yaml, against its baseline and its target."""
    from tocsin.cli.kpis import run

    run(target, report, root, output)
