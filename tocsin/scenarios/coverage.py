"""Which transitions a rule can make by its own keys, and which of them its scenarios have made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tocsin.core.alert import Change, Instance, Verdict
from tocsin.core.rule import Rule
from tocsin.scenarios.playing import Played, Slot

WAITS, DROPS = "inactive → pending", "pending → inactive"
RECOVERS, REFIRES = "firing → recovering", "recovering → firing"
BLINDS, LOSES, FINDS = "firing → blind", "known → unknown", "unknown → known"


@dataclass(frozen=True, slots=True)
class Coverage:
    """The transitions that a rule can make, in the order of an episode, and those that were made."""

    rule: str
    can: tuple[str, ...]
    made: frozenset[str]

    @property
    def missing(self) -> tuple[str, ...]:
        """Those that no scenario makes."""
        return tuple(each for each in self.can if each not in self.made)

    @property
    def share(self) -> float:
        """Which share of them was made."""
        return 1 - len(self.missing) / len(self.can)

    def __str__(self) -> str:
        words = f"{self.rule}: {len(self.can) - len(self.missing)} of {len(self.can)} transitions"
        return words + (f"; not: {', '.join(self.missing)}" if self.missing else "")


def possible(rule: Rule) -> tuple[str, ...]:
    """Return every transition that the rule's alerts can make, by its timing."""
    waits, lingers = bool(rule.for_), bool(rule.keep_firing_for)
    begins = (WAITS, DROPS, _fires(rule)) if waits else (_fires(rule),)
    ends = (RECOVERS, REFIRES, _resolves(rule)) if lingers else (_resolves(rule),)
    return (*begins, *ends, LOSES, FINDS, BLINDS)


def covered(rule: Rule, played: Iterable[Played]) -> Coverage:
    """Return what the cases that were played have made of what the rule can."""
    made: set[str] = set()
    by_change = {
        Change.PENDING: WAITS,
        Change.DROPPED: DROPS,
        Change.FIRED: _fires(rule),
        Change.RECOVERING: RECOVERS,
        Change.REFIRED: REFIRES,
        Change.RESOLVED: _resolves(rule),
        Change.BLIND: BLINDS,
    }
    for each in played:
        made |= {by_change[Change(change)] for of, change in each.changes if of == rule.id and change in by_change}
        made |= _sight([slot for slot in each.slots if slot.rule == rule.id])
    return Coverage(rule.id, possible(rule), frozenset(made))


def _fires(rule: Rule) -> str:
    return "pending → firing" if rule.for_ else "inactive → firing"


def _resolves(rule: Rule) -> str:
    return "recovering → inactive" if rule.keep_firing_for else "firing → inactive"


def _sight(slots: Iterable[Slot]) -> set[str]:
    """Return whether what was known of an instance became unknown, and the other way round."""
    known: dict[Instance, bool] = {}
    made: set[str] = set()
    for slot in slots:
        for by, seen in slot.seen.items():
            now = seen.verdict is not Verdict.UNKNOWN
            if by in known and known[by] != now:
                made.add(FINDS if now else LOSES)
            known[by] = now
    return made
