"""Exported telemetry on disk: Parquet, CSV and JSON files become the tables that questions are asked of."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tocsin.core.errors import nearest
from tocsin.core.schema import TABLES
from tocsin.telemetry import landing

KINDS = {
    ".parquet": "read_parquet",
    ".csv": "read_csv",
    ".tsv": "read_csv",
    ".json": "read_json",
    ".jsonl": "read_json",
    ".ndjson": "read_json",
}
"""What is read, by the ending of its name; CSV and JSON may be compressed (``.gz``)."""

_TIMES = ["%m/%d/%Y, %I:%M:%S.%g %p", "%m/%d/%Y, %H:%M:%S.%g", "%d/%m/%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f"]
"""How the portal writes times, besides ISO 8601."""


class NoRecording(Exception):
    """There is nothing to replay; the message says why."""


@dataclass(slots=True)
class Recording:
    """The files of a folder, by the table that each belongs to.

    A file belongs to the table whose name it begins with, or in whose folder it is: ``AppTraces-2026-10.parquet``,
    ``AppTraces/part-0.parquet``. ``ignored`` says of every other file why it was not read.
    """

    folder: Path
    files: dict[str, list[Path]] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, folder: Path) -> Recording:
        """Return the recording in a folder. Raises NoRecording when there is no folder, or no table in it."""
        if not folder.is_dir():
            raise NoRecording(f"there is no folder {folder}")
        made = cls(folder)
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            made._sort(path)
        if not made.files:
            names = ", ".join(TABLES)
            raise NoRecording(f"no file in {folder} is named after a table ({names}) and ends in {', '.join(KINDS)}")
        return made

    def _sort(self, path: Path) -> None:
        within = path.relative_to(self.folder)
        if kind_of(path) is None:
            return
        words = [re.split(r"[^A-Za-z]", part)[0] for part in (*within.parts[:-1], within.name)]
        table = next((name for word in words for name in TABLES if name.lower() == word.lower()), None)
        if table is None:
            self.ignored.append(f"{within} is named after no table {nearest(words[-1], TABLES)}".strip())
        else:
            self.files.setdefault(table, []).append(path)

    def lay(self, database: Any) -> list[str]:
        """Make each table in the database and return their names. Raises NoRecording for files it cannot read.

        Parquet stays where it is and is read as it is asked; the rest is read now.
        """
        import duckdb

        database.execute("SET TimeZone = 'UTC'; CREATE SCHEMA IF NOT EXISTS landed")
        for table, paths in self.files.items():
            try:
                database.execute(_made(database, table, paths))
            except duckdb.Error as error:
                raise NoRecording(f"{_named(paths)}: {str(error).splitlines()[0]}") from error
        database.execute(f"SET allowed_directories = [{_text(str(self.folder.resolve()))}]")
        return list(self.files)


def kind_of(path: Path) -> str | None:
    """Return the function that reads a file, by its ending; None for a file that is none of these."""
    name = path.name.lower().removesuffix(".gz")
    return next((reads for ending, reads in KINDS.items() if name.endswith(ending)), None)


def _named(paths: Iterable[Path]) -> str:
    return ", ".join(path.name for path in paths)


def _made(database: Any, table: str, paths: list[Path]) -> str:
    reads = [(_read(path), kind_of(path)) for path in paths]
    parts = [f"SELECT {_columns(database, table, read)} FROM {read}" for read, _ in reads]
    kind = "VIEW" if all(function == "read_parquet" for _, function in reads) else "TABLE"
    return f'CREATE {kind} landed."{table}" AS {" UNION ALL ".join(parts)}'


def _read(path: Path) -> str:
    function = kind_of(path)
    options = ", all_varchar = true" if function == "read_csv" else ""
    return f"{function}({_text(str(path.resolve()))}{options})"


def _columns(database: Any, table: str, read: str) -> str:
    """Return each column of the table out of those of a file. Raises NoRecording when no column says when."""
    described = database.execute(f"DESCRIBE SELECT * FROM {read}").fetchall()
    # The portal writes "TimeGenerated [UTC]".
    there = {re.split(r"\s*\[", name)[0].strip().lower(): (name, kind) for name, kind, *_ in described}
    if "timegenerated" not in there:
        raise NoRecording(f"{read}: a column TimeGenerated is needed; there are {', '.join(sorted(there))}")
    types = landing.columns(table)
    return ", ".join(f'{_column(name, kind, there)} AS "{name}"' for name, kind in types.items())


def _column(name: str, kind: str, there: dict[str, tuple[str, str]]) -> str:
    found = there.get(name.lower())
    if found is None:
        given = {"ItemCount": "1", landing.INGESTED: "NULL"}.get(name, "''" if kind == "string" else "NULL")
        if name == landing.INGESTED:
            return _column("TimeGenerated", "datetime", there)
        return f"CAST({given} AS {landing.SQL_TYPES[kind]})"
    column = '"' + found[0].replace('"', '""') + '"'
    if kind == "datetime":
        return _moment(column, found[1])
    if kind == "dynamic":
        # A text that was cut off on its way is a row without properties, and no end of the replay.
        return f"TRY_CAST({column} AS JSON)" if found[1] in ("VARCHAR", "JSON") else f"to_json({column})"
    if kind == "string":
        return f"coalesce(CAST({column} AS VARCHAR), '')"
    cast = f"TRY_CAST({column} AS {landing.SQL_TYPES[kind]})"
    return f"greatest(coalesce({cast}, 1), 1)" if name == "ItemCount" else cast


def _moment(column: str, kind: str) -> str:
    if kind.startswith("TIMESTAMP WITH"):
        return f"({column} AT TIME ZONE 'UTC')"
    if kind != "VARCHAR":
        return f"CAST({column} AS TIMESTAMP)"
    return f"coalesce(TRY_CAST({column} AS TIMESTAMPTZ) AT TIME ZONE 'UTC', try_strptime({column}, {_TIMES!r}))"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
