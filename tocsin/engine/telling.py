"""Who is told of what happened: news goes into groups, and groups that are due become messages.

News lies in the outbox as it was committed with the state it tells of. A group is saved together with the messages it
makes, and only then is the news settled: a crash in between enters the news once more, which changes nothing.

Each piece of news, group, alert or receiver of a group, silence and acknowledgement is tried by itself. One that
fails is noted in ``failures``, which becomes an alert of its own; it is tried again later, and the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from tocsin.core import group as groups
from tocsin.core import telling
from tocsin.core.ack import Acknowledgement
from tocsin.core.digest import crowd, flood
from tocsin.core.failing import Subject
from tocsin.core.group import Decision, Group, Member, Told
from tocsin.core.message import NEWS, Delivery, Notice, Outcome, Said, Settled, always_told, labels_of
from tocsin.core.mute import Muting, Silence
from tocsin.core.read import Project
from tocsin.core.route import Node, ends, longest_wait
from tocsin.core.schedule import HOLD
from tocsin.core.telling import Audience, News
from tocsin.core.text import scrub
from tocsin.core.units import spell
from tocsin.core.unreadable import Unreadable
from tocsin.engine import muting, standing
from tocsin.engine.failing import Failures
from tocsin.engine.notifying import StoodIn, judge
from tocsin.engine.wording import Words, aside, linking
from tocsin.ports import KEPT, Conflict, Kept, Links, Log, Notifier, Store, no_links

_FORGET = timedelta(days=5)
"""How long a group that holds nothing is remembered, with what was told of it."""


@dataclass(slots=True)
class _Round:
    """One round: the groups as they were read and as they are now, and the messages that come of it, by group."""

    now: datetime
    before: Mapping[str, Kept[Group]]
    audience: Audience
    places: Mapping[str, Node]
    acknowledged: frozenset[str]
    failures: Failures
    muting: Muting = field(default_factory=Muting)
    groups: dict[str, Group] = field(default_factory=dict)
    messages: dict[str, list[Delivery]] = field(default_factory=dict)
    flooded: str = ""
    """The group that is saved with the digests: the others' news is in them, so they are not saved without it."""
    owed: set[tuple[str, str]] = field(default_factory=set)
    """Groups with the id of a notice that somebody was not notified of; with none, groups that could not be saved."""

    lost: Sequence[Unreadable] = ()
    """Stored groups that cannot be read."""

    def is_lost(self, name: str) -> bool:
        """Return whether a group is stored and cannot be read."""
        return any(each.stands_for(name) for each in self.lost)

    def every(self) -> dict[str, Group]:
        """Return all groups as they stand."""
        return {**{name: each.value for name, each in self.before.items()}, **self.groups}


@dataclass(frozen=True, slots=True)
class _Taken:
    """A piece of news that this writer holds, and the groups in which it has to be before it is settled."""

    delivery: Delivery
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Teller:
    """Turns news into messages, by the routes, groups and mutings of one project."""

    project: Project
    store: Store
    notifiers: Mapping[str, Notifier]
    log: Log
    links: Links = no_links
    failures: Failures = field(default_factory=Failures)

    def tell(self, now: datetime) -> int:
        """Enter all news, flush what is due and enqueue the messages; return how many messages that makes."""
        count, seen = 0, set[str]()
        while True:
            news = [each for each in self.store.waiting(now) if each.receiver == NEWS and each.id not in seen]
            count += self._round(news, now)
            if not news:
                return count
            seen |= {each.id for each in news}

    def tidy(self, now: datetime) -> None:
        """Forget groups that have long been empty, and silences and acknowledgements that have long ended."""
        old = now - _FORGET
        ended: dict[type[Any], Callable[[Any], bool]] = {
            Group: lambda group: group.emptied is not None and group.emptied < old,
            Silence: lambda silence: silence.ends < old,
            Acknowledgement: lambda given: given.until < old,
            StoodIn: lambda stood: stood.at < now - KEPT,
        }
        for kind, over in ended.items():
            for key, kept in self.store.kept(kind).items():
                subject = Subject(kind.__name__.lower(), key)
                self.failures.attempt(subject, partial(self._forget, kind, key, kept, over), None)

    def _forget(self, kind: type[Any], key: str, kept: Kept[Any], over: Callable[[Any], bool]) -> None:
        if over(kept.value):
            self.store.keep(kind, key, None, kept.etag)

    def _round(self, news: Sequence[Delivery], now: datetime) -> int:
        before = self.store.kept(Group)
        if not news and not self._due([each.value for each in before.values()], now) and not self._escalates():
            return 0
        audience = standing.audience(self.project.config)
        acknowledged = muting.acknowledged(self.store, now, self.failures)
        told = _Round(now, before, audience, telling.places(audience.tree), acknowledged, self.failures)
        told.lost = [each for each in self.store.unreadable() if each.what == Group.__name__]
        self._adopt(told)
        asides: list[tuple[str, Node, Notice]] = []
        take = lambda delivery: self._take(delivery, told, asides)  # noqa: E731
        taken = [each for each in self.failures.each(news, _news, take, None) if each]
        firing = muting.firing(self.project.config, self.store, told.every().values(), self.failures)
        told.muting = muting.careful(self.project.config, self.store, firing, now, self.failures)
        for group in self._due(told.every().values(), now):
            if group.place in told.places:
                flush = partial(self._flush, group, told.places[group.place], told)
                self.failures.attempt(_about(group.id), flush, None)
        for name, node, notice in asides:
            self.failures.attempt(_about(name), partial(self._tell_aside, name, node, notice, told), None)
        self._escalate(told)
        self._calm(told)
        lost = self._save(told)
        for each in taken:
            self.failures.attempt(_news(each.delivery), partial(self._settle, each, lost, told), None)
        return sum(len(messages) for name, messages in told.messages.items() if name not in lost)

    def _due(self, every: Iterable[Group], now: datetime) -> list[Group]:
        """Return the groups that are to be flushed, the longest due first."""
        tried, longest = self.failures.attempt, longest_wait(self.project.config.routes)
        due = [each for each in every if tried(_about(each.id), partial(groups.due, each, now, longest), False)]
        return telling.due(due, now, longest)

    def _escalates(self) -> bool:
        return bool(self.project.config.escalate)

    # News

    def _adopt(self, told: _Round) -> None:
        """Bring what the routes do not lead to its group any more to where they lead now: first there, then away."""
        gone: dict[str, list[str]] = {}
        for name, kept in told.before.items():
            for key, member in kept.value.members.items():
                if self.failures.attempt(_about(name, key), partial(self._moves, kept.value, key, member, told), False):
                    gone.setdefault(name, []).append(key)
            if kept.value.emptied and told.now - kept.value.emptied > _FORGET:
                told.groups.setdefault(name, kept.value)
        if gone:
            lost = self._save(told)
            told.before, told.groups = self.store.kept(Group), {}
            for name in gone if not lost else ():
                told.groups[name] = groups.without(told.before[name].value, gone[name], told.now)

    def _moves(self, source: Group, key: str, member: Member, told: _Round) -> bool:
        """Return whether an alert is in another group now."""
        labels = labels_of(member.notice)
        leads = [telling.name_of(node, labels) for node in ends(told.audience.tree, labels)]
        moves = source.id not in leads and not any(told.is_lost(name) for name in leads)
        if moves:
            self._move(source, key, member, told)
        return moves

    def _move(self, source: Group, key: str, member: Member, told: _Round) -> None:
        """Put an alert into the groups of the routes that there are, with what was told of it."""
        for name in self._into(replace(telling.news_of(member.notice), key=key, since=member.since), told):
            group = told.groups[name]
            known = dict(group.told)
            for to, each in source.told.items():
                if key in each.firing:
                    last = known.get(to, Told(at=each.at))
                    firing = {**last.firing, key: each.firing[key]}
                    known[to] = replace(last, firing=firing, resolved=last.resolved - {key})
            members = {**group.members, key: replace(member, held="")}
            told.groups[name] = replace(group, members=members, told=known, emptied=None)

    def _take(self, delivery: Delivery, told: _Round, asides: list[tuple[str, Node, Notice]]) -> _Taken | None:
        subject = _news(delivery)
        held = self.failures.attempt(subject, partial(self.store.claim, delivery, told.now + HOLD), None)
        if held is None:
            return None
        taken = self.failures.attempt(subject, partial(self._enter, held, told, asides), None)
        if taken is None:
            self.failures.attempt(subject, partial(self._put_off, held, told.now), None)
        return taken

    def _enter(self, held: Delivery, told: _Round, asides: list[tuple[str, Node, Notice]]) -> _Taken:
        notice = held.notice
        if notice.kind.ends or notice.begins:
            names = self._into(telling.news_of(notice), told)
            if notice.kind.ends:
                self._end_escalations(names, notice, told)
            asides += self._past_lost(names, notice, told)
            return _Taken(held, names)
        beside = list(self._beside(notice, told))
        asides += beside
        return _Taken(held, tuple(name for name, _, _ in beside))

    def _put_off(self, held: Delivery, now: datetime) -> None:
        """Try news that failed again later and later, so that it is in nobody's way; give it up as a message is."""
        failed = Outcome(Said.AGAIN, "it failed by itself")
        self.store.settle(judge(held, failed, now, self.project.config.give_up_after, last=True))

    def _into(self, news: News, told: _Round) -> tuple[str, ...]:
        entered = telling.enter(told.every(), told.audience, [news], told.now)
        told.groups |= entered.groups
        return tuple(entered.groups)

    def _past_lost(self, names: Collection[str], notice: Notice, told: _Round) -> Iterator[tuple[str, Node, Notice]]:
        """Take news out of the groups that cannot be read, and yield these: beside them it is told by itself."""
        for node in ends(told.audience.tree, labels_of(notice)):
            name = telling.name_of(node, labels_of(notice))
            if name in names and told.is_lost(name):
                told.groups.pop(name, None)
                yield name, node, notice

    def _beside(self, notice: Notice, told: _Round) -> Iterator[tuple[str, Node, Notice]]:
        """Yield the groups beside which something is told at once; what waits there is told before it."""
        for node in ends(told.audience.tree, labels_of(notice)):
            name = telling.name_of(node, labels_of(notice))
            group = told.every().get(name)
            if group is not None and groups.untold(group, node, telling.key_of(notice)):
                told.groups[name] = replace(group, next=told.now)
            yield name, node, notice

    # Messages

    def _flush(self, group: Group, node: Node, told: _Round) -> None:
        after, decisions, left = self._decided(group, node, told)
        if after.members == group.members and not any(each.why.tells for each in decisions):
            return  # nothing that has to be written down: the next look is reckoned from this one
        for receiver in node.to if left else ():
            after = groups.untaken(group, after, receiver, left)
        words = Words(group, told.now, {**told.every(), group.id: after}, told.acknowledged, self.links)
        messages: list[Delivery] = []
        for decision in decisions:
            if decision.receiver not in (*node.to, *self.notifiers):
                continue  # it was told once, and is not there any more
            if decision.why.tells:
                made, failed = self._worded(words, decision)
                messages += made
                if failed:
                    after = groups.untaken(group, after, decision.receiver, failed)
            self.log.info(
                "told" if decision.why.tells else "not told",
                group=group.id,
                receiver=decision.receiver,
                why=decision.why.value,
            )
        for key, member in after.members.items():
            if member.held and member.held != group.members[key].held:
                self.log.info("held", group=group.id, alert=key, why=member.held)
        # Together and last: a group that failed above must not be saved as one whose receivers were notified.
        told.groups[group.id] = after
        told.messages.setdefault(group.id, []).extend(messages)

    def _decided(self, group: Group, node: Node, told: _Round) -> tuple[Group, tuple[Decision, ...], frozenset[str]]:
        """Return the group after a flush, the decisions, and the alerts that had to be left out: they failed alone."""

        def flushed(keys: Collection[str], to: Sequence[str] = node.to) -> tuple[Group, tuple[Decision, ...]]:
            members = {key: group.members[key] for key in keys}
            labels = {key: labels_of(member.notice) for key, member in members.items()}
            only, on = replace(group, members=members), replace(node, to=tuple(to))
            return telling.flush(only, on, told.audience, told.muting, labels, told.now, told.acknowledged)

        try:
            return *flushed(group.members), frozenset()
        except Exception:
            alone = {to: partial(flushed, group.members, [to]) for to in node.to}
            good = [to for to, flush in alone.items() if _works(flush)]
            if 0 < len(good) < len(node.to):  # it is the receiver that fails, and not an alert
                for to in alone.keys() - good:
                    self.failures.attempt(_about(group.id, f"for {to}"), alone[to], None)
                return *flushed(group.members, good), frozenset()
            fine = [
                key
                for key in group.members
                if self.failures.attempt(_about(group.id, key), partial(flushed, [key]), None)
            ]
            if len(fine) == len(group.members):
                raise
            left = frozenset(group.members.keys() - fine)
            after, decisions = flushed(fine)
            members = {**after.members, **{key: group.members[key] for key in left}}
            return replace(after, members=members, emptied=None), decisions, left

    def _worded(self, words: Words, decision: Decision) -> tuple[list[Delivery], set[str]]:
        """Return the messages of a decision, and the alerts that could not be put into them."""
        group, receiver = words.group.id, decision.receiver

        def made(keys: Collection[str]) -> list[Delivery]:
            return words.messages(decision.about(keys), together=self._together(receiver))

        every = decision.keys
        try:
            return made(every), set()
        except Exception as error:
            tried = {
                key: self.failures.attempt(_about(group, f"{key} for {receiver}"), partial(made, [key]), None)
                for key in every
            }
            failed = {key for key, each in tried.items() if each is None}
            if not failed:
                self.failures.add(_about(group, f"for {receiver}"), error)
                return [each for some in tried.values() for each in some or ()], set()
            fine = [key for key in every if key not in failed]
            rest = self.failures.attempt(_about(group, f"for {receiver}"), partial(made, fine), None) if fine else []
            return (rest, failed) if rest is not None else ([], set(every))

    def _tell_aside(self, name: str, node: Node, notice: Notice, told: _Round) -> None:
        told.owed.add((name, notice.id))
        why = told.muting.reason(labels_of(notice), told.now)
        if why and not always_told(notice):
            self.log.info("held", group=name, alert=notice.episode, why=why)
            if not told.is_lost(name):  # else no group tells it later: it is tried again
                told.owed.discard((name, notice.id))
            return
        made = [
            self.failures.attempt(_about(name, f"for {each}"), partial(self._aside, name, each, notice, told), None)
            for each in node.to
        ]
        told.messages.setdefault(name, []).extend(filter(None, made))
        if None not in made:
            told.owed.discard((name, notice.id))

    def _aside(self, name: str, receiver: str, notice: Notice, told: _Round) -> Delivery:
        linked = linking(notice, told.now, self.links)
        return aside(linked, receiver, told.every().get(name), told.now, self._together(receiver))

    def _escalate(self, told: _Round) -> None:
        for name, group in told.every().items():
            members = {
                key: self.failures.attempt(_about(name, key), partial(self._escalated, name, member, told), member)
                for key, member in (group.members.items() if self._escalates() else ())
            }
            if members and members != group.members:
                told.groups[name] = replace(told.every()[name], members=members)

    def _escalated(self, name: str, member: Member, told: _Round) -> Member:
        notice = member.notice
        if not member.firing or member.held or notice.episode in told.acknowledged:
            return member
        for number, each in enumerate(self.project.config.escalate):
            after = each.after(notice.severity.value)
            late = after is not None and told.now - member.since >= after
            if number in member.escalated or not late or not telling.accepts(each.matching, notice):
                continue
            if told.muting.reason(labels_of(notice), told.now):
                continue  # since it was last looked at
            title = f"Nobody acknowledged this for {spell(told.now - member.since)}: {notice.title}"
            louder = replace(notice, id=f"{notice.id}/escalated/{number}", title=title, begins=False)
            louder, group = linking(louder, told.now, self.links), told.every()[name]
            made = [aside(louder, to, group, told.now, self._together(to)) for to in each.to]
            told.messages.setdefault(name, []).extend(made)
            member = replace(member, escalated=(*member.escalated, number))
            self.log.warning("escalated", episode=notice.episode, to=each.to)
        return member

    def _end_escalations(self, names: Iterable[str], notice: Notice, told: _Round) -> None:
        """Tell those whom only an escalation told of an episode that it is over."""
        for name in names:
            group = told.groups[name]
            member, routed = group.members.get(telling.key_of(notice)), told.places[group.place].to
            steps = enumerate(self.project.config.escalate)
            raised = [each for number, each in steps if member and number in member.escalated]
            for to in dict.fromkeys(to for each in raised for to in each.to):
                if to not in routed and to not in told.audience.only_firing:
                    made = aside(notice, to, group, told.now, self._together(to))
                    told.messages.setdefault(name, []).append(made)

    def _calm(self, told: _Round) -> None:
        """Make one digest of a flood of messages to one receiver: a person reads one, and no service takes thirty."""
        for receiver in dict.fromkeys(each.receiver for messages in told.messages.values() for each in messages):
            self.failures.attempt(Subject("receiver", receiver), partial(self._calm_for, receiver, told), None)

    def _calm_for(self, receiver: str, told: _Round) -> None:
        calmed = self._calmed(receiver, [each for messages in told.messages.values() for each in messages])
        found = crowd([each.notice for each in calmed], self.project.config.storm)
        if not found:
            return
        notice = flood(receiver, found, told.now)
        digest = aside(notice, receiver, None, told.now, together=True)
        known = {each.id for each in found}
        drowned = {each.id for each in calmed if each.notice.id in known}
        names = [name for name, messages in told.messages.items() if any(each.id in drowned for each in messages)]
        told.flooded = told.flooded or names[0]
        for messages in told.messages.values():
            messages[:] = [each for each in messages if each.id not in drowned]
        told.messages[told.flooded].append(digest)
        self._under(notice.episode, receiver, told, names, {each.episode for each in found})
        self.log.warning("flood", receiver=receiver, messages=len(found))

    def _calmed(self, receiver: str, messages: Iterable[Delivery]) -> list[Delivery]:
        """Return the messages that may stand in a digest: to a program, only what opens an incident and leaves it so.

        The end of one has to reach it by itself, under its key, and so has whatever is about one that it knows.
        """
        own = [each for each in messages if each.receiver == receiver]
        if self._together(receiver):
            return own
        over = {each.notice.episode for each in own if each.notice.kind.ends}
        return [each for each in own if each.notice.begins and each.notice.episode not in over]

    def _under(
        self, episode: str, receiver: str, told: _Round, names: Collection[str], drowned: Collection[str]
    ) -> None:
        """Note that what a receiver was first told of in the digest was told under the digest's episode.

        ``names`` are the groups of which something is in it, ``drowned`` the episodes of the messages in it: of such a
        group a program is told of some alerts by themselves.
        """
        whole = self._together(receiver)
        for name, group in [(name, told.groups[name]) for name in names if name in told.groups]:
            before = told.before.get(name)
            known = before.value.told.get(receiver) if before else None
            last = group.told.get(receiver)
            if last is not None and last != known:
                new = {key for key, each in last.firing.items() if whole or each in drowned}
                new -= set(known.firing if known else ())
                firing = {key: episode if key in new else each for key, each in last.firing.items()}
                told.groups[name] = replace(group, told={**group.told, receiver: replace(last, firing=firing)})

    def _together(self, receiver: str) -> bool:
        return bool(getattr(self.notifiers.get(receiver), "together", False))

    # Saving

    def _save(self, told: _Round) -> set[str]:
        """Save what changed; return the groups that another writer was faster with, or that cannot be saved."""
        lost = set[str]()
        names = dict.fromkeys((*filter(None, [told.flooded]), *told.groups, *told.messages))
        for name in names:
            if not self.failures.attempt(_about(name), partial(self._saved, name, told), False):
                lost.add(name)
                if name == told.flooded:
                    return set(names)
        return lost

    def _saved(self, name: str, told: _Round) -> bool:
        """Return whether a group was saved with its messages; another writer may be faster."""
        kept, group, messages = told.before.get(name), told.groups.get(name), told.messages.get(name, [])
        told.owed.add((name, ""))
        saved = True
        try:
            if group is None:
                self.store.enqueue(messages)
            else:
                self.store.keep(Group, name, group, kept.etag if kept else None, messages)
        except Conflict:
            self.log.info("another instance told first", group=name)
            saved = False
        told.owed.discard((name, ""))
        return saved

    def _settle(self, taken: _Taken, lost: set[str], told: _Round) -> None:
        held = taken.delivery
        if any(name in taken.groups and notice in ("", held.notice.id) for name, notice in told.owed):
            self._put_off(held, told.now)
        elif not lost & set(taken.groups):  # else it is free again when this hold ends
            receipt = scrub("; ".join(taken.groups) or "no route takes it")
            self.store.settle(replace(held, state=Settled.DELIVERED, settled=told.now, receipt=receipt))


def _works(step: Callable[[], object]) -> bool:
    """Return whether it can be done, whatever it would come to."""
    try:
        step()
    except Exception:
        return False
    return True


def _about(group: str, key: str = "") -> Subject:
    return Subject("group", f"{group} {key}".strip())


def _news(delivery: Delivery) -> Subject:
    return Subject("news", delivery.notice.id)
