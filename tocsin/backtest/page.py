"""A backtest's report as one HTML file: tables, plots and all they need, so that it opens without a network."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from tocsin.backtest import tables
from tocsin.backtest.heat import sweep as heat
from tocsin.backtest.tables import Html, html

_ASSETS = Path(__file__).parent / "assets"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def page(
    document: Mapping[str, Any],
    *,
    title: str,
    sweep: Mapping[str, Any] | None = None,
    incidents: Sequence[Mapping[str, str]] = (),
) -> str:
    """Return the report of an outcome, or of a comparison of two, as one HTML document.

    ``document`` is what ``outcome.document`` or ``outcome.comparison_document`` returns; plots are of those rules that
    have ``series``. ``incidents`` are stretches in which something is known to have been wrong: ``from``, ``to``,
    ``text`` and the ``target``, empty for all; plots show them beside what was found. Nothing in the file is loaded
    from elsewhere, and nothing from telemetry becomes markup.
    """
    charts = _Charts(incidents)
    two = "differences" in document
    body = _compared(document, charts) if two else _single(document, charts)
    swept = _section("Settings", heat(sweep)) if sweep else ""
    span = document["head"] if two else document
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">'
        f"<title>{html(title)}</title><style>{_asset('uPlot.min.css')}{_asset('report.css')}</style></head><body>"
        f"<header><h1>{html(title)}</h1>{_span(span)}</header><main>{swept}{body}</main>"
        f'<script type="application/json" id="charts">{_data(charts.found)}</script>'
        # A report is a copy of the library, and its licence asks to be in every copy.
        f"<script>/*! uPlot: {_asset('uPlot.LICENSE')} */{_asset('uPlot.iife.min.js')}</script>"
        f"<script>{_asset('report.js')}</script></body></html>\n"
    )


@cache
def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8").strip()


def _data(found: object) -> str:
    """Return JSON that no text in it can end the script element of."""
    text = json.dumps(found, separators=(",", ":"))
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def _span(document: Mapping[str, Any]) -> str:
    start, end = document["from"], document["to"]
    lasted = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    return f"<p>{tables.moment(start)} to {tables.moment(end)} UTC, {tables.length(lasted)} of history</p>"


def _section(name: str, *content: str, kind: str = "") -> str:
    told = "".join(content)
    return f'<section class="{kind}"><h2>{html(name)}</h2>{told}</section>' if told else ""


def _tiles(document: Mapping[str, Any]) -> str:
    rules = document["rules"]
    figures = (
        ("rules on targets", len(rules)),
        ("episodes", sum(len(each["episodes"]) for each in rules)),
        ("pages", len(document["pages"])),
        ("flaps", sum(each["flaps"] for each in rules)),
        ("actions", len(document["actions"])),
        ("not replayed", len(document["not_replayed"])),
    )
    return (
        f'<dl class="tiles">{"".join(f"<div><dt>{name}</dt><dd>{value:,}</dd></div>" for name, value in figures)}</dl>'
    )


def _single(document: Mapping[str, Any], charts: _Charts) -> str:
    loud = [each for each in tables.ordered(document["rules"]) if each["episodes"]]
    quiet = [each for each in tables.ordered(document["rules"]) if not each["episodes"]]
    return "".join(
        (
            _tiles(document),
            _section("Rules", tables.rules(document)),
            _section("Course", charts.figures(document, loud), _folded_figures(charts, document, quiet)),
            _section("Episodes", tables.episodes(document) or "<p>None.</p>"),
            _section("Pages", tables.messages(document) or "<p>None.</p>"),
            _section("Actions", tables.actions(document) or "<p>None.</p>"),
            _section("Not replayed", tables.unplayed(document)),
        )
    )


def _folded_figures(charts: _Charts, document: Mapping[str, Any], quiet: list[Mapping[str, Any]]) -> str:
    drawn = charts.figures(document, quiet)
    return tables.folded(f"Rules without an episode ({len(quiet)})", Html(drawn))


_SIDES = (("base", "Before"), ("head", "After"))


def _compared(document: Mapping[str, Any], charts: _Charts) -> str:
    """Return what differs first, then both outcomes beside each other."""
    differing = {(each["rule"], each["target"]): each for each in document["differences"]}
    pairs = "".join(_pair(document, name, charts) for name in differing)
    found = tables.differences(document) or _nothing(document)
    return "".join(
        (
            _section("Differences", found, tables.only_in_one(document)),
            _section("Course of what differs", pairs),
            _beside("Totals", document, _tiles),
            _beside("Rules", document, tables.rules),
            _beside("Episodes", document, tables.episodes),
            _beside("Pages", document, tables.messages),
            _beside("Actions", document, tables.actions),
            _beside("Not replayed", document, tables.unplayed),
        )
    )


def _nothing(document: Mapping[str, Any]) -> str:
    told = "Nothing: the same episodes and as many pages to each receiver"
    acting = any(document.get("actions", {}).values())
    return f"<p>{told}; policies would have acted otherwise.</p>" if acting else f"<p>{told}.</p>"


def _pair(document: Mapping[str, Any], name: tuple[str, str], charts: _Charts) -> str:
    return f'<div class="pair">{"".join(_side(document[side], name, said, charts) for side, said in _SIDES)}</div>'


def _side(document: Mapping[str, Any], name: tuple[str, str], said: str, charts: _Charts) -> str:
    own = [each for each in document["rules"] if (each["rule"], each["target"]) == name]
    return charts.figures(document, own, f"{said}: ") or f"<p>{said}: no such rule.</p>"


def _beside(name: str, document: Mapping[str, Any], made: Any) -> str:
    sides = [(said, made(document[side])) for side, said in _SIDES]
    if not any(content for _, content in sides):
        return ""
    both = "".join(f"<div><h3>{said}</h3>{content or '<p>None.</p>'}</div>" for said, content in sides)
    return _section(name, f'<div class="pair">{both}</div>')


class _Charts:
    """The plots of a report: a figure in the page for each, and the data that the script draws in it."""

    def __init__(self, incidents: Sequence[Mapping[str, str]]) -> None:
        self.found: list[dict[str, Any]] = []
        self._incidents = incidents

    def figures(self, document: Mapping[str, Any], rules: Iterable[Mapping[str, Any]], before: str = "") -> str:
        """Return a figure for each rule that has something to draw."""
        return "".join(self._figure(document, each, before) for each in rules if _drawable(each))

    def _figure(self, document: Mapping[str, Any], rule: Mapping[str, Any], before: str) -> str:
        number, name = len(self.found), f"{before}{rule['rule']} on {rule['target']}"
        known = [[_seconds(each["from"]), _seconds(each["to"]), each["text"]]
                 for each in self._incidents if each.get("target", "") in ("", rule["target"])]  # fmt: skip
        self.found.append({**rule["series"], "marks": list(_marks(document, rule)), "known": known})
        told = _told(rule)
        return (
            f"<figure><figcaption>{tables.severity(rule['severity'])} <strong>{html(name)}</strong> <span>{html(told)}"
            f'</span></figcaption><div class="chart" data-chart="{number}" role="img" aria-label="{html(name)}: '
            f'{html(told)}"></div><noscript><p>The plot needs JavaScript; the tables do not.</p></noscript></figure>'
        )


def _drawable(rule: Mapping[str, Any]) -> bool:
    return any(any(each is not None for each in line) for line in rule.get("series", {}).get("lines", {}).values())


def _told(rule: Mapping[str, Any]) -> str:
    """Return in words what the plot shows, for those who do not see it."""
    count, series = len(rule["episodes"]), rule["series"]
    parts = [
        f"{count} episode{'' if count == 1 else 's'}",
        f"firing {tables.length(tables.burning(rule))}" if count else "",
        series["condition"],
        f"for {tables.length(rule['for'])}" if rule["for"] else "",
        f"{series['left_out']} instances with lower values are not drawn" if series["left_out"] else "",
    ]
    return ", ".join(part for part in parts if part)


def _marks(document: Mapping[str, Any], rule: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Yield what happened beside the values: messages and actions, each with its words."""
    name = (rule["rule"], rule["target"])
    for each in document["pages"]:
        if (each["rule"], each["target"]) == name:
            yield {"at": _seconds(each["at"]), "kind": "message", "text": f"{each['kind']} → {each['receiver']}"}
    for each in document["actions"]:
        if (each["rule"], each["target"]) == name:
            told = f"{each['policy']}: {each['action']} ({each['ruling']})"
            yield {"at": _seconds(each["at"]), "kind": "action", "text": told}


def _seconds(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp()
