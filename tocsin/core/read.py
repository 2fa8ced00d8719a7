"""From nodes to models: every problem of every file, each at the key or value it is about."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tocsin.core.config import Config
from tocsin.core.errors import Problem, nearest
from tocsin.core.node import Node
from tocsin.core.policy import Policy
from tocsin.core.rule import Rule

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Project:
    """Everything the operator wrote, as far as it could be read, and every problem found.

    ``digests`` holds the start of each file's SHA-256, so that a message can say by which version it was decided.
    """

    rules: tuple[Rule, ...] = ()
    policies: tuple[Policy, ...] = ()
    config: Config = field(default_factory=Config)
    problems: tuple[Problem, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)


LATER: Mapping[str, frozenset[str]] = {
    "When": frozenset({"unusual", "burn_rate", "absent_for", "event"}),
    "Guard": frozenset({"blast_radius", "needs", "hours"}),
    "Policy": frozenset({"hold"}),
    "Config": frozenset({"inhibit", "quiet_hours", "silences", "escalate"}),
    "Step": frozenset({"id", "undo_on_failure"}),
}
"""Keys of the language that this version does not have yet: named as such, never as misspelt."""


def build(model: type[M], node: Node, extra: Mapping[str, str]) -> tuple[M | None, list[Problem]]:
    """Return the model of a document, or None and every problem in it. ``extra`` are keys that are not in the file."""
    if node.pairs is None:
        return None, [node.problem("not-a-mapping", f"a mapping was expected, found {node.kind}")]
    try:
        return model.model_validate({**node.plain(), **extra}), []
    except ValidationError as error:
        return None, _once(_problem(model, node, each) for each in error.errors())


def build_what_can_be(model: type[M], node: Node) -> tuple[M | None, list[Problem]]:
    """Return the model without the parts that have problems, and every problem.

    For the one file everything depends on: a misspelt receiver must not stop the watch over every target.
    """
    made, problems = build(model, node, {})
    if made is not None or node.pairs is None:
        return made, problems
    try:
        model.model_validate(node.plain())
    except ValidationError as error:
        kept = node.without([tuple(each["loc"][:2]) for each in error.errors()])
        made, _ = build(model, kept, {})
    return made, problems


def _once(problems: Iterable[Problem]) -> list[Problem]:
    """Keep the first problem of each place: what is wrong there is one thing."""
    return list({(each.line, each.column): each for each in reversed(list(problems))}.values())


def _problem(model: type[BaseModel], node: Node, error: ErrorDetails) -> Problem:
    path = tuple(error["loc"])
    if error["type"] == "extra_forbidden":
        return _unknown_key(model, node, path)
    place = node.at(*path)
    if error["type"] == "missing":
        return _missing_key(node, path)
    identity, message = _words(error, place)
    choices = _choices(error)
    return place.problem(identity, message, nearest(place.text or "", choices), choices)


def _unknown_key(model: type[BaseModel], node: Node, path: Sequence[str | int]) -> Problem:
    name = str(path[-1])
    owner = _model_at(model, path[:-1])
    place = node.at(*path[:-1]).key(name) or node.at(*path)
    if owner and name in LATER.get(owner.__name__, frozenset()):
        return place.problem("not-yet", f"'{name}' is part of the language, but not of this version")
    known = tuple(sorted(found.alias or key for key, found in owner.model_fields.items())) if owner else ()
    known = tuple(key for key in known if key not in ("id", "file"))
    return place.problem("unknown-key", f"no key '{name}' here", nearest(name, known), known)


def _missing_key(node: Node, path: Sequence[str | int]) -> Problem:
    owner, name = node.at(*path[:-1]), path[-1]
    return owner.problem("missing-key", f"'{name}' is needed here")


_KINDS = {
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
    "string_type": "a text",
    "timedelta_type": "a duration",
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
        return "bad-name", f"'{place.text}' is not a name: small letters, digits and one kind of dash, a letter first"
    if kind in ("string_too_short", "string_too_long", "too_short", "too_long"):
        return "bad-length", error["msg"][0].lower() + error["msg"][1:]
    return kind, error["msg"]


def _choices(error: ErrorDetails) -> tuple[str, ...]:
    expected = str(error.get("ctx", {}).get("expected", ""))
    return tuple(part.strip(" '") for part in expected.replace(" or ", ", ").split(",") if part.strip(" '"))


def _model_at(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel] | None:
    """Return the model at a path, for the keys it knows."""
    here: Any = model
    for part in path:
        here = _below(here, part)
    return here if isinstance(here, type) and issubclass(here, BaseModel) else None


def _below(here: Any, part: str | int) -> Any:
    if isinstance(here, type) and issubclass(here, BaseModel):
        found = next((each for key, each in here.model_fields.items() if part in (each.alias, key)), None)
        return _bare(found.annotation) if found else None
    arguments = typing.get_args(here)
    return _bare(arguments[-1] if typing.get_origin(here) is dict else arguments[0]) if arguments else None


def _bare(annotation: Any) -> Any:
    """Return what an annotation is about: without ``Annotated`` and without ``None``."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _bare(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return _bare(next(each for each in typing.get_args(annotation) if each is not type(None)))
    return annotation
