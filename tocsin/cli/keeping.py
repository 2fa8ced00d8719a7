"""Where a report is written, in each of its forms, and never over another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tocsin.cli.output import Exit, stop

FORMS = (".md", ".json")


def files_of(path: Path | None, forms: Sequence[str] = FORMS) -> tuple[Path, ...]:
    """Return where a report is written, a file a form; none for no path. Exit 2 where that cannot be."""
    if path is None:
        return ()
    stem = path.with_suffix("") if path.suffix in forms else path
    files = tuple(stem.with_name(f"{stem.name}{form}") for form in forms)
    for file in files:
        if file.exists():
            stop(Exit.USAGE, f"{file} is there already")
        if not file.parent.is_dir():
            stop(Exit.USAGE, f"{file.parent} is no folder")
    return files


def keep(files: Sequence[Path], texts: Sequence[str]) -> None:
    """Write each text into its file. Exit 3 where that fails."""
    try:
        for file, text in zip(files, texts, strict=False):
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        stop(Exit.NO_ANSWER, f"the report could not be written: {error}")
