"""A backtest's outcome as one document: what every report shows, whatever it looks like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from tocsin.backtest.episodes import Episode, episodes
from tocsin.backtest.pages import Page, pages
from tocsin.backtest.plots import plotted
from tocsin.backtest.replay import Course
from tocsin.backtest.rulings import Deed, deeds
from tocsin.backtest.study import Study, Unplayed
from tocsin.core.alert import State
from tocsin.core.instance import shown
from tocsin.core.limits import bound, comparison, unit_of
from tocsin.core.read import Project
from tocsin.core.rule import Rule


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """One rule on one target: its episodes, how long it was in each state, and in how many slots it could judge."""

    course: Course
    episodes: tuple[Episode, ...]

    @property
    def rule(self) -> Rule:
        """The rule, as it is judged on the target."""
        return self.course.rule

    @property
    def flaps(self) -> int:
        """How many episodes began right after another."""
        return sum(each.flap for each in self.episodes)

    @property
    def burning(self) -> timedelta:
        """How long an alert was open."""
        spent = self.course.spent
        return spent.get(State.FIRING, timedelta()) + spent.get(State.RECOVERING, timedelta())


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything a backtest came to over ``[start, end)``."""

    start: datetime
    end: datetime
    rules: tuple[RuleOutcome, ...]
    pages: tuple[Page, ...]
    deeds: tuple[Deed, ...]
    unplayed: tuple[Unplayed, ...]
    partly: tuple[Unplayed, ...]

    @property
    def episodes(self) -> list[Episode]:
        """Every episode, oldest first."""
        return sorted((each for own in self.rules for each in own.episodes), key=lambda each: each.fired)


def outcome(study: Study, project: Project, together: Collection[str] = ()) -> Outcome:
    """Return what a study came to under the project's routes and policies.

    ``together`` are the receivers that take one message about several alerts.
    """
    rules = tuple(RuleOutcome(course, tuple(episodes(course))) for course in study.courses)
    told = pages(study.courses, project, study.end, together)
    done = deeds(study.courses, project)
    return Outcome(study.start, study.end, rules, tuple(told), tuple(done), study.unplayed, study.partly)


def document(found: Outcome, *, series: bool = False) -> dict[str, Any]:
    """Return the outcome as plain values: times as ISO 8601, lengths in seconds. ``series`` adds what plots need."""
    return {
        "from": found.start.isoformat(),
        "to": found.end.isoformat(),
        "rules": [_rule(each, found, series=series) for each in found.rules],
        "pages": [{**asdict(each), "at": each.at.isoformat()} for each in found.pages],
        "pages_by_receiver": dict(Counter(each.receiver for each in found.pages)),
        "actions": [_deed(each) for each in found.deeds],
        "not_replayed": [asdict(each) for each in found.unplayed],
        "partly_replayed": [asdict(each) for each in found.partly],
    }


def _deed(each: Deed) -> dict[str, Any]:
    return {**asdict(each), "at": each.at.isoformat()}


def _rule(own: RuleOutcome, found: Outcome, *, series: bool) -> dict[str, Any]:
    course, rule = own.course, own.rule
    told = [each for each in found.pages if (each.rule, each.target) == (rule.id, course.target.name)]
    made = {
        "rule": rule.id,
        "target": course.target.name,
        "severity": rule.severity.value,
        "unit": unit_of(rule, course.signal),
        "threshold": bound(rule),
        "comparison": comparison(rule).value,
        "for": rule.for_.total_seconds(),
        "every": rule.every.total_seconds(),
        "slots": course.grid.count,
        "known_slots": course.known,
        "seconds_in": {state.value: course.spent.get(state, timedelta()).total_seconds() for state in State},
        "episodes": [episode(each, found.end) for each in own.episodes],
        "flaps": own.flaps,
        "pages": len(told),
    }
    return {**made, "series": plotted(course)} if series else made


def episode(each: Episode, end: datetime) -> dict[str, Any]:
    """Return an episode as plain values."""
    return {
        "id": each.id,
        "by": shown(each.by),
        "fired": each.fired.isoformat(),
        "ended": each.ended.isoformat() if each.ended else None,
        "seconds": each.lasted(end).total_seconds(),
        "worst": each.worst,
        "flap": each.flap,
    }


@dataclass(frozen=True, slots=True)
class Compared:
    """One rule on one target before and after a change; None where it is not there."""

    rule: str
    target: str
    base: RuleOutcome | None
    head: RuleOutcome | None
    base_told: Mapping[str, int]
    head_told: Mapping[str, int]
    """How many messages each receiver had."""

    @property
    def base_pages(self) -> int:
        """How many messages there were before."""
        return sum(self.base_told.values())

    @property
    def head_pages(self) -> int:
        """How many messages there are after the change."""
        return sum(self.head_told.values())

    @property
    def gone(self) -> list[Episode]:
        """Episodes that only the base has: none of the head's overlaps them."""
        return _without(self.base, self.head)

    @property
    def new(self) -> list[Episode]:
        """Episodes that only the head has."""
        return _without(self.head, self.base)

    @property
    def same(self) -> bool:
        """Whether the change makes no difference to it."""
        both = self.base is not None and self.head is not None
        spans = [[(each.by, each.fired, each.ended) for each in own.episodes] for own in (self.base, self.head) if own]
        return both and spans[0] == spans[1] and self.base_told == self.head_told


def _without(own: RuleOutcome | None, other: RuleOutcome | None) -> list[Episode]:
    others = other.episodes if other else ()
    return [each for each in (own.episodes if own else ()) if not any(_overlap(each, one) for one in others)]


def _overlap(one: Episode, other: Episode) -> bool:
    ends = datetime.max.replace(tzinfo=one.fired.tzinfo)
    return one.by == other.by and one.fired <= (other.ended or ends) and other.fired <= (one.ended or ends)


def compared(base: Outcome, head: Outcome) -> list[Compared]:
    """Return every rule on every target of either, those that differ first."""
    before, after = _by_name(base), _by_name(head)
    found = [
        Compared(*name, before.get(name), after.get(name), _told(base.pages, name), _told(head.pages, name))
        for name in dict.fromkeys((*before, *after))
    ]
    return sorted(found, key=lambda each: (each.same, each.rule, each.target))


def _by_name(found: Outcome) -> Mapping[tuple[str, str], RuleOutcome]:
    return {(each.rule.id, each.course.target.name): each for each in found.rules}


def _told(told: Sequence[Page], name: tuple[str, str]) -> Mapping[str, int]:
    return Counter(each.receiver for each in told if (each.rule, each.target) == name)


def only_done(one: Outcome, other: Outcome) -> list[Deed]:
    """Return what policies would have done on one side and not, or with another ruling, on the other."""
    known = {replace(each, why="") for each in other.deeds}
    return [each for each in one.deeds if replace(each, why="") not in known]


def comparison_document(base: Outcome, head: Outcome, *, series: bool = False) -> dict[str, Any]:
    """Return both outcomes and what differs, as plain values."""
    differing = [
        {
            "rule": each.rule,
            "target": each.target,
            "base": _summary(each.base, each.base_told),
            "head": _summary(each.head, each.head_told),
            "only_in_base": [episode(one, base.end) for one in each.gone],
            "only_in_head": [episode(one, head.end) for one in each.new],
        }
        for each in compared(base, head)
        if not each.same
    ]
    acting = {
        "only_in_base": [_deed(each) for each in only_done(base, head)],
        "only_in_head": [_deed(each) for each in only_done(head, base)],
    }
    return {
        "base": document(base, series=series),
        "head": document(head, series=series),
        "differences": differing,
        "actions": acting,
    }


def _summary(own: RuleOutcome | None, told: Mapping[str, int]) -> dict[str, Any] | None:
    if own is None:
        return None
    return {"episodes": len(own.episodes), "flaps": own.flaps, "seconds_firing": own.burning.total_seconds(),
            "pages": sum(told.values()), "pages_by_receiver": dict(told)}  # fmt: skip
