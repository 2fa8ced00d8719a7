"""Every file of alerts under this folder, imported beside a small project of its own."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from tocsin.cli import importing
from tocsin.porting.reading import Imported

HERE = Path(__file__).parent
EXPECTED = HERE / "expected"
PROJECT = HERE / "project"
FORMS = ("azure", "prometheus", "sloth")


def paths() -> list[Path]:
    """Return the sample files."""
    return sorted(path for form in FORMS for path in (HERE / form).glob("*.*"))


@cache
def all_read() -> dict[Path, Imported]:
    """Return what becomes of each file, before any of it is checked."""
    return {path: importing.read(str(path.relative_to(HERE)), path.read_bytes()) for path in paths()}


@cache
def reports() -> dict[Path, dict[str, Any]]:
    """Return each file's report, as ``tocsin import --dry-run --output json`` gives it where Node is not."""
    found = {}
    for path, read in all_read().items():
        outcomes = importing.accepted(read.outcomes, PROJECT, parser=False)
        found[path] = importing.report(outcomes, read.passed_over, read.problems, with_text=True)
    return found


def rendered() -> dict[str, str]:
    """Return the golden files: what becomes of each sample."""
    return {
        f"{path.parent.name}/{path.stem}.json": json.dumps(report, indent=1, ensure_ascii=False) + "\n"
        for path, report in reports().items()
    }
