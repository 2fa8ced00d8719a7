"""Acting: an execution advances tick by tick — intent recorded, then applied, then read back from the world."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from tocsin.core import guard, remedy
from tocsin.core.alert import Alert, State, Verdict
from tocsin.core.answer import NoAnswer
from tocsin.core.audit import Record
from tocsin.core.config import Target
from tocsin.core.container import DEPLOYING
from tocsin.core.fields import Automation
from tocsin.core.guard import Answer, Case, Ruling, World
from tocsin.core.message import Delivery, Kind
from tocsin.core.mute import Silence, silencer
from tocsin.core.policy import Policy
from tocsin.core.read import Project
from tocsin.core.remedy import Execution, Phase
from tocsin.core.rule import Rule
from tocsin.engine import storms, switches
from tocsin.engine.carrying import Carrier
from tocsin.engine.counting import SILENT
from tocsin.engine.reporting import Reporter, record
from tocsin.engine.verifying import Verifier
from tocsin.ports import Actuator, Conflict, Log, Store, StoreUnavailable, Tally

PATIENCE = timedelta(minutes=5)
"""How long a deployment may keep a policy from acting before somebody is told of it."""

_TOLD = ", told"


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

    @property
    def reporter(self) -> Reporter:
        """What saves and tells."""
        return Reporter(self.project, self.store, self.verifier.signals, self.log, self.tally)

    @property
    def _carrier(self) -> Carrier:
        return Carrier(self.store, self.actuators, self.verifier, self.reporter, self.owner, self.elapsed)

    def act(self, now: datetime, targets: Sequence[Target]) -> int:
        """Advance every execution of ``targets`` as far as it can come now; return how many changed."""
        known = {target.name: self._lagging(target) for target in targets}
        for target in known.values():
            self._safely(self._look_for_releases, None, target, now)
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

    def _look_for_releases(self, _: None, target: Target, now: datetime) -> int:
        return switches.look_for_releases(self.store, self.verifier.configuration, target, now)

    # Deciding

    def _consider(self, alert: Alert, target: Target, now: datetime) -> int:
        rule = self.reporter.rule(alert.rule)
        if rule is None:
            return 0
        labels = labels_of(alert, rule, target)
        answering = [policy for policy in self.project.policies if remedy.answers(policy, rule, alert, labels)]
        return sum(self._rule_on(policy, rule, alert, target, now) for policy in answering)

    def _rule_on(self, policy: Policy, rule: Rule, alert: Alert, target: Target, now: datetime) -> int:
        stored = self.store.execution(remedy.identity(policy, alert))
        if stored and (stored.phase.acting or stored.phase.over):
            return 0
        before = as_planned(stored, remedy.begin(policy, alert, now))
        answer = self._answer(self._case(policy, rule, alert, target, now, before), target)
        if answer.ruling is not Ruling.PERMIT:
            return self._hold_back(before, alert, answer, policy, now)
        intended = self._intend(policy, rule, alert, target, now, before)
        return 1 + self._carrier.apply(intended, target, now) if intended else 0

    def _intend(
        self, policy: Policy, rule: Rule, alert: Alert, target: Target, now: datetime, before: Execution
    ) -> Execution | None:
        """Record the intent, alone among all who decide: two at once must not use up one allowance both."""
        with self._carrier.alone("deciding", now) as mine:
            if not mine:
                return None
            answer = self._answer(self._case(policy, rule, alert, target, now, before), target)
            if answer.ruling is not Ruling.PERMIT:
                return None
            intended = before.moved(Phase.INTENDED, answer.reason, intended=now, stopped_by="", stopped=None)
            self.reporter.save(intended, ruling(intended, alert, answer, policy, now))
        return intended

    def _hold_back(self, before: Execution, alert: Alert, answer: Answer, policy: Policy, now: datetime) -> int:
        """Record what stands in the way, once; a deployment that goes on and on is told of."""
        same = before.version > 0 and before.stopped_by.removesuffix(_TOLD) == answer.check
        waited = same and answer.check == guard.DEPLOYING and before.stopped and now - before.stopped >= PATIENCE
        if same and (not waited or before.stopped_by.endswith(_TOLD)):
            return 0
        stopped_by = answer.check + (_TOLD if waited else "")
        since = before.stopped if same else now
        held = before.moved(_HELD[answer.ruling], answer.reason, stopped_by=stopped_by, stopped=since)
        news = self._tell_held(held, answer, now, waited=bool(waited))
        self.reporter.save(held, ruling(held, alert, answer, policy, now), news)
        if answer.check == guard.STORM:
            storms.page(self.store, held, answer.reason, now)
        return 1

    def _tell_held(self, execution: Execution, answer: Answer, now: datetime, *, waited: bool) -> list[Delivery]:
        """Tell what is only noted or asked, and what was promised and is refused: the page said it would be done."""
        if execution.phase in (Phase.ASKED, Phase.OBSERVED):
            return self.reporter.news(execution, Kind.ACTED, now)
        broken = answer.check in guard.BREAKS_A_PROMISE and answer.passed(*guard.DUE)
        return self.reporter.news(execution, Kind.FAILED, now) if broken or waited else []

    def _answer(self, case: Case, target: Target) -> Answer:
        """Rule by what is known; the world is read only where nothing that is known stands in the way."""
        answer = guard.permit(case)
        waiting = answer.ruling is Ruling.ASK and case.stored is not None and case.stored.phase is Phase.ASKED
        if answer.ruling is Ruling.REFUSE or waiting or case.stored is None:
            return answer
        return guard.permit(replace(case, world=self._world(case.stored, target)))

    def _world(self, execution: Execution, target: Target) -> World:
        actuator = self.actuators[execution.action]
        already = actuator.holds(remedy.order(execution, target)) if actuator.readable else None
        app = self.verifier.configuration.read(target) if target.container_app else None
        known = app is not None and not isinstance(app, NoAnswer)
        state = app.provisioning if known else ""  # type: ignore[union-attr]
        return World(already, state if state in DEPLOYING else "")

    def _case(self, policy: Policy, rule: Rule, alert: Alert, target: Target, now: datetime, stored: Execution) -> Case:
        config, history = self.project.config, self.store.executions()
        return Case(
            policy,
            rule,
            alert,
            target,
            config.automation,
            history,
            config.budgets.actions_per_hour,
            now,
            self._released(target),
            self._silenced(labels_of(alert, rule, target), now),
            len(config.targets),
            len(self._wanted(history, now) | {stored.id}),
            config.budgets.actions_at_once,
            stored,
        )

    def _wanted(self, history: Sequence[Execution], now: datetime) -> set[str]:
        """Return every action that policies want at this time or have begun just now, on whatever target."""
        ended = {each.id for each in history if each.phase.over}
        begun = {
            each.id
            for each in history
            if each.first_intended and now - each.first_intended < storms.SPAN and not each.by
        }
        targets = {target.name: target for target in self.project.config.targets}
        wanted = set()
        for alert in self.store.open_alerts():
            rule, target = self.reporter.rule(alert.rule), targets.get(alert.target)
            if rule is None or target is None or alert.state is not State.FIRING or alert.last is not Verdict.BREACHED:
                continue
            labels = labels_of(alert, rule, target)
            wanted |= {
                remedy.identity(policy, alert)
                for policy in self.project.policies
                if remedy.answers(policy, rule, alert, labels)
                and alert.held >= policy.on.firing_for
                and guard.mode_of(policy, target, self.project.config.automation) is Automation.ACT
            }
        return (wanted - ended) | begun

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
            and (entry["event"].startswith("release ") or entry["detail"].get("action") == "killswitch.release")
        )
        newest = next(by_person, None)
        return datetime.fromisoformat(newest) if newest else None

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
        permitted = self._still_permitted(execution, target, now)
        if permitted is None:
            return 0
        if permitted:
            stopped = execution.moved(Phase.STOOD_DOWN, f"{words}; not gone on with: {permitted}", ended=now)
            return self.reporter.saved(stopped, "stood down", now, Kind.ACTED)
        further = execution.next_step(words, now)
        self.reporter.saved(further, "intended", now)
        return 1 + self._carrier.apply(further, target, now)

    def _resume_intent(self, execution: Execution, target: Target, now: datetime) -> int:
        """An intent without an outcome: a busy platform, or a crash. What is still wanted is applied, else let go."""
        if execution.intended and now - execution.intended > execution.planned.within:
            return self._carrier.too_late(execution, target, now)
        permitted = self._still_permitted(execution, target, now)
        if permitted is None:
            return 0
        if permitted:
            return self._carrier.let_go(execution, target, permitted, now)
        return self._carrier.apply(execution, target, now)

    def _still_permitted(self, execution: Execution, target: Target, now: datetime) -> str | None:
        """Return an empty text while it is still permitted, else why not; None while that cannot be told."""
        if execution.by:
            return ""
        policy, alert = self.reporter.policy(execution.policy), self.reporter.alert(execution)
        rule = self.reporter.rule(alert.rule) if alert else None
        if not (policy and rule and alert):
            return "its policy, rule or alert is gone"
        case = self._case(policy, rule, alert, target, now, execution)
        answer = guard.permit(replace(case, stored=_as_consented(execution, now)))
        if answer.ruling is Ruling.PERMIT:
            return ""
        return None if alert.last is Verdict.UNKNOWN else answer.reason


_HELD = {Ruling.REFUSE: Phase.REFUSED, Ruling.ASK: Phase.ASKED, Ruling.OBSERVE: Phase.OBSERVED}


def as_planned(stored: Execution | None, new: Execution) -> Execution:
    """Return the execution as stored, or with the plan as it is now and without the consent to another."""
    if stored is None or stored.plan == new.plan:
        return stored or new
    return replace(stored, plan=new.plan, action=new.action, args=new.args, consent=None, stopped_by="")


def _as_consented(execution: Execution, now: datetime) -> Execution:
    """Consent to the whole holds until the whole is done: what was begun with it is not left half done."""
    given, begun = execution.consent, execution.first_intended
    if given is None or begun is None or begun < given.at:
        return execution
    return replace(execution, consent=replace(given, at=now))


def labels_of(alert: Alert, rule: Rule, target: Target) -> dict[str, str]:
    """Return everything a route or a policy can match on; the alert's own facts cannot be overridden by labels."""
    own = {"rule": rule.id, "severity": rule.severity.value, "target": target.name}
    return {**target.labels, **rule.labels, **dict(alert.by), **own}


def ruling(execution: Execution, alert: Alert, answer: Answer, policy: Policy, now: datetime) -> Record:
    """Return the audit's record of a decision: every check, and what it was decided on."""
    event = "intended" if execution.phase is Phase.INTENDED else execution.phase.value
    entry = record(event, execution, now)
    checks = {f"check.{check.name}": check.words for check in answer.checks}
    evidence = {
        "value": f"{alert.value}",
        "verdict": alert.last.value,
        "slot": f"{alert.slot}",
        "policy file": policy.file,
    }
    return Record(now, entry.actor, event, entry.target, entry.subject, {**entry.detail, **checks, **evidence})
