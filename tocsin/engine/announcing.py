"""Who hears of a drill, and how: marked as one, through the receivers that an alert about the target would go to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tocsin import __version__
from tocsin.core.answer import NoAnswer
from tocsin.core.config import Target
from tocsin.core.container import SCOPES
from tocsin.core.drill import Result
from tocsin.core.fields import Severity
from tocsin.core.instance import texts
from tocsin.core.labels import complete
from tocsin.core.message import Fact, Kind, Notice, Outcome, Said
from tocsin.core.route import ends
from tocsin.core.rule import Rule
from tocsin.core.schedule import asleep, selects
from tocsin.core.text import scrub
from tocsin.engine import standing
from tocsin.engine.switches import Switches
from tocsin.engine.tick import Engine

RULE = "killswitch_drill"
"""Stands for the rule of a drill's messages, and of the routes they go by."""

_SIGNAL = "killswitch_engaged"


@dataclass(frozen=True, slots=True)
class Answers:
    """What each receiver said, and what that proves."""

    said: Mapping[str, str]
    result: Result

    @property
    def words(self) -> str:
        """Every answer on one line."""
        return "; ".join(f"{name}: {said}" for name, said in self.said.items()) or "no route names a receiver"


@dataclass(slots=True)
class Announcer:
    """Tells people of one drill. ``unusable`` are receivers that cannot be told, and why."""

    engine: Engine
    target: Target
    drill: str
    by: str
    scope: str
    unusable: Mapping[str, str]
    told: list[str] = field(default_factory=list)
    """Who took the first message."""

    def begin(self, now: datetime) -> Answers:
        """Tell everybody whom the routes name for a P1 of this target, and return what they said."""
        title = f"DRILL: {self._switch} of {self.target.name} is on by intent. Nothing is wrong, nothing to be done."
        answers = self._send(self.receivers(), self._notice(Kind.FIRED, now, title))
        self.told = [name for name, said in answers.said.items() if said.startswith(Said.ACCEPTED.value)]
        return answers

    def end(self, now: datetime, stays: str, manual: str, *, alarm: bool) -> Answers:
        """Tell the same that it is over. ``stays`` says why the switch may still be on: wanted so, or an ``alarm``."""
        title = f"DRILL over: {self._switch} of {self.target.name} was released, and that is proven."
        if stays:
            title = f"DRILL over, and the switch of {self.target.name} is not released: {stays}"
        kind = Kind.FAILED if alarm else Kind.RESOLVED
        return self._send(self.told, self._notice(kind, now, title, manual if stays else ""))

    def receivers(self) -> list[str]:
        """Return the receivers of a P1 about this target, by its routes: no other's are woken for a drill."""
        labels = complete(self.target.labels, RULE, Severity.P1.value, self.target.name)
        found = ends(standing.audience(self.engine.project.config).tree, labels)
        return list(dict.fromkeys(name for node in found for name in node.to))

    @property
    def _switch(self) -> str:
        return SCOPES[self.scope]

    def _notice(self, kind: Kind, now: datetime, title: str, manual: str = "") -> Notice:
        episode = f"{RULE}/{self.target.name}/{self.drill}"
        facts = (
            Fact("State", "a drill"),
            Fact("By", scrub(self.by, 60)),
            Fact("Target", self.target.name),
            Fact("Killswitch", f"{self._switch}, by the drill {self.drill} alone"),
        )
        return Notice(
            id=f"{episode}/{kind.value}",
            kind=kind,
            episode=episode,
            rule=RULE,
            target=self.target.name,
            severity=Severity.P1 if kind is Kind.FAILED else Severity.P3,
            at=now,
            title=scrub(title, 300),
            facts=facts,
            manual=manual,
            manual_does="Release it by hand",
            labels=dict(self.target.labels),
            provenance=f"tocsin drill killswitch · tocsin {__version__}",
        )

    def _send(self, names: Collection[str], notice: Notice) -> Answers:
        outcomes = {name: self._deliver(name, notice) for name in names}
        said = {name: each.said.value + (f" ({each.detail})" if each.detail else "") for name, each in outcomes.items()}
        good = bool(outcomes) and all(each.said is Said.ACCEPTED for each in outcomes.values())
        return Answers(said, Result.PROVEN if good else Result.FAILED)

    def _deliver(self, name: str, notice: Notice) -> Outcome:
        notifier = self.engine.notifiers.get(name)
        if notifier is None:
            return Outcome(Said.REFUSED, self.unusable.get(name, "there is no such receiver"))
        try:
            return notifier.deliver(notice)
        except Exception as error:  # as when it is told in earnest: a defect is no answer
            return Outcome(Said.AGAIN, f"the notifier failed: {type(error).__name__}")


def awaited_alert(
    engine: Engine, target: Target, scope: str, before: Collection[str], now: datetime
) -> tuple[Result, str]:
    """Return whether the watcher has seen the switch: by the alert of a rule on it, or by its signal where none is."""
    rules = [each for each in engine.project.rules if _about(each, target, now)]
    if not rules:
        return _signal(engine, target, scope, now)
    for alert in engine.store.open_alerts():
        about = (alert.target, texts(alert.by).get("scope", scope)) == (target.name, scope)
        new = alert.open and alert.episode not in before and alert.rule in {rule.id for rule in rules}
        if about and new and alert.fired:
            return Result.PROVEN, f"{alert.rule} fired at {alert.fired:%H:%M:%S} UTC: {alert.episode}"
    return Result.UNPROVEN, f"{', '.join(rule.id for rule in rules)} did not fire: does the watcher tick?"


def _about(rule: Rule, target: Target, now: datetime) -> bool:
    return rule.when.signal == _SIGNAL and selects(rule, target) and not asleep(rule, now)


def _signal(engine: Engine, target: Target, scope: str, now: datetime) -> tuple[Result, str]:
    found = Switches(engine.store, engine.configuration).read(target, "engaged", now, now)
    if isinstance(found, NoAnswer):
        return Result.UNPROVEN, f"the signal {_SIGNAL} cannot be read: {found.why.value}"
    values = [each.value for each in found if (each.name, each.labels.get("scope")) == ("engaged", scope)]
    if values != [1.0]:
        return Result.FAILED, f"the signal {_SIGNAL} reads {values} for {scope}"
    return Result.NONE, f"no rule is on {_SIGNAL}, so that no alert fires of it; the signal reads 1 for scope {scope}"
