"""From a decision to messages: one for all that a person is to read together, or one an alert for a program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from tocsin.core.digest import together as composed
from tocsin.core.group import Decision, Group, Told, Why
from tocsin.core.message import Delivery, Kind, Notice, fitted, rank
from tocsin.core.telling import key_of
from tocsin.ports import Links, no_links


@dataclass(frozen=True, slots=True)
class Words:
    """What one flush of a group says. ``group`` is as it was before it, ``every`` all groups as they stand after it.

    Nobody is reminded of an episode that is ``acknowledged``, though it may stand in a message about several.
    """

    group: Group
    now: datetime
    every: Mapping[str, Group]
    acknowledged: frozenset[str] = frozenset()
    links: Links = no_links

    def messages(self, decision: Decision, *, together: bool) -> list[Delivery]:
        """Return the messages of a decision that tells."""
        if together:
            return [_delivery(self._one(decision), decision.receiver, self.group.id, self.now)]
        return [_delivery(each, decision.receiver, each.episode, self.now) for each in self._each(decision)]

    def _one(self, decision: Decision) -> Notice:
        if len(decision.firing) + len(decision.resolved) == 1 and not decision.passed:
            ((key, episode),) = (*decision.firing.items(), *decision.resolved.items())
            return self._again(key, episode, decision.why)
        firing = [self._notice(key, episode) for key, episode in decision.firing.items()]
        firing += [self._opened(key, episode) for key, episode in decision.passed.items()]
        over = [self._notice(key, episode) for key, episode in decision.resolved.items()]
        identity = f"{self.group.id}/{self.now:%Y%m%dT%H%M%SZ}"
        return composed(identity, firing, over, dict(self.group.labels), decision.why.value, self.now)

    def _each(self, decision: Decision) -> Iterator[Notice]:
        """Yield what a receiver with an incident an alert has to hear: news alone, except when it is reminded."""
        last, ended = self.group.told.get(decision.receiver, Told()), set[str]()
        for key, episode in decision.firing.items():
            notice = self.group.members[key].notice
            silent = notice.once or notice.episode in self.acknowledged
            if key not in last.firing or (decision.why is Why.REPEAT and not silent):
                yield self._again(key, episode, decision.why)
        for key, episode in decision.passed.items():
            yield self._opened(key, episode)
        for key, episode in decision.resolved.items():
            opened = self.group.members[key].opened
            if key not in last.firing and opened is not None:
                yield self._opened(key, episode)
            known = key in last.firing or opened is not None
            if known and episode not in ended and not self._shared(episode, decision.receiver):
                ended.add(episode)
                yield self._notice(key, episode)

    def _shared(self, episode: str, receiver: str) -> bool:
        """Whether others that were told under the same digest still fire: it is over with the last of them."""
        told = (each.told.get(receiver, Told()).firing.values() for each in self.every.values())
        return episode.startswith("flood/") and any(episode in each for each in told)

    def _notice(self, key: str, episode: str) -> Notice:
        return replace(self.group.members[key].notice, episode=episode)

    def _opened(self, key: str, episode: str) -> Notice:
        member = self.group.members[key]
        return replace(member.opened or member.notice, episode=episode)

    def _again(self, key: str, episode: str, why: Why) -> Notice:
        """Return what is told of one alert by itself, said to be a reminder where it is one."""
        notice = self.group.members[key].notice
        if why is Why.REPEAT:
            identity = f"{notice.id}/repeat/{self.now:%Y%m%dT%H%M%SZ}"
            notice = replace(notice, id=identity, title=f"Still: {notice.title}", begins=False)
        return replace(linking(notice, self.now, self.links), episode=episode)


def linking(notice: Notice, now: datetime, links: Links) -> Notice:
    """Return the notice with what a person can do about it by a link: of one alert, and while it is not over.

    A question, and a switch that is engaged, can be decided whatever became of the alert. A message of an alert
    has to have its own episode still: a receiver may know it under another, of which nobody else has heard.
    """
    about_one = notice.episode.startswith(f"{notice.rule}/{notice.target}/")
    begins = notice.kind in (Kind.FIRED, Kind.BLIND) and not notice.over and about_one
    if not begins and not notice.asks and not notice.engaged:
        return notice
    return replace(notice, links=(*notice.links, *links(notice, now)))


def aside(notice: Notice, receiver: str, group: Group | None, now: datetime, together: bool) -> Delivery:
    """Return the message of a notice that does not wait for a group, under the episode that the receiver knows."""
    told = group.told.get(receiver) if group else None
    episode = told.firing.get(key_of(notice), notice.episode) if told else notice.episode
    lane = group.id if group and together else episode
    return _delivery(replace(notice, episode=episode), receiver, lane, now)


def _delivery(notice: Notice, receiver: str, lane: str, now: datetime) -> Delivery:
    sequence, notice = int(now.timestamp()) * 10 + rank(notice.kind), fitted(notice)
    return Delivery(f"{notice.id}/{receiver}", receiver, notice, now, now, sequence, lane=lane)


NOTHING_OPENS = frozenset({Kind.RESOLVED, Kind.EXPIRED, Kind.ACKNOWLEDGED})
"""Kinds that close or mark what is open, and open nothing."""
