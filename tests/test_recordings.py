"""Exported telemetry in every form it comes: read the same, or refused with the file, the place and the reason."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.amount import often
from tocsin.backtest.recording import NoRecording, Recording
from tocsin.cli import replaying
from tocsin.core.schema import CLASSIC_COLUMNS
from tocsin.telemetry.embedded import EmbeddedTelemetry

Row = Mapping[str, Any]
T0 = datetime(2026, 11, 29, 8)  # noqa: DTZ001  as the database keeps it

ROWS: list[dict[str, Any]] = [
    {
        "TimeGenerated": f"2026-11-29T08:00:0{number}Z",
        "AppRoleName": "sales",
        "Message": message,
        "ItemCount": 2,
        "Properties": {"event_name": message, **properties},
    }
    for number, (message, properties) in enumerate(
        [
            ("request.received", {"ok": "true"}),
            ("tool.executed", {"ok": "true", "args_redacted.tool": "crm"}),
            ("response.returned", {"ok": "false", "error": "a key never seen before", "value": "12.5"}),
        ]
    )
]
TEXT = [{**row, "Properties": json.dumps(row["Properties"])} for row in ROWS]
"""The same rows as an answer has them: what is dynamic is text."""

OLD = {new: old for old, new in CLASSIC_COLUMNS["AppTraces"].items()}
CLASSIC = [{**{OLD[name]: value for name, value in row.items()}, "itemType": "trace"} for row in TEXT]


def lines(rows: Sequence[Row]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def answer(rows: Sequence[Row], **more: Any) -> dict[str, Any]:
    """Return the rows as the query API answers them."""
    names = list(rows[0])
    columns = [{"name": name, "type": "string"} for name in names]
    return {
        "tables": [{"name": "PrimaryResult", "columns": columns, "rows": [list(row.values()) for row in rows]}],
        **more,
    }


def sheet(rows: Sequence[Row], *, mark: str = ",", end: str = "\r\n", **renamed: str) -> str:
    """Return the rows as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=mark, lineterminator=end)
    writer.writerow([renamed.get(name, name) for name in rows[0]])
    writer.writerows(list(row.values()) for row in rows)
    return out.getvalue()


def spoken(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Return the rows as ``az monitor log-analytics query -o json`` prints them."""
    return [{**{name: str(value) for name, value in row.items()}, "TableName": "PrimaryResult"} for row in rows]


RECORDS = [{"time": row["TimeGenerated"], "category": "AppTraces", **row} for row in ROWS]
for record in RECORDS:
    del record["TimeGenerated"]

FORMS: dict[str, tuple[str, str | bytes]] = {
    "an object a line": ("AppTraces.jsonl", lines(ROWS)),
    "Properties as text": ("AppTraces.ndjson", lines(TEXT)),
    "lines in a file called .json": ("AppTraces.json", lines(ROWS)),
    "lines, compressed": ("AppTraces.jsonl.gz", gzip.compress(lines(ROWS).encode())),
    "lines, compressed without saying so": ("AppTraces.json", gzip.compress(lines(ROWS).encode())),
    "one array on a line": ("AppTraces.json", json.dumps(ROWS)),
    "one array over lines": ("AppTraces.json", json.dumps(ROWS, indent=2)),
    "objects over lines": ("AppTraces.json", "\n".join(json.dumps(row, indent=2) for row in ROWS)),
    "an answer of the query API": ("AppTraces.json", json.dumps(answer(TEXT))),
    "an answer over lines": ("AppTraces.json", json.dumps(answer(TEXT, statistics={"query": {}}), indent=2)),
    "an answer, compressed": ("AppTraces.json.gz", gzip.compress(json.dumps(answer(TEXT)).encode())),
    "the command line's": ("AppTraces.json", json.dumps(spoken(TEXT), indent=2)),
    "the command line's, redirected by PowerShell": ("AppTraces.json", json.dumps(spoken(TEXT)).encode("utf-16")),
    "with a byte order mark": ("AppTraces.jsonl", b"\xef\xbb\xbf" + lines(ROWS).encode()),
    "a diagnostic setting's": ("insights-logs-apptraces/y=2026/m=11/PT1H.json", json.dumps({"records": RECORDS})),
    "its lines": ("insights-logs-apptraces/y=2026/m=11/PT1H.json", lines(RECORDS)),
    "batches, one a line": ("AppTraces.json", lines([{"records": [row]} for row in ROWS])),
    "Data Export's": ("am-apptraces/WorkspaceResourceId=/x/y=2026/h=08/PT05M.json", lines(ROWS)),
    "rows that say their table": ("query_data.json", lines([{**row, "Type": "AppTraces"} for row in ROWS])),
    "rows whose columns say it": ("export.jsonl", lines(ROWS)),
    "the classic names": ("traces.json", json.dumps(CLASSIC)),
    "the classic names, by rows": ("query_data.json", json.dumps(CLASSIC)),
    "names in other letters": ("AppTraces.json", lines([{k.lower(): v for k, v in row.items()} for row in ROWS])),
    "CSV": ("AppTraces.csv", sheet(TEXT)),
    "CSV with its own ends of lines": ("AppTraces.csv", sheet(TEXT, end="\n")),
    "the portal's CSV": ("query_data.csv", "\ufeff" + sheet(TEXT, TimeGenerated="TimeGenerated [UTC]")),
    "the portal's classic CSV": ("query_data.csv", "\ufeff" + sheet(CLASSIC, timestamp="timestamp [UTC]")),
    "CSV with semicolons": ("AppTraces.csv", sheet(TEXT, mark=";")),
    "TSV": ("AppTraces.tsv", sheet(TEXT, mark="\t")),
    "CSV, compressed": ("AppTraces.csv.gz", gzip.compress(sheet(TEXT).encode())),
}


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def laid(place: Path, table: str = "AppTraces", wanted: str = "*") -> tuple[list[tuple[Any, ...]], list[str]]:
    """Return the rows of a table and what was noted."""
    recording = Recording.of(place)
    telemetry = EmbeddedTelemetry(recorded=recording.lay)
    try:
        with telemetry.session() as session:
            rows = session.execute(f'SELECT {wanted} FROM (FROM landed."{table}" ORDER BY "TimeGenerated")').fetchall()
    finally:
        telemetry.close()
    return rows, recording.ignored


WANTED = '"TimeGenerated", "AppRoleName", "Message", "ItemCount", "Properties"'
AS_WRITTEN = [
    (T0 + timedelta(seconds=number), "sales", row["Message"], 2, row["Properties"]) for number, row in enumerate(ROWS)
]


def read(place: Path) -> list[tuple[Any, ...]]:
    """Return the rows; each counts as ingested when it was emitted, for none of these exports says when it was."""
    rows, _ = laid(place, wanted=WANTED)
    late, _ = laid(
        place, wanted='count(*) FILTER ("_IngestedAt" IS DISTINCT FROM "TimeGenerated"), any_value("TimeGenerated")'
    )
    assert late[0][0] == 0
    properties = [{name: value for name, value in json.loads(row[4]).items() if value is not None} for row in rows]
    return [(*row[:4], own) for row, own in zip(rows, properties, strict=True)]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_the_same(form: str, tmp_path: Path) -> None:
    put(tmp_path, *FORMS[form])
    assert read(tmp_path) == AS_WRITTEN


@pytest.mark.parametrize("rows", [ROWS, TEXT], ids=["struct", "text"])
def test_parquet_is_read_whatever_its_properties_are(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    source = put(tmp_path, "rows.json", json.dumps(rows))
    for number, row in enumerate(rows):  # files of one table may have other columns
        only = "" if number else "EXCLUDE ItemCount"
        query = f"SELECT * {only} FROM read_json('{source}') WHERE Message = '{row['Message']}'"
        duckdb.execute(f"COPY ({query}) TO '{tmp_path}/AppTraces-{number}.parquet' (FORMAT parquet, CODEC gzip)")
    source.unlink()
    assert read(tmp_path) == [(*AS_WRITTEN[0][:3], 1, AS_WRITTEN[0][4]), *AS_WRITTEN[1:]]


def test_when_a_row_was_ingested_is_read_where_an_export_has_it(tmp_path: Path) -> None:
    put(tmp_path, "AppTraces.json", lines([{**row, "_IngestedAt": "2026-11-29T09:00:00Z"} for row in ROWS]))
    rows, _ = laid(tmp_path, wanted='"_IngestedAt"')
    assert rows == [(T0 + timedelta(hours=1),)] * 3


@pytest.mark.parametrize("name", ["_ResourceId", "resourceId"])
def test_a_row_keeps_the_resource_that_sent_it(name: str, tmp_path: Path) -> None:
    put(tmp_path, "AppTraces.json", lines([{**row, name: "/SUBSCRIPTIONS/S"} for row in ROWS]))
    rows, _ = laid(tmp_path, wanted='"_ResourceId"')
    assert rows == [("/SUBSCRIPTIONS/S",)] * 3


def test_a_file_and_a_pattern_are_read_like_a_folder(tmp_path: Path) -> None:
    for number, row in enumerate(ROWS):
        put(tmp_path, f"am-AppTraces/h=0{number}/PT05M.json", lines([row]))
    assert read(tmp_path / "am-AppTraces" / "h=00" / "PT05M.json") == AS_WRITTEN[:1]
    assert read(tmp_path / "**" / "*.json") == AS_WRITTEN
    assert read(tmp_path / "am-App*" / "h=0[12]") == AS_WRITTEN[1:]
    with pytest.raises(NoRecording, match="there is no folder and no file"):
        Recording.of(tmp_path / "*.csv")


def test_forms_of_one_table_are_read_together(tmp_path: Path) -> None:
    put(tmp_path, "AppTraces-1.jsonl", lines(ROWS[:1]))
    put(tmp_path, "AppTraces-2.json", json.dumps(answer(TEXT[1:2])))
    put(tmp_path, "AppTraces-3.csv", sheet(TEXT[2:]))
    assert read(tmp_path) == AS_WRITTEN


def test_rows_of_several_tables_in_one_file_are_told_apart(tmp_path: Path) -> None:
    request = {"TimeGenerated": "2026-11-29T08:00:00Z", "Type": "AppRequests", "Success": "False", "DurationMs": 3.5}
    other = {"TimeGenerated": "2026-11-29T08:00:00Z", "Type": "Heartbeat"}
    put(tmp_path, "union.json", lines([*({**row, "Type": "AppTraces"} for row in ROWS), request, other]))
    assert read(tmp_path) == AS_WRITTEN
    rows, _ = laid(tmp_path, "AppRequests", '"Success", "DurationMs", "ItemCount"')
    assert rows == [(False, 3.5, 1)]


def test_a_classic_type_is_that_of_the_exception_and_today_s_is_the_table(tmp_path: Path) -> None:
    old = {"timestamp": "2026-11-29T08:00:00Z", "itemType": "exception", "type": "ValueError"}
    new = {"TimeGenerated": "2026-11-29T08:00:01Z", "Type": "AppExceptions", "ExceptionType": "KeyError"}
    for ending, write in ((".json", json.dumps), (".csv", sheet)):
        put(tmp_path, f"old{ending}", write([old]))  # type: ignore[operator]
        put(tmp_path, f"new{ending}", write([new]))  # type: ignore[operator]
    rows, _ = laid(tmp_path, "AppExceptions", '"ExceptionType"')
    assert rows == [("ValueError",), ("ValueError",), ("KeyError",), ("KeyError",)]


def test_many_small_files_are_read_in_few_statements(tmp_path: Path) -> None:
    for number in range(450):
        row = {**ROWS[0], "TimeGenerated": (T0 + timedelta(minutes=5 * number)).isoformat() + "Z"}
        put(tmp_path, f"am-apptraces/{number}/PT05M.json", lines([row]))
    moved, asked = list[int](), list[str]()
    recording = Recording.of(tmp_path)

    class Counting:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def execute(self, sql: str) -> Any:
            asked.append(sql)
            return self._inner.execute(sql)

    EmbeddedTelemetry(recorded=lambda database: recording.lay(Counting(database), moved.append)).close()
    assert sum(moved) == recording.count == 450
    assert len(asked) < 20


@pytest.mark.parametrize("name", ["AppTraces.json", "export.json", "AppTraces.json.gz"])
@pytest.mark.parametrize("write", [lines, json.dumps, lambda each: json.dumps({"records": each})])
def test_a_text_that_was_cut_inside_a_letter_ends_no_replay(
    name: str, write: Callable[[Any], str], tmp_path: Path
) -> None:
    cut = ["\ud83d", "a \ude00 b", "\ud83d\ud83d\ude00"]
    text = write([{**row, "Message": odd} for row, odd in zip(ROWS, cut, strict=True)])
    put(tmp_path, name, gzip.compress(text.encode()) if name.endswith("gz") else text)
    assert [row[2] for row in read(tmp_path)] == ["\ufffd", "a \ufffd b", "\ufffd\U0001f600"]


# What is odd is told, and what is bad is refused where it is


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"AppTraces.jsonl": lines(ROWS[:1]) + '{"a": 2\n' + lines(ROWS[1:])}, r"^AppTraces.jsonl, line 2: Expecting"),
        ({"AppTraces.jsonl": lines(ROWS) + '{"TimeGenerated": "2026-'}, r"^AppTraces.jsonl, line 4: "),
        ({"AppTraces.json": '[{"TimeGenerated": "x"},\n{"a": 2,,]'}, r"^AppTraces.json: .*line 2 column 9"),
        ({"AppTraces.json": '{"tables": [{"name": "T", "columns": [{"name": "a"}], "rows": [[1], [1, 2]]}]}'},
         r"^AppTraces.json: row 2 of table T: not a value for each of 1 columns"),
        ({"AppTraces.json": '{"tables": [] '}, r"^AppTraces.json: "),
        ({"AppTraces.json": json.dumps({"records": ROWS}) + json.dumps({"records": "no"})},
         r"^AppTraces.json: document 2 holds no tables and no records"),
        ({"AppTraces.json": '{"records": [{"a": 1}]}'}, r"^AppTraces.json: a column TimeGenerated is needed"),
        ({"AppTraces.jsonl.gz": gzip.compress(lines(ROWS * 500).encode())[:-40]}, r"^AppTraces.jsonl.gz: .*(GZIP|end)"),
        ({"AppTraces.csv": b"TimeGenerated,Message\n2026-11-29T08:00:00Z,\xe9\n"}, r"^AppTraces.csv, line 2: .*utf-8"),
        ({"AppTraces.csv": "TimeGenerated,Message\n2026-11-29T08:00:00Z,a,b\n"}, r"^AppTraces.csv, line 2: "),
        ({"AppTraces.csv": 'TimeGenerated,Message\n2026-11-29T08:00:00Z,"a\n'}, r"^AppTraces.csv, line 2: "),
        ({"AppTraces.csv": "When,Message\nx,y\n"}, r"^AppTraces.csv: a column TimeGenerated is needed; there are Mess"),
        ({"AppTraces.jsonl": lines([{**row, "TimeGenerated": "yesterday"} for row in ROWS])},
         r"^AppTraces.jsonl: no row says when it was emitted: 'yesterday' is no time"),
        ({"AppTraces.parquet": "no parquet"}, r"^AppTraces.parquet: "),
        ({"note.json": '{"a": 1}', "more.csv": "a\n1\n"}, "no file holds rows of a table\nmore.csv: a column Ti"),
        ({"people.jsonl": lines([{"TimeGenerated": "2026-11-29T08:00:00Z", "Name": "x"}])}, "its rows name none"),
        ({"AppTraces.json": ""}, "no file holds rows of a table\nAppTraces.json is empty"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_what_is_bad_is_named_with_its_place(files: dict[str, str | bytes], words: str, tmp_path: Path) -> None:
    for name, content in files.items():
        put(tmp_path, name, content)
    with pytest.raises(NoRecording, match=words):
        laid(tmp_path)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"AppTraces.jsonl": lines([*ROWS, {"Message": "no time"}])}, "1 of 4 rows do not say when they were emitted"),
        (
            {"AppTraces.json": json.dumps(answer(TEXT, error={"code": "PartialError"}))},
            "a part of an answer: PartialError",
        ),
        (
            {"AppTraces.jsonl": lines([{**row, "Properties": "{'a': 1}"} for row in ROWS])},
            "no row of AppTraces has Prop",
        ),
        (
            {"export.jsonl": lines(ROWS)},
            "export.jsonl is named after no table, and is read as AppTraces by its columns",
        ),
        (
            {"AppTraces.jsonl": lines(ROWS), "AppTracess.json": "{}"},
            "AppTracess.json: a column TimeGenerated is needed",
        ),
        ({"AppTraces.jsonl": lines(ROWS), "broken.json": lines(ROWS[:1]) + "{]"}, "broken.json, line 2: "),
        ({"AppTraces.jsonl": lines(ROWS), "AppRequests.json": " \n"}, "AppRequests.json is empty"),
        (
            {"AppTraces.csv": sheet(TEXT, TimeGenerated="TimeGenerated [Local Time]")},
            "AppTraces.csv has times in Local Time, and they are read as UTC",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_odd_is_told_and_the_rest_is_read(files: dict[str, str], words: str, tmp_path: Path) -> None:
    for name, content in files.items():
        put(tmp_path, name, content)
    rows, notes = laid(tmp_path)
    assert len(rows) == 3
    assert [note for note in notes if words in note], notes


def test_a_document_that_is_too_large_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tocsin.backtest.unwrapping._LARGEST", 300)
    put(tmp_path, "AppTraces.json", json.dumps(answer(TEXT)))
    with pytest.raises(NoRecording, match="larger than"):
        laid(tmp_path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)
NAMED = st.sampled_from(["TimeGenerated", "Properties", "ItemCount", "Message", "Type", "time", "_IngestedAt"])


@settings(max_examples=often(100, 15))
@given(st.lists(st.dictionaries(NAMED, VALUES, max_size=6), max_size=3), st.integers(0, 2))
def test_nothing_in_a_row_ends_a_replay_but_with_a_reason(rows: list[dict[str, Any]], form: int) -> None:
    write: list[Callable[[Any], str]] = [lines, json.dumps, lambda each: json.dumps({"records": each})]
    with tempfile.TemporaryDirectory() as place:
        put(Path(place), "AppTraces.json", write[form]([*rows, ROWS[0]]))
        database = duckdb.connect()
        try:
            Recording.of(Path(place)).lay(database)
        except NoRecording as error:
            assert "AppTraces.json" in str(error)
        else:
            assert database.execute('SELECT count(*) >= 1 FROM landed."AppTraces"').fetchone() == (True,)


# How far it is


def test_off_a_terminal_a_line_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(replaying, "_EVERY", 0.01)
    said = ""
    with replaying._lines(1_200, "slots") as moved:
        for _ in range(300):
            moved(1)
            time.sleep(0.01)
            said += capsys.readouterr().err
            if said.count("\n") >= 2:
                break
    first, second, *_ = said.splitlines()
    assert first.partition(" of ")[2].startswith("1,200 slots, ")
    assert int(first.split()[0]) <= int(second.split()[0])


def test_a_short_replay_says_nothing_of_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with replaying._lines(1, "files") as moved:
        moved(1)
    assert capsys.readouterr() == ("", "")
