"""``tocsin actions``, ``approve`` and ``decline``: what policies do and ask, and a person's word on it."""

from __future__ import annotations

from pathlib import Path

from tocsin.app import App
from tocsin.cli.author import author
from tocsin.cli.output import Exit, Output, console, emit_json, say, stop, table
from tocsin.cli.project import load_app
from tocsin.core.remedy import Execution, Phase
from tocsin.engine import consenting
from tocsin.engine.consenting import Over
from tocsin.ports import Conflict, StoreUnavailable


def show(root: Path | None, *, every: bool, output: Output) -> None:
    """List executions, newest last: those asked or under way, or all; exit 3 when the state does not answer."""
    found = [each for each in _executions(load_app(root)) if every or each.phase is Phase.ASKED or each.phase.acting]
    if output is Output.JSON:
        emit_json([_document(each) for each in found])
        return
    cells = [[_begun(each), each.id, each.target, each.action, each.state, each.reason] for each in found]
    console().print(table("actions", ["since", "execution", "target", "action", "phase", "why"], cells))


def decide(identity: str, verb: str, root: Path | None, output: Output) -> None:
    """Approve or decline what an execution asks; exit 2 when it asks nothing, 3 when the state does not answer."""
    app = load_app(root)
    asking = [each for each in _executions(app) if each.phase is Phase.ASKED]
    execution = next((each for each in asking if each.id == identity), None)
    if execution is None:
        stop(
            Exit.USAGE, f"nothing is asked by '{identity}'; asked: {', '.join(each.id for each in asking) or 'nothing'}"
        )
    by, reporter, now = author(), app.engine.reporter, app.clock.now()
    try:
        word = consenting.consent if verb == "approve" else consenting.decline
        decided = word(reporter, execution.asks, by, now)
    except Over as over:
        stop(Exit.USAGE, f"nothing was decided: {over}")
    except (Conflict, StoreUnavailable) as error:
        stop(Exit.NO_ANSWER, f"nothing was decided: {error}")
    if output is Output.JSON:
        emit_json(_document(decided))
    else:
        then = "the next tick acts on it if the guard still permits" if verb == "approve" else "it is not done"
        say(f"{identity}: {decided.reason}; {then}")


def _executions(app: App) -> list[Execution]:
    try:
        return app.engine.store.executions()
    except StoreUnavailable as error:
        stop(Exit.NO_ANSWER, f"the state does not answer: {error}")


def _begun(each: Execution) -> str:
    return f"{each.begun:%Y-%m-%d %H:%M}" if each.begun else ""


def _document(each: Execution) -> dict[str, object]:
    steps = [{"action": step.action, "args": dict(step.args), "name": step.name} for step in each.plan]
    when = {name: at.isoformat() for name, at in (("begun", each.begun), ("ended", each.ended)) if at}
    told = {"id": each.id, "policy": each.policy, "target": each.target, "episode": each.episode, "steps": steps}
    return {**told, "phase": each.phase.value, "state": each.state, "reason": each.reason, **when}
