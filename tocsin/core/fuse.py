"""Many rules, few queries: whatever is due on one target is asked in one pass over each table.

A fused query binds the table once (window, target, and the properties its parts read), then unites one labelled
sub-result a part. Asks that measure the same share a sub-result, whatever their windows. Kept apart are texts that
name no table or several, windows that reach back differently, and what would make a query too long.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tocsin.core import kql
from tocsin.core.answer import Query, Rows
from tocsin.core.compile import (
    ARRIVED,
    COUNTED,
    MOST_IN_PART,
    Ask,
    Part,
    bounds,
    let,
    rows_of,
    shape,
    stretch,
    summary,
    tables,
    weighs,
)
from tocsin.core.config import Target
from tocsin.core.schema import TABLES

LONGEST = 48_000
"""Characters of one query's text."""

_NEAR = timedelta(hours=2)
"""Windows that begin within this before the newest end are read together; those further back by how far they reach."""

_SECOND = timedelta(seconds=1)
_LENGTHS = 10**9
"""Windows are shorter than this many seconds, so that two numbers stand in one."""
_PROPERTY = re.compile(r"tostring\(Properties(?:\.\w+|\['[^'\\]*'\])\)|ingestion_time\(\)")
_ALONE = re.compile(r"\b(withsource|declare|set|alias|pattern|restrict|getschema|evaluate|materialize|toscalar)\b")


Span = tuple[datetime, datetime]
"""Start and end of one window."""


@dataclass(frozen=True, slots=True)
class Share:
    """One sub-result: a part over some windows, and the asks that it serves."""

    part: Part
    spans: tuple[Span, ...]
    asks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Fused:
    """One query for several asks, which are known by their number."""

    query: Query
    shares: tuple[Share, ...]
    asks: Mapping[int, Ask]

    @property
    def alone(self) -> bool:
        """Whether it holds a single sub-result, so that whatever is wrong with it is wrong with that."""
        return len(self.shares) == 1

    def rows(self, answer: Rows) -> dict[int, Rows]:
        """Return the rows of every ask, as its own query would have given them."""
        if len(self.asks) == 1 and next(iter(self.asks.values())).query == self.query:
            return dict.fromkeys(self.asks, replace(answer, cut=answer.cut or len(answer.rows) > MOST_IN_PART))
        full = self._full(answer)
        found: dict[int, list[tuple[object, ...]]] = {number: [] for number in self.asks}
        for row in answer.dicts():
            share = self.shares[int(row["_part"])]
            start, end = _span(int(row["_window"]), self.query.end)
            for number in share.asks:
                ask = self.asks[number]
                if any((window.start, window.end) == (start, end) for window in ask.windows):
                    values = [row.get(f"_by{at}") or "" for at in range(len(share.part.by))]
                    offset = (start - ask.query.start) // _SECOND
                    found[number].append((offset, *values, row["value"], row.get("events"), row.get("detail")))
        columns = {number: _columns(ask.part) for number, ask in self.asks.items()}
        return {
            number: Rows(columns[number], tuple(rows), cut=answer.cut or number in full)
            for number, rows in found.items()
        }

    def _full(self, answer: Rows) -> set[int]:
        """Return the asks whose part has more rows than are read: what is not among its worst is not known."""
        counted: Counter[tuple[int, object]] = Counter()
        for row in answer.dicts():
            label = int(row["_part"])
            counted[label, row["_window"] if self.shares[label].part.raw else None] += 1
        cut = {label for (label, _), count in counted.items() if count > MOST_IN_PART}
        return {number for label in cut for number in self.shares[label].asks}


def _columns(part: Part) -> tuple[str, ...]:
    return ("_window", *(name for name, _ in part.by), "value", "events", "detail")


def fuse(asks: Mapping[int, Ask], target: Target, apart: Collection[Part] = ()) -> list[Fused]:
    """Return queries that together answer every ask. Parts in ``apart`` are asked by themselves."""
    together: dict[tuple[object, ...], list[Share]] = {}
    for alike, share in _shares(asks, apart):
        key = ("alone", alike) if isinstance(alike, int) else (_table(share.part), alike)
        together.setdefault(key, []).append(share)
    return [fused for shares in together.values() for fused in _packed(shares, asks, target)]


def halves(fused: Fused, target: Target) -> list[Fused]:
    """Return the same asks as two queries, of which only one can hold what is wrong with one part."""
    middle = len(fused.shares) // 2
    return [_made(shares, fused.asks, target) for shares in (fused.shares[:middle], fused.shares[middle:]) if shares]


def _shares(asks: Mapping[int, Ask], apart: Collection[Part]) -> Iterator[tuple[object, Share]]:
    """Yield each sub-result with what must be equal to stand beside it; a number of its own where nothing may."""
    newest = max((window.end for ask in asks.values() for window in ask.windows), default=None)
    found: dict[tuple[Part, object], dict[int, Ask]] = {}
    for number, ask in asks.items():
        # What cannot stand beside others cannot stand beside itself over another window either, nor in another rule.
        alike = _reach(ask, newest) if _fusable(ask.part) and ask.part not in apart else number
        found.setdefault((ask.part, alike), {})[number] = ask
    for (part, alike), owners in found.items():
        spans = sorted({(window.start, window.end) for ask in owners.values() for window in ask.windows})
        yield alike, Share(part, tuple(spans), tuple(owners))


def _reach(ask: Ask, newest: datetime | None) -> object:
    """Return what must be equal for asks to read the same rows: near ones do, others by their own stretch."""
    if ask.part.arrivals:
        return "arrivals"
    start, end = ask.query.start, ask.query.end
    return (
        "near" if newest is None or newest - start <= _NEAR else (start, end, ask.windows[0].end - ask.windows[0].start)
    )


def _table(part: Part) -> str:
    return part.table or tables(part.raw)[0]


def _fusable(part: Part) -> bool:
    """Return whether a text can stand beside others: it names one table, and nothing that speaks of the whole query."""
    if not part.raw:
        return True
    return len(tables(part.raw)) == 1 and not _ALONE.search(kql.code(part.raw)) and _split(part.raw) is not None


def _split(text: str) -> tuple[list[tuple[str, str]], str] | None:
    """Return the ``let`` statements of a text, as names and what they stand for, and its last statement; or None."""
    stated = kql.statements(text)
    if not stated:
        return None
    *before, last = stated
    lets = [re.fullmatch(r"let\s+([A-Za-z_]\w*)\s*=\s*(.+)", each, re.DOTALL) for each in before]
    if not all(lets) or re.match(r"let\b", last):
        return None
    return [(each[1], each[2]) for each in lets if each], last


def _packed(shares: Sequence[Share], asks: Mapping[int, Ask], target: Target) -> Iterator[Fused]:
    """Yield queries no longer than allowed; what is too long by itself is asked by itself."""
    rest = list(shares)
    while rest:
        count, made = len(rest), _made(rest, asks, target)
        while count > 1 and len(made.query.text) > LONGEST:
            count = max(1, min(count - 1, count * LONGEST // len(made.query.text)))
            made = _made(rest[:count], asks, target)
        yield made
        rest = rest[count:]


def _made(shares: Sequence[Share], asks: Mapping[int, Ask], target: Target) -> Fused:
    own = {number: asks[number] for share in shares for number in share.asks}
    if len(own) == 1:
        (ask,) = own.values()
        return Fused(ask.query, tuple(shares), own)
    start = min(begin for share in shares for begin, _ in share.spans)
    end = max(finish for share in shares for _, finish in share.spans)
    start, end = stretch(shares[0].part, start, end)
    return Fused(Query(let(start, end) + _text(shares, target, end), start, end), tuple(shares), own)


# The text


def _text(shares: Sequence[Share], target: Target, end: datetime) -> str:
    measured = [share.part for share in shares if not share.part.raw]
    hoisted = properties(measured)
    lets = [_rows(measured, hoisted, target)] if measured else []
    parts: list[str] = []
    for label, share in enumerate(shares):
        if share.part.raw:
            own, texts = _raw(label, share, target, end)
            lets, parts = lets + own, parts + texts
        else:
            parts.append(_measured(label, share, hoisted, end))
    united = parts[0] if len(parts) == 1 else "union\n" + ",\n".join(f"({part})" for part in parts)
    return "".join(f"{each};\n" for each in dict.fromkeys(lets)) + united


def properties(parts: Iterable[Part]) -> dict[str, str]:
    """Return a name for each property of a row that the parts read, so that it is read once."""
    read = " ".join(text for part in parts for text in expressions(part))
    return {text: f"_x{at}" for at, text in enumerate(dict.fromkeys(_PROPERTY.findall(read)))}


def expressions(part: Part) -> list[str]:
    """Return every expression over the rows that a part is made of."""
    return [part.where, part.value, part.events, part.detail, *(expression for _, expression in part.by)]


def columns_of(parts: Sequence[Part], hoisted: Mapping[str, str]) -> list[str]:
    """Return the columns that the parts read besides the properties read once for all."""
    read = kql.code(" ".join(through(text, hoisted) for part in parts for text in expressions(part)))
    words = set(re.findall(r"\w+", read))
    return [column for column in TABLES[parts[0].table] if column in words and column != "TimeGenerated"]


def through(text: str, hoisted: Mapping[str, str]) -> str:
    """Return an expression over the named properties; one without a name is read where it stands."""
    return _PROPERTY.sub(lambda found: hoisted.get(found[0], found[0]), text)


def _rows(parts: Sequence[Part], hoisted: Mapping[str, str], target: Target) -> str:
    arrived = [f"_at = {ARRIVED}"] if parts[0].arrivals else []
    read = (f"{name} = {text}" for text, name in hoisted.items())
    columns = [COUNTED if column == "ItemCount" else column for column in columns_of(parts, hoisted)]
    kept = ", ".join(["TimeGenerated", *arrived, *columns, *read])
    return f"let _rows = materialize({parts[0].table} | where {bounds(target)} | project {kept})"


def _measured(label: int, share: Share, hoisted: Mapping[str, str], end: datetime) -> str:
    part = share.part
    by = [f"_by{at} = {through(expression, hoisted)}" for at, (_, expression) in enumerate(part.by)]
    line = through(summary(part, ["_window", *by]), hoisted)
    lines = ["_rows", f"where {through(part.where, hoisted)}", *_windows(share, end), line, "where events > 0"]
    most = [part.most] if part.most else []
    return " | ".join([*lines, *most, f"extend _part = {label}"])


def _windows(share: Share, end: datetime) -> list[str]:
    """Give each row to every window it falls in; ``_window`` says how long before ``_to`` it begins, and its length."""
    numbers, at = [_number(span, end) for span in share.spans], "_at" if share.part.arrivals else "TimeGenerated"
    if len(numbers) == 1:
        return [_within(share.spans[0], end, at), f"extend _window = long({numbers[0]})"]
    first = max((end - start) // _SECOND for start, _ in share.spans)
    return [
        f"where {at} >= _to - {first}s",
        f"mv-expand _window = dynamic([{', '.join(map(str, numbers))}]) to typeof(long)",
        f"where {at} >= _to - _window / {_LENGTHS} * 1s",
        f"where {at} < _to - (_window / {_LENGTHS} - _window % {_LENGTHS}) * 1s",
    ]


def _number(span: Span, end: datetime) -> int:
    """Return a window as one number: the seconds from its start to ``end``, and its length in the lower digits."""
    start, finish = span
    return (end - start) // _SECOND * _LENGTHS + (finish - start) // _SECOND


def _span(number: int, end: datetime) -> Span:
    back, length = divmod(number, _LENGTHS)
    return end - back * _SECOND, end - (back - length) * _SECOND


def _within(span: Span, end: datetime, at: str = "TimeGenerated") -> str:
    back, left = (end - span[0]) // _SECOND, (end - span[1]) // _SECOND
    return f"where {at} >= _to - {back}s and {at} < _to - {left}s"


def _raw(label: int, share: Share, target: Target, end: datetime) -> tuple[list[str], list[str]]:
    """Return the ``let`` statements and the sub-results of an author's text: one a window, which is all it may see."""
    found = _split(share.part.raw)
    if found is None:
        raise ValueError("this text cannot stand beside others")
    table, lets, parts = _table(share.part), [], []
    for at, span in enumerate(share.spans):
        number = _number(span, end)
        rows = f"_w{number}" if weighs(share.part) else f"_t{number}"
        names = {table: rows, **{name: f"_l{label}_{at}_{name}" for name, _ in found[0]}}
        lets.append(f"let {names[table]} = {rows_of(table, share.part, target)} | {_within(span, end)}")
        lets += [f"let {names[name]} = {kql.renamed(text, names)}" for name, text in found[0]]
        body = kql.renamed(found[1], names)
        parts.append(f"{body}\n| project {_shape(share.part, label, number)}\n| {share.part.most}")
    return lets, parts


def _shape(part: Part, label: int, number: int) -> str:
    """Return the columns of an author's text, its ``by`` columns under the names they have in a union."""
    columns = shape(part, f"_part = {label}", f"_window = long({number})")
    for at, (name, _) in enumerate(part.by):
        columns = columns.replace(f"{kql.name(name)} = tostring", f"_by{at} = tostring", 1)
    return columns
