"""``tocsin alerts``: what is pending, firing or recovering, and what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tocsin.cli.output import Exit, Output, console, emit_json, stop, table
from tocsin.cli.project import load_app
from tocsin.core.alert import Alert, State
from tocsin.core.message import NEWS, Delivery
from tocsin.core.remedy import Execution
from tocsin.ports import StoreUnavailable


def run(root: Path | None, output: Output) -> None:
    """List the alerts; exit 3 when the state cannot be read."""
    store = load_app(root).engine.store
    try:
        alerts, told, acts = (
            store.open_alerts(),
            [each for each in store.deliveries(1000) if each.receiver != NEWS],
            store.executions(),
        )
    except StoreUnavailable as error:
        stop(Exit.NO_ANSWER, str(error))
    rows = [_row(alert, told, acts) for alert in alerts if alert.state is not State.INACTIVE]
    if output is Output.JSON:
        emit_json(rows)
    elif not rows:
        console().print("nothing is pending, firing or recovering")
    else:
        columns = ["state", "rule", "target", "by", "since", "value", "told", "done"]
        console().print(table("", columns, [[row[column] for column in columns] for row in rows], whole=3))


def _row(alert: Alert, told: list[Delivery], acts: list[Execution]) -> dict[str, Any]:
    mine = [each for each in told if alert.episode and each.notice.episode == alert.episode]
    done = [each for each in acts if alert.episode and each.episode == alert.episode]
    return {
        "state": alert.state.value,
        "rule": alert.rule,
        "target": alert.target,
        "by": ", ".join(f"{key}={value}" for key, value in alert.by) or "-",
        "since": alert.since.isoformat() if alert.since else "",
        "value": alert.value,
        "episode": alert.episode,
        "verdict": alert.last.value,
        "reason": alert.reason,
        "told": ", ".join(f"{each.receiver} {each.notice.kind} ({each.state})" for each in mine) or "-",
        "done": ", ".join(f"{each.policy}: {each.phase} ({each.reason})" for each in done) or "-",
    }
