"""Who can be told: one file a kind of receiver, and the file is its registration — ``teams.py`` is ``type: teams``.

A file has ``OPTIONS`` (name → whether it is needed), ``make(options, secret, http)``, and ``payload(notice)``: what it
would send, secrets aside. Belongs here: a receiver's own payload, markup and limits. Does not belong here: who is told
(``core.route``) or when again (``engine.notifying``).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, cast

from tocsin.connections.http import Http
from tocsin.core.message import Notice
from tocsin.ports import Notifier

_PARTS = {"statuses", "plain", "prose", "mail", "picture", "png", "prometheus"}


def known() -> tuple[str, ...]:
    """Return the types there are, from this folder's listing."""
    return tuple(sorted({module.name for module in pkgutil.iter_modules(__path__)} - _PARTS))


def options(kind: str) -> Mapping[str, bool]:
    """Return the options of a type: name → whether it is needed."""
    return cast("Mapping[str, bool]", importlib.import_module(f"{__name__}.{kind}").OPTIONS)


def make(kind: str, given: Mapping[str, str], secret: Callable[[str], str], http: Http) -> Notifier:
    """Return the notifier of a type. ``secret`` returns an app setting's value, or raises LookupError that names it."""
    return cast("Notifier", importlib.import_module(f"{__name__}.{kind}").make(given, secret, http))


def together(kind: str) -> bool:
    """Return whether receivers of a type take one message about several alerts: see ``ports.Notifier``."""
    module = vars(importlib.import_module(f"{__name__}.{kind}"))
    return any(getattr(each, "together", False) for each in module.values() if isinstance(each, type))


def payload(kind: str, notice: Notice) -> Any:
    """Return what a receiver of this type is sent for a notice, as JSON values and without secrets."""
    return importlib.import_module(f"{__name__}.{kind}").payload(notice)
