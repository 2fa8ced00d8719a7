"""The alert state machine: ``inactive → pending → firing → recovering → inactive``.

One alert per rule, target and ``by`` values. Every timer is in the stored value, so a restart changes nothing.
Unknown never fires, never resolves and never advances a timer.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from tocsin.core.instance import STORM as STORM
from tocsin.core.instance import Instance as Instance
from tocsin.core.instance import Stored
from tocsin.core.instance import by_hash as by_hash
from tocsin.core.instance import instance as instance
from tocsin.core.rule import OutOf, Rule
from tocsin.core.text import cut

Trail = tuple[tuple[datetime, float], ...]
"""Slots and the values known of them, oldest first."""

LONGEST_TRAIL = 30
"""How many values an alert remembers: enough for a chart, little enough for a row."""

_LONGEST = 2_000
"""Letters of a reason, and of what is safe to show: more than any message does."""


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
    origin: str = ""
    """The id under which something outside reported it."""
    endless: bool = False
    """Whether nothing will ever report its end."""
    expired: bool = False
    """Whether it is clear only because nothing was reported any more."""


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
    EXPIRED = "no longer reported"
    ENDLESS = "reported again without an end"


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
    by: Stored = ()
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
    origin: str = ""
    """Of one that is reported from outside: the id of the newest report."""
    endless: bool = False
    """Whether nothing will ever report its end: nobody is reminded of it, nor notified when it expires."""
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


def transition(alert: Alert, seen: Seen, timing: Timing, slot: datetime) -> tuple[Alert, Change]:
    """Return the alert after ``slot`` and what changed. A slot not newer than the last one changes nothing."""
    if alert.slot is not None and slot <= alert.slot:
        return alert, Change.OLD_SLOT
    step = slot - alert.slot if alert.slot is not None else timedelta()
    after = _remembered(alert, seen, timing, slot)
    if seen.verdict is Verdict.UNKNOWN:
        change = _unknown(alert, timing, slot, after)
    elif seen.verdict is Verdict.BREACHED:
        change = _breached(alert, timing, slot, step, after)
    else:
        change = _clear(alert, timing, slot, step, after)
    return replace(alert, **after), _reported(alert, seen, change)


def _reported(alert: Alert, seen: Seen, change: Change) -> Change:
    """Return the change in the words of what is only reported from outside, and never measured."""
    if change is Change.RESOLVED and seen.expired:
        return Change.EXPIRED
    learned = seen.endless and not alert.endless
    return Change.ENDLESS if learned and change is Change.STEADY and alert.open else change


_Fields = dict[str, Any]
"""The fields of an alert that a slot changes: gathered first, and set at once."""


def _remembered(alert: Alert, seen: Seen, timing: Timing, slot: datetime) -> _Fields:
    breached = seen.verdict is Verdict.BREACHED
    history = (*alert.history, breached)[-timing.out_of.slots :] if timing.out_of else ()
    reason = cut(seen.reason, _LONGEST)
    after = {"slot": slot, "last": seen.verdict, "history": history, "reason": reason, "missing": seen.missing}
    if seen.verdict is Verdict.UNKNOWN:
        return after
    # A resolution still shows what its episode was about; the next one shows its own evidence or none.
    earlier = "" if alert.state is State.INACTIVE else alert.detail
    known = {
        "known": slot,
        "value": seen.value,
        "detail": cut(seen.detail, _LONGEST) or earlier,
        "trail": _trail(alert, seen, slot),
    }
    if breached:
        known |= {"origin": seen.origin, "endless": seen.endless}
    elif not seen.expired:
        known |= {"endless": False}
    return {**after, **known}


def _trail(alert: Alert, seen: Seen, slot: datetime) -> Trail:
    """Return the newest values with this slot's. One that is no finite number is no point of a line."""
    # A clock that was ahead may have left slots that have not come yet.
    earlier = () if alert.idle else alert.trail
    if earlier and earlier[-1][0] >= slot:
        earlier = tuple(point for point in earlier if point[0] < slot)
    if seen.value is None or not math.isfinite(seen.value):
        return earlier
    return (*earlier, (slot, seen.value))[-LONGEST_TRAIL:]


def _breached(alert: Alert, timing: Timing, slot: datetime, step: timedelta, after: _Fields) -> Change:
    held = alert.held + (step if alert.last is Verdict.BREACHED else timedelta())
    if alert.state is State.FIRING:
        after.update(held=held)
        return Change.STEADY
    if alert.state is State.RECOVERING:
        after.update(state=State.FIRING, since=slot, clear_for=timedelta())
        return Change.REFIRED
    if timing.out_of:
        enough = sum(after["history"]) >= timing.out_of.hits
        return _fire(slot, after) if enough else Change.STEADY
    if alert.state is State.INACTIVE:
        if not timing.for_:
            return _fire(slot, after)
        after.update(state=State.PENDING, since=slot, held=timedelta(), fired=None)
        return Change.PENDING
    after.update(held=held)
    return _fire(slot, after) if held >= timing.for_ else Change.STEADY


def _fire(slot: datetime, after: _Fields) -> Change:
    after.update(state=State.FIRING, since=slot, fired=slot, held=timedelta(), clear_for=timedelta())
    after.update(blind=False, fired_value=after["value"])
    return Change.FIRED


def _clear(alert: Alert, timing: Timing, slot: datetime, step: timedelta, after: _Fields) -> Change:
    if alert.state is State.INACTIVE:
        return Change.STEADY
    if alert.state is State.PENDING:
        after.update(state=State.INACTIVE, since=slot, held=timedelta())
        return Change.DROPPED
    if alert.state is State.FIRING and timing.keep_firing_for:
        after.update(state=State.RECOVERING, since=slot, clear_for=timedelta())
        return Change.RECOVERING
    if alert.state is State.RECOVERING:
        clear_for = alert.clear_for + (step if alert.last is Verdict.CLEAR else timedelta())
        if clear_for < timing.keep_firing_for:
            after.update(clear_for=clear_for)
            return Change.STEADY
    after.update(_ended(slot))
    return Change.RESOLVED


def _unknown(alert: Alert, timing: Timing, slot: datetime, after: _Fields) -> Change:
    since = alert.known or slot
    if not alert.open or alert.blind or slot - since < timing.blind_after:
        return Change.STEADY
    after.update(blind=True)
    return Change.BLIND


def _ended(slot: datetime) -> _Fields:
    return {"state": State.INACTIVE, "since": slot, "held": timedelta(), "clear_for": timedelta()}


def resolved(alert: Alert, slot: datetime, change: Change = Change.RESOLVED) -> tuple[Alert, Change]:
    """Return the alert with its episode ended in ``slot``; its ``fired`` stays, so the episode can still be named."""
    return replace(alert, **_ended(slot)), change


def signature(rule: Rule) -> str:
    """Return what makes the rule's alerts its own: what it measures, and by what; not its thresholds or timing."""
    measured: tuple[object, ...] = (rule.when.signal, rule.when.kql, sorted(rule.when.by))
    if rule.when.only:  # one without keeps the signature it had before there was `only`
        measured = (*measured, sorted(rule.when.only.items()))
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
