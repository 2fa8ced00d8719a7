"""Alerts that suppress others while they fire: who is suppressed at one moment, also in a circle.

A source that is suppressed itself suppresses nothing, unless its inhibition says ``suppressed``. ``check`` refuses
circles; where one comes about all the same, its most severe alert is notified. An alert that somebody posted suppresses
others only where the source names such alerts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tocsin.core.fields import POSTED
from tocsin.core.matching import Labels, Matcher, accepted


@dataclass(frozen=True, slots=True)
class Inhibit:
    """While an alert that ``source`` accepts fires, those that ``target`` accepts with equal labels are not told.

    ``suppressed`` says that a source does so although it is silenced, in quiet hours or inhibited itself.
    """

    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...] = ()
    suppressed: bool = False

    def begins(self, labels: Labels) -> bool:
        """Return whether an alert with these labels is a source.

        One of Azure Monitor is, only if a matcher names such alerts by ``rule`` or ``source``: anybody with the key
        could post a P0, and with it suppress every P1 of the target.
        """
        name, value = POSTED
        names = (each for each in self.source if each.label in ("rule", name) and each.op in ("=", "in", "=~"))
        return (labels.get(name) != value or any(names)) and accepted(self.source, labels)

    def shared(self, labels: Labels) -> tuple[str, ...]:
        """Return the values in which source and target have to agree."""
        return tuple(labels.get(name, "") for name in self.equal)


Key = frozenset[tuple[str, str]]
"""An alert, by its labels."""


@dataclass(frozen=True, slots=True)
class _Threat:
    """The firing alerts that one inhibition lets suppress an alert."""

    rule: Inhibit
    sources: tuple[Key, ...]

    def effective(self, notified: Mapping[Key, bool]) -> Key | None:
        """Return the first source that is known to suppress."""
        works = (each for each in self.sources if notified.get(each) or (self.rule.suppressed and each in notified))
        return next(works, None)


@dataclass(frozen=True, slots=True)
class Inhibited:
    """What the firing alerts suppress. ``notified`` says of each whether it is told, as far as others decide that."""

    rules: Sequence[Inhibit]
    firing: Mapping[Key, Labels]
    sources: Mapping[tuple[int, tuple[str, ...]], Sequence[Key]]
    notified: Mapping[Key, bool]

    def by(self, labels: Labels) -> Labels | None:
        """Return the firing alert that suppresses one with these labels; None when none does."""
        if self.notified.get(frozenset(labels.items())):
            return None
        found = (each.effective(self.notified) for each in _threats(self.rules, self.sources, self.firing, labels))
        return next((self.firing[key] for key in found if key is not None), None)


def inhibited(rules: Sequence[Inhibit], firing: Iterable[Labels], muted: Callable[[Labels], bool]) -> Inhibited:
    """Return what the ``firing`` alerts suppress; ``muted`` says which are silenced or in quiet hours."""
    alerts = {frozenset(labels.items()): labels for labels in firing} if rules else {}
    sources: dict[tuple[int, tuple[str, ...]], list[Key]] = {}
    for number, rule in enumerate(rules):
        for key, labels in alerts.items():
            if rule.begins(labels):
                sources.setdefault((number, rule.shared(labels)), []).append(key)
    threats = {key: tuple(_threats(rules, sources, alerts, labels)) for key, labels in alerts.items()}
    inhibiting = {key for keys in sources.values() for key in keys}
    decided = {key: False for key in inhibiting if muted(alerts[key])}
    return Inhibited(rules, alerts, sources, _decided(alerts, threats, decided))


def _threats(
    rules: Sequence[Inhibit],
    sources: Mapping[tuple[int, tuple[str, ...]], Sequence[Key]],
    firing: Mapping[Key, Labels],
    labels: Labels,
) -> Iterator[_Threat]:
    """Yield what can suppress an alert. What is source and target at once is spared by its like."""
    for number, rule in enumerate(rules):
        found = sources.get((number, rule.shared(labels)))
        if not found or not accepted(rule.target, labels):
            continue
        if rule.begins(labels):
            found = [each for each in found if not accepted(rule.target, firing[each])]
        yield _Threat(rule, tuple(found))


def _decided(
    alerts: Mapping[Key, Labels], threats: Mapping[Key, Sequence[_Threat]], notified: dict[Key, bool]
) -> dict[Key, bool]:
    """Return of every alert whether it is notified: sources before what they suppress, circles by their most severe."""
    waiting = sorted((key for key in alerts if key not in notified), key=lambda key: _severity(alerts[key]))
    while waiting:
        left = []
        for key in waiting:
            if any(each.effective(notified) is not None for each in threats[key]):
                notified[key] = False
            elif all(source in notified for each in threats[key] for source in each.sources):
                notified[key] = True
            else:
                left.append(key)
        if len(left) == len(waiting):
            notified[next(key for key in left if _in_a_circle(key, threats, notified))] = True
        waiting = [key for key in left if key not in notified]
    return notified


def _in_a_circle(key: Key, threats: Mapping[Key, Sequence[_Threat]], notified: Mapping[Key, bool]) -> bool:
    """Whether an alert would suppress itself by way of others that are not decided yet."""
    seen, following = set[Key](), [key]
    while following:
        for each in threats[following.pop()]:
            for source in each.sources:
                if source == key:
                    return True
                if source not in notified and source not in seen:
                    seen.add(source)
                    following.append(source)
    return False


def _severity(labels: Labels) -> tuple[str, list[tuple[str, str]]]:
    return labels.get("severity", "~"), sorted(labels.items())
