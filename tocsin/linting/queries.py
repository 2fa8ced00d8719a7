"""Warnings about a rule's own query, by the tables and functions that are known here.

It reads names and no grammar, and says only what it can be sure of: where Microsoft's parser is there, that says more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from tocsin.core import kql
from tocsin.core.compile import tables
from tocsin.core.errors import Problem, nearest
from tocsin.core.node import Node
from tocsin.core.rule import Rule
from tocsin.core.schema import CLASSIC, CLASSIC_COLUMNS, TABLES
from tocsin.linting.kql_names import FUNCTIONS

_COUNTED = re.compile(r"(?<![\w.])count\s*\(\s*\)|\|\s*count\b(?!\s*\()|(?<![\w.])countif\s*\(")
_CALLED = re.compile(r"(?<![\w.'\]])([a-z_]\w*)\s*\(")
_WORDS = """
and or not in has_any has_all between by on where extend project summarize union join typeof kind let print datatable
range scan make has contains to has_cs count dynamic datetime timespan time guid int long real double decimal bool
boolean string true false
"""
_OPERATORS = frozenset(_WORDS.split())
"""Words that may stand before a bracket (``union isfuzzy=true (…)``), and literals of a type."""
_NAMED = re.compile(r"(?<![\w.'])([A-Za-z_]\w*)(?!\w|\s*\()")
_MADE = re.compile(r"([A-Za-z_]\w*)\s*=(?![=~])")
_ALIASED = re.compile(r"\b(?:let|as|with_source|withsource)\s*=?\s*([A-Za-z_]\w*)")
_SPLIT = re.compile(r"\bby\b(.*?)(?=\||;|$)", re.DOTALL)
_UNBOUNDED = frozenset({"OperationId", "ParentId", "Id", "TimeGenerated", "UserId", "SessionId"})


def lint(rule: Rule, node: Node, text: str, parsed: bool) -> Iterator[Problem]:
    """Yield what is doubtful about a rule's query; ``text`` is its file, for the place within it."""
    query, place = rule.when.kql or "", node.at("when", "kql")
    code = kql.code(query)
    for found in _COUNTED.finditer(code):
        instead = "sumif(ItemCount, …)" if "countif" in found[0] else "sum(ItemCount)"
        words = "rows are sampled, and each says in ItemCount how many it stands for"
        yield at(place, text, query, found.start(), found.end()).warning("count-of-rows", words, f"write {instead}")
    yield from _split(code, query, place, text)
    if not parsed:
        yield from _names(code, query, place, text)
        yield from _lacking(rule, code, place)


def at(place: Node, text: str, query: str, start: int, end: int) -> Node:
    """Return the place of a part of a query that stands as a block, ``|``, in the file; else that of the query."""
    lines, before = text.splitlines(), query[:start]
    number = place.line + before.count("\n")
    line = lines[number] if number < len(lines) else ""
    own = query.splitlines()[before.count("\n")] if query[start:] else ""
    if not own.strip() or not line.strip() or line.strip() != own.strip() or not place.source.rstrip().endswith("|"):
        return place
    column = len(line) - len(line.lstrip()) - (len(own) - len(own.lstrip())) + start - (before.rfind("\n") + 1)
    return replace(place, line=number + 1, column=column + 1, source=line[:200], width=max(1, end - start))


def _split(code: str, query: str, place: Node, text: str) -> Iterator[Problem]:
    """Yield columns that a summary is split by though they differ from row to row."""
    real = {column for name in tables(query) for column, kind in TABLES[name].items() if kind == "real"}
    for clause in _SPLIT.finditer(code):
        for found in re.finditer(r"(?<![\w.(])(\w+)(?=\s*(?:,|$|\n))", clause[1]):
            if found[1] in real | _UNBOUNDED:
                start = clause.start(1) + found.start(1)
                words = f"'{found[1]}' differs from row to row: split by it, nearly every row is an alert of its own"
                yield at(place, text, query, start, start + len(found[1])).warning("value-as-dimension", words)


def _names(code: str, query: str, place: Node, text: str) -> Iterator[Problem]:
    made = {found[1] for found in _MADE.finditer(code)} | {found[1] for found in _ALIASED.finditer(code)}
    for found in _CALLED.finditer(code):
        if found[1] not in FUNCTIONS | _OPERATORS | made:
            here = at(place, text, query, found.start(1), found.end(1))
            hint = nearest(found[1], FUNCTIONS)
            yield here.warning("unknown-function", f"no function '{found[1]}' is known", hint)
    used = tables(query)
    if not used and not re.search(r"\b(let|datatable|print|range)\b", code):
        words = "it names no table of the workspace that is known"
        yield place.warning("unknown-table", words, _table_hint(code))
    if used:
        yield from _columns(code, query, used, made, place, text)


def _table_hint(code: str) -> str:
    first = re.search(r"\w+", code)
    return nearest(first[0], TABLES) if first else ""


def _columns(code: str, query: str, used: list[str], made: set[str], place: Node, text: str) -> Iterator[Problem]:
    columns = {column for name in used for column in TABLES[name]}
    classic = {old: new for name in used for old, new in CLASSIC_COLUMNS[name].items() if old not in columns}
    folded = {column.casefold() for column in columns}
    for found in _NAMED.finditer(code):
        name = found[1]
        if name in made or name in columns or name in TABLES or name in CLASSIC or name in _OPERATORS:
            continue
        hint = f"did you mean '{classic[name]}'?" if name in classic else nearest(name, columns)
        # Small letters are keywords and the author's own names; a column's name begins with a capital.
        if name[0].isupper() or (hint and (name in classic or name.casefold() in folded)):
            here = at(place, text, query, found.start(1), found.end(1))
            yield here.warning("unknown-column", f"{' and '.join(used)} has no column '{name}' that is known", hint)


def _lacking(rule: Rule, code: str, place: Node) -> Iterator[Problem]:
    """Yield what the result must hold and the query does not even name."""
    lacking = [name for name in ("value", *rule.when.by) if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", code)]
    if lacking:
        words = f"it must end in `value` and what it is split by, and never names {' and '.join(lacking)}"
        yield place.warning("missing-column", words)
