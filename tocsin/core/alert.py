"""The alert state machine: ``inactive → pending → firing → recovering → inactive``.

One alert per rule, target and ``by`` values. Every timer is in the stored value, so a restart changes nothing.
Unknown never fires, never resolves and never advances a timer.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from tocsin.core.rule import OutOf, Rule

Instance = tuple[tuple[str, str], ...]
"""The ``by`` values of one alert, sorted by name; empty for a rule without ``by``."""

STORM: Instance = (("storm", "too many instances"),)
"""The one instance that stands for all of a rule's, when there are more than ``max_instances``."""

Trail = tuple[tuple[datetime, float], ...]
"""Slots and the values known of them, oldest first."""

LONGEST_TRAIL = 30
"""How many values an alert remembers: enough for a chart, little enough for a row."""


class Verdict(StrEnum):
    """What one slot said of one instance."""

    BREACHED = "breached"
    CLEAR = "clear"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Seen:
    """One observation: the verdict of one slot, the value behind it, and why."""

    verdict: Verdict
    value: float | None = None
    reason: str = ""
    detail: str = ""
    missing: int = 0


class State(StrEnum):
    """Where an alert stands."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"
    RECOVERING = "recovering"


class Change(StrEnum):
    """What a slot changed, in the words the log, the timeline and ``explain`` use."""

    STEADY = "nothing changed"
    OLD_SLOT = "slot already seen"
    PENDING = "breached; waiting"
    FIRED = "breached for long enough"
    DROPPED = "clear before the wait was over"
    RECOVERING = "clear; waiting to be sure"
    REFIRED = "breached again; same episode"
    RESOLVED = "clear for long enough"
    BLIND = "nothing known for too long while firing"
    RULE_CHANGED = "rule changed"


@dataclass(frozen=True, slots=True)
class Timing:
    """The part of a rule the state machine needs."""

    for_: timedelta = timedelta()
    keep_firing_for: timedelta = timedelta()
    blind_after: timedelta = timedelta(minutes=5)
    out_of: OutOf | None = None

    @classmethod
    def of(cls, rule: Rule) -> Timing:
        """Return the timing of ``rule``."""
        return cls(rule.for_, rule.keep_firing_for, rule.blind_after, rule.in_)


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert as stored. ``slot`` is the newest slot seen; ``held`` and ``clear_for`` count known time only."""

    rule: str
    target: str
    by: Instance = ()
    state: State = State.INACTIVE
    slot: datetime | None = None
    since: datetime | None = None
    """The slot in which the present state began."""
    held: timedelta = timedelta()
    """Breached time: of the wait while pending, of the episode since it fired. Unknown time adds nothing."""
    clear_for: timedelta = timedelta()
    last: Verdict = Verdict.UNKNOWN
    known: datetime | None = None
    """The newest slot whose verdict was not unknown."""
    history: tuple[bool, ...] = ()
    """For ``in: M of N``: whether each of the newest N slots was breached, oldest first."""
    fired: datetime | None = None
    blind: bool = False
    """Whether this episode's one blind note was given."""
    missing: int = 0
    """In how many slots on end a known instance gave no row."""
    value: float | None = None
    fired_value: float | None = None
    reason: str = ""
    detail: str = ""
    """What the signal's author lists as safe to show, of the newest known slot."""
    signature: str = ""
    """What the alert was measured by; another measure is another alert."""
    trail: Trail = ()
    """The newest known values since it was last idle. Like ``fired`` they outlive the end, to be told with it."""

    @property
    def episode(self) -> str:
        """The id every receiver and remediation deduplicates by; empty until something fires.

        After an episode ended it still names that one, so that its resolution can be told, until the next wait begins.
        """
        if self.fired is None:
            return ""
        return f"{self.rule}/{self.target}/{by_hash(self.by)}/{self.fired:%Y%m%dT%H%M%SZ}"

    @property
    def idle(self) -> bool:
        """Whether forgetting this alert loses nothing."""
        return self.state is State.INACTIVE and not any(self.history)

    @property
    def open(self) -> bool:
        """Whether an episode is under way."""
        return self.state in (State.FIRING, State.RECOVERING)


def by_hash(by: Instance) -> str:
    """Return twelve hexadecimal digits that stand for the ``by`` values; ``all`` when there are none."""
    return hashlib.sha256(repr(by).encode()).hexdigest()[:12] if by else "all"


def instance(labels: Mapping[str, str]) -> Instance:
    """Return the instance that has these ``by`` values."""
    return tuple(sorted(labels.items()))


def transition(alert: Alert, seen: Seen, timing: Timing, slot: datetime) -> tuple[Alert, Change]:
    """Return the alert after ``slot`` and what changed. A slot not newer than the last one changes nothing."""
    if alert.slot is not None and slot <= alert.slot:
        return alert, Change.OLD_SLOT
    step = slot - alert.slot if alert.slot is not None else timedelta()
    current = _remember(alert, seen, timing, slot)
    if seen.verdict is Verdict.UNKNOWN:
        after, change = _unknown(current, timing, slot)
    elif seen.verdict is Verdict.BREACHED:
        after, change = _breached(current, timing, slot, step)
    else:
        after, change = _clear(current, timing, slot, step)
    known = alert.known if seen.verdict is Verdict.UNKNOWN else slot
    return replace(after, slot=slot, last=seen.verdict, known=known), change


def _remember(alert: Alert, seen: Seen, timing: Timing, slot: datetime) -> Alert:
    breached = seen.verdict is Verdict.BREACHED
    history = (*alert.history, breached)[-timing.out_of.slots :] if timing.out_of else ()
    remembered = replace(alert, history=history, reason=seen.reason, missing=seen.missing)
    if seen.verdict is Verdict.UNKNOWN:
        return remembered
    # A resolution still shows what its episode was about; the next one shows its own evidence or none.
    earlier = "" if alert.state is State.INACTIVE else alert.detail
    return replace(remembered, value=seen.value, detail=seen.detail or earlier, trail=_trail(alert, seen, slot))


def _trail(alert: Alert, seen: Seen, slot: datetime) -> Trail:
    """Return the newest values with this slot's. One that is no finite number is no point of a line."""
    # A clock that was ahead may have left slots that have not come yet.
    earlier = () if alert.idle else tuple(point for point in alert.trail if point[0] < slot)
    if seen.value is None or not math.isfinite(seen.value):
        return earlier
    return (*earlier, (slot, seen.value))[-LONGEST_TRAIL:]


def _breached(alert: Alert, timing: Timing, slot: datetime, step: timedelta) -> tuple[Alert, Change]:
    held = alert.held + (step if alert.last is Verdict.BREACHED else timedelta())
    if alert.state is State.FIRING:
        return replace(alert, held=held), Change.STEADY
    if alert.state is State.RECOVERING:
        return replace(alert, state=State.FIRING, since=slot, clear_for=timedelta()), Change.REFIRED
    if timing.out_of:
        enough = sum(alert.history) >= timing.out_of.hits
        return _fire(alert, slot) if enough else (alert, Change.STEADY)
    if alert.state is State.INACTIVE:
        waiting = replace(alert, state=State.PENDING, since=slot, held=timedelta(), fired=None)
        return _fire(alert, slot) if not timing.for_ else (waiting, Change.PENDING)
    grown = replace(alert, held=held)
    return _fire(grown, slot) if held >= timing.for_ else (grown, Change.STEADY)


def _fire(alert: Alert, slot: datetime) -> tuple[Alert, Change]:
    fired = replace(alert, state=State.FIRING, since=slot, fired=slot, held=timedelta(), clear_for=timedelta())
    return replace(fired, blind=False, fired_value=alert.value), Change.FIRED


def _clear(alert: Alert, timing: Timing, slot: datetime, step: timedelta) -> tuple[Alert, Change]:
    if alert.state is State.INACTIVE:
        return alert, Change.STEADY
    if alert.state is State.PENDING:
        return replace(alert, state=State.INACTIVE, since=slot, held=timedelta()), Change.DROPPED
    if alert.state is State.FIRING:
        waiting = replace(alert, state=State.RECOVERING, since=slot, clear_for=timedelta())
        return resolved(alert, slot) if not timing.keep_firing_for else (waiting, Change.RECOVERING)
    clear_for = alert.clear_for + (step if alert.last is Verdict.CLEAR else timedelta())
    grown = replace(alert, clear_for=clear_for)
    return resolved(grown, slot) if clear_for >= timing.keep_firing_for else (grown, Change.STEADY)


def _unknown(alert: Alert, timing: Timing, slot: datetime) -> tuple[Alert, Change]:
    since = alert.known or slot
    if not alert.open or alert.blind or slot - since < timing.blind_after:
        return alert, Change.STEADY
    return replace(alert, blind=True), Change.BLIND


def resolved(alert: Alert, slot: datetime, change: Change = Change.RESOLVED) -> tuple[Alert, Change]:
    """Return the alert with its episode ended in ``slot``; its ``fired`` stays, so the episode can still be named."""
    return replace(alert, state=State.INACTIVE, since=slot, held=timedelta(), clear_for=timedelta()), change


def signature(rule: Rule) -> str:
    """Return what makes the rule's alerts its own: what it measures, and by what; not its thresholds or timing."""
    measured = (rule.when.signal, rule.when.kql, sorted(rule.when.by))
    return hashlib.sha256(repr(measured).encode()).hexdigest()[:12]


def rule_changed(alert: Alert, slot: datetime, measure: str | None = None) -> tuple[Alert, Change]:
    """Return the alert ended because its rule measures something else now; an alert that never fired ends silently.

    ``measure`` is the signature of the new rule. The ended alert takes it over: with the old one it would be ended
    anew, and its receivers paged anew, in every tick in which the new measure is breached.
    """
    alert = replace(alert, signature=alert.signature if measure is None else measure)
    ended, change = resolved(replace(alert, history=()), slot, Change.RULE_CHANGED)
    return ended, change if alert.open else Change.DROPPED


def missed(alert: Alert, count: int, newest: datetime, timing: Timing) -> tuple[Alert, Change]:
    """Return the alert after ``count`` slots that nobody evaluated, up to ``newest``: each counts as unknown.

    Costs the same for a million slots as for one. Told twice of the same slots, it changes nothing the second time.
    """
    if alert.slot is not None and newest <= alert.slot:
        return alert, Change.OLD_SLOT
    unknown = Seen(Verdict.UNKNOWN, reason=f"{count} slots missed")
    if timing.out_of and count > 1:
        pushed = (*alert.history, *(False,) * min(count - 1, timing.out_of.slots))[-timing.out_of.slots :]
        alert = replace(alert, history=pushed)
    return transition(alert, unknown, timing, newest)
