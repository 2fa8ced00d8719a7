"""Microsoft Teams, through a Workflows webhook. The whole address is a secret; a 2xx does not prove that it was posted.

Every text stands in a ``RichTextBlock``, which knows no Markdown, and is defanged besides. A card is kept under 20 KB
by dropping details, then facts: it never fails for size.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tocsin.connections.http import Http
from tocsin.core.message import Kind, Notice, Outcome
from tocsin.notifiers.plain import cut, defang
from tocsin.notifiers.statuses import outcome

if TYPE_CHECKING:
    from microsoft_teams.cards import AdaptiveCard, RichTextBlock

OPTIONS: Mapping[str, bool] = {"url_setting": True}
"""``url_setting`` names the app setting that holds the webhook's address."""

LIMIT = 20_000
"""Bytes of the envelope; Teams refuses 28,672 after writing it anew, which makes it longer."""

_COLOURS = {Kind.FIRED: "Attention", Kind.FAILED: "Attention", Kind.RESOLVED: "Good", Kind.ACTED: "Accent"}


@dataclass(frozen=True, slots=True)
class Teams:
    """Posts Adaptive Cards to one channel."""

    url: str
    http: Http

    def __repr__(self) -> str:
        return "Teams(url=…)"

    def deliver(self, notice: Notice) -> Outcome:
        """Post one card."""
        return outcome(self.http.post(self.url, json=envelope(notice)))


def make(options: Mapping[str, str], secret: Callable[[str], str], http: Http) -> Teams:
    """Return the notifier of a receiver. Raises LookupError when the setting is not set."""
    return Teams(secret(options["url_setting"]), http)


def envelope(notice: Notice) -> dict[str, Any]:
    """Return the message as the Workflows webhook takes it, smaller than ``LIMIT`` whatever the notice holds."""
    for longest, facts in ((1_000, 20), (300, 12), (120, 8), (60, 4)):
        made = _envelope(notice, longest, facts)
        if len(json.dumps(made, ensure_ascii=False).encode()) <= LIMIT:
            return made
    return made


def _envelope(notice: Notice, longest: int, facts: int) -> dict[str, Any]:
    card = json.loads(_card(notice, longest, facts).model_dump_json(exclude_none=True, by_alias=True))
    content_type = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": content_type, "contentUrl": None, "content": card}]}


def _card(notice: Notice, longest: int, facts: int) -> AdaptiveCard:
    from microsoft_teams.cards import AdaptiveCard, OpenUrlAction

    lines = [_line(f"{notice.severity} {notice.kind.value}", colour=_COLOURS.get(notice.kind, "Warning"))]
    lines.append(_line(_safe(notice.title, longest), size="Large"))
    lines += [_pair(_safe(fact.name, 60), _safe(fact.value, longest)) for fact in notice.facts[:facts]]
    lines += [_line(_safe(text, longest)) for text in (notice.text, notice.first_step) if text]
    if notice.manual:
        lines.append(_pair("By hand", cut(notice.manual, 500), font="Monospace"))
    lines.append(_line(_safe(notice.provenance, 200), subtle=True))
    buttons = [
        OpenUrlAction(title=cut(name, 40), url=url) for name, url in notice.links[:4] if url.startswith("https://")
    ]
    summary = _safe(notice.title, 200)
    return AdaptiveCard(version="1.4", fallback_text=summary, body=list(lines), actions=list(buttons) or None)


def _safe(text: str, longest: int) -> str:
    return cut(defang(text), longest)


def _line(text: str, *, size: Any = None, colour: Any = None, subtle: bool = False) -> RichTextBlock:
    from microsoft_teams.cards import RichTextBlock, TextRun

    weight: Any = "Bolder" if size or colour else None
    return RichTextBlock(inlines=[TextRun(text=text, size=size, weight=weight, color=colour, is_subtle=subtle or None)])


def _pair(name: str, value: str, *, font: Any = None) -> RichTextBlock:
    from microsoft_teams.cards import RichTextBlock, TextRun

    return RichTextBlock(inlines=[TextRun(text=f"{name}: ", weight="Bolder"), TextRun(text=value, font_type=font)])
