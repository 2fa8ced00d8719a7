"""A token bucket: how many requests may leave in how long, whoever sends them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Bucket:
    """Lets ``per_minute`` requests through, at most half a minute's worth at once. Safe to use from several threads."""

    def __init__(
        self,
        per_minute: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._rate = per_minute / 60
        self._most = max(1.0, per_minute / 2)
        self._clock, self._sleep = clock, sleep
        self._left, self._at = self._most, clock()
        self._lock = threading.Lock()

    def take(self, within: float) -> bool:
        """Wait for a token for up to ``within`` seconds; return whether there was one."""
        wait = self._wait(within)
        if wait is None:
            return False
        if wait:
            self._sleep(wait)
        return True

    def _wait(self, within: float) -> float | None:
        """Take the next token, which may be one that is still to come; return how long until it does."""
        with self._lock:
            now = self._clock()
            self._left = min(self._most, self._left + (now - self._at) * self._rate)
            self._at = now
            wait = max(0.0, (1 - self._left) / self._rate)
            if wait > within:
                return None
            self._left -= 1
            return wait
