"""What telemetry, a person's file or a disk may hold that nobody expects: names, floods, rows that cannot be read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from tests.simulation.chance import HOUR, MINUTE, T0
from tocsin.core.config import Target
from tocsin.core.mute import Silence
from tocsin.stores.codec import dump

if TYPE_CHECKING:
    from tests.simulation.world import World

NAMES = (
    "(configuration)",
    "too many instances",
    "load test ",
    "load  test",
    "load\N{NO-BREAK SPACE}te\N{ZERO WIDTH SPACE}st",
    "\x1b[2J\x1b]0;owned\x07",
    "\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe",
    "a\ud800b",
    "🔥" * 1000,
    "z" * 2000,
    "{target} {agent} {value}",
    "::error::<b>|[x](http://x.example)\n",
    "a/b/../c~|?#%",
    "",
)

_BERLIN = ZoneInfo("Europe/Berlin")
_NOWHERE = "Nowhere/None"
"""A zone that there is not: asking a silence with it raises."""


def fail(world: World, target: Target, minutes: int) -> None:
    """Let some agents with hostile names fail for so long, or a flood of them."""
    chance, now = world.chance, world.now
    flood = chance.one((False, False, False, True))
    start, count = chance.whole(0, len(NAMES) - 1), chance.whole(30, 90) if flood else chance.whole(1, 5)
    names = [f"agent {number} {'🔥' * 70}" for number in range(count)] if flood else (NAMES + NAMES)[start:][:count]
    world.truth[target.name].agents += [(name, now, now + minutes * MINUTE) for name in names]
    world.tell("world", f"{count} agents of {target.name} fail for {minutes} minutes")
    world.story.count("flood of agents" if flood else "hostile names")


@dataclass(frozen=True)
class Hush:
    """A silence that says that nothing is to be done: from which moment on, of what, and when it is in force."""

    moment: int
    target: str
    rule: str
    spans: tuple[tuple[datetime, datetime], ...]

    def accepts(self, rule: str, target: str) -> bool:
        """Return whether an alert of the rule on the target is silenced while it is in force."""
        return target == self.target and self.rule in ("", rule)


def recurring(world: World, silence: Silence) -> tuple[Silence, tuple[tuple[datetime, datetime], ...]]:
    """Return the silence as one that comes every hour in Berlin, and when that is: reckoned here, hour by hour."""
    chance = world.chance
    local = (T0 - timedelta(days=2)).astimezone(_BERLIN).replace(tzinfo=None, minute=chance.whole(0, 59), second=0)
    lasts = chance.whole(10, 50) * MINUTE
    starts = local.replace(tzinfo=_BERLIN)
    made = Silence(
        silence.id,
        silence.matchers,
        silence.author,
        silence.comment,
        starts,
        T0 + 12 * HOUR,
        rule="FREQ=HOURLY",
        lasts=lasts,
        zone="Europe/Berlin",
        actions=True,
    )
    begins = [(local + number * HOUR).replace(tzinfo=_BERLIN).timestamp() for number in range(60)]
    return made, tuple((at, at + lasts) for at in (datetime.fromtimestamp(each, T0.tzinfo) for each in begins))


def senseless(silence: Silence) -> Silence:
    """Return the silence as one that raises when it is asked whether it is in force."""
    return Silence(
        silence.id,
        silence.matchers,
        silence.author,
        silence.comment,
        silence.starts,
        silence.ends,
        rule="FREQ=DAILY",
        lasts=HOUR,
        zone=_NOWHERE,
    )


_ROWS = {
    "alert": "SELECT rowid, body FROM alerts ORDER BY rowid",
    "execution": "SELECT rowid, body FROM executions ORDER BY rowid",
    "message": "SELECT rowid, body FROM deliveries WHERE state = 'waiting' ORDER BY rowid",
    "group": "SELECT rowid, body FROM kept WHERE kind = 'Group' ORDER BY rowid",
    "mark": "SELECT rowid, body FROM heads WHERE partition LIKE 'mark/%' ORDER BY rowid",
}
_TABLES = {"alert": "alerts", "execution": "executions", "message": "deliveries", "group": "kept", "mark": "heads"}


def spoil(world: World) -> None:
    """Cut one row of the store, so that nobody can read it any more. What it held is noted: that may be lost."""
    kind, alerts = world.chance.one(sorted(_ROWS)), world.store.open_alerts()
    with world.store._transaction() as db:
        rows = db.execute(_ROWS[kind]).fetchall()
        if not rows:
            return
        number, body = world.chance.one(rows)
        parts = db.execute("SELECT body FROM parts ORDER BY rowid").fetchall() if kind == "group" else []
        db.execute(f"UPDATE {_TABLES[kind]} SET body = ? WHERE rowid = ?", (body[: len(body) // 2], number))
    named = [each.episode for each in alerts if dump(each) == body]
    world.spoiled.append("\n".join([body, *named, *(text for (text,) in parts)]))
    world.tell("disk", f"a row cannot be read any more: {kind} {number}")
    world.story.count(f"row spoiled: {kind}")
