"""Bicep files as values: what each declares, its expressions as small trees. What is no Bicep is a SyntaxError."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Node:
    """One expression. ``line`` is where it begins."""

    line: int = field(compare=False)


@dataclass(frozen=True)
class Literal(Node):
    """A text, number, truth value or null that is written out."""

    value: Any


@dataclass(frozen=True)
class Template(Node):
    """A text with something put in: texts and expressions in turn."""

    parts: tuple[str | Node, ...]


@dataclass(frozen=True)
class Object(Node):
    """An object. A key that is not known before the deployment is a template."""

    entries: tuple[tuple[str | Node, Node], ...]

    def get(self, name: str) -> Node | None:
        """Return the value of a written key."""
        return next((value for key, value in self.entries if key == name), None)


@dataclass(frozen=True)
class Array(Node):
    """A list that is written out."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Name(Node):
    """Something declared elsewhere."""

    name: str


@dataclass(frozen=True)
class Member(Node):
    """``of.name``; ``safe`` for ``of.?name``."""

    of: Node
    name: str
    safe: bool = False


@dataclass(frozen=True)
class Index(Node):
    """``of[at]``."""

    of: Node
    at: Node


@dataclass(frozen=True)
class Call(Node):
    """A function and what it is given."""

    name: str
    given: tuple[Node, ...]


@dataclass(frozen=True)
class Operation(Node):
    """An operator and its operands."""

    operator: str
    operands: tuple[Node, ...]


@dataclass(frozen=True)
class Choice(Node):
    """``condition ? yes : no``."""

    condition: Node
    yes: Node
    no: Node


@dataclass(frozen=True)
class Lambda(Node):
    """``names => body``."""

    names: tuple[str, ...]
    body: Node


@dataclass(frozen=True)
class Loop(Node):
    """``[for names in over: body]``."""

    names: tuple[str, ...]
    over: Node
    body: Node


@dataclass(frozen=True)
class Condition(Node):
    """``if (condition) body``, of a resource or module."""

    condition: Node
    body: Node


@dataclass(frozen=True)
class Declared:
    """One declaration. ``kind`` is param, var, type, resource, module or output; ``type`` as it is written.

    ``given`` is its value, for a parameter the default. ``decorators`` by name, with what each is given.
    """

    kind: str
    name: str
    line: int
    type: str = ""
    given: Node | None = None
    existing: bool = False
    decorators: dict[str, tuple[Node, ...]] = field(default_factory=dict)

    @property
    def body(self) -> Object:
        """Return the object of a resource or module, from within its loop and condition."""
        found = self.given
        while isinstance(found, Loop | Condition):
            found = found.body
        assert isinstance(found, Object), f"{self.name} has no body"
        return found

    @property
    def loop(self) -> Loop | None:
        """Return the loop that makes several of it."""
        return self.given if isinstance(self.given, Loop) else None

    @property
    def conditional(self) -> bool:
        """Return whether it may not be there."""
        return isinstance(self.loop.body if self.loop else self.given, Condition)


@dataclass(frozen=True)
class File:
    """One file."""

    path: Path
    declared: tuple[Declared, ...]

    def of(self, kind: str) -> dict[str, Declared]:
        """Return what is declared of a kind, by name."""
        return {each.name: each for each in self.declared if each.kind == kind}

    def find(self, name: str) -> Declared | None:
        """Return what a name stands for; outputs have names of their own."""
        return next((each for each in self.declared if each.name == name and each.kind != "output"), None)


def walk(node: Any) -> Iterator[Node]:
    """Yield an expression and all within it."""
    if isinstance(node, Node):
        yield node
        for name in node.__dataclass_fields__:
            yield from walk(getattr(node, name))
    elif isinstance(node, tuple):
        for each in node:
            yield from walk(each)


_ESCAPES = {"\\n": "\n", "\\r": "\r", "\\t": "\t", "\\'": "'", "\\\\": "\\", "\\$": "$"}
_DECLARATIONS = {
    "parameter_declaration": "param",
    "variable_declaration": "var",
    "type_declaration": "type",
    "resource_declaration": "resource",
    "module_declaration": "module",
    "output_declaration": "output",
}


def read(path: Path) -> File:
    """Return what a file declares."""
    return parse(path.read_text(encoding="utf-8"), path)


def parse(text: str, path: Path = Path("given.bicep")) -> File:
    """Return what a text declares."""
    root = _parser().parse(text.encode()).root_node
    for broken in _broken(root):
        raise SyntaxError(f"{path.name}:{broken.start_point[0] + 1}: {_text(broken)[:80]!r} is no Bicep")
    declared: list[Declared] = []
    decorators: dict[str, tuple[Node, ...]] = {}
    for each in _named(root):
        if each.type == "decorators":
            calls = [_expression(_named(decorator)[0]) for decorator in _named(each)]
            decorators = {call.name: call.given for call in calls if isinstance(call, Call)}
        elif each.type in _DECLARATIONS:
            declared.append(_declared(each, decorators))
            decorators = {}
        elif each.type != "target_scope_assignment":
            raise SyntaxError(f"{path.name}:{each.start_point[0] + 1}: what is a {each.type}?")
    return File(path, tuple(declared))


@cache
def _parser() -> Any:
    import tree_sitter_bicep
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_bicep.language()))


def _broken(node: Any) -> Iterator[Any]:
    if node.type == "ERROR" or node.is_missing:
        yield node
    for child in node.children:
        yield from _broken(child)


def _named(node: Any) -> list[Any]:
    return [child for child in node.children if child.is_named and child.type != "comment"]


def _text(node: Any) -> str:
    return str(node.text.decode())


def _declared(node: Any, decorators: dict[str, tuple[Node, ...]]) -> Declared:
    kind, line = _DECLARATIONS[node.type], node.start_point[0] + 1
    name, *rest = _named(node)
    known: dict[str, Any] = {"kind": kind, "name": _text(name), "line": line, "decorators": decorators}
    assigned = any(child.type == "=" for child in node.children)
    if kind == "type":
        return Declared(**known, type=_text(rest[-1]))
    if kind == "var":
        return Declared(**known, given=_expression(rest[-1]))
    existing = any(child.type == "existing" for child in node.children)
    written = _text(rest[0]).strip("'") if kind in ("resource", "module") else _text(rest[0])
    return Declared(**known, type=written, given=_expression(rest[-1]) if assigned else None, existing=existing)


def _expression(node: Any) -> Node:
    line, parts = node.start_point[0] + 1, _named(node)
    match node.type:
        case "string":
            return _string(node, line)
        case "number":
            return Literal(line, int(_text(node)))
        case "boolean":
            return Literal(line, _text(node) == "true")
        case "null":
            return Literal(line, None)
        case "identifier" | "property_identifier":
            return Name(line, _text(node))
        case "array":
            _separated(node)
            return Array(line, tuple(map(_expression, parts)))
        case "object":
            return Object(line, tuple(map(_entry, parts)))
        case "parenthesized_expression" | "nullable_type":
            return _expression(parts[0])
        case "ternary_expression":
            return Choice(line, *map(_expression, parts))
        case "unary_expression" | "binary_expression":
            operator = next(_text(each) for each in node.children if not each.is_named or each.type == "operator")
            return Operation(line, operator, tuple(map(_expression, parts)))
        case "call_expression":
            return Call(line, _text(parts[0]), tuple(map(_expression, _named(parts[1]))))
        case "lambda_expression":
            names = parts[0] if parts[0].type == "parenthesized_expression" else None
            return Lambda(line, tuple(map(_text, _named(names) if names else parts[:1])), _expression(parts[-1]))
        case "for_statement":
            *names, over, body = [each for each in parts if each.type != "for_loop_parameters"]
            listed = [part for each in parts if each.type == "for_loop_parameters" for part in _named(each)]
            return Loop(line, tuple(map(_text, listed or names)), _expression(over), _expression(body))
        case "if_statement":
            return Condition(line, _expression(parts[0]), _expression(parts[1]))
        case "member_expression" | "subscript_expression":
            return _access(node, parts[0], parts[1], line)
    raise SyntaxError(f"line {line}: what is a {node.type}? {_text(node)[:80]}")


def _access(node: Any, of: Any, what: Any, line: int) -> Node:
    """Return an access. The grammar lets it reach over an operator to its left: ``a ?? b.c`` is not ``(a ?? b).c``."""
    safe = any(child.type == ".?" for child in node.children)

    def reach(found: Node, outer: bool) -> Node:
        if outer and isinstance(found, Operation):
            return Operation(found.line, found.operator, (*found.operands[:-1], reach(found.operands[-1], True)))
        if outer and isinstance(found, Lambda):
            return Lambda(found.line, found.names, reach(found.body, True))
        if outer and isinstance(found, Choice):
            return Choice(found.line, found.condition, found.yes, reach(found.no, True))
        if node.type == "subscript_expression":
            return Index(line, found, _expression(what))
        return Member(line, found, _text(what), safe)

    return reach(_expression(of), of.type != "parenthesized_expression")


def _separated(node: Any) -> None:
    """Raise for items of one line without a comma: no Bicep, or a call, which this grammar takes for two items."""
    for before, after in zip(node.children, node.children[1:], strict=False):
        if before.is_named and after.is_named and before.end_point[0] == after.start_point[0]:
            raise SyntaxError(
                f"line {after.start_point[0] + 1}: two items without a comma; name a call before the list"
            )


def _entry(node: Any) -> tuple[str | Node, Node]:
    key, value = _named(node)
    found = _expression(key)
    if isinstance(found, Template):
        return found, _expression(value)
    return (found.name if isinstance(found, Name) else str(found.value)), _expression(value)  # type: ignore[attr-defined]


def _string(node: Any, line: int) -> Node:
    """Return a text by its bytes, for the grammar leaves white space at the edges out."""
    raw, start = node.text, node.start_byte
    quotes = 3 if raw.startswith(b"'''") else 1
    parts: list[str | Node] = []
    at = quotes
    for each in _named(node):
        if each.type == "interpolation":
            parts += [_unescaped(raw[at : each.start_byte - start], quotes), _expression(_named(each)[0])]
            at = each.end_byte - start
    parts.append(_unescaped(raw[at : len(raw) - quotes], quotes))
    if len(parts) == 1:
        return Literal(line, parts[0])
    return Template(line, tuple(each for each in parts if each != ""))


def _unescaped(raw: bytes, quotes: int) -> str:
    text = raw.decode()
    return text if quotes == 3 else re.sub(r"\\(?:u\{[0-9a-fA-F]+\}|.)", lambda found: _ESCAPES[found[0]], text)
