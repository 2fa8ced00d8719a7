"""Acting: an execution advances tick by tick — intent recorded, then applied, then read back from the world.

A crash between any two writes leaves an execution that says how far it came; the next tick reads the world and goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from tocsin.core import guard, remedy
from tocsin.core.alert import Alert, Verdict
from tocsin.core.audit import Record
from tocsin.core.config import Target
from tocsin.core.fields import Automation
from tocsin.core.guard import Answer, Case, Ruling
from tocsin.core.message import NEWS, Delivery, Kind, outbox
from tocsin.core.mute import Silence, silencer
from tocsin.core.native import NATIVE
from tocsin.core.notice import story
from tocsin.core.policy import Policy
from tocsin.core.read import Project
from tocsin.core.remedy import Applied, Did, Execution, Phase
from tocsin.core.rule import Rule
from tocsin.core.text import scrub
from tocsin.engine.counting import SILENT
from tocsin.engine.verifying import Verifier
from tocsin.ports import Actuator, Conflict, Log, Store, StoreUnavailable, Tally

APPLY_WITHIN = timedelta(minutes=15)
"""How long a recorded intent may wait for a busy platform before a person is called."""

_LOCK = timedelta(minutes=2)


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
    """How much later than ``now`` it has become: locks are held by the clock, whatever the tick's instant is."""
    tally: Tally = SILENT

    def act(self, now: datetime, targets: Sequence[Target]) -> int:
        """Advance every execution of ``targets`` as far as it can come now; return how many changed."""
        known = {target.name: self._lagging(target) for target in targets}
        alerts = [alert for alert in self.store.open_alerts() if alert.open and alert.target in known]
        under_way = [each for each in self.store.executions() if each.phase.acting and each.target in known]
        changed = sum(self._safely(self._consider, alert, known[alert.target], now) for alert in alerts)
        return changed + sum(self._safely(self._resume, each, known[each.target], now) for each in under_way)

    def _lagging(self, target: Target) -> Target:
        """Return the target with the lag that was measured, by which verdicts are as old as they may be."""
        lag = self.store.mark(target.name).lag
        return target if lag is None else target.model_copy(update={"lag": lag})

    def _safely(self, step: Any, subject: Any, target: Target, now: datetime) -> int:
        """One execution's failure must not keep the others from running; losing a race is no failure."""
        try:
            return int(step(subject, target, now))
        except Conflict as lost:
            self.log.info("another instance was first", what=str(lost))
        except StoreUnavailable:
            raise
        except Exception as error:
            self.log.error("acting failed", target=target.name, error=type(error).__name__)
        return 0

    # Deciding

    def _consider(self, alert: Alert, target: Target, now: datetime) -> int:
        rule = self._rule(alert.rule)
        if rule is None:
            return 0
        labels = labels_of(alert, rule, target)
        answering = [policy for policy in self.project.policies if remedy.answers(policy, rule, alert, labels)]
        return sum(self._rule_on(policy, rule, alert, target, now) for policy in answering)

    def _rule_on(self, policy: Policy, rule: Rule, alert: Alert, target: Target, now: datetime) -> int:
        stored = self.store.execution(remedy.identity(policy, alert))
        if stored and (stored.phase.acting or stored.phase.over):
            return 0
        answer = guard.permit(self._case(policy, rule, alert, target, now))
        before = stored or remedy.begin(policy, alert, now)
        if answer.ruling is Ruling.PERMIT:
            intended = before.moved(Phase.INTENDED, answer.reason, intended=now, stopped_by="")
            self._save(intended, _ruling(intended, alert, answer, policy, now))
            self._apply(intended, target, now)
            return 1
        if before.stopped_by == answer.check:
            return 0
        held = before.moved(_HELD[answer.ruling], answer.reason, stopped_by=answer.check)
        self._save(held, _ruling(held, alert, answer, policy, now), self._tell_held(held, answer, now))
        return 1

    def _case(self, policy: Policy, rule: Rule, alert: Alert, target: Target, now: datetime) -> Case:
        config = self.project.config
        history = self.store.executions()
        budget, released = config.budgets.actions_per_hour, self._released(target)
        silenced = self._silenced(labels_of(alert, rule, target), now)
        return Case(policy, rule, alert, target, config.automation, history, budget, now, released, silenced)

    def _silenced(self, labels: Mapping[str, str], now: datetime) -> str:
        written = [each.silence(number) for number, each in enumerate(self.project.config.silences)]
        stored = [each.value for each in self.store.kept(Silence).values()]
        found = silencer([each for each in (*written, *stored) if each.actions], labels, now)
        return f"silenced by {found.author}, actions too: {found.comment}" if found else ""

    def _released(self, target: Target) -> datetime | None:
        """Return when a person last released a switch of the target, or set out to."""
        by_person = (
            entry["at"]
            for entry in reversed(self.store.audit())
            if entry["target"] == target.name
            and entry["actor"].startswith("person ")
            and entry["event"].startswith("release ")
        )
        newest = next(by_person, None)
        return datetime.fromisoformat(newest) if newest else None

    # Doing

    def _resume(self, execution: Execution, target: Target, now: datetime) -> int:
        if execution.phase is Phase.APPLIED:
            return self._verify(execution, target, now)
        return self._resume_intent(execution, target, now)

    def _resume_intent(self, execution: Execution, target: Target, now: datetime) -> int:
        """An intent without an outcome: a busy platform, or a crash. What is still wanted is applied, else let go."""
        policy, alert = self._policy(execution.policy), self._alert(execution)
        rule = self._rule(alert.rule) if alert else None
        if execution.intended and now - execution.intended > APPLY_WITHIN:
            return self._too_late(execution, target, now)
        if policy and rule and alert:
            answer = guard.permit(self._case(policy, rule, alert, target, now))
            if answer.ruling is Ruling.PERMIT:
                return self._apply(execution, target, now)
            if alert.last is Verdict.UNKNOWN:
                return 0
            reason = answer.reason
        else:
            reason = "its policy, rule or alert is gone"
        return self._let_go(execution, target, reason, now)

    def _too_late(self, execution: Execution, target: Target, now: datetime) -> int:
        """Call a person, unless the change had been sent before a crash: then it stands and is verified."""
        holds = self.actuators[execution.action].holds(target, execution.args)
        if holds:
            return self._found_applied(execution, now)
        unsure = "" if holds is False else "; whether it was made cannot be read now"
        return self._give_up(execution, f"not applied within {APPLY_WITHIN.seconds // 60} minutes{unsure}", now)

    def _let_go(self, execution: Execution, target: Target, reason: str, now: datetime) -> int:
        """Nothing more is wanted: but if the change had been sent before a crash, it stands and is verified."""
        holds = self.actuators[execution.action].holds(target, execution.args)
        if holds is None:
            return 0
        if holds:
            return self._found_applied(execution, now)
        stopped = execution.moved(Phase.STOOD_DOWN, reason, ended=now)
        self._save(stopped, _record("stood down", stopped, now))
        return 1

    def _found_applied(self, execution: Execution, now: datetime) -> int:
        applied = execution.moved(Phase.APPLIED, "found applied after a restart", applied=now)
        self._save(applied, _record("applied", applied, now))
        return 1

    def _apply(self, execution: Execution, target: Target, now: datetime) -> int:
        with self._alone(target, now) as mine:
            if not mine:
                return 0
            outcome = self.actuators[execution.action].apply(target, execution.args)
        return self._outcome(execution, outcome, now)

    def _outcome(self, execution: Execution, outcome: Applied, now: datetime) -> int:
        if outcome.did is Did.FAILED:
            return self._give_up(execution, outcome.detail, now)
        if outcome.did is Did.BUSY:
            waiting = execution.moved(Phase.INTENDED, outcome.detail, attempts=execution.attempts + 1)
            self._save(waiting, _record("busy", waiting, now))
            return 1
        applied = execution.moved(
            Phase.APPLIED,
            outcome.detail,
            applied=now,
            before=outcome.before,
            after=outcome.after,
            operation=outcome.operation,
        )
        self._save(applied, _record("applied", applied, now), self._tell(applied, Kind.ACTED, now))
        return 1

    # Proving

    def _verify(self, execution: Execution, target: Target, now: datetime) -> int:
        policy = self._policy(execution.policy)
        checks = policy.verify if policy else ()
        found = self.verifier.look(execution, checks, target, now)
        if found.again and policy:
            self._finish(execution, policy, target, now)
        if found.missing is None:
            done = execution.moved(Phase.VERIFIED, found.words, ended=now, passed=found.passed)
            self._save(done, _record("verified", done, now), self._tell(done, Kind.ACTED, now))
            return 1
        if found.late:
            failed = execution.moved(Phase.UNVERIFIED, found.words, ended=now, passed=found.passed)
            self._save(failed, _record("unverified", failed, now), self._tell(failed, Kind.FAILED, now))
            return 1
        if found.passed == execution.passed:
            return 0
        further = execution.moved(Phase.APPLIED, found.words, passed=found.passed)
        self._save(further, _record("check passed", further, now))
        return 1

    def _finish(self, execution: Execution, policy: Policy, target: Target, now: datetime) -> None:
        """Apply once more what the platform has not finished by itself, unless somebody has switched that off."""
        may = guard.mode_of(policy, target, self.project.config.automation) is Automation.ACT
        if not (may and execution.action in target.allow):
            return
        with self._alone(target, now) as mine:
            if not mine:
                return
            self.store.record(None, [_record("finishing", execution, now)])
            outcome = self.actuators[execution.action].apply(target, execution.args)
        if outcome.did is not Did.ALREADY:
            said = execution.moved(execution.phase, outcome.detail)
            self.store.record(None, [_record(f"finishing {outcome.did.value}", said, now)])

    @contextmanager
    def _alone(self, target: Target, now: datetime) -> Iterator[bool]:
        """Hold the target's lock while the block runs, or say that another does."""
        name = f"act/{target.name}"
        mine = self.store.lock(name, self.owner, now + self.elapsed(), _LOCK)
        try:
            yield mine
        finally:
            if mine:
                self.store.unlock(name, self.owner)

    def _give_up(self, execution: Execution, reason: str, now: datetime) -> int:
        failed = execution.moved(Phase.FAILED, reason, ended=now)
        self._save(failed, _record("failed", failed, now), self._tell(failed, Kind.FAILED, now))
        return 1

    # Saving and telling

    def _save(self, execution: Execution, entry: Record, deliveries: Iterable[Delivery] = ()) -> None:
        self.store.record(execution, [entry], deliveries)
        self.log.info("execution", id=execution.id, phase=execution.phase.value, reason=execution.reason)
        self.tally.count("actions", target=execution.target, action=execution.action, outcome=entry.event)

    def _tell_held(self, execution: Execution, answer: Answer, now: datetime) -> list[Delivery]:
        """Tell what is only noted or asked, and what was promised and is refused: the page said it would be done."""
        if execution.phase in (Phase.ASKED, Phase.OBSERVED):
            return self._tell(execution, Kind.ACTED, now)
        broken = answer.check in guard.BREAKS_A_PROMISE and answer.passed(*guard.DUE)
        return self._tell(execution, Kind.FAILED, now) if broken else []

    def _tell(self, execution: Execution, kind: Kind, now: datetime) -> list[Delivery]:
        target = next((each for each in self.project.config.targets if each.name == execution.target), None)
        if target is None:
            return []
        rule = self._rule(execution.episode.split("/")[0]) or remedy.lost_rule(execution)
        rule = self.project.held_to(rule, target.name)
        policy = self._policy(execution.policy) or remedy.lost_policy(execution)
        alert = self._alert(execution)
        over, signal = alert is None or not alert.open, self.verifier.signals.get(rule.when.signal or "")
        notice = story(execution, policy, rule, target, kind, now, over=over, alert=alert, signal=signal)
        if alert is not None:
            by = {scrub(name, 60): scrub(value) for name, value in alert.by}
            notice = replace(notice, labels={**notice.labels, **by})
        names = [NEWS]
        if kind is Kind.FAILED and policy.if_it_fails:
            names.append(policy.if_it_fails.escalate)
        return outbox(notice, names, now)

    # Looking up

    def _rule(self, name: str) -> Rule | None:
        return next((rule for rule in (*self.project.rules, *NATIVE) if rule.id == name), None)

    def _policy(self, name: str) -> Policy | None:
        return next((policy for policy in self.project.policies if policy.id == name), None)

    def _alert(self, execution: Execution) -> Alert | None:
        return next((each for each in self.store.open_alerts() if each.episode == execution.episode), None)


_HELD = {Ruling.REFUSE: Phase.REFUSED, Ruling.ASK: Phase.ASKED, Ruling.OBSERVE: Phase.OBSERVED}


def labels_of(alert: Alert, rule: Rule, target: Target) -> dict[str, str]:
    """Return everything a route or a policy can match on; the alert's own facts cannot be overridden by labels."""
    own = {"rule": rule.id, "severity": rule.severity.value, "target": target.name}
    return {**target.labels, **rule.labels, **dict(alert.by), **own}


def _record(event: str, execution: Execution, now: datetime) -> Record:
    detail = {
        "episode": execution.episode,
        "action": execution.action,
        **{f"arg.{key}": value for key, value in execution.args.items()},
        "reason": execution.reason,
        "before": execution.before,
        "after": execution.after,
    }
    kept = {key: value for key, value in detail.items() if value}
    return Record(now, f"policy {execution.policy}", event, execution.target, execution.id, kept)


def _ruling(execution: Execution, alert: Alert, answer: Answer, policy: Policy, now: datetime) -> Record:
    event = "intended" if execution.phase is Phase.INTENDED else execution.phase.value
    entry = _record(event, execution, now)
    checks = {f"check.{check.name}": check.words for check in answer.checks}
    evidence = {
        "value": f"{alert.value}",
        "verdict": alert.last.value,
        "slot": f"{alert.slot}",
        "policy file": policy.file,
    }
    return Record(now, entry.actor, event, entry.target, entry.subject, {**entry.detail, **checks, **evidence})
