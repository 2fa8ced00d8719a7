"""The commands of drills, with their options; the work is in ``drilling``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tocsin.cli.options import Form, Root
from tocsin.cli.output import Output

drill = typer.Typer(no_args_is_help=True, help="Try in earnest what is hoped to work in an emergency.")


@drill.callback()
def _drills() -> None:
    """Try in earnest what is hoped to work in an emergency."""


@drill.command("killswitch")
def drill_killswitch(
    target: Annotated[str, typer.Option("--target", "-t", help="A target's name in tocsin.yaml.")],
    scope: Annotated[str, typer.Option("--scope", help="tools, workflow or all.")] = "tools",
    yes_production: Annotated[
        bool, typer.Option("--yes-production", help="Drill a target labelled `env: prod`, whose tools then stop.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write PATH.md and PATH.json; neither may be there.")
    ] = None,
    call: Annotated[str, typer.Option("--call", help="POST one request there, so that a tool is tried.")] = "",
    body: Annotated[Path | None, typer.Option("--body", help="The JSON of that request.")] = None,
    watch: Annotated[str, typer.Option("--watch", help="Look so long for what the switch stops: 5m.")] = "5m",
    skip_bootstrap: Annotated[
        bool, typer.Option("--skip-bootstrap", help="Start the revision with the switch without its bootstrap.")
    ] = False,
    root: Root = None,
    output: Form = Output.TEXT,
) -> None:
    """Engage a target's killswitch, prove that it works and that people hear of it, and release it again."""
    from tocsin.cli.drilling import Wanted, run

    run(Wanted(target, scope, yes_production, report, call, body, watch, skip_bootstrap), root, output)
