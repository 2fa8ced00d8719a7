"""Exported files become the tables of a database: what DuckDB reads them by, what was odd, and where what is bad is."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from tocsin.backtest import columns
from tocsin.backtest.columns import Columns
from tocsin.backtest.unwrapping import Exported, Form, NoRecording, Unwrapping, bad_place, ending
from tocsin.core.errors import nearest
from tocsin.core.schema import TABLES
from tocsin.telemetry import landing

_AT_ONCE = 200
"""Files that one statement reads; an export in pieces of five minutes has tens of thousands."""

_SAMPLE = 2_000
"""Rows whose keys are looked at for names in other letters."""

_LOCAL = re.compile(r"[^\n]*\b(?:TimeGenerated|timestamp) \[((?!UTC)[^\]\n]{1,60})\]", re.IGNORECASE)
"""A header of the portal's, which writes times as its user sees them."""

_LARGEST_ROW = 16 * 1024 * 1024
"""Bytes."""


@dataclass(slots=True)
class Laying:
    """Reads files into the tables of one database; ``made`` are the tables there are. Notes are for who asked."""

    database: Any
    unwrapping: Unwrapping
    name: Callable[[Path], str]
    moved: Callable[[int], None]
    notes: list[str]
    made: dict[str, list[Path]] = field(default_factory=dict)
    """Table → the files that stay where they are, of one that is a view."""

    def by_name(self, table: str, paths: Sequence[Path]) -> None:
        """Read the files of one table."""
        if table not in self.made and all(ending(each) == ".parquet" for each in paths):
            self._view(table, paths)
            return
        for batch in _batches(self._seen(paths)):
            self._mending(batch, lambda files: self._insert(table, files, ""))
            self.moved(len(batch))

    def by_rows(self, path: Path) -> None:
        """Read a file that is named after no table: its rows say which each belongs to, or its columns do.

        Where neither does, or it cannot be read, that is noted: it may be anything.
        """
        try:
            for each in self._seen([path]):
                self._mending([each], lambda files: self._sorted(files[0]))
        except NoRecording as error:
            self.notes.append(str(error))
        self.moved(1)

    def _mending(self, files: Sequence[Exported], reads: Callable[[Sequence[Exported]], None]) -> None:
        """Read files, once more without what DuckDB would not take; a statement that fails has read nothing."""
        try:
            reads(files)
        except NoRecording as error:
            if "surrogate" not in str(error):
                raise
            reads([self.unwrapping.mended(each) for each in files])

    def _sorted(self, file: Exported) -> None:
        relation, there, names = self._source("AppTraces", [file])
        kind = columns.kind(there)
        found = self._asked([file], f"SELECT DISTINCT {kind} FROM {relation}") if kind else []
        tables = {columns.NAMES[name] for (name,) in found if name}
        for table in sorted(tables):
            words = ", ".join(f"'{name}'" for name, of in columns.NAMES.items() if of == table)
            self._insert(table, [file], f"IN ({words})")
        if not tables and (likely := columns.likely(names)):
            self.notes.append(f"{file.name} is named after no table, and is read as {likely} by its columns")
            self._insert(likely, [file], "")
        elif not tables:
            close = nearest(Path(file.name).stem, TABLES)
            self.notes.append(f"{file.name} is named after no table, and its rows name none {close}".strip())

    def close(self) -> None:
        """Note what is odd about what was read, and let nothing else be read from now on."""
        if self.made.get("AppTraces") == []:
            counted = 'SELECT count(*), count("Properties") FROM landed."AppTraces"'
            rows, with_properties = self.database.execute(counted).fetchone()
            if rows and not with_properties:
                self.notes.append("no row of AppTraces has Properties that are JSON: most rules see nothing in it")
        paths = ", ".join(_text(str(each.resolve())) for files in self.made.values() for each in files)
        self.database.execute(f"SET allowed_paths = [{paths}]")

    def _seen(self, paths: Iterable[Path]) -> Iterator[Exported]:
        for path in paths:
            found = self.unwrapping.seen(self.name(path), path)
            local = _LOCAL.match(found.head) if found.form is Form.CSV else None
            self.notes += [found.note] if found.note else []
            self.notes += [f"{found.name} has times in {local[1]}, and they are read as UTC"] if local else []
            if found.form is Form.EMPTY:
                self.notes.append(f"{found.name} is empty")
            else:
                yield found

    def _view(self, table: str, paths: Sequence[Path]) -> None:
        parts = []
        for _, alike in groupby(sorted(self._described(paths), key=lambda pair: pair[0]), lambda pair: pair[0]):
            files = [each for _, each in alike]
            relation, there, _ = self._source(table, files)
            parts.append(f"SELECT {columns.selected(table, there)} FROM {relation}")
            self.moved(len(files))
        self.database.execute(f'CREATE VIEW landed."{table}" AS {" UNION ALL ".join(parts)}')
        self.made[table] = [*paths]

    def _described(self, paths: Sequence[Path]) -> list[tuple[str, Exported]]:
        """Return Parquet files with their columns, by which those are read together that have the same."""
        found = [self.unwrapping.seen(self.name(each), each) for each in paths]
        return [(str(self._asked([each], f"DESCRIBE SELECT * FROM {_read([each])}")), each) for each in found]

    def _insert(self, table: str, files: Sequence[Exported], only: str) -> None:
        """Read rows into a table. Rows that do not say when they were emitted are left out, and counted."""
        if table not in self.made:
            lines = ", ".join(f'"{name}" {landing.SQL_TYPES[of]}' for name, of in landing.columns(table).items())
            self.database.execute(f'CREATE TABLE landed."{table}" ({lines})')
            self.made[table] = []
        relation, there, _ = self._source(table, files)
        where = f"WHERE {columns.kind(there)} {only}" if only else ""
        rows = self._asked(
            files, f'INSERT INTO landed."{table}" SELECT {columns.selected(table, there)} FROM {relation} {where}'
        )[0][0]
        timeless = f'DELETE FROM landed."{table}" WHERE "TimeGenerated" IS NULL'
        without = self.database.execute(timeless).fetchone()[0]
        if without and without == rows:
            (sample,) = self._asked(files, f"SELECT {columns.moment_text(there)} FROM {relation} {where} LIMIT 1")[0]
            raise NoRecording(f"{_named(files)}: no row says when it was emitted: {str(sample)[:60]!r} is no time")
        if without:
            self.notes.append(f"{_named(files)}: {without:,} of {rows:,} rows do not say when they were emitted")

    def _source(self, table: str, files: Sequence[Exported]) -> tuple[str, Columns, list[str]]:
        """Return what DuckDB reads the files by, the columns it gives, and the names that are there.

        Raises NoRecording when none of them says when a row was emitted.
        """
        read = _read(files)
        if files[0].form in (Form.PARQUET, Form.CSV):
            described = self._asked(files, f"DESCRIBE SELECT * FROM {read}")
            relation, there, names = read, columns.columns(table, described), [each[0] for each in described]
        else:
            sampled = f"SELECT DISTINCT unnest(json_keys(json)) FROM (SELECT json FROM {read} LIMIT {_SAMPLE})"
            names = [key for (key,) in self._asked(files, sampled)]
            relation, there = _objects(table, read, names)
        if columns.moment(there) is None:
            known = ", ".join(sorted(names)[:20])
            raise NoRecording(f"{_named(files)}: a column TimeGenerated is needed; there are {known or 'none'}")
        return relation, there, names

    def _asked(self, files: Sequence[Exported], sql: str) -> list[Any]:
        import duckdb

        try:
            found: list[Any] = self.database.execute(sql).fetchall()
            return found
        except duckdb.Error as error:
            raise NoRecording(_place(files, error)) from error


def _objects(table: str, read: str, keys: Sequence[str]) -> tuple[str, Columns]:
    """Return JSON's columns: what is not asked for is not looked at, and may be what it likes.

    A key that none of the first rows has may come later; only when they were emitted, every row has to say.
    """
    plain = [key for key in keys if '"' not in key]
    spelled = {each: key for key, each in columns.proper(table, plain).items() if each not in keys}
    absent = {each for each in columns.TIMES if each not in keys and each not in spelled}
    names = {each: spelled.get(each, each) for each in columns.wanted(table) if each not in absent}
    paths = ", ".join(_text(f'$."{name}"') for name in names.values())
    relation = f"(SELECT json_extract(json, [{paths}]) AS x FROM {read})"
    return relation, {each: (f"x[{at}]", "JSON") for at, each in enumerate(names, 1)}


def _batches(files: Iterable[Exported]) -> Iterator[list[Exported]]:
    """Yield files that one statement reads: JSON of the same form."""
    for (form, _), alike in groupby(files, lambda each: (each.form, each.packed)):
        size = 1 if form in (Form.PARQUET, Form.CSV) else _AT_ONCE
        while batch := list(islice(alike, size)):
            yield batch


def _read(files: Sequence[Exported]) -> str:
    first = files[0]
    paths = "[" + ", ".join(_text(str(each.path.resolve())) for each in files) + "]"
    if first.form is Form.PARQUET:
        return f"read_parquet({paths})"
    packed = f"compression = '{'gzip' if first.packed else 'uncompressed'}'"
    if first.form is Form.CSV:
        return f"read_csv({paths}, {packed}, {_dialect(first)})"
    return f"read_json_objects({paths}, {packed}, format = '{first.form}', maximum_object_size = {_LARGEST_ROW})"


def _dialect(file: Exported) -> str:
    """Return how a CSV file is written, by its header. Nothing is guessed from rows, which may hold anything."""
    header = file.head.split("\n", 1)[0]
    mark = max(",;\t|", key=header.count)
    names = list[str]()
    for name in next(csv.reader(io.StringIO(header), delimiter=mark), []):
        names.append(name if name.lower() not in map(str.lower, names) else f"{name} {len(names)}")
    listed = ", ".join(f"{_text(name)}: 'VARCHAR'" for name in names)
    quotes = f"quote = '\"', escape = '\"', max_line_size = {_LARGEST_ROW}"
    return f"auto_detect = false, header = true, delim = {_text(mark)}, {quotes}, columns = {{{listed}}}"


def _named(files: Sequence[Exported]) -> str:
    return ", ".join(each.name for each in files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")


def _place(files: Sequence[Exported], error: Exception) -> str:
    """Return what is wrong with a file, and where."""
    said = str(error)
    file = next((each for each in files if str(each.path.resolve()) in said), files[0])
    if "Malformed JSON" in said and file.form is not Form.OBJECTS and (bad := bad_place(file)):
        return f"{file.name}{', ' if bad.startswith('line') else ': '}{bad}"
    line = re.search(r"CSV Error on Line: (\d+)", said)
    if line:
        why = next((each for each in said.split("\n")[1:] if each and not each.startswith("Original")), "")
        return f"{file.name}, line {line[1]}: {why}"
    return f"{file.name}: {said.splitlines()[0].replace(str(file.path.resolve()), file.name)}"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
