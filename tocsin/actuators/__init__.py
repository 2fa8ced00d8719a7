"""What changes the world: one file an actuator, and the file is its registration.

A file ``killswitch.py`` holds the actions ``killswitch.*`` in ``ACTIONS``. Belongs here: bringing one thing to a wanted
state, idempotently. Does not belong here: whether that may be done (``core.guard``) or when (``engine.acting``).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from tocsin.connections.arm import ContainerApps
from tocsin.ports import Actuator


def known() -> dict[str, Mapping[str, tuple[str, ...]]]:
    """Return the arguments of every action: name → the values it takes."""
    return {f"{module}.{name}": found.ARGS for module, found in _modules() for name in found.ACTIONS}


def made(apps: ContainerApps) -> dict[str, Actuator]:
    """Return every action by its full name, such as ``killswitch.engage``."""
    return {f"{module}.{name}": make(apps) for module, found in _modules() for name, make in found.ACTIONS.items()}


def _modules() -> list[tuple[str, Any]]:
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    return [(name, importlib.import_module(f"{__name__}.{name}")) for name in names]
