"""Tables and rules: whether rows of the target arrive, how late, and which rules can never fire for want of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from tocsin.core.answer import NoAnswer, Rows
from tocsin.core.config import Target
from tocsin.core.fields import AUTO, Severity
from tocsin.core.policy import Policy
from tocsin.core.rule import Rule
from tocsin.core.schedule import selects, settled
from tocsin.core.signal import Signal
from tocsin.core.units import spell
from tocsin.diagnosing import naming
from tocsin.diagnosing.finding import Finding, State, bad, good
from tocsin.diagnosing.wiring import Blind, Sighted, blind, of_target

ALIVE = "AppTraces"
"""The table that every accelerator writes: without it hardly anything is seen."""

_PAGES = (Severity.P0, Severity.P1)


def tables(
    target: Target, found: Mapping[str, Rows | NoAnswer], lags: Mapping[str, float | None], now: datetime
) -> Iterator[Finding]:
    """Yield for each table whether the target's rows are in it, how old the newest is and how late they came."""
    for table, answer in found.items():
        about = f"{target.name}: {table}"
        if isinstance(answer, NoAnswer):
            said = f"{answer.why.value}: {answer.detail}"
            yield bad("tables", about, State.UNKNOWN, "workspace-unanswered", said)
        elif not answer.columns:
            state = State.ERROR if table == ALIVE else State.WARNING
            yield bad("tables", about, state, "table-missing", f"the workspace knows no {table}")
        else:
            wrong = naming.trouble(target, about, answer) if table == ALIVE else None
            yield wrong or _table(target, table, of_target(target, answer), lags.get(table), now)


def _table(target: Target, table: str, own: list[dict[str, Any]], lag: float | None, now: datetime) -> Finding:
    about = f"{target.name}: {table}"
    if not own:
        return bad("tables", about, State.WARNING, "table-missing", f"no row of {target.name} in 30 days")
    age = now - own[0]["newest"]
    late = (
        f"; rows take {lag:.0f} s to arrive at worst (95%)" if lag is not None else "; how late they come is not known"
    )
    called = f"; {naming.calls_itself(own)}" if table == ALIVE else ""
    count = sum(row["events"] for row in own)
    words = f"{count} rows in 30 days, the newest {spell(max(age, timedelta()))} ago{late}{called}"
    if table == ALIVE and age > target.fresh_within:
        return bad("tables", about, State.WARNING, "telemetry-silent", words)
    waits = settled(target, target.offset)
    if lag is not None and target.offset != AUTO and timedelta(seconds=lag) > waits:
        return bad("tables", about, State.WARNING, "late-telemetry", f"{words}; windows wait {spell(waits)}")
    return good("tables", about, words)


def never_firing(
    target: Target, rules: Iterable[Rule], signals: Mapping[str, Signal], seen: Sighted
) -> Iterator[Finding]:
    """Yield the rules that can never fire on the target; of those that page it is an error. One finding if all can."""
    rules = list(rules)
    lost = [each for rule in rules if (each := blind(rule, signals.get(rule.when.signal or ""), target, seen))]
    for each in sorted(lost, key=lambda one: (one.rule.severity, one.rule.id)):
        yield _never(target, each)
    if not lost:
        yield good("rules", target.name, f"each of {len(rules)} rules sees what it needs")


def left_out(target: Target, rules: Iterable[Rule], policies: Iterable[Policy]) -> Iterator[Finding]:
    """Yield which rules and policies do not look at the target, by its labels; nothing if all do.

    Of a policy only labels that the target has are compared: any other may be one of a rule.
    """
    wanted = [(rule.id, rule.targets) for rule in rules if not selects(rule, target)]
    for policy in policies:
        others = {name: each for name, each in policy.on.labels.items() if target.labels.get(name, each) != each}
        wanted += [(policy.id, others)] if others else []
    if wanted:
        named = ", ".join(f"{name} ({_pairs(labels)})" for name, labels in wanted)
        yield good("rules", f"{target.name}: left out", f"by its labels ({_pairs(target.labels)}): {named}")


def _pairs(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in labels.items())


def _never(target: Target, lost: Blind) -> Finding:
    about = f"{target.name}: {lost.rule.id}"
    rank = lost.rule.severity.value
    if not lost.known:
        return bad("rules", about, State.UNKNOWN, "workspace-unanswered", f"whether it ({rank}) can fire: {lost.why}")
    state = State.ERROR if lost.rule.severity in _PAGES else State.WARNING
    how = f"To wire it: {lost.how}." if lost.how else ""
    return bad("rules", about, state, "rule-cannot-fire", f"it ({rank}) can never fire: {lost.why}", how)
