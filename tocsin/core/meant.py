"""What somebody meant who wrote a value almost right: `10 min` is `10m`, `9:00` is `09:00`. Empty where unknown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date

_UNITS = {
    "w": 604_800, "wk": 604_800, "week": 604_800, "d": 86_400, "day": 86_400, "h": 3_600, "hr": 3_600, "hour": 3_600,
    "m": 60, "min": 60, "minute": 60, "s": 1, "sec": 1, "second": 1, "ms": 0.001,
}  # fmt: skip
_PART = re.compile(r"(\d{1,9}(?:[.,]\d{1,6})?)\s*([a-z]+)[\s,]*(?:and\s+)?")
_LONGEST = 10 * 365 * 86_400


def duration(text: str) -> str:
    """Return the duration that ``5``, ``10 min``, ``1.5h``, ``PT5M`` or ``00:05:00`` stands for."""
    said = text.strip().casefold()
    if re.fullmatch(r"\d{1,6}", said):
        return f"{said}m" if int(said) else "0s"
    if clock := re.fullmatch(r"(\d{1,2}):(\d{2}):(\d{2})", said):
        return _spelled(sum(int(part) * size for part, size in zip(clock.groups(), (3600, 60, 1), strict=True)))
    said = re.sub(r"^p(?=[t\d])|(?<=[\d ])t(?=\d)|^pt|t(?=\d)", "", said)
    parts = _PART.findall(said)
    if not parts or _PART.sub("", said):
        return ""
    sizes = [_UNITS.get(unit, _UNITS.get(unit.removesuffix("s"))) for _, unit in parts]
    if None in sizes:
        return ""
    total = sum(float(n.replace(",", ".")) * size for (n, _), size in zip(parts, sizes, strict=True) if size)
    return _spelled(total)


def _spelled(seconds: float) -> str:
    left, out = round(seconds), ""
    if not 0 < left <= _LONGEST:
        return ""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        out += f"{count}{unit}" if count else ""
    return out


def number(text: str) -> str:
    """Return the number that ``5 %``, ``1,000``, ``0,5``, ``$5`` or ``500ms`` stands for."""
    said = text.strip().replace("_", "").lstrip("$€").strip()
    found = re.fullmatch(r"([+-]?\d{1,15}(?:[.,]\d{1,9})*)\s*(%|percent|ms|usd|tokens?|k)?", said, re.IGNORECASE)
    if not found:
        return ""
    digits, unit = found[1], (found[2] or "").casefold()
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", digits):
        digits = digits.replace(",", "")
    digits = digits.replace(",", ".")
    if digits.count(".") > 1:
        return ""
    return f"{float(digits) * 1000:g}" if unit == "k" else f"{digits}%" if unit in ("%", "percent") else digits


def count(text: str) -> str:
    """Return the whole number that ``1,000``, ``1_000`` or ``20.0`` stands for."""
    said = re.sub(r"(?<=\d)[,_ ](?=\d{3}\b)", "", text.strip())
    return said.partition(".")[0] if re.fullmatch(r"\d{1,9}(\.0+)?", said) else ""


def flag(text: str) -> str:
    """Return ``true`` or ``false`` for the other words of YAML 1.1."""
    said = text.strip().casefold()
    if said in ("on", "yes", "y", "true", "1", "enabled"):
        return "true"
    return "false" if said in ("off", "no", "n", "false", "0", "disabled") else ""


def clock(text: str) -> str:
    """Return the time of day that ``9:00``, ``9am``, ``7.30`` or ``0900`` stands for."""
    said = text.strip().casefold().replace(" ", "").removesuffix("h").removesuffix("uhr")
    found = re.fullmatch(r"(\d{1,2})(?:[:.]?(\d{2}))?(?::\d{2})?([ap]m)?", said)
    if not found:
        return ""
    hour, minute, half = int(found[1]), int(found[2] or 0), found[3]
    if half:
        hour = hour % 12 + 12 * (half == "pm") if 1 <= hour <= 12 else 99
    hour = 0 if (hour, minute) == (24, 0) else hour
    return f"{hour:02}:{minute:02}" if hour < 24 and minute < 60 else ""


def instant(text: str) -> str:
    """Return the day that ``2026/12/1`` or ``1.12.2026`` stands for; an unclear month gives nothing."""
    found = re.fullmatch(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})", text.strip())
    year, month, day = found.groups() if found else ("", "", "")
    if not found and (german := re.fullmatch(r"(\d{1,2})\.(\d{1,2})\.(\d{4})", text.strip())):
        day, month, year = german.groups()
    try:
        return date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return ""


def days(text: str) -> str:
    """Return the days that ``2026-12-24 to 2026-12-26`` stands for."""
    parts = re.split(r"\s+(?:to|until|-|–)\s+|\.{3}|\s*\.\.\s*|\s*[–/]\s*(?=\d{4}-)|\s+-\s+", text.strip())
    found = [instant(each) for each in parts]
    if not all(found) or len(found) > 2:
        return ""
    return "..".join(sorted(found))


def per(text: str, noun: str = "") -> str:
    """Return the rate that ``1/h``, ``1 per hour`` or ``3 in 15 minutes`` stands for."""
    found = re.fullmatch(r"(\d{1,4})(?:\s*targets?)?\s*(?:/|per|in|every|an?)\s*(.+)", text.strip(), re.IGNORECASE)
    if not found:
        return ""
    each = found[2].strip()
    length = duration(each) or duration(f"1 {each}")
    said = f"{found[1]} {noun}{'s' * (found[1] != '1')}" if noun else found[1]
    return f"{said} per {length}" if length and int(found[1]) else ""


def out_of(text: str) -> str:
    """Return the share of looks that ``3/5``, ``3 out of 5`` or ``5 of 3`` stands for."""
    found = re.fullmatch(r"(\d{1,3})\s*(?:/|of|out of|in)\s*(\d{1,3})", text.strip(), re.IGNORECASE)
    hits, slots = sorted(map(int, found.groups())) if found else (0, 0)
    return f"{hits} of {slots}" if 1 <= hits <= slots <= 100 else ""


def zone(text: str, zones: Iterable[str]) -> str:
    """Return the time zone of a city or a region in other letters."""
    said = text.strip().casefold().replace(" ", "_")
    named = {each.casefold(): each for each in sorted(zones)}
    by_city = {each.rpartition("/")[2]: name for each, name in named.items()}
    return named.get(said) or by_city.get(said, "")


_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SEVERITIES = {
    "P0": ("critical", "down", "blocker", "0"),
    "P1": ("high", "major", "error", "1"),
    "P2": ("medium", "degraded", "warning", "warn", "moderate", "2"),
    "P3": ("low", "minor", "info", "informational", "notice", "3"),
}


def choice(text: str, choices: Iterable[str]) -> str:
    """Return which of the choices ``monday``, ``mon-fri``, ``P5``, ``critical`` or ``false`` stands for."""
    said, known = text.strip().casefold(), tuple(choices)
    for kind, meant in _KINDS.items():
        if kind in known:
            found = meant(said)
            return found if found == "" or all(each in known for each in found.split(", ")) else ""
    return ""


def _weekday(said: str) -> str:
    if said in ("weekdays", "workdays"):
        said = "mon-fri"
    ends = [each.strip()[:3] for each in re.split(r"\.\.|-|–|\bto\b", said)]
    if len(ends) > 2 or any(each not in _WEEKDAYS for each in ends):
        return ""
    first, last = _WEEKDAYS.index(ends[0]), _WEEKDAYS.index(ends[-1])
    several = (_WEEKDAYS * 2)[first : last + 1 + 7 * (last < first)]
    return ", ".join(several)


def _severity(said: str) -> str:
    numbered = re.fullmatch(r"(?:p|sev|severity)?[\s-]*(\d)", said)
    if numbered:
        return f"P{min(3, int(numbered[1]))}"
    return next((severity for severity, words in _SEVERITIES.items() if said in words), "")


def _switch(said: str) -> str:
    return {"true": "on", "false": "off"}.get(flag(said), "")


def _mode(said: str) -> str:
    # Only ever towards doing less: what acts has to be written as it is.
    return "off" if flag(said) == "false" else "observe" if said in ("dry-run", "dryrun", "watch") else ""


_KINDS: Mapping[str, Callable[[str], str]] = {"mon": _weekday, "P0": _severity, "observe": _mode, "on": _switch}
"""A choice by which a set of choices is known → what is meant by another word."""
