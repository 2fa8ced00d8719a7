"""``tocsin report kpis``: 30 days of what an ``accelerator.yaml`` promises, asked of telemetry with a query a KPI."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tocsin import __version__, files
from tocsin.cli import doctoring
from tocsin.cli.charting import page
from tocsin.cli.keeping import files_of, keep
from tocsin.cli.output import Exit, Output, console, emit_json, say, stop, table
from tocsin.core import kpi
from tocsin.core.answer import NoAnswer
from tocsin.core.config import Target
from tocsin.core.errors import render
from tocsin.core.kpi import Kpi, Trend
from tocsin.ports import Telemetry

FORMS = (".html", ".md", ".json")


@dataclass(frozen=True, slots=True)
class Measured:
    """The KPIs of one target; ``answered`` says whether telemetry said anything at all."""

    target: str
    trends: tuple[Trend, ...]
    answered: bool


def run(target: str, report: Path | None, root: Path | None, output: Output) -> None:
    """Show the KPIs; exit 1 when the file is not as it must be, 2 when there are none, 3 when telemetry is silent."""
    kept = files_of(report, FORMS)
    place = doctoring.place_of(root, target)
    wanted = {each.name: (each, _kpis(place.settings.root, each)) for each in place.targets if each.accelerator}
    if not any(kpis for _, kpis in wanted.values()):
        stop(Exit.USAGE, "no target's `accelerator` in tocsin.yaml names a file with `kpis`")
    now = place.now
    found = [_measured(place.app.engine.telemetry, each, kpis, now) for each, kpis in wanted.values()]
    keep(kept, (page(_sections(found), now), _markdown(found, now), json.dumps(_as_dict(found, now), indent=2) + "\n"))
    _show(found, kept, now, output)
    if not any(each.answered for each in found):
        stop(Exit.NO_ANSWER, f"no telemetry answered: {found[0].trends[0].why}")


def _kpis(root: Path, target: Target) -> tuple[Kpi, ...]:
    """Return what the target's file promises; exit 1 when it cannot be read as it stands."""
    found, problems = files.read_kpis(root, target.accelerator)
    if problems:
        say(render(problems), err=True)
        stop(Exit.BAD_NEWS, f"{target.accelerator} has problems: no figure is shown for what was not understood")
    return found


def _measured(telemetry: Telemetry, target: Target, kpis: Sequence[Kpi], now: datetime) -> Measured:
    answers = [telemetry.ask(kpi.query(each, target, now), target) for each in kpis]
    trends = tuple(kpi.trend(each, answer, now) for each, answer in zip(kpis, answers, strict=True))
    return Measured(target.name, trends, any(not isinstance(each, NoAnswer) for each in answers))


def _sections(found: Sequence[Measured]) -> list[tuple[str, tuple[Trend, ...]]]:
    return [(each.target, each.trends) for each in found]


def _markdown(found: Sequence[Measured], now: datetime) -> str:
    return "\n".join(kpi.markdown(each.target, each.trends, now, __version__) for each in found)


def _as_dict(found: Sequence[Measured], now: datetime) -> dict[str, Any]:
    start, _ = kpi.stretch(now)
    targets = [{"target": each.target, "kpis": [one.as_dict() for one in each.trends]} for each in found]
    return {"tocsin": __version__, "from": start.isoformat(), "to": now.isoformat(), "targets": targets}


def _show(found: Sequence[Measured], kept: Sequence[Path], now: datetime, output: Output) -> None:
    if output is Output.JSON:
        emit_json(_as_dict(found, now))
        return
    columns = ["KPI", "baseline", "target", "30 days", "standing", "last week", "measured by"]
    for each in found:
        rows = [
            [one.kpi.name, one.figure(one.kpi.baseline), one.figure(one.kpi.target), one.figure(one.value),
             one.standing.value, one.moving, one.measured or one.why]
            for one in each.trends
        ]  # fmt: skip
        console().print(table(f"KPIs of {each.target}", columns, rows))
    for file in kept:
        say(f"report: {file}")
