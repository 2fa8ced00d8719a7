"""Prometheus rule files, as rules of Tocsin where a signal measures what an expression does."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from datetime import timedelta

from tocsin.core.node import Node
from tocsin.core.units import spell
from tocsin.porting.azure_telling import RESERVED
from tocsin.porting.draft import Draft, name_of, plain, shortened, text_of
from tocsin.porting.outcome import Fields, Gathering, Outcome
from tocsin.porting.promql import NotPromql, length, parse
from tocsin.porting.shapes import Meant, NoShape, recognised

_MINUTE, _LEAST = timedelta(minutes=1), timedelta(seconds=30)
_SECOND = timedelta(seconds=1)

SEVERITIES = {
    "P0": ("p0", "emergency", "disaster"),
    "P1": ("p1", "critical", "page", "error", "high", "major"),
    "P2": ("p2", "warning", "ticket", "medium", "warn"),
    "P3": ("p3", "info", "low", "notice", "none", "debug"),
}
"""Severities by what people call them in a label."""

_TEMPLATE = re.compile(r"\{\{-?((?:(?!\{\{|\}\}).)*+)\}\}")


def groups(document: Node) -> Node | None:
    """Return a document's groups: of a rule file, or of the operator's ``PrometheusRule``."""
    spec = document.get("spec")
    held = spec if spec is not None and spec.pairs is not None else document
    found = held.get("groups")
    return found if found is not None and found.items is not None else None


def imported(document: Node, taken: Collection[str]) -> Iterator[Outcome]:
    """Yield what becomes of each rule of a file."""
    found = groups(document)
    names = set(taken)
    for number, group in enumerate((found.items or ()) if found is not None else ()):
        rules = group.get("rules")
        for place, node in enumerate((rules.items or ()) if rules is not None else ()):
            outcome = _one(node, group, f"groups[{number}].rules[{place}]", names)
            names.add(outcome.rule)
            yield outcome


def _one(node: Node, group: Node, path: str, taken: Collection[str]) -> Outcome:
    told = Gathering()
    fields = Fields(node, "", told)
    recorded = fields.text("record")
    if recorded:
        words = f"'{recorded}' is a recording rule: it computes a series and alerts nobody"
        told.refuse("recording-rule", fields.place("record"), words, "what is measured is a signal here")
        return told.outcome(recorded, "", node, str)
    name = fields.carry("alert") or path
    draft = Draft(name_of(name, taken), name, f"the Prometheus alert '{name}'")
    _timed(fields, draft)
    _grouped(Fields(group, path.rpartition(".")[0], told), draft)
    meant = _expression(fields, draft.for_)
    if meant is not None:
        _apply(meant, draft, fields.place("expr"), told, "expr")
        if not meant.waits and draft.for_:
            draft.for_ = timedelta()
    _labels(fields, draft)
    annotated(fields, draft)
    semantics(told, node, draft)
    fields.finish()
    return told.outcome(name, draft.id, node, lambda: text_of(draft))


def semantics(told: Gathering, node: Node, draft: Draft) -> None:
    """Tell what is not the same of any alert from Prometheus."""
    words = (
        "a sample that is missing ends an alert there, and a wait; here nothing is known: it neither ends nor goes on"
    )
    told.differs("missing-data", "", node, words)
    if "offset" not in draft.more:
        words = "samples are judged at once there; here a window of logs is judged 2m after its end (`offset`)"
        told.differs("offset", "", node, words)
    if not draft.keep:
        words = "it ends at the first clear look, as there"
        words += "; Alertmanager's `resolve_timeout` has no part in it"
        told.differs("resolve-delay", "", node, words)
    if draft.in_ == "" and not draft.for_:
        return
    words = "only breached time counts; there time of which nothing was known counted, too"
    told.differs("for-counts-breached-time", "for", node, words)


def _apply(meant: Meant, draft: Draft, place: Node, told: Gathering, named: str) -> None:
    draft.when = {"signal": meant.signal, **meant.when}
    if "burn_rate" not in meant.when and "absent_for" not in meant.when:
        draft.when["over"] = spell(max(meant.over, _SECOND))
    draft.by, draft.turned = meant.by, meant.turned
    told.carried.append(named)
    for identity, words in meant.notes:
        told.differs(identity, named, place, words)


def _expression(fields: Fields, wait: timedelta) -> Meant | None:
    text, place = fields.text("expr"), fields.place("expr")
    try:
        return recognised(parse(text), wait)
    except NotPromql as error:
        fields.told.refuse("no-metric-engine", place, f"the expression is not understood: {error}")
    except NoShape as error:
        hint = "write a rule on a signal (`tocsin schema signals`) or a `kql:` of its own"
        fields.told.refuse("no-metric-engine", place, f"there is no engine for PromQL, and {error}", hint)
    return None


def _timed(fields: Fields, draft: Draft) -> None:
    draft.for_ = _length(fields, "for")
    draft.keep = _length(fields, "keep_firing_for")


def _length(fields: Fields, name: str) -> timedelta:
    text = fields.carry(name)
    found = length(text) if text else timedelta()
    if found is None:
        fields.told.refuse("bad-field", fields.place(name), f"`{name}` has to be a duration like 5m, found '{text}'")
        return timedelta()
    whole = -(-found // _SECOND) * _SECOND
    if whole != found:
        fields.told.differs("whole-seconds", name, fields.place(name), f"{text} is {spell(whole)} here")
    return whole


def _grouped(group: Fields, draft: Draft) -> None:
    """Read what a group says for all its rules."""
    told = group.told
    group.raw("name"), group.raw("rules")
    interval = group.text("interval")
    every = length(interval) if interval else _MINUTE
    if not interval:
        words = "the group says no `interval`, so Prometheus takes its own `evaluation_interval`: a minute is taken"
        told.differs("interval", group.named("interval"), group.node, words)
    elif not every:
        told.refuse(
            "bad-field", group.place("interval"), f"`interval` has to be a duration like 1m, found '{interval}'"
        )
    elif every < _LEAST or every % _SECOND:
        words = f"{interval} is 30s here: a rule runs every 30s at most"
        told.differs("interval", group.named("interval"), group.place("interval"), words)
    else:
        told.carried.append(group.named("interval"))
    draft.every = max(every or _MINUTE, _LEAST)
    limit = group.text("limit")
    if limit and not re.fullmatch(r"\d{1,9}", limit):
        told.refuse("bad-field", group.place("limit"), f"`limit` has to be a whole number, found '{limit}'")
    elif limit and int(limit):
        draft.more["max_instances"] = limit
        words = "beyond so many the whole rule fails there; here one storm alert says so"
        told.differs("limit", group.named("limit"), group.place("limit"), words)
    offset = group.text("query_offset")
    if offset and (waited := length(offset)) is not None:
        draft.more["offset"] = spell(waited)
        told.carried.append(group.named("query_offset"))
    group.left(("partial_response_strategy",), "missing-data", "a partial answer is never taken for an answer here")
    labels = group.inside("labels")
    if labels is not None:
        labelled(labels, draft)
    group.finish()


def _labels(fields: Fields, draft: Draft) -> None:
    labels = fields.inside("labels")
    given = labelled(labels, draft) if labels is not None else None
    if given is None:
        words = "no label says how bad it is: P2 is taken"
        fields.told.differs("severity", "labels.severity", fields.node, words)


def labelled(labels: Fields, draft: Draft) -> str | None:
    """Read labels; return the severity they name, None without one."""
    told, said = labels.told, None
    for key, _ in labels.node.pairs or ():
        name, value, place = key.text or "", labels.text(key.text or ""), labels.place(key.text or "")
        if name.casefold() in ("severity", "priority") and said is None:
            said = value
            draft.severity = _severity(value, labels, name)
        elif "{{" in value:
            words = "it is filled in when an alert fires, and a label is no template here: it is left out"
            told.differs("template", labels.named(name), place, words)
        elif name in RESERVED:
            words = f"every alert here has a `{name}` of its own: it is left out"
            told.differs("labels", labels.named(name), place, words)
        else:
            draft.labels[name] = value
            told.carried.append(labels.named(name))
    return said


def _severity(value: str, labels: Fields, name: str) -> str:
    found = next((each for each, names in SEVERITIES.items() if value.casefold() in names), "")
    words = f"'{value}' is {found or 'not known: P2 is taken'}" + (
        " here: routes and escalation go by that" if found else ""
    )
    labels.told.differs("severity", labels.named(name), labels.place(name), words)
    return found or "P2"


def annotated(fields: Fields, draft: Draft) -> None:
    """Read annotations: those that are known become the summary, the description and the runbook."""
    notes = fields.inside("annotations")
    if notes is None:
        return
    summary = notes.text("summary") or notes.text("title") or notes.text("message")
    if summary:
        draft.summary = _filled(summary, notes, "summary", draft)
    description = notes.text("description")
    if description:
        draft.description = _filled(description, notes, "description", draft)
    draft.runbook = notes.text("runbook_url") or notes.text("runbook")
    if "{{" in draft.runbook:
        words = "the runbook is no template: it stands as it is written"
        notes.told.differs("template", notes.named("runbook"), notes.node, words)
    for name in shortened(draft):
        notes.told.differs("shortened", notes.named(name), notes.node, "it is cut to what a rule takes")
    for key, value in notes.node.pairs or ():
        name = key.text or ""
        if name in ("summary", "description", "runbook_url", "runbook"):
            notes.told.carried.append(notes.named(name))
        elif not (name in ("title", "message") and draft.summary):
            notes.raw(name)
            words = "an annotation that nothing here shows: put what it says into `description`"
            notes.told.differs("annotation", notes.named(name), value, words)
    notes.finish()


def _filled(text: str, notes: Fields, name: str, draft: Draft) -> str:
    """Return a text with Go's templates as ours: the value, and labels that the rule has."""
    usable = {*draft.by, *draft.labels}
    lost = []

    def one(found: re.Match[str]) -> str:
        said = found[1].strip()
        label = re.match(r"\$labels\.(\w+)", said)
        if re.match(r"\$value\b|(?:printf|humanize)\b.*\$value", said) and not draft.turned:
            return "\0value\1"
        if label and label[1] in usable:
            return f"\0{label[1]}\1"
        lost.append(found[0])
        return label[1] if label else "…"

    made = plain(_TEMPLATE.sub(one, text)).replace("\0", "{").replace("\1", "}")
    if lost:
        words = f"{', '.join(lost)} cannot be filled in: its alerts have no such label, or measure the rest of it"
        notes.told.differs("template", notes.named(name), notes.place(name), words)
    return re.sub(r"\s+", " ", made).strip()
