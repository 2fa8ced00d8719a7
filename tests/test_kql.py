"""Whatever text an operator writes or telemetry holds reads back from a query as exactly itself, on both engines."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.kql.binder import Binder
from tocsin.core import kql

TEXTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"))
NASTY = [
    "",
    "'",
    '"',
    "\\",
    "\\'",
    "\\\\'",
    "\n\r\t",
    "' | take 1 //",
    "\\u2028",
    "\u2028\u2029\x85",
    "\ufeff",
    "ü🙂",
    "'; drop",
]
KEYWORDS = ["by", "where", "and", "in", "let", "project", "summarize", "datetime", "count", "order", "kind", "title"]


@pytest.fixture(scope="module")
def database() -> Iterator[Any]:
    import duckdb_kql

    connection = duckdb_kql.connect(":memory:", config={"enable_external_access": "false"})
    connection.execute("SET TimeZone='UTC'")
    connection.execute('CREATE TABLE Texts ("Message" VARCHAR)')
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def binder() -> Iterator[Binder]:
    binder = Binder()
    yield binder
    binder.close()


def _rows(database: Any, query: str) -> list[tuple[Any, ...]]:
    import duckdb_kql

    return list(duckdb_kql.query(database, query).fetchall())


def _with(test: Any) -> Any:
    for text in NASTY:
        test = example(text)(test)
    return given(TEXTS)(test)


@_with
def test_any_text_comes_back_from_the_executed_query(database: Any, text: str) -> None:
    assert _rows(database, f"print found = {kql.text(text)}") == [(text,)]


@_with
def test_any_text_finds_exactly_the_row_that_holds_it(database: Any, text: str) -> None:
    database.execute("DELETE FROM Texts")
    database.execute("INSERT INTO Texts VALUES (?), (?), ('another')", [text, f"{text}'"])
    query = f"Texts | where Message == {kql.text(text)} or Message in {kql.texts([text])}"
    assert _rows(database, query) == [(text,)] * (1 + (text == "another"))


@_with
def test_microsofts_parser_reads_the_same_text(binder: Binder, text: str) -> None:
    bound = binder.bind(f"print found = {kql.text(text)}")
    assert (bound.errors, bound.texts) == ((), (text,))


@_with
def test_any_text_can_name_a_column(database: Any, binder: Binder, text: str) -> None:
    import duckdb_kql

    if not text:
        return
    query = f"Texts | project {kql.name(text)} = Message | project {kql.name(text)}"
    assert [each[0] for each in duckdb_kql.query(database, query).description] == [text]
    assert binder.bind(query, {"Texts": {"Message": "string"}}).columns == {text: "string"}


@pytest.mark.parametrize("word", KEYWORDS)
def test_a_keyword_can_name_a_column(database: Any, binder: Binder, word: str) -> None:
    query = f"Texts | summarize rows = count() by {kql.name(word)} = Message | project {kql.name(word)}"
    _rows(database, query)
    assert binder.bind(query, {"Texts": {"Message": "string"}}).errors == ()


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x\udfff"])
def test_what_no_literal_can_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        kql.text(text)


def test_a_column_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a name"):
        kql.name("")


def test_an_empty_list_matches_nothing_not_even_the_empty_text(database: Any, binder: Binder) -> None:
    database.execute("DELETE FROM Texts")
    database.execute("INSERT INTO Texts VALUES (''), ('a')")
    query = f"Texts | where Message in {kql.texts([])}"
    assert _rows(database, query) == []
    assert binder.bind(query, {"Texts": {"Message": "string"}}).errors == ()


@given(st.datetimes(datetime(1700, 1, 1), datetime(9000, 1, 1), timezones=st.timezones()))  # noqa: DTZ001
def test_any_instant_comes_back_to_the_microsecond(database: Any, at: datetime) -> None:
    at = at.astimezone(UTC)
    ((found,),) = _rows(database, f"print found = {kql.time(at)}")
    assert found == at.replace(tzinfo=None)


def test_an_instant_is_written_in_utc_and_needs_a_zone() -> None:
    east = datetime(2026, 11, 20, 5, tzinfo=timezone(timedelta(hours=2)))
    assert kql.time(east) == "datetime(2026-11-20T03:00:00.000000Z)"
    with pytest.raises(ValueError, match="without a zone"):
        kql.time(datetime(2026, 11, 20))  # noqa: DTZ001


@given(st.integers(0, 10_000_000))
def test_any_whole_length_of_time_comes_back(database: Any, seconds: int) -> None:
    query = f"print found = datetime(2020-01-01) + {kql.span(timedelta(seconds=seconds))}"
    assert _rows(database, query) == [(datetime(2020, 1, 1) + timedelta(seconds=seconds),)]  # noqa: DTZ001


def test_a_fraction_of_a_second_is_not_silently_lost() -> None:
    with pytest.raises(ValueError, match="whole number"):
        kql.span(timedelta(milliseconds=1500))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("AppTraces | where TimeGenerated > ago(1h) | count", ("ago",)),
        ("AppTraces | extend age = now () - TimeGenerated", ("now",)),
        ("workspace('other').AppTraces | count", ("workspace",)),
        ("union AppTraces, (database('x').AppTraces)", ("database",)),
        ("table('AppTraces') | count", ("table",)),
        ("externaldata(a: string) ['https://x']", ("externaldata",)),
        ("search 'secret'", ("search",)),
        ("let x = 1; find where Message has 'a'", ("find",)),
        ("union App* | count", ("union",)),
        ("union withsource=t AppTraces, * | count", ("union",)),
        ("AppTraces | where Message == 'ago(1h)' // now()", ()),
        ('AppTraces | where Message == @"C:\\" and Name == "search"', ()),
        ("AppTraces | extend knows = nowhere(1), search = 1 | summarize value = sum(search * 2)", ()),
        ("union AppTraces, (AppRequests | extend x = 2 * 3)", ()),
    ],
)
def test_what_reads_past_the_window_is_named(query: str, found: tuple[str, ...]) -> None:
    assert kql.past_the_window(query) == found
