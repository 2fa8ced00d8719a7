"""The commands of a handover, with their options; the work is in ``handing_over``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tocsin.cli.options import Form, Root
from tocsin.cli.output import Output

handover = typer.Typer(no_args_is_help=True, help="Whether a deployment can be handed over, and who says so.")


@handover.callback()
def _handovers() -> None:
    """Whether a deployment can be handed over, and who says so."""


@handover.command("check")
def handover_check(
    target: Annotated[str, typer.Option("--target", "-t", help="Only this target; default: all of them.")] = "",
    sign: Annotated[
        str, typer.Option("--sign", metavar="NAME", help="Sign, as this person; it stands in the audit.")
    ] = "",
    note: Annotated[str, typer.Option("--note", help="Why, or on what grounds: others will read it.")] = "",
    line: Annotated[
        list[str] | None, typer.Option("--line", help="Sign this line, as it is; default: the acceptance.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write PATH.md and PATH.json; neither may be there.")
    ] = None,
    root: Root = None,
    output: Form = Output.TEXT,
) -> None:
    """Go through the runbook's acceptance checklist: what proves each line, what is open, and who signed it."""
    from tocsin.cli.handing_over import Wanted, run

    run(Wanted(target, sign, note, tuple(line or ()), report), root, output)
