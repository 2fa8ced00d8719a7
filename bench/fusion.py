"""Fused against unfused: queries a tick and wall time for many one-minute rules on one target over a million rows.

    python -m bench.fusion [ROWS]

Rules are of the kind operators write: every signal over logs, split by what it can be split by, over five windows, with
thresholds of their own; every twentieth has its own KQL. Both sides run on the embedded engine, four queries at once.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from tocsin import signals
from tocsin.core.answer import Rows
from tocsin.core.compile import Ask, compile_logs, windows
from tocsin.core.config import Target
from tocsin.core.fuse import fuse
from tocsin.core.rule import Rule
from tocsin.core.signal import Logs
from tocsin.telemetry.embedded import EmbeddedTelemetry

AT = datetime(2026, 11, 20, 6, tzinfo=UTC)
TARGET = Target(name="sales", workspace="w", role_name="sales-api")
SIZES = (10, 100, 1000)
RUNS = 3
EVENTS = ("response.returned", "cost.call", "tool.executed", "tool.hitl_rejected", "worker.completed")


def rules(count: int) -> Iterator[Rule]:
    """Yield as many rules, no two alike."""
    shapes = itertools.cycle(
        (name, by, over)
        for over in ("5m", "10m", "15m", "30m", "1h")
        for name, signal in signals.known().items()
        if any(isinstance(source, Logs) for source in signal.sources)  # the others ask no query
        for by in [[], *([each] for each in signal.dimensions)]
    )
    for number in range(count):
        if number % 20 == 19:
            text = f"AppTraces | where Message has 'returned' and ItemCount > {number} | summarize value = count()"
            when: dict[str, Any] = {"kql": text, "over": "5m"}
        else:
            name, by, over = next(shapes)
            when = {"signal": name, "by": by, "over": over}
        when["above"] = str(number)
        yield Rule.model_validate({"id": f"r{number}", "summary": "x", "severity": "P2", "when": when})


def asks(some: list[Rule]) -> dict[int, Ask]:
    """Return every query of the rules at one slot."""
    found = []
    for rule in some:
        signal = signals.known().get(rule.when.signal or "")
        sources = [each for each in signal.sources if isinstance(each, Logs)] if signal else [None]
        for source in sources:
            found += compile_logs(rule, signal, source, TARGET, windows(rule, (AT,)))
    return dict(enumerate(found))


def filled(rows: int) -> EmbeddedTelemetry:
    """Return telemetry with that many rows over the last six hours."""
    chance, telemetry = random.Random(1), EmbeddedTelemetry()

    def row(number: int) -> dict[str, Any]:
        name = EVENTS[number % len(EVENTS)]
        properties = {
            "event_name": name,
            "ok": chance.choice(("true", "false")),
            "value": f"{chance.uniform(1, 5000):.1f}",
            "external_system": chance.choice(("send_email", "crm_write_contact", "web_search")),
            "args_redacted.agent": f"agent-{number % 7}",
            "args_redacted.model": f"model-{number % 3}",
        }
        at = AT - timedelta(seconds=6 * 3600 * number / rows)
        return {"TimeGenerated": at, "AppRoleName": TARGET.role_name, "Message": name, "Properties": properties}

    telemetry.load("AppTraces", map(row, range(rows)))
    return telemetry


def round_of(telemetry: EmbeddedTelemetry, texts: list[Any]) -> None:
    """Ask all queries, four at once, and insist on rows."""
    with ThreadPoolExecutor(4) as pool:
        for answer in pool.map(lambda query: telemetry.ask(query, TARGET), texts):
            if not isinstance(answer, Rows):
                raise SystemExit(f"no answer: {answer}")


def timed(act: Callable[[], object]) -> float:
    """Return the median seconds of several runs, the first of which (translation) is not counted."""
    act()
    found = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        act()
        found.append(time.perf_counter() - begun)
    return statistics.median(found)


def measured(telemetry: EmbeddedTelemetry, count: int) -> dict[str, float]:
    """Return what one size came to."""
    every = asks(list(rules(count)))
    queries = fuse(every, TARGET)
    fused = timed(lambda: round_of(telemetry, [each.query for each in fuse(every, TARGET)]))
    unfused = timed(lambda: round_of(telemetry, [each.query for each in every.values()]))
    return {
        "rules": count,
        "queries_per_tick": len(queries),
        "unfused_queries": len(every),
        "fused_s": round(fused, 3),
        "unfused_s": round(unfused, 3),
        "speedup": round(unfused / fused, 1),
    }


def main() -> None:
    """Print the table and the line."""
    rows = int(sys.argv[1]) if sys.argv[1:] else 1_000_000
    print(f"loading {rows:,} rows …", flush=True)
    telemetry = filled(rows)
    print(f"{'rules':>6} {'queries':>8} {'unfused':>8} {'fused s':>9} {'unfused s':>10} {'speedup':>8}")
    sizes = []
    for count in SIZES:
        found = measured(telemetry, count)
        sizes.append(found)
        print(
            "{rules:>6} {queries_per_tick:>8} {unfused_queries:>8} {fused_s:>9} {unfused_s:>10} {speedup:>8}".format(
                **found
            )
        )
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps({"rows": rows, **sizes[-1], "sizes": sizes, "machine": machine}))


if __name__ == "__main__":
    main()
