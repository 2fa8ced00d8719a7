"""The timeline: one line a moment, coloured on a terminal, plain text elsewhere."""

from __future__ import annotations

from datetime import datetime

from rich.console import Console
from rich.text import Text

from tocsin.local.play import Moment

STYLES = {
    "world": ("○", "cyan"),
    "inactive": ("●", "green"),
    "pending": ("●", "yellow"),
    "firing": ("●", "bold red"),
    "recovering": ("●", "yellow"),
    "told": ("→", "blue"),
    "not told": ("×", "bold magenta"),
    "intended": ("◆", "magenta"),
    "applied": ("◆", "magenta"),
    "starting": ("◆", "yellow"),
    "verified": ("◆", "bold green"),
    "failed": ("◆", "bold red"),
    "unverified": ("◆", "bold red"),
    "serving": ("◇", "magenta"),
}


class Timeline:
    """Prints moments as they happen, with the time since ``started``."""

    def __init__(self, console: Console, started: datetime) -> None:
        self._console = console
        self._started = started

    def line(self, moment: Moment) -> None:
        """Print one moment. Its words are plain text, whatever they hold."""
        self._console.print(self._text(moment), soft_wrap=True)

    def _text(self, moment: Moment) -> Text:
        mark, style = STYLES.get(moment.kind, ("·", "dim"))
        return Text.assemble(
            (f"{moment.at:%H:%M:%S}  ", "dim"),
            (f"{since(self._started, moment.at):>8}  ", ""),
            (f"{mark} {moment.kind:<11}", style),
            (moment.words, ""),
        )


def since(start: datetime, at: datetime) -> str:
    """Return the story time from ``start`` to ``at`` as minutes and seconds, ``T+12:30``."""
    minutes, seconds = divmod(int((at - start).total_seconds()), 60)
    return f"T+{minutes:02}:{seconds:02}"
