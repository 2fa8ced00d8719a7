"""Server metrics on which people marked what is anomalous, each as a target of its own.

The two weeks of each metric are moved by whole days, so that all begin on one day. Judged is everything after the first
15% of a metric, as the collection's own scoring has it: see ``bench.detection``, which scores single points.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.detection import FOLDER, Series, series
from bench.recorded.exported import Known, Row, backtested, minutes, project
from tocsin.backtest.outcome import Outcome
from tocsin.core.rule import Rule
from tocsin.core.signal import Logs, Signal

BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
WEEK = timedelta(days=7)
SIGNAL = Signal(
    name="metric",
    summary="Mean of a server's metric.",
    unit="count",
    sources=(
        Logs(
            table="AppTraces",
            where="tostring(Properties.event_name) == 'metric'",
            value="sum(todouble(tostring(Properties.value)) * ItemCount) / sum(ItemCount)",
        ),
    ),
)
SCORES = (4, 8, 16)
"""How far above what is usual a metric has to be; the first is what a new rule is given."""


def rule(score: int) -> Rule:
    """Return the rule with this score."""
    unusual = {"score": str(score), "baseline": "3d", "seasonal": "none"}
    timing = {"for": "10m", "keep_firing_for": "2h", "every": "5m"}
    when = {"signal": "metric", "unusual": unusual, "over": "1h"}
    return Rule.model_validate(
        {"id": f"score_{score}", "summary": "{target} is unusually high.", "severity": "P2", "when": when, **timing}
    )


@dataclass(frozen=True)
class Metric:
    """One metric, moved to begin on the first day."""

    name: str
    own: Series
    moved: timedelta

    @property
    def known(self) -> list[Known]:
        """Return what people marked in it, as far as it is judged."""
        marked = [(start, end) for start, end in self.own.windows if end > self.own.times[self.own.begins]]
        return [Known(self.name, start + self.moved, end + self.moved, "labelled anomalous") for start, end in marked]

    @property
    def judged(self) -> tuple[datetime, datetime]:
        """Return from when to when it is judged."""
        return self.own.times[self.own.begins] + self.moved, self.own.times[-1] + self.moved

    def rows(self) -> Iterator[Row]:
        """Yield its points."""
        for at, value in zip(self.own.times, self.own.values, strict=True):
            yield at + self.moved, self.name, 1, {"event_name": "metric", "value": f"{value}"}


def metrics() -> list[Metric]:
    """Return every metric."""
    found = []
    for own in series(FOLDER):
        day = own.times[0].replace(hour=0, minute=0, second=0)
        found.append(Metric(own.name.lower().replace("_", "-"), own, BEGIN - day))
    return found


def run() -> tuple[Outcome, list[Known], dict[str, Any]]:
    """Return what the rules came to, what was known, and the figures."""
    every = metrics()
    end = max(each.judged[1] for each in every) + timedelta(hours=1)
    rows = (row for each in every for row in each.rows())
    found = backtested(rows, project(map(rule, SCORES), [each.name for each in every]), BEGIN, end, SIGNAL)
    known = [one for each in every for one in each.known]
    weeks = sum(((end - begin) / WEEK for begin, end in (each.judged for each in every)), 0.0)
    fixed = {"metrics": len(every), "windows": len(known), "metric_weeks": round(weeks, 1)}
    return found, known, {**fixed, **{f"score_{score}": _figures(found, every, score, weeks) for score in SCORES}}


def _figures(found: Outcome, every: list[Metric], score: int, weeks: float) -> dict[str, Any]:
    waits, false, total = [], 0, 0
    own_episodes = [one for one in found.episodes if one.rule == f"score_{score}"]
    for each in every:
        begin, end = each.judged
        fired = [one.fired for one in own_episodes if one.target == each.name and begin <= one.fired <= end]
        total += len(fired)
        false += sum(not any(one.begin <= at <= one.end for one in each.known) for at in fired)
        hits = [[at for at in fired if one.begin <= at <= one.end] for one in each.known]
        waits += [own[0] - one.begin for own, one in zip(hits, each.known, strict=True) if own]
    return {
        "found": len(waits),
        "minutes_to_find": minutes(waits),
        "alarms": total,
        "false_alarms": false,
        "false_alarms_per_week": round(false / weeks, 2),
    }
