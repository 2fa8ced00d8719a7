"""What happened, in short lines: printed when a seed fails, and the same letter by letter when it is played again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from tests.simulation.chance import T0


@dataclass
class Story:
    """Lines with the time since the beginning. ``counts`` says how often each thing went wrong, or was done."""

    lines: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def tell(self, at: datetime, who: str, what: str) -> None:
        """Note that somebody did something."""
        seconds = int((at - T0).total_seconds())
        self.lines.append(f"{seconds // 60:>4}:{seconds % 60:02}  {who:<9} {what}")

    def count(self, what: str) -> None:
        """Note that something was there once more, so that one can see that it is there at all."""
        self.counts[what] = self.counts.get(what, 0) + 1

    @property
    def digest(self) -> str:
        """Return what tells this story from any other."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return "\n".join(self.lines)
