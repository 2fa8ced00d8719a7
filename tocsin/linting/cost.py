"""A warning about rules that ask more than the workspace is allowed to be asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from tocsin.core.compile import Ask, compile_logs, windows
from tocsin.core.config import Target
from tocsin.core.errors import Problem
from tocsin.core.fuse import fuse
from tocsin.core.node import Node
from tocsin.core.read import Project
from tocsin.core.rule import Rule
from tocsin.core.schedule import newest_slot, selects
from tocsin.core.signal import Logs, Signal

Signals = Mapping[str, Signal]


def lint(project: Project, node: Node, signals: Signals, now: datetime) -> Iterator[Problem]:
    """Yield a warning when a minute in which every rule is due takes more queries than are allowed."""
    cost = {target.name: queries(project, target, signals, now) for target in project.config.targets}
    budgets = project.config.budgets
    if sum(cost.values()) > budgets.queries_per_minute:
        dearest = max(cost, key=lambda name: cost[name])
        words = (
            f"a minute in which every rule is due takes {sum(cost.values())} queries, and {budgets.queries_per_minute} "
            f"are allowed (most on {dearest}: {cost[dearest]}): the least severe rules will be looked at late"
        )
        place = node.at("budgets", "queries_per_minute") if node.get("budgets") else node.key("targets") or node
        yield place.warning("over-budget", words)


def queries(project: Project, target: Target, signals: Signals, now: datetime) -> int:
    """Return how many queries all rules of a target take when all are due, and what tells whether it is fresh."""
    rules = [rule for rule in project.rules if rule.enabled and selects(rule, target)]
    asks = [ask for rule in rules for ask in _asks(rule, target, signals, now)]
    return len(fuse(dict(enumerate(asks)), target)) + 1 if asks else 0


def _asks(rule: Rule, target: Target, signals: Signals, now: datetime) -> Iterator[Ask]:
    signal = signals.get(rule.when.signal or "")
    spans = windows(rule, [newest_slot(rule.every, rule.every * 0, now)])
    for source in signal.asked(rule.when.only) if signal else (None,):
        if source is None or isinstance(source, Logs):
            try:
                yield from compile_logs(rule, signal, source, target, spans)
            except (ValueError, KeyError):
                return  # what cannot be asked costs nothing, and is told elsewhere
