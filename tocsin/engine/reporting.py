"""What becomes of an execution is saved, recorded in the audit and told, in one transaction each time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from tocsin.core import lost
from tocsin.core.alert import Alert
from tocsin.core.audit import Record
from tocsin.core.evidence import step
from tocsin.core.fields import Severity
from tocsin.core.message import NEWS, Delivery, Kind, labels_of, outbox
from tocsin.core.native import NATIVE
from tocsin.core.notice import story
from tocsin.core.policy import Policy
from tocsin.core.read import Project
from tocsin.core.remedy import Execution
from tocsin.core.route import ends
from tocsin.core.rule import Rule
from tocsin.core.signal import Signal
from tocsin.engine.standing import audience
from tocsin.ports import Log, Store, Tally


@dataclass(frozen=True, slots=True)
class Reporter:
    """Saves executions together with their audit record and their news."""

    project: Project
    store: Store
    signals: Mapping[str, Signal]
    log: Log
    tally: Tally

    def save(self, execution: Execution, entry: Record, deliveries: Iterable[Delivery] = ()) -> None:
        """Save an execution's next version. Raises ``Conflict`` when another writer was first."""
        self.store.record(execution, [entry], deliveries)
        self.log.info("execution", id=execution.id, phase=execution.state, reason=execution.reason)
        self.tally.count("actions", target=execution.target, action=execution.action, outcome=entry.event)

    def saved(self, execution: Execution, event: str, now: datetime, kind: Kind | None = None) -> int:
        """Save an execution under the name of what happened, told as ``kind``; return 1 for it has changed."""
        self.save(execution, step(event, execution, now), self.news(execution, kind, now) if kind else ())
        return 1

    def news(self, execution: Execution, kind: Kind, now: datetime) -> list[Delivery]:
        """Return what the routes hear of it, and of a failure whoever the policy names."""
        target = next((each for each in self.project.config.targets if each.name == execution.target), None)
        if target is None:
            return []
        rule = self.rule(execution.episode.split("/")[0]) or lost.lost_rule(execution)
        rule = self.project.held_to(rule, target.name)
        policy = self.policy(execution.policy) or lost.lost_policy(execution)
        alert = self.alert(execution)
        over, signal = alert is None or not alert.open, self.signals.get(rule.when.signal or "")
        notice = story(execution, policy, rule, target, kind, now, over=over, alert=alert, signal=signal)
        names = [NEWS]
        if kind is Kind.FAILED and policy.if_it_fails:
            names += self._escalated(policy.if_it_fails.escalate, labels_of(notice))
        return outbox(notice, names, now)

    def _escalated(self, name: str, labels: Mapping[str, str]) -> tuple[str, ...]:
        """Return the receiver of a name; for a severity, whoever hears of such an alert."""
        if name in self.project.config.receivers or name not in set(Severity):
            return (name,)
        tree = audience(self.project.config).tree
        return tuple(dict.fromkeys(to for node in ends(tree, {**labels, "severity": name}) for to in node.to))

    def rule(self, name: str) -> Rule | None:
        """Return the rule of that name, as it is now."""
        return next((rule for rule in (*self.project.rules, *NATIVE) if rule.id == name), None)

    def policy(self, name: str) -> Policy | None:
        """Return the policy of that name, as it is now."""
        return next((policy for policy in self.project.policies if policy.id == name), None)

    def alert(self, execution: Execution) -> Alert | None:
        """Return the alert that an execution is about, while it is open."""
        of = execution.episode  # asked of the alerts alone that it can be about: another may be what fails
        mine = (each for each in self.store.open_alerts() if of.startswith(f"{each.rule}/{each.target}/"))
        return next((each for each in mine if each.episode == of), None)
