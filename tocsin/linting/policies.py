"""Warnings about policies that will never do anything, though they look as if they would."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from tocsin.core.config import Target
from tocsin.core.errors import Problem
from tocsin.core.fields import Automation
from tocsin.core.native import NATIVE
from tocsin.core.node import Node
from tocsin.core.policy import Policy, Step
from tocsin.core.read import Project
from tocsin.core.remedy import means
from tocsin.core.rule import Rule
from tocsin.core.schedule import asleep, selects


def lint(policy: Policy, node: Node, project: Project, now: datetime) -> Iterator[Problem]:
    """Yield why an enabled policy will not act."""
    if not policy.enabled:
        return
    meant = [rule for rule in (*project.rules, *NATIVE) if _answered(policy, rule)]
    awake = [rule for rule in meant if not _quiet(rule, project, now)]
    if meant and not awake:
        reasons = "; ".join(f"{rule.id} {_quiet(rule, project, now)}" for rule in meant)
        place = node.at("on", "rule") if policy.on.rule else node.at("on")
        yield place.warning("policy-never-acts", f"no alert will ask for it: {reasons}")
    elif not meant and policy.on.rule is None:
        yield node.at("on").warning("policy-never-acts", "no rule has this severity and these labels")
    elif awake:
        yield from _allowed(policy, node, awake, project)


def rivals(policies: Sequence[tuple[Policy, Node]], project: Project) -> Iterator[Problem]:
    """Yield each policy that does to the same alerts what an earlier one does: both would act."""
    rules, seen = (*project.rules, *NATIVE), list[Policy]()
    for policy, node in policies:
        if not policy.enabled or policy.guard.mode in (Automation.OFF, Automation.OBSERVE):
            continue
        for other in seen:
            both = next((rule.id for rule in rules if _answered(policy, rule) and _answered(other, rule)), "")
            same = [step.action for step in policy.do if any(_alike(step, each) for each in other.do)]
            if both and same and _meet(policy, other):
                words = f"{other.id} does {same[0]} for {both}, too: both would act"
                yield node.at("on").warning("same-action", words)
        seen.append(policy)


def _alike(one: Step, other: Step) -> bool:
    return one.action == other.action and one.args == other.args


def _meet(one: Policy, other: Policy) -> bool:
    """Return whether an alert can have the labels that both ask for."""
    return all(other.on.labels.get(name, value) == value for name, value in one.on.labels.items())


def _answered(policy: Policy, rule: Rule) -> bool:
    """Return whether alerts of a rule can be meant; labels that only the target or telemetry gives may be."""
    on = policy.on
    given = on.rule or all(rule.labels.get(name, value) == value for name, value in on.labels.items())
    return means(on, rule) and bool(given)


def _quiet(rule: Rule, project: Project, now: datetime) -> str:
    """Return why a rule cannot fire now, in words that follow its name; empty when it can."""
    if why := asleep(rule, now):
        return f"is {why}"
    targets = project.config.targets
    if rule not in NATIVE and targets and not any(selects(rule, each) for each in targets):
        return "watches no target"
    return ""


def _allowed(policy: Policy, node: Node, rules: list[Rule], project: Project) -> Iterator[Problem]:
    """An action has to be allowed on one at least of the targets whose alerts the policy answers."""
    targets = [each for each in project.config.targets if any(rule in NATIVE or selects(rule, each) for rule in rules)]
    for number, step in enumerate(policy.do):
        if targets and not any(_may(each, step.action) for each in targets):
            place = node.at("do", number).key(step.action) or node.at("do", number)
            names = ", ".join(each.name for each in targets[:5])
            words = f"no target allows {step.action} where this policy is asked for: {names}"
            yield place.warning("action-never-allowed", words, "list it under the target's `allow`")


def _may(target: Target, action: str) -> bool:
    return action in target.allow and target.automation is not Automation.OFF
