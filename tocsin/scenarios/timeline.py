"""What came of a case, slot by slot, in few lines: like slots are told together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby

from tocsin.core.alert import Instance, State, Verdict, by_hash
from tocsin.core.units import amount, spell
from tocsin.scenarios.judging import Told, spelled
from tocsin.scenarios.playing import Played, Slot


@dataclass(frozen=True, slots=True)
class Line:
    """Some slots on end that came to the same: when they were evaluated, and what was told meanwhile."""

    first: timedelta
    last: timedelta
    instance: str
    verdict: str
    reason: str
    state: str
    low: float | None
    high: float | None
    told: str

    def words(self, unit: str) -> tuple[str, ...]:
        """Return the cells of the line: at, verdict, value, state, told."""
        at = moment(self.first) if self.first == self.last else f"{moment(self.first)}–{moment(self.last)}"
        value = "" if self.low is None else amount(self.low, unit)
        if self.high is not None and self.high != self.low:
            value += f" to {amount(self.high, unit)}"
        verdict = self.verdict + (f": {self.reason}" if self.verdict == Verdict.UNKNOWN.value else "")
        return at, *([self.instance] if self.instance else []), verdict, value, self.state, self.told


def moment(at: timedelta) -> str:
    """Return a time of the case as its author writes it."""
    return f"-{spell(-at)}" if at < timedelta() else "0m" if not at else spell(at)


def lines(played: Played, rule: str) -> list[Line]:
    """Return the course of one rule's instances, each by itself, in the order of time."""
    mine = [slot for slot in played.slots if slot.rule == rule]
    instances: dict[Instance, None] = {by: None for slot in mine for by in slot.seen}
    found = [line for by in instances for line in _of(by, mine, played, rule, several=len(instances) > 1)]
    return sorted(found, key=lambda line: (line.first, line.instance))


def _of(by: Instance, slots: Sequence[Slot], played: Played, rule: str, *, several: bool) -> Iterator[Line]:
    mine = [slot for slot in slots if by in slot.seen]
    which = by_hash(by) if several else ""
    told = [each for each in played.told if each.rule == rule and (not which or f"/{which}/" in each.episode)]
    nexts = [*(slot.at for slot in mine[1:]), timedelta.max]

    def alike(pair: tuple[Slot, timedelta]) -> tuple[str, ...]:
        slot, until = pair
        seen = slot.seen[by]
        reason = seen.reason if seen.verdict is Verdict.UNKNOWN else ""
        said = _told([each for each in told if slot.at <= each.at < until])
        return seen.verdict.value, reason, slot.states.get(by, State.INACTIVE).value, said

    for (verdict, reason, state, said), some in groupby(zip(mine, nexts, strict=True), key=alike):
        group = [slot for slot, _ in some]
        values = [value for slot in group if (value := slot.seen[by].value) is not None]
        name = spelled(by) if several else ""
        low, high = min(values, default=None), max(values, default=None)
        yield Line(group[0].at, group[-1].at, name, verdict, reason, state, low, high, said)


def _told(told: Sequence[Told]) -> str:
    """Return who was told, by kind."""
    kinds: dict[str, list[str]] = {}
    for each in told:
        kinds.setdefault(each.kind, []).append(each.receiver)
    return "; ".join(f"{kind}: {', '.join(dict.fromkeys(names))}" for kind, names in kinds.items())
