"""``tocsin alerts``: what is pending, firing or recovering, and what came of it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from tocsin.cli.acknowledging import handle
from tocsin.cli.output import Exit, Output, console, emit_json, say, stop, table
from tocsin.cli.project import load_app
from tocsin.core.alert import Alert, State
from tocsin.core.instance import shown
from tocsin.core.message import NEWS, Delivery
from tocsin.core.remedy import Execution
from tocsin.core.units import spell
from tocsin.diagnosing.running import DEAD_AFTER
from tocsin.ports import StoreUnavailable


def run(root: Path | None, output: Output) -> None:
    """List the alerts, and say when nobody has looked lately; exit 3 when the state cannot be read."""
    app = load_app(root)
    store = app.engine.store
    try:
        beat, alerts, told, acts = (
            store.last_beat(),
            store.open_alerts(),
            [each for each in store.deliveries(1000) if each.receiver != NEWS],
            store.executions(),
        )
    except StoreUnavailable as error:
        stop(Exit.NO_ANSWER, str(error))
    rows = [_row(alert, told, acts) for alert in alerts if alert.state is not State.INACTIVE]
    if stale := _stale(beat, app.clock.now()):
        say(f"tocsin: {stale}", err=True)
    if output is Output.JSON:
        emit_json(rows)
    elif not rows:
        console().print("nothing is pending, firing or recovering")
    else:
        columns = ["state", "alert", "by", "since", "value", "told", "done"]
        shown = [{**row, "since": row["since"][:16].replace("T", " "), "value": _figure(row["value"])} for row in rows]
        console().print(table("", columns, [[row[column] for column in columns] for row in shown], whole=2))
        console().print("take one on: tocsin ack ALERT; why it is as it is: tocsin explain ALERT")


def _stale(beat: datetime | None, now: datetime) -> str:
    """Return why the list says nothing of now; nothing where a tick has ended lately. An empty list is no calm then."""
    if beat is None:
        return "no tick has ended in this store, so that nothing is known; `tocsin doctor` says which store it is"
    ago = now - beat
    return f"the last tick ended {spell(ago)} ago: nothing newer is known" if ago >= DEAD_AFTER else ""


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _row(alert: Alert, told: list[Delivery], acts: list[Execution]) -> dict[str, Any]:
    mine = [each for each in told if alert.episode and each.notice.episode == alert.episode]
    done = [each for each in acts if alert.episode and each.episode == alert.episode]
    return {
        "state": alert.state.value,
        "alert": handle(alert),
        "rule": alert.rule,
        "target": alert.target,
        "by": ", ".join(f"{key}={value}" for key, value in shown(alert.by).items()) or "-",
        "since": alert.since.isoformat() if alert.since else "",
        "value": alert.value,
        "episode": alert.episode,
        "verdict": alert.last.value,
        "reason": alert.reason,
        "told": ", ".join(f"{each.receiver} {each.notice.kind} ({each.state})" for each in mine) or "-",
        "done": ", ".join(f"{each.policy}: {each.state} ({each.reason})" for each in done) or "-",
    }
