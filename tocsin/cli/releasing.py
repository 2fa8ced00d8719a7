"""``tocsin killswitch release`` and ``gate``: a person releases when the evals allow it, or answers for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from rich.markup import escape

from tocsin.app import App
from tocsin.cli.output import Exit, Output, console, emit_json, say, stop, table
from tocsin.cli.switching import Order, called, carry_out, person, record
from tocsin.core.config import Target
from tocsin.core.container import WHOLE
from tocsin.core.evals import Verdict
from tocsin.core.message import NEWS, Notice, labels_of, outbox
from tocsin.core.route import ends
from tocsin.engine import releasing, standing
from tocsin.ports import StoreUnavailable


def gate(root: Path | None, name: str, scope: str, output: Output) -> None:
    """Show the verdict and every check; exit 1 when a release would be refused."""
    app, target = called(root, name, scope, reason="only looking")
    verdict = _look(app, target, scope)
    if output is Output.JSON:
        emit_json({"target": name, "scope": scope, "gate": verdict.as_dict()})
    else:
        _show(verdict, name)
    if not verdict.green:
        raise typer.Exit(int(Exit.BAD_NEWS.value))


def release(
    root: Path | None, name: str, scope: str, reason: str, *, override: bool, wait: bool, output: Output
) -> None:
    """Release, or with the scope of the whole app start it again.

    Exit 1 when the gate is red and nobody overrides it, or it could not be done or proven.
    """
    app, target = called(root, name, scope, reason)
    if override and (wrong := releasing.weak(reason)):
        stop(Exit.USAGE, wrong)
    verdict = _look(app, target, scope)
    if output is Output.TEXT:
        _show(verdict, name)
    if not verdict.green and not override:
        _refuse(app, target, scope, reason, verdict, output)
    shown: dict[str, Any] = {"gate": verdict.as_dict(), "overridden": not verdict.green}
    if not verdict.green:
        shown["notifies"] = _override(app, target, scope, reason, verdict)
    verb = "start" if scope == WHOLE else "release"
    carry_out(app, Order(target, verb, scope, reason, wait, verdict.evidence(), shown), output)


def _look(app: App, target: Target, scope: str) -> Verdict:
    try:
        return app.gate.look(target, scope, app.clock.now())
    except StoreUnavailable as error:
        stop(Exit.NO_ANSWER, f"nothing was done: the audit does not answer: {error}")


def _refuse(app: App, target: Target, scope: str, reason: str, verdict: Verdict, output: Output) -> None:
    # Not called "release …": by such records policies know that a person has released, and hold themselves back.
    record(app, target, "refused to release", {"scope": scope, "reason": reason, **verdict.evidence()})
    if output is Output.JSON:
        said = {"target": target.name, "verb": "release", "outcome": "refused", "verified": False}
        emit_json({**said, "gate": verdict.as_dict(), "overridden": False})
    failing = ", ".join(check.name for check in verdict.failing)
    whom = ", ".join(_notified(app, _notice(app, target, scope, reason, verdict))) or "nobody: no route takes it"
    words = f"--override releases it all the same, and notifies {whom}"
    stop(Exit.BAD_NEWS, f"{target.name} is not released: {failing}. {words}")


def _notice(app: App, target: Target, scope: str, reason: str, verdict: Verdict) -> Notice:
    return releasing.overridden(target, scope, person(), reason, verdict, app.clock.now())


def _notified(app: App, notice: Notice) -> list[str]:
    """Return the receivers to which the routes lead the notice, each once; no silence hides an override."""
    tree = standing.audience(app.engine.project.config).tree
    return list(dict.fromkeys(name for node in ends(tree, labels_of(notice)) for name in node.to))


def _override(app: App, target: Target, scope: str, reason: str, verdict: Verdict) -> list[str]:
    """Say who is notified of it, record who overrules the gate and have it told before anything is done."""
    notice, now = _notice(app, target, scope, reason, verdict), app.clock.now()
    whom = _notified(app, notice)
    say(f"the gate is overridden; this notifies {', '.join(whom) or 'nobody: no route takes it'}", err=True)
    detail = {"scope": scope, "reason": reason, "notifies": ", ".join(whom), **verdict.evidence()}
    record(app, target, "release overrides the gate", detail, outbox(notice, [NEWS], now))
    return whom


def _show(verdict: Verdict, name: str) -> None:
    rows = [[check.name, "yes" if check.passed else "NO", check.words] for check in verdict.checks]
    where = f", by {verdict.source}" + (f" ({verdict.run})" if verdict.run else "") if verdict.source else ""
    title = f"release of {name}: the gate is {'green' if verdict.green else 'RED'}{where}"
    console().print(table(escape(title), ["check", "passed", "figures"], rows))
