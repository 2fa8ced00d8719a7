"""``make abuse``: every abuse on every store, beside the same story without it; exit 1 when something was late or lost.

python -m tests.abuse.run [NAME…] [--on SQLite|Azurite] [--share 0.1] [--write docs/failure-modes.md]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.abuse.abuses import abuses
from tests.abuse.stage import NOTHING, STATES, Abuse, Figures, play

LATE = timedelta(minutes=2)
"""By how much later than without abuse somebody is notified, or the killswitch engaged, at most."""


def wrong(found: Figures, control: Figures) -> list[str]:
    """Return what must not have been, in words."""
    said = [f"a tick raised {each}" for each in dict.fromkeys(found.failed)]
    for what in ("notified", "engaged"):
        mine, without = getattr(found, what), getattr(control, what)
        if mine is None:
            said.append(f"never {what}")
        elif without is None:
            said.append(f"never {what} even without abuse")
        elif mine - without > LATE:
            said.append(f"{what} {_clock(mine - without)} later than without abuse")
    return said


def row(found: Figures, control: Figures) -> str:
    """Return the figures as a line of a table."""
    cells = [
        found.abuse,
        found.state,
        f"{_clock(found.notified)} ({_clock(control.notified)})",
        f"{_clock(found.engaged)} ({_clock(control.engaged)})",
        f"{found.worst:.1f} s",
        f"{found.ticks}",
        f"{found.rows:,}",
        f"{found.size / 1e6:.1f} MB",
        ", ".join(f"{count} {what}" for what, count in found.noted.items()),
        "; ".join(wrong(found, control)) or "ok",
    ]
    return f"| {' | '.join(cells)} |"


HEAD = "| abuse | store | notified (without) | engaged (without) | worst tick | ticks | rows | bytes | posts | |"
LINE = "|---|---|---|---|---|---|---|---|---|---|"


def _clock(length: timedelta | None) -> str:
    if length is None:
        return "never"
    seconds = round(length.total_seconds())
    return f"{seconds // 60}:{seconds % 60:02d}"


def main(names: Sequence[str], states: Iterable[str], share: float, write: Path | None) -> int:
    """Play them and print their figures; return 1 when one ended wrong."""
    begun, rows, bad = time.monotonic(), [], 0
    chosen = [abuse for name, abuse in abuses().items() if not names or name in names]
    print(f"{HEAD}\n{LINE}", flush=True)
    for state in states:
        controls: dict[tuple[int, int], Figures] = {}
        for abuse in chosen:
            control = _control(abuse, state, controls)
            _say(f"{state}: {abuse.name} …")
            found = play(abuse, state, share)
            bad += bool(wrong(found, control))
            rows.append(row(found, control))
            _say("")
            print(rows[-1], flush=True)
    print(f"{len(rows)} stories, {bad} wrong, {time.monotonic() - begun:.0f} s")
    if write:
        _write(write, rows, share)
    return 1 if bad else 0


def _control(abuse: Abuse, state: str, known: dict[tuple[int, int], Figures]) -> Figures:
    """Return the same story without abuse: when the approver goes, and whether nobody ticks then, makes the story."""
    key = (abuse.lead, abuse.gap)
    if key not in known:
        _say(f"{state}: without abuse …")
        quiet = Abuse(NOTHING.name, NOTHING.words, lead=abuse.lead, gap=abuse.gap, tail=12)
        known[key] = play(quiet, state)
    return known[key]


def _say(words: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{words}", end="", file=sys.stderr, flush=True)
    elif words:
        print(words, file=sys.stderr, flush=True)


BEGIN, END = "<!-- abuse: begin -->", "<!-- abuse: end -->"


def _write(page: Path, rows: Sequence[str], share: float) -> None:
    """Put the figures into a page, between its two marks."""
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    what = "" if share == 1 else f" at {share:.0%} of its size"
    table = "\n".join((f"`make abuse`{what}, {datetime.now(UTC):%Y-%m-%d}:", "", HEAD, LINE, *rows))
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*abuses(), []], help="default: all")
    parser.add_argument("--on", choices=list(STATES), action="append", help="default: every store")
    parser.add_argument("--share", type=float, default=1.0, help="this part of everything")
    parser.add_argument("--write", type=Path, help="a page whose table is written anew")
    given = parser.parse_args()
    sys.exit(main(given.names, given.on or list(STATES), given.share, given.write))
