"""What is valid, runs, and hardly does what its author meant: warnings about rules, policies and who is told.

Belongs here: pure checks over what was read, each with an id in ``docs/problems.md``. Does not belong here: what keeps
a file from being used (``core.crosscheck``), reading files, and anything that the deployed function needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from tocsin.core.errors import Problem
from tocsin.core.read import Written
from tocsin.core.signal import Signal
from tocsin.linting import cost, policies, queries, rules, runbooks, targets, telling
from tocsin.linting.runbooks import Reader

LINTS: tuple[str, ...] = (
    "value-as-dimension",
    "count-of-rows",
    "unknown-table",
    "unknown-column",
    "unknown-function",
    "missing-column",
    "duplicate-rule",
    "wait-below-turn",
    "window-below-lag",
    "ratio-without-minimum",
    "policy-never-acts",
    "action-never-allowed",
    "unroutable-severity",
    "idle-receiver",
    "hides-a-p0",
    "over-budget",
    "no-runbook",
    "odd-env",
    "odd-workspace",
    "evals-from-the-app",
    "same-action",
)
"""The ids of all of them, which a comment may snooze."""


def lint(
    written: Written,
    signals: Mapping[str, Signal],
    now: datetime,
    *,
    parsed: bool = False,
    pages: Reader | None = None,
) -> tuple[Problem, ...]:
    """Return every warning, by place. ``parsed`` says that a parser has looked at the names in queries already.

    ``pages`` gives the project's documents; without it no runbook is looked for.
    """
    found = list(_found(written, signals, now, parsed))
    if pages is not None:
        found += [each for rule, node in written.rules for each in runbooks.lint(rule, node, pages)]
    return tuple(sorted(found))


def _found(written: Written, signals: Mapping[str, Signal], now: datetime, parsed: bool) -> Iterator[Problem]:
    config = written.project.config
    for rule, node in written.rules:
        signal = signals.get(rule.when.signal or "")
        yield from rules.lint(rule, node, signal, config)
        if rule.when.kql is not None:
            yield from queries.lint(rule, node, written.texts.get(rule.file, ""), parsed)
    yield from rules.duplicates(written.rules, config)
    yield from policies.rivals(written.policies, written.project)
    for policy, node in written.policies:
        yield from policies.lint(policy, node, written.project, now)
    if written.config is not None:
        yield from telling.lint(written.project, written.config, now)
        yield from targets.lint(config, written.config)
        yield from cost.lint(written.project, written.config, signals, now)
