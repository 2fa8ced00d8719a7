"""Acting: an execution advances tick by tick — intent recorded, then applied, then read back from the world."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import compress
from typing import TypeVar

from tocsin.core import guard, remedy
from tocsin.core.action import Takes
from tocsin.core.alert import Alert
from tocsin.core.audit import Record
from tocsin.core.config import Target
from tocsin.core.evidence import decided
from tocsin.core.failing import Subject
from tocsin.core.guard import Answer, Ruling
from tocsin.core.labels import alert_labels
from tocsin.core.message import Delivery, Kind
from tocsin.core.policy import Policy
from tocsin.core.read import Project
from tocsin.core.remedy import Execution, Phase
from tocsin.core.rule import Rule
from tocsin.engine import storms, switches
from tocsin.engine.carrying import Carrier
from tocsin.engine.counting import SILENT
from tocsin.engine.failing import Failures
from tocsin.engine.judging import Judge
from tocsin.engine.reporting import Reporter
from tocsin.engine.verifying import Verifier
from tocsin.ports import Actuator, Log, Store, Tally

T = TypeVar("T", Alert, Execution)

PATIENCE = timedelta(minutes=5)
"""How long a deployment may keep a policy from acting before somebody is told of it."""

_TOLD = ", told"
_ONCE = timedelta(hours=1)
"""How often the same refusal of the same alert is told, in however many episodes."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Carries out policies. ``owner`` names this process for the per-target locks."""

    project: Project
    store: Store
    actuators: Mapping[str, Actuator]
    verifier: Verifier
    log: Log
    owner: str
    elapsed: Callable[[], timedelta] = timedelta
    tally: Tally = SILENT
    failures: Failures = field(default_factory=Failures)
    takes: Mapping[str, Takes] = field(default_factory=dict)

    @property
    def reporter(self) -> Reporter:
        """What saves and tells."""
        return Reporter(self.project, self.store, self.verifier.signals, self.log, self.tally)

    @property
    def _judge(self) -> Judge:
        return Judge(self.reporter, self.actuators, self.verifier.configuration, self.verifier.telemetry, self.failures)

    @property
    def _carrier(self) -> Carrier:
        return Carrier(self.store, self.actuators, self.verifier, self.reporter, self.owner, self.elapsed, self.takes)

    def act(self, now: datetime, targets: Sequence[Target]) -> int:
        """Advance every execution of ``targets`` as far as it can come now; return how many changed."""
        found = self.failures.each(targets, lambda each: Subject("acting", target=each.name), self._lagging, None)
        known = {target.name: target for target in found if target is not None}
        for target in known.values():
            subject = Subject("switches", target=target.name)
            self.failures.attempt(subject, partial(self._look_for_releases, target, now), 0)
        alerts = self._fit(self.store.open_alerts(), "alert", lambda alert: alert.open and alert.target in known)
        executions = self._fit(self.store.executions(), "execution", lambda each: each.target in known)
        under_way = self._fit(executions, "execution", lambda each: each.phase.acting)
        self.failures.unreadable(self.store.unreadable())
        changed = sum(self._alone(self._consider, alert, known[alert.target], now) for alert in alerts)
        episodes = {alert.episode for alert in self._fit(alerts, "alert", lambda alert: bool(alert.episode))}

        failed = [each.subject for each in self.failures.failed if each.subject.what == "alert"]
        unclear = tuple(f"{each.name}/{each.target}/" for each in failed)
        lost = [each for each in self.store.unreadable() if each.what == "alert"]

        def lapses(one: Execution) -> bool:
            over = one.episode not in episodes and not one.episode.startswith(unclear)
            over = over and not any(each.may_be_about(one.target) for each in lost)
            return one.phase.waiting and one.consent is not None and over

        late = self._fit(executions, "execution", lapses)
        changed += sum(self._safely(self._lapse, each, known[each.target], now) for each in late)
        return changed + sum(self._safely(self._resume, each, known[each.target], now) for each in under_way)

    def _fit(self, items: Sequence[T], what: str, asked: Callable[[T], bool]) -> list[T]:
        """Return the items of which something holds; one that cannot be asked is none of them."""
        of = lambda each: Subject(what, str(getattr(each, "rule", "") or getattr(each, "id", "")), each.target)  # noqa: E731
        return list(compress(items, self.failures.each(items, of, asked, False)))

    def _alone(self, step: Callable[[Alert, Target, datetime], int], alert: Alert, of: Target, at: datetime) -> int:
        """One alert's failure must not keep the others from being acted on."""
        return self.failures.attempt(Subject("alert", alert.rule, of.name), lambda: step(alert, of, at), 0)

    def _lagging(self, target: Target) -> Target:
        """Return the target with the lag that was measured, by which verdicts are as old as they may be."""
        lag = self.store.mark(target.name).lag
        return target if lag is None else target.model_copy(update={"lag": lag})

    def _safely(
        self, step: Callable[[Execution, Target, datetime], int], one: Execution, of: Target, at: datetime
    ) -> int:
        """One execution's failure must not keep the others from running."""
        return self.failures.attempt(Subject("execution", one.id, of.name), lambda: step(one, of, at), 0)

    def _look_for_releases(self, target: Target, now: datetime) -> int:
        return switches.look_for_releases(self.store, self.verifier.configuration, target, now)

    # Deciding

    def _consider(self, alert: Alert, target: Target, now: datetime) -> int:
        """Rule on each policy that answers the alert, each by itself."""
        changed = 0
        for policy in self.project.policies:
            subject = Subject("policy", f"{policy.id} for {alert.rule}", target.name)
            changed += self.failures.attempt(subject, partial(self._answer, policy, alert, target, now), 0)
        return changed

    def _answer(self, policy: Policy, alert: Alert, target: Target, now: datetime) -> int:
        rule = self.reporter.rule(alert.rule)
        if rule is None or not remedy.answers(policy, rule, alert, alert_labels(rule, target, alert.by)):
            return 0
        return self._rule_on(policy, rule, alert, target, now)

    def _rule_on(self, policy: Policy, rule: Rule, alert: Alert, target: Target, now: datetime) -> int:
        stored, number = self._newest(policy, alert)
        if remedy.goes_on(policy, alert, stored):
            stored, number = None, number + 1
        if stored and (stored.phase.acting or stored.phase.over):
            return 0
        before = as_planned(stored, remedy.begin(policy, alert, now, number, alert_labels(rule, target)))
        answer = self._judge.rule_on(policy, rule, alert, target, now, before)
        if answer.check == guard.NOT_DUE and stored is None:
            return 0
        if answer.ruling is not Ruling.PERMIT:
            return self._hold_back(before, alert, answer, policy, rule, target, now)
        intended = self._intend(policy, rule, alert, target, now, before)
        return 1 + self._carrier.apply(intended, target, now) if intended else 0

    def _newest(self, policy: Policy, alert: Alert) -> tuple[Execution | None, int]:
        """Return the policy's newest execution of the episode, if any, and its number."""
        newest, number = self.store.execution(remedy.identity(policy, alert)), 1
        while policy.hold and (later := self.store.execution(remedy.identity(policy, alert, number + 1))):
            newest, number = later, number + 1
        return newest, number

    def _intend(
        self, policy: Policy, rule: Rule, alert: Alert, target: Target, now: datetime, before: Execution
    ) -> Execution | None:
        """Record the intent, alone among all who decide: two at once must not use up one allowance both."""
        with self._carrier.alone("deciding", now) as mine:
            if not mine:
                return None
            answer = self._judge.rule_on(policy, rule, alert, target, now, before)
            if answer.ruling is not Ruling.PERMIT:
                return None
            intended = before.moved(Phase.INTENDED, answer.reason, intended=now, stopped_by="", stopped=None)
            self.reporter.save(intended, self._decision(intended, alert, answer, policy, rule, target, now))
        return intended

    def _lapse(self, execution: Execution, _: Target, now: datetime) -> int:
        """The alert ended before what somebody consented to could be done: they are told, as the page promised."""
        ended = execution.moved(Phase.STOOD_DOWN, "its alert has ended: it is not needed any more", ended=now)
        return self.reporter.saved(ended, "stood down", now, Kind.ACTED)

    def _hold_back(
        self, before: Execution, alert: Alert, answer: Answer, policy: Policy, rule: Rule, target: Target, now: datetime
    ) -> int:
        """Record what stands in the way, once; a deployment that goes on and on is told of."""
        phase = _HELD[answer.ruling]
        lapsed = phase is Phase.ASKED and before.consent is not None and before.consent.lapsed(now)
        was = (before.phase, before.stopped_by.removesuffix(_TOLD))
        same = before.version > 0 and was == (phase, answer.check) and not lapsed
        waited = same and answer.check == guard.DEPLOYING and before.stopped and now - before.stopped >= PATIENCE
        if same and (not waited or before.stopped_by.endswith(_TOLD)):
            return 0
        since = before.stopped if same else now
        held = before.moved(phase, answer.reason, stopped_by=answer.check, stopped=since)
        held = replace(held, consent=None if lapsed else held.consent, stormy=held.stormy or guard.in_storm(answer))
        news = self._tell_held(held, answer, now, waited=bool(waited))
        if phase is Phase.REFUSED and news:
            held = replace(held, stopped_by=answer.check + _TOLD)
        entry = self._decision(held, alert, answer, policy, rule, target, now)
        if lapsed and before.consent:
            unused = f"of {before.consent.by} at {before.consent.at:%Y-%m-%d %H:%M:%S} UTC, expired unused"
            entry = replace(entry, detail={**entry.detail, "consent": unused})
        self.reporter.save(held, entry, news)
        if answer.check == guard.STORM:
            storms.page(self.store, held, answer.reason, now)
        return 1

    def _tell_held(self, execution: Execution, answer: Answer, now: datetime, *, waited: bool) -> list[Delivery]:
        """Tell what is only noted or asked, and what was promised and is refused: by a message, or by a page."""
        if execution.phase in (Phase.ASKED, Phase.OBSERVED):
            return self.reporter.news(execution, Kind.ACTED, now)
        broken = answer.check in guard.BREAKS_A_PROMISE and answer.passed(*guard.DUE)
        broken = broken and not self._told_lately(execution, now)
        broken = broken or (execution.consent is not None and answer.check not in guard.PASSING)
        return self.reporter.news(execution, Kind.FAILED, now) if broken or waited else []

    def _told_lately(self, execution: Execution, now: datetime) -> bool:
        """Whether the same refusal of the same alert was told within the hour, though in another episode."""
        whose = (execution.policy, execution.episode.rpartition("/")[0], execution.stopped_by + _TOLD)
        return any(
            (each.policy, each.episode.rpartition("/")[0], each.stopped_by) == whose and now - each.stopped < _ONCE
            for each in self.store.executions()
            if each.stopped and each.id != execution.id
        )

    def _decision(
        self,
        execution: Execution,
        alert: Alert,
        answer: Answer,
        policy: Policy,
        rule: Rule,
        target: Target,
        now: datetime,
    ) -> Record:
        signal = self.verifier.signals.get(rule.when.signal or "")
        return decided(execution, alert, answer, policy, rule, target, signal, self.project.digests, now)

    # Going on

    def _resume(self, execution: Execution, target: Target, now: datetime) -> int:
        if execution.phase is Phase.UNDOING:
            return self._carrier.undo(execution, target, now)
        if execution.phase is Phase.INTENDED:
            return self._resume_intent(execution, target, now)
        found = self._carrier.look(execution, target, now)
        if found.missing is not None:
            return self._carrier.unproven(execution, found, target, now)
        if execution.last_step:
            return self._carrier.verified(execution, found, now)
        return self._go_on(execution, found.words, target, now)

    def _go_on(self, execution: Execution, words: str, target: Target, now: datetime) -> int:
        """Begin the next step, as the first: only what is still permitted, and only once the intent is recorded."""
        answer = self._judge.still(execution, target, now)
        if answer is None:
            return 0
        if answer.ruling is not Ruling.PERMIT:
            stopped = execution.moved(Phase.STOOD_DOWN, f"{words}; not gone on with: {answer.reason}", ended=now)
            return self.reporter.saved(stopped, "stood down", now, Kind.ACTED)
        further = execution.next_step(words, now)
        self.reporter.saved(further, "intended", now)
        return 1 + self._carrier.apply(further, target, now)

    def _resume_intent(self, execution: Execution, target: Target, now: datetime) -> int:
        """An intent without an outcome: a busy platform, or a crash. Whoever is at it now holds the lock."""
        with self._carrier.holding(execution, now) as mine:
            return self._resume_alone(execution, target, now) if mine else 0

    def _resume_alone(self, execution: Execution, target: Target, now: datetime) -> int:
        """What is still wanted is applied, else let go; but what may have been sent and cannot be read never again."""
        if execution.intended and now - execution.intended > execution.planned.within:
            return self._carrier.too_late(execution, target, now)
        if execution.sending:
            return 0
        answer = self._judge.still(execution, target, now)
        if answer is None:
            return 0
        if answer.ruling is not Ruling.PERMIT:
            return self._carrier.let_go(execution, target, answer, now)
        return self._carrier.attempt(execution, target, now, resumed=True)


_HELD = {Ruling.REFUSE: Phase.REFUSED, Ruling.ASK: Phase.ASKED, Ruling.OBSERVE: Phase.OBSERVED}


def as_planned(stored: Execution | None, new: Execution) -> Execution:
    """Return the execution as stored, or with the plan as it is now and without the consent to another."""
    if stored is None or stored.plan == new.plan:
        return stored or new
    return replace(stored, plan=new.plan, action=new.action, args=new.args, consent=None, stopped_by="")
