"""HTML of a backtest's report without its plots: tables that can be read, printed and listened to without a script.

Whatever is not made here is text, and is escaped: labels and titles come from telemetry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from html import escape
from typing import Any

from tocsin.core import units
from tocsin.core.text import scrub

_LONGEST = 300
MOST_ROWS = 500
"""How many rows of a list are shown; a report of a flood still opens."""
_NUMBER = ' class="number"'


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def html(value: object) -> Html:
    """Return a value as HTML; text is escaped, and has no control or bidirectional characters any more."""
    return value if isinstance(value, Html) else Html(escape(scrub(str(value), _LONGEST)))


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[object]], *, kind: str = "") -> Html:
    """Return a table whose first column names its rows; nothing for no rows. Numbers stand to the right."""
    every = list(rows)
    if not every:
        return Html()
    columns = "".join(_headed(name, first) for name, first in zip(head, every[0], strict=True))
    body = "".join(f"<tr>{_cells(row)}</tr>" for row in every[:MOST_ROWS])
    more = f" — the first {MOST_ROWS} of {len(every)}" if len(every) > MOST_ROWS else ""
    return Html(
        f'<div class="wide"><table class="{kind}"><caption>{html(caption)}{more}</caption>'
        f"<thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _headed(name: str, first: object) -> str:
    return f'<th scope="col"{_NUMBER if isinstance(first, int | float) else ""}>{html(name)}</th>'


def _cells(row: Sequence[object]) -> str:
    first, *rest = row
    return f'<th scope="row">{html(first)}</th>' + "".join(_cell(each) for each in rest)


def _cell(value: object) -> str:
    return f"<td{_NUMBER}>{value:,}</td>" if isinstance(value, int | float) else f"<td>{html(value)}</td>"


def severity(name: str) -> Html:
    """Return a severity as a coloured word."""
    return Html(f'<span class="severity {html(name)}">{html(name)}</span>')


def length(seconds: float) -> str:
    """Return a length as an operator writes it, of long ones the two largest units; a dash for nothing."""
    if not seconds:
        return "–"
    whole = int(seconds)
    for size, unit in ((86_400, 3_600), (3_600, 60)):
        if whole >= size:
            whole -= whole % unit
            break
    return units.spell(timedelta(seconds=whole))


def moment(iso: str | None) -> Html:
    """Return a time to the minute, in UTC; for None that history ended before."""
    if not iso:
        return Html("<em>still open</em>")
    at = datetime.fromisoformat(iso)
    return Html(f'<time datetime="{html(iso)}">{at:%Y-%m-%d %H:%M}</time>')


def instance(by: Mapping[str, str]) -> str:
    """Return an instance's labels."""
    return ", ".join(f"{name} {value}" for name, value in by.items())


# One outcome


def burning(rule: Mapping[str, Any]) -> float:
    """Return for how many seconds an alert was open."""
    spent = rule["seconds_in"]
    return float(spent.get("firing", 0) + spent.get("recovering", 0))


def ordered(rules: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return rules as they are listed: the gravest first, of those the one with most episodes."""
    return sorted(rules, key=lambda each: (each["severity"], -len(each["episodes"]), each["rule"], each["target"]))


def rules(document: Mapping[str, Any]) -> Html:
    """Return what became of each rule on each target."""
    rows = [
        (
            each["rule"],
            each["target"],
            severity(each["severity"]),
            len(each["episodes"]),
            each["pages"],
            each["flaps"],
            length(burning(each)),
            length(each["seconds_in"].get("pending", 0)),
            _share(each["known_slots"], each["slots"]),
        )
        for each in ordered(document["rules"])
    ]
    head = ("Rule", "Target", "Severity", "Episodes", "Pages", "Flaps", "Time firing", "Time pending", "Known")
    return table("Rules, the gravest first. Known: in how much of the time the rule could judge.", head, rows)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f}%" if whole else "–"


def episodes(document: Mapping[str, Any]) -> Html:
    """Return every episode, oldest first."""
    every = [(own, each) for own in document["rules"] for each in own["episodes"]]
    rows = [_episode(own, each) for own, each in sorted(every, key=lambda pair: pair[1]["fired"])]
    head = ("Rule", "Target", "Of", "Severity", "Fired", "Ended", "Lasted", "Worst", "Flap")
    return table("Episodes, oldest first, in UTC", head, rows)


def _episode(own: Mapping[str, Any], each: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        own["rule"],
        own["target"],
        instance(each["by"]),
        severity(own["severity"]),
        moment(each["fired"]),
        moment(each["ended"]),
        length(each["seconds"]),
        "–" if each["worst"] is None else units.amount(each["worst"], own["unit"]),
        "flap" if each["flap"] else "",
    )


def messages(document: Mapping[str, Any]) -> Html:
    """Return how many messages each receiver would have had, and every one of them, folded away."""
    told = document["pages"]
    kinds = sorted({each["kind"] for each in told})
    counted = [
        (receiver, count, *(sum(each["receiver"] == receiver and each["kind"] == kind for each in told)
                            for kind in kinds))
        for receiver, count in sorted(document["pages_by_receiver"].items(), key=lambda pair: -pair[1])
    ]  # fmt: skip
    summary = table("Pages by receiver", ("Receiver", "Pages", *kinds), counted)
    rows = [(moment(each["at"]), each["receiver"], each["kind"], severity(each["severity"]), each["title"])
            for each in told]  # fmt: skip
    every = table("Pages, oldest first", ("At", "To", "Kind", "Severity", "Title"), rows)
    return Html(f"{summary}{folded(f'Every page ({len(told)})', every)}")


def folded(name: str, content: Html) -> Html:
    """Return content that is opened by a click; nothing for nothing."""
    return Html(f"<details><summary>{html(name)}</summary>{content}</details>") if content else Html()


_RULED = {"permit": "acts", "ask": "asks a person", "observe": "only says what it would do", "refuse": "is refused"}


def actions(document: Mapping[str, Any]) -> Html:
    """Return what policies would have done."""
    rows = [(moment(each["at"]), each["policy"], each["action"], each["rule"], each["target"],
             _RULED.get(each["ruling"], each["ruling"]), each["why"]) for each in document["actions"]]  # fmt: skip
    head = ("At", "Policy", "Action", "Rule", "Target", "The guard", "Why")
    return table("What policies would have done: the alert goes on as it was recorded", head, rows)


def unplayed(document: Mapping[str, Any]) -> Html:
    """Return what could not be replayed, wholly or in part, and why."""
    parts = (("not_replayed", "not replayed"), ("partly_replayed", "judged by a part of what it measures"))
    rows = [(each["rule"], each["target"], told, each["why"]) for key, told in parts for each in document.get(key, ())]
    return table("What this history says nothing of", ("Rule", "Target", "What", "Why"), rows)


# Two outcomes

_FIGURES = (("episodes", "Episodes"), ("pages", "Pages"), ("flaps", "Flaps"), ("seconds_firing", "Time firing"))


def differences(document: Mapping[str, Any]) -> Html:
    """Return every rule that a change makes a difference to: before, after, and the episodes that only one has."""
    rows = [
        (each["rule"], each["target"], *(_turned(each, key) for key, _ in _FIGURES),
         len(each["only_in_base"]), len(each["only_in_head"]), _standing(each))
        for each in document["differences"]
    ]  # fmt: skip
    head = ("Rule", "Target", *(name for _, name in _FIGURES), "Episodes gone", "Episodes new", "The rule")
    return table("What differs, before → after", head, rows, kind="differences")


def _turned(each: Mapping[str, Any], key: str) -> Html:
    before, after = (_figure(each[side], key) for side in ("base", "head"))
    return Html(before if before == after else f"{before} → <strong>{after}</strong>")


def _figure(own: Mapping[str, Any] | None, key: str) -> str:
    if own is None:
        return "–"
    return html(length(own[key]) if key == "seconds_firing" else own[key])


def _standing(each: Mapping[str, Any]) -> str:
    if each["base"] is None:
        return "is new"
    if each["head"] is None:
        return "is gone"
    others = each["base"]["pages_by_receiver"] != each["head"]["pages_by_receiver"]
    return "pages others" if others and each["base"]["pages"] == each["head"]["pages"] else ""


def only_in_one(document: Mapping[str, Any]) -> Html:
    """Return the episodes that only one of both has."""
    rows = [
        (each["rule"], each["target"], instance(one["by"]), said, moment(one["fired"]), moment(one["ended"]),
         length(one["seconds"]))
        for each in document["differences"]
        for key, said in (("only_in_base", "gone"), ("only_in_head", "new"))
        for one in each[key]
    ]  # fmt: skip
    head = ("Rule", "Target", "Of", "Which", "Fired", "Ended", "Lasted")
    return table("Episodes that only one of both has", head, rows)
