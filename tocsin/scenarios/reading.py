"""Reading files of scenarios: every problem with its place, and with what would be valid there."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ValidationError

from tocsin.core.config import Target
from tocsin.core.crosscheck import Known
from tocsin.core.errors import Problem, nearest
from tocsin.core.node import Node
from tocsin.core.read import Project, build
from tocsin.core.schedule import selects
from tocsin.core.schema import TABLES
from tocsin.core.selecting import missing
from tocsin.core.sight import BUILT_IN
from tocsin.core.signal import Gauge, Signal
from tocsin.diagnosing.wiring import events_of
from tocsin.document import parse
from tocsin.files import LARGEST, read_project
from tocsin.scenarios import rows
from tocsin.scenarios.format import Case, Row, Scenarios

FOLDER = Path("tests") / "rules"


@dataclass(frozen=True, slots=True)
class Read:
    """One file as far as it could be read. ``lines`` holds each case's line, and those of its expectations.

    ``project`` is what its cases are played with.
    """

    file: str
    scenarios: Scenarios | None
    problems: tuple[Problem, ...] = ()
    lines: tuple[tuple[int, tuple[int, ...]], ...] = ()
    project: Project = field(default_factory=Project)


class Projects:
    """The project as it is, and as it would be with the ``config`` that a file of scenarios names."""

    def __init__(self, root: Path, own: Project, known: Known) -> None:
        self._root, self._known, self._read = root, known, {"": own}

    def of(self, path: Path) -> Project:
        """Return what the cases of a file are played with; problems of its ``config`` alone are the project's."""
        try:
            node = parse(str(path), path.read_bytes()[: LARGEST + 1]).node
        except OSError:
            node = None
        said = node.get("config") if node else None
        name = (said.text if said else "") or ""
        if name not in self._read:
            made = read_project(self._root, {}, self._known, name)
            self._read[name] = replace(made, problems=tuple(each for each in made.problems if each.path == name))
        if not name or node is None:
            return self._read[name]
        listed = node.get("policies")
        wanted = {each.text for each in listed.scalars()} if listed else set()
        found = self._read[name]
        return replace(found, policies=tuple(each for each in found.policies if each.id in wanted))


def read(path: Path, shown: str, project: Project, signals: Mapping[str, Signal]) -> Read:
    """Return the scenarios of a file, or None and every problem in it. Never raises for what a file holds."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return _none(shown, Problem(shown, 1, 1, "no-file", f"the file cannot be read: {error.strerror}"))
    if len(data) > LARGEST:
        return _none(shown, Problem(shown, 1, 1, "too-large", f"the file is larger than {LARGEST // 1024} KiB"))
    parsed = parse(shown, data)
    if parsed.node is None:
        return _none(shown, *parsed.problems)
    own = next((key for key, _ in parsed.node.pairs or () if key.text == "file"), None)
    if own is not None:
        return _none(shown, own.problem("unknown-key", "no key 'file' here"))
    made, problems = build(Scenarios, parsed.node, {"file": shown}, not parsed.whole)
    found = [*parsed.problems, *problems]
    if made is not None:
        found += _checked(made, parsed.node, project, signals)
    if found or made is None:
        return _none(shown, *found)
    return Read(shown, made, (), tuple(_lines(parsed.node, made)), project)


def _none(shown: str, *problems: Problem) -> Read:
    return Read(shown, None, problems)


def _lines(node: Node, made: Scenarios) -> Iterator[tuple[int, tuple[int, ...]]]:
    for number, case in enumerate(made.cases):
        expectations = (node.at("cases", number, "expect", each).line for each in range(len(case.expect)))
        yield node.at("cases", number).line, tuple(expectations)


def _checked(made: Scenarios, node: Node, project: Project, signals: Mapping[str, Signal]) -> Iterator[Problem]:
    """Yield what is wrong beside the syntax: names that are nowhere, columns that no table has."""
    rules = {rule.id for rule in project.rules}
    if made.rule not in rules:
        yield missing(node.at("rule"), "unknown-rule", "rule", made.rule, rules)
        return
    if made.config:
        policies = {policy.id for policy in project.policies}
        for number, name in enumerate(made.policies):
            if name not in policies:
                yield missing(node.at("policies", number), "unknown-policy", "policy", name, policies)
    elif made.policies:
        yield node.at("policies").problem("needs-a-config", "without a `config` all policies of the project are there")
    events = _events(signals, project)
    yield from _said(made, node, signals, events)
    yield from _target_problems(made, {}, node, project)
    names: dict[str, int] = {}
    for number, case in enumerate(made.cases):
        here = node.at("cases", number)
        if names.setdefault(case.name, number) != number:
            yield here.at("name").problem("same-name", f"another case is called '{case.name}'")
        yield from _said(case, here, signals, events)
        if case.target:
            yield from _target_problems(made, case.target, here, project)
        yield from _names(case, here, project)


def _events(signals: Mapping[str, Signal], project: Project) -> frozenset[str]:
    """Return the events that signals read, and every text in a query of one's own: it may be one."""
    named = {event for each in signals.values() for source in each.sources for event in events_of(source)}
    own = (re.findall(r"""["']([^"'\n]+)["']""", rule.when.kql or "") for rule in project.rules)
    return frozenset(named.union(*own))


def _said(
    of: Scenarios | Case, node: Node, signals: Mapping[str, Signal], events: Collection[str]
) -> Iterator[Problem]:
    for number, row in enumerate(of.rows):
        yield from _row_problems(row, node.at("rows", number))
        if row.event and row.event not in events:
            place = node.at("rows", number, "event")
            yield missing(place, "unknown-event", "signal or query reads the event", row.event, events)
    total = sum(len(row.moments()) if _few(row) else rows.MOST + 1 for row in of.rows)
    if total > rows.MOST:
        yield node.at("rows").problem("too-many-rows", f"more than {rows.MOST:,} rows: emit them less often")
    gauges = {(source.meter, source.reading) for each in signals.values() for source in each.sources
              if isinstance(source, Gauge)}  # fmt: skip
    for number, each in enumerate(of.readings):
        known = {reading for meter, reading in gauges if meter == each.meter}
        if each.reading not in known:
            place = node.at("readings", number, "reading")
            yield missing(place, "unknown-reading", f"reading of {each.meter}", each.reading, known)


def _few(row: Row) -> bool:
    """Return whether it is safe to count the row's moments one by one."""
    return row.to is None or row.each is None or (row.to - row.from_) / row.each * row.times <= rows.MOST


def _row_problems(row: Row, node: Node) -> Iterator[Problem]:
    if row.table not in TABLES:
        yield missing(node.at("table"), "unknown-table", "table", row.table, TABLES)
        return
    known = rows.columns(row.table)
    own = (*(field.alias or name for name, field in Row.model_fields.items()), *rows.FIELDS)
    for name, text in row.columns.items():
        place = node.key(name) or node
        if name in known:
            wanted = rows.fits(row.table, name, text)
            if wanted:
                yield node.at(name).problem("wrong-kind", f"{wanted} was expected, found '{text}'")
        elif name not in rows.FIELDS and not name.startswith(rows.ARGUMENTS):
            choices = (*own, *known)
            words = f"no key or column '{name}' of {row.table} here: a field of one's own stands under `properties`"
            yield place.problem("unknown-key", words, nearest(name, choices), choices, "keys")


def _target_problems(made: Scenarios, changes: Mapping[str, object], node: Node, project: Project) -> Iterator[Problem]:
    """Yield what is wrong with what a file or a case changes of its target: keys first, then what comes of all."""
    said = node.get("target")
    found = build(Target, said, {}, incomplete=True)[1] if said is not None else []
    yield from found
    try:
        if not found:
            target_of(made, changes, project)
    except ValidationError as error:
        place = node.at("target")
        yield place.problem("bad-target", f"what is changed makes no target: {error.errors()[0]['msg']}")
    except LookupError as error:
        yield node.problem("no-target", str(error.args[0]))


def target_of(made: Scenarios, changes: Mapping[str, object], project: Project) -> Target:
    """Return the target of a case: the first that the rule selects, with what the file and the case change of it.

    Its rows are found whether or not the settings that say by what are set here. Raises LookupError where there is no
    target, ValidationError for changes that make none.
    """
    found = Target.model_validate({**looked_at(made.rule, project).model_dump(), **made.target, **changes})
    named = found.application_insights or found.role_name
    return found if named else found.model_copy(update={"role_name": found.name})


def looked_at(name: str, project: Project) -> Target:
    """Return the first target that a rule selects. Raises LookupError where there is none."""
    rule = next(each for each in project.rules if each.id == name)
    found = [target for target in project.config.targets if selects(rule, target)]
    if not found:
        raise LookupError(f"no target of tocsin.yaml is one that {rule.id} looks at")
    return found[0]


def _names(case: Case, node: Node, project: Project) -> Iterator[Problem]:
    rules = {rule.id for rule in (*project.rules, *BUILT_IN)}
    receivers, policies = project.config.receivers, {policy.id for policy in project.policies}
    for number, name in enumerate(case.also):
        if name not in rules:
            yield missing(node.at("also", number), "unknown-rule", "rule", name, rules)
    for number, expect in enumerate(case.expect):
        here = node.at("expect", number)
        if expect.rule and expect.rule not in rules:
            yield missing(here.at("rule"), "unknown-rule", "rule", expect.rule, rules)
        for key, listed in (("tells", expect.tells or ()), ("not_tells", expect.not_tells)):
            for name in _absent(listed, list(receivers)):
                yield missing(here.at(key), "unknown-receiver", "receiver", name, receivers)
        for name in _absent(list(expect.actions or {}), list(policies)):
            place = here.at("actions").key(name) or here
            yield missing(place, "unknown-policy", "policy", name, policies)


def _absent(names: Sequence[str], known: Sequence[str]) -> list[str]:
    return [name for name in names if name not in known]
