"""``python -m tests.alertmanager.record --seed 7 --cases 240 --out FILE``: a real run, as lines of JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from tests.alertmanager.cases import Case, Notification, from_json, generate, to_json, told_from_json, told_to_json
from tests.alertmanager.model import predict
from tests.alertmanager.server import find, run

Told = tuple[str, object, float, object, object]


def write(out: Path, cases: Iterable[Case], told: dict[int, list[Notification]]) -> None:
    """Write a line for each case: the case, and what was told."""
    with out.open("w") as lines:
        for case in cases:
            line = {"case": to_json(case), "notifications": [told_to_json(each) for each in told[case.id]]}
            lines.write(json.dumps(line, sort_keys=True) + "\n")


def read(path: Path) -> list[tuple[Case, list[Notification]]]:
    """Return what ``write`` wrote."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [(from_json(line["case"]), [told_from_json(each) for each in line["notifications"]]) for line in lines]


def comparable(told: Iterable[Notification]) -> list[str]:
    """Return the messages so that two runs can be compared: at the half second they belong to, in a fixed order."""
    return sorted(
        f"{round(each.at_seconds * 2) / 2:5.1f} {each.receiver} {dict(each.group_labels)} "
        f"firing={sorted(map(dict, each.firing), key=repr)} resolved={sorted(map(dict, each.resolved), key=repr)}"
        for each in told
    )


def main() -> None:
    """Record a run and say in how many cases the model agrees."""
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--seed", type=int, default=7)
    given.add_argument("--cases", type=int, default=240)
    given.add_argument("--out", type=Path, required=True)
    options = given.parse_args()
    program = find()
    if program is None:
        sys.exit("Alertmanager is not here: apt-get install prometheus-alertmanager")
    cases = generate(options.seed, options.cases)
    began = time.monotonic()
    told = run(cases, program)
    write(options.out, cases, told)
    pairs = [(comparable(told[case.id]), comparable(predict(case).notifications)) for case in cases]
    agree, count = sum(real == model for real, model in pairs), sum(map(len, told.values()))
    off = max(
        (abs(each.at_seconds * 2 - round(each.at_seconds * 2)) / 2 for some in told.values() for each in some),
        default=0,
    )
    print(f"{len(cases)} cases, {count} messages in {time.monotonic() - began:.0f} s; the model agrees in {agree}.")
    print(f"Every message came within {off * 1000:.0f} ms of its half second.")


if __name__ == "__main__":
    main()
