"""Faults planted in a copy of the code, each of which the simulation has to find within two thousand seeds.

    python -m tests.simulation.planted             looks for each from seed 0 on, and says where it is found
    python -m tests.simulation.planted release     those whose name holds a word
    python -m tests.simulation.planted --known     plays for each the one seed that is known to find it

Ends with one line of JSON. The working tree is never touched.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
MOST = 2000


@dataclass(frozen=True)
class Fault:
    """One fault: where, what stands in the place of what, and a ``seed`` that finds it."""

    name: str
    file: str
    old: str
    new: str
    seed: int


@dataclass(frozen=True)
class Found:
    """The seed that found a fault, and what was wrong then; None when no seed did."""

    seed: int | None
    wrong: str


_READ_AGAIN = """again = apps.get(target)
        if isinstance(again, App) and _alike(again, app):
            return again
        app = again"""
_SAVE = "self.reporter.save(intended, "
_APPLY = "self._carrier.actuators[intended.action].apply(remedy.order(intended, target))"
_HAND_OVER = "outcome = self._hand_over(held, wasted)"
_SETTLE = "self.store.settle(replace(held, state=Settled.DELIVERED, settled=now))"
_NOTE = "self.add(subject, error)"
FAILING = "tocsin/engine/failing.py"
GUARD, SWITCH = "tocsin/core/guard.py", "tocsin/actuators/steady.py"

FAULTS = (
    Fault("the intent is saved after the act", "tocsin/engine/acting.py", _SAVE, f"{_APPLY}\n            {_SAVE}", 0),
    Fault("a message is settled before the receiver answered", "tocsin/engine/notifying.py", _HAND_OVER, f"{_SETTLE}\n        {_HAND_OVER}", 2),
    Fault("a lock is given to two", "tocsin/stores/sqlite.py", "False in free:", "False:", 6),
    Fault("a person's release is overruled", GUARD, "case.released is not None and since is not None and case.released >= since:", "False:", 17),
    Fault("one failure ends the tick", FAILING, f"{_NOTE}\n            return otherwise", "raise", 2),
    Fault("the highest switch decides", GUARD, "lowest = min(", "lowest = max(", 9),
    Fault("an end that names no time ends nothing", "tocsin/core/native.py", "(self.resolved or self.arrived) if self.over", "self.resolved if self.over", 263),
)  # fmt: skip


def planted(fault: Fault, text: str) -> str:
    """Return the file's text with the fault in it. Raises ValueError when its place is not there exactly once."""
    if text.count(fault.old) != 1:
        raise ValueError(f"'{fault.name}': its place is there {text.count(fault.old)} times in {fault.file}")
    return text.replace(fault.old, fault.new)


def told(fault: Fault, seeds: int, first: int = 0) -> str:
    """Return what a run of these seeds prints with the fault in the code. Raises RuntimeError when it cannot run."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        leave = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "tocsin", copy / "tocsin", ignore=leave)
        shutil.copytree(ROOT / "tests" / "simulation", copy / "tests" / "simulation", ignore=leave)
        shutil.copy(ROOT / "tests" / "__init__.py", copy / "tests")
        broken = copy / fault.file
        broken.write_text(planted(fault, broken.read_text()))
        environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "tests.simulation.run", str(seeds), str(first)]
        run = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    if run.stderr:
        raise RuntimeError(run.stderr[-500:])
    return run.stdout


def found(fault: Fault, seeds: int, first: int = 0) -> Found:
    """Return which of these seeds is the first to find the fault."""
    seen = re.search(r"^seed=(\d+) digest=\w+ (.*)$", told(fault, seeds, first), re.MULTILINE)
    return Found(int(seen[1]), seen[2]) if seen else Found(None, "")


def main(word: str = "") -> int:
    """Look for the faults; return 0 when each was found."""
    known, missed, seeds = word == "--known", list[str](), dict[str, int | None]()
    for fault in FAULTS:
        if known or word in fault.name:
            seen = found(fault, 1, fault.seed) if known else found(fault, MOST)
            print(
                f"{'found' if seen.wrong else 'MISSED':<7} seed {seen.seed!s:<5} {fault.name}: {seen.wrong}", flush=True
            )
            seeds[fault.name] = seen.seed
            missed += [] if seen.wrong else [fault.name]
    print(json.dumps({"faults": len(seeds), "found": len(seeds) - len(missed), "missed": missed, "seeds": seeds}))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
