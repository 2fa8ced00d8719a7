"""A notice for receivers: its text made harmless, its links sifted, and all of it as JSON values.

Text from telemetry may try to be a link, a mention or a tag. Receivers differ in what they make of text, and programs
on phones make links of what no specification calls one; so addresses are broken where a person still reads them.
"""

from __future__ import annotations

import math
import re
from typing import Any

from tocsin.core import units
from tocsin.core.message import Notice
from tocsin.core.text import scrub

_SCHEME = re.compile(r"(?<![A-Za-z0-9+.-])([0-9+.-]*+[A-Za-z][A-Za-z0-9+.-]*+)[:：](?=[^\s\d])")
"""A scheme is any word before a colon and no space: which of them a phone follows, its apps decide.

A word is looked at from its beginning and once, so that a long one without a colon costs no more than its letters.
"""
_CALLING = re.compile(
    r"(?i)(?<![A-Za-z0-9])(tel|sms|sips?|callto|facetime|skype|ms-[a-z-]{1,60}+|msteams|data)[:：](?=\S)"
)
"""Schemes that a number may follow, which after any other word is a port or a time."""
_DOT = "[.\uff0e\u3002\uff61\u2024]"
"""The dots that browsers take for one in a name of a host: full-width, ideographic, half-width, and a leader's."""
_WWW = re.compile(rf"(?i)(?<![A-Za-z0-9])(www){_DOT}")
_OURS = "yaml|engage|release|call|publish|swap|stop|start|restart|rollback"
"""Endings of our own files and actions, which are no top-level domains."""
_HOST = re.compile(
    rf"(\bdocs/[\w/-]{{1,200}}+\.md(?=#))"
    rf"|(?<=\w){_DOT}(?=(?!(?:{_OURS})(?![\w-]))(?:xn--[A-Za-z0-9-]+|[^\W\d_]{{2,63}})(?![\w-]))"
)
"""A dot before a word of letters that may be a top-level domain, of which there are new ones every year.

A place in our own documentation is none, though Moldova has its ending.
"""


def unlinked(text: str) -> str:
    """Return ``text`` with addresses that no program follows: ``https[:]//…``, ``www[.]…``, ``host[.]com``."""
    broken = _CALLING.sub(r"\1[:]", _SCHEME.sub(r"\1[:]", text))
    return _HOST.sub(lambda found: found[1] or "[.]", _WWW.sub(r"\1[.]", broken))


def defang(text: str) -> str:
    """Return ``text`` unlinked, and with neither tags nor mentions: < > and @ become letters that look like them."""
    return unlinked(text).replace("<", "‹").replace(">", "›").replace("@", "＠")


def cut(text: str, longest: int) -> str:
    """Return ``text`` with at most ``longest`` characters, an ellipsis in place of what is missing."""
    return text if len(text) <= longest else text[: max(0, longest - 1)] + "…"


def line(text: str, longest: int) -> str:
    """Return ``text`` scrubbed, cut and unlinked, for a receiver without markup. A broken address adds a little."""
    return unlinked(cut(scrub(text, longest), longest))


_BARS = "▁▂▃▄▅▆▇█"
FEWEST = 3
"""Values that a line is drawn of: two are no course of anything."""


def trend(notice: Notice) -> str:
    """Return the course of the value as one line, ``▁▂▅█ 1% → 12% (limit 5%)``; empty when too little is known."""
    values = [value for _, value in notice.series]
    if len(values) < FEWEST:
        return ""
    way = " → ".join(units.amount(value, notice.unit) for value in _stations(values))
    limit = f" (limit {units.amount(notice.threshold, notice.unit)})" if notice.threshold is not None else ""
    return f"{_bars(values)} {way}{limit}"


def _stations(values: list[float]) -> list[float]:
    """Return the first and the last value, and between them how far it went when it went well past both."""
    first, last, low, high = values[0], values[-1], min(values), max(values)
    above, below = high / 2 - max(first, last) / 2, min(first, last) / 2 - low / 2
    far = max(above, below) > (high / 2 - low / 2) / 4
    return [first, *([high if above >= below else low] if far else []), last]


def _bars(values: list[float]) -> str:
    # The distance between two finite numbers need not be one, and the half of the least is none.
    share = 1.0 if math.isfinite(max(values) - min(values)) else 0.5
    low, span = min(values) * share, (max(values) * share) - (min(values) * share)
    if not span:
        return _BARS[3] * len(values)
    return "".join(_BARS[round((value * share - low) / span * (len(_BARS) - 1))] for value in values)


def links(notice: Notice, longest: int = 4_000) -> list[tuple[str, str]]:
    """Return the notice's links that are HTTPS, printable ASCII and not longer than ``longest``."""
    return [
        (name, url)
        for name, url in notice.links
        if url.startswith("https://") and len(url) <= longest and url.isascii() and url.isprintable() and " " not in url
    ]


def details(notice: Notice, count: int = 40) -> list[tuple[str, str]]:
    """Return up to ``count`` facts as pairs, and besides them the texts that are not empty; no name stands twice."""
    pairs = [(fact.name, fact.value) for fact in notice.facts[:count]] + [("Trend", trend(notice))]
    pairs += [("What", notice.text), ("First", notice.first_step), (notice.manual_does, notice.manual)]
    pairs += [("Query", notice.query), ("From", notice.provenance)]
    found: dict[str, str] = {}
    for name, value in pairs:
        if value:
            found[_free(scrub(name, 60) or "-", found)] = value
    return list(found.items())


def _free(name: str, taken: dict[str, str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


def document(notice: Notice) -> dict[str, Any]:
    """Return the notice as JSON values, every text as it is: the receiver escapes for its own readers."""
    return {
        "type": f"alert.{notice.kind.value.replace(' ', '_')}",
        "timestamp": notice.at.isoformat(),
        "data": {
            "id": notice.id,
            "episode": notice.episode,
            "rule": notice.rule,
            "target": notice.target,
            "severity": notice.severity.value,
            "title": notice.title,
            "text": notice.text,
            "facts": [{"name": fact.name, "value": fact.value} for fact in notice.facts],
            "first_step": notice.first_step,
            "manual": notice.manual,
            "manual_does": notice.manual_does,
            "links": [{"name": name, "url": url} for name, url in notice.links],
            "query": notice.query,
            "labels": dict(notice.labels),
            "value": notice.value,
            "unit": notice.unit,
            "threshold": notice.threshold,
            "series": [[at.isoformat(), value] for at, value in notice.series],
            "trend": trend(notice),
            "provenance": notice.provenance,
        },
    }
