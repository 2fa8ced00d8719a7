"""Whether a switch that was engaged is still engaged, and if not, whether a person or a deployment undid it.

A person who releases by hand says so in the variable (``off``, as the printed command does) and changes nothing else; a
deployment writes its template back, in which the variable is absent or other things differ too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import rfc8785

from tocsin.core.config import Target
from tocsin.core.container import SCOPES, SECRET, WHOLE, App, engaged, what_runs


@dataclass(frozen=True, slots=True)
class Engaged:
    """A switch that was seen engaged on all that serves, and that nobody has released since.

    With the scope ``WHOLE`` it is the whole app, which was seen stopped and which nobody has started since.
    """

    target: str
    scope: str
    by: str
    at: datetime
    runs: str
    """The digest of what the app runs besides the switch."""

    @property
    def key(self) -> str:
        """Under which it is kept: there is one of each switch of a target."""
        return f"{self.target}/{self.scope}"


class Standing(StrEnum):
    """How a switch stands that was engaged."""

    HELD = "held"
    DRIFTED = "drifted"
    RELEASED = "released by hand"
    UNSURE = "unsure"


def judge(since: Engaged, app: App, target: Target) -> tuple[Standing, str]:
    """Return how the switch stands on the app as read now, and what is seen, in words."""
    if since.scope == WHOLE:
        return _whole(app)
    variable = SCOPES[since.scope]
    values = {each.name: each.env.get(variable) for each in app.serving}
    if not values or SECRET in (*values.values(), app.env.get(variable)):
        return Standing.UNSURE, "no revision serves" if not values else f"{variable} refers to a secret"
    gone = [name for name, value in values.items() if not engaged(value)]
    coming = app.template_serves and not engaged(app.env.get(variable))
    if not gone and not coming:
        return Standing.HELD, f"{variable} is on wherever requests go"
    where = ", ".join(gone) or "the next revision"
    if runs(app.template, target, variable) == since.runs and _says_so(app, gone, variable):
        return Standing.RELEASED, f"{variable} was set to '{app.env[variable]}' on {where} and nothing else changed"
    return Standing.DRIFTED, f"{variable} is gone from {where}"


def _whole(app: App) -> tuple[Standing, str]:
    """Return whether a stopped app is still stopped: a deployment may start it, and nobody is told of that."""
    if app.stopped:
        return Standing.HELD, app.silence
    if app.status == "Progressing":
        return Standing.UNSURE, "the platform is stopping or starting it"
    return Standing.DRIFTED, "the app was stopped, and it runs again"


RELEASED = "off"
"""The one value that says so. A template's empty default is not engaged either, and nobody's word."""


def _says_so(app: App, gone: list[str], variable: str) -> bool:
    """Return whether the template, and every revision without the switch, has the word of a person in it."""
    without = (each.env for each in app.serving if each.name in gone)
    return all(env.get(variable, "").lower() == RELEASED for env in (app.env, *without))


def runs(template: Mapping[str, Any], target: Target, variable: str) -> str:
    """Return the digest of what a template runs besides one variable."""
    found = what_runs(template, target.container, (variable,))
    return hashlib.sha256(rfc8785.dumps({name: _plain(each) for name, each in found.items()})).hexdigest()


def _plain(found: Any) -> Any:
    if isinstance(found, tuple | list):
        return [_plain(each) for each in found]
    return {key: _plain(each) for key, each in found.items()} if isinstance(found, dict) else found
