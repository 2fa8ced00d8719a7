"""Publishing an event to an Azure Event Grid custom topic that takes CloudEvents 1.0.

``publish`` sends one event of the ``type`` that the policy names; its data are the alert's facts, the target's name and
the author's own words. ``topic_setting`` names the app setting with the topic's address; ``key_setting`` that with an
access key, without which the identity that acts must be an EventGrid Data Sender there. The event's id is the same at
every attempt: one that got no answer is repeated, and subscribers drop what they have. After a crash it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from tocsin.actuators.connections import Connections
from tocsin.actuators.outward import SAYS, SETTING, applied, hidden, host, identity, told
from tocsin.connections.event_grid import SCOPE, address, checked_key, cloud_event
from tocsin.connections.identity import StaticToken
from tocsin.core.action import Arg, Order, Preview, Takes
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.remedy import Applied, Did

_NAME = "event_grid.publish"
_AGAIN = frozenset({Why.BUSY, Why.THROTTLED, Why.FAILED, Why.UNREACHABLE, Why.TIMEOUT})


@dataclass(frozen=True, slots=True)
class Publish:
    """Publishes one event; what its subscribers make of it is not known."""

    connections: Connections

    readable: ClassVar[bool] = False
    finishes: ClassVar[bool] = False

    def preview(self, order: Order) -> Preview | NoAnswer:
        """Return the one event, by its type and the topic's host; or which setting is missing or cannot be used."""
        try:
            at, _ = self._topic(order)
        except (LookupError, ValueError) as error:
            return NoAnswer(Why.BROKEN, str(error.args[0]))
        kind = order.args["type"]
        return Preview((f"one event {kind} about {order.target.name} to {host(at)}, with the id {identity(order)}",))

    def apply(self, order: Order) -> Applied:
        """Publish once, and return what was answered."""
        try:
            at, key = self._topic(order)
            by = checked_key(key, order.args["key_setting"]) if key else self._signed_in(at)
        except (LookupError, ValueError) as error:
            return Applied(Did.FAILED, str(error.args[0]))
        if isinstance(by, NoAnswer):
            return Applied(Did.BUSY if by.why in _AGAIN else Did.FAILED, f"{by.why.value}: {by.detail}")
        answer = self.connections.publish(at, event(order), by, self.connections.http.timeout)
        secret = by if isinstance(by, str) else by.token
        found = applied(answer, f"published {order.args['type']} to {host(at)}", hidden(at, secret))
        return _explained(found) if found.did is Did.FAILED else found

    def holds(self, order: Order) -> bool | None:  # noqa: ARG002
        """Return None: a topic cannot be asked what it was sent."""
        return None

    def _topic(self, order: Order) -> tuple[str, str]:
        """Return where the topic takes events, and its access key; an empty one where the identity signs in."""
        setting, key = order.args["topic_setting"], order.args.get("key_setting", "")
        where = self.connections.secret(setting)
        try:
            at = address(where)
        except ValueError as error:
            raise ValueError(f"{setting}: {error}") from None
        return at, self.connections.secret(key) if key else ""

    def _signed_in(self, at: str) -> StaticToken | NoAnswer:
        token = self.connections.token(SCOPE, at)  # which looked where it is sent to
        return token if isinstance(token, NoAnswer) else StaticToken(token)


def event(order: Order) -> dict[str, Any]:
    """Return what is published, the same at every attempt."""
    subject = order.args.get("subject") or f"{order.facts.get('rule', 'alert')}/{order.target.name}"
    return cloud_event(identity(order), order.target.name, order.args["type"], subject, told(order, _NAME), order.since)


def _explained(found: Applied) -> Applied:
    if found.detail.startswith(("401", "403")):
        hint = "the key must be the topic's, or the identity an EventGrid Data Sender there"
        return replace(found, detail=f"{found.detail}: {hint}")
    return found


_TYPE = Arg(pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", says="a type of event, like com.example.rollback")
_SUBJECT = Arg(pattern=r"[!-~]{1,200}", says="a subject: printable, without spaces, 200 letters at most", needed=False)
_KEY = Arg(pattern=SETTING.pattern, says=SETTING.says, needed=False)
_TAKES = Takes(
    {"topic_setting": SETTING, "key_setting": _KEY, "type": _TYPE, "subject": _SUBJECT, "says": SAYS},
    changes="Publishes one event to an Event Grid topic. What its subscribers do then is up to them.",
)

ACTIONS: Mapping[str, tuple[Takes, Callable[[Connections], Publish]]] = {"publish": (_TAKES, Publish)}
"""The action of this file, ``event_grid.publish``."""
