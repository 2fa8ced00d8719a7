"""Who is told of what happened: news goes into groups, and groups that are due become messages.

News lies in the outbox as it was committed with the state it tells of. A group is saved together with the messages it
makes, and only then is the news settled: a crash in between enters the news once more, which changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tocsin.core import telling
from tocsin.core.digest import flood
from tocsin.core.group import Group, Member
from tocsin.core.message import NEWS, Delivery, Kind, Notice, Settled, labels_of
from tocsin.core.mute import Muting
from tocsin.core.read import Project
from tocsin.core.route import Node, ends
from tocsin.core.telling import Audience, News
from tocsin.core.units import spell
from tocsin.engine import standing
from tocsin.engine.notifying import HOLD
from tocsin.engine.wording import Words, aside, linking
from tocsin.ports import Conflict, Kept, Links, Log, Notifier, Store, no_links

_FORGET = timedelta(days=5)
"""How long a group that holds nothing is remembered, with what was told of it."""


@dataclass(slots=True)
class _Round:
    """One round: the groups as they were read and as they are now, and the messages that come of it, by group."""

    now: datetime
    before: Mapping[str, Kept[Group]]
    audience: Audience
    muting: Muting
    acknowledged: frozenset[str]
    groups: dict[str, Group] = field(default_factory=dict)
    messages: dict[str, list[Delivery]] = field(default_factory=dict)

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

    def tell(self, now: datetime) -> int:
        """Enter all news, flush what is due and enqueue the messages; return how many messages that makes."""
        count, seen = 0, set[str]()
        while True:
            news = [each for each in self.store.waiting(now) if each.receiver == NEWS and each.id not in seen]
            count += self._round(news, now)
            if not news:
                return count
            seen |= {each.id for each in news}

    def _round(self, news: Sequence[Delivery], now: datetime) -> int:
        before = self.store.kept(Group)
        if not news and not telling.due([each.value for each in before.values()], now) and not self._escalates():
            return 0
        config = self.project.config
        muting = standing.muting(config, self.store, (each.value for each in before.values()), now)
        acknowledged = frozenset(standing.acknowledgements(self.store, now))
        told = _Round(now, before, standing.audience(config), muting, acknowledged)
        places = telling.places(told.audience.tree)
        self._adopt(told, places)
        asides: list[tuple[str, Node, Notice]] = []
        taken = [each for each in (self._take(delivery, told, asides) for delivery in news) if each]
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
            for key, member in group.members.items():
                if key not in known:
                    self._into(replace(news_of(member.notice), key=key), told)

    def _take(self, delivery: Delivery, told: _Round, asides: list[tuple[str, Node, Notice]]) -> _Taken | None:
        try:
            held = self.store.claim(delivery, told.now + HOLD)
        except Conflict:
            return None
        notice = held.notice
        if notice.kind is Kind.RESOLVED or notice.begins:
            return _Taken(held, self._into(news_of(notice), told))
        beside = list(self._beside(notice, told))
        asides += beside
        return _Taken(held, tuple(name for name, _, _ in beside))

    def _into(self, news: News, told: _Round) -> tuple[str, ...]:
        entered = telling.enter(told.every(), told.audience, news, told.now)
        told.groups |= {name: group for name, (group, _) in entered.items()}
        return tuple(entered)

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
        words = Words(group, told.now, told.every(), self.links)
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
        linked = linking(notice, told.now, self.links)
        made = [aside(linked, each, group, told.now, self._together(each)) for each in node.to]
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
            louder = linking(louder, told.now, self.links)
            made = [aside(louder, to, None, told.now, self._together(to)) for to in each.to]
            told.messages.setdefault(name, []).extend(made)
            member = replace(member, escalated=(*member.escalated, number))
            self.log.warning("escalated", episode=notice.episode, to=each.to)
        return member

    def _calm(self, told: _Round) -> None:
        """Make one digest of a flood of messages to one receiver: a person reads one, and no service takes thirty."""
        most = self.project.config.storm
        for receiver in {each.receiver for messages in told.messages.values() for each in messages}:
            found = [each for messages in told.messages.values() for each in messages if each.receiver == receiver]
            if len(found) <= most:
                continue
            for messages in told.messages.values():
                messages[:] = [each for each in messages if each.receiver != receiver]
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
                    over = group.emptied is not None and told.now - group.emptied > _FORGET
                    self.store.keep(Group, name, None if over else group, kept.etag if kept else None, messages)
            except Conflict:
                lost.add(name)
                self.log.info("another instance told first", group=name)
        return lost

    def _settle(self, taken: _Taken, lost: set[str], told: _Round) -> None:
        if lost & set(taken.groups):
            return  # it is free again when this hold ends
        receipt = "; ".join(taken.groups) or "no route takes it"
        self.store.settle(replace(taken.delivery, state=Settled.DELIVERED, settled=told.now, receipt=receipt))


def news_of(notice: Notice) -> News:
    """Return what a notice says happened to its alert."""
    firing = notice.kind is not Kind.RESOLVED
    return News(telling.key_of(notice), labels_of(notice), notice, firing, notice.since or notice.at)
