"""What changes the world: one file an actuator, and the file is its registration.

A file ``killswitch.py`` holds the actions ``killswitch.*`` in ``ACTIONS``. Belongs here: bringing one thing to a wanted
state, idempotently. Does not belong here: whether that may be done (``core.guard``) or when (``engine.acting``).
"""

from __future__ import annotations

import importlib
import pkgutil

from tocsin.connections.arm import ContainerApps
from tocsin.ports import Actuator


def made(apps: ContainerApps) -> dict[str, Actuator]:
    """Return every action by its full name, such as ``killswitch.engage``."""
    found: dict[str, Actuator] = {}
    for module in pkgutil.iter_modules(__path__):
        actions = importlib.import_module(f"{__name__}.{module.name}").ACTIONS
        found.update({f"{module.name}.{name}": make(apps) for name, make in actions.items()})
    return found
