"""Calling an HTTPS endpoint, signed as Standard Webhooks describe.

``call`` posts the alert's facts, the target's name and the author's own words. ``url_setting`` and ``secret_setting``
name the app settings with the address and the shared secret. ``webhook-id`` is the same at every attempt: an attempt
that got no answer is repeated, and the other side drops what it has. After a crash it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from tocsin.actuators.connections import Connections
from tocsin.actuators.outward import SAYS, SETTING, applied, canonical, hidden, host, identity, told
from tocsin.connections.http import checked
from tocsin.connections.standard_webhooks import checked_key, sending_time, signed
from tocsin.core.action import Order, Preview, Takes
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.remedy import Applied, Did

_NAME = "webhook.call"


@dataclass(frozen=True, slots=True)
class Call:
    """Calls one endpoint, at most once by its own reckoning; whether it did what it was called for is not known."""

    connections: Connections
    clock: Callable[[], datetime] = sending_time

    readable: ClassVar[bool] = False
    finishes: ClassVar[bool] = False

    def preview(self, order: Order) -> Preview | NoAnswer:
        """Return the one call, by its host; or which setting is missing or cannot be used."""
        try:
            url, _ = self._where(order)
        except (LookupError, ValueError) as error:
            return NoAnswer(Why.BROKEN, _lacking(error))
        return Preview((f"one signed call of {host(url)} about {order.target.name}, with the id {identity(order)}",))

    def apply(self, order: Order) -> Applied:
        """Post once, and return what was answered."""
        try:
            url, key = self._where(order)
        except (LookupError, ValueError) as error:
            return Applied(Did.FAILED, _lacking(error))
        body = canonical(document(order))
        headers = signed(identity(order), body, key, self.clock())
        answer = self.connections.http.post(url, content=body.encode(), headers=headers)
        return applied(
            answer, f"called {host(url)} with the id {identity(order)}", hidden(url, key, key.removeprefix("whsec_"))
        )

    def holds(self, order: Order) -> bool | None:  # noqa: ARG002
        """Return None: an endpoint cannot be asked what it was told."""
        return None

    def _where(self, order: Order) -> tuple[str, str]:
        url, key = order.args["url_setting"], order.args["secret_setting"]
        secret = self.connections.secret
        return _address(secret(url), url), checked_key(secret(key), key)


def document(order: Order) -> dict[str, object]:
    """Return what is sent, the same at every attempt."""
    begun = {"timestamp": order.since.isoformat()} if order.since else {}
    return {"type": "action.called", **begun, "data": told(order, _NAME)}


def _address(url: str, setting: str) -> str:
    try:
        return checked(url)
    except ValueError as error:
        raise ValueError(f"{setting}: {error}") from None


def _lacking(error: Exception) -> str:
    return str(error.args[0]) if error.args else type(error).__name__


_TAKES = Takes(
    {"url_setting": SETTING, "secret_setting": SETTING, "says": SAYS},
    changes="Posts one signed message to a web address. What its owner does then is up to them.",
)

ACTIONS: Mapping[str, tuple[Takes, Callable[[Connections], Call]]] = {"call": (_TAKES, Call)}
"""The action of this file, ``webhook.call``."""
