"""Telemetry text made harmless: no receiver makes a link, a mention or a tag of it."""

from __future__ import annotations

import re

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?=//)")
_BARE = re.compile(r"(?i)\b(www|mailto|javascript|data|tel)([.:])")


def defang(text: str) -> str:
    """Return ``text`` with addresses that no reader's program follows: ``https[:]//…``, ``www[.]…``; and no tags or @s.

    Angle brackets and @ become their full-width likes, so that neither a tag nor a mention can begin.
    """
    safe = _BARE.sub(lambda match: f"{match[1]}[{match[2]}]", _SCHEME.sub(r"\1[:]", text))
    return safe.replace("<", "‹").replace(">", "›").replace("@", "＠")


def cut(text: str, longest: int) -> str:
    """Return ``text`` with at most ``longest`` characters, an ellipsis in place of what is missing."""
    return text if len(text) <= longest else text[: max(0, longest - 1)] + "…"
