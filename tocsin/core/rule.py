"""A rule: what is measured, when it is bad, and how long it must stay bad. One file under ``rules/``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from tocsin.core import meant
from tocsin.core.fields import Count, Duration, Flag, Instant, Labels, Model, Number, Offset, Severity, Some, Wait
from tocsin.core.units import duration


class Op(StrEnum):
    """The four comparisons; their names are the keys an author writes."""

    ABOVE = "above"
    AT_LEAST = "at_least"
    BELOW = "below"
    AT_MOST = "at_most"

    def holds(self, value: float, limit: float) -> bool:
        """Return whether ``value`` compared with ``limit`` satisfies this comparison."""
        if self is Op.ABOVE:
            return value > limit
        if self is Op.AT_LEAST:
            return value >= limit
        return value < limit if self is Op.BELOW else value <= limit


class Limits(Model):
    """At most one comparison with a fixed number."""

    above: Number | None = None
    """Breached when the value is higher than this."""
    at_least: Number | None = None
    """Breached when the value is this or higher."""
    below: Number | None = None
    """Breached when the value is lower than this."""
    at_most: Number | None = None
    """Breached when the value is this or lower."""

    @property
    def limits(self) -> tuple[tuple[Op, float], ...]:
        """Return every comparison that was written, with its number."""
        return tuple((op, value) for op in Op if (value := getattr(self, op.value)) is not None)

    @property
    def limit(self) -> tuple[Op, float] | None:
        """Return the comparison that was written, with its number."""
        return next(iter(self.limits), None)


class Change(Model):
    """Breached when the value differs from the same window ``versus`` earlier by more than a share of that value."""

    more_than: Number
    """By which share of the earlier value it has to rise, like ``20%``."""
    versus: Duration
    """How much earlier the same window is looked at, like ``7d``."""


_DAY = timedelta(days=1)
_SEASONS = {"daily": _DAY, "weekly": 7 * _DAY}
_MOST_LOOKS = 96


class Unusual(Model):
    """Breached when the value is higher than what is usual, by a robust score on median and MAD of earlier windows.

    With a season those are of the same time on earlier days or weeks, and of the windows beside it; without one they
    are the windows just before, evenly spread over the baseline. ``history`` of them must have a value.
    """

    score: Number
    """How many deviations above what is usual, like ``4``."""
    baseline: Duration = 7 * _DAY
    """How far back what is usual is learnt."""
    seasonal: Literal["daily", "weekly", "none"] = "daily"
    """Whether the same time of earlier days or weeks counts, or the windows just before."""
    history: Some = 6
    """How many earlier windows need a value."""

    def looks(self, over: timedelta) -> list[timedelta]:
        """Return how long before the slot each earlier window ends."""
        season = _SEASONS.get(self.seasonal)
        if season is None:
            count = self.baseline // over
            step = max(1, -(-count // _MOST_LOOKS))
            return [over * number for number in range(1, count + 1, step)]
        times = range(1, self.baseline // season + 1)
        return [season * number + over * beside for number in times for beside in _BESIDE][:_MOST_LOOKS]

    def apart(self, over: timedelta) -> bool:
        """Return whether no earlier window overlaps the one that is judged."""
        season = _SEASONS.get(self.seasonal)
        return season is None or 2 * over <= season


_BESIDE = (-1, 0, 1)
_MONTH = 30 * _DAY
_BURNS = {
    "page": (("1h", "5m", 14.4), ("6h", "30m", 6.0)),
    "ticket": (("1d", "2h", 3.0), ("3d", "6h", 1.0)),
}
"""Long window, short window, how many times too fast the budget burns: Google's SRE Workbook, chapter 5."""


class BurnRate(Model):
    """Breached when an error budget burns too fast over a long window and still does over a short one.

    ``alert: page`` looks at 1h with 5m (14.4 times too fast) and 6h with 30m (6 times), ``ticket`` at 1d with 2h (3
    times) and 3d with 6h (once): factors for a budget of 30 days, which are those shares of it for any ``window``.
    """

    objective: Number
    """The share that has to succeed, like ``99%``."""
    window: Duration = _MONTH
    """The stretch the objective is promised for."""
    alert: Literal["page", "ticket"] = "page"
    """How fast it has to burn: for a ``page`` within hours, for a ``ticket`` within days."""

    @field_validator("objective")
    @classmethod
    def _a_share(cls, value: float) -> float:
        if not 0 < value < 1:
            near = {"meant": f"{value:g}%" if 1 < value < 100 else ""}
            raise PydanticCustomError("bad-objective", "an objective is more than 0% and less than 100%", near)
        return value

    @property
    def pairs(self) -> tuple[tuple[timedelta, timedelta, float], ...]:
        """Return each long window, its short one and the ratio of errors above which both burn too fast."""
        scale = self.window / _MONTH * (1 - self.objective)
        return tuple((duration(long), duration(short), times * scale) for long, short, times in _BURNS[self.alert])

    @property
    def windows(self) -> tuple[tuple[timedelta, float], ...]:
        """Return every window with its limit, the two of a pair one after the other; the first is the rule's own."""
        return tuple((length, limit) for long, short, limit in self.pairs for length in (long, short))


CONDITIONS = (*(op.value for op in Op), "change", "unusual", "burn_rate", "absent_for")
"""The keys of ``when`` of which a rule has one."""


class When(Limits):
    """What is measured, over which window, and the one condition on it. Either ``signal`` or ``kql``."""

    signal: str | None = None
    """What is measured, by its name among the signals."""
    kql: str | None = None
    """A query of one's own that ends in ``value`` and the columns of ``by``."""
    unit: Literal["", "ratio", "percent", "count", "ms", "s", "usd", "tokens"] = ""
    """What the values of `kql` are, for messages, charts and plans; a signal has its own."""
    over: Duration
    """How long a stretch each value is measured over, like ``15m``."""
    minimum: Count | None = None
    """On how many events a value has to rest; with fewer nothing is said."""
    only: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = {}
    """The values of a dimension that count, like ``{ sign: [refused] }``; without any, all of them."""
    by: tuple[str, ...] = ()
    """The dimensions by which alerts are told apart."""
    change: Change | None = None
    """A rise against an earlier time."""
    unusual: Unusual | None = None
    """Higher than is usual."""
    burn_rate: BurnRate | None = None
    """An error budget that is used up too fast."""
    absent_for: Duration | None = None
    """How long it has to be missing while the target is alive."""

    def counts(self, labels: Mapping[str, object]) -> bool:
        """Return whether a value with these dimensions counts: with ``only``, those that it lists."""
        return all(labels.get(name) in values for name, values in self.only.items())

    @model_validator(mode="before")
    @classmethod
    def _windows_of_their_own(cls, given: Any) -> Any:
        """A burn rate and an absence say themselves how long they look."""
        if not isinstance(given, dict) or "over" in given:
            return given
        if "absent_for" in given:
            return {**given, "over": given["absent_for"]}
        burn = given.get("burn_rate")
        kind = burn.get("alert", "page") if isinstance(burn, dict) else None
        return {**given, "over": _BURNS[kind][0][0]} if kind in _BURNS else given

    @model_validator(mode="after")
    def _one_of_each(self) -> When:
        if (self.signal is None) == (self.kql is None):
            raise PydanticCustomError("no-measure", "say what is measured: either `signal:` or `kql:`")
        if self.unit and self.signal is not None:
            raise PydanticCustomError("bad-unit", "`unit` is for `kql`: a signal has its own", {"at": "unit"})
        given = [key for key in CONDITIONS if getattr(self, key) is not None]
        if len(given) != 1:
            said = {"found": " and ".join(given) or "none", "known": ", ".join(CONDITIONS)}
            raise PydanticCustomError("one-condition", "one condition is needed, found {found}; known: {known}", said)
        return self


class OutOf(Model):
    """``3 of 5``: how many of the newest slots must be breached."""

    hits: int
    slots: int


def _out_of(value: Any) -> Any:
    if value is None or isinstance(value, OutOf):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("wrong-kind", "a text like '3 of 5' was expected")
    match = re.fullmatch(r"(\d{1,3}) of (\d{1,3})", value)
    if not match or not 1 <= int(match[1]) <= int(match[2]) <= 100:
        why = {"given": value, "meant": meant.out_of(value[:100])}
        raise PydanticCustomError("bad-in", "'{given}' is not like '3 of 5' (at most 100 slots)", why)
    return OutOf(hits=int(match[1]), slots=int(match[2]))


_OUT_OF = WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,3} of [0-9]{1,3}$"})


class Snooze(Model):
    """Stops one rule until a day, with the reason."""

    until: Instant
    """The day on which the rule runs again."""
    reason: str
    """Why it is stopped."""


def _not_too_often(every: timedelta) -> timedelta:
    if every < timedelta(seconds=30):
        raise PydanticCustomError("too-often", "a rule runs every 30s at most")
    return every


class Rule(Model):
    """One alert rule. ``id`` is the file's name without its ending."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    summary: str = Field(min_length=1, max_length=500)
    """One line for people; ``{value}``, ``{threshold}``, ``{window}``, ``{target}`` and labels are filled in."""
    description: str = Field(default="", max_length=4000)
    """What to look at first; the same names are filled in."""
    severity: Severity
    """P0 system down, P1 major, P2 degraded, P3 minor."""
    when: When
    """What is measured, over which window, and the one condition on it."""
    for_: Wait = Field(default=timedelta(), alias="for")
    """How long it has to stay breached before anybody is told."""
    in_: Annotated[OutOf | None, BeforeValidator(_out_of), _OUT_OF] = Field(default=None, alias="in")
    """How many of the newest looks have to be breached, in place of ``for``: ``3 of 5``."""
    keep_firing_for: Wait = timedelta()
    """How long it has to stay clear before it is over."""
    every: Annotated[Duration, AfterValidator(_not_too_often)] = timedelta(minutes=1)
    """How often it is looked at."""
    resolve: Limits | None = None
    """The comparison that holds an alert once it fires, in place of the one in ``when``."""
    targets: Labels = {}
    """Labels of the targets it watches; without any, all of them."""
    labels: Labels = {}
    """Labels of its alerts, for routes, silences and policies."""
    runbook: str = ""
    """Where it stands what to do."""
    owner: str = ""
    """Who answers for the rule."""
    offset: Offset | None = None
    """How long a window is waited for; ``auto`` follows how late telemetry arrives."""
    counting: Literal["events", "arrivals"] = "events"
    """Whether things count when they happened or when word of them arrived."""
    max_instances: Some = 200
    """How many alerts it may have at once; beyond them one says so."""
    blind_after: Duration = timedelta(minutes=5)
    """How long it may not be judged before that is told."""
    on_silence: Literal["unknown", "clear", "fire"] = "unknown"
    """What no telemetry means: nothing is known, all is well, or an alert."""
    enabled: Flag = True
    """Whether it runs."""
    snooze: Snooze | None = None
    """Stops it until a day."""
    file: str = ""

    @field_validator("in_")
    @classmethod
    def _instead_of_for(cls, value: OutOf | None, rest: ValidationInfo) -> OutOf | None:
        if value and rest.data.get("for_"):
            raise PydanticCustomError("for-and-in", "`in` replaces `for`: write one of them")
        return value

    @field_validator("resolve")
    @classmethod
    def _one_resolve(cls, value: Limits | None, rest: ValidationInfo) -> Limits | None:
        when = rest.data.get("when")
        if value and len(value.limits) != 1:
            raise PydanticCustomError("bad-resolve", "`resolve` takes one of above, at_least, below, at_most")
        if value and when and not when.limit:
            raise PydanticCustomError("bad-resolve", "`resolve` has a place beside a comparison only")
        return value
