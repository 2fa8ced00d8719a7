"""Tocsin's own failures: which item failed by itself, what people are told of it, and when that is over.

Belongs here: turning the failures of one tick into alerts. Does not belong here: catching them (``engine.failing``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tocsin.core.fields import Severity
from tocsin.core.message import OWN_ERROR, Fact, Kind, Notice
from tocsin.core.text import scrub
from tocsin.core.units import spell

MOST = 10
"""How many failures of a kind have an alert of their own; what fails beyond them is listed in one."""

_LISTED = 20
"""How many subjects that one alert names."""

STEADY = timedelta(minutes=5)
"""For how long a subject has to work again before its alert ends: one that fails now and then pages once."""

FORGOTTEN = timedelta(hours=1)
"""After which an alert ends whose subject was not seen again at all: a message was delivered, a rule taken away."""

PATIENCE = timedelta(minutes=2)
"""How long the store may refuse one item before somebody is told: the next tick makes up for a moment's failure."""

INBOUND = "inbound alert"
"""What came from outside and could not be entered. It is tried again only if its sender sends it again."""

_WORDS = 160

_AGAIN = {INBOUND: "It is not kept here: look at it where it came from"}
"""What becomes of what failed."""

_NOTIFYING = frozenset({"telling", "delivering", "group", "news", "message", "receiver", "silence", "acknowledgement"})
"""What fails on the way to people. Its alert goes to the fallback directly, for the way itself may be broken."""

_ACTING = frozenset({"acting", "alert", "policy", "execution", "switches"})
"""What fails where policies act. Nobody can silence its alert: what a policy should do is left to people."""


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """One item that can fail: ``what`` kind it is, its name, and the target it is about if it is about one."""

    what: str
    name: str = ""
    target: str = ""

    @property
    def key(self) -> str:
        """Return what tells it from any other."""
        return hashlib.sha256("\0".join((self.what, self.name, self.target)).encode(errors="replace")).hexdigest()[:16]

    @property
    def words(self) -> str:
        """Return how people are told of it, on one line of at most 160 characters. Never raises."""
        try:
            return scrub(f"{self.what} {self.name}{f' on {self.target}' if self.target else ''}".strip(), _WORDS)
        except Exception:  # the name itself may be what fails
            return self.what

    @property
    def direct(self) -> bool:
        """Return whether its alert goes past the routes."""
        return self.what in _NOTIFYING


MANY, MANY_NOTIFYING, MANY_ACTING = (
    Subject("many parts"),
    Subject("telling", "in many places"),
    Subject("acting", "in many places"),
)
"""Each stands for all of its kind that fail beyond the first ``MOST``: a flood from outside hides no failure to act."""
_CROWDS = (MANY, MANY_NOTIFYING, MANY_ACTING)


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure: the exception's kind, whose own words may hold anything, and where in Tocsin it was raised."""

    subject: Subject
    error: str
    where: str = ""

    @property
    def words(self) -> str:
        """Return it on one line."""
        return f"{self.subject.words}: {self.error}{f' at {self.where}' if self.where else ''}"


@dataclass(frozen=True, slots=True)
class Open:
    """A subject that fails: since when, when it last did, and whether somebody was told."""

    subject: Subject
    since: datetime
    last: datetime
    error: str = ""
    told: bool = False


@dataclass(frozen=True, slots=True)
class Failing:
    """Everything that fails, by key: at most ``MOST`` subjects of a kind and its ``MANY``, however much fails."""

    open: Mapping[str, Open] = field(default_factory=dict)


def judge(
    before: Failing,
    failed: Collection[Failure],
    passed: Collection[Subject],
    now: datetime,
    *,
    whole: bool = True,
) -> tuple[Failing, list[tuple[Subject, Notice]]]:
    """Return what fails after one tick, and a notice for each alert that begins or ends.

    ``passed`` are subjects that worked. Only a ``whole`` tick, which looked at everything, says that there are not too
    many failures any more.
    """
    found = {each.subject.key: each for each in sorted(failed, key=lambda each: each.subject)}
    crowds = {each.key: _crowd(each, before, found) for each in _CROWDS}
    for many in _CROWDS:
        if crowds[many.key]:
            found[many.key] = Failure(many, f"{len(crowds[many.key])} failures at once")
    works = {each.key for each in passed} | ({each.key for each in _CROWDS} if whole else set())
    after: dict[str, Open] = {}
    notices: list[tuple[Subject, Notice]] = []
    for key in dict.fromkeys([*before.open, *found]):
        known, notice = _next(before.open.get(key), found.get(key), crowds.get(key, ()), now, works=key in works)
        after |= {key: known} if known else {}
        notices += [notice] if notice else []
    return Failing(after), notices


def _many(subject: Subject) -> Subject:
    """Return what stands for this subject where too many of its kind fail."""
    if subject.what in _ACTING:
        return MANY_ACTING
    return MANY_NOTIFYING if subject.what in _NOTIFYING else MANY


def _crowd(many: Subject, before: Failing, found: dict[str, Failure]) -> list[Failure]:
    """Take the new failures of one kind out of ``found`` and return them, if they are too many to be told alone."""
    new = [key for key, each in found.items() if key not in before.open and _many(each.subject) == many]
    alone = sum(_many(each.subject) == many for each in before.open.values())
    crowded = many.key in before.open or len(new) > MOST - alone
    return [found.pop(key) for key in new] if crowded else []


def _next(
    known: Open | None, failure: Failure | None, crowd: Collection[Failure], now: datetime, *, works: bool
) -> tuple[Open | None, tuple[Subject, Notice] | None]:
    if failure is not None:
        known = replace(known, last=now) if known else Open(failure.subject, now, now, failure.error)
        if known.told or (failure.error == "StoreUnavailable" and now - known.since < PATIENCE):
            return known, None
        return replace(known, told=True), (known.subject, _begins(known, failure, crowd, now))
    if known is None or now - known.last < (STEADY if works else FORGOTTEN):
        return known, None
    return None, (known.subject, _ends(known, now, works=works)) if known.told else None


def _begins(known: Open, failure: Failure, crowd: Collection[Failure], now: datetime) -> Notice:
    subject = known.subject
    listed = [each.words for each in crowd][:_LISTED]
    more = len(crowd) - len(listed)
    names = (*(Fact("Failed", each) for each in listed), *((Fact("And", f"{more} more"),) if more else ()))
    left = " What a policy should do there is left to you." if subject.what in _ACTING else ""
    return Notice(
        id=f"{_episode(known)}/fired",
        kind=Kind.FAILED if subject.what in _ACTING else Kind.FIRED,
        episode=_episode(known),
        rule=OWN_ERROR,
        target=subject.target or "tocsin",
        severity=Severity.P1,
        at=now,
        title=f"Tocsin failed at {subject.words}: {scrub(failure.error, 60)}.{left}",
        text="This is a defect, or a stored or received value that should not be. Everything else goes on. "
        f"{_AGAIN.get(subject.what, 'It is tried again every tick')}; the watcher's log says more.",
        facts=(Fact("State", "failing, P1"), Fact("Failed", failure.words), *names),
        first_step="Open the runbook: docs/operations.md#tocsin-error",
        begins=True,
        since=known.since,
    )


def unkept(failed: Collection[Failure], now: datetime) -> Notice:
    """Return what is told past the store of failures that could not even be kept, under one episode an hour."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    failure = Failure(MANY, f"{len(failed)} failures, which could not be kept or delivered")
    return replace(_begins(Open(MANY, hour, now), failure, failed, now), begins=False)


def _ends(known: Open, now: datetime, *, works: bool) -> Notice:
    how = "works again" if works else f"has not failed for {spell(FORGOTTEN)}"
    return Notice(
        id=f"{_episode(known)}/resolved",
        kind=Kind.RESOLVED,
        episode=_episode(known),
        rule=OWN_ERROR,
        target=known.subject.target or "tocsin",
        severity=Severity.P1,
        at=now,
        title=f"Tocsin: {known.subject.words} {how}, after {spell(now - known.since)}.",
        since=known.since,
    )


def _episode(known: Open) -> str:
    return f"{OWN_ERROR}/{known.subject.target or 'tocsin'}/{known.subject.key}/{known.since:%Y%m%dT%H%M%SZ}"


def summary(failed: Collection[Failure]) -> tuple[str, ...]:
    """Return what one tick failed at, for its heartbeat: at most ``MOST`` lines, the last of which counts the rest."""
    lines = sorted(each.words for each in failed)
    if len(lines) <= MOST:
        return tuple(lines)
    return (*lines[: MOST - 1], f"and {len(lines) - MOST + 1} more")
