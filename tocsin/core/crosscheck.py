"""What no file can know alone: names that must exist elsewhere, and things that must fit together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tocsin.core.action import Takes
from tocsin.core.audience import Route
from tocsin.core.config import Config, Target
from tocsin.core.errors import Problem, nearest
from tocsin.core.fields import POSTED, Automation, Severity
from tocsin.core.guard import FOR_A_PERSON
from tocsin.core.kql_shape import broken
from tocsin.core.native import IDS
from tocsin.core.node import Node
from tocsin.core.policy import Check, Policy, Step
from tocsin.core.reach import always, condition_problems, limit_problems
from tocsin.core.remedy import LAST_RESORT
from tocsin.core.rule import Rule
from tocsin.core.schema import CLASSIC
from tocsin.core.selecting import LABELS, Names, missing, muting_problems, nameable, route_problems
from tocsin.core.signal import Configured, Gauge, Logs, Signal, Source
from tocsin.core.text import PLACEHOLDER


@dataclass(frozen=True, slots=True)
class Known:
    """The names there are: signals, receiver types with their options (name → needed), actions with their arguments."""

    signals: Mapping[str, Signal] = field(default_factory=dict)
    receivers: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    actions: Mapping[str, Takes] = field(default_factory=dict)


_OWN = frozenset({"value", "threshold", "window", "target", "rule", "severity"})
_CLOCK = re.compile(r"\b(ago|now)\s*\(")
_QUOTED = re.compile(r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|//[^\n]*")


def rule_problems(rule: Rule, node: Node, config: Config, known: Known) -> Iterator[Problem]:
    """Yield what is wrong with a rule beside its own syntax."""
    signal = known.signals.get(rule.when.signal or "")
    if rule.when.signal and signal is None:
        yield missing(node.at("when", "signal"), "unknown-signal", "signal", rule.when.signal, known.signals)
    if rule.counting == "arrivals" and not (signal and signal.counting and not rule.when.change):
        words = "only counts can count arrivals: a signal that counts, and no `change`"
        yield node.at("counting").problem("bad-counting", words)
    yield from _series_problems(rule, node, signal)
    if rule.when.kql is not None:
        yield from _kql_problems(rule.when.kql, node.at("when", "kql"))
    yield from condition_problems(rule, node, signal)
    if signal is not None:
        for number, name in enumerate(rule.when.by):
            if name not in signal.dimensions:
                yield _no_dimension(node.at("when", "by", number), name, signal, known)
        yield from _only_problems(rule, node.at("when", "only"), signal, known)
    elif rule.when.only:
        yield node.at("when", "only").problem("needs-a-signal", "`only` needs a signal: an own query says it itself")
    yield from _placeholder_problems(rule, node, config)
    yield from _reserved(rule.labels, node.at("labels"))
    selectors = [{**target.labels, "target": target.name, "name": target.name} for target in config.targets]
    wanted = rule.targets.items()
    if selectors and not any(all(labels.get(key) == value for key, value in wanted) for labels in selectors):
        yield node.at("targets").problem("no-target", "no target has these labels: the rule watches nothing")


def _no_dimension(place: Node, name: str, signal: Signal, known: Known) -> Problem:
    problem = missing(place, "unknown-dimension", f"dimension of {signal.name}", name, signal.dimensions)
    others = sorted(each.name for each in known.signals.values() if name in each.dimensions)
    return replace(problem, hint=f"{name} is a dimension of {', '.join(others)}") if others else problem


def _only_problems(rule: Rule, node: Node, signal: Signal, known: Known) -> Iterator[Problem]:
    for name, values in rule.when.only.items():
        if name not in signal.dimensions:
            yield _no_dimension(node.key(name) or node, name, signal, known)
            continue
        says = [each.says.get(name) for each in signal.sources if not isinstance(each, Gauge)]
        choices = [value for each in says for value in each or ()]
        for number, value in enumerate(values if None not in says else ()):
            if choices and value not in choices:
                yield missing(node.at(name, number), "bad-choice", name, value, choices)


def _series_problems(rule: Rule, node: Node, signal: Signal | None) -> Iterator[Problem]:
    """Yield what is wrong with a condition over several windows."""
    when = rule.when
    kind = next((key for key in ("unusual", "burn_rate", "absent_for") if getattr(when, key) is not None), "")
    if kind and when.kql is not None:
        yield node.at("when").problem("needs-a-signal", f"`{kind}` needs a signal: an own query sees one window only")
    if when.unusual and len(when.unusual.looks(when.over)) < when.unusual.history:
        words = f"its baseline holds {len(when.unusual.looks(when.over))} earlier windows, and `history` asks for more"
        yield node.at("when", "unusual").problem("too-little-history", words)
    if when.unusual and not when.unusual.apart(when.over):
        words = "the window is so long that it would be held against itself: at most half a season"
        yield node.at("when", "over").problem("too-little-history", words)
    kind = kind or ("change" if when.change else "")
    if kind and signal and any(_of_now(source) for source in signal.sources):
        words = f"`{kind}` needs a signal that knows its past: what is read now has no history"
        yield node.at("when", "signal").problem("needs-a-signal", words)
    asked = signal.asked(when.only) if signal else ()
    if rule.counting == "arrivals" and signal and not any(isinstance(source, Logs) for source in asked):
        yield node.at("counting").problem("bad-counting", "only telemetry rows arrive: this signal is read")
    if when.burn_rate and signal is not None and signal.unit != "ratio":
        ratios = "of which some fail: one whose unit is ratio"
        yield node.at("when", "signal").problem("needs-a-ratio", f"`burn_rate` needs a signal {ratios}")
    if when.absent_for and when.by:
        yield node.at("when", "by").problem("needs-no-by", "`absent_for` has no `by`: who never was is not missed")
    if kind and rule.counting == "arrivals":
        yield node.at("counting").problem("bad-counting", f"`{kind}` is about when things happened")


def _of_now(source: Source) -> bool:
    return isinstance(source, Configured) or (isinstance(source, Gauge) and source.instant)


def _kql_problems(text: str, place: Node) -> Iterator[Problem]:
    if not text.strip():
        yield place.problem("empty-kql", "the query is empty")
    elif wrong := broken(text):
        yield place.problem("bad-kql", wrong)
    code = _QUOTED.sub(" ", text)
    if _CLOCK.search(code):
        yield place.problem("wall-clock", "ago() and now() have no place here: the window is applied outside the query")
    for classic, table in CLASSIC.items():
        if re.match(rf"\s*{classic}\b", code):
            yield place.problem(
                "classic-table", f"'{classic}' is the classic name of '{table}'", f"did you mean '{table}'?"
            )


def _placeholder_problems(rule: Rule, node: Node, config: Config) -> Iterator[Problem]:
    labels = {name for target in config.targets for name in target.labels}
    usable = {*_OWN, *rule.when.by, *rule.labels, *labels}
    for key in ("summary", "description"):
        for name in PLACEHOLDER.findall(getattr(rule, key)):
            if name not in usable:
                yield missing(node.at(key), "unknown-placeholder", "placeholder", name, usable)


def policy_problems(
    policy: Policy, node: Node, rules: Collection[str], config: Config, known: Known
) -> Iterator[Problem]:
    """Yield what is wrong with a policy beside its own syntax."""
    if policy.on.rule is not None and policy.on.rule not in {*rules, *IDS}:
        yield missing(node.at("on", "rule"), "unknown-rule", "rule", policy.on.rule, {*rules, *IDS})
    if (policy.on.rule in IDS or POSTED in policy.on.labels.items()) and policy.on.firing_for:
        words = "nobody looks again while an alert of Azure Monitor's own fires: it is answered at once or never"
        yield node.at("on", "firing_for").problem("never-fires-so-long", words)
    names = nameable(config, rules, ())
    for label in sorted(names.values.keys() & policy.on.labels.keys()):
        yield from names.unknown(label, policy.on.labels[label], node.at("on", "labels", label))
    yield from _hold_problems(policy, node)
    last = next((step.action for step in policy.do if step.action in LAST_RESORT), "")
    if last and policy.guard.mode is Automation.ACT:
        words = f"{last} is the last resort, which a person decides: `mode: ask`"
        yield node.at("guard", "mode").problem("always-asked", words)
    for number, step in enumerate(policy.do):
        yield from _step_problems(step, policy, node.at("do", number), known)
        yield from _placed(step, node.at("do", number, step.action), config, known)
    for number, check in enumerate(policy.verify):
        if check.signal is not None and check.signal not in known.signals:
            place = node.at("verify", number, "signal")
            yield missing(place, "unknown-signal", "signal", check.signal, known.signals)
        elif check.signal is not None and not any(
            isinstance(each, Logs) for each in known.signals[check.signal].sources
        ):
            place = node.at("verify", number, "signal")
            yield place.problem("needs-a-signal", "a proof needs a signal of telemetry rows")
        elif check.signal is not None:
            yield from _proof_problems(check, node.at("verify", number), known.signals[check.signal].unit)
    told = {*config.receivers, *(each.value for each in Severity)}
    if policy.if_it_fails and policy.if_it_fails.escalate not in told:
        place, name = node.at("if_it_fails", "escalate"), policy.if_it_fails.escalate
        yield missing(place, "unknown-receiver", "receiver or severity", name, told)


def _proof_problems(check: Check, node: Node, unit: str) -> Iterator[Problem]:
    yield from limit_problems(check, node, unit)
    if always(check, unit):
        yield node.problem("always-holds", "whatever is measured would prove it")


def _hold_problems(policy: Policy, node: Node) -> Iterator[Problem]:
    """What holds a switch answers its drift and engages it; what answers its drift and engages it holds it."""
    drift = policy.on.rule == DRIFT
    engages = [step.action == "killswitch.engage" for step in policy.do]
    if policy.hold and not (drift and any(engages)):
        words = f"`hold` is for a policy on the rule {DRIFT} that does killswitch.engage"
        yield node.at("hold").problem("bad-hold", words)
    if drift and any(engages) and not policy.hold:
        yield node.at("do", engages.index(True)).problem("bad-hold", "what engages a switch again says `hold: true`")


DRIFT = "killswitch_drift"
"""The rule that tells of a switch which was engaged and has gone."""


def _step_problems(step: Step, policy: Policy, node: Node, known: Known) -> Iterator[Problem]:
    action, args = step.action, step.args
    place = node.key(action) or node
    if action in FOR_A_PERSON:
        command = "start" if action == "container_app.start" else "release"
        yield place.problem("for-a-person", f"{action} is for a person: `tocsin killswitch {command}`")
        return
    if action not in known.actions:
        yield missing(place, "unknown-action", "action", action, known.actions)
        return
    takes = known.actions[action]
    for name in takes.lacking(args):
        choices = takes.args[name].choices if name in takes.args else ()
        yield place.problem("missing-argument", f"{action} needs '{name}'", choices=choices)
    if step.undo_on_failure and (not takes.undone or action.startswith("killswitch.") or action in LAST_RESORT):
        words = "a person releases it" if takes.undone else "nothing can"
        yield (node.key("undo_on_failure") or place).problem("cannot-undo", f"no policy takes {action} back: {words}")
    for name, value in args.items():
        arg = takes.arg(name)
        if arg is not None and policy.hold and value == "{scope}":
            continue
        if arg is None:
            choices = (*takes.args, *(f"{prefix}NAME" for prefix in takes.prefix))
            yield missing(node.at(action).key(name) or place, "unknown-argument", "argument", name, choices)
        elif arg.choices and not arg.takes(value):
            yield missing(node.at(action, name), "bad-choice", name, value, arg.choices)
        elif not arg.takes(value):
            yield node.at(action, name).problem("bad-argument", f"'{value}' is not {arg.says}")


SUBSTITUTED = ("rule", "severity", "target")
"""What an argument may have in braces, beside the labels of targets: the operator's own files say all of it."""


def _placed(step: Step, node: Node, config: Config, known: Known) -> Iterator[Problem]:
    """Yield each placeholder for what telemetry says: whoever writes telemetry would write the action's argument."""
    takes = known.actions.get(step.action, Takes())
    declared = tuple(sorted({*SUBSTITUTED, *(name for target in config.targets for name in target.labels)}))
    for name, value in step.args.items():
        arg = takes.arg(name)
        for placeholder in PLACEHOLDER.findall(value) if arg and not arg.choices else ():
            if placeholder not in declared:
                words = f"'{{{placeholder}}}' cannot stand in an argument: telemetry says what it is, not your files"
                yield node.at(name).problem("unsafe-placeholder", words, nearest(placeholder, declared), declared)


def config_problems(
    config: Config, node: Node, names: Names, known: Known, tunable: Collection[str]
) -> Iterator[Problem]:
    """Yield what is wrong with ``tocsin.yaml`` beside its own syntax. ``names`` are what alerts can be selected by."""
    for name, receiver in config.receivers.items():
        yield from _receiver_problems(name, receiver.type, receiver.options, node.at("receivers", name), known)
    yield from route_problems(config.routes, node.at("routes"), config, names)
    yield from muting_problems(config, node, names)
    if config.targets and not (config.fallback or _everybody(config.routes, ())):
        words = "some alerts reach nobody: name receivers in `to` at the root of `routes`, or a `fallback`"
        yield node.at("routes").problem("nobody-told", words)
    if config.fallback and config.fallback not in config.receivers:
        yield missing(node.at("fallback"), "unknown-receiver", "receiver", config.fallback, config.receivers)
    yield from _target_problems(config, node.at("targets"), known)
    for name in config.tuning:
        if name not in tunable:
            place = node.at("tuning").key(name) or node.at("tuning")
            yield missing(place, "unknown-rule", "rule or policy", name, tunable)


def _receiver_problems(name: str, kind: str, options: Mapping[str, str], node: Node, known: Known) -> Iterator[Problem]:
    if kind not in known.receivers:
        yield missing(node.at("type"), "unknown-receiver-type", "type of receiver", kind, known.receivers)
        return
    wanted = known.receivers[kind]
    for option, needed in wanted.items():
        if needed and option not in options:
            yield node.problem("missing-option", f"receiver '{name}' of type {kind} needs '{option}'")
    for option in options:
        if option not in wanted:
            yield missing(node.key(option) or node, "unknown-option", f"option of {kind}", option, wanted)


def _everybody(route: Route, above: tuple[str, ...]) -> bool:
    """Return whether whatever comes to this route reaches somebody."""
    told = route.to or above
    return bool(told) and all(_everybody(child, told) for child in route.routes)


RESERVED = frozenset({*LABELS, "name"})
"""Labels that say which alert it is: nobody's own can take their place."""


def _reserved(labels: Collection[str], node: Node) -> Iterator[Problem]:
    for name in sorted(RESERVED.intersection(labels)):
        words = f"'{name}' is a label of Tocsin's own, and another value of it would never be seen"
        yield (node.key(name) or node).problem("reserved-label", words)


def _target_problems(config: Config, node: Node, known: Known) -> Iterator[Problem]:
    counted = Counter(target.name for target in config.targets)
    apps = Counter(_app(target) for target in config.targets if target.container_app)
    for number, target in enumerate(config.targets):
        if counted[target.name] > 1:
            yield node.at(number, "name").problem("duplicate-target", f"more than one target is called '{target.name}'")
        if apps[_app(target)] > 1:
            words = f"more than one target is the container {target.container} of {target.container_app}"
            yield node.at(number, "container_app").problem("duplicate-app", words)
        yield from _reserved(target.labels, node.at(number, "labels"))
        # A target is watched all the same, and told to be blind: no file's mistake may end that.
        if not target.workspace.strip():
            yield node.at(number, "workspace").problem("bad-length", "'workspace' is empty: nothing can be seen")
        yield from _telemetry_problems(target, config, node.at(number))
        for at, action in enumerate(target.allow):
            if action not in known.actions:
                yield missing(node.at(number, "allow", at), "unknown-action", "action", action, known.actions)


def _telemetry_problems(target: Target, config: Config, node: Node) -> Iterator[Problem]:
    """Yield that nothing says which telemetry is the target's, or that another target's is taken for it."""
    if not (target.application_insights or target.role_name.strip()):
        keys = [each for name in _FOUND_BY if (each := node.get(name)) is not None]
        unset = [each.typed for each in keys if each.typed]
        words = "nothing says which telemetry is this target's: name its `application_insights`, or its `role_name`"
        if unset:
            words = f"{' and '.join(unset)} {'are' if unset[1:] else 'is'} not set: {words}"
        yield (keys[-1] if keys else node).problem("missing-setting" if unset else "no-telemetry", words)
    mixed = [each.name for each in config.targets if each is not target and _mixed(each, target)]
    if mixed:
        listed = " and ".join([target.name, *mixed])
        words = f"{listed} share one Application Insights component: each needs a `role_name` of its own"
        yield node.at("application_insights").problem("shared-telemetry", words)


_FOUND_BY = ("application_insights", "role_name")


def _mixed(one: Target, other: Target) -> bool:
    """Return whether rows of the one can be taken for the other's: by a component alone nobody tells two apps apart."""
    components = {each.application_insights.lower() for each in (one, other)}
    apart = one.role_name and other.role_name and one.role_name != other.role_name
    return len(components) == 1 and components != {""} and not apart


def worst_first(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Return problems by place, each place once."""
    return tuple(sorted({(each.path, each.line, each.column, each.id): each for each in problems}.values()))


def _app(target: Target) -> tuple[str, str]:
    return target.app_id.casefold(), target.container
