"""Who would have been told: the changes of a backtest through the live routes, groups, mutings and escalations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tocsin.backtest.replay import Course
from tocsin.core.alert import Change
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.group import Group
from tocsin.core.message import NEWS, Delivery, Kind, Notice, Settled, outbox
from tocsin.core.notice import compose
from tocsin.core.read import Project
from tocsin.core.schedule import delay
from tocsin.engine.telling import Teller
from tocsin.ports import Log, Notifier
from tocsin.stores.sqlite import SqliteStore

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


class Quiet:
    """A log that nobody reads."""

    def info(self, event: str, /, **fields: object) -> None:
        """Take no notice."""

    warning = error = info


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


def pages(
    courses: Iterable[Course], project: Project, end: datetime, notifiers: Mapping[str, Notifier] | None = None
) -> list[Page]:
    """Return every message up to ``end``. Each is taken to arrive; nobody acknowledges anything.

    A tick comes every minute; of those in which nothing can happen none is gone through.
    """
    waiting = sorted((each for course in courses for each in news(course)), key=lambda each: each[0])
    store, told = SqliteStore(":memory:"), list[Page]()
    log: Log = Quiet()
    teller = Teller(project, store, notifiers or {}, log)
    now = waiting[0][0] if waiting else end
    while now < end:
        come = [notice for at, notice in waiting if at <= now]
        waiting = waiting[len(come) :]
        store.enqueue(delivery for notice in come for delivery in outbox(notice, [NEWS], now))
        teller.tell(now)
        told += _sent(store, now)
        following = [_next(store, project, now), waiting[0][0] if waiting else end]
        now = max(now + _MINUTE, min(following))
    store.close()
    return told


def _sent(store: SqliteStore, now: datetime) -> list[Page]:
    found = []
    for each in store.waiting(now + timedelta(days=1)):
        held = store.claim(each, now + _MINUTE)
        store.settle(_delivered(held, now))
        if each.receiver != NEWS:
            found.append(_page(each, now))
    return found


def _delivered(delivery: Delivery, now: datetime) -> Delivery:
    return replace(delivery, state=Settled.DELIVERED, settled=now, receipt="history")


def _page(each: Delivery, now: datetime) -> Page:
    told = each.notice
    return Page(now, each.receiver, told.kind.value, told.rule, told.target, told.severity.value, told.title,
                told.episode)  # fmt: skip


def _next(store: SqliteStore, project: Project, now: datetime) -> datetime:
    """Return the next minute in which a group or an escalation can have something to tell."""
    moments = [datetime.max.replace(tzinfo=now.tzinfo)]
    for kept in store.kept(Group).values():
        group = kept.value
        if not group.members:
            continue
        # A group that had nothing to tell is looked at again as often as groups usually are.
        moments.append(_tick(group.next) if group.next > now else now + 5 * _MINUTE)
        for member in group.members.values():
            after = [each.after(member.notice.severity.value) for each in project.config.escalate]
            moments += [_tick(member.since + each) for each in after if each and member.since + each > now]
    return min(moments)
