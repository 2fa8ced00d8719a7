"""Why an alert is as it is, and who heard of it: from what is stored, by the same functions that decide it.

Belongs here: saying in words what the core decides. Does not belong here: deciding anything, or printing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from tocsin.core import telling
from tocsin.core.ack import Acknowledgement
from tocsin.core.alert import Alert, State
from tocsin.core.group import Group
from tocsin.core.instance import texts
from tocsin.core.labels import alert_labels
from tocsin.core.message import NEWS, Delivery, Kind, Notice, Settled, labels_of
from tocsin.core.mute import Muting
from tocsin.core.read import Project
from tocsin.core.remedy import Execution
from tocsin.core.route import Node, ends
from tocsin.core.telling import Audience
from tocsin.core.text import scrub
from tocsin.core.units import spell


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that is so: at which step, about whom or what, and in words."""

    step: str
    about: str
    says: str


@dataclass(frozen=True, slots=True)
class Known:
    """Everything that reasons are drawn from, at one moment; deliveries oldest first."""

    now: datetime
    project: Project
    audience: Audience
    muting: Muting
    acknowledged: Mapping[str, Acknowledgement]
    groups: Mapping[str, Group]
    alerts: tuple[Alert, ...]
    deliveries: tuple[Delivery, ...]
    executions: tuple[Execution, ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """One alert: as it is stored, and what was last told of it; either may be missing, not both."""

    key: str
    alert: Alert | None
    notice: Notice | None

    @property
    def episode(self) -> str:
        """The newest episode; empty before anything has fired."""
        if self.alert and self.alert.episode:
            return self.alert.episode
        return self.notice.episode if self.notice else ""


def reasons(subject: Subject, known: Known) -> Iterator[Reason]:
    """Yield every reason, in the order in which things happen."""
    labels = _labels(subject, known)
    yield from _seen(subject, known)
    yield Reason("muted", "", known.muting.reason(labels, known.now) or "no: not inhibited, no quiet hours, no silence")
    nodes = ends(known.audience.tree, labels)
    if not nodes:
        yield Reason("route", "", "no route takes it: nobody is told")
    for node in nodes:
        yield from _in_group(subject, labels, node, known)
    yield from _taken_on(subject, known)
    yield from _delivered(subject, known)
    yield from _executed(subject, known)


def _labels(subject: Subject, known: Known) -> dict[str, str]:
    """Return the labels by which it is routed; before anything was told, those it will have."""
    if subject.notice is not None:
        return labels_of(subject.notice)
    alert = subject.alert
    if alert is None:
        return {}
    rule = next((each for each in known.project.rules if each.id == alert.rule), None)
    target = next((each for each in known.project.config.targets if each.name == alert.target), None)
    if rule is None or target is None:  # it is no longer watched: what is left of it says least
        return {**texts(alert.by), "rule": alert.rule, "target": alert.target}
    return alert_labels(rule, target, alert.by)


def _seen(subject: Subject, known: Known) -> Iterator[Reason]:
    alert = subject.alert
    if alert is None:
        yield Reason("state", "", "inactive: its episode is over, and nothing has breached since")
        return
    value = f", value {alert.value:g}" if alert.value is not None else ""
    why = f": {scrub(alert.reason)}" if alert.reason else ""
    yield Reason("verdict", "", f"{alert.last.value} in the slot of {_at(alert.slot)}{value}{why}")
    if alert.known != alert.slot:
        yield Reason("verdict", "", f"nothing known since {_at(alert.known)}")
    yield Reason("state", "", f"{alert.state.value} since {_at(alert.since)}")
    if alert.state is State.PENDING:
        yield Reason("state", "", f"breached for {spell(alert.held)} of the {_wanted(alert, known)} it takes")
    if alert.open:
        clear = f", clear for {spell(alert.clear_for)}" if alert.state is State.RECOVERING else ""
        yield Reason("state", "", f"fired {_at(alert.fired)}, breached for {spell(alert.held)} since{clear}")
    if alert.blind:
        yield Reason("state", "", "blind: said so once in this episode")


def _wanted(alert: Alert, known: Known) -> str:
    rule = next((each for each in known.project.rules if each.id == alert.rule), None)
    return spell(rule.for_) if rule else "time"


def _in_group(subject: Subject, labels: Mapping[str, str], node: Node, known: Known) -> Iterator[Reason]:
    name = telling.name_of(node, labels)
    yield Reason("route", node.place, f"{node.why} → {', '.join(node.to) or 'nobody'}")
    group = known.groups.get(name)
    if group is None:
        yield Reason("group", name, "nothing was entered into it yet")
        return
    member = group.members.get(subject.key)
    looked = "flushed" if group.flushed else "not flushed yet"
    inside = f"holds {len(group.members)}, {'this one' if member else 'not this one'} among them"
    yield Reason("group", name, f"{inside}; {looked}; looked at next at {_at(group.next)}")
    if member and member.held:
        yield Reason("group", name, f"held back when it was last looked at: {member.held}")
    if member and member.escalated:
        rungs = [", ".join(known.project.config.escalate[n].to) for n in member.escalated if n < _rungs(known)]
        yield Reason("group", name, f"escalated to {'; '.join(rungs)}")
    yield from _told(subject, group, node, known)


def _rungs(known: Known) -> int:
    return len(known.project.config.escalate)


def _told(subject: Subject, group: Group, node: Node, known: Known) -> Iterator[Reason]:
    """Yield for each receiver what it last heard, and what a look at the group now would mean for it."""
    labels = {key: labels_of(member.notice) for key, member in group.members.items()}
    _, decisions = telling.flush(group, node, known.audience, known.muting, labels, known.now, known.acknowledged)
    now = {each.receiver: each.why for each in decisions}
    for receiver in node.to:
        last, why = group.told.get(receiver), now.get(receiver)
        if last is None or last.at is None:
            yield Reason("receiver", receiver, "was never told of this group")
        else:
            heard = "of this alert, too" if subject.key in last.firing else "not that this alert fires"
            yield Reason("receiver", receiver, f"told {_at(last.at)} {heard}; at the last look: {last.why}")
        if why is None:
            muted = known.muting.reason(labels[subject.key], known.now) if subject.key in labels else ""
            yield Reason("receiver", receiver, f"not told now: {muted or 'the group holds nothing to tell'}")
        else:
            yield Reason("receiver", receiver, f"{'told' if why.tells else 'not told'} if looked at now: {why.value}")


def _taken_on(subject: Subject, known: Known) -> Iterator[Reason]:
    given = known.acknowledged.get(subject.episode)
    if given is None:
        yield Reason("acknowledged", "", "by nobody")
        return
    said = f" ({given.comment})" if given.comment else ""
    yield Reason("acknowledged", "", f"by {given.by} at {_at(given.at)} until {_at(given.until)}{said}")


def _delivered(subject: Subject, known: Known) -> Iterator[Reason]:
    """Yield its messages, oldest first, and those of the groups and digests it was told with."""
    mine = _episodes(subject, known)
    groups = {name for name, each in known.groups.items() if subject.key in each.members}
    since = subject.notice.since or subject.notice.at if subject.notice else known.now
    for each in known.deliveries:
        in_group = each.queue in groups and each.created >= since and each.notice.episode == each.queue
        if each.notice.episode in mine or in_group:
            who = "news" if each.receiver == NEWS else each.receiver
            yield Reason("delivery", who, _settled(each))


def _episodes(subject: Subject, known: Known) -> set[str]:
    """Return the names under which its newest episode was told."""
    told = (last.firing.get(subject.key, "") for each in known.groups.values() for last in each.told.values())
    return {*filter(None, told), *filter(None, [subject.episode])}


def _settled(delivery: Delivery) -> str:
    kind = delivery.notice.kind.value
    what = "several, " + kind if delivery.notice.kind in (Kind.FIRED, Kind.RESOLVED) and _several(delivery) else kind
    tries = f"{delivery.attempts} attempts" if delivery.attempts != 1 else "1 attempt"
    when = _at(delivery.settled) if delivery.settled else f"next try {_at(delivery.not_before)}"
    if delivery.state is not Settled.WAITING:
        when = f"{delivery.state.value} {when}"
    said = f": {scrub(delivery.receipt, 200)}" if delivery.receipt else ""
    return f"{what}, {when}, {tries}{said}" + (" (as the fallback)" if delivery.fallback else "")


def _several(delivery: Delivery) -> bool:
    return not delivery.notice.episode.startswith(f"{delivery.notice.rule}/")


def _executed(subject: Subject, known: Known) -> Iterator[Reason]:
    for each in known.executions:
        if subject.episode and each.episode == subject.episode:
            stopped = f" [{each.stopped_by}]" if each.stopped_by else ""
            begun = f", since {_at(each.begun)}" if each.begun else ""
            yield Reason("policy", each.policy, f"{each.action}: {each.state}{stopped}{begun}: {each.reason}")


def _at(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "never"
