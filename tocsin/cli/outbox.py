"""``tocsin deliveries`` and ``tocsin notify test``: what receivers were sent and said, and what one says now."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import typer

from tocsin import __version__
from tocsin.app import App
from tocsin.cli.output import Exit, Output, console, emit_json, say, stop, table
from tocsin.cli.project import load_app
from tocsin.core.fields import Severity
from tocsin.core.message import NEWS, Delivery, Fact, Kind, Notice, Outcome, Said, Settled
from tocsin.ports import StoreUnavailable


def run(*, state: str, receiver: str, news: bool, limit: int, root: Path | None, output: Output) -> None:
    """List messages; exit 2 for a state or receiver there is not, 3 when the state cannot be read."""
    if state and state not in set(Settled):
        stop(Exit.USAGE, f"no state '{state}'; known: {', '.join(Settled)}")
    app = load_app(root)
    try:
        found = app.engine.store.deliveries(limit)
    except StoreUnavailable as error:
        stop(Exit.NO_ANSWER, str(error))
    named = {*app.engine.project.config.receivers, *(each.receiver for each in found)}
    if receiver and receiver not in named:
        stop(Exit.USAGE, f"no receiver '{receiver}'; known: {', '.join(sorted(named - {NEWS})) or 'none'}")
    rows = [row(each) for each in found if _wanted(each, state, receiver, news)]
    if output is Output.JSON:
        emit_json(rows)
    elif not rows:
        console().print("no such message")
    else:
        columns = ["state", "receiver", "kind", "created", "attempts", "next", "said", "title"]
        shown = [{**each, "created": _short(each["created"]), "next": _short(each["next"])} for each in rows]
        console().print(table("", columns, [[each[column] for column in columns] for each in shown], whole=4))


def _short(at: str) -> str:
    """Return a time (UTC) as short as a terminal's line needs it; JSON has all of it."""
    return at[5:16].replace("T", " ") or at


def row(delivery: Delivery) -> dict[str, Any]:
    """Return a message as the commands show it: ``next`` is when it is tried again, ``said`` the receiver's words."""
    waits = delivery.state is Settled.WAITING
    return {
        "state": delivery.state.value,
        "receiver": delivery.receiver,
        "kind": delivery.notice.kind.value,
        "created": delivery.created.isoformat(timespec="seconds"),
        "attempts": delivery.attempts,
        "next": delivery.not_before.isoformat(timespec="seconds") if waits else "-",
        "settled": delivery.settled.isoformat(timespec="seconds") if delivery.settled else None,
        "said": delivery.receipt or "-",
        "fallback": delivery.fallback,
        "episode": delivery.notice.episode,
        "title": delivery.notice.title,
        "id": delivery.id,
    }


def _wanted(delivery: Delivery, state: str, receiver: str, news: bool) -> bool:
    shown = news or receiver == NEWS or delivery.receiver != NEWS
    return shown and state in ("", delivery.state.value) and receiver in ("", delivery.receiver)


def test(name: str, root: Path | None, output: Output) -> None:
    """Send a test and show the answer; exit 1 when it was not taken, 2 when there is no such receiver.

    What it opens in a service that keeps incidents is closed again at once.
    """
    app = load_app(root)
    notice = sample(name, app.clock.now())
    said = _send(app, name, notice)
    closes = said.said is Said.ACCEPTED and not getattr(app.engine.notifiers[name], "together", False)
    closed = _send(app, name, _end(notice)) if closes else None
    if output is Output.JSON:
        emit_json({"receiver": name, "said": said.said, "detail": said.detail, "closed": closed and closed.said})
    else:
        say(f"{name}: {said.said.value}" + (f" ({said.detail})" if said.detail else ""))
        if closed:
            say(f"{name}: closed again: {closed.said.value}" + (f" ({closed.detail})" if closed.detail else ""))
    if any(each.said is not Said.ACCEPTED for each in (said, closed) if each):
        raise typer.Exit(int(Exit.BAD_NEWS.value))


def sample(receiver: str, now: datetime) -> Notice:
    """Return the notice of a test: nobody can take it for an alert."""
    episode = f"tocsin_test/{receiver}/all/{now:%Y%m%dT%H%M%SZ}"
    return Notice(
        id=f"{episode}/fired",
        kind=Kind.FIRED,
        episode=episode,
        rule="tocsin_test",
        target="none",
        severity=Severity.P3,
        at=now,
        title="TEST: a person tries this receiver. Nothing is wrong, nothing is to be done.",
        facts=(Fact("State", "a test"), Fact("Killswitch", "not touched"), Fact("Receiver", receiver)),
        provenance=f"tocsin notify test · tocsin {__version__}",
    )


def _end(notice: Notice) -> Notice:
    return replace(notice, id=f"{notice.episode}/resolved", kind=Kind.RESOLVED, title=f"Over: {notice.title}")


def _send(app: App, name: str, notice: Notice) -> Outcome:
    notifier = app.engine.notifiers.get(name)
    if notifier is None:
        unusable = (each.message for each in app.problems if each.id == "unusable-receiver")
        why = next((each for each in unusable if f"receiver '{name}'" in each), "")
        known = ", ".join(app.engine.project.config.receivers) or "none"
        stop(Exit.USAGE, why or f"no receiver '{name}'; known: {known}")
    try:
        return notifier.deliver(notice)
    except Exception as error:  # as when it is told in earnest: a defect is no answer
        return Outcome(Said.AGAIN, f"the notifier failed: {type(error).__name__}")
