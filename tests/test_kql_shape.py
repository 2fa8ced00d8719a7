"""What no KQL parser would take is found without one; what one takes is never refused."""

from __future__ import annotations

import pytest

from tocsin import signals
from tocsin.core.kql_shape import broken
from tocsin.core.signal import Logs


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("T | where (a == 1", "'(' in line 1 of the query is never closed"),
        ("T\n| where a in ('x', 'y'\n", "'(' in line 2"),
        ("T | where a == 1)", "')' in line 1 of the query closes nothing"),
        ("T | where a[0) == 1", "')' in line 1"),
        ("T | where a == 'x", "quotation mark ' in line 1"),
        ('T | where a == "x', 'quotation mark " in line 1'),
        ("T | | count", "nothing stands after"),
        ("T | count |", "nothing stands after"),
        ("T | where (a == 1 // )", "never closed"),
    ],
)
def test_what_does_not_match_is_found(query: str, words: str) -> None:
    assert words in broken(query)


@pytest.mark.parametrize(
    "query",
    [
        "T | where a == '(' and b == \"it's ]\"",
        "T // an open ( and a ' in a comment\n| count",
        "T | where a == @'c:\\' and b matches regex @\"\\(\"",
        "T | where a == 'it\\'s' | extend b = dynamic({'x': [1, 2]})",
        "let f = (x: string) { x }; T | extend y = f(a)",
        "T | extend a = ```several ( lines\n| |```",
        "T | where d == 'a||b' // | ",
    ],
)
def test_what_a_parser_takes_is_not_refused(query: str) -> None:
    assert broken(query) == ""


def test_no_shipped_signal_is_refused() -> None:
    logs = [source for each in signals.known().values() for source in each.sources if isinstance(source, Logs)]
    assert len(logs) > 20
    assert [
        each.where for each in logs if broken(f"{each.table} | where {each.where} | summarize v = {each.value}")
    ] == []
