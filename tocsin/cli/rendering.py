"""``tocsin render``: what a receiver would be sent for a rule, before anything burns."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

from tocsin import files, notifiers, signals
from tocsin.app import known
from tocsin.cli import picturing
from tocsin.cli.output import Exit, Output, emit_json, json_text, stop
from tocsin.cli.project import find_root, load_settings
from tocsin.cli.sampling import KINDS, Sampler
from tocsin.core.config import Target
from tocsin.core.message import Notice
from tocsin.core.read import Project
from tocsin.core.rule import Rule
from tocsin.core.schedule import selects


def run(
    name: str,
    *,
    receiver: str,
    kind: str,
    target: str,
    picture: Path | None,
    root: Path | None,
    output: Output,
) -> None:
    """Print the payload; with ``picture`` also draw the card. Exit 2 when the call, or what it needs, is not there."""
    project = _project(root)
    type_ = _type(project, receiver)
    if kind not in KINDS:
        stop(Exit.USAGE, f"no kind '{kind}'; known: {', '.join(KINDS)}")
    payload = notifiers.payload(type_, _sample(project, name, target, kind))
    if picture:
        _draw(type_, payload, picture)
    if output is Output.JSON:
        drawn = str(picture) if picture else None
        emit_json({"rule": name, "receiver": type_, "kind": kind, "sample": True, "picture": drawn, "payload": payload})
    else:
        typer.echo(json_text(payload))


def _project(root: Path | None) -> Project:
    folder = find_root(root)
    return files.read_project(folder, load_settings(folder).values, known())


def _type(project: Project, receiver: str) -> str:
    """Return the type of the receiver: it may be named by its type, or as ``tocsin.yaml`` names it."""
    named = project.config.receivers.get(receiver)
    type_ = named.type if named else receiver
    if type_ not in notifiers.known():
        stop(Exit.USAGE, _unknown("receiver", receiver, [*notifiers.known(), *project.config.receivers]))
    return type_


def _sample(project: Project, name: str, target: str, kind: str) -> Notice:
    rule = next((each for each in project.rules if each.id == name), None)
    if rule is None:
        broken = any(Path(problem.path).stem == name for problem in project.problems)
        more = "; its file has problems: tocsin check" if broken else ""
        stop(Exit.USAGE, _unknown("rule", name, [each.id for each in project.rules]) + more)
    signal = signals.known().get(rule.when.signal or "")
    try:
        found = _target(project, rule, target)
        return Sampler(project, project.held_to(rule, found.name), found, signal).notice(KINDS[kind])
    except LookupError as error:
        stop(Exit.USAGE, str(error.args[0]))


def _target(project: Project, rule: Rule, name: str) -> Target:
    """Return the target of that name, or else the first that the rule applies to."""
    targets = project.config.targets
    found = [each for each in targets if (each.name == name if name else selects(rule, each))]
    if not found and not name:
        stop(Exit.USAGE, f"{rule.id} is about no target" + ("" if targets else ", for tocsin.yaml names none"))
    if not found:
        stop(Exit.USAGE, _unknown("target", name, [each.name for each in targets]))
    return found[0]


def _unknown(what: str, name: str, names: Iterable[str]) -> str:
    return f"no {what} '{name}'; known: {', '.join(names) or 'none'}"


def _draw(type_: str, payload: Any, picture: Path) -> None:
    if type_ != "teams":
        stop(Exit.USAGE, f"--picture draws Teams cards only, not {type_}")
    missing = picturing.missing()
    if missing:
        stop(Exit.USAGE, f"--picture needs what is not here: {missing}")
    try:
        picturing.draw(payload["attachments"][0]["content"], picture)
    except OSError as error:
        stop(Exit.USAGE, f"{picture} cannot be written: {error.strerror}")
