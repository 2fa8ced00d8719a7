"""Samples: the notice that a rule would give, of an incident that never was. It says so in its title and its origin."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from tocsin.core import guard, remedy
from tocsin.core.alert import Alert, Change, State, Trail, Verdict, instance
from tocsin.core.config import Target
from tocsin.core.container import SCOPES, App, Revision
from tocsin.core.fields import Automation
from tocsin.core.labels import alert_labels
from tocsin.core.limits import bound, unit_of
from tocsin.core.message import Kind, Notice
from tocsin.core.notice import compose, story
from tocsin.core.policy import Policy
from tocsin.core.read import Project
from tocsin.core.remedy import Execution, Phase
from tocsin.core.rule import Op, Rule
from tocsin.core.signal import Signal

KINDS = {
    "fired": Kind.FIRED,
    "acted": Kind.ACTED,
    "blind": Kind.BLIND,
    "resolved": Kind.RESOLVED,
    "failed": Kind.FAILED,
}
FIRED = datetime(2026, 11, 20, 3, 5, tzinfo=UTC)
"""When every sample fires: one night, so that the same call gives the same sample."""

POINTS = 20
_MINUTE = timedelta(minutes=1)
_CHANGES = {Kind.FIRED: Change.FIRED, Kind.BLIND: Change.BLIND, Kind.RESOLVED: Change.RESOLVED}


@dataclass(frozen=True, slots=True)
class Sampler:
    """Makes samples of one rule on one target."""

    project: Project
    rule: Rule
    target: Target
    signal: Signal | None

    def notice(self, kind: Kind) -> Notice:
        """Return the sample. Raises LookupError for something done where no policy answers the rule."""
        made = self._done(kind) if kind in (Kind.ACTED, Kind.FAILED) else self._told(kind)
        origin = f"a sample, nothing happened · {made.provenance}"
        return replace(made, title=f"Sample: {made.title}", provenance=origin)

    def _told(self, kind: Kind) -> Notice:
        alert, policies = self._alert(kind), self._policies()
        automation = self.project.config.automation
        modes = [guard.mode_of(each, self.target, automation) for each in policies]
        said = [remedy.promise(each, self.target, mode) for each, mode in zip(policies, modes, strict=True)]
        will = "; ".join(said) or "nothing by itself: no policy answers this rule"
        # What was engaged while it fired stays so when it ends.
        on = kind is Kind.RESOLVED and any(mode is Automation.ACT for mode in modes)
        env = {SCOPES[_scope(policies[0])]: "on"} if on else {}
        serving = Revision(f"{self.target.container_app}--r1", active=True, weight=100, running=True, env=env)
        app = App("sample", "", {}, {}, (serving,))
        return compose(alert, _CHANGES[kind], kind, self.rule, self.target, self.signal, will=will, app=app)

    def _done(self, kind: Kind) -> Notice:
        policies, alert = self._policies(), self._alert(kind)
        if not policies:
            raise LookupError(f"no policy answers the rule '{self.rule.id}' on {self.target.name}: nothing is done")
        begun = remedy.begin(
            policies[0], alert, FIRED + policies[0].on.firing_for, declared=alert_labels(self.rule, self.target)
        )
        done = _proven(begun, policies[0], self.target) if kind is Kind.ACTED else _failed(begun)
        at = (alert.slot or FIRED) + _MINUTE
        return story(done, policies[0], self.rule, self.target, kind, at, alert=alert, signal=self.signal)

    def _policies(self) -> list[Policy]:
        alert = replace(self._alert(Kind.FIRED), state=State.FIRING)
        labels = alert_labels(self.rule, self.target, alert.by)
        return remedy.answering(self.project.policies, self.rule, alert, labels)

    def _alert(self, kind: Kind) -> Alert:
        slot = FIRED if kind is Kind.FIRED else FIRED + 10 * _MINUTE
        if kind is Kind.RESOLVED:
            slot = FIRED + max(self.rule.keep_firing_for, 10 * _MINUTE) + 10 * self.rule.every
        known = slot - self.rule.blind_after if kind is Kind.BLIND else slot
        trail = self._trail(known, over=kind is Kind.RESOLVED)
        return Alert(
            self.rule.id,
            self.target.name,
            instance({name: self._value(name) for name in self.rule.when.by}),
            State.INACTIVE if kind is Kind.RESOLVED else State.FIRING,
            slot,
            FIRED,
            last=Verdict.UNKNOWN if kind is Kind.BLIND else Verdict.BREACHED,
            known=known,
            fired=FIRED,
            value=trail[-1][1] if trail else None,
            reason="telemetry: the query timed out" if kind is Kind.BLIND else "",
            trail=trail,
        )

    def _value(self, name: str) -> str:
        """Return a value of a dimension: one that the rule names, or one that nobody takes for real."""
        return next(iter(self.rule.when.only.get(name, ())), f"sample-{name.replace('_', '-')}")

    def _trail(self, end: datetime, *, over: bool) -> Trail:
        values = course(self.rule, unit_of(self.rule, self.signal), over=over)
        return tuple((end - (POINTS - 1 - number) * self.rule.every, value) for number, value in enumerate(values))


def course(rule: Rule, unit: str, *, over: bool) -> list[float]:
    """Return values that end just past the rule's limit, or back where they are usual; none where none is held."""
    limit = rule.when.burn_rate.pairs[0][2] if rule.when.burn_rate else bound(rule)
    if limit is None:
        return []
    bad = -1.0 if rule.when.limit and rule.when.limit[0] in (Op.BELOW, Op.AT_MOST) else 1.0
    share = unit == "ratio" and 0 <= limit < 1 and not rule.when.change
    step = 0.15 * abs(limit) or (1.0 if unit == "count" else 0.02)
    step = min(step, (1 - limit) / 2) if share and bad > 0 else step
    made = (limit + bad * step * (height + 0.3 * math.sin(1.7 * number)) for number, height in _heights(over))
    kept = [max(0.0, value) if limit >= 0 else value for value in made]
    kept = [min(1.0, value) for value in kept] if share else kept
    return [_whole(value, limit, bad) if unit == "count" else float(f"{value:.3g}") for value in kept]


def _heights(over: bool) -> Iterable[tuple[int, float]]:
    """Return how many steps past the limit each value is: usual, rising, bad; and usual again."""
    usual, bad = -4.0, 1.2
    shape = [usual] * 3 + [-2.0, 0.5] + [bad] * 7 + [0.5, -2.0] + [usual] * 6 if over else []
    return enumerate(shape or [usual] * 9 + [-3.0, -1.5, -0.5] + [0.6] * 3 + [bad] * 5)


def _whole(value: float, limit: float, bad: float) -> float:
    """Return a whole number on the same side of the limit."""
    if (value - limit) * bad <= 0:
        return float(round(value))
    past = math.floor(limit) + 1 if bad > 0 else math.ceil(limit) - 1
    return float(max(round(value), past) if bad > 0 else max(0, min(round(value), past)))


def _scope(policy: Policy) -> str:
    scope = policy.do[0].args.get("scope", "tools")
    return scope if scope in SCOPES else "tools"


def _proven(begun: Execution, policy: Policy, target: Target) -> Execution:
    checks = [check.container_env or check.signal or "" for check in policy.verify]
    at = FIRED + policy.on.firing_for + _MINUTE
    seen = "; ".join(f"{name} seen at {at + number * _MINUTE:%H:%M:%S}" for number, name in enumerate(checks))
    app = target.container_app
    return replace(
        begun.moved(Phase.VERIFIED, seen, applied=at, passed=tuple((name, at) for name in checks)),
        before=f"{app}--r1",
        after=f"{app}--r2",
    )


def _failed(begun: Execution) -> Execution:
    return begun.moved(Phase.FAILED, "no permission: Microsoft.App/containerApps/write")
