"""``tocsin handover check``: the acceptance checklist by its evidence, and the signatures of people in the audit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import typer

from tocsin import __version__
from tocsin.cli import doctoring, examining
from tocsin.cli.examining import Place
from tocsin.cli.keeping import files_of, keep
from tocsin.cli.output import Exit, Output, console, emit_json, say, stop, table
from tocsin.cli.routing import completed
from tocsin.cli.switching import person
from tocsin.core.answer import NoAnswer
from tocsin.core.audit import Record, examine, lines_of
from tocsin.core.config import Target
from tocsin.core.evals import Engaged, Verdict, accepted
from tocsin.core.route import ends
from tocsin.diagnosing import checklist, handover
from tocsin.diagnosing.checklist import Evidence
from tocsin.diagnosing.handover import ACCEPTANCE, SIGNED, Checklist
from tocsin.engine import standing
from tocsin.engine.releasing import asked
from tocsin.ports import StoreUnavailable

_LOOKED_BACK = timedelta(days=30)
MOST = 8
"""How much of what is open in a line is shown on a terminal."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was typed."""

    target: str
    sign: str
    note: str
    lines: tuple[str, ...]
    report: Path | None


def run(wanted: Wanted, root: Path | None, output: Output) -> None:
    """Show the checklist; exit 1 while a line is open, 2 for a wrong call, 3 when the store does not answer."""
    _sound(wanted)
    files = files_of(wanted.report)
    place = doctoring.place_of(root, wanted.target)
    try:
        found = _checked(place)
        if wanted.sign:
            found = _signed(place, found, wanted)
    except StoreUnavailable as error:
        stop(Exit.NO_ANSWER, f"nothing was signed: the audit does not answer: {error}")
    except (ValueError, KeyError, TypeError):
        stop(Exit.BAD_NEWS, "a record of the audit is none: `tocsin audit verify` says which")
    keep(files, (found.markdown(), json.dumps(found.as_dict(), indent=2) + "\n"))
    _show(found, files, output)
    if not found.complete:
        raise typer.Exit(int(Exit.BAD_NEWS.value))


def _sound(wanted: Wanted) -> None:
    if bool(wanted.sign.strip()) != bool(wanted.note.strip()):
        stop(Exit.USAGE, "--sign and --note belong together: who signs says on what grounds")
    if wanted.lines and not wanted.sign:
        stop(Exit.USAGE, "--line is for --sign")


def _checked(place: Place) -> Checklist:
    """Return the checklist with its evidence and signatures. Raises ``StoreUnavailable``."""
    evidence = _evidence(place)
    names = tuple(each.name for each in place.targets)
    given = handover.signatures(evidence.audit, names, evidence.now)
    return Checklist(evidence.now, __version__, names, handover.signed(checklist.lines(evidence, place.targets), given))


def _evidence(place: Place) -> Evidence:
    findings = doctoring.look(place)
    project, store, app = place.app.engine.project, place.app.engine.store, place.app
    return Evidence(
        now=place.now,
        config=project.config,
        rules=project.rules,
        findings=findings,
        tested={path.stem for path in (place.settings.root / "tests" / "rules").glob("*.yaml")},
        history=examining.history_of(app),
        audit=store.audit(),
        damage=examine(lines_of(store.audit_lines())),
        reach=dict(_reach(place)),
        evals={each.name: _evals(place, each) for each in place.targets if each.evals},
        seen={each.name: examining.sighted(app, each, ()) for each in place.targets},
    )


def _reach(place: Place) -> Iterator[tuple[tuple[str, str], tuple[str, ...]]]:
    """Yield whom the routes name for each of the runbook's alerts on each target."""
    project = place.app.engine.project
    tree = standing.audience(project.config).tree
    for target in place.targets:
        for rule in checklist.ALERTS:
            labels = completed({"rule": rule, "target": target.name}, project)
            yield (rule, target.name), tuple(name for node in ends(tree, labels) for name in node.to)


def _evals(place: Place, target: Target) -> Verdict | NoAnswer:
    """Return what the newest results come to, as a release would be judged if the switch were engaged 30 days ago."""
    since, app = place.now - _LOOKED_BACK, place.app
    found = app.evaluations.results(target, since, place.now)
    if isinstance(found, NoAnswer):
        return found
    engaged = Engaged(since, "no older than 30 days")
    return accepted(found, asked(app.engine.project, target, engaged, app.engine.store.audit()), place.now)


def _signed(place: Place, found: Checklist, wanted: Wanted) -> Checklist:
    """Record the signature, and return the checklist as it is with it. Exit 1 where it may not be given yet."""
    known = [each.id for each in found.lines]
    names = wanted.lines or (ACCEPTANCE,)
    for name in names:
        if name not in known:
            stop(Exit.USAGE, f"no line '{name}'; known: {', '.join(known)}")
    if why := handover.refusal(found, names):
        stop(Exit.BAD_NEWS, why)
    lines = [each for each in found.lines if each.id in names]
    detail = handover.signing(wanted.sign, wanted.note, lines, found.as_dict()["hash"])
    entry = Record(place.now, person(), SIGNED, ", ".join(found.targets), "handover", detail)
    place.app.engine.store.record(None, [entry])
    given = handover.signatures(place.app.engine.store.audit(), found.targets, place.now)
    return Checklist(found.at, found.version, found.targets, handover.signed(found.lines, given))


def _show(found: Checklist, files: tuple[Path, ...], output: Output) -> None:
    if output is Output.JSON:
        emit_json(found.as_dict())
        return
    rows = []
    for each in found.lines:
        more = f" and {len(each.open) - MOST} more (--report names them)" if len(each.open) > MOST else ""
        missing = f"\nopen: {', '.join(each.open[:MOST])}{more}" if each.open else ""
        names = ", ".join(one.name for one in each.signatures) or "-"
        wanted = f" ({len(each.names)} of {each.people})" if each.people else ""
        rows.append([each.id, each.status.value, f"{each.evidence}{missing}", f"{names}{wanted}"])
    console().print(table("handover", ["line", "status", "evidence", "signed by"], rows))
    waiting = ", ".join(each.id for each in found.waiting)
    say(f"open: {waiting}" if waiting else "nothing is open: it can be handed over")
    for file in files:
        say(f"report: {file}")
