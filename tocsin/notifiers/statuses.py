"""What an HTTP answer means for a delivery: one table for every receiver.

| answer | meaning |
|---|---|
| 2xx | accepted |
| 408, 425, 429, 5xx | try again, as told by ``Retry-After`` |
| anything else | refused: the same message would be refused again |
| no answer | try again; it may have arrived |
"""

from __future__ import annotations

from tocsin.connections.http import Reply, Unreached
from tocsin.connections.statuses import again, retry_after
from tocsin.core.message import Outcome, Said


def outcome(answer: Reply | Unreached, words: str = "") -> Outcome:
    """Return what came of one attempt; ``words`` are the receiver's own and hold no secret."""
    if isinstance(answer, Unreached):
        return Outcome(Said.AGAIN, answer.reason + (" (it may have arrived)" if answer.maybe else ""))
    detail = f"{answer.status} {words}".strip()
    if 200 <= answer.status < 300:
        return Outcome(Said.ACCEPTED, detail)
    if again(answer.status):
        return Outcome(Said.AGAIN, detail, retry_after(answer.headers))
    return Outcome(Said.REFUSED, detail)
