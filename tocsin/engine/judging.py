"""Judging: what the guard is shown, gathered from the store, the configuration and, last, the world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import compress

from tocsin.core import container, guard, price, remedy
from tocsin.core.alert import Alert, State, Verdict
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.config import Target
from tocsin.core.container import DEPLOYING, SCOPES, App
from tocsin.core.failing import Subject
from tocsin.core.fields import Automation
from tocsin.core.guard import Answer, Case, Ruling, World
from tocsin.core.labels import alert_labels
from tocsin.core.mute import Silence, silencer
from tocsin.core.policy import Policy
from tocsin.core.remedy import CONSENT_HOLDS, Change, Execution, Phase
from tocsin.core.rule import Rule
from tocsin.core.unreadable import lost, lost_executions
from tocsin.engine import standing, storms
from tocsin.engine.failing import Failures
from tocsin.engine.recalling import released
from tocsin.engine.reporting import Reporter
from tocsin.ports import Actuator, Configuration, Telemetry


@dataclass(frozen=True, slots=True)
class Judge:
    """Asks the guard about a policy and an alert."""

    reporter: Reporter
    actuators: Mapping[str, Actuator]
    configuration: Configuration
    telemetry: Telemetry
    failures: Failures = field(default_factory=Failures)

    def rule_on(
        self, policy: Policy, rule: Rule, alert: Alert, target: Target, now: datetime, stored: Execution
    ) -> Answer:
        """Rule by what is known; the world is read only where nothing that is known stands in the way."""
        case = self._case(policy, rule, alert, target, now, stored)
        if stored.phase is Phase.ASKED and stored.stopped_by == guard.PRICE:  # what was said when it was asked stands
            case = replace(case, world=World(None, beware=stored.reason))
        answer = guard.permit(case)
        waiting = (
            answer.ruling is Ruling.ASK and stored.phase is Phase.ASKED and stored.action not in remedy.LAST_RESORT
        )
        # If only limits refuse it, the world is read once, before anybody is notified of the refusal.
        told = stored.stopped_by.startswith(answer.check)
        if waiting or (answer.ruling is Ruling.REFUSE and (told or not guard.limited(answer))):
            return answer
        world = replace(self._world(stored, target, case), beware=self._beware(stored, target, now))
        return guard.permit(replace(case, world=world))

    def still(self, execution: Execution, target: Target, now: datetime) -> Answer | None:
        """Return the answer on going on with what was begun; None while nobody can tell."""
        if execution.by:
            return Answer(Ruling.PERMIT, f"ordered by {execution.by}", ())
        policy, alert = self.reporter.policy(execution.policy), self.reporter.alert(execution)
        rule = self.reporter.rule(alert.rule) if alert else None
        if self._lost("execution" if alert else "alert", target):
            return None
        if not (policy and rule and alert):
            return Answer(Ruling.REFUSE, "its policy, rule or alert is gone", ())
        case = self._case(policy, rule, alert, target, now, _as_consented(execution, now))
        if execution.action in remedy.LAST_RESORT:  # the switch may have come to serve while the platform was busy
            case = replace(case, world=self._world(execution, target, case))
        answer = guard.permit(case)
        return None if answer.ruling is not Ruling.PERMIT and alert.last is Verdict.UNKNOWN else answer

    def _lost(self, what: str, target: Target) -> bool:
        """Return whether a stored alert or execution cannot be read that may be about the target."""
        return bool(lost(self.reporter.store.unreadable(), what, target.name))

    def _history(self, target: Target, now: datetime) -> list[Execution]:
        """Return every execution; one that cannot be read counts as under way, for the limits and for its target."""
        found = self.reporter.store.executions()
        return [*found, *lost_executions(self.reporter.store.unreadable(), target.name, now)]

    def _world(self, execution: Execution, target: Target, case: Case) -> World:
        actuator = self.actuators[execution.action]
        already = actuator.holds(remedy.order(execution, target)) if actuator.readable else None
        app = self.configuration.read(target) if target.container_app else None
        if isinstance(app, NoAnswer):
            return World(already, None)
        state = app.provisioning if app else ""
        serves = _serves(app, case) if app and execution.action in remedy.LAST_RESORT else ""
        return World(
            already, state if state in DEPLOYING else "", stopped=app is not None and app.stopped, serves=serves
        )

    def _beware(self, execution: Execution, target: Target, now: datetime) -> str:
        """Return why the cost of a model that would be swapped to may not be seen, or an empty text."""
        model = execution.args.get("to", "") if execution.action == "model.swap" else ""
        if not model:
            return ""
        query, broken = price.calls(target, model, now), NoAnswer(Why.BROKEN, "the adapter failed")
        of = Subject("telemetry", target=target.name)
        return price.beware(model, self.failures.attempt(of, lambda: self.telemetry.ask(query, target), broken))

    def _case(self, policy: Policy, rule: Rule, alert: Alert, target: Target, now: datetime, stored: Execution) -> Case:
        config, history = self.reporter.project.config, self._history(target, now)
        return Case(
            policy,
            rule,
            alert,
            target,
            config.automation,
            history,
            config.budgets.actions_per_hour,
            now,
            released(self.reporter.store, target.name, alert.fired),
            self._silenced(alert_labels(rule, target, alert.by), now),
            len(config.targets),
            len({*self._wanted(history, now).values(), self._change(stored)}),
            config.budgets.actions_at_once,
            stored,
        )

    def _wanted(self, history: Sequence[Execution], now: datetime) -> dict[str, Change | str]:
        """Return what policies want at this time or have begun just now, on whatever target, by the execution's id."""
        of = lambda each: Subject("execution", each.id, each.target)  # noqa: E731
        over = self.failures.each(history, of, lambda each: each.phase.over, False)
        recent = self.failures.each(history, of, lambda each: _recent(each, now), True)  # rather one too many
        ended = {each.id for each in compress(history, over)}
        changes = self.failures.each(history, of, self._change, "")
        begun = {each.id: change or each.id for each, change in compress(zip(history, changes, strict=True), recent)}
        wanted: dict[str, Change | str] = {}
        for alert in self.reporter.store.open_alerts():
            subject = Subject("alert", alert.rule, alert.target)
            wanted |= self.failures.attempt(subject, partial(self._wanted_for, alert, now), {})
        return {name: changes for name, changes in wanted.items() if name not in ended} | begun

    def _wanted_for(self, alert: Alert, now: datetime) -> dict[str, Change | str]:
        """Return what policies want by themselves for one alert."""
        targets = {target.name: target for target in self.reporter.project.config.targets}
        rule, target = self.reporter.rule(alert.rule), targets.get(alert.target)
        if rule is None or target is None or alert.state is not State.FIRING or alert.last is not Verdict.BREACHED:
            return {}
        labels, declared = alert_labels(rule, target, alert.by), alert_labels(rule, target)

        def wants(policy: Policy) -> Execution | None:
            due = remedy.answers(policy, rule, alert, labels) and alert.held >= policy.on.firing_for
            mode = guard.mode_of(policy, target, self.reporter.project.config.automation)
            return remedy.begin(policy, alert, now, declared=declared) if due and mode is Automation.ACT else None

        of = lambda policy: Subject("policy", f"{policy.id} for {alert.rule}", target.name)  # noqa: E731
        found = self.failures.each(self.reporter.project.policies, of, wants, None)
        return {each.id: self._change(each) for each in found if each is not None}

    def _change(self, execution: Execution) -> Change | str:
        """Return what several executions do but once: what can be read back. Of anything else each does its own."""
        known = [self.actuators.get(action) for action in execution.actions]
        return execution.changes if all(each is not None and each.readable for each in known) else execution.id

    def _silenced(self, labels: Mapping[str, str], now: datetime) -> str:
        silences = standing.silences(self.reporter.project.config, self.reporter.store, now)
        if any(each.what == Silence.__name__ for each in self.reporter.store.unreadable()):
            return "perhaps silenced: a stored silence cannot be read"
        found = silencer([each for each in silences if each.actions], labels, now)
        return f"silenced by {found.author}, actions too: {found.comment}" if found else ""


def _serves(app: App, case: Case) -> str:
    """Return the switch that was not proven on what serves and is by now; one that was, and did not help, is none."""
    failed = guard.failed_engage(case.history, case.alert.episode)
    variable = SCOPES.get(failed.args.get("scope", "")) if failed else None
    if failed is None or variable is None or failed.check_passed(variable):
        return ""
    return variable if container.verify(app, variable, True).holds else ""


def _as_consented(execution: Execution, now: datetime) -> Execution:
    """Consent to the whole holds while its steps follow each other: what was begun with it is not left half done.

    After a gap in which nobody went on with it, longer than its step may take, a person decides again.
    """
    given, begun = execution.consent, execution.first_intended
    if given is None or begun is None or begun < given.at:
        return execution
    moved = max(at for at in (begun, execution.intended, execution.applied) if at)
    if now - moved > max(CONSENT_HOLDS, execution.planned.within):
        return execution
    return replace(execution, consent=replace(given, at=now))


def _recent(execution: Execution, now: datetime) -> bool:
    begun = execution.first_intended
    return begun is not None and now - begun < storms.SPAN and not execution.by and not execution.found_so
