"""``tocsin check``: every problem of every file, in one run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import typer

from tocsin import files
from tocsin.app import known
from tocsin.cli.output import Exit, Output, emit_json
from tocsin.cli.project import find_root, load_settings
from tocsin.core.errors import render


def run(folder: Path | None, output: Output) -> None:
    """Check the folder; exit 1 when it has problems."""
    root = find_root(folder)
    project = files.read_project(root, load_settings(root).values, known())
    found = {"rules": len(project.rules), "policies": len(project.policies), "targets": len(project.config.targets)}
    if output is Output.JSON:
        emit_json({**found, "problems": [asdict(problem) for problem in project.problems]})
    else:
        if project.problems:
            typer.echo(render(project.problems))
        counts = ", ".join(f"{count} {name}" for name, count in found.items())
        typer.echo(f"{counts}: " + (f"{len(project.problems)} problems" if project.problems else "no problems"))
    if project.problems:
        raise typer.Exit(int(Exit.BAD_NEWS.value))
