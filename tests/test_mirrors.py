"""The audit's copies keep their contract: a file, and append blobs against Azurite; the blobs go by the month."""

from __future__ import annotations

import multiprocessing
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from azure.core.exceptions import ServiceResponseError
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import ContainerClient

from tests.azurite.server import Azurite
from tocsin.core.audit import End, canonical
from tocsin.core.copying import Place
from tocsin.ports import Conflict, Mirror, MirrorUnavailable
from tocsin.stores import mirror_blob
from tocsin.stores.mirror import connect
from tocsin.stores.mirror_blob import BlobMirror
from tocsin.stores.mirror_file import FileMirror
from tocsin.testing.mirror_contract import MirrorContract, a_chain, append_all


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    server = Azurite(tmp_path_factory.mktemp("azurite"), "blob")
    yield server
    server.stop()


@pytest.fixture
def container(azurite: Azurite) -> ContainerClient:
    """A container of its own for each test."""
    made = ContainerClient.from_connection_string(azurite.connection, f"c{uuid.uuid4().hex}")
    made.create_container()
    return made


class TestFile(MirrorContract):
    """The contract on one file."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "deep" / "audit.jsonl"

    def make_mirror(self) -> Mirror:
        return FileMirror(self.path)

    def second(self, mirror: Mirror) -> Mirror:
        return FileMirror(self.path)

    def spoil(self, mirror: Mirror, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)


class TestBlobs(MirrorContract):
    """The contract on one container."""

    @pytest.fixture(autouse=True)
    def _container(self, container: ContainerClient) -> None:
        self.container = container

    def make_mirror(self) -> Mirror:
        return BlobMirror(self.container)

    def second(self, mirror: Mirror) -> Mirror:
        return BlobMirror(self.container)

    def spoil(self, mirror: Mirror, data: bytes) -> None:
        self.container.get_blob_client(mirror.tail().file).append_block(data)


def names(container: ContainerClient) -> list[str]:
    return sorted(container.list_blob_names())


def test_a_month_is_a_blob_and_a_clock_set_back_opens_no_older_one(container: ContainerClient) -> None:
    mirror, entries = BlobMirror(container), a_chain(8, every=timedelta(minutes=5))
    entries[6] = {**entries[6], "at": "2026-11-30T23:59:00+00:00"}
    place = append_all(mirror, entries, mirror.tail())
    assert names(container) == ["2026-11.jsonl", "2026-12.jsonl"]
    assert place.file == "2026-12.jsonl"
    assert list(mirror.lines()) == [canonical(each).encode() for each in entries]


def test_a_blob_that_is_nearly_full_goes_on_in_another(container: ContainerClient) -> None:
    mirror, place = BlobMirror(container, most_blocks=2), Place()
    entries = a_chain(25)
    for entry in entries:
        place = mirror.append([entry], place)
    assert "2026-11.12.jsonl" in names(container)
    assert mirror.tail() == place
    assert list(mirror.lines()) == [canonical(each).encode() for each in entries]


def test_two_who_turn_the_month_at_once_turn_it_once(container: ContainerClient) -> None:
    mirror, other = BlobMirror(container), BlobMirror(container)
    entries = a_chain(6, every=timedelta(minutes=5))
    place = mirror.append(entries[:1], Place())
    append_all(mirror, entries[1:], place)
    with pytest.raises(Conflict):
        other.append(entries[1:], place)
    assert list(mirror.lines()) == [canonical(each).encode() for each in entries]


def test_a_blob_that_was_made_and_not_written_to_ends_where_the_one_before_does(container: ContainerClient) -> None:
    mirror, entries = BlobMirror(container), a_chain(3, every=timedelta(minutes=5))
    mirror.append(entries[:1], Place())
    container.get_blob_client("2026-12.jsonl").create_append_blob()
    container.get_blob_client("notes.txt").upload_blob(b"somebody's own")
    found = mirror.tail()
    assert (found.file, found.length, found.end) == ("2026-12.jsonl", 0, End(1, entries[0]["hash"]))


class Faulty(RequestsTransport):
    """Sends every request, and for those in ``lost`` (counted from 1) loses the answer."""

    def __init__(self, *lost: int) -> None:
        super().__init__()
        self.lost, self.appends = lost, 0

    def send(self, request, **options):  # type: ignore[no-untyped-def]
        answer = super().send(request, **options)
        if "comp=appendblock" in request.url:
            self.appends += 1
            if self.appends in self.lost:
                raise ServiceResponseError("the connection was reset")
        return answer


def test_an_append_whose_answer_was_lost_is_not_written_twice(azurite: Azurite, container: ContainerClient) -> None:
    faulty = ContainerClient.from_connection_string(
        azurite.connection, container.container_name, transport=Faulty(2), **mirror_blob._OPTIONS
    )
    mirror, entries = BlobMirror(faulty), a_chain(4)
    place = mirror.append(entries[:2], Place())
    with pytest.raises(MirrorUnavailable):
        mirror.append(entries[2:], place)
    with pytest.raises(Conflict):
        mirror.append(entries[2:], place)
    assert mirror.tail().end.sequence == 4
    assert list(mirror.lines()) == [canonical(each).encode() for each in entries]


def test_a_container_that_is_not_there_and_a_service_that_is_not_are_unavailable(container: ContainerClient) -> None:
    container.delete_container()
    with pytest.raises(MirrorUnavailable, match="not found"):
        BlobMirror(container).tail()
    nowhere = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YQ==;BlobEndpoint=http://127.0.0.1:1/a;"
    with pytest.raises(MirrorUnavailable):
        connect(nowhere, Path()).tail()


def test_a_setting_says_which_copy_it_is(tmp_path: Path) -> None:
    blob = connect("https://name.blob.core.windows.net/audit", tmp_path, "client")
    assert blob.name == "name/audit"
    assert connect("copies/audit.jsonl", tmp_path).name == str(tmp_path / "copies" / "audit.jsonl")
    with pytest.raises(ValueError, match="https"):
        connect("http://name.blob.core.windows.net/audit", tmp_path)


def test_what_a_crash_left_of_a_line_is_cut_off_and_written_again(tmp_path: Path) -> None:
    path, entries = tmp_path / "audit.jsonl", a_chain(3)
    mirror = FileMirror(path)
    place = mirror.append(entries[:2], mirror.tail())
    with path.open("ab") as file:
        file.write(canonical(entries[2]).encode()[:50])
    assert mirror.tail() == place
    mirror.append(entries[2:], place)
    assert list(mirror.lines()) == [canonical(each).encode() for each in entries]


def _race(path: Path, count: int) -> None:
    mirror, entries = FileMirror(path), a_chain(count)
    place = mirror.tail()
    while place.end.sequence < count:
        try:
            place = mirror.append(entries[place.end.sequence :][:1], place)
        except Conflict:
            place = mirror.tail()


def test_processes_that_append_to_one_file_write_every_line_once(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    racing = [multiprocessing.get_context("fork").Process(target=_race, args=(path, 200)) for _ in range(4)]
    for process in racing:
        process.start()
    for process in racing:
        process.join(60)
        assert process.exitcode == 0
    assert list(FileMirror(path).lines()) == [canonical(each).encode() for each in a_chain(200)]


def test_a_file_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MirrorUnavailable):
        FileMirror(tmp_path / "file" / "audit.jsonl").tail()


def test_a_place_that_names_a_blob_that_is_gone_is_no_place(container: ContainerClient) -> None:
    mirror, entries = BlobMirror(container), a_chain(2)
    place = mirror.append(entries[:1], Place())
    container.get_blob_client(place.file).delete_blob()
    with pytest.raises(Conflict):
        mirror.append(entries[1:], replace(place))
