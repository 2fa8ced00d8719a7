"""Holds resources to Azure's own types: unknown, missing, read-only and mistyped properties, wherever they stand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.infra.meaning import Meaning, Typed
from tests.infra.reading import Array, Declared, File, Literal, Loop, Node, Object, Template

REQUIRED, READ_ONLY = 1, 2

BICEP_OWN = {"parent", "scope", "dependsOn"}
"""What Bicep itself reads of a resource."""


STRIPPED = "description"
"""The types that are there come without descriptions, and so without the properties of that name, which are texts."""


@dataclass(frozen=True)
class Problem:
    """Something a type does not allow. ``kind`` is unknown, missing, read-only, mistyped, no type, other version."""

    kind: str
    where: str
    line: int
    words: str

    def __str__(self) -> str:
        return f"{self.where} (line {self.line}): {self.kind}: {self.words}"


@dataclass(frozen=True)
class Type:
    """One type of a resource's description, which is a list of types that point at each other."""

    listed: tuple[Mapping[str, Any], ...]
    at: int

    @property
    def raw(self) -> Mapping[str, Any]:
        return self.listed[self.at]

    @property
    def kind(self) -> str:
        return str(self.raw["$type"])

    def to(self, reference: Mapping[str, str]) -> Type:
        """Return what a reference points at."""
        return Type(self.listed, int(reference["$ref"].rpartition("/")[2]))

    def properties(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the properties of an object, by name."""
        return dict(self.raw.get("properties") or self.raw.get("baseProperties") or {})


@dataclass(frozen=True)
class Types:
    """The types that are there, by resource type in small letters."""

    folder: Path

    def of(self, resource: str) -> Type | None:
        """Return the body of a resource type, or None when its type is not there."""
        found = self._known.get(resource.lower())
        return found[0] if found else None

    def version(self, resource: str) -> str | None:
        """Return the one API version of a resource type that is there."""
        found = self._known.get(resource.lower())
        return found[1] if found else None

    @property
    def _known(self) -> dict[str, tuple[Type, str]]:
        return _read(self.folder)


@cache
def _read(folder: Path) -> dict[str, tuple[Type, str]]:
    found = {}
    for path in sorted(folder.glob("*.json")):
        listed = tuple(json.loads(path.read_text(encoding="utf-8")))
        resource, _, version = str(listed[0]["name"]).partition("@")
        found[resource.lower()] = (Type(listed, 0).to(listed[0]["body"]), version)
    for name, (within, one) in EMBEDDED.items():
        found |= {name.lower(): _embedded(one, *found[within])} if within in found else {}
    return found


_NETWORK = "microsoft.network/virtualnetworks"
EMBEDDED = {
    "Microsoft.Network/natGateways": (_NETWORK, "NatGateway"),
    "Microsoft.Network/publicIPAddresses": (_NETWORK, "PublicIPAddress"),
}
"""Resource types that have no file: the type within whose they are described, as what, in the same API version."""


def _embedded(one: str, within: Type, version: str) -> tuple[Type, str]:
    """Return a resource type out of another's description, where it stands as what that one refers to."""
    at = next(at for at, each in enumerate(within.listed) if each.get("name") == one)
    properties = dict(within.listed[at]["properties"])
    for key, flags in {"name": REQUIRED, "id": READ_ONLY}.items():
        properties[key] = {**properties[key], "flags": flags}
    listed = (*within.listed[:at], {**within.listed[at], "properties": properties}, *within.listed[at + 1 :])
    return Type(listed, at), version


@dataclass(frozen=True)
class Checker:
    """Holds the resources of one file to the types that are there."""

    types: Types
    file: File

    @property
    def meaning(self) -> Meaning:
        return Meaning(self.file)

    def problems(self) -> list[Problem]:
        """Return all that is wrong, in the order of the file."""
        return [each for declared in self.file.of("resource").values() for each in self.resource(declared)]

    def resource(self, declared: Declared) -> Iterator[Problem]:
        resource, _, version = declared.type.partition("@")
        where = f"{self.file.path.name}: {declared.name}"
        body = self.types.of(resource)
        if body is None:
            yield Problem("no type", where, declared.line, declared.type)
            return
        if version != self.types.version(resource):
            yield Problem("other version", where, declared.line, f"{declared.type}, not {self.types.version(resource)}")
        if not declared.existing:
            yield from self._object(self._own(declared.body), body, where)
        elif declared.body.get("name") is None:
            yield Problem("missing", where, declared.line, "name")

    def _own(self, body: Object) -> Object:
        return Object(body.line, tuple(each for each in body.entries if each[0] not in BICEP_OWN))

    def check(self, given: Node, wanted: Type, where: str) -> Iterator[Problem]:
        """Yield what is wrong with an expression where a type is wanted, whichever of its forms it takes."""
        for form in self.meaning.forms(given):
            yield from self._form(form, wanted, where)

    def _form(self, form: Node | Typed, wanted: Type, where: str) -> Iterator[Problem]:
        if isinstance(form, Literal) and form.value is None:
            return
        if wanted.kind == "UnionType":
            yield from self._union(form, wanted, where)
        elif isinstance(form, Object) and wanted.kind in ("ObjectType", "DiscriminatedObjectType"):
            yield from self._object(form, wanted, where)
        elif isinstance(form, Loop) and wanted.kind == "ArrayType":
            yield from self.check(form.body, wanted.to(wanted.raw["itemType"]), f"{where}[]")
        elif isinstance(form, Array) and wanted.kind == "ArrayType":
            for number, item in enumerate(form.items):
                yield from self.check(item, wanted.to(wanted.raw["itemType"]), f"{where}[{number}]")
        elif not _fits(form, wanted):
            yield Problem("mistyped", where, _line(form), f"{shown(form)} is no {_called(wanted)}")

    def _union(self, form: Node | Typed, wanted: Type, where: str) -> Iterator[Problem]:
        """A text that is written out must be one of those listed, though the service may know of more some day."""
        choices = [wanted.to(each) for each in wanted.raw["elements"]]
        if isinstance(form, Literal) and any(each.kind == "StringLiteralType" for each in choices):
            choices = [each for each in choices if each.kind != "StringType"]
        if isinstance(form, Object | Array):
            found = [list(self._form(form, each, where)) for each in choices]
            yield from min(found, key=len)
        elif not any(_fits(form, each) for each in choices):
            listed = ", ".join(str(each.raw.get("value", each.kind)) for each in choices)
            yield Problem("mistyped", where, _line(form), f"{shown(form)} is none of {listed}")

    def _object(self, given: Object, wanted: Type, where: str) -> Iterator[Problem]:
        if wanted.kind == "DiscriminatedObjectType":
            yield from self._discriminated(given, wanted, where)
            return
        yield from self._properties(given, wanted, wanted.properties(), where)

    def _discriminated(self, given: Object, wanted: Type, where: str) -> Iterator[Problem]:
        key = str(wanted.raw["discriminator"])
        chosen = given.get(key)
        value = chosen.value if isinstance(chosen, Literal) else None
        if chosen is None:
            yield Problem("missing", where, given.line, key)
        elif value not in wanted.raw["elements"]:
            listed = ", ".join(wanted.raw["elements"])
            yield Problem("mistyped", f"{where}.{key}", given.line, f"{value!r} is none of {listed}")
        else:
            one = wanted.to(wanted.raw["elements"][value])
            yield from self._properties(given, one, {**wanted.properties(), **one.properties()}, where)

    def _properties(
        self, given: Object, wanted: Type, known: Mapping[str, Mapping[str, Any]], where: str
    ) -> Iterator[Problem]:
        others = wanted.raw.get("additionalProperties")
        for key, value in given.entries:
            name = key if isinstance(key, str) else "${…}"
            at = f"{where}.{name}"
            if isinstance(key, str) and key in known:
                if known[key]["flags"] & READ_ONLY:
                    yield Problem("read-only", at, value.line, "the platform alone sets it")
                yield from self.check(value, wanted.to(known[key]["type"]), at)
            elif others is not None:
                yield from self.check(value, wanted.to(others), at)
            elif key == STRIPPED:
                yield from (self._no_text(form, at) for form in self.meaning.forms(value) if kind_of(form) != "string")
            else:
                yield Problem("unknown", at, value.line, f"there is no such property, but {', '.join(known)}")
        written = {key for key, _ in given.entries}
        for name, described in known.items():
            if described["flags"] & REQUIRED and not described["flags"] & READ_ONLY and name not in written:
                yield Problem("missing", where, given.line, name)

    def _no_text(self, form: Node | Typed, where: str) -> Problem:
        return Problem("mistyped", where, _line(form), f"{shown(form)} is no string")


_PRIMITIVES = {
    "StringType": "string",
    "StringLiteralType": "string",
    "IntegerType": "int",
    "BooleanType": "bool",
    "ArrayType": "array",
    "ObjectType": "object",
    "DiscriminatedObjectType": "object",
}


def _fits(form: Node | Typed, wanted: Type) -> bool:
    if wanted.kind == "AnyType" or (isinstance(form, Typed) and form.type == "any"):
        return True
    if wanted.kind == "UnionType":
        return any(_fits(form, wanted.to(each)) for each in wanted.raw["elements"])
    if kind_of(form) != _PRIMITIVES[wanted.kind]:
        return False
    if not isinstance(form, Literal):
        return True  # a text that is not known before the deployment may be the one that is wanted
    if wanted.kind == "StringLiteralType":
        return bool(form.value == wanted.raw["value"])
    if wanted.kind == "IntegerType":
        return bool(wanted.raw.get("minValue", form.value) <= form.value <= wanted.raw.get("maxValue", form.value))
    return wanted.kind != "StringType" or _fits_text(str(form.value), wanted.raw)


def _fits_text(text: str, wanted: Mapping[str, Any]) -> bool:
    within = wanted.get("minLength", 0) <= len(text) <= wanted.get("maxLength", len(text))
    return within and re.search(wanted.get("pattern", ""), text) is not None


def kind_of(form: Node | Typed) -> str:
    match form:
        case Typed():
            return form.type
        case Literal(value=bool()):
            return "bool"
        case Literal(value=int()):
            return "int"
        case Literal() | Template():
            return "string"
        case Array() | Loop():
            return "array"
        case _:
            return "object"


def _line(form: Node | Typed) -> int:
    return form.line


def _called(wanted: Type) -> str:
    return repr(wanted.raw["value"]) if "value" in wanted.raw else _PRIMITIVES[wanted.kind]


def shown(form: Node | Typed) -> str:
    return repr(form.value) if isinstance(form, Literal) else f"a value of type {kind_of(form)}"
