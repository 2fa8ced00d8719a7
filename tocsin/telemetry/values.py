"""One way to write a value down, wherever it came from: the service's JSON or a database's Python objects."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tocsin.core.answer import Query
from tocsin.core.text import bounded

_LONGEST = 32_768
"""Bytes of one text: what a query asks for is a number, a name or a word, and never a document."""

_TIMESPAN = re.compile(r"(?P<sign>-?)(?:(?P<days>\d+)\.)?(?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>\d+(?:\.\d+)?)")


def bounds(query: Query) -> tuple[datetime, datetime]:
    """Return the bounds of a query. Raises ValueError unless they are zoned and the start is before the end.

    The service takes an empty timespan for none at all and reads the whole table.
    """
    if query.start.tzinfo is None or query.end.tzinfo is None:
        raise ValueError("a query's bounds need a time zone")
    if query.start >= query.end:
        raise ValueError("a query's start must be before its end")
    return query.start.astimezone(UTC), query.end.astimezone(UTC)


def plain(kind: str, value: Any) -> Any:
    """Return a value of KQL type ``kind`` as ``Rows`` holds it.

    ``datetime`` is aware and UTC; ``int`` and ``long`` are int; ``real`` and ``decimal`` are float, with nan and inf;
    ``timespan`` is float seconds; ``dynamic`` is text: a bare string, else compact JSON; everything else is str.
    Null is None, but "" for ``string``, which knows no null. Raises ValueError or TypeError for what is none of these.
    """
    if value is None or (value == "" and kind != "string"):
        return "" if kind == "string" else None
    found = _READERS.get(kind, str)(value)
    return bounded(found, _LONGEST) if isinstance(found, str) else found


def _datetime(value: Any) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _bool(value: Any) -> bool:
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}[value.lower()]
    return bool(value)


def _timespan(value: Any) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    found = _TIMESPAN.fullmatch(value)
    if found is None:
        raise ValueError("not a timespan")
    clock = int(found["hours"]) * 3600 + int(found["minutes"]) * 60 + float(found["seconds"])
    length = int(found["days"] or 0) * 86400 + clock
    return -length if found["sign"] else length


def _dynamic(value: Any) -> str | None:
    parsed = _parsed(value) if isinstance(value, str) else value
    if parsed is None or isinstance(parsed, str):
        return parsed
    return json.dumps(parsed, ensure_ascii=False, separators=(",", ":"), default=_inside)


def _parsed(text: str) -> Any:
    """Return what stands in JSON text. A bare number stays the text it is: "1.50" must not become 1.5."""
    if text[0] not in '{["n':
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _inside(value: Any) -> Any:
    """Return what JSON has for a value within an array: a timestamp or anything else without a JSON form is text."""
    return _datetime(value).isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "datetime": _datetime,
    "bool": _bool,
    "int": int,
    "long": int,
    "real": float,
    "decimal": float,
    "timespan": _timespan,
    "dynamic": _dynamic,
}


def wire(kind: str, value: Any) -> Any:
    """Return a value of KQL type ``kind`` as the query API sends it: the other direction of ``plain``."""
    known = plain(kind, value)
    if known is None or kind in ("bool", "int", "long", "string"):
        return known
    if kind == "datetime":
        return known.isoformat().replace("+00:00", "Z")
    if kind == "timespan":
        return _clock(known)
    if kind == "decimal":
        return str(value)
    if kind == "real" and not math.isfinite(known):
        return "NaN" if math.isnan(known) else ("Infinity" if known > 0 else "-Infinity")
    return known


def _clock(seconds: float) -> str:
    length = timedelta(seconds=abs(seconds))
    hours, rest = divmod(length.seconds, 3600)
    clock = f"{hours:02}:{rest // 60:02}:{rest % 60:02}" + (
        f".{length.microseconds:06}0" if length.microseconds else ""
    )
    return ("-" if seconds < 0 else "") + (f"{length.days}.{clock}" if length.days else clock)
