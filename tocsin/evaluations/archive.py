"""A run's files out of a zip, in memory: nothing is written anywhere, and the sizes it claims are not believed."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping

from tocsin.core.evallines import QUALITY, REDTEAM, RUN

LARGEST = 8 * 1024 * 1024
"""Bytes of one file, unpacked."""

_MOST = 5_000
_ENCRYPTED = 0x1
_BAD = (zipfile.BadZipFile, zlib.error, EOFError, LookupError, NotImplementedError, OSError, RuntimeError, ValueError)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Unusable(Exception):
    """The archive is none, or holds what no run of evals would put there; the words say what."""


def content(data: bytes) -> Mapping[str, bytes]:
    """Return the run's files by their names, wherever in the archive their folder is. Raises ``Unusable``."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            places = _places(archive.infolist())
            return {name: _unpacked(archive, entry) for name, entry in places.items()}
    except _BAD as error:
        raise Unusable(f"the archive cannot be read: {type(error).__name__}") from None


def _places(entries: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    if len(entries) > _MOST:
        raise Unusable(f"the archive has more than {_MOST} files")
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        _sound(entry.filename)
        name = next((each for each in (QUALITY, REDTEAM, RUN) if f"/{entry.filename}".endswith(f"/{each}")), "")
        if name and name in found:
            raise Unusable(f"the archive has {name} twice")
        if name:
            found[name] = entry
    folders = {entry.filename.removesuffix(name) for name, entry in found.items()}
    if len(folders) > 1:
        raise Unusable("the archive has files of more than one run")
    return found


def _sound(name: str) -> None:
    """Nobody who packs results names a file so; that nothing is unpacked to a disk is no reason to trust the rest."""
    if name.startswith("/") or "\\" in name or ":" in name or ".." in name.split("/"):
        raise Unusable("the archive has a file whose name leads out of it")


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    if entry.flag_bits & _ENCRYPTED or entry.compress_type not in _METHODS:
        raise Unusable("the archive is encrypted, or packed in a way that is not taken")
    with archive.open(entry) as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise Unusable(f"a file in the archive is larger than {LARGEST // 1024 // 1024} MiB")
    return data
