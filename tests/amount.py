"""How much of a long test is run: continuous integration runs a bounded part of it, everybody else the whole."""

from __future__ import annotations

import os

CI = bool(os.environ.get("CI"))


def often(whole: int, bounded: int) -> int:
    """Return ``bounded`` in continuous integration, else ``whole``."""
    return bounded if CI else whole
