"""Slack, through an incoming webhook. The whole address is a secret.

Slack reads markup in a text and has no way to escape all of it: ``&`` is escaped as Slack asks, and what would be a
mention, a link, an emoji, bold or code becomes letters that look like it. ``verbatim`` keeps Slack from making links by
itself. A message keeps within 50 blocks of 3,000 letters, its texts cut, its command whole or not there. Slack takes
about one message a second and says when to come back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tocsin.connections.http import Http, Reply, checked
from tocsin.core.message import Notice, Outcome
from tocsin.notifiers.plain import cut, defang, links
from tocsin.notifiers.prose import ROOMS, Line, Room, head, lines, provenance, safe
from tocsin.notifiers.statuses import outcome

OPTIONS: Mapping[str, bool] = {"url_setting": True}
"""``url_setting`` names the app setting that holds the webhook's address."""

_LONGEST_HEADER, _LONGEST_SECTION, _MOST_BLOCKS = 150, 3_000, 50
_LIMIT = 20_000
"""Letters of all sections together: a message nobody would scroll through, well below what Slack takes."""

_MARKS = str.maketrans({"*": "∗", "~": "∼", "`": "ˋ", "|": "¦"})
_EDGE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_EMOJI = re.compile(r":(?=[\w+'-]+:)")
_WORDS = re.compile(r"[a-z_ ]{1,60}")


@dataclass(frozen=True, slots=True)
class Slack:
    """Posts Block Kit messages to one channel."""

    together: ClassVar[bool] = True
    url: str
    http: Http

    def __repr__(self) -> str:
        return "Slack(url=…)"

    def deliver(self, notice: Notice) -> Outcome:
        """Post one message."""
        answer = self.http.post(self.url, json=message(notice))
        return outcome(answer, _words(answer) if isinstance(answer, Reply) else "")


def payload(notice: Notice) -> dict[str, Any]:
    """Return what is sent."""
    return message(notice)


def make(options: Mapping[str, str], secret: Callable[[str], str], http: Http) -> Slack:
    """Return the notifier of a receiver. Raises LookupError for a setting that is not set, ValueError for a bad one."""
    return Slack(checked(secret(options["url_setting"])), http)


def message(notice: Notice) -> dict[str, Any]:
    """Return the message as the webhook takes it, within Slack's limits whatever the notice holds."""
    for room in ROOMS:
        told = _sections(notice, room)
        if sum(map(len, told)) <= _LIMIT:
            break
    title = {"type": "plain_text", "text": cut(head(notice), _LONGEST_HEADER), "emoji": False}
    blocks = [{"type": "header", "text": title}, *map(_section, told[: _MOST_BLOCKS - 1])]
    # Notifications show this line; nothing of it comes from telemetry.
    short = escaped(cut(f"{head(notice)}: {notice.rule} on {notice.target}", 160))
    return {"text": short, "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def escaped(text: str) -> str:
    """Return ``text`` so that Slack shows it and does nothing else with it."""
    flat = _EMOJI.sub("꞉", _EDGE.sub("ˍ", defang(text).translate(_MARKS)))
    return flat.replace("&", "&amp;")


def _sections(notice: Notice, room: Room) -> list[str]:
    """Return the texts of the sections: the title, what is told, what is to be copied each by itself, links, source."""
    told = lines(notice, room)
    first = [f"*{safe(notice.title, room.text, escaped) or '-'}*"]
    found = _packed([*first, *(_told(each) for each in told if not each.copied)])
    found += [code for code in map(_code, told) if code and len(code) <= _LONGEST_SECTION]
    linked = [f"<{_address(url)}|{_label(name)}>" for name, url in links(notice, min(room.whole, 2_000))[:6]]
    return [*found, *_packed([each for each in linked if len(each) <= _LONGEST_SECTION]), _source(notice, room)]


def _told(told: Line) -> str:
    value = safe(told.value, 2_000, escaped)
    return f"*{_label(told.name)}* {value}" if told.name else value


def _code(told: Line) -> str:
    if not told.copied or "`" in told.value:
        return ""
    value = told.value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"*{_label(told.name)}*\n```{value}```"


def _source(notice: Notice, room: Room) -> str:
    return escaped(provenance(notice, room)) or "-"


def _label(name: str) -> str:
    return safe(name, 200, escaped) or "-"


def _address(url: str) -> str:
    return url.replace("&", "&amp;").replace("|", "%7C").replace("<", "%3C").replace(">", "%3E")


def _packed(texts: Sequence[str]) -> list[str]:
    """Return the texts joined line by line into as few sections as hold them."""
    packed: list[str] = []
    for each in filter(None, texts):
        if packed and len(packed[-1]) + 1 + len(each) <= _LONGEST_SECTION:
            packed[-1] += f"\n{each}"
        else:
            packed.append(each)
    return packed


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _words(reply: Reply) -> str:
    """Return what Slack says is wrong, a code such as ``channel_is_archived``; nothing else it answers."""
    said = reply.text.strip()
    return said if _WORDS.fullmatch(said) and not 200 <= reply.status < 300 else ""
