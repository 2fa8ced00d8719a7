"""Where things lie in the table: partitions and rows, of letters that a key may have."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tocsin.core import audit
from tocsin.core.alert import Alert
from tocsin.core.audit import Record
from tocsin.core.instance import key_of
from tocsin.core.message import Delivery
from tocsin.core.remedy import Execution
from tocsin.core.unreadable import digest
from tocsin.stores.codec import dump
from tocsin.stores.rows import Row

ACTING = "acting"
"""The one partition of executions and audit."""

ALERT, PART, OUT, EXECUTION, AUDIT = "alert", "member", "out", "execution", "audit"
"""Kinds of rows, and how their keys begin. A part sorts before messages: it is read without them."""


def partition(rule: str, target: str) -> str:
    """Return the partition of a rule on a target."""
    return f"alerts|{target}|{rule}"


def kept(kind: str, key: str) -> str:
    """Return the partition of a kept value; of no key, what those of its kind begin with."""
    return f"kept|{kind}|{digest(key)[:40] if key else ''}"


def kept_body(key: str, text: str) -> str:
    """Return what the head of a kept value holds: its key, and the value's text."""
    return json.dumps({"key": key, "value": text}, ensure_ascii=False)


def part_row(key: str, text: str) -> Row:
    """Return a part of a kept value as a row."""
    return Row(f"{PART}|{digest(key)}", text, PART)


def mark(target: str) -> str:
    """Return the partition of a target's mark."""
    return f"mark|{target}"


def lock_body(owner: str, until: float) -> str:
    """Return what the head of a lock holds."""
    return json.dumps({"owner": owner, "until": until})


def lock(name: str) -> str:
    """Return the partition of a lock."""
    return f"lock|{digest(name)[:32]}"


def alert_row(alert: Alert) -> Row:
    """Return an alert as a row."""
    return Row(alert_key(alert), dump(alert), ALERT)


def alert_key(alert: Alert) -> str:
    """Return the row of an alert in its partition."""
    return f"{ALERT}|{digest(key_of(alert.by))}"


def out_key(identity: str) -> str:
    """Return the row of a message, wherever it lies."""
    return f"{OUT}|{digest(identity)}"


def out_row(delivery: Delivery) -> Row:
    """Return a message as a row."""
    return Row(out_key(delivery.id), dump(delivery), OUT, delivery.state.value)


def execution_row(execution: Execution) -> Row:
    """Return an execution as a row."""
    return Row(execution_key(execution.id), dump(execution), EXECUTION)


def execution_key(identity: str) -> str:
    """Return the row of an execution."""
    return f"{EXECUTION}|{digest(identity)}"


def audit_key(sequence: int) -> str:
    """Return the row of an audit record."""
    return f"{AUDIT}|{sequence:012}"


def audit_rows(since: int, most: int | None) -> tuple[str, str]:
    """Return the bounds, half open, of the audit rows after ``since``: their places have no gaps."""
    return audit_key(since + 1), f"{AUDIT}~" if most is None else audit_key(since + most + 1)


def chained(entries: Sequence[Record], newest: str) -> tuple[list[Row], str]:
    """Return audit rows that continue the chain, and the head's text that names its new end: as it is without any."""
    if not entries:
        return [], newest
    last: dict[str, Any] = json.loads(newest) if newest else {"sequence": 0, "hash": audit.START}
    rows = []
    for entry in entries:
        body = audit.chained(entry, last["sequence"] + 1, last["hash"])
        rows.append(Row(audit_key(body["sequence"]), audit.canonical(body), AUDIT))
        last = {"sequence": body["sequence"], "hash": body["hash"]}
    return rows, json.dumps(last)
