"""When a rule is evaluated: its slots, which depend on the rule and the target and never on when a timer fired."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tocsin.core.config import Target
from tocsin.core.fields import AUTO
from tocsin.core.rule import Rule

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


VISIBLE_AFTER = timedelta(seconds=30)
"""How long after its arrival a row is surely seen by a query."""

_LEAST_LAG = timedelta(minutes=1)

CLOCK_STEP = timedelta(minutes=5)
"""How far clocks may differ before a slot from the future is not believed."""


PUT_OFF = timedelta(hours=2)
"""Further than this no message is ever put off: a receiver may ask for an hour."""

HOLD = timedelta(seconds=45)
"""How long one writer holds a delivery: longer than any receiver's time-out, shorter than a minute's tick."""


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be evaluated now: slots, oldest first, and how many older ones were missed for good.

    ``missed_until`` is the newest missed slot. ``reason`` says why nothing is due when a rule is switched off.
    """

    slots: tuple[datetime, ...] = ()
    missed: int = 0
    missed_until: datetime | None = None
    reason: str = ""


def jitter(rule: str, target: str, every: timedelta) -> timedelta:
    """Return how far this rule's slots on this target are shifted, in whole seconds; none at one minute or less.

    Spreads rules that run every quarter of an hour over it, the same way in every process.
    """
    if every <= timedelta(minutes=1):
        return timedelta()
    digest = hashlib.sha256(f"{rule}\n{target}".encode()).digest()
    return timedelta(seconds=int.from_bytes(digest[:8], "big") % int(every.total_seconds()))


def newest_slot(every: timedelta, shift: timedelta, until: datetime) -> datetime:
    """Return the newest slot at or before ``until``."""
    return EPOCH + (until - EPOCH - shift) // every * every + shift


def due(rule: Rule, target: str, last: datetime | None, now: datetime, offset: timedelta, catch_up: timedelta) -> Due:
    """Return every slot in ``(last, now − offset]``, of which only those within ``catch_up`` are evaluated.

    Without ``last`` (the first run ever) the newest slot alone is due; so it is when ``catch_up`` is zero. A clock set
    back a little makes nothing due twice; one that was far ahead (see ``ahead``) is as if there had been no run.
    ``catch_up`` is counted back from the newest slot, not from ``now``: what is evaluated must not depend on when the
    timer fired.
    """
    reason = asleep(rule, now)
    if reason:
        return Due(reason=reason)
    until = now - offset
    shift = jitter(rule.id, target, rule.every)
    newest = newest_slot(rule.every, shift, until)
    if last is None or ahead(last, now):
        return Due((newest,))
    after = newest_slot(rule.every, shift, last)
    total = max(0, (newest - after) // rule.every)
    kept = min(total, max(1, -(-catch_up // rule.every)))
    slots = tuple(newest - rule.every * back for back in reversed(range(kept)))
    missed = total - kept
    return Due(slots, missed, after + rule.every * missed if missed else None)


def delay(rule: Rule, target: Target, *, instant: bool = False) -> timedelta:
    """Return how long after a slot it is evaluated: the rule's own offset, else the target's.

    ``auto`` follows the target's lag, a minute at least. Arrivals need no time to arrive, only to become visible; what
    is read in the ``instant`` itself needs none.
    """
    if instant and rule.offset is None:
        return timedelta()
    offset = settled(target, rule.offset if rule.offset is not None else target.offset)
    return min(offset, VISIBLE_AFTER) if rule.offset is None and rule.counting == "arrivals" else offset


def settled(target: Target, offset: timedelta) -> timedelta:
    """Return how long ``offset`` is on the target: ``auto`` is its lag, a minute at least."""
    return max(target.lag, _LEAST_LAG) if offset == AUTO else offset


def ahead(slot: datetime, now: datetime) -> bool:
    """Return whether a slot was evaluated by a clock so far ahead that waiting for it would be silence.

    It is held against the clock and not against the newest slot, which goes back by itself when telemetry gets slower.
    """
    return slot - now > CLOCK_STEP


def has_come(at: datetime, now: datetime, most: timedelta) -> bool:
    """Return whether a stored time has come. ``most`` is how far ahead of its own clock one is ever set.

    One further ahead was set by a clock that was ahead. To wait for that would be silence.
    """
    return at <= now or at - now > most + CLOCK_STEP


def asleep(rule: Rule, now: datetime) -> str:
    """Return why the rule does not run now, or an empty text when it does."""
    if not rule.enabled:
        return "disabled in its file"
    if rule.snooze and now < rule.snooze.until:
        return f"snoozed until {rule.snooze.until:%Y-%m-%d}: {rule.snooze.reason}"
    return ""


def selects(rule: Rule, target: Target) -> bool:
    """Return whether the rule applies to this target: every selector key equals the target's label (or its name)."""
    own = {**target.labels, "target": target.name, "name": target.name}
    return all(own.get(key) == value for key, value in rule.targets.items())
