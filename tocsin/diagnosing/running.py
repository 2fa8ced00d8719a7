"""Whether the watcher runs, at the right time, and reaches those it is to tell and those who approve."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from tocsin.core.answer import NoAnswer
from tocsin.core.config import Config, Target
from tocsin.core.container import App, approver_findings
from tocsin.core.fields import Automation
from tocsin.core.gauge import Reading
from tocsin.core.heartbeat import Ailing
from tocsin.core.message import Delivery, Settled
from tocsin.core.ncrontab import timetable
from tocsin.core.policy import Policy
from tocsin.core.text import scrub
from tocsin.core.units import spell
from tocsin.diagnosing.finding import Finding, State, bad, good

GRACE = timedelta(minutes=1)
"""How long a tick may take until it has ended."""

DEAD_AFTER = timedelta(minutes=5)
"""A watcher whose tick is so late does not watch."""

SKEWED, WRONG = timedelta(seconds=20), timedelta(minutes=2)
"""By how much a clock may differ until it is told, and until it is an error."""

# The schedule and the clock


def ticking(schedule: str, beat: datetime | None, now: datetime) -> Finding:
    """Return whether the last tick ended when the schedule says that one had to."""
    if beat is None:
        return bad("schedule", "tick", State.ERROR, "never-ticked", "no tick has ended yet")
    if beat - now > GRACE:
        return bad("schedule", "tick", State.ERROR, "beat-ahead", f"the last tick ended {spell(beat - now)} from now")
    try:
        due = timetable(schedule).after(beat)
    except ValueError as error:
        return bad("schedule", "tick", State.UNKNOWN, "setting-malformed", f"TICK_SCHEDULE: {error}")
    late, ago = now - due - GRACE, f"the last tick ended {_ago(beat, now)}; one was due {due:%Y-%m-%d %H:%M:%S} UTC"
    if late > timedelta():
        state = State.ERROR if late > DEAD_AFTER else State.WARNING
        return bad("schedule", "tick", state, "tick-late", f"{ago} ({schedule})")
    return good("schedule", "tick", f"the last tick ended {_ago(beat, now)} ({schedule})")


def failed(last: Sequence[str]) -> list[Finding]:
    """Return a finding if the last tick failed at anything; ``last`` are its lines of that."""
    words = f"the last tick failed at {'; '.join(last)}"
    return [bad("schedule", "items", State.ERROR, "tick-failed", words)] if last else []


def _ago(at: datetime, now: datetime) -> str:
    return f"{spell(max(now - at, timedelta()))} ago"


def clock(service: str, told: datetime | None, now: datetime, trouble: str = "") -> Finding:
    """Return whether this clock agrees with a service's, which is told to the second."""
    if told is None:
        return bad("clock", service, State.UNKNOWN, "clock-unknown", trouble or "it does not tell the time")
    off = now - told
    which = "ahead of" if off > timedelta() else "behind"
    words = f"this clock is {spell(abs(off))} {which} {service}'s"
    if abs(off) >= SKEWED:
        return bad("clock", service, State.ERROR if abs(off) >= WRONG else State.WARNING, "clock-skew", words)
    return good("clock", service, words)


# People


def approver(target: Target, app: App | NoAnswer, readings: Sequence[Reading] | NoAnswer, now: datetime) -> Finding:
    """Return whether a human approves side effects of a production target, and can be reached."""
    about = target.name
    if not (target.production and target.side_effect_tools):
        return good("approver", about, "not asked for: it is not production, or names no side-effect tools")
    if isinstance(app, NoAnswer):
        return bad("approver", about, State.UNKNOWN, "approver-unknown", f"{app.why.value}: {app.detail}")
    wrong = [each.words for each in approver_findings(app, target, now)]
    if wrong or not app.serving:
        words = "; ".join(wrong) or "no revision serves"
        return bad("approver", about, State.ERROR, "no-approver", words)
    if isinstance(readings, NoAnswer):
        return bad("approver", about, State.UNKNOWN, "approver-unknown", f"{readings.why.value}: {readings.detail}")
    return _reached(about, readings)


def _reached(about: str, readings: Sequence[Reading]) -> Finding:
    down = [each for each in readings if each.value]
    if down:
        return bad("approver", about, State.ERROR, "approver-unreachable", "; ".join(each.detail for each in down))
    unread = [each.why for each in readings if each.value is None]
    if unread:
        return bad("approver", about, State.UNKNOWN, "approver-unknown", f"its address is a secret: {unread[0]}")
    return good("approver", about, "HITL_APPROVER_ENDPOINT is set on what serves, and somebody answers there")


def approvals(policies: Iterable[Policy], config: Config, somebody: bool) -> Iterator[Finding]:
    """Yield whether anybody may approve by a link what policies ask; nothing where no policy does."""
    asks = [each.id for each in policies if each.enabled and each.guard.mode.value == "ask"]
    if not asks and config.automation is not Automation.ASK:
        return
    said = f"{', '.join(asks) or 'the switch above every policy'} asks before it acts"
    if somebody:
        yield good("approver", "policies", f"{said}; TOCSIN_APPROVERS names who may approve")
    else:
        yield bad("approver", "policies", State.WARNING, "nobody-may-approve", f"{said}, and TOCSIN_APPROVERS is unset")


# Receivers

MOST = 10_000
"""Messages that are looked through, newest first; whether a receiver took an older one is not known."""


def receivers(
    config: Config,
    unusable: Mapping[str, str],
    history: Sequence[Delivery],
    ailing: Mapping[str, Ailing],
    now: datetime,
) -> Iterator[Finding]:
    """Yield for each receiver when it last took a message. ``history`` is the newest first, thirty days at most."""
    for name in config.receivers:
        if name in unusable:
            yield bad("receivers", name, State.ERROR, "receiver-unusable", unusable[name])
        else:
            mine = [each for each in history if each.receiver == name]
            yield _receiver(name, mine, ailing.get(name), config.watchdog, now, whole=len(history) < MOST)


def taken(history: Iterable[Delivery]) -> datetime | None:
    """Return when a receiver last took one of these messages."""
    settled = (each.settled for each in history if each.state is Settled.DELIVERED and each.settled)
    return max(settled, default=None)


def _receiver(
    name: str,
    history: Sequence[Delivery],
    ailing: Ailing | None,
    watchdog: timedelta | None,
    now: datetime,
    *,
    whole: bool,
) -> Finding:
    last = taken(history)
    never = (
        "it never took a message in 30 days" if whole else "whether it took one could not be read: too many are stored"
    )
    when = f"it last took a message {_ago(last, now)}" if last else never
    dead = [each for each in history if each.state is Settled.DEAD and (last is None or (each.settled or now) > last)]
    if ailing or dead:
        newest = max(dead, key=lambda each: each.settled or each.created, default=None)
        said = ailing.words if ailing else (newest.receipt if newest else "")
        since = f"; none since {_ago(ailing.since, now)}" if ailing else f"; {len(dead)} were given up since"
        return bad(
            "receivers", name, State.ERROR, "receiver-failing", f"{when}{since}: {scrub(said, 200) or 'no word'}"
        )
    if last is None:
        return bad("receivers", name, State.WARNING if whole else State.UNKNOWN, "receiver-unproven", when)
    if watchdog and now - last > 2 * watchdog:
        words = f"{when}, and a heartbeat is due every {spell(watchdog)}"
        return bad("receivers", name, State.ERROR, "receiver-quiet", words)
    return good("receivers", name, when)
