"""What a person is told, before any receiver's markup: a notice, and its delivery to one receiver."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import chain

from tocsin.core.fields import Severity
from tocsin.core.labels import complete
from tocsin.core.rule import Op
from tocsin.core.text import cut


class Kind(StrEnum):
    """Why somebody is told."""

    FIRED = "fired"
    RESOLVED = "resolved"
    BLIND = "blind"
    ACTED = "acted"
    FAILED = "action failed"
    ACKNOWLEDGED = "acknowledged"
    WATCHDOG = "watchdog"
    EXPIRED = "no longer reported"

    @property
    def ends(self) -> bool:
        """Whether an episode ends with it. That one expired does not say that it is resolved."""
        return self in (Kind.RESOLVED, Kind.EXPIRED)


NEWS = "(routes)"
"""Stands for the receiver of what is news: the routes say who is told of it."""


OVERRIDE = "killswitch_override"
"""Stands for the rule of what is told when a person releases a killswitch against its gate."""

OWN_ERROR = "tocsin_error"
"""Stands for the rule of what is told when a part of Tocsin fails by itself."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of a message: a label of ours and a value that may hold telemetry text (receivers escape it)."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Notice:
    """What happened, in plain text. Any text in it may come from telemetry: a notifier escapes all of it.

    ``episode`` is what receivers deduplicate by. ``manual`` is the command that works when the watcher does not, and
    ``manual_does`` says what it does. ``query`` is the KQL behind the value, for people; empty when there is none.
    ``over`` says that the episode had ended when this was written, so that nothing is opened anew for it.
    ``series`` are the newest known values with their slots, ``threshold`` the rule's limit, both in ``unit``.
    """

    id: str
    kind: Kind
    episode: str
    rule: str
    target: str
    severity: Severity
    at: datetime
    title: str
    text: str = ""
    facts: tuple[Fact, ...] = ()
    first_step: str = ""
    manual: str = ""
    links: tuple[tuple[str, str], ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    value: float | None = None
    provenance: str = ""
    manual_does: str = "By hand"
    query: str = ""
    over: bool = False
    begins: bool = False
    """Whether an episode begins with it: it is told by its group, as its end is; anything else is told at once."""
    since: datetime | None = None
    """When the episode began."""
    asks: str = ""
    """What a person is asked to decide: the execution, and which plan of it."""
    engaged: str = ""
    """The scope of the killswitch that is engaged by then, for a person to release."""
    series: tuple[tuple[datetime, float], ...] = ()
    threshold: float | None = None
    unit: str = "count"
    once: bool = False
    """Whether nothing will report the end of its alert: nobody is reminded of it, nor notified when it expires."""
    comparison: Op = Op.ABOVE
    """Which values are past ``threshold``."""


def labels_of(notice: Notice) -> dict[str, str]:
    """Return everything a route, a silence or an inhibition can match on; labels cannot override the alert's facts."""
    return complete(notice.labels, notice.rule, notice.severity.value, notice.target)


def always_told(notice: Notice) -> bool:
    """Return whether no silence hides it: what went wrong with production, and who overruled what protects it."""
    return notice.kind is Kind.FAILED or notice.rule == OVERRIDE


LONGEST = 200_000
"""Bytes of a notice: an alert of a group holds two of them, and is one row of the store."""

_FACTS, _NAME, _VALUE, _LINE = 30, 60, 150, 1_000
"""Of a notice that is too large: facts and labels, letters of a name and a value, and of a line of its own."""


def fitted(notice: Notice) -> Notice:
    """Return the notice if a row of the store holds it, else what is most needed of it, and how much is left out."""
    if _size(notice) <= LONGEST:
        return notice
    facts = [Fact(cut(each.name, _NAME), cut(each.value, _VALUE)) for each in notice.facts[:_FACTS]]
    left = len(notice.facts) - len(facts)
    labels = list(notice.labels.items())[:_FACTS]
    return replace(
        notice,
        title=cut(notice.title, 300),
        text="This message was too long: its query, its links and the ends of its texts are left out.",
        facts=(*facts, *([Fact("And", f"{left} more lines")] if left else [])),
        first_step=cut(notice.first_step, _LINE),
        manual=notice.manual if len(notice.manual) <= _LINE else "",
        manual_does=cut(notice.manual_does, _NAME),
        links=(),
        labels={cut(name, _NAME): cut(value, _VALUE) for name, value in labels},
        provenance=cut(notice.provenance, _LINE),
        query="",
        series=(),
    )


def _size(notice: Notice) -> int:
    """Return about how many bytes the texts take in the store, the larger of JSON in ASCII and UTF-16."""
    own = (notice.title, notice.text, notice.first_step, notice.manual, notice.query, notice.provenance)
    pairs = [*((each.name, each.value) for each in notice.facts), *notice.links, *notice.labels.items()]
    texts = chain(own, chain.from_iterable(pairs))
    return sum(max(2 * len(text), len(json.dumps(text))) for text in texts) + 80 * len(notice.series)


class Settled(StrEnum):
    """Where a delivery stands."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"


class Said(StrEnum):
    """What a receiver answered."""

    ACCEPTED = "accepted"
    AGAIN = "try again"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt. ``AGAIN`` may say how long to wait; ``REFUSED`` is never retried; ``detail`` holds no secret."""

    said: Said
    detail: str = ""
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notice on its way to one receiver: a row of the outbox.

    ``sequence`` orders deliveries of one lane at one receiver: a later one waits for the earlier.
    """

    id: str
    receiver: str
    notice: Notice
    created: datetime
    not_before: datetime
    sequence: int = 0
    state: Settled = Settled.WAITING
    attempts: int = 0
    settled: datetime | None = None
    receipt: str = ""
    claim: str = ""
    fallback: bool = False
    lane: str = ""
    """What it is in order with at its receiver; without one, its episode."""

    @property
    def queue(self) -> str:
        """Return what it is in order with."""
        return self.lane or self.notice.episode


_ORDER = (Kind.WATCHDOG, Kind.FIRED, Kind.BLIND, Kind.ACKNOWLEDGED, Kind.ACTED, Kind.FAILED, Kind.RESOLVED)
"""An alert that expired is as one that is resolved."""


def rank(kind: Kind) -> int:
    """Return which of several messages of one moment goes first."""
    return _ORDER.index(Kind.RESOLVED if kind.ends else kind)


def outbox(notice: Notice, receivers: Iterable[str], now: datetime) -> list[Delivery]:
    """Return one waiting delivery a receiver; the same notice and receiver always give the same id."""
    sequence, notice = int(notice.at.timestamp()) * 10 + rank(notice.kind), fitted(notice)
    return [Delivery(f"{notice.id}/{name}", name, notice, now, now, sequence) for name in dict.fromkeys(receivers)]
