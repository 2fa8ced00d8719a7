"""A page with a chart for each KPI, in one file: it loads nothing from anywhere, and runs no script."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from html import escape

from tocsin import __version__
from tocsin.core.kpi import Standing, Trend, stretch

_WIDTH, _HEIGHT = 720, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 96, 12, 12, 24
_ROOM = 0.08
"""How much of the range is left free above and below."""

_FARTHEST = 8
"""A baseline that would stretch the chart to more than so many times its height is told beside it."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #fff; --faint: #767676; --line: #1f5fa8; --good: #1a7f37;
  --bad: #c4311b; }
@media (prefers-color-scheme: dark) { :root { --ink: #eee; --paper: #151515; --faint: #a0a0a0; --line: #7fb2ee;
  --good: #56d364; --bad: #ff8a75; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 760px;
  margin: 2rem auto; padding: 0 1rem; }
h2 { margin: 2.5rem 0 0; } h3 { margin: 1.5rem 0 .25rem; } p { margin: .25rem 0; } .faint { color: var(--faint); }
.good { color: var(--good); } .bad { color: var(--bad); } svg { width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: var(--faint); } .course { stroke: var(--line); stroke-width: 2;
  fill: none; } .dot { fill: var(--line); } .target { stroke: var(--good); } .baseline { stroke: var(--bad); }
.target, .baseline { stroke-dasharray: 5 4; stroke-width: 1.5; }
"""

_CLASS = {Standing.REACHED: "good", Standing.WORSE: "bad"}


def page(sections: Sequence[tuple[str, Sequence[Trend]]], now: datetime) -> str:
    """Return the HTML of a report: a section for each target by its name, a chart for each of its KPIs."""
    start, _ = stretch(now)
    title = f"KPIs of {', '.join(name for name, _ in sections)}"
    body = "\n".join(line for name, trends in sections for line in _section(name, trends))
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        f'<p class="faint">{start:%Y-%m-%d} to {now:%Y-%m-%d %H:%M} UTC, by the day; Tocsin {__version__}.</p>\n'
        f"{body}\n</body>\n</html>\n"
    )


def _section(name: str, trends: Sequence[Trend]) -> Iterator[str]:
    yield f"<section><h2>{escape(name)}</h2>"
    for each in trends:
        yield from _kpi(each)
    yield "</section>"


def _kpi(trend: Trend) -> Iterator[str]:
    kpi, standing = trend.kpi, trend.standing
    yield f'<article id="{escape(kpi.name)}"><h3>{escape(kpi.name)}</h3>'
    if trend.value is None:
        yield f'<p><strong>{standing.value}</strong></p><p class="faint">{escape(trend.why)}</p></article>'
        return
    done = "" if trend.progress is None else f", {trend.progress * 100:.0f}% of the way from the baseline"
    figures = f"{trend.figure(trend.value)} over 30 days{done}; last week: {trend.moving}"
    yield f'<p><strong class="{_CLASS.get(standing, "")}">{standing.value}</strong>: {escape(figures)}</p>'
    yield _chart(trend)
    yield f'<p class="faint">Measured by {escape(trend.measured)}.</p></article>'


def _chart(trend: Trend) -> str:
    """Return the chart as SVG: the days' means, broken where nothing is known, and both figures as dashed lines."""
    kpi = trend.kpi
    near = [*(each.value for each in trend.days if each.value is not None), kpi.target]
    # Hours of handwork beside seconds of an agent would draw the course as one flat line.
    far = max(*near, kpi.baseline) - min(*near, kpi.baseline) > _FARTHEST * (max(near) - min(near)) > 0
    low, high = _range(near if far else [*near, kpi.baseline])

    def across(number: int) -> float:
        return _LEFT + number * (_WIDTH - _LEFT - _RIGHT) / max(1, len(trend.days) - 1)

    def down(value: float) -> float:
        return _TOP + (high - value) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    dots = "".join(
        f'<circle class="dot" cx="{across(number):.1f}" cy="{down(day.value):.1f}" r="2.5"><title>{day.day:%Y-%m-%d}: '
        f"{escape(trend.figure(day.value))}, of {day.events}</title></circle>"
        for number, day in enumerate(trend.days)
        if day.value is not None
    )
    course = "".join(f'<path class="course" d="{path}"/>' for path in _paths(trend, across, down))
    ends = trend.days[0].day, trend.days[-1].day
    dates = f'<text x="{_LEFT}" y="{_HEIGHT - 6}">{ends[0]:%Y-%m-%d}</text>'
    dates += f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 6}" text-anchor="end">{ends[1]:%Y-%m-%d}</text>'
    lines = _beyond(trend) if far else _level("baseline", kpi.baseline, down(kpi.baseline), trend)
    lines += _level("target", kpi.target, down(kpi.target), trend)
    said = f"{kpi.name}: {trend.figure(trend.value)} over 30 days, target {trend.figure(kpi.target)}"
    box = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(said)}"'
    return f"<svg {box}>{lines}{course}{dots}{dates}</svg>"


def _beyond(trend: Trend) -> str:
    kpi = trend.kpi
    y = _TOP + 4 if kpi.baseline > kpi.target else _HEIGHT - _BOTTOM - 4
    words = f"baseline {trend.figure(kpi.baseline)}, beyond this chart"
    return f'<text x="{_WIDTH - _RIGHT}" y="{y}" text-anchor="end">{escape(words)}</text>'


def _level(name: str, value: float, y: float, trend: Trend) -> str:
    line = f'<line class="{name}" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
    label = f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(trend.figure(value))}</text>'
    return f'{line}{label}<text x="{_LEFT + 4}" y="{y - 4:.1f}">{name}</text>'


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    free = (high - low) * _ROOM or abs(high) * _ROOM or 1.0
    return low - free, high + free


def _paths(trend: Trend, across: Callable[[int], float], down: Callable[[float], float]) -> Iterator[str]:
    """Yield a line for each run of days without a gap: what is not known is not drawn."""
    run: list[str] = []
    for number, day in enumerate(trend.days):
        if day.value is None:
            if run:
                yield "M" + " L".join(run)
            run = []
        else:
            run.append(f"{across(number):.1f} {down(day.value):.1f}")
    if run:
        yield "M" + " L".join(run)
