"""What the audit says of an execution: by which files it was decided, on what evidence, and what came of it.

Nothing here is copied from telemetry but numbers: an event's properties are not for a record that is never deleted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from tocsin import __version__
from tocsin.core.alert import Alert
from tocsin.core.audit import Record
from tocsin.core.config import Target
from tocsin.core.guard import Answer
from tocsin.core.limits import bound
from tocsin.core.notice import query_behind
from tocsin.core.policy import Policy
from tocsin.core.remedy import Execution, Phase
from tocsin.core.rule import Rule
from tocsin.core.signal import Signal
from tocsin.core.text import scrub


def step(event: str, execution: Execution, now: datetime) -> Record:
    """Return the record of one step of an execution: what, why, before and after.

    ``correlation`` is the execution's id, by which its records, messages and log lines belong together.
    """
    detail = {
        "correlation": execution.id,
        "episode": execution.episode,
        "action": execution.action,
        "step": execution.planned.name if len(execution.plan) > 1 else "",
        **{f"arg.{key}": value for key, value in execution.args.items()},
        "reason": scrub(execution.reason),
        "before": scrub(execution.before),
        "after": scrub(execution.after),
        "operation": scrub(execution.operation),
        "version": f"{execution.version}",
        "tocsin": __version__,
    }
    kept = {key: value for key, value in detail.items() if value}
    actor = execution.policy if execution.by else f"policy {execution.policy}"
    return Record(now, actor, event, execution.target, execution.id, kept)


def decided(
    execution: Execution,
    alert: Alert,
    answer: Answer,
    policy: Policy,
    rule: Rule,
    target: Target,
    signal: Signal | None,
    digests: Mapping[str, str],
    now: datetime,
) -> Record:
    """Return the record of a decision: every check of the guard, and what the alert was judged by.

    ``digests`` are the starts of the files' SHA-256: the record says by which version of each file it was decided.
    """
    event = "intended" if execution.phase is Phase.INTENDED else execution.phase.value
    record = step(event, execution, now)
    checks = {f"check.{check.name}": scrub(check.words) for check in answer.checks}
    files = {
        "policy": policy.id,
        "policy file": _version(policy.file, digests),
        "rule": rule.id,
        "rule file": _version(rule.file, digests),
    }
    found = {**files, **_judged(alert, rule), **_asked(alert, rule, signal, target)}
    return replace(record, detail={**record.detail, **checks, **{key: value for key, value in found.items() if value}})


def _version(file: str, digests: Mapping[str, str]) -> str:
    known = digests.get(file)
    return f"{file} sha256:{known}" if known else file


def _judged(alert: Alert, rule: Rule) -> dict[str, str]:
    limit = bound(rule)
    return {
        "verdict": alert.last.value,
        "value": "" if alert.value is None else f"{alert.value:.15g}",
        "threshold": "" if limit is None else f"{limit:.15g}",
        "slot": alert.slot.isoformat() if alert.slot else "",
        "fired": alert.fired.isoformat() if alert.fired else "",
    }


def _asked(alert: Alert, rule: Rule, signal: Signal | None, target: Target) -> dict[str, str]:
    """Return what was asked and over which window, half open. The text of the query is found by its hash."""
    asked = {"signal": rule.when.signal or ""}
    if alert.slot is None:
        return asked
    window = f"{(alert.slot - rule.when.over).isoformat()}/{alert.slot.isoformat()}"
    query = query_behind(rule, signal, target, alert.slot)
    hashed = f"sha256:{hashlib.sha256(query.text.encode()).hexdigest()}" if query else ""
    return {**asked, "window": window, "query": hashed}
