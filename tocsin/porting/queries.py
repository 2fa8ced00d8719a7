"""The text of a query from an alert of Azure's, made into one that Tocsin bounds and judges itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from tocsin.core import kql
from tocsin.core.compile import tables
from tocsin.core.schema import CLASSIC, CLASSIC_COLUMNS, TABLES

_UNITS = {
    **dict.fromkeys(("d", "day", "days"), 86_400),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3_600),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60),
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
}
_SPAN = r"(\d+(?:\.\d+)?)\s*([a-z]+)"
_TIME = (
    rf"(?:TimeGenerated|timestamp)\s*(?:>=?\s*(?:ago\s*\(\s*{_SPAN}\s*\)|now\s*\(\s*\)\s*-\s*{_SPAN}"
    rf"|now\s*\(\s*-\s*{_SPAN}\s*\))|between\s*\(\s*ago\s*\(\s*{_SPAN}\s*\)\s*\.\.\s*now\s*\(\s*\)\s*\)"
    r"|<=?\s*now\s*\(\s*\))"
)
_BOUND = re.compile(_TIME)
_ALONE = re.compile(rf"\|\s*where\s+{_TIME}\s*(?=\||\)|;|$)")
_FIRST = re.compile(rf"(\bwhere\s+){_TIME}\s+and\s+")
_LATER = re.compile(rf"\s+and\s+{_TIME}(?=\s*(?:\||\)|;|$|and\b))")
_RENDER = re.compile(r"\|\s*render\b[^|]*$")
_KEEPS_ROWS = frozenset({"where", "extend", "order", "sort", "parse"})
_DROPS_COLUMNS = re.compile(r"\b(project|project-away|project-keep|distinct|summarize|count|make-series|evaluate)\b")
_BOOLEAN = re.compile(r"\bSuccess\s*(==|!=|=~)\s*(?:'|\")(true|false)(?:'|\")", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Asked:
    """A query without its bounds in time: how far back it looked by itself, and what was changed in it."""

    text: str
    inner: timedelta | None = None
    several: bool = False
    """Whether parts of it look back to different times."""
    bounded: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    """The workspace's names that stand in place of classic ones."""
    rendered: bool = False
    clashes: tuple[str, ...] = ()
    """Classic columns that have several names now, one for each table the query reads."""
    freed: bool = False
    """Whether it was bound to one app, as an exported query is."""

    @property
    def renamed(self) -> bool:
        """Whether classic names were in it."""
        return bool(self.names)

    @property
    def keeps_rows(self) -> bool:
        """Whether its result is rows of one table of the workspace, each with all columns."""
        found = [each.split(None, 1)[0] for each in _segments(self.text)[1:] if each.split()]
        one = kql.statements(self.text)
        return len(tables(self.text)) == 1 and one is not None and len(one) == 1 and set(found) <= _KEEPS_ROWS

    @property
    def keeps_time(self) -> bool:
        """Whether the rows of its result say when they are of, so that Azure sorts them into periods."""
        code = kql.code(self.text)
        last = _DROPS_COLUMNS.split(code)[-1]
        return not _DROPS_COLUMNS.search(code) or bool(re.search(r"\b(TimeGenerated|timestamp)\b", last))


_OWN = r"(?:_ResourceId =~|AppRoleName ==) '(?:\\.|[^'\\\n])*'"
_BOUND_TO = re.compile(rf"let ({'|'.join(TABLES)}) = \1 \| where {_OWN}(?: and {_OWN})?;\n?")
"""What an exported query of one's own begins with: the compiler binds tables to the target itself."""


def read(text: str) -> Asked:
    """Return the query with workspace names and without what bounds it in time or draws it."""
    clean = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", "    ").strip().rstrip("; \n")
    free = _BOUND_TO.sub("", clean)
    asked, names, clashes = _workspace(free)
    bare, spans, bounded = _unbound(asked)
    drawn = _RENDER.search(kql.code(bare))
    bare = (bare[: drawn.start()] if drawn else bare).rstrip()
    inner = min(spans, default=None)
    return Asked(bare, inner, len(set(spans)) > 1, bounded, names, drawn is not None, clashes, free != clean)


def _workspace(text: str) -> tuple[str, Mapping[str, str], tuple[str, ...]]:
    """Return the query with the names that tables and columns have in a workspace."""
    code = kql.code(text)
    used = [name for name in CLASSIC if re.search(rf"(?:^|[(;,=|]|\bunion\b|\bin\b)\s*{name}\b(?!\s*=)", code)]
    if not used:
        return text, {}, ()
    columns: dict[str, str] = {}
    clashes = []
    for table in used:
        for old, new in CLASSIC_COLUMNS[CLASSIC[table]].items():
            if columns.setdefault(old, new) != new and re.search(rf"(?<![\w.]){old}\b", code):
                clashes.append(old)
    made = re.compile(r"(?<![\w.])(\w+)\s*=(?![=~])").findall(code)
    names: Mapping[str, str] = {
        **{name: CLASSIC[name] for name in used},
        **{old: new for old, new in columns.items() if old not in made},
    }
    renamed = kql.renamed(text, names)
    return _BOOLEAN.sub(lambda found: f"Success {_equal(found[1])} {found[2].lower()}", renamed), names, tuple(clashes)


def _equal(operator: str) -> str:
    return "==" if operator == "=~" else operator


def _unbound(text: str) -> tuple[str, list[timedelta], bool]:
    """Take away conditions that say no more than the window does, and return how far each of them looks back."""
    spans = []
    for found in _BOUND.finditer(kql.code(text)):
        parts = [each for each in found.groups() if each]
        if len(parts) == 2 and parts[1].lower() in _UNITS:
            spans.append(timedelta(seconds=float(parts[0]) * _UNITS[parts[1].lower()]))
    before, last = text, ""
    while text != last:
        last = text
        for pattern, kept in ((_ALONE, ""), (_FIRST, r"\1"), (_LATER, "")):
            if hit := pattern.search(kql.code(text)):
                text = text[: hit.start()] + hit.expand(kept) + text[hit.end() :]
    return re.sub(r"\n\s*\n", "\n", text), spans, text != before


def _segments(text: str) -> list[str]:
    """Return the parts between the pipes that stand in no bracket."""
    parts, depth, begun = [], 0, 0
    code = kql.code(text)
    for at, letter in enumerate(code):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "|" and not depth:
            parts.append(code[begun:at].strip())
            begun = at + 1
    return [*parts, code[begun:].strip()]


def one_value(asked: Asked, aggregate: str, column: str, by: tuple[str, ...]) -> str:
    """Return the query with a last line that leaves `value` and what it is split by."""
    functions = {"average": "avg", "maximum": "max", "minimum": "min", "total": "sum"}
    if aggregate == "count":
        value = "sum(ItemCount)" if asked.keeps_rows else "sum(1)"
    else:
        value = f"{functions[aggregate]}({_column(column)})"
    split = " by " + ", ".join(_column(name) for name in by) if by else ""
    # A text that names `events` is taken to say how many there are: it has to, and of what is no row nothing is said.
    counted = ", events = max(1)" if re.search(r"\bevents\b", kql.code(asked.text)) else ""
    return f"{asked.text}\n| summarize value = {value}{counted}{split}"


def only(text: str, name: str, values: tuple[str, ...], exclude: bool) -> str:
    """Return the query with one more condition on a dimension."""
    return f"{text}\n| where tostring({_column(name)}) {'!in' if exclude else 'in'} {kql.texts(values)}"


def _column(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_]\w*", name) else kql.name(name)
