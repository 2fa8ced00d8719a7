"""A notice as lines that a person reads from top to bottom, in one order for every receiver that takes text.

How bad; what and by how much; where; what Tocsin did or will do; what to do first; what to copy; who says so. Belongs
here: the order, and what gives way when there is too much. Does not belong here: a receiver's markup.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tocsin.core.message import Notice
from tocsin.core.text import scrub
from tocsin.notifiers.plain import cut, defang, document, links


@dataclass(frozen=True, slots=True)
class Room:
    """How much there may be: letters a text, facts, and letters of a command, a query or a link."""

    text: int
    facts: int
    whole: int


ROOMS = (Room(1_000, 20, 4_000), Room(300, 20, 2_000), Room(120, 12, 1_000), Room(40, 6, 300))
"""From roomy to narrow: a receiver takes the first whose message fits its limit."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: a name that may be empty, and a value. What is ``copied`` is the project's own and stays as it is."""

    name: str
    value: str
    copied: bool = False


def head(notice: Notice) -> str:
    """Return how bad it is and what became of it: ``P1 fired``."""
    return f"{notice.severity} {notice.kind.value}"


def summary(notice: Notice, longest: int) -> str:
    """Return the one line that is read before anything is opened, defanged."""
    return safe(f"[{head(notice)}] {notice.title}", longest)


def lines(notice: Notice, room: Room) -> list[Line]:
    """Return what is told below the title, in order; every text is defanged but what is to be copied."""
    told = [Line("", safe(notice.text, room.text))] if notice.text else []
    told += [Line(safe(fact.name, 40), safe(fact.value, room.text)) for fact in notice.facts[: room.facts]]
    told += [Line("First", safe(notice.first_step, room.text))] if notice.first_step else []
    return told + _copied(notice, room)


def provenance(notice: Notice, room: Room) -> str:
    """Return which file says so, by which version; the last line everywhere."""
    return safe(notice.provenance, min(200, room.text))


def safe(text: str, longest: int, render: Callable[[str], str] = defang) -> str:
    """Return ``text`` scrubbed, made harmless by ``render``, and cut so that the result has ``longest`` letters.

    It is cut before it is rendered: what is left after cutting may be an address again, or half an escape.
    """
    shown = _shorter(scrub(text, len(text) + 1), longest)
    while len(render(shown)) > longest and len(shown) > 1:
        shown = _shorter(shown, len(shown) * 3 // 4)
    return render(shown)


def _shorter(text: str, longest: int) -> str:
    # What would be left of an address, `https:…`, is no address; some program may think that it is.
    return text if len(text) <= longest else text[: max(0, longest - 1)].rstrip(":/.") + "…"


def text(notice: Notice, room: Room) -> str:
    """Return the whole notice as plain text, its links at the end."""
    told = [head(notice), safe(notice.title, room.text)]
    told += [_plainly(each) for each in lines(notice, room)]
    told += [f"{safe(name, 40)}: {url}" for name, url in links(notice, room.whole)[:6]]
    return "\n".join([*told, provenance(notice, room)])


def fitting(notice: Notice, longest: int) -> str:
    """Return the whole notice as plain text with ``longest`` letters at most, texts shortened before any is lost."""
    for room in ROOMS:
        made = text(notice, room)
        if len(made) <= longest:
            break
    return cut(made, longest)


def shortened(notice: Notice, longest: int) -> dict[str, Any]:
    """Return the notice's document in ``longest`` bytes of JSON at most, for programs: texts as they are, but cut."""
    for letters in (4_000, 1_000, 300, 80, 20):
        made: dict[str, Any] = _cut_all(document(notice), letters)
        if len(json.dumps(made)) <= longest:
            break
    return made


def _cut_all(part: Any, letters: int) -> Any:
    if isinstance(part, str):
        return cut(part, letters)
    if isinstance(part, Mapping):
        return {cut(name, 80): _cut_all(each, letters) for name, each in list(part.items())[:40]}
    return [_cut_all(each, letters) for each in part[:40]] if isinstance(part, list) else part


def _copied(notice: Notice, room: Room) -> list[Line]:
    """Return what is to be copied, whole or not at all: half a command is worse than none."""
    pairs = ((notice.manual_does, notice.manual), ("Query", notice.query))
    return [Line(name, value, copied=True) for name, value in pairs if value and len(value) <= room.whole]


def _plainly(told: Line) -> str:
    if told.copied:
        return f"{told.name}:\n{told.value}"
    return f"{told.name}: {told.value}" if told.name else told.value
