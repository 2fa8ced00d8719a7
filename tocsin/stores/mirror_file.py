"""The audit's copy on one machine: a file of canonical JSON lines, appended under a lock and synced to the disk."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from tocsin.core.audit import canonical
from tocsin.core.copying import Place
from tocsin.ports import Conflict, MirrorUnavailable
from tocsin.stores.codec import last_line

_BACK = 65_536


class FileMirror:
    """A copy in one file. Safe for several processes of one machine."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        """Return the file's path."""
        return str(self._path)

    def tail(self) -> Place:
        """Return where the file ends. Raises ``Diverged`` when its last line is no record."""
        with self._locked() as file:
            return self._place(file)

    def append(self, entries: Sequence[Mapping[str, Any]], at: Place) -> Place:
        """Append all records and return where the file ends then. Raises ``Conflict`` when it does not end ``at``."""
        with self._locked() as file:
            if file.seek(0, os.SEEK_END) != at.length:
                raise Conflict(self._path.name)
            file.write("".join(f"{canonical(entry)}\n" for entry in entries).encode())
            file.flush()
            os.fsync(file.fileno())
            return self._place(file)

    def lines(self) -> Iterator[bytes]:
        """Yield every line of the file as it is; a last one that was never finished, too."""
        if not self._path.exists():
            return
        with _usable(), self._path.open("rb") as file:
            for line in file:
                yield line.removesuffix(b"\n")

    def _place(self, file: BinaryIO) -> Place:
        length = file.seek(0, os.SEEK_END)
        back = _BACK
        while True:
            start = max(0, length - back)
            file.seek(start)
            last = last_line(file.read(length - start), whole=start == 0)
            if last is not None:
                return Place(last, self._path.name, length)
            back *= 8

    @contextmanager
    def _locked(self) -> Iterator[BinaryIO]:
        """Open the file for one writer or reader at a time, without what a crash in mid-write left of a line."""
        with _usable():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                _mend(file)
                yield file


@contextmanager
def _usable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MirrorUnavailable(f"the audit's copy cannot be used: {error.strerror}") from error


def _mend(file: BinaryIO) -> None:
    """Cut off a last line without its end: nobody was told that it was written, and it is written again."""
    length = file.seek(0, os.SEEK_END)
    end, back = length, _BACK
    while end:
        start = max(0, length - back)
        file.seek(start)
        found = file.read(length - start).rfind(b"\n")
        if found >= 0 or start == 0:
            end = start + found + 1
            break
        back *= 8
    if end != length:
        file.truncate(end)
