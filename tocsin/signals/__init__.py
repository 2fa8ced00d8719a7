"""What can be measured: one module a signal, and its file is its registration.

Belongs here: data only — which rows count, and what is computed from them.
Does not belong here: code that decides or talks to anything.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from tocsin.core.signal import Signal


@cache
def known() -> dict[str, Signal]:
    """Return every signal by name, taken from this folder's listing: adding a file adds the signal."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}").SIGNAL for name in names}
