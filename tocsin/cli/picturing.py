"""Drawing a Teams card as Teams would: Microsoft's renderer in a real browser, for pictures and for their test.

Needs Playwright, Chromium and the npm package under ``tools/cards``; nothing else does, and nothing is fetched.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

CARDS = Path(__file__).resolve().parent.parent.parent / "tools" / "cards"
RENDERER = CARDS / "node_modules" / "adaptivecards" / "dist" / "adaptivecards.min.js"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_WIDTH, _SHARPNESS = 584, 1.5

_DRAW = """([card, config]) => {
  const drawn = new AdaptiveCards.AdaptiveCard();
  drawn.hostConfig = new AdaptiveCards.HostConfig(config);
  drawn.parse(card);
  document.getElementById('card').appendChild(drawn.render());
}"""


def missing() -> str:
    """Return what a picture needs and is not here, with how it is had; empty when nothing is missing."""
    needs = {
        "Playwright: pip install playwright": importlib.util.find_spec("playwright") is not None,
        "Chromium: apt-get install chromium": _browser() is not None,
        "the npm package adaptivecards: npm ci --prefix tools/cards": RENDERER.is_file(),
    }
    return "; ".join(name for name, here in needs.items() if not here)


def draw(card: Mapping[str, Any], file: Path) -> None:
    """Write the card's picture as PNG. Raises OSError where the file cannot be written."""
    with shown(card) as page:
        picture = page.locator("#card").screenshot()
    file.write_bytes(picture)


@contextmanager
def shown(card: Mapping[str, Any]) -> Iterator[Page]:
    """Yield the page that shows the card, in a browser without a network."""
    from playwright.sync_api import sync_playwright

    # Root has no sandbox to start the browser in; everywhere else it keeps its own.
    alone = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_browser(), args=alone)
        try:
            context = browser.new_context(
                viewport={"width": _WIDTH, "height": 600}, device_scale_factor=_SHARPNESS, offline=True
            )
            page = context.new_page()
            page.set_content((CARDS / "card.html").read_text(encoding="utf-8"))
            page.add_script_tag(content=RENDERER.read_text(encoding="utf-8"))
            page.evaluate(_DRAW, [card, json.loads((CARDS / "host-config.json").read_text(encoding="utf-8"))])
            yield page
        finally:
            browser.close()


def _browser() -> str | None:
    return next(filter(None, map(shutil.which, _BROWSERS)), None)
