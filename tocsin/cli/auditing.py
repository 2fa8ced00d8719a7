"""``tocsin audit``: what is recorded, whether the record is whole, and a file of it for somebody else."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from tocsin.app import App
from tocsin.cli.output import Exit, Output, console, emit_json, say, stop, table
from tocsin.cli.project import load_app
from tocsin.core.audit import START, Damage, End, Line, differing, examine, lines_of, shorter
from tocsin.core.copying import Mirrored
from tocsin.core.text import scrub
from tocsin.core.units import duration
from tocsin.engine.recalling import newest_first
from tocsin.ports import MirrorUnavailable, Store, StoreUnavailable

_PAGE = 1_000


def show(*, target: str, actor: str, since: str, limit: int, root: Path | None, output: Output) -> None:
    """List the newest records; exit 1 for one that is no record, 3 when the state does not answer."""
    app = load_app(root)
    begin = _moment(since, app)
    with _answering():
        wanted = (each for each in newest_first(app.engine.store, begin) if _wanted(each, target, actor, begin))
        found = list(reversed(list(islice(wanted, limit))))
    if output is Output.JSON:
        emit_json(found)
    elif not found:
        console().print("no such record")
    else:
        columns = ["record", "at", "actor", "event", "target", "why"]
        console().print(table("", columns, [_row(each) for each in found], whole=2))


def _wanted(entry: Mapping[str, Any], target: str, actor: str, begin: datetime | None) -> bool:
    late = begin is None or datetime.fromisoformat(entry["at"]) >= begin
    return late and target in ("", entry["target"]) and actor in entry["actor"]


def _row(entry: Mapping[str, Any]) -> list[str]:
    """Return the cells of a record. Whatever an actuator or a person wrote is made fit for a terminal."""
    detail = entry["detail"]
    why = detail.get("reason") or detail.get("detail") or detail.get("scope") or ""
    at = datetime.fromisoformat(entry["at"]).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
    shown = [str(entry["sequence"]), at, entry["actor"], entry["event"], entry["target"], why]
    return [scrub(each, 200) for each in shown]


def verify(
    file: Path | None, *, mirror: bool, head: str, count: int, after: str, root: Path | None, output: Output
) -> None:
    """Say what was done to the chain first; exit 1 when something was, 3 when the state or the copy does not answer."""
    if bool(head) != bool(count):
        stop(Exit.USAGE, "--head and --count belong together")
    if (after and not file) or (mirror and file):
        stop(Exit.USAGE, "--after is for a file, --mirror for the store")
    with _answering():
        checked = _checked_file(file, head, count, after) if file else _checked_store(root, mirror, head, count)
    whole = not any(each["harm"] for each in checked.values())
    if output is Output.JSON:
        emit_json({"whole": whole, "end_proven": whole and (mirror or bool(count)), **checked})
    else:
        if whole and not (mirror or count):
            say(_END)
        for name, each in checked.items():
            say(f"{name}: {each['words']}")
    if not whole:
        raise typer.Exit(int(Exit.BAD_NEWS.value))


_END = (
    "No record is changed, missing or added. The chain does not prove that nothing newer was cut off, or that it was "
    "not made anew: --mirror compares with the copy, --count and its hash with an end noted elsewhere."
)


def _checked_file(file: Path, head: str, count: int, after: str) -> dict[str, dict[str, Any]]:
    try:
        with file.open("rb") as opened:
            lines = lines_of(line.removesuffix(b"\n") for line in _watched(opened, None))
    except OSError as error:
        stop(Exit.USAGE, f"{file} cannot be read: {error.strerror}")
    begin = End(max(0, lines[0].sequence - 1), after) if after and lines else End()
    end = End(begin.sequence + count, head) if count else None
    return {str(file): _said(lines, examine(lines, begin, end))}


def _checked_store(root: Path | None, mirror: bool, head: str, count: int) -> dict[str, dict[str, Any]]:
    """Check the store and, if wanted, its copy. The copy is read first: what comes meanwhile is in the store alone."""
    app = load_app(root)
    store, copy = app.engine.store, app.engine.mirror
    if mirror and copy is None:
        stop(Exit.USAGE, "there is no copy: TOCSIN_AUDIT is not set, or cannot be used")
    if copy is None or not mirror:
        return {"store": _said(*_of_store(store, head, count))}
    kept = store.kept(Mirrored).get(copy.name)
    theirs = lines_of(_watched(copy.lines(), store.audit_end()))
    harm = examine(theirs) or shorter(theirs, kept.value.place.end.sequence if kept else 0)
    mine, ours = _of_store(store, head, count)
    apart = None if harm or ours else differing(mine, theirs)
    waiting = len(mine) - len(theirs)
    note = f"; {waiting} newer in the store wait to be copied" if waiting > 0 else ""
    return {"store": _said(mine, ours or apart), f"copy {copy.name}": _said(theirs, harm, note)}


def _of_store(store: Store, head: str, count: int) -> tuple[list[Line], Damage | None]:
    newest = store.audit_end()
    lines = lines_of(_watched(_lines(store, newest), newest))
    end = End(count, head) if count else None
    if end and len(lines) > count:  # it has grown since its end was noted
        grown = examine(lines) or examine(lines[:count], end=end)
        return lines, grown
    return lines, examine(lines, end=end) or shorter(lines, newest)


def _lines(store: Store, newest: int) -> Iterator[str]:
    for since in range(0, newest, _PAGE):
        yield from store.audit_lines(since, min(_PAGE, newest - since))
    yield from store.audit_lines(newest)


def _said(lines: list[Line], harm: Damage | None, note: str = "") -> dict[str, Any]:
    head = lines[-1].hash if lines else START
    counted = f"{len(lines)} record{'' if len(lines) == 1 else 's'}"
    whole = f"{counted}, whole{note}; --count {len(lines)} --head {head}"
    return {
        "records": len(lines),
        "head": head,
        "harm": harm.harm.value if harm else None,
        "line": harm.line if harm else None,
        "record": harm.sequence if harm else None,
        "words": harm.words if harm else whole,
    }


def export(file: Path, *, since: str, until: str, root: Path | None, output: Output) -> None:
    """Write the file and say how to verify it; exit 2 when it is there already, 3 when the state does not answer."""
    app = load_app(root)
    begin, end = _moment(since, app), _moment(until, app)
    with _answering():
        store = app.engine.store
        newest = store.audit_end()
        found = _part(list(_watched(store.audit(), newest)), begin, end)
        texts = store.audit_lines(found[0]["sequence"] - 1, len(found)) if found else []
    _write(file, texts)
    part = bool(found) and found[0]["sequence"] > 1
    told = {
        "file": str(file),
        "records": len(found),
        "first": found[0]["sequence"] if found else None,
        "last": found[-1]["sequence"] if found else None,
        "after": found[0]["previous"] if found else START,
        "head": found[-1]["hash"] if found else START,
    }
    if output is Output.JSON:
        emit_json(told)
    elif not found:
        say("no such record; the file is empty")
    else:
        say(f"{file}: records {told['first']} to {told['last']}; keep this line elsewhere, it verifies the file:")
        predecessor = f" --after {told['after']}" if part else ""
        say(f"tocsin audit verify {file} --count {len(found)} --head {told['head']}{predecessor}")


def _part(entries: list[dict[str, Any]], begin: datetime | None, end: datetime | None) -> list[dict[str, Any]]:
    """Return the records from the first to the last within the times, without a gap: they are verified as a chain."""
    within = [
        number
        for number, entry in enumerate(entries)
        if (begin is None or datetime.fromisoformat(entry["at"]) >= begin)
        and (end is None or datetime.fromisoformat(entry["at"]) < end)
    ]
    return entries[within[0] : within[-1] + 1] if within else []


def _write(file: Path, texts: Iterable[str]) -> None:
    try:
        with file.open("x", encoding="utf-8", newline="\n") as opened:
            opened.writelines(f"{text}\n" for text in texts)
            opened.flush()
            os.fsync(opened.fileno())
    except FileExistsError:
        stop(Exit.USAGE, f"{file} is there already")
    except OSError as error:
        stop(Exit.USAGE, f"{file} cannot be written: {error.strerror}")


def _moment(text: str, app: App) -> datetime | None:
    """Return the instant that an option names: a time in UTC unless it says otherwise, or so long ago."""
    if not text:
        return None
    try:
        return app.clock.now() - duration(text)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        stop(Exit.USAGE, f"'{text}' is no time; write it like 2h, 7d, 2026-11-20 or 2026-11-20T03:00+01:00")
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _watched(lines: Iterable[Any], total: int | None) -> Iterator[Any]:
    """Yield the lines, with their count on a terminal."""
    screen = console(stderr=True)
    columns = (TextColumn("reading the audit"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        yield from progress.track(lines, total=total)


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (StoreUnavailable, MirrorUnavailable) as error:
        stop(Exit.NO_ANSWER, str(error))
    except (ValueError, KeyError, TypeError, AttributeError):
        stop(Exit.BAD_NEWS, "a record of the audit is none: `tocsin audit verify` says which")
