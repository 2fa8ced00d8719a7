"""What an expression may turn out to be, as far as a file says it: written values, or at least their kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from tests.infra.reading import (
    Array,
    Call,
    Choice,
    Declared,
    File,
    Literal,
    Loop,
    Member,
    Name,
    Node,
    Object,
    Operation,
    Template,
    walk,
)


@dataclass(frozen=True)
class Typed:
    """A value of which only the kind is known: string, int, bool, array, object, or any."""

    type: str
    line: int = 0


_NAMES = {
    "string": """cidrSubnet guid last loadTextContent replace resourceId subscriptionResourceId take toLower trim
        uniqueString""",
    "bool": "contains empty",
    "array": "filter split",
    "object": "environment resourceGroup subscription tenant toObject",
    "any": "listKeys",
    "": "concat loadJsonContent union",  # what these are depends on what they are given
}
_RETURNS = {name: kind for kind, names in _NAMES.items() for name in names.split()}

FUNCTIONS = frozenset(_RETURNS)
"""What the files here may call; a name that is none of these is a slip, or belongs here."""

_OPERATORS = {"==": "bool", "!=": "bool", "=~": "bool", "!~": "bool", "&&": "bool", "||": "bool", "!": "bool"}
_OPERATORS |= {"<": "bool", ">": "bool", "<=": "bool", ">=": "bool", "+": "int", "-": "int", "*": "int", "/": "int"}


@dataclass(frozen=True)
class Meaning:
    """The names of one file. ``local`` are those of loops and lambdas, by what they may be."""

    file: File

    def forms(self, given: Node) -> Iterator[Node | Typed]:
        """Yield every form that an expression may take."""
        match given:
            case Literal() | Array() | Loop() | Template():
                yield given
            case Object():
                yield given
            case Choice():
                yield from self.forms(given.yes)
                yield from self.forms(given.no)
            case Operation(operator="??"):
                for operand in given.operands:
                    yield from self.forms(operand)
            case Operation():
                yield Typed(_OPERATORS[given.operator], given.line)
            case Call(name="union"):
                yield from self._merged(given)
            case Call(name="concat"):
                for each in given.given:
                    yield from self.forms(each)
            case Call(name="loadJsonContent"):
                yield self._loaded(given)
            case Call():
                yield Typed(_RETURNS.get(given.name, "any"), given.line)
            case Name():
                yield from self._named(given)
            case Member():
                yield from self._member(given)
            case _:
                yield Typed("any", given.line)

    def _named(self, given: Name) -> Iterator[Node | Typed]:
        declared = self.file.find(given.name)
        if declared is None:
            yield from self._local(given)
        elif declared.kind == "var" and declared.given is not None:
            yield from self.forms(declared.given)
        elif declared.kind == "param":
            yield from self._parameter(declared, given.line)
        else:
            yield Typed("any", given.line)

    def _parameter(self, declared: Declared, line: int) -> Iterator[Node | Typed]:
        """Yield what a parameter may be: one of those allowed where that is said, else a value of its type."""
        allowed = declared.decorators.get("allowed")
        if allowed and isinstance(allowed[0], Array):
            yield from allowed[0].items
        else:
            written = declared.type.removesuffix("?")
            kind = "array" if written.endswith("[]") else written
            yield Typed(kind if kind in ("string", "int", "bool", "array", "object") else "any", line)

    def _local(self, given: Name) -> Iterator[Node | Typed]:
        """Yield what a loop's variable may be, by all loops over lists that are written out."""
        found = False
        for loop in self._loops(given.name):
            for form in self.forms(loop.over):
                for item in form.items if isinstance(form, Array) else ():
                    found = True
                    yield from self.forms(item)
        if not found:
            yield Typed("any", given.line)

    def _loops(self, name: str) -> Iterator[Loop]:
        for declared in self.file.declared:
            for node in walk(declared.given):
                if isinstance(node, Loop) and node.names[0] == name:
                    yield node

    def _member(self, given: Member) -> Iterator[Node | Typed]:
        for of in self.forms(given.of):
            value = of.get(given.name) if isinstance(of, Object) else None
            if value is not None:
                yield from self.forms(value)
            else:
                yield Typed("string" if given.name in ("id", "name") else "any", given.line)

    def _merged(self, given: Call) -> Iterator[Node | Typed]:
        """Yield every object that objects with some of several forms may be merged to."""
        merged: list[Object | Typed] = [Object(given.line, ())]
        for each in given.given:
            merged = [_joined(one, form) for one in merged for form in self.forms(each)]
        yield from merged

    def _loaded(self, given: Call) -> Node:
        (path,) = given.given
        assert isinstance(path, Literal)
        return _value(json.loads((self.file.path.parent / path.value).read_text(encoding="utf-8")), given.line)


def _joined(one: Object | Typed, other: Node | Typed) -> Object | Typed:
    if isinstance(one, Object) and isinstance(other, Object):
        written = {key for key, _ in other.entries}
        return Object(one.line, (*(each for each in one.entries if each[0] not in written), *other.entries))
    if isinstance(one, Object):
        return one  # of what is not known nothing is said
    return one


def _value(value: object, line: int) -> Node:
    if isinstance(value, dict):
        return Object(line, tuple((key, _value(each, line)) for key, each in value.items()))
    if isinstance(value, list):
        return Array(line, tuple(_value(each, line) for each in value))
    return Literal(line, value)
