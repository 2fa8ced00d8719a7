"""How well `unusual` finds what people called anomalous, on the recorded server metrics of the NAB collection.

    python -m bench.detection [FOLDER]

Three detectors see each series point by point, the first 15% without being scored: `unusual` as rules use it (the same
scoring function and the same earlier windows), a fixed threshold (mean and four deviations of the first 15%, as one is
set by hand) and a moving z-score over a day. An alarm is the first point of a run of alarming points.

Scored by NAB's standard profile: early detections within a labelled window earn most, false alarms cost 0.11, missed
windows 1; 0 is a detector that says nothing and 100 a perfect one (Lavin and Ahmad, 2015).
"""

from __future__ import annotations

import csv
import json
import math
import os
import platform
import statistics
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from tocsin.core.condition import score
from tocsin.core.rule import Unusual

FOLDER = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "nab"
OVER = timedelta(hours=1)
HOW = Unusual.model_validate({"score": "4", "baseline": "3d", "seasonal": "none"})
_DAY = timedelta(days=1)
_PROBATION = 0.15
_FALSE = 0.11
_HELD = 3
"""Points in a row that must alarm: `for: 10m` at one point every five minutes."""

_KEPT = timedelta(hours=2)
"""`keep_firing_for`: what begins again within this is the same alarm."""

Window = tuple[datetime, datetime]


@dataclass(frozen=True)
class Series:
    """One recorded metric with what people called anomalous in it."""

    name: str
    times: list[datetime]
    values: list[float]
    windows: list[Window]

    @property
    def begins(self) -> int:
        """Return the first point that is scored."""
        return int(len(self.times) * _PROBATION)

    def mean(self, end: datetime, over: timedelta) -> float | None:
        """Return the mean of the points in ``(end − over, end]``."""
        some = self.values[bisect_right(self.times, end - over) : bisect_right(self.times, end)]
        return statistics.fmean(some) if some else None


def series(folder: Path) -> Iterator[Series]:
    """Yield every series that has labels."""
    labels = json.loads((folder / "windows.json").read_text())
    for path in sorted((folder / "realAWSCloudwatch").glob("*.csv")):
        with path.open(newline="") as opened:
            rows = [(_time(row["timestamp"]), float(row["value"])) for row in csv.DictReader(opened)]
        rows.sort()
        windows = [(_time(start), _time(end)) for start, end in labels.get(f"realAWSCloudwatch/{path.name}", ())]
        yield Series(path.stem, [at for at, _ in rows], [value for _, value in rows], windows)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# Detectors: whether each point alarms


def unusual(one: Series) -> Iterator[bool]:
    """Judge as a rule does: the window that ends here against the same time of earlier days."""
    looks = HOW.looks(OVER)
    for at in one.times:
        now = one.mean(at, OVER)
        usual = [value for back in looks if (value := one.mean(at - back, OVER)) is not None]
        yield now is not None and len(usual) >= HOW.history and score(now, usual) > HOW.score


def fixed(one: Series) -> Iterator[bool]:
    """Judge by a limit that was set once."""
    seen = one.values[: one.begins]
    limit = statistics.fmean(seen) + 4 * statistics.pstdev(seen)
    yield from (value > limit for value in one.values)


def moving(one: Series) -> Iterator[bool]:
    """Judge by the mean and deviation of the day before."""
    for number, at in enumerate(one.times):
        seen = one.values[bisect_right(one.times, at - _DAY) : number]
        spread = statistics.pstdev(seen) if len(seen) > 10 else 0.0
        yield spread > 0 and one.values[number] > statistics.fmean(seen) + 4 * spread


DETECTORS: dict[str, Callable[[Series], Iterator[bool]]] = {"unusual": unusual, "fixed": fixed, "moving z": moving}


def alarms(one: Series, alarming: Iterator[bool]) -> list[datetime]:
    """Return when alarms began, after ``_HELD`` points in a row."""
    run, found, last = 0, list[datetime](), None
    for number, bad in enumerate(alarming):
        run, at = run + 1 if bad else 0, one.times[number]
        if run >= _HELD and number >= one.begins and (last is None or at - last > _KEPT):
            found.append(at)
        last = at if run >= _HELD else last
    return found


# Scores


@dataclass
class Tally:
    """What one detector did over all series."""

    inside: int = 0
    outside: int = 0
    windows: int = 0
    found: int = 0
    weeks: float = 0.0
    points: float = 0.0
    waits: list[timedelta] | None = None

    def add(self, one: Series, begun: list[datetime]) -> None:
        """Count the alarms of one series."""
        scored = [window for window in one.windows if window[1] > one.times[one.begins]]
        self.windows += len(scored)
        self.weeks += (one.times[-1] - one.times[one.begins]) / (7 * _DAY)
        self.waits = self.waits or []
        for start, end in scored:
            hits = [at for at in begun if start <= at <= end]
            self.inside += len(hits)
            self.found += bool(hits)
            self.points += _early(hits[0], start, end) if hits else -1.0
            self.waits += [hits[0] - start] if hits else []
        false = [at for at in begun if not any(start <= at <= end for start, end in scored)]
        self.outside += len(false)
        self.points += sum(_false(at, scored) for at in false)

    def line(self) -> dict[str, float]:
        """Return the figures."""
        raised = self.inside + self.outside
        waits = [wait.total_seconds() / 60 for wait in self.waits or ()]
        return {
            "precision": round(self.inside / raised, 3) if raised else 0.0,
            "recall": round(self.found / self.windows, 3),
            "false_alarms_per_week": round(self.outside / self.weeks, 2),
            "minutes_to_detect": round(statistics.median(waits), 0) if waits else math.nan,
            "nab_score": round(100 * (self.points + self.windows) / (2 * self.windows), 1),
        }


def _sigmoid(position: float) -> float:
    return 2 / (1 + math.exp(5 * position)) - 1


def _early(at: datetime, start: datetime, end: datetime) -> float:
    return _sigmoid(-(end - at) / (end - start)) / _sigmoid(-1.0)


def _false(at: datetime, windows: list[Window]) -> float:
    """Return what a false alarm costs: less shortly after a window that it is late for."""
    before = [window for window in windows if window[1] < at]
    if not before:
        return -_FALSE
    start, end = before[-1]
    return _FALSE * _sigmoid(min(3.0, (at - end) / (end - start)))


def main() -> None:
    """Print the table and the line."""
    every = list(series(Path(sys.argv[1]) if sys.argv[1:] else FOLDER))
    steps = statistics.median((late - early).total_seconds() for early, late in pairwise(every[0].times))
    print(f"{len(every)} series, a point every {steps / 60:g} minutes; `for` is {_HELD} points")
    lines = {}
    for name, detector in DETECTORS.items():
        tally = Tally()
        for one in every:
            tally.add(one, alarms(one, detector(one)))
        lines[name] = tally.line()
    columns = list(lines["unusual"])
    print(f"{'':>10}" + "".join(f"{column:>24}" for column in columns))
    for name, line in lines.items():
        print(f"{name:>10}" + "".join(f"{line[column]:>24}" for column in columns))
    baseline = max(lines["fixed"]["nab_score"], lines["moving z"]["nab_score"])
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps({**lines["unusual"], "baseline_nab_score": baseline, "detectors": lines, "machine": machine}))


if __name__ == "__main__":
    main()
