"""Exported telemetry on disk: which files there are, and to which table each belongs."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tocsin.backtest.laying import Laying
from tocsin.backtest.unwrapping import ENDINGS, NoRecording, Unwrapping, ending
from tocsin.core.schema import CLASSIC, TABLES

__all__ = ["NoRecording", "Recording"]


_SHOWN = 10
"""Files of which an error says why none was read."""


@dataclass(slots=True)
class Recording:
    """The files of a folder, by the table that each belongs to.

    A file belongs to the table that its name names, or the folder it is in: ``AppTraces-2026-10.parquet``,
    ``am-apptraces/…/PT05M.json``, also by the classic names (``traces.csv``). The rows of one that names none say
    themselves where they belong (``others``). ``ignored`` says of every other file why it was not read, and what else
    is worth knowing of what was.
    """

    folder: Path
    files: dict[str, list[Path]] = field(default_factory=dict)
    others: list[Path] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, place: Path) -> Recording:
        """Return the recording in a folder, a file or whatever a pattern matches (``exports/**/*.json``).

        Raises NoRecording when there is nothing, or nothing that could be a table.
        """
        folder, pattern = _pattern(place)
        found = sorted(folder.glob(pattern)) if pattern else [place]
        if not found or not found[0].exists():
            raise NoRecording(f"there is no folder and no file {place}")
        made = cls(folder)
        for path in sorted({each for one in found for each in _within(one)}):
            made._sort(path)
        if not made.files and not made.others:
            names = ", ".join(TABLES)
            raise NoRecording(f"no file in {place} is named after a table ({names}) and ends in {', '.join(ENDINGS)}")
        return made

    @property
    def count(self) -> int:
        """How many files are read."""
        return len(self.others) + sum(map(len, self.files.values()))

    def _sort(self, path: Path) -> None:
        if ending(path):
            table = _named_after(self._name(path))
            (self.others if table is None else self.files.setdefault(table, [])).append(path)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else str(path)

    def lay(self, database: Any, moved: Callable[[int], None] = lambda _: None) -> list[str]:
        """Make each table in the database and return their names. Raises NoRecording for files it cannot read.

        A table that is Parquet alone stays where it is and is read as it is asked; the rest is read now. ``moved`` is
        called with the number of files that were read.
        """
        database.execute("SET TimeZone = 'UTC'; CREATE SCHEMA IF NOT EXISTS landed")
        with tempfile.TemporaryDirectory() as scratch:
            laying = Laying(database, Unwrapping(Path(scratch)), self._name, moved, self.ignored)
            for path in self.others:
                laying.by_rows(path)
            for table, paths in self.files.items():
                laying.by_name(table, paths)
            laying.close()
        if not laying.made:
            raise NoRecording("\n".join(["no file holds rows of a table", *self.ignored[:_SHOWN]]))
        return list(laying.made)


def _pattern(place: Path) -> tuple[Path, str]:
    """Return the folder that names are told from, and the pattern within it; no pattern where there is such a place."""
    if place.exists():
        return (place if place.is_dir() else place.parent), ""
    plain = next((at for at, part in enumerate(place.parts) if re.search(r"[*?[]", part)), len(place.parts) - 1)
    return Path(*place.parts[:plain]), str(Path(*place.parts[plain:]))


def _within(place: Path) -> Iterator[Path]:
    yield from (each for each in place.rglob("*") if each.is_file()) if place.is_dir() else [place]


def _named_after(name: str) -> str | None:
    """Return the table that a file is named after: its own name before its folders', today's names before classic."""
    parts = [re.findall(r"[A-Za-z]+", part) for part in reversed(Path(name).parts)]
    words = [word.lower() for part in parts for word in part]
    for names in ({each.lower(): each for each in TABLES}, {old.lower(): new for old, new in CLASSIC.items()}):
        found = next((names[word] for word in words if word in names), None)
        if found:
            return found
    return None
