"""Sloth's service level objectives, as rules that burn an error budget: one that pages, and one that makes a ticket."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta

from tocsin.core.node import Node
from tocsin.porting.draft import Draft, name_of, plain, text_of
from tocsin.porting.metrics import MEASURES, SIGNALS
from tocsin.porting.outcome import Fields, Gathering, Outcome
from tocsin.porting.prometheus import annotated, labelled, semantics
from tocsin.porting.promql import NotPromql, parse
from tocsin.porting.shapes import NoShape, Ratio, percent, share

VERSION = "prometheus/v1"
_WINDOW = "{{.window}}"
_KINDS = (("page", "page_alert", "P1"), ("ticket", "ticket_alert", "P2"))
_EVERY = timedelta(minutes=1)


def imported(document: Node, taken: Collection[str]) -> Iterator[Outcome]:
    """Yield what becomes of each objective: an outcome for its page and one for its ticket."""
    names = set(taken)
    slos = document.get("slos")
    for number, slo in enumerate((slos.items or ()) if slos is not None else ()):
        for kind, key, severity in _KINDS:
            outcome = _one(document, slo, f"slos[{number}]", (kind, key, severity), names)
            names.add(outcome.rule)
            yield outcome


def _one(document: Node, slo: Node, path: str, what: tuple[str, str, str], taken: Collection[str]) -> Outcome:
    kind, key, severity = what
    told = Gathering()
    root, fields = Fields(document, "", told), Fields(slo, path, told)
    service, name = root.carry("service"), fields.carry("name")
    title = f"{service} {name}".strip()
    draft = Draft(name_of(f"{title} {kind}", taken), f"{title} ({kind})", f"Sloth's objective '{title}'", severity)
    draft.every, draft.description = _EVERY, fields.carry("description")
    draft.summary = f"{{value}} of what counts for {plain(title)} fails on {{target}}: its budget burns too fast."
    root.raw("version"), root.raw("slos")
    for labels in (root.inside("labels"), fields.inside("labels")):
        if labels is not None:
            labelled(labels, draft)
    _objective(fields, draft, kind)
    _alerting(fields, draft, key)
    draft.severity = severity if draft.severity not in ("P0", "P1", "P2", "P3") else draft.severity
    words = (
        "Sloth's windows are the SRE workbook's for 30 days, as here; its recording rules and metadata have no equal"
    )
    told.differs("burn-windows", path, slo, words)
    semantics(told, slo, draft)
    fields.finish()
    root.finish()
    return told.outcome(f"{title} ({kind})", draft.id, slo, lambda: text_of(draft))


def _objective(fields: Fields, draft: Draft, kind: str) -> None:
    text, place = fields.text("objective"), fields.place("objective")
    try:
        objective = float(text)
    except ValueError:
        objective = 0.0
    if not 0 < objective < 100:
        words = f"`objective` has to be more than 0 and less than 100 percent, found '{text}'"
        fields.told.refuse("bad-field", place, words)
    else:
        fields.told.carried.append(fields.named("objective"))
    found = _indicator(fields)
    if found is None:
        return
    signal = SIGNALS.get(found.family, "response_errors")
    draft.when = {"signal": signal, "burn_rate": f"{{ objective: {percent(objective / 100)}, alert: {kind} }}"}
    place = fields.place("sli")
    fields.told.differs("another-measure", fields.named("sli"), place, f"`{signal}` reads {MEASURES[signal]}")
    for identity, words in found.notes:
        fields.told.differs(identity, fields.named("sli"), place, words)


def _indicator(fields: Fields) -> Ratio | None:
    """Read what counts; return the share that fails, or None with the reason told."""
    sli, told = fields.inside("sli"), fields.told
    if sli is None:
        told.refuse("bad-field", fields.node, "`sli` is needed")
        return None
    events = sli.inside("events")
    for other in ("raw", "plugin"):
        found = sli.raw(other)
        if found is not None:
            words = f"an indicator by `{other}` is a ratio that somebody else computes: nothing here can read it"
            told.refuse("no-metric-engine", found, words, "use `events` with an `error_query` and a `total_query`")
    sli.finish()
    if events is None:
        return None
    made = _ratio(events)
    events.finish()
    return made


def _ratio(events: Fields) -> Ratio | None:
    texts = [events.text(name).replace(_WINDOW, "5m") for name in ("error_query", "total_query")]
    place = events.place("error_query")
    try:
        found = share(parse(texts[0]), parse(texts[1]))
    except NotPromql as error:
        events.told.refuse("no-metric-engine", place, f"the query is not understood: {error}")
        return None
    except NoShape as error:
        events.told.refuse("no-metric-engine", place, f"there is no engine for PromQL, and {error}")
        return None
    if found is None:
        words = "there is no engine for PromQL, and these are no rates of a counter that is known"
        events.told.refuse("no-metric-engine", place, words, "docs/porting.md lists what is recognised")
        return None
    if not found.failed:
        words = "its `error_query` counts what succeeds: it would burn all the time"
        events.told.refuse("bad-field", place, words)
        return None
    events.told.carried += [events.named("error_query"), events.named("total_query")]
    return found


def _alerting(fields: Fields, draft: Draft, key: str) -> None:
    alerting = fields.inside("alerting")
    if alerting is None:
        return
    alerting.left(("name",), "alert-name", "the rule's name is its file's: that of the service and the objective")
    labels = alerting.inside("labels")
    if labels is not None:
        labelled(labels, draft)
    annotated(alerting, draft)
    for other in ("page_alert", "ticket_alert"):
        if other != key:
            alerting.raw(other)
    own = alerting.inside(key)
    if own is not None:
        draft.enabled = own.text("disable").casefold() != "true"
        if not draft.enabled:
            words = "Sloth makes no such alert; here the rule is there and off: `enabled: false`"
            own.told.differs("disabled", own.named("disable"), own.place("disable"), words)
        labels = own.inside("labels")
        if labels is not None:
            labelled(labels, draft)
        annotated(own, draft)
        own.finish()
    alerting.finish()
