"""Tocsin tells what the Alertmanager tells, when it does, and where it does not the difference has a name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from tests.alertmanager.cases import HORIZON, Case, Event, Labels, Notification, generate
from tests.alertmanager.cases import Matcher as TheirMatcher
from tests.alertmanager.cases import Route as TheirRoute
from tests.alertmanager.known import KNOWN
from tests.alertmanager.model import predict
from tests.alertmanager.record import comparable
from tocsin.core import telling
from tocsin.core.audience import Route
from tocsin.core.fields import Severity
from tocsin.core.group import Group
from tocsin.core.inhibition import Inhibit
from tocsin.core.matching import Matcher, accepted
from tocsin.core.message import Kind, Notice
from tocsin.core.mute import Muting
from tocsin.core.route import compiled
from tocsin.core.telling import Audience, News

pytestmark = pytest.mark.slow

START = datetime(2026, 11, 20, 3, 0, 0, 250_000, tzinfo=UTC)
"""A quarter second after a half minute, as the real one is started: its empty groups are forgotten by its own clock."""

STEP = 0.5


class Run:
    """One case through Tocsin's own decisions, by a clock of half seconds."""

    def __init__(self, case: Case, whole: bool = True) -> None:
        self.case = case
        self.audience = Audience(compiled(route(case.route)), case.only_firing, whole)
        self.places = telling.places(self.audience.tree)
        self.groups: dict[str, Group] = {}
        self.firing: set[Labels] = set()
        self.since: dict[Labels, datetime] = {}
        self.told: list[Notification] = []
        self.number = 0

    def notifications(self) -> list[Notification]:
        events = list(self.case.timeline)
        for number in range(int(HORIZON / STEP)):
            at = number * STEP
            while events and events[0].at <= at:
                touched = self._happen(events.pop(0))
                self._flush(at, [name for name in touched if not self.groups[name].flushed])
            self._flush(at, list(self.groups))
        return self.told

    def _happen(self, event: Event) -> list[str]:
        now = moment(event.at)
        firing, began = event.state == "firing", moment(event.at - event.age)
        if firing and event.labels not in self.firing:
            self.since[event.labels] = began
        (self.firing.add if firing else self.firing.discard)(event.labels)
        since = self.since.setdefault(event.labels, now)
        self.number += 1
        news = News(
            repr(event.labels), dict(event.labels), notice(event.labels, self.number), firing, min(since, began)
        )
        entered = telling.enter(self.groups, self.audience, [news], now)
        self.groups |= entered.groups
        return list(entered.groups)

    def _flush(self, at: float, names: list[str]) -> None:
        now = moment(at)
        rules = self.case.inhibits
        inhibits = [Inhibit(ours(each.source), ours(each.target), each.equal, suppressed=True) for each in rules]
        muting = Muting(inhibits, firing=[dict(each) for each in self.firing])
        for group in telling.due([self.groups[name] for name in names], now):
            labels = {key: dict(eval(key)) for key in group.members}
            after, decisions = telling.flush(group, self.places[group.place], self.audience, muting, labels, now)
            self.groups[group.id] = after
            for each in decisions:
                if each.why.tells:
                    firing, resolved = (frozenset(map(eval, keys)) for keys in (each.firing, each.resolved))
                    self.told.append(Notification(each.receiver, group.labels, at, firing, resolved))


def route(theirs: TheirRoute) -> Route:
    """Return the Alertmanager's route as ours; what neither says is the Alertmanager's default, not ours."""
    return _route(theirs).model_copy(
        update={
            "group_wait": _seconds(theirs.group_wait) or timedelta(seconds=30 if theirs.group_wait is None else 0),
            "group_by": theirs.group_by or ("(none)",),
        }
    )


def _route(theirs: TheirRoute) -> Route:
    return Route.model_construct(
        match={},
        matchers=ours(theirs.matchers),
        to=(theirs.receiver,) if theirs.receiver else (),
        continue_=theirs.continue_,
        group_by=theirs.group_by or (),
        group_wait=_seconds(theirs.group_wait),
        group_interval=_seconds(theirs.group_interval),
        repeat_interval=_seconds(theirs.repeat_interval),
        routes=tuple(_route(child) for child in theirs.routes),
    )


def ours(theirs: tuple[TheirMatcher, ...]) -> tuple[Matcher, ...]:
    return tuple(Matcher(m.label, m.op, m.value if isinstance(m.value, tuple) else (m.value,)) for m in theirs)


def notice(labels: Labels, number: int) -> Notice:
    return Notice(f"n{number}", Kind.FIRED, repr(labels), "r", "t", Severity.P2, START, "title")


def moment(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def _seconds(given: float | None) -> timedelta | None:
    return None if given is None else timedelta(seconds=given)


def differing(cases: list[Case], whole: bool) -> Iterator[Case]:
    for case in cases:
        if comparable(Run(case, whole).notifications()) != comparable(predict(case).notifications):
            yield case


CASES = [*generate(7, 240), *generate(8, 240), *generate(9, 240), *KNOWN]


def circles(case: Case) -> bool:
    """Return whether alerts of the case can inhibit each other: there the Alertmanager tells of none of them."""
    rules = [Inhibit(ours(each.source), ours(each.target), each.equal) for each in case.inhibits]
    alerts = [dict(labels) for labels in {event.labels for event in case.timeline}]

    def hides(rule: Inhibit, source: dict[str, str], target: dict[str, str]) -> bool:
        both = accepted(rule.target, source) and accepted(rule.source, target)
        meant = accepted(rule.source, source) and accepted(rule.target, target) and not both
        return meant and rule.shared(source) == rule.shared(target)

    numbers = range(len(alerts))
    pairs = product(numbers, repeat=2)
    reach = {(a, b) for a, b in pairs if any(hides(each, alerts[a], alerts[b]) for each in rules)}
    for over, a, b in product(numbers, repeat=3):
        if (a, over) in reach and (over, b) in reach:
            reach.add((a, b))
    return any(a == b for a, b in reach)


def test_with_two_differences_taken_away_every_case_is_told_alike() -> None:
    assert [case.about for case in differing(CASES, whole=False) if not circles(case)] == []
    assert sum(circles(case) for case in CASES) < len(CASES) / 10


def test_what_is_told_otherwise_tells_more_ends_and_leaves_nobody_with_an_open_incident() -> None:
    others = list(differing(CASES, whole=True))
    assert others
    for case in others:
        theirs, mine = predict(case).notifications, Run(case).notifications()
        assert left_open(mine) <= left_open(theirs), case.about
        assert case.inhibits or firings(theirs) <= firings(mine), case.about
    assert any(left_open(Run(case).notifications()) < left_open(predict(case).notifications) for case in others)


def firings(told: Iterable[Notification]) -> set[tuple[str, Labels, Labels]]:
    """Return which alerts somebody heard of as firing, by receiver and group."""
    return {(each.receiver, each.group_labels, alert) for each in told for alert in each.firing}


def left_open(told: Iterable[Notification]) -> set[tuple[str, Labels, Labels]]:
    """Return what somebody was told of and not told the end of, by receiver and group."""
    opened = set()
    for each in sorted(told, key=lambda each: each.at_seconds):
        opened |= {(each.receiver, each.group_labels, alert) for alert in each.firing}
        opened -= {(each.receiver, each.group_labels, alert) for alert in each.resolved}
    return opened


@pytest.mark.parametrize("case", KNOWN, ids=lambda case: case.about)
def test_what_is_known_of_the_alertmanager_is_told_alike(case: Case) -> None:
    assert comparable(Run(case, whole=False).notifications()) == comparable(KNOWN[case])
