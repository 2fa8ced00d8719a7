"""The field types the operators' files share: each turns the text they typed into a value, or says what is valid.

Every scalar arrives as the text in the file, so ``on`` is never a boolean by accident and ``1:30`` never a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated, Any
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, WithJsonSchema
from pydantic_core import PydanticCustomError

from tocsin.core import matching, meant, units
from tocsin.core.errors import nearest_of
from tocsin.core.text import normalize


class Model(BaseModel):
    """A part of an operator's file: frozen, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, arbitrary_types_allowed=False)


def _read(parse: Callable[[str], Any], problem: str, near: Callable[[str], str] | None = None) -> BeforeValidator:
    """Return what reads a text by ``parse``; ``near`` says what somebody meant whose text cannot be read."""

    def convert(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return parse(_short(value))
        except ValueError as error:
            why = {"why": str(error), "meant": near(value) if near and len(value) <= 100 else ""}
            raise PydanticCustomError(problem, "{why}", why) from None

    return BeforeValidator(convert)


def _short(text: str) -> str:
    if len(text) > 100:
        raise ValueError(f"a text of {len(text)} letters is too long for this")
    return text


def _positive(text: str) -> timedelta:
    length = units.duration(text)
    if not length:
        raise ValueError(f"'{text}' is no time at all; the duration must be positive")
    return length


def _plain(text: str) -> float:
    if _READ_OTHERWISE.fullmatch(text):
        raise ValueError(f"'{text}' is another number, or none, to the accelerator: write it like 12 or 0.5")
    return units.number(text)


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"'{text}' is neither true nor false")
    return text == "true"


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise ValueError(f"'{text}' is not a whole number of at least 0")
    return int(text)


def _instant(text: str) -> datetime:
    at = _wall_time(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _wall_time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo else at
    except (ValueError, OverflowError):
        raise ValueError(f"'{text}' is not a day or time; write it like 2026-12-01 or 2026-12-01T08:00:00Z") from None


def _some(text: str) -> int:
    if not (count := _count(text)):
        raise ValueError("'0' is too few; the number must be at least 1")
    return count


class Rate(Model):
    """``1 per 1h``: how many in how long."""

    count: int
    per: timedelta


def _rate(value: Any) -> Any:
    if isinstance(value, Rate):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("wrong-kind", "a text like '1 per 1h' was expected")
    match = re.fullmatch(r"(\d{1,4})(?: targets?)? per (\S+)", value)
    per = _length(match[2]) if match else timedelta()
    if not match or not per or not int(match[1]):
        why = {"given": value, "meant": meant.per(value[:100])}
        raise PydanticCustomError("bad-rate", "'{given}' is not like '1 per 1h'", why)
    return Rate(count=int(match[1]), per=per)


class Spread(Model):
    """``2 targets per 15m``, ``2 targets and 10% per 1h``: how many targets, and which share of all, in how long."""

    count: int
    per: timedelta
    share: float = 1.0

    def most(self, targets: int) -> int:
        """Return how many of so many targets may be touched; one is never too many."""
        return max(1, min(self.count, int(self.share * targets)))


_SPREAD = re.compile(r"([1-9]\d{0,3}) targets?(?: and (\d{1,3})%)? per (\S+)")


def _spread(value: Any) -> Any:
    if isinstance(value, Spread):
        return value
    found = _SPREAD.fullmatch(value) if isinstance(value, str) else None
    per = _length(found[3]) if found else timedelta()
    if not found or not per:
        words = "'{given}' is not like '2 targets per 15m' or '2 targets and 10% per 15m'"
        raise PydanticCustomError(
            "bad-rate", words, {"given": str(value)[:60], "meant": meant.per(str(value), "target")}
        )
    return Spread(count=int(found[1]), per=per, share=min(100, int(found[2] or 100)) / 100)


def _length(text: str) -> timedelta:
    try:
        return units.duration(text)
    except ValueError:
        return timedelta()


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ValueError, LookupError, OSError):
        raise ValueError(f"no time zone '{text}'; write it like Europe/Berlin or UTC") from None
    return text


def _near_zone(text: str) -> str:
    known = available_timezones()
    return meant.zone(text, known) or nearest_of(text, known)


def _clock(text: str) -> time:
    found = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", text)
    if found is None:
        raise ValueError(f"'{text}' is not a time of day; write it like 07:30")
    return time(int(found[1]), int(found[2]))


def _days(text: str) -> tuple[date, date]:
    first, _, last = text.partition("..")
    try:
        found = date.fromisoformat(first), date.fromisoformat(last or first)
    except ValueError:
        raise ValueError(f"'{text}' is neither a day nor days; write 2026-12-24 or 2026-12-24..2026-12-26") from None
    if found[1] < found[0]:
        raise ValueError(f"'{text}' ends before it begins")
    return found


AUTO = timedelta(days=-1)
"""The offset that follows what is measured."""


def _offset(text: str) -> timedelta:
    return AUTO if text == "auto" else units.duration(text)


_READ_OTHERWISE = re.compile(r"[+-]?0[0-9].*|.*[eE%].*")
_LENGTH = r"^(?=[0-9])([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"
_PER = r"per (?=[0-9])([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"


def _typed(pattern: str = "", kind: str | list[str] = "string", **more: Any) -> WithJsonSchema:
    """Return how it looks in the file, for the schemas that editors read; ``pattern`` is of what is typed as a text."""
    return WithJsonSchema({"type": kind, **({"pattern": pattern} if pattern else {}), **more})


Labels = Annotated[dict[str, str], AfterValidator(lambda given: {key: normalize(each) for key, each in given.items()})]
"""Labels and their values, which are spelled as those from telemetry are."""
Matching = Annotated[matching.Matcher, _read(matching.parse, "bad-matcher"), _typed(r"^[^=!]+(=~|!~|!=|=)")]
"""A matcher: ``severity=~"P[01]"``, ``env!=test``."""
PerTime = Annotated[Rate, BeforeValidator(_rate), _typed(rf"^[0-9]{{1,4}}( targets?)? {_PER}")]
"""``1 per 1h``."""
Radius = Annotated[
    Spread, BeforeValidator(_spread), _typed(rf"^[1-9][0-9]{{0,3}} targets?( and [0-9]{{1,3}}%)? {_PER}")
]
"""``1 target per 15m``, ``3 targets and 10% per 15m``: both limits hold."""
Zone = Annotated[str, _read(_zone, "bad-zone", _near_zone)]
"""A time zone by its name: ``Europe/Berlin``."""
ClockTime = Annotated[time, _read(_clock, "bad-clock", meant.clock), _typed(r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
"""A time of day: ``07:30``."""
Days = Annotated[tuple[date, date], _read(_days, "bad-days", meant.days), _typed(r"^[0-9-]{10}(\.\.[0-9-]{10})?$")]
"""A day, or days: ``2026-12-24..2026-12-26``."""
Instant = Annotated[datetime, _read(_instant, "bad-time", meant.instant), _typed(r"^[0-9]{4}-?[0-9]{2}-?[0-9]{2}")]
"""A day or an instant, in UTC unless it says otherwise."""
WallTime = Annotated[datetime, _read(_wall_time, "bad-time", meant.instant), _typed(r"^[0-9]{4}-?[0-9]{2}-?[0-9]{2}")]
"""A day or a time by a clock that stands beside it: without a zone unless it says one."""
_TEXT = {"type": ["string", "number", "boolean", "null"]}
Texts = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}),
]
"""One text, or a list of them."""
Duration = Annotated[timedelta, _read(_positive, "bad-duration", meant.duration), _typed(_LENGTH)]
"""A positive duration: ``90s``, ``1h30m``, ``7d``."""
Wait = Annotated[
    timedelta,
    _read(units.duration, "bad-duration", meant.duration),
    _typed(_LENGTH, ["string", "integer"], minimum=0, maximum=0),
]
"""A duration that may be zero: ``0s``."""
Offset = Annotated[
    timedelta,
    _read(_offset, "bad-duration", meant.duration),
    _typed(rf"^auto$|{_LENGTH}", ["string", "integer"], minimum=0, maximum=0),
]
"""A delay that may be zero, or ``auto``: ``AUTO`` stands for it."""
Number = Annotated[
    float,
    _read(units.number, "bad-number", meant.number),
    _typed(r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?%?$", ["number", "string"]),
]
"""A finite number, or a percentage as its ratio."""
PlainNumber = Annotated[float, _read(_plain, "bad-number", meant.number)]
"""A finite number that every reader of YAML takes for the same one: no percentage, power of ten or leading zero."""
Flag = Annotated[bool, _read(_flag, "bad-flag", meant.flag), WithJsonSchema({"enum": [True, False, "true", "false"]})]
"""``true`` or ``false``, and no other word."""
Count = Annotated[
    int, _read(_count, "bad-count", meant.count), _typed(r"^[0-9]{1,9}$", ["integer", "string"], minimum=0)
]
"""A whole number of at least zero."""
Some = Annotated[
    int, _read(_some, "bad-count", meant.count), _typed(r"^0*[1-9][0-9]*$", ["integer", "string"], minimum=1)
]
"""A whole number of at least one."""


POSTED = ("source", "azure-monitor")
"""The label of alerts that somebody posted: what they say is not measured, and anybody with the key can say it."""


class Severity(StrEnum):
    """P0 system down, P1 major, P2 degraded, P3 minor."""

    P0 = "P0"
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"


class Automation(StrEnum):
    """How far Tocsin may go by itself: a target and a policy can only lower it."""

    OFF = "off"
    OBSERVE = "observe"
    ASK = "ask"
    ACT = "act"
