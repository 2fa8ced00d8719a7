"""Everything that is drawn by lot, from one seed; and how likely it is."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

T = TypeVar("T")

T0 = datetime(2026, 10, 25, 0, 25, tzinfo=UTC)
"""When every story begins: the clocks of Berlin are set back half an hour later."""
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


class Chance:
    """Draws. ``quiet`` ends all that goes wrong: from then on every draw of a fault says no."""

    def __init__(self, seed: int) -> None:
        self._lots = random.Random(seed)
        self.quiet = False

    def fault(self, likely: float) -> bool:
        """Return whether something goes wrong now."""
        drawn = self._lots.random() < likely
        return drawn and not self.quiet

    def one(self, things: Sequence[T]) -> T:
        """Return one of them."""
        return things[int(self._lots.random() * len(things))]

    def whole(self, least: int, most: int) -> int:
        """Return a whole number, both ends among them."""
        return least + int(self._lots.random() * (most - least + 1))
