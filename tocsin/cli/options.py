"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tocsin.cli.output import Output

Root = Annotated[Path | None, typer.Option("--root", help="Folder with tocsin.yaml; default: the nearest above here.")]
Form = Annotated[Output, typer.Option("--output", "-o", help="text for people, json for programs.")]
