"""What rules find in real recordings whose incidents are known: how soon, and how often they cry wolf.

    python -m bench.recordings [FOLDER]

Each recording becomes exported telemetry and is replayed as ``tocsin backtest`` replays a customer's own. With a
folder, a picture of each report is written there, made in Chromium.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.recorded import llm, nab, petshop
from bench.recorded.exported import Known
from tocsin.backtest import page, tables
from tocsin.backtest.outcome import Outcome, document
from tocsin.cli import picturing

RECORDINGS = {"llm": llm, "nab": nab, "petshop": petshop}
TITLES = {
    "llm": "An hour of a language-model service with two incidents",
    "nab": "Server metrics that people labelled",
    "petshop": "A microservice application with 26 injected issues",
}
_SHOWN, _WIDTH, _HEIGHT = 6, 1200, 1260
"""How many rules a picture shows, the gravest first, and its size."""


def report(name: str, found: Outcome, known: Sequence[Known]) -> str:
    """Return the HTML report of the rules that a picture has room for."""
    whole = document(found, series=True)
    loud = [each for each in tables.ordered(whole["rules"]) if each["episodes"]][:_SHOWN]
    names = {(each["rule"], each["target"]) for each in loud}
    pages = [each for each in whole["pages"] if (each["rule"], each["target"]) in names]
    shown = {**whole, "rules": loud, "pages": pages}
    return page.page(shown, title=TITLES[name], incidents=[each.document() for each in known])


def picture(text: str, path: Path) -> None:
    """Write a picture of a report's upper part, as Chromium shows it without a network."""
    from playwright.sync_api import sync_playwright

    alone = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=picturing._browser(), args=alone)
        opened = browser.new_context(viewport={"width": _WIDTH, "height": _HEIGHT}, offline=True).new_page()
        opened.set_content(text)
        opened.wait_for_function("tocsin.plots().length > 0")
        opened.screenshot(path=path)
        browser.close()


def told(figures: Mapping[str, Any], before: str = "  ") -> None:
    """Print figures, those of a part below its name."""
    for name, value in figures.items():
        inner = isinstance(value, Mapping)
        print(f"{before}{name.replace('_', ' '):<{46 - len(before)}}{'' if inner else value}")
        if inner:
            told(value, before + "  ")


def main() -> None:
    """Print what was found, write the pictures, and print the line."""
    folder = Path(sys.argv[1]) if sys.argv[1:] else None
    line: dict[str, Any] = {}
    for name, recording in RECORDINGS.items():
        began = time.perf_counter()
        found, known, figures = recording.run()
        line[name] = {**figures, "seconds": round(time.perf_counter() - began, 1)}
        print(f"{name}: {TITLES[name]}")
        told(line[name])
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            picture(report(name, found, known), folder / f"{name}.png")
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps({**line, "machine": machine}))


if __name__ == "__main__":
    main()
