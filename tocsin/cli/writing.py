"""Commands for whoever writes rules and policies: `fmt`, `schema` and `init rule`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tocsin.cli.options import Form, Root
from tocsin.cli.output import Output

init = typer.Typer(no_args_is_help=True, help="Begin a new file.")

Signal = Annotated[str, typer.Option("--signal", help="What is measured; `tocsin schema signals` lists them.")]
Severity = Annotated[str, typer.Option("--severity", help="P0, P1, P2 or P3.")]
Threshold = Annotated[str, typer.Option("--threshold", help="The limit, like 5% or 300; default: by the signal.")]
Over = Annotated[str, typer.Option("--over", help="The window, like 15m; default: by the signal.")]
Owner = Annotated[str, typer.Option("--owner", help="Who answers for it.")]


def register(program: typer.Typer) -> None:
    """Add the commands."""
    program.command()(fmt)
    program.command()(schema)
    init.command("rule")(init_rule)
    program.add_typer(init, name="init")


def fmt(
    names: Annotated[list[Path] | None, typer.Argument(metavar="FILES", help="Default: every file there is.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 when a file would change.")] = False,
    root: Root = None,
) -> None:
    """Lay out rules, policies and tocsin.yaml in one way. Comments and meaning stay, or the file does."""
    from tocsin.cli.formatting import run

    run(names or [], check=check, root=root)


def schema(
    name: Annotated[str, typer.Argument(help="rule, policy, tocsin, signals, a key, or a signal's name.")] = "",
    output: Form = Output.TEXT,
) -> None:
    """Say what may stand in the files: keys, types, defaults, choices; of a signal, what it measures and its KQL."""
    from tocsin.cli.describing import run

    run(name, output)


def init_rule(
    name: Annotated[str, typer.Argument(help="The rule's name; default: the signal's.")] = "",
    signal: Signal = "",
    severity: Severity = "",
    threshold: Threshold = "",
    over: Over = "",
    owner: Owner = "",
    below: Annotated[
        bool | None, typer.Option("--below/--above", help="Which side of the limit is bad; default: by the signal.")
    ] = None,
    root: Root = None,
) -> None:
    """Write a first rule, asking on a terminal for what the options leave open. Never overwrites."""
    from tocsin.cli.beginning import Said, run

    run(Said(name, signal, severity, threshold, over, owner, below), root)
