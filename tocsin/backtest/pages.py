"""Who would have been told: the changes of a backtest through the live routes, groups, mutings and escalations."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, cast

from tocsin.backtest.replay import Course
from tocsin.core import telling
from tocsin.core.alert import Change
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.group import Group
from tocsin.core.message import NEWS, Delivery, Kind, Notice, outbox
from tocsin.core.notice import compose
from tocsin.core.read import Project
from tocsin.core.route import Node
from tocsin.core.schedule import delay
from tocsin.core.unreadable import Unreadable
from tocsin.engine import standing
from tocsin.engine.telling import Teller
from tocsin.ports import Kept, Log, Notifier, Store

_MINUTE = timedelta(minutes=1)
_TOLD = {Change.FIRED: Kind.FIRED, Change.RESOLVED: Kind.RESOLVED, Change.BLIND: Kind.BLIND}


@dataclass(frozen=True, slots=True)
class Page:
    """One message to one receiver."""

    at: datetime
    receiver: str
    kind: str
    rule: str
    target: str
    severity: str
    title: str
    episode: str = ""


@dataclass(frozen=True, slots=True)
class Together:
    """What the teller asks of a receiver that takes one message about several alerts; nothing is sent to it."""

    together: bool = True


class Quiet:
    """A log that nobody reads."""

    def info(self, event: str, /, **fields: object) -> None:
        """Take no notice."""

    warning = error = info


class Outbox:
    """What the teller needs of a store, without one: nothing of a backtest outlives it, and nobody else writes."""

    def __init__(self) -> None:
        self._deliveries: dict[str, Delivery] = {}
        self._kept: dict[type[Any], dict[str, Kept[Any]]] = {}

    def waiting(self, now: datetime) -> list[Delivery]:  # noqa: ARG002
        """Return what was not settled."""
        return list(self._deliveries.values())

    def claim(self, delivery: Delivery, until: datetime) -> Delivery:  # noqa: ARG002
        """Return the delivery: there is nobody to hold it against."""
        return delivery

    def settle(self, delivery: Delivery) -> None:
        """Forget what is done with."""
        self._deliveries.pop(delivery.id, None)

    def empty(self) -> None:
        """Forget everything that waited."""
        self._deliveries.clear()

    def unreadable(self) -> list[Unreadable]:
        """Return none: nothing here was written by another version."""
        return []

    def enqueue(self, deliveries: Iterable[Delivery]) -> None:
        """Add deliveries."""
        self._deliveries |= {each.id: each for each in deliveries}

    def kept(self, kind: type[Any]) -> Mapping[str, Kept[Any]]:
        """Return every value of a kind."""
        return dict(self._kept.get(kind, {}))

    def keep(self, kind: type[Any], key: str, value: Any, etag: str | None, messages: Iterable[Delivery] = ()) -> None:
        """Keep a value, or forget it, together with the messages it makes."""
        if value is None:
            self._kept.get(kind, {}).pop(key, None)
        else:
            self._kept.setdefault(kind, {})[key] = Kept(value, etag or "1")
        self.enqueue(messages)


def news(course: Course) -> list[tuple[datetime, Notice]]:
    """Return what there is to tell of a course, and when a tick each minute would have known it."""
    found = []
    for step in course.changes:
        kind = _TOLD.get(step.change)
        if kind is None or not step.alert.episode or step.alert.slot is None:
            continue
        instant = course.signal is not None and course.signal.instant
        known = step.alert.slot + delay(course.rule, course.target, instant=instant)
        missing = NoAnswer(Why.MISSING, "history")
        made = compose(step.alert, step.change, kind, course.rule, course.target, course.signal, will="", app=missing)
        found.append((_tick(known), made))
    return found


def _tick(moment: datetime) -> datetime:
    whole = moment.replace(second=0, microsecond=0)
    return whole if whole == moment else whole + _MINUTE


def pages(courses: Iterable[Course], project: Project, end: datetime, together: Collection[str] = ()) -> list[Page]:
    """Return every message up to ``end``. Each is taken to arrive; nobody acknowledges anything.

    ``together`` are the receivers that take one message about several alerts; all others have one for each.
    A tick comes every minute; of those in which nothing can happen none is gone through.
    """
    waiting = sorted((each for course in courses for each in news(course)), key=lambda each: each[0])
    store, told = Outbox(), list[Page]()
    log: Log = Quiet()
    receivers = cast(Mapping[str, Notifier], {name: Together() for name in together})
    teller = Teller(project, cast(Store, store), receivers, log)
    places = telling.places(standing.audience(project.config).tree)
    now, place = waiting[0][0] if waiting else end, 0
    while now < end:
        begin, place = place, bisect_right(waiting, now, lo=place, key=itemgetter(0))
        store.enqueue(each for _, notice in waiting[begin:place] for each in outbox(notice, [NEWS], now))
        teller.tell(now)
        told += _sent(store, now)
        coming = waiting[place][0] if place < len(waiting) else end
        now = max(now + _MINUTE, min(_next(store, project, places, now), coming))
    return told


def _sent(store: Outbox, now: datetime) -> list[Page]:
    found = [_page(each, now) for each in store.waiting(now) if each.receiver != NEWS]
    store.empty()
    return found


def _page(each: Delivery, now: datetime) -> Page:
    told = each.notice
    return Page(now, each.receiver, told.kind.value, told.rule, told.target, told.severity.value, told.title,
                told.episode)  # fmt: skip


def _next(store: Outbox, project: Project, places: Mapping[str, Node], now: datetime) -> datetime:
    """Return the next minute in which a group or an escalation can have something to tell."""
    moments = [datetime.max.replace(tzinfo=now.tzinfo)]
    for kept in store.kept(Group).values():
        group = kept.value
        if not group.members:
            continue
        # A group that had nothing to tell is looked at again as often as groups usually are.
        moments.append(_tick(group.next) if group.next > now else now + 5 * _MINUTE)
        repeat = places[group.place].repeat_interval if group.place in places else None
        moments += [_tick(each.at + repeat) for each in group.told.values()
                    if repeat and each.at and each.at + repeat > now]  # fmt: skip
        for member in group.members.values():
            after = [each.after(member.notice.severity.value) for each in project.config.escalate]
            moments += [_tick(member.since + each) for each in after if each and member.since + each > now]
    return min(moments)
