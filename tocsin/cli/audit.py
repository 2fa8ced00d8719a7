"""The commands about the audit, with their options; the work is in ``auditing``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tocsin.cli.options import Form, Root
from tocsin.cli.output import Output

audit = typer.Typer(no_args_is_help=True, help="What was intended and done, and whether its record is whole.")

Since = Annotated[str, typer.Option("--since", help="Like 2h or 7d ago, 2026-11-20 or 2026-11-20T03:00+01:00.")]
Until = Annotated[str, typer.Option("--until", help="The same; what happened before it.")]


def register(program: typer.Typer) -> None:
    """Add these commands to the program."""
    program.add_typer(audit, name="audit")


@audit.command("list")
def audit_list(
    target: Annotated[str, typer.Option("--target", "-t", help="Only of one target.")] = "",
    actor: Annotated[str, typer.Option("--actor", help="Only of one actor: 'person ada', or any part of it.")] = "",
    since: Since = "",
    limit: Annotated[int, typer.Option("--limit", help="So many of the newest.", min=1)] = 50,
    root: Root = None,
    output: Form = Output.TEXT,
) -> None:
    """List audit records, newest last."""
    from tocsin.cli.auditing import show

    show(target=target, actor=actor, since=since, limit=limit, root=root, output=output)


@audit.command("verify")
def audit_verify(
    file: Annotated[Path | None, typer.Argument(help="An exported file; default: the store's audit.")] = None,
    mirror: Annotated[bool, typer.Option("--mirror", help="Also the copy, and that both are the same.")] = False,
    head: Annotated[str, typer.Option("--head", help="The hash that the newest record must have.")] = "",
    count: Annotated[int, typer.Option("--count", help="How many records there must be.", min=0)] = 0,
    after: Annotated[str, typer.Option("--after", help="With a file that holds a part: its predecessor's hash.")] = "",
    root: Root = None,
    output: Form = Output.TEXT,
) -> None:
    """Find the first record that was changed, removed, added, repeated or moved, and say what was done to it."""
    from tocsin.cli.auditing import verify

    verify(file, mirror=mirror, head=head, count=count, after=after, root=root, output=output)


@audit.command("export")
def audit_export(
    file: Annotated[Path, typer.Argument(help="The file to write; it must not be there.")],
    since: Since = "",
    until: Until = "",
    root: Root = None,
    output: Form = Output.TEXT,
) -> None:
    """Write records as canonical JSON lines, and say by which end they can be verified."""
    from tocsin.cli.auditing import export

    export(file, since=since, until=until, root=root, output=output)
