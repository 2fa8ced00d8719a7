"""What the Alertmanager does with a case, as a simulation without clocks.

``tests/test_alertmanager.py`` holds it to the real one, so that what is compared with it needs no process and no time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.alertmanager.cases import HORIZON, Case, Event, Inhibit, Labels, Matcher, Notification, Route

CLEANUPS = (29.75, 59.75)
"""When empty groups are forgotten: every 30 seconds of the process's own; the run starts a quarter second after it."""

_DEFAULTS = {"group_by": (), "group_wait": 30.0, "group_interval": 300.0, "repeat_interval": 14400.0}


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is told, in order, and how far apart the nearest two things are whose order decides."""

    notifications: tuple[Notification, ...]
    margin: float


@dataclass(frozen=True, slots=True)
class Resolved:
    """A route with everything it inherits. ``place`` names it as the Alertmanager does: by the matchers down to it."""

    place: tuple[tuple[Matcher, ...], ...]
    receiver: str
    matchers: tuple[Matcher, ...]
    continue_: bool
    group_by: tuple[str, ...]
    group_wait: float
    group_interval: float
    repeat_interval: float
    routes: tuple[Resolved, ...]


def resolve(route: Route, above: Resolved | None = None) -> Resolved:
    """Return the tree with what is inherited filled in. An empty ``group_by`` inherits like one that is absent."""

    def inherited(name: str) -> object:
        return getattr(above, name) if above else _DEFAULTS.get(name)

    own = Resolved(
        place=(*(above.place if above else ()), tuple(sorted(route.matchers, key=repr))),
        receiver=route.receiver or str(inherited("receiver")),
        matchers=route.matchers,
        continue_=route.continue_,
        group_by=route.group_by or inherited("group_by"),  # type: ignore[arg-type]
        routes=(),
        **{
            name: given if (given := getattr(route, name)) is not None else inherited(name)  # type: ignore[arg-type]
            for name in ("group_wait", "group_interval", "repeat_interval")
        },
    )
    object.__setattr__(own, "routes", tuple(resolve(child, own) for child in route.routes))
    return own


def accepts(matcher: Matcher, alert: Labels) -> bool:
    """Return whether the label's value is accepted; an absent label is an empty value, a regex must match all of it."""
    value = dict(alert).get(matcher.label, "")
    if isinstance(matcher.value, tuple):
        return value in matcher.value
    if matcher.op in ("=", "!="):
        return (value == matcher.value) == (matcher.op == "=")
    return (re.fullmatch(f"(?:{matcher.value})", value) is not None) == (matcher.op == "=~")


def accepted(matchers: tuple[Matcher, ...], alert: Labels) -> bool:
    """Return whether every matcher accepts."""
    return all(accepts(each, alert) for each in matchers)


def match(route: Resolved, alert: Labels) -> list[Resolved]:
    """Return the routes the alert ends in: the same receiver may be among them twice, in two groups."""
    if not accepted(route.matchers, alert):
        return []
    found: list[Resolved] = []
    for child in route.routes:
        below = match(child, alert)
        found += below
        if below and not child.continue_:
            break
    return found or [route]


def group_of(route: Resolved, alert: Labels) -> Labels:
    """Return the labels of the group: those of ``group_by`` that the alert has."""
    return alert if route.group_by == ("...",) else tuple(pair for pair in alert if pair[0] in route.group_by)


def muted(inhibits: tuple[Inhibit, ...], alert: Labels, firing: set[Labels]) -> bool:
    """Return whether a firing source mutes the alert. What is source and target at once is spared by its like."""
    return any(_mutes(rule, alert, firing) for rule in inhibits if accepted(rule.target, alert))


def _mutes(rule: Inhibit, alert: Labels, firing: set[Labels]) -> bool:
    own, both = dict(alert), accepted(rule.source, alert)
    for source in firing:
        if not accepted(rule.source, source) or (both and accepted(rule.target, source)):
            continue
        if all(dict(source).get(name, "") == own.get(name, "") for name in rule.equal):
            return True
    return False


@dataclass(slots=True)
class _Told:
    """What a receiver last heard about a group."""

    firing: set[Labels]
    resolved: set[Labels]
    at: float


@dataclass(slots=True)
class _Group:
    route: Resolved
    labels: Labels
    next: float
    flushed: bool = False
    alerts: dict[Labels, bool] = field(default_factory=dict)
    """Which alerts stand in it, and whether each has resolved."""


def why(told: _Told | None, firing: set[Labels], resolved: set[Labels], now: float, repeat: float, both: bool) -> str:
    """Return the reason to tell, or nothing."""
    if told is None:
        return "first" if firing else ""
    if not firing <= told.firing:
        return "new"
    if not firing:
        return "all resolved" if told.firing else ""
    if both and not resolved <= told.resolved:
        return "some resolved"
    return "repeat" if told.at < now - repeat else ""


def predict(case: Case, cleanups: tuple[float, ...] = CLEANUPS, until: float = HORIZON) -> Prediction:
    """Return what the Alertmanager will tell."""
    return _Run(case, cleanups, until).prediction()


class _Run:
    def __init__(self, case: Case, cleanups: tuple[float, ...], until: float) -> None:
        self.case, self.root = case, resolve(case.route)
        self.cleanups, self.until = list(cleanups), until
        self.groups: dict[tuple[object, Labels], _Group] = {}
        self.log: dict[tuple[object, Labels, str], _Told] = {}
        self.firing: set[Labels] = set()
        self.since: dict[Labels, float] = {}
        self.told: list[Notification] = []
        self.reasons: list[str] = []
        self.margin = 99.0
        self.flushes: list[tuple[float, _Group]] = []
        self.inserts: list[tuple[float, _Group, bool]] = []

    def prediction(self) -> Prediction:
        for event in self.case.timeline:
            self._run_to(event.at)
            self._happen(event)
        self._run_to(self.until)
        self._measure()
        return Prediction(tuple(sorted(self.told, key=lambda told: told.at_seconds)), self.margin)

    def _run_to(self, now: float) -> None:
        """Do all that is due before now. What is due at this very moment is ambiguous, and measured so."""
        while True:
            group = min(self.groups.values(), key=lambda each: each.next, default=None)
            due = group.next if group else float("inf")
            if self.cleanups and self.cleanups[0] <= min(due, now):
                self.cleanups.pop(0)
                self.groups = {key: each for key, each in self.groups.items() if each.alerts}
            elif group and due < now:
                self._flush(group)
            else:
                return

    def _happen(self, event: Event) -> None:
        firing, alert = event.state == "firing", event.labels
        if firing and alert not in self.firing:
            self.since[alert] = event.at - event.age
        elif firing:
            self.since[alert] = min(self.since[alert], event.at - event.age)
        (self.firing.add if firing else self.firing.discard)(alert)
        since = self.since.setdefault(alert, event.at)
        for route in match(self.root, alert):
            key = (route.place, group_of(route, alert))
            group = self.groups.get(key)
            if group is None:
                group = self.groups[key] = _Group(route, key[1], event.at + route.group_wait)
            group.alerts[alert] = not firing
            # Even group_wait 0 is over at once: the process reads its clock a moment after the alert began.
            at_once = not group.flushed and since + route.group_wait <= event.at
            self.inserts.append((event.at, group, at_once))
            if at_once:
                group.next = event.at
                self._flush(group)
            elif not group.flushed:
                self.margin = min(self.margin, abs(since + route.group_wait - event.at))

    def _flush(self, group: _Group) -> None:
        now, route = group.next, group.route
        self.flushes.append((now, group))
        group.flushed, group.next = True, now + route.group_interval
        shown = {
            alert: over for alert, over in group.alerts.items() if not muted(self.case.inhibits, alert, self.firing)
        }
        if shown:
            self._tell(
                group, now, {a for a, over in shown.items() if not over}, {a for a, over in shown.items() if over}
            )
        # What resolved has been dealt with, told or not, muted or not.
        group.alerts = {alert: over for alert, over in group.alerts.items() if not over}

    def _tell(self, group: _Group, now: float, firing: set[Labels], resolved: set[Labels]) -> None:
        route = group.route
        key = (route.place, group.labels, route.receiver)
        both = route.receiver not in self.case.only_firing
        told = self.log.get(key)
        if told:
            self.margin = min(self.margin, abs(now - told.at - route.repeat_interval))
        reason = why(told, firing, resolved, now, route.repeat_interval, both)
        if not reason:
            return
        self.log[key] = _Told(firing, resolved, now)
        if both or firing:
            self.reasons.append(reason)
            seen = frozenset(resolved) if both else frozenset()
            self.told.append(Notification(route.receiver, group.labels, now, frozenset(firing), seen))

    def _measure(self) -> None:
        """Find the nearest two things whose order decides."""
        for at in self._sources():
            self.margin = min([self.margin, *(abs(at - flushed) for flushed, _ in self.flushes)])
        for at, group, at_once in self.inserts:
            near = [abs(at - flushed) for flushed, each in self.flushes if each is group]
            if at_once:
                near.remove(0)
                near += [0.0 for other, each, _ in self.inserts if each is group and other == at][1:]
            self.margin = min([self.margin, *near])
        cleanups = [at for at in CLEANUPS if at < self.until]
        times = [at for at, *_ in self.flushes] + [at for at, *_ in self.inserts]
        self.margin = min([self.margin, *(abs(at - cleanup) for at in times for cleanup in cleanups)])
        self.margin = min([self.margin, *(self.until - at for at, _ in self.flushes)])

    def _sources(self) -> Iterator[float]:
        for event in self.case.timeline:
            if any(accepted(rule.source, event.labels) for rule in self.case.inhibits):
                yield event.at
