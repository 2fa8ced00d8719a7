"""Every key of the files, as its model and its author's docstrings tell it: type, default, choices, meaning."""

from __future__ import annotations

import ast
import inspect
import textwrap
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import Enum
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tocsin.core.fields import Rate, Spread
from tocsin.core.places import choices_of
from tocsin.core.units import spell


@dataclass(frozen=True, slots=True)
class Key:
    """One key: ``default`` is as an author would write it, None where there is none or it means to say nothing."""

    name: str
    kind: str
    needed: bool
    default: str | bool | int | None
    meaning: str
    choices: tuple[str, ...]
    below: type[BaseModel] | None


def keys(model: type[BaseModel]) -> tuple[Key, ...]:
    """Return the keys an author may write in a part of a file, in the order of the model."""
    meanings = docs(model)
    return tuple(
        Key(
            found.alias or name,
            kind(found.annotation),
            found.is_required(),
            written(found),
            meanings.get(name, ""),
            choices_of(found.annotation),
            next(models_in(found.annotation), None),
        )
        for name, found in model.model_fields.items()
        if name not in ("id", "file") or model.__name__ == "Step"
    )


def written(found: FieldInfo) -> str | bool | int | None:
    """Return a field's default as an author would write it, where a word can say it."""
    value = None if found.is_required() else found.default
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, timedelta):
        return spell(value)
    if isinstance(value, Rate):
        return f"{value.count} per {spell(value.per)}"
    if isinstance(value, Spread):
        return f"{value.count} target{'s' * (value.count > 1)} per {spell(value.per)}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d}"
    return value if isinstance(value, bool | int) or (isinstance(value, str) and value) else None


_KINDS: Mapping[type, str] = {
    timedelta: "duration",
    datetime: "day or time",
    time: "time of day",
    float: "number",
    bool: "true or false",
    int: "whole number",
    str: "text",
    Rate: "rate",
    Spread: "rate",
}


def kind(annotation: Any) -> str:
    """Return what a value is, in a word or two."""
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if choices_of(annotation) and origin is not tuple:
        return "choice"
    if origin in (tuple, list):
        return "list"
    if origin is dict:
        return "mapping"
    if isinstance(annotation, type):
        return _KINDS.get(annotation, "text" if annotation.__name__ in ("OutOf", "Matcher") else "mapping")
    return next((kind(each) for each in inside if each is not type(None)), "anything")


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that an annotation speaks of; what is written as a text is none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation not in (Rate, Spread) and annotation.__name__ != "OutOf":
            yield annotation
        return
    for each in typing.get_args(annotation):
        yield from models_in(each)


def parts(model: type[BaseModel]) -> Mapping[str, type[BaseModel]]:
    """Return a model and every model below it, by name."""
    found, left = {model.__name__: model}, [model]
    while left:
        for field in left.pop().model_fields.values():
            for each in models_in(field.annotation):
                if each.__name__ not in found:
                    found[each.__name__] = each
                    left.append(each)
    return found


@cache
def docs(model: type[BaseModel]) -> Mapping[str, str]:
    """Return what the author says of each field, in the docstring below it; of inherited ones, too."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if issubclass(each, BaseModel) and each is not BaseModel:
            found |= _below_fields(each)
    return found


def _below_fields(model: type[BaseModel]) -> dict[str, str]:
    (defined,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    body = defined.body if isinstance(defined, ast.ClassDef) else []
    return {
        field.target.id: plain(said.value.value)
        for field, said in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(said, ast.Expr)
        and isinstance(said.value, ast.Constant)
        and isinstance(said.value.value, str)
    }


def plain(text: str) -> str:
    """Return a docstring as one paragraph of Markdown."""
    return " ".join(text.split()).replace("``", "`")
