"""Microsoft Teams, through a Workflows webhook. The whole address is a secret; a 2xx does not prove that it was posted.

Every text stands in a ``RichTextBlock``, which knows no Markdown, and is defanged besides. A card is kept under 20 KB,
counted as a writer would that escapes all it may, by dropping the chart first, then shortening texts and dropping
facts: it never fails for size. Where no chart can be drawn (iOS) one line of bars stands in its place.

The order is that of a glance at 3 a.m.: state and severity; what is wrong, against which limit, for how long; where;
what Tocsin does about it; what to do first; links; where this comes from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any, ClassVar

from tocsin.connections.http import Http, checked
from tocsin.core.message import Fact, Kind, Notice, Outcome
from tocsin.core.text import scrub
from tocsin.notifiers.plain import cut, defang, links, trend
from tocsin.notifiers.statuses import outcome

if TYPE_CHECKING:
    from microsoft_teams.cards import AdaptiveCard, CardElement, LineChartData, RichTextBlock

OPTIONS: Mapping[str, bool] = {"url_setting": True}
"""``url_setting`` names the app setting that holds the webhook's address."""

LIMIT = 20_000
"""Bytes of the envelope; Teams refuses 28,672 after writing it anew, which makes it longer."""

_SHORT_QUERY = 300
"""Characters up to which a query is shown in the card; a longer one is behind its button."""

_COLOURS = {
    Kind.FIRED: "Attention",
    Kind.FAILED: "Attention",
    Kind.RESOLVED: "Good",
    Kind.EXPIRED: "Default",
    Kind.ACTED: "Accent",
    Kind.ACKNOWLEDGED: "Accent",
}


@dataclass(frozen=True, slots=True)
class Room:
    """How much a card may hold: letters a text, facts, letters of a command or a link, and whether a chart."""

    text: int
    facts: int
    whole: int
    chart: bool = False


_ROOMS = (
    Room(1_000, 20, 4_000, chart=True),
    Room(1_000, 20, 4_000),
    Room(300, 20, 2_000),
    Room(120, 12, 1_000),
    Room(40, 6, 300),
)


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


def payload(notice: Notice) -> dict[str, Any]:
    """Return what is sent."""
    return envelope(notice)


def _card(notice: Notice, room: Room) -> AdaptiveCard:
    from microsoft_teams.cards import AdaptiveCard

    lines: list[CardElement] = [
        _line(f"{notice.severity} {notice.kind.value}", colour=_COLOURS.get(notice.kind, "Warning")),
        _line(_safe(notice.title, room.text), size="Large"),
        *_course(notice, room),
        *(_pair(_safe(fact.name, 40), _safe(fact.value, room.text)) for fact in _facts(notice)[: room.facts]),
        *([_line(_safe(notice.text, room.text))] if notice.text else []),
        *([_line(_safe(notice.first_step, room.text))] if notice.first_step else []),
        *_commands(notice, room),
        *_buttons(notice, room),
        _line(_safe(notice.provenance, min(200, room.text)), subtle=True),
    ]
    # Shown where no card can be drawn, and by notifications: nothing of it comes from telemetry.
    summary = cut(f"{notice.severity} {notice.kind.value}: {notice.rule} on {notice.target}", 160)
    return AdaptiveCard(version="1.4", fallback_text=summary, body=lines)


def _facts(notice: Notice) -> list[Fact]:
    """Return the facts without the one that the card's first line says."""
    return [fact for fact in notice.facts if fact.value != f"{notice.kind.value}, {notice.severity.value}"]


def _buttons(notice: Notice, room: Room) -> list[CardElement]:
    """Return the links as buttons in the card's text: at its foot they would stand below where it comes from."""
    from microsoft_teams.cards import ActionSet, OpenUrlAction

    found = [OpenUrlAction(title=cut(name, 40), url=url) for name, url in links(notice, room.whole)[:6]]
    return [ActionSet(actions=list(found))] if found else []


def _course(notice: Notice, room: Room) -> list[CardElement]:
    """Return the value's course: a chart with a line of bars for hosts that draw none, or that line alone."""
    bars = trend(notice)
    if not bars:
        return []
    return [_chart(notice, _line(bars)) if room.chart else _line(bars)]


def _chart(notice: Notice, instead: RichTextBlock) -> CardElement:
    from microsoft_teams.cards import LineChart

    end, ratio = notice.series[-1][0], notice.unit == "ratio"
    scale = 100 if ratio else 1
    points = [((at - end).total_seconds() / 60, _bounded(value) * scale) for at, value in notice.series]
    lines = [_series("value", points, "categoricalBlue")]
    if notice.threshold is not None:
        limit = _bounded(notice.threshold) * scale
        lines.append(_series("limit", [(points[0][0], limit), (points[-1][0], limit)], "attention"))
    return LineChart(
        title="The value and its limit",
        x_axis_title=f"minutes; 0 is {end.astimezone(UTC):%H:%M} UTC",
        y_axis_title="%" if ratio else notice.unit,
        show_legend=True,
        data=lines,
        fallback=instead,
    )


def _bounded(value: float) -> float:
    """Return a number that is one in JSON still after it was made a percentage."""
    return max(-1e300, min(1e300, value))


def _series(legend: str, points: Sequence[tuple[float, float]], colour: Any) -> LineChartData:
    from microsoft_teams.cards import LineChartData, LineChartValue

    values = [LineChartValue(x=float(f"{x:.6g}"), y=float(f"{y:.4g}")) for x, y in points]
    return LineChartData(legend=legend, values=values, color=colour)


def _commands(notice: Notice, room: Room) -> list[CardElement]:
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
