"""From nodes to models: every problem of every file, each at the key or value it is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tocsin.core import meant
from tocsin.core.config import APP_KEYS, Config
from tocsin.core.errors import Problem, did_you_mean, nearest
from tocsin.core.evals import Terms
from tocsin.core.mending import Mending, later
from tocsin.core.node import Node
from tocsin.core.places import Path, keys, model_at, steps
from tocsin.core.policy import Policy
from tocsin.core.rule import Rule

M = TypeVar("M", bound=BaseModel)

_ROUNDS = 8
"""How often a document is mended: what is wrong in a part shows what was hidden in the whole."""

MOST = 100
"""How many problems of one file are told; a file with more is something else altogether."""


ACCEPTED: Mapping[str, tuple[str, str, float]] = {
    "p95_latency": ("above", "p95_latency_ms", 1.0),
    "p95_latency_elevated": ("above", "p95_latency_ms", 0.5),
    "cost_per_call": ("above", "cost_per_call_usd", 1.0),
    "groundedness_drop": ("below", "groundedness_threshold", 1.0),
    "quality_drop": ("below", "quality_threshold", 1.0),
}
"""The shipped rules whose limit an ``accelerator.yaml`` sets: the comparison, the key of ``acceptance``, the share."""


SKIPPED = "hitl_skipped"
"""The shipped rule that asks for ``solution.hitl: required`` in a target's ``accelerator.yaml``."""

NOT_REQUIRED = "it runs only where the target's accelerator.yaml says `solution.hitl: required`"


@dataclass(frozen=True, slots=True)
class Project:
    """Everything the operator wrote, as far as it could be read, and every problem found.

    ``digests`` holds the start of each file's SHA-256, so that a message can say by which version it was decided.
    ``terms`` are what a target's eval results are held to, by the target's name.
    """

    rules: tuple[Rule, ...] = ()
    policies: tuple[Policy, ...] = ()
    config: Config = field(default_factory=Config)
    problems: tuple[Problem, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)
    terms: Mapping[str, Terms] = field(default_factory=dict)

    def held_to(self, rule: Rule, target: str) -> Rule:
        """Return the rule as it is judged on a target: those of ``ACCEPTED`` by what its ``accelerator.yaml`` says.

        What an operator wrote under ``tuning`` is nearer than the accelerator's file, and stands. A tool that skips
        approval is an alert only where the file says that approval is required.
        """
        terms = self.terms.get(target, Terms())
        if rule.id == SKIPPED and terms.hitl != "required":
            return rule.model_copy(update={"enabled": False})
        asked = terms.acceptance
        op, key, share = ACCEPTED.get(rule.id, ("", "", 1.0))
        if asked is None or key not in asked.model_fields_set:
            return rule
        tuned = self.config.tuning.get(rule.id, {}).get("when") or {}
        if getattr(rule.when, op) is None or rule.resolve is not None or op in tuned:
            return rule
        limit = share * float(getattr(asked, key))
        return rule.model_copy(update={"when": rule.when.model_copy(update={op: limit})})


@dataclass(frozen=True, slots=True)
class Written:
    """The project beside the nodes it was made of, for what is told of a place: rules and policies without an error.

    ``texts`` are the files as they stand, by their path; ``config`` is None where ``tocsin.yaml`` could not be read.
    """

    project: Project = field(default_factory=Project)
    rules: tuple[tuple[Rule, Node], ...] = ()
    policies: tuple[tuple[Policy, Node], ...] = ()
    config: Node | None = None
    texts: Mapping[str, str] = field(default_factory=dict)


LATER: Mapping[str, frozenset[str]] = {
    "When": frozenset({"event"}),
}
"""Keys of the language that this version does not have yet: named as such, never as misspelt."""


@dataclass(frozen=True, slots=True)
class Examined(Generic[M]):
    """What a document is, and every problem in it.

    ``made`` is None for one with problems. ``stand_in`` is then made of ``node``, in which other values stand for what
    is wrong: it is there to be checked against other files, and never used.
    """

    made: M | None
    problems: list[Problem]
    stand_in: M | None
    node: Node


def examined(model: type[M], node: Node, extra: Mapping[str, str], incomplete: bool = False) -> Examined[M]:
    """Return what a document is. ``extra`` are keys that are not in the file.

    What is wrong hides nothing else: see ``core.mending``. Of an ``incomplete`` document, some of which was refused
    before, nothing is said to be missing.
    """
    if node.pairs is None:
        problem = node.problem("not-a-mapping", f"a mapping was expected, found {node.kind}")
        return Examined(None, [problem], None, node)
    made, errors = _validated(model, node, extra)
    problems = _problems(model, node, errors, incomplete)
    mending, stand_in = Mending(node), made
    for _ in range(_ROUNDS if errors else 0):
        mending.mend(model, errors[:MOST])
        stand_in, errors = _validated(model, mending.node, extra) if mending.node.pairs else (None, [])
        problems += _problems(model, mending.node, list(later(errors, mending)), incomplete=True)
        if not errors:
            break
    return Examined(made if not problems else None, list(dict.fromkeys(problems))[: MOST + 1], stand_in, mending.node)


def build(
    model: type[M], node: Node, extra: Mapping[str, str], incomplete: bool = False
) -> tuple[M | None, list[Problem]]:
    """Return the model of a document, or None and every problem in it: see ``examined``."""
    found = examined(model, node, extra, incomplete)
    return found.made, found.problems


def build_what_can_be(model: type[M], node: Node, incomplete: bool = False) -> tuple[M | None, Node, Examined[M]]:
    """Return the model without the parts that have problems, its nodes, and what was found.

    For the one file everything depends on: a misspelt receiver must not stop the watch over every target. What is left
    out errs towards watching and telling, never towards acting: see ``_marked``.
    """
    found = examined(model, node, {}, incomplete)
    made, kept = found.made, node
    while made is None and kept.pairs:
        _, errors = _validated(model, kept, {})
        bad = {path for error in errors[:MOST] for path in _bad(kept, error)}
        for path in bad:
            kept = _marked(kept, path)
        for path in sorted(bad, key=_order, reverse=True):
            kept = kept.without(path) if path[-1:] != ("automation",) or len(path) == 1 else kept
        made, _ = _validated(model, kept, {})
    return made, kept, found


def _bad(node: Node, error: ErrorDetails) -> list[Path]:
    """Return what has to go for an error to go: the value it is about, or the owner that lacks one."""
    path, _ = steps(node, error["loc"][:-1] if error["type"] == "missing" else error["loc"])
    # A target whose app is half named is still watched by its telemetry.
    return [(*path, key) for key in APP_KEYS] if error["type"] == "half-an-app" else [path]


def _marked(node: Node, path: Path) -> Node:
    """Tell Tocsin to be careful with what has lost a part: no action on a target, no route that ends the search."""
    if path[:1] == ("targets",) and len(path) > 2:
        return node.having(path[:2], "automation", "off")
    routes = [at for at in range(2, len(path)) if path[at - 2] == "routes" and isinstance(path[at - 1], int)]
    return node.having(path[: max(routes)], "continue", "true") if routes and path[0] == "routes" else node


def _order(path: Path) -> list[tuple[bool, str | int]]:
    return [(isinstance(part, str), part) for part in path]


def _validated(model: type[M], node: Node, extra: Mapping[str, str]) -> tuple[M | None, list[ErrorDetails]]:
    try:
        return model.model_validate({**node.plain(), **extra}, by_alias=True, by_name=False), []
    except ValidationError as error:
        return None, error.errors(include_url=False, include_input=False)


def _problems(model: type[BaseModel], node: Node, errors: Sequence[ErrorDetails], incomplete: bool) -> list[Problem]:
    # An item that is wrong itself leaves its list too short; that is no second problem.
    inside = {error["loc"][:-1] for error in errors}
    told = [
        each
        for each in errors
        if each["type"] != "missing" and not (each["type"] == "too_short" and each["loc"] in inside)
    ]
    found = [_problem(model, node, error) for error in told[:MOST]]
    if len(told) > MOST:
        found.append(node.problem("too-many", f"{len(told) - MOST} more problems in this file"))
    return found if incomplete else [*found, *_missing_keys(model, node, errors)]


def _missing_keys(model: type[BaseModel], node: Node, errors: Sequence[ErrorDetails]) -> Iterator[Problem]:
    """Yield one problem for each mapping that lacks keys; of a key that is misspelt nothing is said to be missing."""
    lacking: dict[Path, list[str]] = {}
    for error in errors:
        if error["type"] == "missing":
            lacking.setdefault(steps(node, error["loc"][:-1])[0], []).append(str(error["loc"][-1]))
    extra = [error["loc"] for error in errors[:MOST] if error["type"] == "extra_forbidden"]
    for path, names in lacking.items():
        near = [nearest(str(loc[-1]), keys(model, loc[:-1])) for loc in extra if loc[:-1] == path]
        left = [name for name in names if f"did you mean '{name}'?" not in near]
        if left:
            listed = " and ".join(f"'{name}'" for name in left)
            yield node.at(*path).problem("missing-key", f"{listed} {'is' if len(left) == 1 else 'are'} needed here")


def _problem(model: type[BaseModel], node: Node, error: ErrorDetails) -> Problem:
    path = tuple(error["loc"])
    if error["type"] == "extra_forbidden":
        return _unknown_key(model, node, path)
    _, place = steps(node, path)
    inside = place.key(str(error.get("ctx", {}).get("at", "")))
    identity, message = _words(error, place)
    choices = _choices(error)
    near = str(error.get("ctx", {}).get("meant", "")) or meant.choice(place.text or "", choices)
    hint = did_you_mean(near) or (nearest(place.text or "", choices) if choices else _quoting(error["type"], place))
    return (inside or place).problem(identity, message, hint, choices, "values" if choices else "")


def _quoting(kind: str, place: Node) -> str:
    """Return what to do where a text was meant and its first letters made it something else to YAML."""
    if kind in ("string_type", "string_too_short") and (place.pairs is not None or place.items is not None):
        return "a text that begins with { or [ needs quotes"
    return "a text that begins with # needs quotes" if kind.startswith("string") and ": #" in place.source else ""


def _unknown_key(model: type[BaseModel], node: Node, path: Path) -> Problem:
    name = str(path[-1])
    _, inside = steps(node, path[:-1])
    place = inside.key(name) or inside
    owner = model_at(model, path[:-1])
    if owner and name in LATER.get(owner.__name__, frozenset()):
        return place.problem("not-yet", f"'{name}' is part of the language, but not of this version")
    known = keys(model, path[:-1])
    return place.problem("unknown-key", f"no key '{name}' here", nearest(name, known), known, "keys")


_KINDS = {
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
    "string_type": "a text",
    "time_delta_type": "a duration",
    "datetime_type": "a day or a time",
    "float_type": "a number",
    "int_type": "a whole number",
    "bool_type": "true or false",
}


def _words(error: ErrorDetails, place: Node) -> tuple[str, str]:
    kind = error["type"]
    if kind in _KINDS:
        return "wrong-kind", f"{_KINDS[kind]} was expected, found {place.kind}"
    if kind in ("enum", "literal_error"):
        return "bad-choice", f"'{place.text}' is not one of the choices"
    if kind == "string_pattern_mismatch":
        return "bad-name", f"'{place.text}' is not a name: small letters, digits and -, a letter or digit first"
    if kind in ("string_too_short", "string_too_long", "too_short", "too_long"):
        return "bad-length", error["msg"][0].lower() + error["msg"][1:]
    # Our own kinds are written with a dash, as here; whatever else pydantic may find keeps its own sentence.
    return kind if "-" in kind else "bad-value", error["msg"]


def _choices(error: ErrorDetails) -> tuple[str, ...]:
    expected = str(error.get("ctx", {}).get("expected", ""))
    return tuple(part.strip(" '") for part in expected.replace(" or ", ", ").split(",") if part.strip(" '"))
