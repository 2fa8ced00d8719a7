"""The audit's copy in Azure Storage: append blobs, one a month, each append bound to where the blob ended before.

A block is written only where the writer believes the end to be (``appendpos``). So a writer that got no clear answer
may send again, and two at once may send the same: the service takes it once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tocsin.connections.identity import credential
from tocsin.connections.refusal import no_answer
from tocsin.core.audit import End, canonical
from tocsin.core.copying import Place
from tocsin.ports import Conflict, Diverged, MirrorUnavailable
from tocsin.stores.codec import last_line

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient, ContainerClient

CONTAINER = "audit"
"""Where a connection string leads: an address names its container itself."""

MOST_BLOCKS = 45_000
"""Blocks of one blob, which holds 50,000; then the month goes on in another."""

_BLOCK = 4_000_000
"""Bytes of one block; every version of the service takes 4 MiB."""

_BACK = 65_536
_NAME = re.compile(r"(\d{4}-\d{2})(?:\.(\d+))?\.jsonl")
_OPTIONS = {"retry_total": 0, "connection_timeout": 5, "read_timeout": 10}


@dataclass(frozen=True, slots=True)
class BlobMirror:
    """A copy in one container, which is made by whoever makes the storage account."""

    container: ContainerClient
    most_blocks: int = MOST_BLOCKS

    @property
    def name(self) -> str:
        """Return the account and the container."""
        return f"{self.container.account_name}/{self.container.container_name}"

    def tail(self) -> Place:
        """Return where the newest blob ends. Raises ``Diverged`` when the last line is no record."""
        with _reached():
            ends = (self._end(name) for name in reversed(self._names()))
            newest = next(ends, Place())
            written = newest if newest.length else next((each for each in ends if each.length), newest)
            return replace(newest, end=written.end)  # the newest blob may be made, and not written to yet

    def append(self, entries: Sequence[Mapping[str, Any]], at: Place) -> Place:
        """Append one block of the first records. Raises ``Conflict`` when the copy does not end ``at`` that place."""
        place = self._begun(at, str(entries[0]["at"])[:7])
        taken, block = _block(entries, place.file)
        with _reached():
            answer = self._blob(place.file).append_block(block, len(block), appendpos_condition=place.length)
        end = End(taken[-1]["sequence"], taken[-1]["hash"])
        blocks = int(str(answer["blob_committed_block_count"]))
        return Place(end, place.file, place.length + len(block), blocks)

    def lines(self) -> Iterator[bytes]:
        """Yield every line of every blob, oldest first."""
        with _reached():
            names = self._names()
        for name in names:
            rest = b""
            for chunk in self._chunks(name):
                *whole, rest = (rest + chunk).split(b"\n")
                yield from whole
            if rest:
                yield rest

    def _chunks(self, name: str) -> Iterator[bytes]:
        with _reached():
            yield from self._blob(name).download_blob().chunks()

    def _begun(self, at: Place, month: str) -> Place:
        """Return where the next record goes: on, or to the beginning of a new blob, which is made.

        What it is called depends on ``at`` and the record alone, so that two writers never choose differently.
        """
        now, number = _key(at.file) if at.file else ("", 0)
        if month > now:
            name = f"{month}.jsonl"
        elif at.blocks >= self.most_blocks:
            name = f"{now}.{number + 1}.jsonl"
        else:
            return at
        self._make(name)
        return Place(at.end, name)

    def _make(self, name: str) -> None:
        from azure.core import MatchConditions

        try:
            with _reached():
                self._blob(name).create_append_blob(match_condition=MatchConditions.IfMissing)
        except Conflict:
            return  # somebody else made it: whoever appends first at its beginning was first

    def _names(self) -> list[str]:
        found = [name for name in self.container.list_blob_names() if _NAME.fullmatch(name)]
        return sorted(found, key=_key)

    def _end(self, name: str) -> Place:
        blob = self._blob(name)
        known = blob.get_blob_properties()
        length, blocks, back = int(known.size), int(known.append_blob_committed_block_count or 0), _BACK
        while length:
            start = max(0, length - back)
            data = blob.download_blob(start, length - start).readall()
            last = last_line(data, whole=start == 0)
            if last is not None:
                return Place(last, name, length, blocks)
            back *= 8
        return Place(End(), name)

    def _blob(self, name: str) -> BlobClient:
        return self.container.get_blob_client(name)


def _key(name: str) -> tuple[str, int]:
    found = _NAME.fullmatch(name)
    return (found[1], int(found[2] or 0)) if found else ("", 0)


def _block(entries: Sequence[Mapping[str, Any]], file: str) -> tuple[list[Mapping[str, Any]], bytes]:
    """Return the first records that one block of the file holds, and the block: a later month's are for its own."""
    taken, lines, size = list[Mapping[str, Any]](), list[bytes](), 0
    for entry in entries:
        line = f"{canonical(entry)}\n".encode()
        if taken and (size + len(line) > _BLOCK or str(entry["at"])[:7] > _key(file)[0]):
            break
        taken.append(entry)
        lines.append(line)
        size += len(line)
    return taken, b"".join(lines)


def connect(where: str, client_id: str | None = None, static_token: str | None = None) -> BlobMirror:
    """Return the copy at ``where``: a connection string, or the address of a blob container for an identity."""
    from azure.storage.blob import ContainerClient

    options: dict[str, Any] = dict(_OPTIONS)
    if where.startswith("https://"):
        known = credential(client_id, static_token, where)
        return BlobMirror(ContainerClient.from_container_url(where, credential=known, **options))
    return BlobMirror(ContainerClient.from_connection_string(where, CONTAINER, **options))


_FIRST = {"AppendPositionConditionNotMet", "ConditionNotMet", "BlobAlreadyExists", "BlobNotFound"}
"""Refusals that say that the blob is not as it was believed to be."""


@contextmanager
def _reached() -> Iterator[None]:
    """Turn those refusals into ``Conflict``, and everything else that can fail into ``MirrorUnavailable``."""
    from azure.core.exceptions import HttpResponseError

    try:
        yield
    except (Conflict, Diverged, MirrorUnavailable):
        raise
    except Exception as error:
        code = getattr(error, "error_code", None)
        if isinstance(error, HttpResponseError) and str(getattr(code, "value", code)) in _FIRST:
            raise Conflict(str(code)) from error
        refused = no_answer(error)
        raise MirrorUnavailable(f"the audit's copy does not answer: {refused.why.value} {refused.detail}") from error
