"""Through what actions reach the world, all with the identity that may change it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tocsin.connections import event_grid, github
from tocsin.connections.arm import ContainerApps
from tocsin.connections.http import Http, Reply, Unreached
from tocsin.connections.identity import StaticToken
from tocsin.core.answer import NoAnswer, Why


def _no_secret(name: str) -> str:
    raise LookupError(f"the app setting {name} is not set")


def _no_identity(_scope: str, _endpoint: str) -> NoAnswer:
    return NoAnswer(Why.FORBIDDEN, "no token: there is no identity")


@dataclass(frozen=True, slots=True)
class Connections:
    """``secret`` returns the value of an app setting by its name, or raises LookupError that names the setting alone.

    A policy names settings, never secrets, so the value of none is ever part of an order or of the audit.
    """

    apps: ContainerApps
    http: Http = field(default_factory=Http)
    secret: Callable[[str], str] = field(default=_no_secret, repr=False)
    github: str = github.ENDPOINT
    """Where GitHub's API is."""
    token: Callable[[str, str], str | NoAnswer] = field(default=_no_identity, repr=False)
    """Returns a token of the identity that may change things, for a scope and the endpoint it is sent to.

    Raises ValueError for one that must not be sent there.
    """
    publish: Callable[[str, Mapping[str, Any], str | StaticToken, float], Reply | Unreached] = event_grid.publish
    """Publishes an event at a topic's address, by its access key or a token."""
