"""Two states of the operator's files side by side: what was added, removed and changed, key by key, as it was typed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tocsin.core.node import Node
from tocsin.core.policy import Policy
from tocsin.core.read import Written
from tocsin.core.rule import Rule
from tocsin.core.units import spell

Kind = Literal["rule", "policy", "tocsin.yaml"]


@dataclass(frozen=True, slots=True)
class Key:
    """One key that differs; empty where it is not there."""

    path: str
    before: str
    after: str

    def __str__(self) -> str:
        """Return the change in words."""
        return f"{self.path}: {self.before or '(not said)'} → {self.after or '(not said)'}"


@dataclass(frozen=True, slots=True)
class Difference:
    """What became of one rule, one policy, or of ``tocsin.yaml``. ``beware`` says what deserves a second look."""

    kind: Kind
    id: str
    what: Literal["added", "removed", "left out", "changed"]
    keys: tuple[Key, ...] = ()
    summary: str = ""
    beware: tuple[str, ...] = ()


def differences(before: Written, after: Written) -> list[Difference]:
    """Return everything that differs: policies first, for they change production, then rules, then the rest."""
    policies = _of("policy", _nodes(before.policies), _nodes(after.policies), _policies(after))
    rules = _of("rule", _nodes(before.rules), _nodes(after.rules), _rules(after))
    found = [*policies, *rules]
    keys = _keys(before.config, after.config)
    own = [key for key in keys if not key.path.startswith("tuning.")]
    doubts = (*_beware(own), *_hidden(own, after.config))
    # What is tuned stands at its rule.
    return [*found, Difference("tocsin.yaml", "tocsin.yaml", "changed", tuple(own), beware=doubts)] if own else found


def left_out(found: Difference) -> Difference:
    """Return what became of a rule or policy that is gone though its file is there: it has a problem."""
    return replace(found, what="left out", beware=("its file is there, and has a problem", *found.beware))


def _nodes(written: Sequence[tuple[Rule, Node]] | Sequence[tuple[Policy, Node]]) -> dict[str, Node]:
    return {each.id: node for each, node in written}


def _policies(written: Written) -> dict[str, str]:
    return {
        each.id: f"{', then '.join(step.action for step in each.do)} on {each.on.rule or 'any rule'} "
        f"({each.guard.mode.value}){'' if each.enabled else ', off'}"
        for each, _ in written.policies
    }


def _rules(written: Written) -> dict[str, str]:
    return {each.id: f"{each.severity.value}, {_measured(each, node)}" for each, node in written.rules}


def _measured(rule: Rule, node: Node) -> str:
    """Return what a rule measures and the whole of its condition, with its numbers as they were typed."""
    when, lasts = rule.when, rule.in_
    parts = [when.signal or "a query of its own", *_condition(rule, node.at("when")), f"over {spell(when.over)}"]
    parts += [f"only {name} {', '.join(values)}" for name, values in when.only.items()]
    parts += [f"by {', '.join(when.by)}"] * bool(when.by)
    parts += [f"with at least {when.minimum} events"] * bool(when.minimum)
    parts += [f"in {lasts.hits} of {lasts.slots} looks"] if lasts else [f"for {spell(rule.for_)}"] * bool(rule.for_)
    if rule.resolve and rule.resolve.limit:
        op = rule.resolve.limit[0].value
        parts.append(f"until {op.replace('_', ' ')} {_typed(node.at('resolve', op))}")
    return " ".join(parts)


def _condition(rule: Rule, node: Node) -> Iterator[str]:
    when = rule.when
    if when.limit:
        op = when.limit[0].value
        unit = f" {when.unit}" if when.unit not in ("", "ratio", "count") else ""
        yield f"{op.replace('_', ' ')} {_typed(node.at(op))}{unit}"
    if when.change:
        yield f"risen by more than {_typed(node.at('change', 'more_than'))} versus {spell(when.change.versus)} earlier"
    if when.unusual:
        how = when.unusual
        yield f"unusual by a score of {how.score:g} against {spell(how.baseline)} ({how.seasonal})"
    if when.burn_rate:
        how_fast = when.burn_rate
        objective = _typed(node.at("burn_rate", "objective"))
        yield f"burning the objective of {objective} in {spell(how_fast.window)} ({how_fast.alert})"
    if when.absent_for:
        yield "missing"


def _typed(node: Node) -> str:
    return node.typed or node.text or ""


def _of(
    kind: Kind, before: Mapping[str, Node], after: Mapping[str, Node], summaries: Mapping[str, str]
) -> Iterator[Difference]:
    for name in sorted({*before, *after}):
        if name not in before:
            # How far it goes by itself is as much of a doubt as in a policy that was changed.
            doubts = _beware([key for key in _keys(None, after[name]) if key.path == "guard.mode"])
            yield Difference(kind, name, "added", summary=summaries.get(name, ""), beware=doubts)
        elif name not in after:
            beware = ("nothing watches for it any more",) if kind == "rule" else ()
            yield Difference(kind, name, "removed", beware=beware)
        elif keys := _keys(before[name], after[name]):
            doubts = (*_beware(keys), *_proofs(before[name], after[name]))
            yield Difference(kind, name, "changed", tuple(keys), summaries.get(name, ""), doubts)


def _proofs(before: Node, after: Node) -> Iterator[str]:
    """Yield that what is done is proven by less than it was."""
    old, new = (node.get("verify") for node in (before, after))
    had, has = (len(each.items or ()) if each else 0 for each in (old, new))
    if has < had:
        yield f"verify: {had - has} of {had} proofs are gone" + ("" if has else ": nothing proves that it worked")
    elif had and _keys(old, new):
        yield "verify: what proves that it worked is another"


def _keys(before: Node | None, after: Node | None) -> list[Key]:
    old, new = dict(_flat(before)), dict(_flat(after))
    return [
        Key(path, old.get(path, ""), new.get(path, ""))
        for path in dict.fromkeys((*old, *new))
        if old.get(path, "") != new.get(path, "")
    ]


def _flat(node: Node | None, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield each scalar with its path, as it was typed: what settings hold is repeated nowhere."""
    if node is None:
        return
    if node.text is not None:
        yield path, node.typed or node.text
    for key, value in node.pairs or ():
        yield from _flat(value, f"{path}.{key.text}" if path else str(key.text))
    for number, item in enumerate(node.items or ()):
        yield from _flat(item, f"{path}[{_label(item, number)}]")


def _label(item: Node, number: int) -> str:
    """Return what an item of a list is known by: its name, or what it says, so that moving it changes nothing."""
    if item.text is not None:
        return item.typed or item.text
    name = item.get("name") if item.pairs is not None else None
    return (name.text if name else None) or str(number)


_MODES = ("off", "observe", "ask", "act")
_UNSAID = {"automation": "observe", "guard.mode": "off"}
"""What holds where a switch is not written; a policy that was not there did nothing. A target's switch is at act."""
_HIDING = {
    "silences": "a silence hides alerts",
    "quiet_hours": "quiet hours hide alerts",
    "inhibit": "one alert hides others",
}


def _beware(keys: Sequence[Key]) -> tuple[str, ...]:
    gone = {key.path.removesuffix("name") for key in keys if key.path.endswith(".name") and not key.after}
    left = (key for key in keys if not key.path.startswith(tuple(gone)))
    return tuple(words for key in left if (words := _doubt(key)))


def _hidden(keys: Sequence[Key], after: Node | None) -> list[str]:
    """Return what hides alerts that did not: anything of it may have become wider, also by a key that went."""
    touched = {key.path.partition("]")[0] for key in keys if key.path.partition("[")[0] in _HIDING}
    there = {path.partition("]")[0] for path, _ in _flat(after)}
    return sorted({_HIDING[item.partition("[")[0]] for item in touched & there})


def _louder(key: Key) -> str:
    """Return that more is done by itself, or may be: what is not written has its default, and a setting any mode."""
    unsaid = _UNSAID.get(key.path, "act")
    before, after = key.before or unsaid, key.after or unsaid
    louder = _rank(after, _MODES[-1]) > _rank(before, _MODES[0])
    return f"{key.path}: more is done without asking ({before} → {after})" if louder else ""


def _rank(mode: str, unknown: str) -> int:
    return _MODES.index(mode if mode in _MODES else unknown)


def _doubt(key: Key) -> str:
    """Return what a person should look at twice: more is done by itself, less is watched or told."""
    last = key.path.rpartition(".")[2]
    if last in ("mode", "automation"):
        return _louder(key)
    if last == "enabled":
        return {"false": "it is switched off", "true": "it is switched on"}.get(key.after, "it is switched on")
    if key.path == "snooze.until" and key.after:
        return f"nothing watches for it until {key.after}"
    if ".allow[" in f".{key.path}" and key.after:
        return f"an action is allowed that was not: {key.after}"
    if key.path == "if_it_fails.escalate" and not key.after:
        return f"no failure is escalated any more ({key.before})"
    if key.path.startswith("guard."):
        return f"{key.path}: what holds it back is another"
    return ""
