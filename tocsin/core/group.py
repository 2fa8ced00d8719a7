"""Groups: alerts that are told together. When one is flushed, and whether there is anything to tell, and why.

The same alerts told at the same moments as the Alertmanager tells them, except where ``docs/alertmanager.md`` says
otherwise. Every decision has its reason, ``nothing`` too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from tocsin.core.fields import Severity
from tocsin.core.message import Notice
from tocsin.core.route import GROUP_WAIT, Node, Pairs
from tocsin.core.schedule import has_come

_REMEMBERED, _ENTERED = 300, 5_000
"""Notices that a group remembers having entered: of one round all, up to the second number, 95 KB as marks."""

_LONGEST_ID = 300
"""Letters of a group's id. What is longer is cut, and ends with its digest."""

_SWEEP = timedelta(seconds=30)
"""Groups that have emptied are forgotten at each half minute; until then they keep their time."""


class Why(StrEnum):
    """Why a receiver is told of a group, or is not."""

    FIRST = "first notification"
    NEW = "new alerts"
    PASSED = "came and went"
    SOME_RESOLVED = "some resolved"
    ALL_RESOLVED = "all resolved"
    REPEAT = "repeat interval elapsed"
    NOTHING = "nothing new since it was told"
    UNTOLD = "nothing fires, and nothing was told before"
    ACKNOWLEDGED = "acknowledged: no repeats"
    ONCE = "nothing reports its end: no repeats"

    @property
    def tells(self) -> bool:
        """Whether somebody is told."""
        return self in (Why.FIRST, Why.NEW, Why.PASSED, Why.SOME_RESOLVED, Why.ALL_RESOLVED, Why.REPEAT)


@dataclass(frozen=True, slots=True)
class Member:
    """One alert of a group, as it was last heard of. ``held`` says why it was not told at the last flush."""

    notice: Notice
    firing: bool
    since: datetime
    held: str = ""
    opened: Notice | None = None
    """Of one that is over: what began it, for whoever was not told of that yet."""
    escalated: tuple[int, ...] = ()
    """Which escalations it has had."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a receiver last heard: which alerts fired, each with the episode it was told under, and which were over."""

    firing: Mapping[str, str] = field(default_factory=dict)
    resolved: frozenset[str] = frozenset()
    at: datetime | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Alerts of one route with equal labels. ``next`` is when it is looked at; ``emptied`` since when it holds none."""

    id: str
    place: str
    labels: Pairs
    next: datetime
    flushed: bool = False
    members: Mapping[str, Member] = field(default_factory=dict)
    told: Mapping[str, Told] = field(default_factory=dict)
    emptied: datetime | None = None
    seen: tuple[str, ...] = ()
    """Marks of the newest notices that were entered: one that comes again changes nothing."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What one flush means for one receiver."""

    receiver: str
    why: Why
    firing: Mapping[str, str] = field(default_factory=dict)
    """Keys of the alerts that fire → the episode they are told under."""
    resolved: Mapping[str, str] = field(default_factory=dict)
    passed: Mapping[str, str] = field(default_factory=dict)
    """Of a receiver that does not hear of an end: what came and went since it was told."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The alerts that it is about."""
        return tuple(dict.fromkeys((*self.firing, *self.resolved, *self.passed)))

    def about(self, keys: Collection[str]) -> Decision:
        """Return the decision for these alerts alone."""
        firing, resolved, passed = (
            {key: episode for key, episode in each.items() if key in keys}
            for each in (self.firing, self.resolved, self.passed)
        )
        return replace(self, firing=firing, resolved=resolved, passed=passed)


def identity(node: Node, labels: Pairs) -> str:
    """Return the id of the group with these labels on a route: no other labels have it, whatever they hold."""
    text = f"{node.place} {{{', '.join(f'{_escaped(key)}={_escaped(value)}' for key, value in labels)}}}"
    if len(text) < _LONGEST_ID:
        return text
    end = f"…{_digest(text)[:32]}"
    return text[: _LONGEST_ID - len(end)] + end


def _escaped(text: str) -> str:
    return _SEPARATORS.sub(r"\\\g<0>", text)


_SEPARATORS = re.compile(r"[\\,={}]")


def _mark(notice: str) -> str:
    """Return what a group remembers of a notice's id."""
    return _digest(notice)[:16]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def wait(node: Node, severity: Severity) -> timedelta:
    """Return how long a group waits for company before it is first told."""
    if node.group_wait is not None:
        return node.group_wait
    return timedelta() if severity in (Severity.P0, Severity.P1) else GROUP_WAIT


def insert(
    group: Group | None, node: Node, labels: Pairs, entering: Iterable[tuple[str, Member]], now: datetime
) -> Group:
    """Return the group with the alerts in it, by their keys. It is copied once, however many enter.

    One that has waited long enough by itself does not wait again. A group that was empty at a half minute since is a
    new one, though what was told of it is remembered.
    """
    seen = dict.fromkeys(group.seen) if group else {}
    fresh = list(_unseen(entering, seen))
    if group is not None and not fresh:
        return group
    if group is None or _forgotten(group, now):
        told, first = group.told if group else {}, fresh[0][1]
        group = Group(identity(node, labels), node.place, labels, now + wait(node, first.notice.severity), told=told)
    longest = max(node.group_interval, *(wait(node, each.notice.severity) for _, each in fresh))
    # A group that was put off by a clock that was ahead is looked at as if it had been put off now.
    members, due = dict(group.members), min(_following(group, node, now), now + longest)
    for key, member in fresh:
        before = members.get(key)
        if before is not None and member.notice.episode < before.notice.episode:
            continue  # late news of an episode before this one: two workers were not equally fast
        members[key] = _after(before, member)
        if not group.flushed and due > now and members[key].since + wait(node, member.notice.severity) <= now:
            due = now
    return replace(group, members=members, next=due, emptied=None, seen=_newest(seen, len(fresh)))


def _unseen(entering: Iterable[tuple[str, Member]], seen: dict[str, None]) -> Iterator[tuple[str, Member]]:
    """Yield what was not entered before, and note that it was."""
    for key, member in entering:
        mark = _mark(member.notice.id)
        if mark not in seen and member.notice.id not in seen:  # groups once remembered whole ids
            seen[mark] = None
            yield key, member


def _newest(seen: Iterable[str], fresh: int) -> tuple[str, ...]:
    """Return what of the marks is remembered: at least those of this round, in case it is entered once more."""
    return tuple(seen)[-min(max(fresh, _REMEMBERED), _ENTERED) :]


def without(group: Group, keys: Collection[str], now: datetime) -> Group:
    """Return the group without these alerts, and without what was told of them."""
    left = {key: each for key, each in group.members.items() if key not in keys}
    told = {
        to: replace(each, firing={key: episode for key, episode in each.firing.items() if key not in keys})
        for to, each in group.told.items()
    }
    return replace(group, members=left, told=told, emptied=None if left else now)


def untaken(before: Group, after: Group, receiver: str, keys: Collection[str]) -> Group:
    """Return the group after a flush of which a receiver could not be notified for these alerts.

    For it and them nothing has changed: it is notified at a later flush. An end waits for it in the group, and is
    nothing new to the others.
    """
    known, last = before.told.get(receiver), after.told.get(receiver)
    told = {to: each for to, each in after.told.items() if to != receiver}
    if known is not None or last is not None:
        kept = {key: episode for key, episode in (known.firing if known else {}).items() if key in keys}
        firing = {key: episode for key, episode in (last.firing if last else {}).items() if key not in keys}
        resolved = (last.resolved if last else frozenset()) - set(keys)
        if firing or resolved or known is not None:
            told[receiver] = replace(last or known or Told(), firing={**firing, **kept}, resolved=resolved)
        owed = {
            key: replace(each, opened=None) for key, each in before.members.items() if key in kept and not each.firing
        }
    else:
        owed = {}
    members = {**owed, **after.members}
    return replace(after, members=members, told=told, emptied=None if members else after.emptied)


def untold(group: Group, node: Node, key: str) -> bool:
    """Return whether somebody has still to be told of what waits in the group: of all of it, or of this alert."""
    if not group.flushed:
        return bool(group.members)
    member = group.members.get(key)
    return member is not None and member.firing and _waits(group, node, key)


def _waits(group: Group, node: Node, key: str) -> bool:
    """Whether an alert is over, or fires, and somebody was not told of that."""
    member = group.members[key]
    told = (group.told.get(to, Told()).firing for to in node.to)
    return not member.firing or (not member.held and any(key not in each for each in told))


def _after(before: Member | None, member: Member) -> Member:
    """Return the member with what is still to be known of how it stood before."""
    if before is None:
        return member
    if member.firing:
        same = before.firing and before.notice.episode == member.notice.episode
        since = min(member.since, before.since) if before.firing else member.since
        return replace(member, since=since, escalated=before.escalated if same else ())
    return replace(member, opened=before.notice if before.firing else before.opened, escalated=before.escalated)


def _following(group: Group, node: Node, now: datetime) -> datetime:
    """Return when the group is looked at next: a flush that changed nothing was not written down.

    Where something still waits to be told, that look is due, and news does not put it off.
    """
    if not group.flushed or group.next >= now or any(_waits(group, node, key) for key in group.members):
        return group.next
    return group.next + -(-(now - group.next) // node.group_interval) * node.group_interval


def _forgotten(group: Group, now: datetime) -> bool:
    """Whether a half minute lay between the group's becoming empty and now."""
    if group.members or group.emptied is None:
        return False
    return group.emptied.timestamp() // _SWEEP.total_seconds() < now.timestamp() // _SWEEP.total_seconds()


LONGEST = timedelta(days=365)
"""How long a group waits at most where the routes do not say."""


def due(group: Group, now: datetime, longest: timedelta = LONGEST) -> bool:
    """Return whether the group is to be flushed. ``longest`` is how far ahead of its own clock its time is ever set."""
    return has_come(group.next, now, longest) and not _forgotten(group, now)


def flush(
    group: Group,
    node: Node,
    now: datetime,
    held: Mapping[str, str],
    acknowledged: Collection[str] = (),
    only_firing: Collection[str] = (),
    whole: bool = True,
) -> tuple[Group, tuple[Decision, ...]]:
    """Return the group after a flush, and one decision a receiver.

    ``held`` are the alerts that are not told, with the reason; with ``whole`` the end of one that a receiver was told
    of is told all the same, so that nobody is left with an incident that nothing closes. What expires though nothing
    reports its end is dropped in silence. ``acknowledged`` are episodes
    that nobody is reminded of; ``only_firing`` receivers that do not hear of an end.
    """
    expired = [key for key, each in group.members.items() if each.notice.once and not each.firing]
    group = without(group, expired, now) if expired else group
    told, decisions = dict(group.told), []
    for receiver in node.to:
        last = group.told.get(receiver)
        shown = _shown(group, last, held, whole)
        if not shown:
            continue
        decision = _decide(receiver, last, shown, node, now, acknowledged, receiver not in only_firing)
        if whole:
            decision = _to_its_end(decision, last, shown, receiver not in only_firing)
        if decision.why.tells:
            kept = _kept(group, last, shown) if whole else {}
            told[receiver] = Told({**kept, **decision.firing}, frozenset(decision.resolved), now, decision.why.value)
        elif last is not None:
            told[receiver] = replace(last, why=decision.why.value)
        quiet = receiver in only_firing and not (decision.firing or decision.passed)
        decisions.append(replace(decision, why=Why.NOTHING) if quiet and decision.why.tells else decision)
    for decision in _left(group, node) if whole else ():
        last = group.told[decision.receiver]
        firing = {key: each for key, each in last.firing.items() if key not in decision.resolved}
        told[decision.receiver] = Told(firing, frozenset(decision.resolved), now, decision.why.value)
        decisions += [] if decision.receiver in only_firing else [decision]
    left = {key: _held(each, held.get(key, "")) for key, each in group.members.items() if each.firing}
    following = group.next + node.group_interval
    after = replace(
        group,
        members=left,
        told=told,
        flushed=True,
        next=following if now < following <= now + node.group_interval else now + node.group_interval,
        emptied=None if left else group.emptied or now,
    )
    return after, tuple(decisions)


def _left(group: Group, node: Node) -> Iterator[Decision]:
    """Yield the end of what was told to receivers that the route does not name any more."""
    for receiver, last in group.told.items():
        over = {key: last.firing[key] for key, each in group.members.items() if key in last.firing and not each.firing}
        if over and receiver not in node.to:
            why = Why.ALL_RESOLVED if len(over) == len(last.firing) else Why.SOME_RESOLVED
            yield Decision(receiver, why, resolved=over)


def _held(member: Member, why: str) -> Member:
    return member if member.held == why else replace(member, held=why)


def _shown(group: Group, last: Told | None, held: Mapping[str, str], whole: bool) -> dict[str, Member]:
    def shows(key: str, member: Member) -> bool:
        return key not in held or (whole and not member.firing and last is not None and key in last.firing)

    return {key: member for key, member in group.members.items() if shows(key, member)}


def _kept(group: Group, last: Told | None, shown: Mapping[str, Member]) -> dict[str, str]:
    """Return what a receiver was told of and is muted now, though it fires: its end is still to be told."""
    known = last.firing if last else {}
    return {
        key: known[key] for key, member in group.members.items() if key in known and key not in shown and member.firing
    }


def _to_its_end(decision: Decision, last: Told | None, shown: Mapping[str, Member], both: bool) -> Decision:
    """Return the decision that tells whole episodes: what came and went, and no end of what never was told."""
    known = last.firing if last else {}
    over = [key for key, member in shown.items() if not member.firing]
    passed = {key: opened.episode for key in over if key not in known and (opened := shown[key].opened) is not None}
    if not both:
        decision = replace(decision, passed=passed)
    if not decision.why.tells and passed:
        return replace(decision, why=Why.PASSED)
    ended = any(key in known or shown[key].opened is not None for key in over)
    if decision.why in (Why.ALL_RESOLVED, Why.SOME_RESOLVED) and not ended:
        return replace(decision, why=Why.UNTOLD)
    return decision


def _decide(
    receiver: str,
    last: Told | None,
    shown: Mapping[str, Member],
    node: Node,
    now: datetime,
    acknowledged: Collection[str],
    both: bool,
) -> Decision:
    known = last.firing if last else {}
    episodes = {key: known.get(key) or member.notice.episode for key, member in shown.items()}
    firing = {key: episodes[key] for key, member in shown.items() if member.firing}
    resolved = {key: episodes[key] for key, member in shown.items() if not member.firing}
    why = reason(last, firing, resolved, now, node.repeat_interval, both)
    silent = [each.notice.once or each.notice.episode in acknowledged for key, each in shown.items() if key in firing]
    if why is Why.REPEAT and all(silent):
        why = Why.ONCE if all(shown[key].notice.once for key in firing) else Why.ACKNOWLEDGED
    return Decision(receiver, why, firing, resolved if both else {})


def reason(
    last: Told | None,
    firing: Collection[str],
    resolved: Collection[str],
    now: datetime,
    repeat: timedelta,
    both: bool = True,
) -> Why:
    """Return why a receiver is told, or is not: the first of these that is so."""
    if last is None:
        return Why.FIRST if firing else Why.UNTOLD
    if not set(firing) <= set(last.firing):
        return Why.NEW if last.at else Why.FIRST
    if not firing:
        return Why.ALL_RESOLVED if last.firing else Why.UNTOLD
    if both and not set(resolved) <= last.resolved:
        return Why.SOME_RESOLVED
    return Why.REPEAT if last.at is not None and has_come(last.at + repeat, now, repeat) else Why.NOTHING
