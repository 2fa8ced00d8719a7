"""Microsoft Teams, through a Workflows webhook. The whole address is a secret; a 2xx does not prove that it was posted.

Every text stands in a ``RichTextBlock``, which knows no Markdown, and is defanged besides. A card is kept under 20 KB,
counted as a writer would that escapes all it may, by shortening texts and dropping facts: it never fails for size.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tocsin.connections.http import Http, checked
from tocsin.core.message import Kind, Notice, Outcome
from tocsin.core.text import scrub
from tocsin.notifiers.plain import cut, defang, links
from tocsin.notifiers.statuses import outcome

if TYPE_CHECKING:
    from microsoft_teams.cards import AdaptiveCard, RichTextBlock

OPTIONS: Mapping[str, bool] = {"url_setting": True}
"""``url_setting`` names the app setting that holds the webhook's address."""

LIMIT = 20_000
"""Bytes of the envelope; Teams refuses 28,672 after writing it anew, which makes it longer."""

_SHORT_QUERY = 300
"""Characters up to which a query is shown in the card; a longer one is behind its button."""

_COLOURS = {Kind.FIRED: "Attention", Kind.FAILED: "Attention", Kind.RESOLVED: "Good", Kind.ACTED: "Accent"}


@dataclass(frozen=True, slots=True)
class Room:
    """How much a card may hold: letters a text, facts, and letters of a command or a link."""

    text: int
    facts: int
    whole: int


_ROOMS = (Room(1_000, 20, 4_000), Room(300, 20, 2_000), Room(120, 12, 1_000), Room(40, 6, 300))


@dataclass(frozen=True, slots=True)
class Teams:
    """Posts Adaptive Cards to one channel."""

    together: ClassVar[bool] = True
    url: str
    http: Http

    def __repr__(self) -> str:
        return "Teams(url=…)"

    def deliver(self, notice: Notice) -> Outcome:
        """Post one card."""
        return outcome(self.http.post(self.url, json=envelope(notice)))


def make(options: Mapping[str, str], secret: Callable[[str], str], http: Http) -> Teams:
    """Return the notifier of a receiver. Raises LookupError for a setting that is not set, ValueError for a bad one."""
    return Teams(checked(secret(options["url_setting"])), http)


def envelope(notice: Notice) -> dict[str, Any]:
    """Return the message as the Workflows webhook takes it, smaller than ``LIMIT`` whatever the notice holds."""
    for room in _ROOMS:
        made = _envelope(notice, room)
        if weight(made) <= LIMIT:
            break
    return made


def weight(message: Mapping[str, Any]) -> int:
    """Return how many bytes ``message`` has when every character that JSON may escape is written as ``\\uXXXX``."""
    text = json.dumps(message)
    return (
        len(text) + 5 * sum(text.count(letter) for letter in "&'+<>`/") + 4 * (text.count('\\"') + text.count("\\\\"))
    )


def _envelope(notice: Notice, room: Room) -> dict[str, Any]:
    card = json.loads(_card(notice, room).model_dump_json(exclude_none=True, by_alias=True))
    content_type = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": content_type, "contentUrl": None, "content": card}]}


def _card(notice: Notice, room: Room) -> AdaptiveCard:
    from microsoft_teams.cards import AdaptiveCard, OpenUrlAction

    lines = [_line(f"{notice.severity} {notice.kind.value}", colour=_COLOURS.get(notice.kind, "Warning"))]
    lines.append(_line(_safe(notice.title, room.text), size="Large"))
    lines += [_line(_safe(notice.text, room.text))] if notice.text else []
    lines += [_pair(_safe(fact.name, 40), _safe(fact.value, room.text)) for fact in notice.facts[: room.facts]]
    lines += [_line(_safe(notice.first_step, room.text))] if notice.first_step else []
    lines += _commands(notice, room)
    lines.append(_line(_safe(notice.provenance, min(200, room.text)), subtle=True))
    buttons = [OpenUrlAction(title=cut(name, 40), url=url) for name, url in links(notice, room.whole)[:4]]
    # Shown where no card can be drawn, and by notifications: nothing of it comes from telemetry.
    summary = cut(f"{notice.severity} {notice.kind.value}: {notice.rule} on {notice.target}", 160)
    return AdaptiveCard(version="1.4", fallback_text=summary, body=list(lines), actions=list(buttons) or None)


def _commands(notice: Notice, room: Room) -> list[RichTextBlock]:
    """Return what is to be copied, whole or not at all: half a command is worse than none."""
    found = [(notice.manual_does, notice.manual)] if notice.manual and len(notice.manual) <= room.whole else []
    found += [("Query", notice.query)] if notice.query and len(notice.query) <= min(_SHORT_QUERY, room.whole) else []
    return [_pair(name, text, font="Monospace") for name, text in found]


def _safe(text: str, longest: int) -> str:
    # Cut first: what is left after cutting may be an address again.
    return defang(cut(scrub(text, longest), longest))


def _line(text: str, *, size: Any = None, colour: Any = None, subtle: bool = False) -> RichTextBlock:
    from microsoft_teams.cards import RichTextBlock, TextRun

    weight: Any = "Bolder" if size or colour else None
    return RichTextBlock(inlines=[TextRun(text=text, size=size, weight=weight, color=colour, is_subtle=subtle or None)])


def _pair(name: str, value: str, *, font: Any = None) -> RichTextBlock:
    from microsoft_teams.cards import RichTextBlock, TextRun

    return RichTextBlock(inlines=[TextRun(text=f"{name}: ", weight="Bolder"), TextRun(text=value, font_type=font)])
