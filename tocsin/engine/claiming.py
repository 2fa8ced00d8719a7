"""Who else wants a switch to be on: whatever a drill engaged, it releases only while nobody does.

A drill is not the one to end what a policy or a person has begun meanwhile: to them the switch was engaged already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tocsin.core import guard, remedy
from tocsin.core.answer import NoAnswer
from tocsin.core.config import Target
from tocsin.core.container import SCOPES
from tocsin.core.container import engaged as is_on
from tocsin.core.fields import Automation
from tocsin.core.hold import Engaged
from tocsin.core.labels import alert_labels
from tocsin.core.policy import Step
from tocsin.core.remedy import Phase, Planned
from tocsin.core.sight import BUILT_IN
from tocsin.engine.tick import Engine

ENGAGE = "killswitch.engage"

_CAME_TO_NOTHING = frozenset({Phase.REFUSED, Phase.ASKED, Phase.OBSERVED, Phase.STOOD_DOWN, Phase.DECLINED})


@dataclass(frozen=True, slots=True)
class Since:
    """What there was before: where the audit ended, how each execution stood, which episodes were open.

    Places, and no times: the clocks of two machines differ.
    """

    place: int = 0
    versions: Mapping[str, int] = field(default_factory=dict)
    episodes: frozenset[str] = frozenset()


def so_far(engine: Engine) -> Since:
    """Return what there is now. Raises ``StoreUnavailable``."""
    store = engine.store
    versions = {each.id: each.version for each in store.executions()}
    return Since(store.audit_end(), versions, frozenset(each.episode for each in store.open_alerts()))


def claims(engine: Engine, target: Target, scope: str, since: Since) -> list[str]:
    """Return who wants the switch on, in words: from ``since``, or still. Raises ``StoreUnavailable``."""
    return [
        *_executions(engine, target, scope, since),
        *_people(engine, target, scope, since),
        *_kept(engine, target, scope),
        *_alerts(engine, target, scope),
        *_lost(engine, target),  # last: what was read above is known to be readable or not
    ]


def written_by_others(engine: Engine, target: Target, scope: str) -> list[str]:
    """Return that the switch has another value than a drill writes: somebody engaged it outside of Tocsin."""
    app, variable = engine.configuration.read(target), SCOPES[scope]
    value = "" if isinstance(app, NoAnswer) else app.env.get(variable, "")
    return [f"{variable} was set to '{value}', which no drill writes"] if is_on(value) and value != "on" else []


def _executions(engine: Engine, target: Target, scope: str, since: Since) -> Iterator[str]:
    for each in engine.store.executions():
        new = each.phase.acting or since.versions.get(each.id) != each.version
        steps = each.plan or (each.planned,)
        if each.target == target.name and new and each.phase not in _CAME_TO_NOTHING and _engages(steps, scope):
            yield f"{each.policy if each.by else f'policy {each.policy}'}: {each.state}"


def _people(engine: Engine, target: Target, scope: str, since: Since) -> Iterator[str]:
    for entry in engine.store.audit(since.place):
        mine = entry["target"] == target.name and entry["actor"].startswith("person ")
        if mine and entry["event"].startswith("engage ") and entry["detail"].get("scope") == scope:
            yield f"{entry['actor']}: {entry['event']}"


def _kept(engine: Engine, target: Target, scope: str) -> Iterator[str]:
    for each in engine.store.kept(Engaged).values():
        if (each.value.target, each.value.scope) == (target.name, scope):
            yield f"{each.value.by} has engaged it and nobody has released it"


def _alerts(engine: Engine, target: Target, scope: str) -> Iterator[str]:
    """Yield the open alerts for which a policy would engage the switch, or ask to, had there been no drill."""
    project = engine.project
    rules = {rule.id: rule for rule in (*BUILT_IN, *project.rules)}
    for alert in engine.store.open_alerts():
        rule = rules.get(alert.rule)
        if rule is None or alert.target != target.name or not alert.open or ENGAGE not in target.allow:
            continue
        for policy in project.policies:
            mode = guard.mode_of(policy, target, project.config.automation)
            answers = remedy.answers(policy, rule, alert, alert_labels(rule, target, alert.by))
            if answers and mode in (Automation.ACT, Automation.ASK) and _engages(policy.do, scope):
                yield f"{alert.rule} is {alert.state.value}, which policy {policy.id} answers"


def _lost(engine: Engine, target: Target) -> Iterator[str]:
    for each in engine.store.unreadable():
        if each.what in ("execution", "alert", Engaged.__name__) and each.may_be_about(target.name):
            yield str(each)


def _engages(steps: Sequence[Planned | Step], scope: str) -> bool:
    """Return whether one of the steps engages this switch, or one that the alert will say."""
    return any(
        each.action == ENGAGE and (each.args.get("scope") == scope or "{" in str(each.args.get("scope")))
        for each in steps
    )
