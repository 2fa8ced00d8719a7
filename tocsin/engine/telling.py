"""Who is told of what happened: news goes into groups, and groups that are due become messages.

News lies in the outbox as it was committed with the state it tells of. A group is saved together with the messages it
makes, and only then is the news settled: a crash in between enters the news once more, which changes nothing.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from tocsin.core import telling
from tocsin.core.ack import Acknowledgement, in_force
from tocsin.core.digest import flood
from tocsin.core.group import Group, Member
from tocsin.core.message import NEWS, Delivery, Kind, Notice, Settled, labels_of
from tocsin.core.mute import Muting, Silence
from tocsin.core.read import Project
from tocsin.core.route import Node, compiled, ends
from tocsin.core.telling import Audience, News
from tocsin.core.units import spell
from tocsin.engine.notifying import HOLD
from tocsin.engine.wording import Words, aside
from tocsin.ports import Conflict, Kept, Log, Notifier, Store

_FORGET = timedelta(days=5)
"""How long a group that holds nothing is remembered, with what was told of it."""


@dataclass(slots=True)
class _Round:
    """One round: the groups as they were read and as they are now, and the messages that come of it, by group."""

    now: datetime
    before: Mapping[str, Kept[Group]]
    audience: Audience
    acknowledged: frozenset[str]
    muting: Muting = field(default_factory=Muting)
    groups: dict[str, Group] = field(default_factory=dict)
    read: dict[str, Group] = field(init=False)
    messages: dict[str, list[Delivery]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.read = {name: each.value for name, each in self.before.items()}

    def every(self) -> Mapping[str, Group]:
        """Return all groups as they stand, always: it is a view, for there may be thousands."""
        return ChainMap(self.groups, self.read)


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
        }
        for kind, over in ended.items():
            for key, kept in self.store.kept(kind).items():
                if over(kept.value):
                    with suppress(Conflict):
                        self.store.keep(kind, key, None, kept.etag)

    def _round(self, news: Sequence[Delivery], now: datetime) -> int:
        before = self.store.kept(Group)
        if not news and not telling.due([each.value for each in before.values()], now) and not self._escalates():
            return 0
        told = _Round(now, before, self._audience(), self._acknowledged(now))
        places = telling.places(told.audience.tree)
        self._adopt(told, places)
        asides: list[tuple[str, Node, Notice]] = []
        taken = self._take(news, told, asides)
        told.muting = self._muting(told)  # by now it is known what fires, what has just begun to as well
        for group in telling.due(told.every().values(), now):
            self._flush(group, places[group.place], told)
        for name, node, notice in asides:
            self._tell_aside(name, node, notice, told)
        self._escalate(told)
        self._calm(told)
        lost = self._save(told)
        for each in taken:
            self._settle(each, lost, told)
        return sum(len(messages) for name, messages in told.messages.items() if name not in lost)

    # What holds at this moment

    def _audience(self) -> Audience:
        config = self.project.config
        root = config.routes
        if not root.to and config.fallback:
            root = root.model_copy(update={"to": (config.fallback,)})
        return Audience(compiled(root), [name for name, each in config.receivers.items() if not each.resolved])

    def _muting(self, told: _Round) -> Muting:
        config = self.project.config
        members = (member for each in told.every().values() for member in each.members.values())
        firing = [labels_of(each.notice) for each in members if each.firing] if config.inhibit else []
        silences = [each.silence(number) for number, each in enumerate(config.silences)]
        silences += [each.value for each in self.store.kept(Silence).values() if told.now < each.value.ends]
        return Muting(
            [each.rule for each in config.inhibit], [each.hours for each in config.quiet_hours], silences, firing
        )

    def _acknowledged(self, now: datetime) -> frozenset[str]:
        found = (each.value for each in self.store.kept(Acknowledgement).values())
        return frozenset(each.episode for each in found if in_force(each, now))

    def _escalates(self) -> bool:
        return bool(self.project.config.escalate)

    # News

    def _adopt(self, told: _Round, places: Mapping[str, Node]) -> None:
        """Let go of groups whose route is gone; what nobody was told of yet finds its way by the routes there are."""
        for name, kept in told.before.items():
            group = kept.value
            if group.place in places:
                continue
            known = {key for each in group.told.values() for key in each.firing}
            told.groups[name] = replace(group, members={}, emptied=group.emptied or told.now)
            untold = [(key, member.notice) for key, member in group.members.items() if key not in known]
            self._into([replace(news_of(notice), key=key) for key, notice in untold], told)

    def _take(self, news: Sequence[Delivery], told: _Round, asides: list[tuple[str, Node, Notice]]) -> list[_Taken]:
        """Claim the news and enter it, in order; what follows one upon another enters its groups at once."""
        held = [each for each in (self._claim(delivery, told.now) for delivery in news) if each]
        taken: list[_Taken] = []
        for enters, some in groupby(held, lambda each: _enters(each.notice)):
            if enters:
                entering = list(some)
                names = self._into([news_of(each.notice) for each in entering], told)
                taken += map(_Taken, entering, names)
                continue
            for each in some:
                beside = list(self._beside(each.notice, told))
                asides += beside
                taken.append(_Taken(each, tuple(name for name, _, _ in beside)))
        return taken

    def _claim(self, delivery: Delivery, now: datetime) -> Delivery | None:
        with suppress(Conflict):
            return self.store.claim(delivery, now + HOLD)
        return None

    def _into(self, news: Sequence[News], told: _Round) -> list[tuple[str, ...]]:
        entered = telling.enter(told.every(), told.audience, news, told.now)
        told.groups |= entered.groups
        return entered.names

    def _beside(self, notice: Notice, told: _Round) -> Iterator[tuple[str, Node, Notice]]:
        """Yield the groups beside which something is told at once; what waits there is told before it."""
        for node in ends(told.audience.tree, labels_of(notice)):
            name = telling.name_of(node, labels_of(notice))
            group = told.every().get(name)
            if group is not None and not group.flushed and group.members:
                told.groups[name] = replace(group, next=told.now)
            yield name, node, notice

    # Messages

    def _flush(self, group: Group, node: Node, told: _Round) -> None:
        labels = {key: labels_of(member.notice) for key, member in group.members.items()}
        after, decisions = telling.flush(group, node, told.audience, told.muting, labels, told.now, told.acknowledged)
        if after.members == group.members and not any(each.why.tells for each in decisions):
            return  # nothing that has to be written down: the next look is reckoned from this one
        told.groups[group.id] = after
        words = Words(group, told.now, told.every())
        for decision in decisions:
            if decision.why.tells:
                made = words.messages(decision, together=self._together(decision.receiver))
                told.messages.setdefault(group.id, []).extend(made)
            self.log.info(
                "told" if decision.why.tells else "not told",
                group=group.id,
                receiver=decision.receiver,
                why=decision.why.value,
            )
        for key, member in after.members.items():
            if member.held and member.held != group.members[key].held:
                self.log.info("held", group=group.id, alert=key, why=member.held)

    def _tell_aside(self, name: str, node: Node, notice: Notice, told: _Round) -> None:
        why = told.muting.reason(labels_of(notice), told.now)
        if why and notice.kind is not Kind.FAILED:  # what went wrong with production is never silenced
            self.log.info("held", group=name, alert=notice.episode, why=why)
            return
        group = told.every().get(name)
        made = [aside(notice, each, group, told.now, self._together(each)) for each in node.to]
        told.messages.setdefault(name, []).extend(made)

    def _escalate(self, told: _Round) -> None:
        for name, group in told.every().items():
            members = dict(group.members)
            for key, member in group.members.items():
                if member.firing and not member.held and member.notice.episode not in told.acknowledged:
                    members[key] = self._escalated(name, member, told)
            if members != group.members:
                told.groups[name] = replace(told.every()[name], members=members)

    def _escalated(self, name: str, member: Member, told: _Round) -> Member:
        notice = member.notice
        for number, each in enumerate(self.project.config.escalate):
            after = each.after(notice.severity.value)
            late = after is not None and told.now - member.since >= after
            if number in member.escalated or not late or not telling.accepts(each.matching, notice):
                continue
            title = f"Nobody acknowledged this for {spell(told.now - member.since)}: {notice.title}"
            louder = replace(notice, id=f"{notice.id}/escalated/{number}", title=title)
            made = [aside(louder, to, None, told.now, self._together(to)) for to in each.to]
            told.messages.setdefault(name, []).extend(made)
            member = replace(member, escalated=(*member.escalated, number))
            self.log.warning("escalated", episode=notice.episode, to=each.to)
        return member

    def _calm(self, told: _Round) -> None:
        """Make one digest of a flood of messages to one receiver: a person reads one, and no service takes thirty."""
        most = self.project.config.storm
        for receiver in {each.receiver for messages in told.messages.values() for each in messages}:
            every = [each for messages in told.messages.values() for each in messages if each.receiver == receiver]
            found = [each for each in every if _calmed(each.notice, together=self._together(receiver))]
            if len(found) <= most:
                continue
            gone = {each.id for each in found}
            for messages in told.messages.values():
                messages[:] = [each for each in messages if each.receiver != receiver or each.id not in gone]
            notice = flood(receiver, [each.notice for each in found], told.now)
            first = next(iter(told.messages))
            told.messages[first].append(aside(notice, receiver, None, told.now, together=True))
            self._under(notice.episode, receiver, told)
            self.log.warning("flood", receiver=receiver, messages=len(found))

    def _under(self, episode: str, receiver: str, told: _Round) -> None:
        """Note that what this round tells a receiver for the first time was told under the digest's episode."""
        for name, group in told.groups.items():
            before = told.before.get(name)
            known = before.value.told.get(receiver) if before else None
            last = group.told.get(receiver)
            if last is not None and last != known:
                firing = {key: each if known and key in known.firing else episode for key, each in last.firing.items()}
                told.groups[name] = replace(group, told={**group.told, receiver: replace(last, firing=firing)})

    def _together(self, receiver: str) -> bool:
        return bool(getattr(self.notifiers.get(receiver), "together", False))

    # Saving

    def _save(self, told: _Round) -> set[str]:
        """Save what changed; return the groups that another writer was faster with."""
        lost = set()
        for name in dict.fromkeys((*told.groups, *told.messages)):
            kept, group, messages = told.before.get(name), told.groups.get(name), told.messages.get(name, [])
            try:
                if group is None:
                    self.store.enqueue(messages)
                else:
                    self.store.keep(Group, name, group, kept.etag if kept else None, messages)
            except Conflict:
                lost.add(name)
                self.log.info("another instance told first", group=name)
        return lost

    def _settle(self, taken: _Taken, lost: set[str], told: _Round) -> None:
        if lost & set(taken.groups):
            return  # it is free again when this hold ends
        receipt = "; ".join(taken.groups) or "no route takes it"
        self.store.settle(replace(taken.delivery, state=Settled.DELIVERED, settled=told.now, receipt=receipt))


def _enters(notice: Notice) -> bool:
    """Whether a notice is told by its groups; any other is told at once, beside them."""
    return notice.kind is Kind.RESOLVED or notice.begins


def _calmed(notice: Notice, *, together: bool) -> bool:
    """Whether a digest says enough of it: what closes an incident, or failed in production, goes by itself."""
    return notice.begins or (together and notice.kind is Kind.RESOLVED)


def news_of(notice: Notice) -> News:
    """Return what a notice says happened to its alert."""
    firing = notice.kind is not Kind.RESOLVED
    return News(telling.key_of(notice), labels_of(notice), notice, firing, notice.since or notice.at)
