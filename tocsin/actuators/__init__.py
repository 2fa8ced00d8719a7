"""What changes the world: one file a kind of action, and the file is its registration.

A file ``killswitch.py`` holds the actions ``killswitch.*`` in ``ACTIONS``: name → what it takes and how it is made.
Belongs here: bringing one thing to a wanted state, idempotently. Does not belong here: whether that may be done
(``core.guard``) or when (``engine.acting``).
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from tocsin.actuators.connections import Connections
from tocsin.core.action import Takes
from tocsin.ports import Actuator


def known() -> dict[str, Takes]:
    """Return what every action takes, by its full name, such as ``killswitch.engage``."""
    return {f"{module}.{name}": takes for module, found in _modules() for name, (takes, _) in found.ACTIONS.items()}


def made(connections: Connections) -> dict[str, Actuator]:
    """Return every action by its full name."""
    return {
        f"{module}.{name}": make(connections)
        for module, found in _modules()
        for name, (_, make) in found.ACTIONS.items()
    }


def _modules() -> list[tuple[str, Any]]:
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    found = [(name, importlib.import_module(f"{__name__}.{name}")) for name in names]
    return [(name, module) for name, module in found if hasattr(module, "ACTIONS")]
