"""What form an exported file has, by its first bytes, and a plain copy where DuckDB could not read it as it is.

What is copied: texts that begin with a byte order mark (a PowerShell redirect writes UTF-16), and documents that hold
their rows inside: the answers of the query API (``tables``) and batches (``records``, ``value``).
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import IO, Any

ENDINGS = (".parquet", ".csv", ".tsv", ".json", ".jsonl", ".ndjson")
"""What is read, by the ending of its name; CSV and JSON may be compressed, with or without ``.gz`` in the name."""

_HEAD = 64 * 1024
_LARGEST = 256 * 1024 * 1024
"""Bytes of a document that holds its rows inside, unpacked. The query API answers with 100 MB at most."""

_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_HOLDS = re.compile(r'"(tables|Tables|records|value)"\s*:\s*\[')
_HIGH, _LOW = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_HALF = re.compile(_HIGH + rb"(?!" + _LOW + rb")|(?<!" + _HIGH + rb")" + _LOW)
"""Half of a letter, which is left where a text was cut inside one."""

_SPACE = re.compile(r"[\s,]*")


class NoRecording(Exception):
    """There is nothing to replay; the message says why."""


class Form(StrEnum):
    """How the rows lie in a file; the names of JSON's forms are DuckDB's."""

    PARQUET = "parquet"
    CSV = "csv"
    LINES = "newline_delimited"
    ARRAY = "array"
    OBJECTS = "unstructured"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class Exported:
    """One exported file as it is read: ``name`` is what people call it, ``path`` the file or its plain copy.

    ``head`` is the beginning of its text, for what only a person or a header says. ``note`` is what is worth telling.
    """

    name: str
    path: Path
    form: Form
    packed: bool = False
    head: str = ""
    note: str = ""


def ending(path: Path) -> str:
    """Return the ending by which a file is read, or an empty text."""
    name = path.name.lower().removesuffix(".gz")
    return next((each for each in ENDINGS if name.endswith(each)), "")


class Unwrapping:
    """Looks at files, and keeps plain copies in ``scratch`` where they are needed."""

    def __init__(self, scratch: Path) -> None:
        self._scratch, self._numbers = scratch, count()

    def seen(self, name: str, path: Path) -> Exported:
        """Return the file as it is read. Raises NoRecording for one that cannot be."""
        if ending(path) == ".parquet":
            return Exported(name, path, Form.PARQUET)
        try:
            return self._seen(name, path)
        except (OSError, EOFError, zlib.error, UnicodeError) as error:
            raise NoRecording(f"{name}: {error}") from error

    def _seen(self, name: str, path: Path) -> Exported:
        packed = _packed(path)
        with _opened(path, packed) as file:
            raw = file.read(_HEAD)
        encoding = next((each for mark, each in _MARKS.items() if raw.startswith(mark)), "")
        if encoding:
            path, packed = self._plain(path, packed, encoding), False
            raw = raw.decode(encoding, "ignore").encode()
        head = raw.decode("utf-8", "replace").lstrip()
        found = Exported(name, path, Form.CSV if ending_of(name) in (".csv", ".tsv") else _json(head), packed, head)
        if not head:
            return replace(found, form=Form.EMPTY)
        return self._unwrapped(found) if found.form is not Form.CSV and _wraps(head) else found

    def _plain(self, path: Path, packed: bool, encoding: str) -> Path:
        copy = self._copy()
        with _opened(path, packed) as file, copy.open("wb") as out:
            reader = _decoding(file, encoding)
            out.writelines(reader)
        return copy

    def _unwrapped(self, found: Exported) -> Exported:
        """Return the rows of a document, one a line."""
        with _opened(found.path, found.packed) as file:
            raw = file.read(_LARGEST + 1)
        if len(raw) > _LARGEST:
            raise NoRecording(f"{found.name}: larger than {_LARGEST // 1024**2} MB: export it in parts, or as Parquet")
        copy, notes = self._copy(), list[str]()
        with copy.open("w", encoding="utf-8") as out:
            for row in _rows(found.name, raw.decode("utf-8"), notes):
                out.write(json.dumps(row) + "\n")
        return replace(found, path=copy, form=Form.LINES, packed=False, note="; ".join(notes))

    def mended(self, found: Exported) -> Exported:
        """Return a copy of JSON in which the halves of letters are ``U+FFFD``: DuckDB refuses a file that has one."""
        copy = self._copy()
        with _opened(found.path, found.packed) as file, copy.open("wb") as out:
            out.writelines(_HALF.sub(rb"\\ufffd", line) for line in file)
        return replace(found, path=copy, packed=False)

    def _copy(self) -> Path:
        return self._scratch / f"{next(self._numbers)}.jsonl"


def ending_of(name: str) -> str:
    """Return the ending of a name as ``ending`` does of a path."""
    return ending(Path(name))


def bad_place(found: Exported) -> str:
    """Return where the first place is that is no JSON and why, or an empty text: DuckDB's own is one too far."""
    with _opened(found.path, found.packed) as file:
        if found.form is not Form.LINES:
            return _bad(file.read(_LARGEST))
        return next((f"line {number}: {bad}" for number, line in enumerate(file, 1) if (bad := _bad(line))), "")


def _bad(text: bytes) -> str:
    try:
        json.loads(text) if text.strip() else None
    except ValueError as error:
        return str(error)
    return ""


def _packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


@contextmanager
def _opened(path: Path, packed: bool) -> Iterator[IO[bytes]]:
    with gzip.open(path, "rb") if packed else path.open("rb") as file:
        yield file  # type: ignore[misc]


def _decoding(file: IO[bytes], encoding: str) -> Iterator[bytes]:
    import codecs

    decoder = codecs.getincrementaldecoder(encoding)()
    while piece := file.read(1024 * 1024):
        yield decoder.decode(piece).encode()
    yield decoder.decode(b"", final=True).encode()


def _json(head: str) -> Form:
    if head.startswith("["):
        return Form.ARRAY
    try:
        _, end = json.JSONDecoder().raw_decode(head)
    except ValueError:  # longer than what was looked at, or none: reading it says which
        return Form.LINES
    return Form.OBJECTS if "\n" in head[:end] else Form.LINES


def _wraps(head: str) -> bool:
    """Return whether the first object is no row but holds rows."""
    if not head.startswith("{"):
        return False
    try:
        first, _ = json.JSONDecoder().raw_decode(head)
    except ValueError:
        return _HOLDS.search(head) is not None
    return _held(first) is not None


def _held(document: Any) -> tuple[str, list[Any]] | None:
    """Return under which name a document holds rows, and what it holds; None for a row."""
    if not isinstance(document, Mapping):
        return None
    for name in ("tables", "Tables", "records", "value"):
        held = document.get(name)
        if isinstance(held, list) and all(isinstance(each, Mapping) for each in held):
            return name, held
    return None


def _rows(name: str, text: str, notes: list[str]) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of every document in the text. Raises NoRecording, naming the place, for what holds none."""
    decoder, at, number = json.JSONDecoder(), len(text) - len(text.lstrip()), 0
    while at < len(text):
        number += 1
        try:
            document, at = decoder.raw_decode(text, at)
        except ValueError as error:
            raise NoRecording(f"{name}: {error}") from error
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
        held = _held(document)
        if held is None:
            raise NoRecording(f"{name}: document {number} holds no tables and no records")
        if isinstance(document.get("error"), Mapping):
            notes.append(f"{name} is a part of an answer: {document['error'].get('code', 'it says error')}")
        yield from _of_tables(name, held[1]) if held[0].lower() == "tables" else held[1]


def _of_tables(name: str, tables: list[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for table in tables:
        called = str(table.get("name") or table.get("TableName") or "")
        columns = [
            str(each.get("name") or each.get("ColumnName"))
            for each in table.get("columns") or table.get("Columns") or ()
        ]
        for number, row in enumerate(table.get("rows") or table.get("Rows") or (), 1):
            if not isinstance(row, list) or len(row) != len(columns):
                raise NoRecording(
                    f"{name}: row {number} of table {called}: not a value for each of {len(columns)} columns"
                )
            yield {"TableName": called, **dict(zip(columns, row, strict=True))}
