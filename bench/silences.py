"""What silences cost in a tick: 1,000 of them, recurring each minute since 2020, for 30 alerts.

    python -m bench.silences

The peer is python-dateutil's ``rrule``, which lists occurrences from the first one on, as Tocsin had it before. It is
asked of 2 silences that began ten days ago, times 500; since 2020 it would take 250 times as long. The floor is a plain
list of 1,000 intervals, which is what an Alertmanager's silences are. Three cases: silences of other rules, silences
that accept every alert but are not in force, and the same in force. All have to agree on who is silenced.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from dateutil.rrule import rrulestr

from tocsin.core.matching import one_of
from tocsin.core.mute import Muting, Silence

NOW = datetime(2026, 11, 20, 3, 0, 45, tzinfo=UTC)
SILENCES, ALERTS, RUNS, ASKED = 1_000, 30, 5, 2
START, END = datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
LABELS = [{"rule": "errors", "target": "sales", "agent": str(number)} for number in range(ALERTS)]


def silences(rule: str, lasts: timedelta, start: datetime = START) -> list[Silence]:
    """Return silences of a rule that recur each minute."""
    return [
        Silence(str(number), (one_of("rule", [rule]),), "ann", "x", start, END, "FREQ=MINUTELY", lasts)
        for number in range(SILENCES)
    ]


def ours(made: list[Silence]) -> list[bool]:
    """Return which alerts are silenced: one tick, with nothing kept from the one before."""
    muting = Muting(silences=made)
    return [bool(muting.reason(labels, NOW)) for labels in LABELS]


def by_dateutil(made: list[Silence]) -> list[bool]:
    """Return the same as it was reckoned before, once a silence and not once an alert."""
    active = []
    for each in made:
        rule = rrulestr(each.rule, dtstart=each.starts.replace(tzinfo=None))
        latest = rule.before(NOW.replace(tzinfo=None), inc=True)
        if latest is not None and NOW.replace(tzinfo=None) < latest + each.lasts:
            active.append(each)
    return [any(each.matchers[0].accepts(labels) for each in active) for labels in LABELS]


def by_intervals(made: list[Silence]) -> list[bool]:
    """Return the same from one known interval a silence."""
    begins = NOW.replace(second=0)
    known = [(begins, begins + each.lasts, each.matchers[0]) for each in made]
    return [any(a <= NOW < b and matcher.accepts(labels) for a, b, matcher in known) for labels in LABELS]


def fastest(act: Callable[[], object]) -> float:
    """Return the milliseconds of the fastest run."""
    found = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        act()
        found.append(time.perf_counter() - begun)
    return min(found) * 1_000


def main() -> None:
    """Print the table and the line."""
    cases = {"other rules": ("another", 30), "between": ("errors", 30), "in force": ("errors", 50)}
    line: dict[str, object] = {"silences": SILENCES, "alerts": ALERTS}
    print(f"{'ms a tick':<14}{'Tocsin':>10}{'intervals':>12}{'dateutil':>14}")
    for name, (rule, seconds) in cases.items():
        made = silences(rule, timedelta(seconds=seconds))
        few = silences(rule, timedelta(seconds=seconds), NOW.replace(second=0) - timedelta(days=10))[:ASKED]
        begun = time.perf_counter()
        slow = by_dateutil(few)
        dateutil_ms = (time.perf_counter() - begun) * 1_000 * SILENCES / ASKED
        assert ours(few) == slow == by_intervals(few), name
        mine, floor = fastest(lambda made=made: ours(made)), fastest(lambda made=made: by_intervals(made))
        print(f"{name:<14}{mine:>10.1f}{floor:>12.1f}{dateutil_ms:>14,.0f}")
        key = name.replace(" ", "_")
        line |= {f"{key}_ms": round(mine, 2), f"{key}_intervals_ms": round(floor, 2)}
        line |= {f"{key}_dateutil_ms": round(dateutil_ms)}
    print(json.dumps(line | {"machine": {"cores": os.cpu_count(), "python": platform.python_version()}}))


if __name__ == "__main__":
    main()
