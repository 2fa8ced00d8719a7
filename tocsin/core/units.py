"""How people write amounts in the YAML files, and how messages write them back.

Durations are ``90s 15m 1h30m 7d 2w`` and positive; ratios are ``5%`` or ``0.05``; money is a number in USD.
"""

from __future__ import annotations

import math
import re
from datetime import timedelta

_UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_LONGEST = timedelta(days=3650)


def duration(text: str) -> timedelta:
    """Return the length of ``text`` such as ``1h30m``; ``0s`` and ``0`` are zero. Raises ValueError."""
    if text == "0":
        return timedelta()
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError(f"'{text}' is not a duration; write it like 90s, 15m, 1h30m, 7d or 2w")
    parts = zip(match.groups(), _UNITS.values(), strict=True)
    seconds = sum(int(count) * unit for count, unit in parts if count)
    if seconds > _LONGEST.total_seconds():
        raise ValueError(f"'{text}' is longer than ten years")
    return timedelta(seconds=seconds)


def number(text: str) -> float:
    """Return the finite number in ``text``; a percentage becomes its ratio. Raises ValueError."""
    digits = text.removesuffix("%")
    if not _NUMBER.fullmatch(digits) or not math.isfinite(float(digits)):
        raise ValueError(f"'{text}' is not a number; write it like 12, 0.5 or 5%")
    return float(digits) / 100 if text.endswith("%") else float(digits)


def spell(length: timedelta) -> str:
    """Return ``length`` as an operator would write it: ``1h30m``; zero is ``0s``."""
    left, out = int(length.total_seconds()), ""
    for unit, size in _UNITS.items():
        count, left = divmod(left, size)
        if count:
            out += f"{count}{unit}"
    return out or "0s"


def amount(value: float | None, unit: str) -> str:
    """Return ``value`` with its ``unit`` for a person: ``5%``, ``1,234.5 ms``, ``0.0008 USD``, ``7``."""
    if value is None:
        return "unknown"
    if unit == "ratio":
        return f"{value * 100:.4g}%"
    if unit == "percent":
        return f"{value:.4g}%"
    digits = f"{value:,.1f}".removesuffix(".0") if abs(value) >= 1000 else f"{value:.4g}"
    return digits if unit == "count" else f"{digits} {unit.upper() if unit == 'usd' else unit}"
