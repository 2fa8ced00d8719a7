"""What others wrote is harmless in every output: terminal, annotations, JUnit, SARIF, Markdown, HTML, mail and chat."""

from __future__ import annotations

import io
import json
import re
import unicodedata
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_text import HOSTILE
from tocsin.backtest import tables
from tocsin.backtest.prose import safe
from tocsin.cli import reports
from tocsin.cli.output import SafeConsole, console, harmless, json_text, table
from tocsin.core.errors import Problem
from tocsin.core.text import redacted
from tocsin.notifiers.plain import defang, unlinked
from tocsin.pages import page
from tocsin.planning.prose import _code, _text

NASTY = st.one_of(
    HOSTILE,
    st.sampled_from(
        [
            "\x1b[2J\x1b]0;owned\x07",
            "\u202egpj.exe",
            "::error::owned",
            "  ::set-output name=x::y",
            "##[error]owned",
            "[link=https://evil.example]x[/link]",
            "<script>alert(1)</script>",
            "]]>",
            "@everyone",
            "\ud800",
        ]
    ),
)


def moves(text: str) -> list[str]:
    """Return what could move a cursor or turn a line round."""
    return [each for each in text if each != "\n" and unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


def drawn(*cells: str) -> str:
    out = io.StringIO()
    SafeConsole(file=out, width=10_000).print(table(cells[0], ["a", "b"], [cells]))
    return out.getvalue()


@given(NASTY, NASTY)
def test_nothing_printed_as_a_table_moves_the_terminal(one: str, other: str) -> None:
    assert moves(drawn(one, other)) == []


@given(NASTY)
def test_nothing_that_is_said_moves_the_terminal_or_commands_a_workflow(text: str) -> None:
    shown = harmless(f"{text}\n{text}")
    assert moves(shown) == []
    assert not [line for line in shown.split("\n") if line.lstrip().startswith("::") or "##[" in line]


@given(NASTY)
def test_a_console_prints_a_text_without_what_moves_it(text: str) -> None:
    out = io.StringIO()
    SafeConsole(file=out, width=10_000).print(text, markup=False, soft_wrap=True)
    assert moves(out.getvalue()) == []


@given(NASTY)
def test_json_for_people_is_the_same_value_and_moves_nothing(text: str) -> None:
    made = json_text({"text": text})
    assert moves(made) == []
    assert json.loads(made) == {"text": text}


def problem(text: str) -> Problem:
    return Problem(f"rules/{text}.yaml", 1, 1, "bad-value", text)


@given(NASTY)
def test_an_annotation_is_one_command_whatever_stands_in_it(text: str) -> None:
    (line,) = reports.github([problem(text)]).split("\n")
    assert moves(line) == []
    place, _, _ = line.removeprefix("::error ").partition("::")
    assert "," not in place.split("file=")[1].split(",line=")[0]


@given(NASTY)
def test_annotations_that_are_too_many_are_no_commands(text: str) -> None:
    lines = reports.github([problem(text)] * (reports.MOST + 1)).split("\n")
    assert sum(line.lstrip().startswith("::") for line in lines) == reports.MOST


@given(NASTY)
def test_reports_can_be_parsed_whatever_stands_in_them(text: str) -> None:
    parsed = ElementTree.fromstring(reports.junit([problem(text)], []).encode())
    assert parsed.attrib["failures"] == "1"
    assert moves("".join(parsed.itertext())) == []
    message = json.loads(reports.sarif([problem(text)]))["runs"][0]["results"][0]["message"]["text"]
    assert moves(message) == []


@given(NASTY)
def test_markdown_holds_no_markup_of_others(text: str) -> None:
    for made in (safe(text), _text(text)):
        assert moves(made) == []
        assert not re.search(r"[<>\[\]`]", made)
    assert not re.search(r"[`\n]", _code(text))
    assert moves(_code(text)) == []


class Tags(HTMLParser):
    """Notes which tags there are."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.append(tag)


def tags(html: str) -> list[str]:
    reader = Tags()
    reader.feed(html)
    return reader.found


@given(NASTY)
def test_html_has_only_our_own_tags(text: str) -> None:
    assert tags(str(tables.html(text))) == []
    told = str(page(200, text, text))
    assert "script" not in tags(told)
    assert moves(told) == []


# Addresses in mail and chat


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see evil.example", "see evil[.]example"),
        ("evil.museum/x", "evil[.]museum/x"),
        ("evil.photography", "evil[.]photography"),
        ("evil.xn--p1ai", "evil[.]xn--p1ai"),
        ("пример.рф", "пример[.]рф"),
        ("evil\uff0ecom", "evil[.]com"),
        ("evil\u3002com", "evil[.]com"),
        ("evil\uff61com", "evil[.]com"),
        ("evil.com.br", "evil[.]com[.]br"),
        ("www.evil.example", "www[.]evil[.]example"),
        ("https://evil.example", "https[:]//evil[.]example"),
        ("ms-teams:x", "ms-teams[:]x"),
        ("ms-word:ofe|u|https://x", "ms-word[:]ofe|u|https[:]//x"),
        ("msteams:/l/chat", "msteams[:]/l/chat"),
        ("zoommtg:join", "zoommtg[:]join"),
        ("tel:123", "tel[:]123"),
        ("evil.md", "evil[.]md"),
        ("javascript:alert(1)", "javascript[:]alert(1)"),
        ("mailto:a@b.example", "mailto[:]a@b[.]example"),
    ],
)
def test_an_address_of_any_kind_is_no_link(text: str, shown: str) -> None:
    assert unlinked(text) == shown


@pytest.mark.parametrize(
    "text",
    ["killswitch.engage on sales", "rules/high_error_rate.yaml", "at 03:05 UTC", "1.5 s", "tool.hitl_misconfigured",
     "State: fired", "host:8080", "tocsin 0.1.0", "docs/operations.md#model-calls-fail"],
)  # fmt: skip
def test_what_is_no_address_stays_as_it_is(text: str) -> None:
    assert unlinked(text) == text


_LINK = re.compile(
    r"(?i)(?<![A-Za-z0-9])[a-z][a-z0-9+.-]*://|(?<![A-Za-z0-9])www\.|\w\.(?:com|net|example|museum)(?![\w-])"
)


PARTS = st.sampled_from(["http://", "www.", "evil", ".com", ".museum", "a.com"])


@given(st.lists(st.one_of(NASTY, PARTS)).map("".join))
def test_no_text_is_a_link_in_a_mail(text: str) -> None:
    shown = defang(text)
    assert not _LINK.search(shown)
    assert not re.search("[<>@]", shown)


# Ids and secrets


def test_a_table_breaks_no_id_where_nobody_looks_at_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    identity = "worker_failures/sales-research/" + "a" * 300
    console().print(table("", ["id", "why"], [["x", identity]]))
    assert identity in capsys.readouterr().out


@pytest.mark.parametrize("said", ["T0PSECRET", "t0psecret", "T0pSecret"])
def test_a_secret_is_not_shown_in_whichever_case_it_is_repeated(said: str) -> None:
    assert redacted(f"no such key: {said}!", ["t0pSecret", ""]) == "no such key: …!"
