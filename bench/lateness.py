"""Telemetry that arrives late: which events a rule every minute misses, and which it counts twice.

    python -m bench.lateness [EVENTS]

The recorded trace's requests, each an event with its own name, arrive after a random delay of up to so many minutes.
A timer fires every minute, up to five seconds late. Compared are Tocsin's modes, through its own schedule, compiler and
engine, and the rule that a native alert is: ``TimeGenerated > ago(1m)``, evaluated whenever the timer fires.
"""

from __future__ import annotations

import json
import os
import platform
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from tocsin import signals
from tocsin.core.answer import Query, Rows
from tocsin.core.compile import compile_logs, windows
from tocsin.core.config import Target
from tocsin.core.fields import AUTO
from tocsin.core.rule import Rule
from tocsin.core.schedule import delay, due
from tocsin.core.signal import Logs
from tocsin.local.load import from_trace, seeded
from tocsin.telemetry.embedded import EmbeddedTelemetry

START = datetime(2026, 11, 20, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TRACE = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "llm-inference-2023" / "code.csv"
DELAYS = (0, 1, 2, 5, 10)
TARGET = Target(name="sales", workspace="w", role_name="sales-api")
SIGNAL = signals.known()["hitl_rejections"]

Seen = Counter[str]
"""How often each event was counted."""


@dataclass
class Played:
    """Telemetry seen by a clock that the timer moves; ``late`` is the delay at most."""

    telemetry: EmbeddedTelemetry
    clock: list[datetime]
    timer: list[datetime]
    late: timedelta

    def ticks(self) -> Iterator[datetime]:
        """Move the clock to each instant at which the timer fired."""
        for now in self.timer:
            self.clock[0] = now
            yield now


Mode = Callable[[Played], Seen]


def tocsin(counting: str, offset: timedelta | None = None) -> Mode:
    """Return the mode of a rule of ours."""
    given = {"id": "r", "summary": "x", "severity": "P1", "counting": counting}
    when = {"signal": SIGNAL.name, "above": "0", "over": "1m", "by": ["tool"]}
    rule = Rule.model_validate({**given, "when": when}).model_copy(update={"offset": offset})
    (source,) = (each for each in SIGNAL.sources if isinstance(each, Logs))

    def play(story: Played) -> Seen:
        seen, last = Seen(), None
        target = TARGET.model_copy(update={"lag": story.late})
        for now in story.ticks():
            found = due(rule, target.name, last, now, delay(rule, target), 15 * MINUTE)
            spans = windows(rule, found.slots, last)
            for ask in compile_logs(rule, SIGNAL, source, target, spans) if spans else ():
                seen += tally(story.telemetry, ask.query)
            last = found.slots[-1] if found.slots else last
        return seen

    return play


def plain(story: Played) -> Seen:
    """Play the rule a native alert is."""
    text = "AppTraces | where TimeGenerated > ago(1m) and Message == 'tool.hitl_rejected'"
    text += " | summarize value = count() by tool = tostring(Properties.external_system)"
    seen = Seen()
    for now in story.ticks():
        seen += tally(story.telemetry, Query(text, now - timedelta(days=1), now + MINUTE))
    return seen


def tally(telemetry: EmbeddedTelemetry, query: Query) -> Seen:
    """Return how often each event is in the answer."""
    answer = telemetry.ask(query, TARGET)
    if not isinstance(answer, Rows):
        raise SystemExit(f"no answer: {answer}")
    return Seen({row["tool"]: int(row["value"]) for row in answer.dicts()})


MODES: dict[str, Mode] = {
    "arrivals": tocsin("arrivals"),
    "offset 2m": tocsin("events"),
    "offset auto": tocsin("events", AUTO),
    "plain ago(1m)": plain,
}


def emitted(count: int) -> list[datetime]:
    """Return when the events were emitted: the recorded requests, or a seeded load where they are not here."""
    load = from_trace(TRACE, START) if TRACE.is_file() else seeded(1, START, per_minute=60)
    return [request.at for request in islice(load, count)]


def played(events: list[datetime], minutes: int) -> dict[str, dict[str, int]]:
    """Return missed and doubled events a mode, for delays of up to so many minutes."""
    chance, clock = random.Random(minutes), [START]
    telemetry = EmbeddedTelemetry(lambda: clock[0])
    rows = []
    for number, at in enumerate(events):
        properties = {"event_name": "tool.hitl_rejected", "external_system": f"e{number}"}
        arrived = at + timedelta(seconds=chance.uniform(0, minutes * 60))
        row = {"TimeGenerated": at, "_IngestedAt": arrived, "AppRoleName": TARGET.role_name}
        rows.append({**row, "Message": "tool.hitl_rejected", "Properties": properties})
    telemetry.load("AppTraces", rows)
    length = (events[-1] - START) // MINUTE + minutes + 5
    ticks = [START + MINUTE * number + timedelta(seconds=chance.uniform(0, 5)) for number in range(1, length)]
    found = {}
    for name, mode in MODES.items():
        seen = mode(Played(telemetry, clock, ticks, minutes * MINUTE))
        missed = sum(1 for number in range(len(events)) if not seen[f"e{number}"])
        found[name] = {"missed": missed, "doubled": sum(1 for count in seen.values() if count > 1)}
    telemetry.close()
    return found


def main() -> None:
    """Print the table and the line."""
    events = emitted(int(sys.argv[1]) if sys.argv[1:] else 3000)
    print(f"{len(events)} events over {(events[-1] - events[0]) // MINUTE} minutes; missed/doubled")
    print(f"{'delay up to':>12}" + "".join(f"{name:>16}" for name in MODES))
    sizes = {}
    for minutes in DELAYS:
        sizes[f"{minutes}m"] = found = played(events, minutes)
        print(f"{minutes:>10} m" + "".join(f"{each['missed']:>9}/{each['doubled']:<6}" for each in found.values()))
    line = {
        f"{name}_{kind}": max(each[mode][kind] for each in sizes.values())
        for name, mode in (("arrivals", "arrivals"), ("plain", "plain ago(1m)"))
        for kind in ("missed", "doubled")
    }
    line |= {
        "events": len(events),
        "sizes": sizes,
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
