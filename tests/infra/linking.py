"""What a compiler would say of names: undeclared, unused, not there in another file, not known when it must be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.infra.meaning import FUNCTIONS, Meaning
from tests.infra.reading import (
    Array,
    Call,
    Declared,
    File,
    Index,
    Lambda,
    Literal,
    Loop,
    Member,
    Name,
    Node,
    read,
    walk,
)
from tests.infra.types import Type, Types, kind_of, shown

_AT_ONCE = {"id", "name", "type", "apiVersion"}
"""What of a resource is known before anything is deployed."""


@cache
def files(folder: Path) -> dict[Path, File]:
    """Return every Bicep file under a folder, by its path."""
    return {path.resolve(): read(path) for path in sorted(folder.rglob("*.bicep"))}


def chain(node: Node) -> tuple[str, tuple[str, ...]] | None:
    """Return the name that an access begins with, and the names that follow; None where it begins otherwise."""
    names: list[str] = []
    while isinstance(node, Member | Index):
        if isinstance(node, Member):
            names.append(node.name)
        node = node.of
    return (node.name, tuple(reversed(names))) if isinstance(node, Name) else None


@dataclass(frozen=True)
class Linker:
    """Looks at one file with the modules it names."""

    file: File
    types: Types | None = None

    def problems(self) -> list[str]:
        """Return all that is wrong, each with its line."""
        found = [*self._names(), *self._unused(), *self._modules(), *self._members(), *self._too_late()]
        return [f"{self.file.path.name}:{line}: {words}" for line, words in sorted(set(found))]

    def module(self, declared: Declared) -> File:
        """Return the file that a module names."""
        return read(self.file.path.parent / declared.type)

    # Names

    def _names(self) -> Iterator[tuple[int, str]]:
        for declared in self.file.declared:
            yield from self._within(declared.given, frozenset())
        for name, number in _counted([each.name for each in self.file.declared if each.kind != "output"]).items():
            if number > 1:
                yield 0, f"{name} is declared {number} times"

    def _within(self, node: object, local: frozenset[str]) -> Iterator[tuple[int, str]]:
        if isinstance(node, Name) and node.name not in local and self.file.find(node.name) is None:
            yield node.line, f"nothing is called {node.name}"
        if isinstance(node, Call) and node.name not in FUNCTIONS:
            yield node.line, f"no function {node.name} is known here"
        if isinstance(node, Loop | Lambda):
            inner = local | set(node.names)
            if isinstance(node, Loop):
                yield from self._within(node.over, local)
            yield from self._within(node.body, inner)
            return
        for each in _children(node):
            yield from self._within(each, local)

    def _unused(self) -> Iterator[tuple[int, str]]:
        used = {node.name for each in self.file.declared for node in walk(each.given) if isinstance(node, Name)}
        for declared in self.file.declared:
            if declared.kind in ("param", "var") and declared.name not in used:
                yield declared.line, f"nothing uses {declared.name}"
            existing = declared.kind == "resource" and declared.existing
            if existing and declared.name not in used:
                yield declared.line, f"nothing uses {declared.name}"

    # Modules

    def _modules(self) -> Iterator[tuple[int, str]]:
        for declared in self.file.of("module").values():
            given = declared.body.get("params")
            passed = dict(given.entries) if given is not None else {}  # type: ignore[attr-defined]
            known = self.module(declared).of("param")
            for name in passed.keys() - known.keys():
                yield declared.line, f"{declared.type} has no parameter {name}"
            for name, parameter in known.items():
                if name not in passed and parameter.given is None and not parameter.type.endswith("?"):
                    yield declared.line, f"{declared.type} needs {name}"
                elif name in passed:
                    yield from self._passed(passed[name], parameter)

    def _passed(self, given: Node, parameter: Declared) -> Iterator[tuple[int, str]]:
        wanted = "array" if parameter.type.endswith("[]") else parameter.type
        allowed = parameter.decorators.get("allowed")
        values = [each.value for each in allowed[0].items] if allowed and isinstance(allowed[0], Array) else None
        for form in Meaning(self.file).forms(given):
            if kind_of(form) not in (wanted, "any"):
                yield given.line, f"{parameter.name} is a {wanted}, not {shown(form)}"
            elif values is not None and isinstance(form, Literal) and form.value not in values:
                yield given.line, f"{parameter.name} is one of {values}, not {shown(form)}"
        secret = [node for node in walk(given) if isinstance(node, Name) and self._secret(node.name)]
        if secret and "secure" not in parameter.decorators:
            yield given.line, f"{parameter.name} is not secure, and {secret[0].name} is"

    def _secret(self, name: str) -> bool:
        declared = self.file.find(name)
        return declared is not None and "secure" in declared.decorators

    # What is asked of resources and modules

    def _members(self) -> Iterator[tuple[int, str]]:
        for declared in self.file.declared:
            for node in walk(declared.given):
                found = chain(node)
                root = self.file.find(found[0]) if found else None
                if found is None or root is None or not found[1]:
                    continue
                if root.kind == "module":
                    yield from self._output(node, root, found[1])
                elif root.kind == "resource" and self.types:
                    yield from self._property(node, root, found[1])

    def _output(self, node: Node, root: Declared, names: tuple[str, ...]) -> Iterator[tuple[int, str]]:
        if names[0] not in ("outputs", "name"):
            yield node.line, f"a module has no {names[0]}"
        elif len(names) > 1 and names[1] not in self.module(root).of("output"):
            yield node.line, f"{root.type} has no output {names[1]}"

    def _property(self, node: Node, root: Declared, names: tuple[str, ...]) -> Iterator[tuple[int, str]]:
        assert self.types is not None
        found: Type | None = self.types.of(root.type.partition("@")[0])
        for name in names:
            if found is None or found.kind != "ObjectType":
                return
            known = found.properties()
            if name not in known:
                yield node.line, f"{root.type} has no {'.'.join(names)}"
                return
            found = found.to(known[name]["type"])

    # What must be known before anything is deployed

    def _too_late(self) -> Iterator[tuple[int, str]]:
        for declared in self.file.declared:
            if declared.kind not in ("resource", "module"):
                continue
            scope = declared.body.get("scope") if declared.kind == "module" else None
            name = declared.body.get("name")
            loop, condition = declared.loop, declared.given
            conditions = [node.condition for node in walk(condition) if type(node).__name__ == "Condition"]  # type: ignore[attr-defined]
            for node in (name, scope, loop.over if loop else None, *conditions):
                late = next(self._late(node, set()), None)
                if late:
                    yield declared.line, f"{declared.name} rests on {late}, which is known too late"

    def _late(self, node: Node | None, seen: set[str]) -> Iterator[str]:
        for each in walk(node):
            found = chain(each)
            root = self.file.find(found[0]) if found else None
            if isinstance(each, Call) and each.name in ("listKeys", "reference"):
                yield each.name
            if found is None or root is None:
                continue
            if found[1] and (root.kind == "module" or (root.kind == "resource" and found[1][0] not in _AT_ONCE)):
                yield ".".join((found[0], *found[1]))
            if root.kind == "var" and root.name not in seen:
                yield from self._late(root.given, seen | {root.name})


def _children(node: object) -> Iterator[object]:
    if isinstance(node, Node):
        for name in node.__dataclass_fields__:
            yield getattr(node, name)
    elif isinstance(node, tuple):
        yield from node


def _counted(names: list[str]) -> dict[str, int]:
    return {name: names.count(name) for name in names}
