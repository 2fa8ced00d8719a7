"""A sweep as a table: episodes against settings, the darker the more, and the settings that are recommended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tocsin.backtest.tables import Html, html, length, table

_FIGURES = (("episodes", "Episodes"), ("pages", "Pages"), ("flaps", "Flaps"), ("seconds_firing", "Time firing"))


def sweep(found: Mapping[str, Any]) -> Html:
    """Return the sweep's table, and above it what is recommended and why; two axes are drawn as rows and columns."""
    axes, cells = found["axes"], found["cells"]
    best = found.get("recommended") or {}
    said = ", ".join(f"{key} {value}" for key, value in best.items())
    verdict = f"Recommended: {said}." if best else "Nothing is recommended."
    why = f"<p><strong>{html(verdict)}</strong> {html(found.get('why', ''))}</p>"
    drawn = _crossed(axes, cells, best) if len(axes) == 2 else _listed(axes, cells, best)
    return Html(f"{why}{drawn}")


def _crossed(axes: Sequence[Mapping[str, Any]], cells: Sequence[Mapping[str, Any]], best: Mapping[str, Any]) -> Html:
    down, across = axes
    by_place = {(str(c["settings"][down["key"]]), str(c["settings"][across["key"]])): c for c in cells}
    most = _most(cells)
    head = "".join(f'<th scope="col">{html(value)}</th>' for value in across["values"])
    rows = "".join(
        f'<tr><th scope="row">{html(value)}</th>'
        + "".join(_heated(by_place.get((str(value), str(other))), most, best) for other in across["values"])
        + "</tr>"
        for value in down["values"]
    )
    below = "; below them the pages" if any("pages" in each for each in cells) else ""
    return Html(
        f'<div class="wide"><table class="heat"><caption>Episodes, by {html(down["key"])} (down) and '
        f"{html(across['key'])} (across){below}</caption><thead><tr><td></td>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _heated(cell: Mapping[str, Any] | None, most: int, best: Mapping[str, Any]) -> str:
    if cell is None:
        return "<td>–</td>"
    chosen = _same(cell["settings"], best)
    told = ", ".join(f"{name.lower()} {html(_figure(cell, key))}" for key, name in _FIGURES if key in cell)
    mark = ' <span class="star" title="recommended">★<span class="spoken"> recommended</span></span>' if chosen else ""
    kind = ' class="chosen"' if chosen else ""
    heat = f"--heat:{cell['episodes'] / most:.3f}"
    return (
        f'<td{kind} style="{heat}" title="{told}">{cell["episodes"]}{mark}<small>{cell.get("pages", "")}</small></td>'
    )


def _listed(axes: Sequence[Mapping[str, Any]], cells: Sequence[Mapping[str, Any]], best: Mapping[str, Any]) -> Html:
    keys = [axis["key"] for axis in axes]
    rows = [
        (*(each["settings"][key] if at else str(each["settings"][key]) for at, key in enumerate(keys)),
         *(_figure(each, key) for key, _ in _FIGURES), "★ recommended" if _same(each["settings"], best) else "")
        for each in cells
    ]  # fmt: skip
    return table("Episodes, by setting", (*keys, *(name for _, name in _FIGURES), "Which"), rows)


def _figure(cell: Mapping[str, Any], key: str) -> object:
    return length(cell[key]) if key == "seconds_firing" else cell.get(key, "")


def _same(settings: Mapping[str, Any], best: Mapping[str, Any]) -> bool:
    return bool(best) and all(str(settings.get(key)) == str(value) for key, value in best.items())


def _most(cells: Sequence[Mapping[str, Any]]) -> int:
    return max((each["episodes"] for each in cells), default=0) or 1
