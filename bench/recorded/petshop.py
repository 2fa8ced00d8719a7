"""A microservice application in normal operation, and with 26 issues injected into it one after another.

Every five minutes each component becomes one row of its successful answers, with the recorded 95th percentile of their
time as value, and one of its failed ones. A row is emitted when its five minutes are over. Limits are set, and what is
usual is learnt, from the first day of normal operation; false alarms are counted on the second. That first day is also
laid before the issues, whose own recording begins ten minutes before the first of them; between issues it has gaps of
ten minutes and more.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from bench.recorded.exported import DATA, Known, Row, backtested, minutes, project
from tocsin.backtest.episodes import Episode
from tocsin.backtest.outcome import Outcome
from tocsin.core.rule import Rule

FOLDER = DATA / "petshop" / "high_traffic"
EVERY = timedelta(minutes=5)
DAY = timedelta(days=1)
WEEK = timedelta(days=7)
FRONT = "petsite"
"""The component that users see."""


@dataclass(frozen=True)
class Point:
    """One component over five minutes from ``at``: how many answers, the share that succeeded, and their time."""

    at: datetime
    component: str
    requests: float
    success: float
    seconds: float | None

    def rows(self) -> Iterator[Row]:
        """Yield its rows, emitted when its five minutes are over."""
        failed = round(self.requests * (1 - self.success))
        good, end = round(self.requests) - failed, self.at + EVERY - timedelta(seconds=1)
        fixed = {"event_name": "response.returned", "unit": "ms"}
        if good:
            value = {} if self.seconds is None else {"value": f"{1000 * self.seconds:.3f}"}
            yield end, self.component, good, {**fixed, "ok": "true", **value}
        if failed:
            yield end, self.component, failed, {**fixed, "ok": "false"}


@dataclass(frozen=True)
class Issue:
    """One injected issue: when it began, what it made worse for users, which component caused it, and the recording."""

    name: str
    at: datetime
    metric: str
    cause: str
    points: list[Point]

    @property
    def end(self) -> datetime:
        """Return when its recording ends."""
        return max(each.at for each in self.points) + EVERY

    @property
    def begin(self) -> datetime:
        """Return when it may be seen first: the five minutes in which it was injected may hold much of it."""
        return self.at


def points(path: Path) -> list[Point]:
    """Return the points of a recording; a component without requests has none."""
    with path.open(newline="") as opened:
        rows = list(csv.reader(opened))
    named = list(zip(*rows[:3], strict=True))
    place = {key: number for number, key in enumerate(named)}
    found = []
    for row in rows[4:]:
        at = datetime.fromtimestamp(float(row[0]), UTC)
        for component in dict.fromkeys(name for name, *_ in named[1:]):
            got = [_number(row, place, component, *key)
                   for key in (("requests", "Sum"), ("availability", "Average"), ("latency", "p95"))]  # fmt: skip
            if got[0]:
                found.append(Point(at, target(component), got[0], 1 if got[1] is None else got[1] / 100, got[2]))
    return found


def _number(row: list[str], place: Mapping[tuple[str, ...], int], *key: str) -> float | None:
    text = row[place[key]] if key in place else ""
    return float(text) if text else None


def target(component: str) -> str:
    """Return a component's name as targets are named."""
    return re.sub(r"[^a-z0-9]+", "-", component.lower()).strip("-")[:63].rstrip("-")


def issues() -> list[Issue]:
    """Return every injected issue, oldest first."""
    found = []
    for path in FOLDER.glob("t*/issue_*"):
        said = json.loads((path / "target.json").read_text())
        at = datetime.fromtimestamp(said["target"]["timestamp"], UTC)
        own = points(path / "metrics.csv")
        cause = target(said["root_cause"]["node"])
        found.append(Issue(f"{path.parent.name}/{path.name}", at, said["target"]["metric"], cause, own))
    return sorted(found, key=lambda each: each.at)


def rules(normal: Iterable[Point]) -> list[Rule]:
    """Return rules on what users see, with limits from normal operation, and on what is unusual of any component."""
    front = [each.seconds for each in normal if each.component == FRONT and each.seconds]
    limit = f"{1000 * 1.15 * median(front):.0f}"
    users, parts = {"targets": {"seen_by": "users"}}, {"targets": {"seen_by": "components"}}
    timing = {"for": "5m", "keep_firing_for": "5m"}
    unusual = {"score": "10", "baseline": "1d", "seasonal": "none"}
    given = (
        {"id": "slow", "severity": "P1", **users,
         "when": {"signal": "response_latency", "above": limit, "over": "5m"}},
        {"id": "failing", "severity": "P1", **users,
         "when": {"signal": "response_errors", "above": "1%", "over": "5m", "minimum": 20}},
        {"id": "component_slow", "severity": "P2", **parts,
         "when": {"signal": "response_latency", "unusual": unusual, "over": "5m", "minimum": 100}},
        {"id": "component_failing", "severity": "P2", **parts,
         "when": {"signal": "response_errors", "above": "2%", "over": "5m", "minimum": 100}},
    )  # fmt: skip
    return [Rule.model_validate({"summary": "{value} on {target}.", **timing, **each}) for each in given]


def _judged(rules_: list[Rule], every: list[Point], start: datetime, end: datetime) -> Outcome:
    made = project(rules_, sorted({each.component for each in every}))
    targets = [each.model_copy(update={"labels": {"seen_by": "users" if each.name == FRONT else "components"}})
               for each in made.config.targets]  # fmt: skip
    config = made.config.model_copy(update={"targets": tuple(targets)})
    return backtested((row for each in every for row in each.rows()), replace(made, config=config), start, end)


def run() -> tuple[Outcome, list[Known], dict[str, Any]]:
    """Return what the rules came to over the issues, what was known, and the figures."""
    normal = points(FOLDER / "noissue" / "metrics.csv")
    first = min(each.at for each in normal)
    learnt = [each for each in normal if each.at < first + DAY]
    own, injected = rules(learnt), issues()
    quiet = _judged(own, normal, first + DAY, max(each.at for each in normal) + EVERY)
    begin = min(each.at for one in injected for each in one.points)
    before = [replace(each, at=each.at + (begin - first - DAY)) for each in learnt]
    every = before + [each for one in injected for each in one.points]
    found = _judged(own, every, begin, injected[-1].end + EVERY)
    known = [Known("", each.at, each.end, f"{each.metric}: {each.cause}") for each in injected]
    return found, known, _figures(found, quiet, injected)


def _figures(found: Outcome, quiet: Outcome, injected: list[Issue]) -> dict[str, Any]:
    weeks = (quiet.end - quiet.start) / WEEK
    front = [each for each in found.episodes if each.target == FRONT]
    return {
        "issues": len(injected),
        "seen_by_users": _found(front, injected),
        "by_any_component": _found(found.episodes, injected),
        "cause_named": sum(bool(_hits([e for e in found.episodes if e.target == one.cause], one)) for one in injected),
        "hours_of_normal_operation": round((quiet.end - quiet.start) / timedelta(hours=1), 1),
        "false_alarms_in_normal_operation": {
            "seen_by_users": sum(each.target == FRONT for each in quiet.episodes),
            "by_components": sum(each.target != FRONT for each in quiet.episodes),
        },
        "false_alarms_per_week_seen_by_users": round(sum(each.target == FRONT for each in quiet.episodes) / weeks, 1),
    }


def _found(own: list[Episode], injected: list[Issue]) -> dict[str, Any]:
    hits = {one.name: _hits(own, one) for one in injected}
    kinds = {kind: [one for one in injected if one.metric == kind] for kind in ("latency", "availability")}
    waits = [min(at) - one.at for one in injected if (at := hits[one.name])]
    within = sum(len(each) for each in hits.values())
    return {
        "found": len(waits),
        "minutes_to_find": minutes(waits),
        "alarms_between_issues": len(own) - within,
        **{f"{kind}_found": f"{sum(bool(hits[one.name]) for one in some)} of {len(some)}"
           for kind, some in kinds.items()},
    }  # fmt: skip


def _hits(own: list[Episode], one: Issue) -> list[datetime]:
    """Return when alarms began within an issue, until its recording ends and a slot later."""
    return [each.fired for each in own if one.begin <= each.fired <= one.end + EVERY]
