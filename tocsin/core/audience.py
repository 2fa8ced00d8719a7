"""Who is told, as ``tocsin.yaml`` says it: receivers, routes, inhibitions, quiet hours, silences, escalations."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from tocsin.core.errors import nearest_of
from tocsin.core.fields import (
    ClockTime,
    Days,
    Duration,
    Flag,
    Matching,
    Model,
    PerTime,
    Rate,
    Texts,
    Wait,
    WallTime,
    Zone,
)
from tocsin.core.inhibition import Inhibit
from tocsin.core.matching import Matcher, one_of
from tocsin.core.mute import FOREVER, Quiet, Silence
from tocsin.core.recurrence import recurrence


class Receiver(Model):
    """One place messages go. ``type`` is a file under ``notifiers/``; the options are that notifier's own."""

    type: str
    """How it is told."""
    resolved: Flag = True
    """Whether it hears that something is over."""
    at_most: PerTime | None = None
    """How many messages it takes in how long; what is more waits."""
    options: dict[str, str] = {}

    @property
    def pace(self) -> Rate | None:
        """How much it is sent at most: as said, else what its service takes."""
        return self.at_most or _PACE.get(self.type)


_HOUR = timedelta(hours=1)
_PACE = {
    "teams": Rate(count=100, per=_HOUR),
    "email_acs": Rate(count=100, per=_HOUR),
    "slack": Rate(count=60, per=timedelta(minutes=1)),
}
"""What services take: Teams and Azure Communication Services a hundred an hour, Slack one a second."""

_OWN = ("type", "resolved", "at_most")


def receiver(value: Any) -> Any:
    """Return a receiver as the file has it with the notifier's own keys as ``options``."""
    if not isinstance(value, dict) or "options" in value:
        return value
    # Without a type, what is almost that word is a misspelt key and no option.
    own = {key for key in value if key in _OWN or ("type" not in value and nearest_of(key, ("type",)))}
    return {
        **{key: value[key] for key in own},
        "options": {key: given for key, given in value.items() if key not in own},
    }


class Selector(Model):
    """Which alerts are meant: ``match`` names accepted values by label, ``matchers`` say more than that."""

    match: dict[str, Texts] = {}
    """Accepted values by label."""
    matchers: tuple[Matching, ...] = ()
    """Conditions like ``severity=~"P[01]"`` or ``env!=test``."""

    @property
    def matching(self) -> tuple[Matcher, ...]:
        """Both as matchers: all of them have to accept."""
        return (*(one_of(label, values) for label, values in self.match.items()), *self.matchers)


class Route(Selector):
    """Which alerts go to which receivers. The first child that matches wins unless it says ``continue``.

    What is not said is as in the route above; at the root see ``core.route``.
    """

    to: Texts = ()
    """The receivers."""
    continue_: Flag = Field(default=False, alias="continue")
    """Whether the search goes on after this route."""
    group_by: Texts = ()
    """Labels whose alerts are told together; ``...`` is every label."""
    group_wait: Wait | None = None
    """How long the first of a group waits for others."""
    group_interval: Duration | None = None
    """How long what joins a group waits."""
    repeat_interval: Duration | None = None
    """After how long what still fires is told again."""
    routes: tuple[Route, ...] = ()
    """Routes below: the first that matches wins."""


class Inhibition(Model):
    """While an alert of ``source`` fires, those of ``target`` with ``equal`` labels are not told."""

    source: Selector
    """The alerts that hide others."""
    target: Selector
    """Those that are hidden."""
    equal: Texts = ()
    """Labels in which both have to agree."""
    suppressed: Flag = False
    """Whether a source hides others although it is silenced, in quiet hours or hidden itself."""

    @property
    def rule(self) -> Inhibit:
        """The inhibition as the core knows it."""
        return Inhibit(self.source.matching, self.target.matching, self.equal, self.suppressed)


Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def some_length(begins: time, ends: time) -> None:
    """Raise for hours that end when they begin: whoever wrote them meant no time, and they would be the whole day."""
    if begins == ends != time(0):
        words = "they end when they begin: leave out `from` and `to` for the whole day"
        raise PydanticCustomError("no-length", words, {"at": "to"})


class QuietHours(Selector):
    """Hours in which some alerts are not told: by the wall clock of ``time_zone``, on ``weekdays``, on ``dates``."""

    name: str = Field(min_length=1, max_length=60)
    """What reasons call them."""
    time_zone: Zone = "UTC"
    """Whose clock it is."""
    from_: ClockTime = Field(default=time(0), alias="from")
    """When they begin."""
    to: ClockTime = time(0)
    """When they end; before they begin means the next day."""
    weekdays: tuple[Weekday, ...] = ()
    """The days they are on; without any, every day."""
    dates: tuple[Days, ...] = ()
    """Dates they are on, like ``2026-12-24..2026-12-26``."""

    @model_validator(mode="after")
    def _some_time(self) -> QuietHours:
        some_length(self.from_, self.to)
        return self

    @property
    def hours(self) -> Quiet:
        """The hours as the core knows them."""
        weekdays = frozenset(WEEKDAYS.index(each) for each in self.weekdays)
        return Quiet(self.name, self.matching, self.time_zone, self.from_, self.to, weekdays, self.dates)


class SilenceAsCode(Selector):
    """A silence that stands in the file. With ``recurs`` (an RRULE) it comes again, ``lasts`` long each time."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["ends"]}, {"required": ["recurs"]}]})

    author: str = Field(min_length=1, max_length=100)
    """Who wants it."""
    comment: str = Field(min_length=1, max_length=500)
    """Why."""
    time_zone: Zone = "UTC"
    """Whose clock `starts`, `ends` and `recurs` go by."""
    starts: WallTime = Field(default=datetime(2020, 1, 1), validate_default=True)  # noqa: DTZ001 - by time_zone
    """When it begins; when it recurs, also the time of day."""
    ends: WallTime = FOREVER
    """When it is over for good; needed where it does not recur."""
    recurs: str = ""
    """An RRULE, where it comes again."""
    lasts: Wait = timedelta()
    """How long each time."""
    actions: Literal["", "too"] = ""
    """``too`` stops policies as well."""

    @field_validator("starts", "ends")
    @classmethod
    def _by_its_clock(cls, at: datetime, info: ValidationInfo) -> datetime:
        """Return the time by the clock of ``time_zone``. Not as UTC: a time that the clock skips has to recur."""
        return at if at.tzinfo else at.replace(tzinfo=ZoneInfo(info.data.get("time_zone", "UTC")))

    @model_validator(mode="after")
    def _whole(self) -> SilenceAsCode:
        if not self.matching:
            raise PydanticCustomError("silences-all", "say what is silenced: `match` or `matchers`")
        if self.ends <= self.starts:
            raise PydanticCustomError("no-length", "it ends before it starts", {"at": "ends"})
        if bool(self.recurs) != bool(self.lasts):
            raise PydanticCustomError("bad-recurrence", "`recurs` and `lasts` belong together")
        if not self.recurs and self.ends == FOREVER:
            raise PydanticCustomError("missing-key", "'ends' is needed here: only a silence that recurs has no end")
        try:
            recurrence(self.recurs or "FREQ=DAILY", self.starts.replace(tzinfo=None))
        except ValueError as error:
            raise PydanticCustomError("bad-recurrence", "no recurrence: {why}", {"why": str(error)[:200]}) from None
        return self

    def silence(self, number: int) -> Silence:
        """Return the silence as the core knows it."""
        return Silence(
            f"tocsin.yaml silences[{number}]",
            self.matching,
            self.author,
            self.comment,
            self.starts,
            self.ends.astimezone(UTC),
            self.recurs,
            self.lasts,
            self.time_zone,
            self.actions == "too",
        )


_UNACKNOWLEDGED = {"P0": timedelta(minutes=15), "P1": timedelta(minutes=30), "P2": timedelta(hours=2)}


class Escalation(Selector):
    """Who else is told of what nobody acknowledges: after 15 minutes for P0, 30 for P1, 2 hours for P2, or as said."""

    to: Texts
    """Who is told besides."""
    unacknowledged_for: Duration | None = None
    """After how long; otherwise by severity."""

    def after(self, severity: str) -> timedelta | None:
        """Return how long an alert of this severity may fire unacknowledged; None for one that is not escalated."""
        return self.unacknowledged_for or _UNACKNOWLEDGED.get(severity)
