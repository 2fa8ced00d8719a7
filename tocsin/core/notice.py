"""Composing notices: from an alert's change, or from an execution, to what a person is told.

The order is that of a glance at 3 a.m.: how bad, what and how much, where, what Tocsin does about it, what to do first,
where to look. Text from telemetry is scrubbed here and escaped by each receiver.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from tocsin import __version__
from tocsin.core import container, portal, units
from tocsin.core.alert import STORM, Alert, Change
from tocsin.core.answer import NoAnswer, Query
from tocsin.core.compile import Window, compile_logs
from tocsin.core.config import Target
from tocsin.core.container import App
from tocsin.core.instance import shown
from tocsin.core.labels import given_labels
from tocsin.core.limits import against_limit, bound, comparison, headline, placeholders, unit_of
from tocsin.core.message import Fact, Kind, Notice
from tocsin.core.policy import Policy
from tocsin.core.remedy import LAST_RESORT, Execution, Phase
from tocsin.core.rule import Op, Rule
from tocsin.core.signal import Logs, Signal
from tocsin.core.text import fill, scrub


def compose(
    alert: Alert,
    change: Change,
    kind: Kind,
    rule: Rule,
    target: Target,
    signal: Signal | None,
    *,
    will: str,
    app: App | NoAnswer,
) -> Notice:
    """Return the notice for an alert that fired, resolved or went blind. ``will`` says what Tocsin does about it."""
    at = alert.slot or alert.fired
    if at is None:
        raise ValueError("an alert that has seen no slot has nothing to tell")
    unit = unit_of(rule, signal)
    values = placeholders(alert, rule, target, unit)
    query = query_behind(rule, signal, target, at)
    return Notice(
        id=f"{alert.episode}/{kind.value}/{at:%Y%m%dT%H%M%SZ}",
        kind=kind,
        episode=alert.episode,
        rule=rule.id,
        target=target.name,
        severity=rule.severity,
        at=at,
        title=scrub(_headline(change, headline(alert, rule, target, values)), 300),
        text=scrub(fill(rule.description, values)),
        facts=_facts(alert, change, kind, rule, target, values, will, app),
        first_step=_first_step(rule),
        manual=_by_hand(target, container.SCOPES["tools"], on=True) if not kind.ends else "",
        manual_does="Stop its tools by hand",
        links=_links(rule, target, query),
        labels=given_labels(rule, target, alert.by),
        value=alert.value,
        provenance=f"{rule.file or rule.id} · tocsin {__version__}",
        query=query.text if query else "",
        begins=change in (Change.FIRED, Change.ENDLESS),
        once=alert.endless,
        since=alert.fired,
        series=alert.trail,
        threshold=float(rule.max_instances) if alert.by == STORM else bound(rule),
        comparison=Op.ABOVE if alert.by == STORM else comparison(rule),
        unit="count" if alert.by == STORM else unit,
    )


def _facts(
    alert: Alert,
    change: Change,
    kind: Kind,
    rule: Rule,
    target: Target,
    values: Mapping[str, str],
    will: str,
    app: App | NoAnswer,
) -> tuple[Fact, ...]:
    why = f"{change.value}; {alert.reason}" if alert.reason else change.value
    found = [
        Fact("State", f"{kind.value}, {rule.severity.value}"),
        Fact("Why", scrub(why)),
        *([Fact("Value", against_limit(rule, values))] if alert.value is not None and alert.by != STORM else []),
        Fact("For", how_long(alert, change, rule)),
        *([Fact("Evidence", scrub(alert.detail))] if alert.detail else []),
        Fact("Target", target.name),
        *(Fact(name, value) for name, value in shown(alert.by).items() if alert.by != STORM),
        *([Fact("Tocsin", will)] if not kind.ends else []),
        Fact("Killswitch", _switch(app, target, over=kind.ends)),
    ]
    return tuple(found)


def _switch(app: App | NoAnswer, target: Target, *, over: bool) -> str:
    """Return the killswitch's state; after the end also that nobody but a person releases one that is still engaged."""
    if not target.container_app:
        return "none: the target names no Container App"
    scopes = {variable: scope for scope, variable in container.SCOPES.items()}
    on = [scopes[variable] for variable in _engaged(app)] if over and not isinstance(app, NoAnswer) else []
    if not on:
        return switch_line(app)
    how = "; ".join(f"tocsin killswitch release --target {target.name} --scope {each} --reason …" for each in on)
    return f"{switch_line(app)}, and stays so until a person releases it: {how}"


def how_long(alert: Alert, change: Change, rule: Rule) -> str:
    """Return for how long it has been bad, or was, in words; times are in UTC."""
    if alert.fired is None or alert.slot is None:
        return "not at all"
    if change is Change.FIRED:
        waited = f"{rule.in_.hits} of {rule.in_.slots} looks" if rule.in_ else units.spell(rule.for_)
        return f"{waited} until it fired at {_minute(alert.fired)}" if rule.in_ or rule.for_ else _at_once(alert.fired)
    length = units.spell(alert.slot - alert.fired)
    if change is Change.BLIND:
        return f"firing for {length}; nothing known since {_minute(alert.known or alert.fired)}"
    return f"{length}, from {_minute(alert.fired)} to {_minute(alert.slot)}"


def _at_once(fired: datetime) -> str:
    return f"fired at once, at {_minute(fired)}"


def _minute(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _headline(change: Change, summary: str) -> str:
    leads = {
        Change.RESOLVED: "Resolved: ",
        Change.EXPIRED: "No longer reported, which does not say that it is over: ",
        Change.RULE_CHANGED: "Ended, because its rule was changed: ",
        Change.BLIND: "Blind: nothing is known any more. Before that: ",
    }
    return leads.get(change, "") + summary


def switch_line(app: App | NoAnswer) -> str:
    """Return the killswitch's state on the revisions that serve, as words."""
    if isinstance(app, NoAnswer):
        return f"state unknown: {app.why.value}"
    on = _engaged(app)
    return f"{', '.join(on)} engaged" if on else "not engaged"


def _engaged(app: App) -> list[str]:
    names = container.SCOPES.values()
    return [name for name in names if any(container.engaged(each.env.get(name)) for each in app.serving)]


def query_behind(rule: Rule, signal: Signal | None, target: Target, at: datetime) -> Query | None:
    """Return the query for the value at slot ``at``, over that slot's window alone; None when no query gives it."""
    source = next((each for each in signal.asked(rule.when.only) if isinstance(each, Logs)), None) if signal else None
    if source is None and rule.when.kql is None:
        return None
    try:
        asks = compile_logs(rule, signal, source, target, [Window(at, at - rule.when.over, at)])
    except (LookupError, ValueError):  # a rule that cannot be asked is told as such; its messages still go out
        return None
    return asks[0].query


def story(
    execution: Execution,
    policy: Policy,
    rule: Rule,
    target: Target,
    kind: Kind,
    at: datetime,
    *,
    over: bool = False,
    alert: Alert | None = None,
    signal: Signal | None = None,
) -> Notice:
    """Return the notice for what a policy did, would do, asks for, or failed to do, as of ``at``.

    ``over`` says that the alert's episode has ended by then; ``alert`` is what it was done for, while it is stored.
    """
    unit = unit_of(rule, signal)
    args = ", ".join(f"{key}={value}" for key, value in execution.args.items())
    facts = [
        Fact("State", execution.state),
        *(_what_for(alert, rule, target, unit, at) if alert else []),
        Fact("Target", target.name),
        *(Fact(name, value) for name, value in shown(alert.by if alert else ()).items()),
        Fact("Action", f"{execution.action} {args}".strip()),
        Fact("Why", scrub(execution.reason)),
        *([Fact("Before", scrub(execution.before))] if execution.before else []),
        *([Fact("After", scrub(execution.after))] if execution.after else []),
        Fact("Killswitch", _switch_story(execution)),
        Fact("Undo", f"by {policy.undo.by}" + (f", after {policy.undo.after}" if policy.undo.after else "")),
    ]
    does, manual = _opposite(execution, target)
    return Notice(
        id=f"{execution.id}/{execution.phase.value}/{execution.version}",
        kind=kind,
        episode=execution.episode,
        rule=rule.id,
        target=target.name,
        severity=rule.severity,
        at=at,
        title=scrub(f"{_phrase(execution)}: {execution.action} on {target.name} ({execution.policy})", 300),
        text=scrub(policy.summary),
        facts=tuple(facts),
        first_step=_first_step(rule),
        manual=manual,
        manual_does=does,
        links=_links(rule, target, None),
        labels=given_labels(rule, target, alert.by if alert else ()),
        over=over,
        asks=execution.asks if execution.phase is Phase.ASKED else "",
        engaged=_to_release(execution),
        provenance=f"{policy.file or policy.id} · tocsin {__version__}",
        series=alert.trail if alert else (),
        threshold=bound(rule),
        comparison=comparison(rule),
        unit=unit,
    )


def _what_for(alert: Alert, rule: Rule, target: Target, unit: str, at: datetime) -> list[Fact]:
    """Return what was wrong when something was done about it, and for how long it had been."""
    found = [Fact("Alert", scrub(headline(alert, rule, target, placeholders(alert, rule, target, unit)), 300))]
    if alert.fired and alert.open:
        found.append(Fact("For", f"{units.spell(at - alert.fired)}, since {_minute(alert.fired)}"))
    return found


def _phrase(execution: Execution) -> str:
    """Return how it stands. Of what nothing can be read back of, only what the other side answered is known."""
    if execution.phase is Phase.VERIFIED and not execution.passed:
        return "Done and accepted"
    return "Starting, proof follows" if execution.starting else _PHRASES[execution.phase]


_PHRASES = {
    Phase.REFUSED: "Not done",
    Phase.ASKED: "A person must decide",
    Phase.OBSERVED: "Would be done, but only observing",
    Phase.INTENDED: "About to be done",
    Phase.APPLIED: "Done, proof follows",
    Phase.VERIFIED: "Done and proven",
    Phase.UNVERIFIED: "Done but NOT proven",
    Phase.FAILED: "Could NOT be done",
    Phase.STOOD_DOWN: "Not gone on with",
    Phase.UNDOING: "Being taken back",
    Phase.DECLINED: "Declined by a person",
}

_SWITCHED = {
    Phase.APPLIED: "being {done}; not proven on every serving revision yet",
    Phase.VERIFIED: "{done}, proven on every serving revision",
    Phase.UNVERIFIED: "told to be {done}, but not proven: look at the serving revisions",
}


def _switch_story(execution: Execution) -> str:
    """Return what the policy did to the killswitch, in words."""
    if execution.action in LAST_RESORT and execution.phase is Phase.VERIFIED:
        how = f"tocsin killswitch start --target {execution.target} --reason …"
        return f"the whole app is stopped, and stays so until a person starts it: {how}"
    known = execution.action in ("killswitch.engage", "killswitch.release")
    if execution.phase is Phase.FAILED and execution.attempts:
        return "perhaps changed by this policy: look at the serving revisions"
    if not known or execution.phase not in _SWITCHED:
        return "not touched by this policy"
    variable = container.SCOPES[execution.args.get("scope", "tools")]
    done = "engaged" if execution.action == "killswitch.engage" else "released"
    if execution.starting:
        until = f"{execution.starts_by:%H:%M} UTC" if execution.starts_by else "then"
        return f"{variable} being {done}: the revision with it is starting, which may take until {until}"
    return f"{variable} {_SWITCHED[execution.phase].format(done=done)}"


def _to_release(execution: Execution) -> str:
    on = execution.action == "killswitch.engage" and execution.phase in (Phase.VERIFIED, Phase.UNVERIFIED)
    return execution.args.get("scope", "") if on else ""


def _opposite(execution: Execution, target: Target) -> tuple[str, str]:
    """Return what a person can do by hand, and the command: take back what was done, or do what was not."""
    if execution.action in LAST_RESORT or execution.action == "container_app.start":
        done = execution.phase in (Phase.APPLIED, Phase.VERIFIED)
        verb = "stop" if (execution.action in LAST_RESORT) != done else "start"
        return f"{verb.capitalize()} the whole app by hand", container.turn_by_hand(target, verb)
    variable = container.SCOPES.get(execution.args.get("scope", "tools"), container.SCOPES["tools"])
    done = execution.phase in (Phase.APPLIED, Phase.VERIFIED)
    on = (execution.action != "killswitch.release") != done
    words = "Undo it by hand" if done else "Do it by hand"
    if "bootstrap" in execution.args and not on and target.container_app:
        return words, container.manual(target, variable, "off", container.BOOTSTRAP, container.FOUND_BOOTSTRAP)
    return words, _by_hand(target, variable, on=on)


def _by_hand(target: Target, variable: str, *, on: bool) -> str:
    """Return the command that works when the watcher does not."""
    return container.manual(target, variable, "on" if on else "off") if target.container_app else ""


def _first_step(rule: Rule) -> str:
    if not rule.runbook:
        return ""
    return "Open the runbook: its link is below." if _web(rule.runbook) else f"Open the runbook: {rule.runbook}"


def _web(runbook: str) -> bool:
    return runbook.startswith("https://")


def _links(rule: Rule, target: Target, query: Query | None) -> tuple[tuple[str, str], ...]:
    found = [("Runbook", rule.runbook)] if _web(rule.runbook) else []
    if query and target.workspace_resource:
        found.append(("Query", portal.logs(target.workspace_resource, query)))
    if target.container_app:
        found.append(("Container App", portal.app(target)))
    return tuple(found)
