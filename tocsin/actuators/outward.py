"""What actions that call out have in common: what they may tell, and what an answer means.

Nothing from telemetry leaves: only an order's facts and what the policy's author wrote. Of what the other side says a
few words are kept, without addresses and secrets, since whoever is called decides what they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tocsin.connections.http import Reply, Unreached
from tocsin.connections.refusal import words
from tocsin.connections.statuses import again, retry_after
from tocsin.core.action import Arg, Order
from tocsin.core.remedy import Applied, Did
from tocsin.core.text import redacted, scrub

SETTING = Arg(pattern=r"[A-Za-z_][A-Za-z0-9_]{0,127}", says="the name of an app setting")
SAYS = Arg(pattern=r"[^\x00-\x1f\x7f]{1,500}", says="a text of one line, 500 letters at most", needed=False)

_SHORTEST_SECRET = 6
"""Letters of a part of an address that may be a secret; shorter ones are words that any answer may hold."""


def identity(order: Order) -> str:
    """Return by what the other side recognises an order that it was sent twice: the same at every attempt."""
    return f"tocsin-{hashlib.sha256(order.id.encode()).hexdigest()[:32]}"


def told(order: Order, action: str) -> dict[str, Any]:
    """Return everything that the other side is told: facts of the alert, the target's name and the author's words."""
    says = order.args.get("says", "")
    return {
        "id": identity(order),
        "action": action,
        "target": order.target.name,
        "facts": {scrub(name, 60): scrub(value, 500) for name, value in order.facts.items()},
        **({"says": says} if says else {}),
    }


def canonical(value: Any) -> str:
    """Return JSON that is the same letter by letter for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def host(url: str) -> str:
    """Return all of an address that may be shown."""
    return urlsplit(url).netloc


def hidden(url: str, *secrets: str) -> tuple[str, ...]:
    """Return what must not be repeated though the other side says it: secrets, and the address but for its host."""
    parts = urlsplit(url)
    pieces = [*parts.path.split("/"), *(value for _, value in parse_qsl(parts.query))]
    pieces += [unquote(piece) for piece in pieces]
    long = {piece for piece in pieces if len(piece) >= _SHORTEST_SECRET}
    whole = [each for each in (url, parts.query, parts.path if len(parts.path) > 1 else "", *secrets) if each]
    return (*sorted(whole, key=len, reverse=True), *sorted(long, key=len, reverse=True))


def applied(answer: Reply | Unreached, done: str, unsaid: Iterable[str]) -> Applied:
    """Return what came of one call that may be repeated: the other side knows a repetition by its id.

    ``BUSY`` where the same call may be answered better later, or no answer came; any other refusal is final, since the
    same call would be refused again. A 409 is one: nothing says that it is about this call and not another's.
    """
    if isinstance(answer, Unreached):
        arrived = "it may have arrived; it is sent again with the same id" if answer.maybe else "nothing was sent"
        return Applied(Did.BUSY, f"{answer.reason}: {arrived}")
    if 200 <= answer.status < 300:
        return Applied(Did.DONE, f"{done}; answered {answer.status}")
    said = f"{answer.status} {_said(answer, unsaid)}".strip()
    if again(answer.status):
        return Applied(Did.BUSY, said + _after(retry_after(answer.headers)))
    if 300 <= answer.status < 400:
        return Applied(Did.FAILED, f"{answer.status}: a redirect, and none is followed")
    return Applied(Did.FAILED, said)


def _after(wait: timedelta | None) -> str:
    return f"; again in {wait.total_seconds():g} s, it says" if wait else ""


def _said(answer: Reply, unsaid: Iterable[str]) -> str:
    text = redacted(answer.text, unsaid)
    return "" if text.lstrip().startswith("<") else scrub(words(text), 160)
