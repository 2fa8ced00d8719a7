"""From a path in a model to the place in the file, and to what may stand there."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from enum import Enum
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tocsin.core.node import Node
from tocsin.core.policy import ABOUT

Path = tuple[str | int, ...]


def steps(node: Node, path: Sequence[str | int]) -> tuple[Path, Node]:
    """Return how far a path of the model goes in the file, and the node there.

    A receiver's ``options`` and a step's ``args`` stand in the model alone; in the file they are their owner's keys.
    """
    here = node
    taken: list[str | int] = []
    for part in path:
        below = here.at(part)
        name: str | int = part
        if below is here and part == "args":
            name, below = next(
                ((key.text or "", found) for key, found in here.pairs or () if key.text not in ABOUT), (name, here)
            )
        if below is not here:
            taken.append(name)
            here = below
        elif part != "options":
            break
    return tuple(taken), here


def keys(model: type[BaseModel], path: Sequence[str | int]) -> tuple[str, ...]:
    """Return the keys an operator may write at a path."""
    owner = model_at(model, path)
    names = sorted(found.alias or key for key, found in owner.model_fields.items()) if owner else ()
    return tuple(key for key in names if key not in ("id", "file"))


def model_at(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel] | None:
    """Return the model at a path, for the keys it knows."""
    here: Any = model
    for part in path:
        here = _below(here, part)
    return here if isinstance(here, type) and issubclass(here, BaseModel) else None


def _below(here: Any, part: str | int) -> Any:
    if isinstance(here, type) and issubclass(here, BaseModel):
        found = _field(here, part)
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


def field_at(model: type[BaseModel], path: Sequence[str | int]) -> FieldInfo | None:
    """Return the field that a path of the model ends in; None for an item of a list or of a mapping of names."""
    owner = model_at(model, path[:-1]) if path else None
    return _field(owner, path[-1]) if owner else None


def _field(owner: type[BaseModel], name: str | int) -> FieldInfo | None:
    return next((each for key, each in owner.model_fields.items() if name in (each.alias, key)), None)


def choices_of(annotation: Any) -> tuple[str, ...]:
    """Return the words a value may be, where they are few and fixed."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return tuple(str(each.value) for each in annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return tuple(str(each) for each in typing.get_args(annotation) if each)
    return next(filter(None, (choices_of(each) for each in typing.get_args(annotation))), ())
