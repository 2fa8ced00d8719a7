"""A cold start: what importing ``function_app`` costs beside ``azure.functions`` alone, and when the first tick ends.

    python -m bench.coldstart [RUNS]

Every figure is of a process of its own, in turns, with the bytecode that a deployment has compiled; the first round is
thrown away. The first tick is that of the shipped rules and files on a healthy local world, over HTTP: it counts from
before the import until the tick has ended, and the memory is the most that its process ever held, as Linux
counts it. Ends with 1 when a tick evaluated nothing, for that would be quick.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from tocsin.local.world import World

ROOT = Path(__file__).resolve().parent.parent
RUNS = 7
PEERS = ("azure.functions", "function_app")

# A child's ``ru_maxrss`` begins with what its parent held, so the kernel is asked what this program alone has held.
PEAK = """
import re
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024
"""

IMPORT = """
import time
begun = time.perf_counter()
import {module}
ended = time.perf_counter()
import json
print(json.dumps({{"import_s": ended - begun, "peak_mb": peak()}}))
"""

TICK = """
import time
begun = time.perf_counter()
import function_app
imported = time.perf_counter()
from tocsin.app import current
app = current()
composed = time.perf_counter()
ticked = app.tick()
ended = time.perf_counter()
import json
print(json.dumps({
    "import_s": imported - begun,
    "compose_s": composed - imported,
    "tick_s": ended - composed,
    "first_tick_s": ended - begun,
    "peak_mb": peak(),
    "evaluated": len(app.engine.store.mark("sales-research").slots),
}))
"""

Measured = dict[str, float]


def once(code: str, environment: dict[str, str]) -> Measured:
    """Return what one fresh process measured of itself."""
    said = subprocess.run(
        [sys.executable, "-c", PEAK + code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
    found: Measured = json.loads(said.splitlines()[-1])
    return found


def bare() -> dict[str, str]:
    """Return the environment of a process that is to see nothing of this one's."""
    return {"PATH": os.environ.get("PATH", ""), "AzureWebJobsScriptRoot": str(ROOT)}


def ratio(rounds: dict[str, list[Measured]]) -> float:
    """Return the median over the rounds of one import's time by the other's, so that a machine's moods cancel out."""
    peer, ours = (rounds[name][1:] for name in PEERS)
    return statistics.median(one["import_s"] / other["import_s"] for one, other in zip(ours, peer, strict=True))


def medians(rounds: list[Measured]) -> Measured:
    """Return the median of each figure; the first round filled the disk's cache and does not count."""
    return {name: statistics.median(each[name] for each in rounds[1:]) for name in rounds[0]}


def measured(runs: int) -> dict[str, list[Measured]]:
    """Return what each round measured, for each import and for the first tick."""
    rounds: dict[str, list[Measured]] = {name: [] for name in (*PEERS, "first tick")}
    with World(datetime.now(UTC)) as world, tempfile.TemporaryDirectory() as folder:
        for number in range(runs + 1):
            for peer in PEERS:
                rounds[peer].append(once(IMPORT.format(module=peer), bare()))
            state = {"TOCSIN_STATE": str(Path(folder) / f"{number}.sqlite")}
            rounds["first tick"].append(once(TICK, bare() | world.settings() | state))
    return rounds


def main() -> None:
    """Print the table and the line."""
    rounds = measured(int(sys.argv[1]) if sys.argv[1:] else RUNS)
    found = {name: medians(each) for name, each in rounds.items()}
    print(f"{'':<24}{'seconds':>9}{'peak MB':>9}")
    for peer in PEERS:
        print(f"import {peer:<17}{found[peer]['import_s']:>9.3f}{found[peer]['peak_mb']:>9.0f}")
    tick = found["first tick"]
    for part in ("import_s", "compose_s", "tick_s"):
        print(f"  {part.removesuffix('_s'):<22}{tick[part]:>9.3f}")
    print(f"{'first tick, in all':<24}{tick['first_tick_s']:>9.3f}{tick['peak_mb']:>9.0f}")
    line = {
        "import_ratio": round(ratio(rounds), 3),
        "first_tick_s": round(tick["first_tick_s"], 3),
        "peak_mb": round(tick["peak_mb"], 1),
        "rules_evaluated": int(tick["evaluated"]),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
    }
    print(json.dumps(line))
    sys.exit(not line["rules_evaluated"])


if __name__ == "__main__":
    main()
