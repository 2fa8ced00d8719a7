"""One way to lay the files out: keys in the order of the models, two spaces, quotes only of one kind, comments kept.

Whatever a file meant it means afterwards: where that cannot be shown, the file is left as it was.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.emitter import Emitter
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, SingleQuotedScalarString

from tocsin.authoring import keys
from tocsin.core.node import Node
from tocsin.document import parse

_WIDE = 4096
_MODELINE = re.compile(r"#\s*yaml-language-server:")
_TIMES = 4


class Unchanged(Exception):
    """The file cannot be laid out; the message says why, and it is left as it is."""


def laid_out(text: str, model: type[BaseModel], schema: str = "") -> str:
    """Return the file as it ought to look; laid out again it stays so. Raises Unchanged.

    ``schema`` is where the file's schema is, seen from the file: with it an editor is told so in the first line.
    """
    before = parse("file", text.encode())
    if before.node is None or before.problems:
        raise Unchanged(before.problems[0].message if before.problems else "it is empty")
    given = _told(text.removeprefix("\ufeff").replace("\r\n", "\n"), schema)
    made = _settled(given, model)
    after = parse("file", made.encode())
    if after.node is None or after.problems or after.node.plain() != before.node.plain():
        raise Unchanged("it would not mean the same any more")
    if _comments(made) != _comments(given):
        raise Unchanged("a comment would be lost")
    return made


def _settled(text: str, model: type[BaseModel]) -> str:
    for _ in range(_TIMES):
        found = parse("file", text.encode()).node
        made = _indented(_ordered(text, found, model)) if found else text
        if made == text:
            return made
        text = made
    raise Unchanged("it looks different each time it is laid out")


def _told(text: str, schema: str) -> str:
    if not schema or any(_MODELINE.match(line) for line in text.splitlines()[:5]):
        return text
    return f"# yaml-language-server: $schema={schema}\n{text}"


def _comments(text: str) -> list[str]:
    """Return what could be a comment on each line; texts that look like one are the same before and after."""
    found = (re.search(r"(?:^|\s)#.*$", line) for line in text.splitlines())
    return sorted(each[0].strip() for each in found if each)


# The order of keys


def _ordered(text: str, node: Node, model: type[BaseModel]) -> str:
    lines = text.splitlines()
    return "\n".join(_sorted(lines, 0, len(lines), node, model)) + "\n"


def _sorted(lines: list[str], start: int, end: int, node: Node, model: type[BaseModel] | None) -> list[str]:
    """Return the lines of a mapping with its keys in the model's order, and so all the way down.

    A key takes along the comments right above it. What comes before the first key stays the file's head.
    """
    pairs = [pair for pair in node.pairs or () if start <= pair[0].line - 1 < end]
    if not pairs or not _one_a_line(lines, pairs):
        return lines[start:end]
    begins = [_begin(lines, key.line - 1, start if at else key.line - 1) for at, (key, _) in enumerate(pairs)]
    ends = [*begins[1:], end]
    parts: dict[str, list[str]] = {}
    for (key, value), begin, finish in zip(pairs, begins, ends, strict=True):
        name = key.text or ""
        head = key.line - begin
        below = _below(lines, begin + head, finish, value, _model(model, name))
        parts[name] = [*lines[begin : begin + head], *below]
    tail = _tail(lines, begins[-1], end) if not start else end
    last = node.pairs[-1][0].text or "" if node.pairs else ""
    parts[last] = parts[last][: len(parts[last]) - (end - tail)]
    order = _order(model)
    # What shares its line with a dash stays first.
    first = 1 if lines[pairs[0][0].line - 1].lstrip().startswith("- ") else 0
    names = list(parts)
    rest = sorted(names[first:], key=lambda name: order.index(name) if name in order else len(order))
    moved = [line for name in [*names[:first], *rest] for line in parts[name]]
    return [*lines[start : begins[0]], *moved, *lines[tail:end]]


def _below(lines: list[str], start: int, end: int, value: Node, model: type[BaseModel] | None) -> list[str]:
    if value.pairs is not None:
        return _sorted(lines, start, end, value, model)
    items = [item for item in value.items or () if item.pairs and start <= item.line - 1 < end]
    if not items or len({item.line for item in items}) < len(items) or len(items) < len(value.items or ()):
        return lines[start:end]
    begins = [_begin(lines, item.line - 1, start) for item in items]
    made = lines[start : begins[0]]
    for item, begin, finish in zip(items, begins, [*begins[1:], end], strict=True):
        head = item.line - 1 - begin
        made += [*lines[begin : begin + head], *_sorted(lines, begin + head, finish, item, model)]
    return made


def _one_a_line(lines: list[str], pairs: Sequence[tuple[Node, Node]]) -> bool:
    """Return whether each key begins a line of its own, at one depth: a mapping written as a block."""
    firsts = [lines[key.line - 1][: key.column - 1] for key, _ in pairs]
    return len({key.column for key, _ in pairs}) == 1 and all(not each.strip(" -") for each in firsts)


def _begin(lines: list[str], line: int, least: int) -> int:
    """Return where what belongs to a line begins: with the comments right above it, as deep, and the gap before."""
    depth = len(lines[line]) - len(lines[line].lstrip())
    while line > least and re.match(rf" {{0,{depth}}}#", lines[line - 1]):
        line -= 1
    while line > least and not lines[line - 1].strip():
        line -= 1
    return line


def _tail(lines: list[str], start: int, end: int) -> int:
    """Return where the comments at the end of a file begin, if a gap parts them from its last key."""
    line = end
    while line > start and (not lines[line - 1].strip() or lines[line - 1].startswith("#")):
        line -= 1
    gap = next((at for at in range(line, end) if not lines[at].strip()), end)
    return gap if any(each.startswith("#") for each in lines[gap:end]) else end


def _model(model: type[BaseModel] | None, name: str) -> type[BaseModel] | None:
    return next((key.below for key in _keys(model) if key.name == name), None) if model else None


@cache
def _keys(model: type[BaseModel]) -> tuple[keys.Key, ...]:
    return keys.keys(model)


_LIMITS = ("above", "at_least", "below", "at_most")
_FIRST: Mapping[str, tuple[str, ...]] = {
    "Rule": ("summary", "description", "severity", "when", "counting"),
    "When": ("signal", "kql", *_LIMITS, "change", "unusual", "burn_rate", "absent_for", "over", "minimum", "by"),
    "Policy": ("summary", "on", "do", "verify", "guard", "hold"),
    "Check": ("container_env", "is", "on", "signal", *_LIMITS, "over", "within"),
    "Config": (
        *("automation", "targets", "receivers", "routes", "inhibit", "quiet_hours", "silences", "escalate"),
        *("watchdog", "storm", "fallback", "budgets", "catch_up", "give_up_after", "tuning"),
    ),
    "Target": (
        *(
            "name",
            "workspace",
            "workspace_resource",
            "application_insights",
            "role_name",
            "subscription",
            "resource_group",
            "container_app",
        ),
        *("container", "queues", "probes", "side_effect_tools", "labels", "automation", "allow", "offset"),
        *("lag", "fresh_within", "accelerator", "evals"),
    ),
}
"""Keys in the order people write them, where that is not the order of the model; the others come after."""


def _order(model: type[BaseModel] | None) -> list[str]:
    if model is None:
        return []
    first = _FIRST.get(model.__name__, ())
    return [*first, *(key.name for key in _keys(model) if key.name not in first)]


# Depth and quotes


class _Plain(VersionedResolver):
    """Takes every scalar for the text that was typed, so that `1e1`, `yes` and `007` are written back as they were."""

    @property
    def versioned_resolver(self) -> dict[str, Any]:
        """Return how values are told by their looks: not at all."""
        return {}


class _Spaced(Emitter):
    """Writes `{ a: b }` with a space inside the braces, as everybody here does by hand."""

    def write_indicator(self, indicator: Any, *others: Any, **more: Any) -> None:
        """Write a mark of punctuation."""
        bare = indicator.strip()
        if bare == "{" and not self.check_empty_mapping():
            self._closing.append(" }")
            super().write_indicator(f"{indicator} ", *others, **more)
        elif bare == "{":
            self._closing.append("}")
            super().write_indicator(indicator, *others, **more)
        else:
            super().write_indicator(self._closing.pop() if bare == "}" else indicator, *others, **more)

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._closing: list[str] = []


def _indented(text: str) -> str:
    yaml = YAML(typ="rt", pure=True)
    yaml.Resolver, yaml.Emitter = _Plain, _Spaced
    yaml.brace_single_entry_mapping_in_flow_sequence = True
    yaml.preserve_quotes, yaml.width = True, _WIDE
    yaml.indent(mapping=2, sequence=4, offset=2)
    try:
        made = yaml.load(text)
        out = io.StringIO()
        yaml.dump(_quoted(made), out)
    except Exception as error:  # whatever a round trip cannot carry stays as it is
        raise Unchanged(f"it cannot be written back: {type(error).__name__}") from None
    return _aligned(out.getvalue())


_BLOCK = re.compile(r"(?:^|[:-])\s+[|>][+-]?\d?[+-]?\s*(?:\s#.*)?$")


def _aligned(text: str) -> str:
    """Return the text with each comment that stands alone as deep as what follows it, or as what it ends."""
    lines = text.splitlines()
    block = -1
    for at, line in enumerate(lines):
        depth = _depth(line)
        if not line.strip() or (block >= 0 and depth > block):
            continue
        block = depth if _BLOCK.search(line) else -1
        if line.lstrip().startswith("#"):
            above, below = _said(lines[:at][::-1]), _said(lines[at + 1 :])
            ends = _depth(above) > _depth(below) and depth == _depth(above)
            if below and depth != _depth(below) and not ends:
                lines[at] = " " * _depth(below) + line.lstrip()
    return "\n".join(lines) + "\n"


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())


def _said(lines: Sequence[str]) -> str:
    """Return the first line that says something."""
    return next((line for line in lines if line.strip() and not line.lstrip().startswith("#")), "")


def _quoted(value: Any) -> Any:
    """Return the document with texts in double quotes where single ones are not needed."""
    if isinstance(value, dict):
        for name in list(value):
            value[name] = _quoted(value[name])
        return value
    if isinstance(value, list):
        for at, each in enumerate(value):
            value[at] = _quoted(each)
        return value
    simple = isinstance(value, SingleQuotedScalarString) and not set(value) & {'"', "\\"} and value.isprintable()
    return DoubleQuotedScalarString(value) if simple else value
