"""``tocsin silence``: what nobody wants to hear of for a while; what there is, and what one would have hidden."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import typer

from tocsin.app import App
from tocsin.cli.acknowledging import duration
from tocsin.cli.author import author as by
from tocsin.cli.output import Exit, Output, console, emit_json, say, stop, table
from tocsin.cli.project import load_app
from tocsin.core import matching
from tocsin.core.errors import render_line
from tocsin.core.matching import Matcher, accepted, one_of, spelled
from tocsin.core.message import NEWS, Delivery, always_told, labels_of
from tocsin.core.mute import FOREVER, Silence, active
from tocsin.core.node import Node
from tocsin.core.selecting import all_names
from tocsin.core.units import spell
from tocsin.engine import personal
from tocsin.linting.telling import hidden_p0
from tocsin.ports import Conflict, StoreUnavailable

_LOOKED_BACK = timedelta(days=1)
_NEWEST = 10_000


def add(
    match: Sequence[str],
    matcher: Sequence[str],
    *,
    for_: str,
    author: str,
    comment: str,
    yes: bool,
    root: Path | None,
    output: Output,
) -> None:
    """Keep a silence; exit 2 when it says too little or is not confirmed, 3 when the state does not answer.

    One that hides a P0, or is long, asks first unless ``yes`` says that it is meant.
    """
    matchers, length = matchers_of(match, matcher), duration(for_)
    if not comment.strip():
        stop(Exit.USAGE, "--comment must say why")
    app = load_app(root)
    _known(matchers, app)
    _sure(yes=yes, doubts=_doubts(matchers, length, app))
    now, who = app.clock.now(), by(author)
    wanted = Silence(secrets.token_hex(4), matchers, who.name, comment, now, now + length)
    with _answering():
        made = personal.silence(app.engine.store, wanted, who, now)
    if output is Output.JSON:
        emit_json(_row(made, now))
    else:
        say(f"{made.id}: {spelled(made.matchers)} is silenced until {made.ends:%Y-%m-%d %H:%M} UTC")


_LONG = timedelta(days=7)
"""A silence that is longer is a rule that should be changed."""


def _known(matchers: Sequence[Matcher], app: App) -> None:
    """Exit 2 for a matcher that names a label, a rule, a target or a severity that is not there."""
    project = app.engine.project
    broken = {Path(each.path).stem for each in project.problems if each.path.startswith("rules/")}
    names = all_names(project.config, project.rules, broken)
    for each in matchers:
        for problem in names.matcher(each, Node("", 1, 1, "")):
            stop(Exit.USAGE, render_line(problem))


def _doubts(matchers: Sequence[Matcher], length: timedelta, app: App) -> list[str]:
    hidden = hidden_p0(app.engine.project, matchers)
    doubts = [f"it hides {hidden}, whose severity is P0"] if hidden else []
    return doubts + ([f"it lasts {spell(length)}"] if length > _LONG else [])


def _sure(*, yes: bool, doubts: Sequence[str]) -> None:
    """Ask whether a silence is meant; exit 2 where it is not, or nobody can be asked."""
    if yes or not doubts:
        return
    said = " and ".join(doubts)
    if not sys.stdin.isatty():
        stop(Exit.USAGE, f"nothing is silenced: {said}. Say --yes if it is meant")
    if not typer.confirm(f"This silence: {said}. Is it meant?", err=True):
        stop(Exit.USAGE, "nothing is silenced")


def show(root: Path | None, output: Output) -> None:
    """List the silences of the file and of the store; exit 3 when the state does not answer."""
    app = load_app(root)
    now, config = app.clock.now(), app.engine.project.config
    with _answering():
        stored = [each.value for each in app.engine.store.kept(Silence).values()]
    as_code = [each.silence(number) for number, each in enumerate(config.silences)]
    rows = [_row(each, now) for each in (*as_code, *sorted(stored, key=lambda each: each.starts))]
    if output is Output.JSON:
        emit_json(rows)
    elif not rows:
        console().print("nothing is silenced")
    else:
        columns = ["id", "state", "matchers", "ends", "recurs", "author", "comment"]
        console().print(table("", columns, [[row[column] for column in columns] for row in rows], whole=2))


def expire(identity: str, root: Path | None, output: Output) -> None:
    """End a silence; exit 2 when there is none of that id, 3 when the state does not answer."""
    app = load_app(root)
    now = app.clock.now()
    if identity in [each.silence(number).id for number, each in enumerate(app.engine.project.config.silences)]:
        stop(Exit.USAGE, f"'{identity}' stands in the file: take it out there")
    try:
        with _answering():
            ended = personal.expire(app.engine.store, identity, by(), now)
    except LookupError as error:
        stop(Exit.USAGE, f"{error.args[0]}; see `tocsin silence list`")
    if output is Output.JSON:
        emit_json(_row(ended, now))
    else:
        say(f"{identity}: {spelled(ended.matchers)} is told again")


def preview(match: Sequence[str], matcher: Sequence[str], root: Path | None, output: Output) -> None:
    """Show what would have been hidden; exit 3 when the state does not answer."""
    matchers, app = matchers_of(match, matcher), load_app(root)
    _known(matchers, app)
    with _answering():
        found = hidden(app, matchers, app.clock.now() - _LOOKED_BACK)
    rows = [_told(each) for each in found]
    if output is Output.JSON:
        emit_json({"matchers": spelled(matchers), "hours": 24, "count": len(rows), "notices": rows})
        return
    say(f"{spelled(matchers)}: would have hidden {len(rows)} of the last 24 hours")
    if rows:
        columns = ["at", "kind", "severity", "rule", "target", "title"]
        console().print(table("", columns, [[row[column] for column in columns] for row in rows], whole=3))


def hidden(app: App, matchers: Sequence[Matcher], since: datetime) -> list[Delivery]:
    """Return the news since then that the matchers accept; a failed action is told whatever is silenced."""
    news = (each for each in app.engine.store.deliveries(_NEWEST) if each.receiver == NEWS and each.created >= since)
    return [each for each in news if not always_told(each.notice) and accepted(matchers, labels_of(each.notice))]


def matchers_of(match: Sequence[str], matcher: Sequence[str]) -> tuple[Matcher, ...]:
    """Return what the options say; exit 2 for what is no matcher, or for none at all."""
    try:
        named = [_named(each) for each in match]
        values = {name: [value for other, value in named if other == name] for name, _ in named}
        found = (*(one_of(name, given) for name, given in values.items()), *map(matching.parse, matcher))
    except ValueError as error:
        stop(Exit.USAGE, str(error))
    return found or stop(Exit.USAGE, "say what is meant: --match or --matcher")


def _named(text: str) -> tuple[str, str]:
    """Return the label and the value of one ``--match``. Raises ValueError."""
    name, equals, value = map(str.strip, text.partition("="))
    if not name or not equals or name.endswith("!") or value.startswith("~"):
        raise ValueError(f"--match '{text}' is not like rule=high_error_rate; --matcher takes !=, =~ and !~")
    return name, matching.read_value(name, "=", value)


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (StoreUnavailable, Conflict) as error:
        stop(Exit.NO_ANSWER, str(error))


def _row(silence: Silence, now: datetime) -> dict[str, Any]:
    return {
        "id": silence.id,
        "state": _state(silence, now),
        "matchers": spelled(silence.matchers),
        "starts": silence.starts.astimezone(UTC).isoformat(),
        "ends": silence.ends.isoformat(timespec="minutes") if silence.ends < FOREVER else "",
        "recurs": f"{silence.rule} for {spell(silence.lasts)}, {silence.zone}" if silence.rule else "",
        "author": silence.author,
        "ended_by": silence.ended_by,
        "comment": silence.comment,
    }


def _state(silence: Silence, now: datetime) -> str:
    if active(silence, now):
        return "active"
    if now >= silence.ends:
        return "over"
    return "between" if silence.rule and now >= silence.starts else "to come"


def _told(delivery: Delivery) -> dict[str, Any]:
    notice = delivery.notice
    return {
        "at": notice.at.isoformat(timespec="minutes"),
        "kind": notice.kind.value,
        "severity": notice.severity.value,
        "rule": notice.rule,
        "target": notice.target,
        "episode": notice.episode,
        "title": notice.title,
    }
