"""Resource templates of Azure: which alert rules they hold, and the value of simple expressions in them.

Takes templates (also those that the portal exports and that Bicep compiles to, with modules), a single resource, and
the lists that `az monitor scheduled-query list` and the REST API answer with.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from tocsin.core.node import Node
from tocsin.porting.outcome import Unresolved

LOG_ALERT = "microsoft.insights/scheduledqueryrules"
ALERTS = frozenset({"microsoft.insights/metricalerts", "microsoft.insights/activitylogalerts"})
"""Alert rules of another kind: they are refused and not passed over."""

DEPLOYMENT = "microsoft.resources/deployments"
_DEEPEST = 8
_TOKEN = re.compile(r"('(?:''|[^'])*'|-?\d+|[A-Za-z_]\w*|[().,\[\]])")


@dataclass(frozen=True, slots=True)
class Scope:
    """What expressions may name: parameters and variables, each with the scope it is written in."""

    parameters: Mapping[str, tuple[Node, Scope | None]] = field(default_factory=dict)
    variables: Mapping[str, Node] = field(default_factory=dict)

    def value(self, node: Node, depth: int = 0) -> Node:
        """Return what a node stands for. Raises Unresolved for what is only known when it is deployed."""
        text = node.text
        if text is None or not (text.startswith("[") and text.endswith("]")):
            return node
        if text.startswith("[["):
            return replace(node, text=text[1:])
        if depth > _DEEPEST:
            raise Unresolved("it refers to itself")
        return _Expression(text[1:-1], self, node, depth).whole()


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource, what its expressions mean, and why it cannot be looked at, if so."""

    node: Node
    kind: str
    scope: Scope
    refused: str = ""


def resources(document: Node) -> Iterator[Resource] | None:
    """Return every resource of a document; None where it is none of these forms."""
    listed = document.items if document.items is not None else _items(document.get("value"))
    if listed and all(each.get("type") is not None or each.get("criteria") is not None for each in listed):
        return (_resource(each, Scope()) for each in listed)
    if document.get("resources") is not None:
        return _template(document, Scope(_defaults(document), _variables(document)), 0)
    kind = document.get("type")
    if kind is not None and "/" in (kind.text or ""):
        return iter([_resource(document, Scope())])
    return None


def _items(node: Node | None) -> tuple[Node, ...] | None:
    return node.items if node is not None else None


def _resource(node: Node, scope: Scope) -> Resource:
    named = node.get("type")
    return Resource(node, (named.text or "").casefold() if named is not None else LOG_ALERT, scope)


def _defaults(template: Node) -> dict[str, tuple[Node, Scope | None]]:
    found = template.get("parameters")
    given = {(key.text or "").casefold(): value.get("defaultValue") for key, value in _pairs(found)}
    return {name: (value, None) for name, value in given.items() if value is not None}


def _variables(template: Node) -> dict[str, Node]:
    return {(key.text or "").casefold(): value for key, value in _pairs(template.get("variables"))}


def _pairs(node: Node | None) -> tuple[tuple[Node, Node], ...]:
    return (node.pairs or ()) if node is not None else ()


def _template(template: Node, scope: Scope, depth: int) -> Iterator[Resource]:
    held = template.get("resources") or template
    # Bicep of today writes resources by their symbolic names.
    for node in held.items if held.items is not None else tuple(value for _, value in held.pairs or ()):
        if node.pairs is None or _is(node, "existing", scope):
            continue
        made = _resource(node, scope)
        if made.kind == DEPLOYMENT and depth < _DEEPEST:
            yield from _nested(made, depth)
        else:
            yield replace(made, refused=_why_not(node, scope))
            below = node.get("resources")
            yield from (_resource(each, scope) for each in (below.items if below is not None else None) or ())


def _nested(made: Resource, depth: int) -> Iterator[Resource]:
    properties = made.node.get("properties")
    template = properties.get("template") if properties is not None else None
    if properties is None or template is None:
        yield replace(made, refused="its template is elsewhere")
        return
    inner = (properties.at("expressionEvaluationOptions", "scope").text or "").casefold() == "inner"
    if not inner:
        yield from _template(template, made.scope, depth + 1)
        return
    given = {
        (key.text or "").casefold(): (value.get("value") or value, made.scope)
        for key, value in _pairs(properties.get("parameters"))
    }
    yield from _template(template, Scope({**_defaults(template), **given}, _variables(template)), depth + 1)


def _why_not(node: Node, scope: Scope) -> str:
    if node.get("copy") is not None:
        return "it is made in a loop (`copy`): deploy it, and import what the list of rules says"
    condition = node.get("condition")
    if condition is None:
        return ""
    try:
        said = (scope.value(condition).text or "").casefold()
    except Unresolved as error:
        return f"whether it is deployed cannot be said: {error}"
    return "its `condition` is false" if said != "true" else ""


def _is(node: Node, name: str, scope: Scope) -> bool:
    found = node.get(name)
    return found is not None and (scope.value(found).text or "").casefold() == "true"


class _Expression:
    """One expression of the template language, as far as it can be known before a deployment."""

    def __init__(self, text: str, scope: Scope, at: Node, depth: int) -> None:
        self._text, self._scope, self._node, self._depth = text, scope, at, depth
        self._tokens = _TOKEN.findall(text)
        self._next = 0

    def whole(self) -> Node:
        """Return its value. Raises Unresolved."""
        made = self._value()
        if self._next < len(self._tokens):
            raise Unresolved(f"'{self._text}' is not understood")
        return made

    def _peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _take(self, wanted: str = "") -> str:
        found = self._peek()
        if not found or (wanted and found != wanted):
            raise Unresolved(f"'{self._text}' is not understood")
        self._next += 1
        return found

    def _value(self) -> Node:
        token = self._take()
        if token.startswith("'"):
            made = self._said(token[1:-1].replace("''", "'"))
        elif re.fullmatch(r"-?\d+", token):
            made = self._said(token)
        else:
            made = self._called(token)
        while self._peek() in (".", "["):
            made = self._member(made)
        return made

    def _member(self, of: Node) -> Node:
        if self._take() == ".":
            name = self._take()
        else:
            name = self._value().text or ""
            self._take("]")
        below = of.get(name) if of.pairs is not None else of.at(int(name)) if name.isdigit() else None
        if below is None or below is of:
            raise Unresolved(f"nothing is called '{name}' in '{self._text}'")
        return self._scope.value(below, self._depth + 1)

    def _called(self, name: str) -> Node:
        arguments: list[Node] = []
        self._take("(")
        if name.casefold() not in _FUNCTIONS and name.casefold() not in ("parameters", "variables"):
            raise Unresolved(f"{name}(…) is only known when it is deployed")
        while self._peek() != ")":
            arguments.append(self._value())
            if self._peek() == ",":
                self._take()
        self._take(")")
        if name.casefold() in ("parameters", "variables"):
            return self._named(name.casefold(), arguments)
        return self._said(_FUNCTIONS[name.casefold()]([_text(each, name) for each in arguments]))

    def _named(self, kind: str, arguments: list[Node]) -> Node:
        name = (arguments[0].text or "") if arguments else ""
        if kind == "variables":
            held = self._scope.variables.get(name.casefold())
            found: tuple[Node, Scope | None] | None = (held, None) if held is not None else None
        else:
            found = self._scope.parameters.get(name.casefold())
        if found is None:
            needs = "has no default value" if kind == "parameters" else "is not there"
            raise Unresolved(f"{kind[:-1]} '{name}' {needs}")
        value, scope = found
        return (scope or self._scope).value(value, self._depth + 1)

    def _said(self, text: str) -> Node:
        return replace(self._node, text=text, pairs=None, items=None)


def _text(node: Node, function: str) -> str:
    if node.text is None:
        raise Unresolved(f"{function}(…) of {node.kind}")
    return node.text


def _format(arguments: list[str]) -> str:
    return re.sub(r"\{(\d+)\}", lambda found: (arguments[1:] + [""] * 20)[int(found[1])], arguments[0])


_FUNCTIONS: Mapping[str, Callable[[list[str]], str]] = {
    "concat": "".join,
    "format": _format,
    "tolower": lambda given: given[0].lower(),
    "toupper": lambda given: given[0].upper(),
    "string": lambda given: given[0],
    "int": lambda given: given[0],
    "bool": lambda given: given[0],
    "json": lambda given: given[0],
    "true": lambda _: "true",
    "false": lambda _: "false",
    "null": lambda _: "",
    "trim": lambda given: given[0].strip(),
    "replace": lambda given: given[0].replace(given[1], given[2]),
    "equals": lambda given: str(given[0] == given[1]).lower(),
    "not": lambda given: "false" if given[0].casefold() == "true" else "true",
    "empty": lambda given: str(not given[0]).lower(),
    "if": lambda given: given[1] if given[0].casefold() == "true" else given[2],
}
"""Functions whose value follows from their arguments alone."""
