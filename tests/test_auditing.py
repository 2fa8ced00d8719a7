"""``tocsin audit``: what an operator sees of the record, and that whatever was done to it is named."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.storage.blob import BlobClient, ContainerClient
from typer.testing import CliRunner

from tests.azurite.server import Azurite
from tocsin.cli.commands import program
from tocsin.core.audit import START, Record, canonical, chained
from tocsin.engine.mirroring import Mirroring
from tocsin.settings import KNOWN
from tocsin.stores import mirror_blob
from tocsin.stores.mirror import connect
from tocsin.stores.sqlite import SqliteStore
from tocsin.testing import Heard

NOW = datetime.now(UTC).replace(microsecond=0)
runner = CliRunner()


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state file with nine records, in an empty folder that the commands run in."""
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TOCSIN_STATE", str(tmp_path / "state.sqlite"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    store = SqliteStore(tmp_path / "state.sqlite")
    for number in range(1, 10):
        actor = "person ada" if number % 4 == 0 else "policy stop_unsafe_tools"
        target = "sales" if number % 2 else "support"
        at = NOW - timedelta(hours=10 - number)
        store.record(None, [Record(at, actor, f"event {number}", target, "x", {"reason": f"because {number}"})])
    store.close()
    return tmp_path / "state.sqlite"


def run(*arguments: str, code: int = 0) -> str:
    result = runner.invoke(program, ["audit", *arguments])
    assert result.exit_code == code, result.output
    return " ".join((result.stderr if code in (2, 3) else result.stdout).split())


def sql(state: Path, *statements: str) -> None:
    with sqlite3.connect(state) as db:
        for statement in statements:
            db.execute(statement)


def copy(state: Path) -> None:
    """Copy the audit as a tick does."""
    store = SqliteStore(state)
    import os

    Mirroring(store, connect(os.environ["TOCSIN_AUDIT"], state.parent), Heard()).copy(NOW)
    store.close()


def test_the_newest_records_are_listed_newest_last(state: Path) -> None:
    shown = run("list", "--limit", "3")
    assert shown.index("because 7") < shown.index("because 9")
    assert "because 6" not in shown
    assert [each["sequence"] for each in json.loads(run("list", "-o", "json"))] == list(range(1, 10))


def test_records_are_listed_by_target_actor_and_time(state: Path) -> None:
    def listed(*arguments: str) -> list[int]:
        return [each["sequence"] for each in json.loads(run("list", "-o", "json", *arguments))]

    assert listed("--target", "sales") == [1, 3, 5, 7, 9]
    assert listed("--actor", "person ada") == [4, 8]
    assert listed("--since", "150m") == [8, 9]
    assert listed("--since", (NOW - timedelta(hours=3)).isoformat()) == [7, 8, 9]
    assert listed("--target", "support", "--limit", "1") == [8]
    assert "no such record" in run("list", "--target", "nobody")
    assert "is no time" in run("list", "--since", "yesterday", code=2)


def test_hostile_text_in_a_record_cannot_draw_on_the_terminal(state: Path) -> None:
    SqliteStore(state).record(None, [Record(NOW, "person \x1b[31mx", "[red]e", "t\u202e", "x", {"reason": "a\nb\x07"})])
    shown = runner.invoke(program, ["audit", "list", "--limit", "1"]).stdout
    assert "[red]e" in shown
    assert "a b" in shown
    assert not {"\x1b", "\u202e", "\x07"} & set(shown)


def test_a_whole_chain_is_said_to_be_whole_with_its_end(state: Path) -> None:
    shown = run("verify")
    assert "store: 9 records, whole; --count 9 --head " in shown
    assert "cut off" in shown, "the chain alone does not prove its end"
    head = shown.split("--head ")[1]
    assert json.loads(run("verify", "-o", "json"))["store"]["head"] == head
    assert "whole" in run("verify", "--count", "9", "--head", head)
    SqliteStore(state).record(None, [Record(NOW, "person ada", "later", "sales", "x")])
    assert "10 records, whole" in run("verify", "--count", "9", "--head", head)
    assert "written anew" in run("verify", "--count", "9", "--head", "f" * 64, code=1)


def test_an_empty_audit_is_whole(tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_STATE", str(tmp_path / "new.sqlite"))
    assert "store: 0 records, whole" in run("verify")
    assert "the file is empty" in run("export", "empty.jsonl")
    assert "0 records" in run("verify", "empty.jsonl")


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        (
            ["UPDATE audit SET body = replace(body, 'because 5', 'because 6') WHERE sequence = 5"],
            "record 5 (line 5) was",
        ),
        (["DELETE FROM audit WHERE sequence = 5"], "record 5 is missing: line 5 holds record 6"),
        (["UPDATE audit SET body = '{' WHERE sequence = 5"], "record 5 (line 5) is not JSON"),
        (["UPDATE audit SET body = body || ' ' WHERE sequence = 5"], "record 5 (line 5) is not written as RFC 8785"),
        (
            [
                "UPDATE audit SET sequence = 100 WHERE sequence = 5",
                "UPDATE audit SET sequence = 5 WHERE sequence = 7",
                "UPDATE audit SET sequence = 7 WHERE sequence = 100",
            ],
            "records were moved: line 5 holds record 7, and record 5, which belongs there, stands in line 7",
        ),
        (["INSERT INTO audit SELECT 100, body FROM audit WHERE sequence = 5"], "line 10 repeats record 5 of line 5"),
    ],
)
def test_whatever_was_done_to_the_store_is_named(state: Path, statements: list[str], words: str) -> None:
    sql(state, *statements)
    assert f"store: {words}" in run("verify", code=1)
    shown = json.loads(runner.invoke(program, ["audit", "verify", "-o", "json"]).stdout)
    assert shown["whole"] is False
    assert shown["store"]["line"] in (5, 10)


def test_a_record_that_is_none_is_said_by_the_list_too(state: Path) -> None:
    sql(state, "UPDATE audit SET body = '{' WHERE sequence = 5")
    assert "tocsin audit verify" in runner.invoke(program, ["audit", "list"]).stderr
    run("list", code=1)
    run("export", "x.jsonl", code=1)


def test_an_export_is_verified_by_the_line_it_says(state: Path) -> None:
    said = run("export", "all.jsonl")
    command = said[said.index("tocsin audit verify") :].split()[2:]
    assert "9 records, whole" in run(*command)
    lines = Path("all.jsonl").read_text().splitlines(keepends=True)
    Path("all.jsonl").write_text("".join(lines[:-2]))
    assert "9 records" not in run("verify", "all.jsonl")
    assert "records 8 to 9 are missing: the end was cut off" in run(*command, code=1)
    Path("all.jsonl").write_text("".join([*lines[:3], lines[4], lines[3], *lines[5:]]))
    assert "records were moved: line 4 holds record 5" in run(*command, code=1)
    Path("all.jsonl").write_bytes("".join(lines).encode().replace(b"because 2", b"because\xff2"))
    assert "record 2 (line 2) is not JSON" in run(*command, code=1)


def test_a_part_is_verified_after_its_predecessor(state: Path) -> None:
    said = run("export", "part.jsonl", "--since", "450m", "--until", "150m")
    assert "records 3 to 7" in said
    command = said[said.index("tocsin audit verify") :].split()[2:]
    assert "5 records, whole" in run(*command)
    assert "records 1 to 2 are missing" in run("verify", "part.jsonl", code=1)
    assert "does not follow" in run("verify", "part.jsonl", "--after", "f" * 64, code=1)
    summary = json.loads(run("export", "again.jsonl", "--since", "150m", "-o", "json"))
    assert (summary["records"], summary["first"], summary["last"]) == (2, 8, 9)
    assert [canonical(json.loads(line)) for line in Path("again.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["export", "state.sqlite"], "is there already"),
        (["export", "no/folder/x.jsonl"], "cannot be written"),
        (["verify", "nothing.jsonl"], "cannot be read"),
        (["verify", "--mirror"], "TOCSIN_AUDIT is not set"),
        (["verify", "--head", "f"], "belong together"),
        (["verify", "--after", "f"], "--after is for a file"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(state: Path, arguments: list[str], words: str) -> None:
    assert words in run(*arguments, code=2)


# The copy


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    server = Azurite(tmp_path_factory.mktemp("azurite"), "blob")
    yield server
    server.stop()


@pytest.fixture
def container(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> ContainerClient:
    monkeypatch.setattr(mirror_blob, "CONTAINER", f"c{uuid.uuid4().hex}")
    made = ContainerClient.from_connection_string(azurite.connection, mirror_blob.CONTAINER)
    made.create_container()
    return made


@pytest.fixture
def copied(state: Path, azurite: Azurite, container: ContainerClient, monkeypatch: pytest.MonkeyPatch) -> BlobClient:
    """The one blob of the copy of the state's nine records."""
    monkeypatch.setenv("TOCSIN_AUDIT", azurite.connection)
    copy(state)
    names = list(container.list_blob_names())
    return container.get_blob_client(names[-1])


def write(blob: BlobClient, data: bytes) -> None:
    """Replace the blob, as somebody may where it is not immutable."""
    blob.delete_blob()
    blob.create_append_blob()
    blob.append_block(data)


def test_a_store_and_its_copy_that_are_the_same_are_whole(state: Path, copied: BlobClient) -> None:
    shown = run("verify", "--mirror")
    assert shown.count("9 records, whole") == 2
    assert "cut off" not in shown, "the copy proves the end, too"
    SqliteStore(state).record(None, [Record(NOW, "person ada", "later", "sales", "x")])
    assert "1 newer in the store wait to be copied" in run("verify", "--mirror")


def test_a_line_that_was_changed_in_the_blob_is_named(state: Path, copied: BlobClient) -> None:
    write(copied, copied.download_blob().readall().replace(b"because 8", b"because 9"))
    shown = run("verify", "--mirror", code=1)
    assert "store: 9 records, whole" in shown
    assert f"{copied.container_name}: record 8 (line 8) was changed" in shown


def test_an_end_that_was_cut_from_the_blob_is_named(state: Path, copied: BlobClient) -> None:
    whole = copied.download_blob().readall()
    write(copied, b"".join(whole.splitlines(keepends=True)[:-1]))
    assert "record 9 is missing: the end was cut off" in run("verify", "--mirror", code=1)


def test_an_end_that_was_cut_from_the_store_is_named(state: Path, copied: BlobClient) -> None:
    sql(state, "DELETE FROM audit WHERE sequence >= 8")
    assert "7 records, whole" in run("verify"), "by itself nobody can see it"
    assert "store: records 8 to 9 are missing: the end was cut off" in run("verify", "--mirror", code=1)


def test_a_store_that_was_written_anew_is_named_beside_its_copy(state: Path, copied: BlobClient) -> None:
    store = SqliteStore(state)
    entries = store.audit()
    for number in range(5, 9):
        previous = entries[number - 1]["hash"] if number else START
        record = Record(NOW, "person ada", "innocent", "sales", "x")
        entries[number] = chained(record, number + 1, previous)
    store.close()
    with sqlite3.connect(state) as db:
        for entry in entries:
            db.execute("UPDATE audit SET body = ? WHERE sequence = ?", (canonical(entry), entry["sequence"]))
    assert "9 records, whole" in run("verify")
    assert "store: record 6 differs from its copy" in run("verify", "--mirror", code=1)


def test_a_copy_that_does_not_answer_is_exit_code_three(
    state: Path, copied: BlobClient, container: ContainerClient
) -> None:
    container.delete_container()
    assert "the audit's copy does not answer" in run("verify", "--mirror", code=3)


def test_a_file_is_a_copy_too(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_AUDIT", "copies/audit.jsonl")
    copy(state)
    assert run("verify", "--mirror").count("9 records, whole") == 2
    assert "9 records, whole" in run("verify", "copies/audit.jsonl")


def test_a_copy_that_cannot_be_used_is_a_problem_and_stops_nothing(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tocsin.app import compose
    from tocsin.settings import Settings

    settings = {"TOCSIN_STATE": str(state), "TOCSIN_AUDIT": "AccountKey=c2VjcmV0"}
    app = compose(Settings(state.parent, settings))
    (problem,) = [each for each in app.problems if each.id == "no-audit-copy"]
    assert problem.message == "TOCSIN_AUDIT cannot be used (ValueError): the audit is not copied"
    assert app.engine.mirror is None
    assert "9 records" in run("verify")
