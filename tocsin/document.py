"""One YAML file, read strictly: YAML 1.2 without anchors, tags or duplicate keys, of bounded depth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tocsin.core.errors import Problem
from tocsin.core.node import Node
from tocsin.syntax import explained

DEEPEST = 20
_MOST = 100
"""How many refusals of one file are told; a file with more is something else altogether."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A document without what was refused in it, or None where there is none, and every refusal."""

    node: Node | None
    problems: tuple[Problem, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether nothing was refused."""
        return not self.problems


class _End(Exception):
    """Nothing more of a file can be read."""


@lru_cache(maxsize=256)
def parse(path: str, data: bytes) -> Parsed:
    """Return the one document in ``data``; whatever is wrong with it becomes problems. Never raises.

    What does not change is parsed once in a process: a plan reads most files twice, a test run hundreds of times.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return Parsed(None, (Problem(path, line, 1, "not-utf8", "the file is not UTF-8"),))
    builder = _Builder(path, text)
    node = builder.document()
    return Parsed(node, tuple(builder.problems))


class _Builder:
    """Builds nodes from the parser's events, so that what is refused is never expanded."""

    def __init__(self, path: str, text: str) -> None:
        self.problems: list[Problem] = []
        self._path, self._text, self._depth = path, text, 0
        self._lines = text.splitlines()

    def document(self) -> Node | None:
        """Return the document, as far as it can be read."""
        try:
            return self._only(iter(YAML(typ="safe", pure=True).parse(self._text)))
        except (YAMLError, ValueError) as error:
            mark, message, hint = explained(error, self._lines)
            self._refuse(mark, "syntax", message, hint)
        except _End:
            pass
        return None

    def _only(self, events: Iterator[Any]) -> Node | None:
        found: Node | None = None
        begun = False
        for event in events:
            kind = type(event).__name__
            if kind == "DocumentStartEvent" and begun:
                self._end(event.start_mark, "second-document", "a file holds one document")
            if kind in ("MappingStartEvent", "SequenceStartEvent", "ScalarEvent", "AliasEvent"):
                begun, found = True, self._node(event, events)
        if not begun or (found is not None and found.text == ""):
            self._end(None, "empty-file", "the file is empty")
        return found

    def _node(self, event: Any, events: Iterator[Any]) -> Node | None:
        """Return what begins with ``event``, read to its end; None when it is refused."""
        refused = self._refused(event)
        node = self._whole(event, events)
        return None if refused else node

    def _refused(self, event: Any) -> bool:
        if type(event).__name__ == "AliasEvent" or event.anchor is not None:
            hint = "quote a text that begins with * or &"
            return self._refuse(event.start_mark, "anchor", "anchors and aliases are not taken: write it out", hint)
        if event.tag is not None:
            words = f"tags are not taken, found {event.tag}"
            return self._refuse(event.start_mark, "tag", words, "quote a text that begins with !")
        return False

    def _whole(self, event: Any, events: Iterator[Any]) -> Node:
        kind = type(event).__name__
        if kind in ("ScalarEvent", "AliasEvent"):
            return self._made(event, text=_scalar(event) if kind == "ScalarEvent" else "")
        self._depth += 1
        if self._depth > DEEPEST:
            self._end(event.start_mark, "too-deep", f"nested deeper than {DEEPEST}")
        node = self._mapping(event, events) if kind == "MappingStartEvent" else self._list(event, events)
        self._depth -= 1
        return node

    def _mapping(self, start: Any, events: Iterator[Any]) -> Node:
        pairs: dict[str, tuple[Node, Node]] = {}
        for event in events:
            if type(event).__name__ == "MappingEndEvent":
                break
            key = self._node(event, events)
            value = self._node(next(events), events)
            if key is not None and not key.text:
                self._refuse(event.start_mark, "bad-key", f"a key is a text, found {key.kind}")
            elif key is not None and key.text in pairs:
                self._add(key.problem("duplicate-key", f"'{key.text}' is there twice"))
            elif key is not None and value is not None:
                # Nothing after a key stands nowhere: the parser puts it where the next thing begins.
                pairs[key.text or ""] = (key, value if value.text != "" else replace(key, text=""))
        return self._made(start, pairs=tuple(pairs.values()))

    def _list(self, start: Any, events: Iterator[Any]) -> Node:
        items: list[Node] = []
        for event in events:
            if type(event).__name__ == "SequenceEndEvent":
                break
            if (item := self._node(event, events)) is not None:
                items.append(item)
        return self._made(start, items=tuple(items))

    def _made(self, event: Any, **value: Any) -> Node:
        mark, end = event.start_mark, event.end_mark
        width = end.column - mark.column if end.line == mark.line else 1
        return Node(self._path, mark.line + 1, mark.column + 1, self._line(mark.line), width=max(1, width), **value)

    def _line(self, number: int) -> str:
        return self._lines[number][:200] if number < len(self._lines) else ""

    # What is refused

    def _refuse(self, mark: Any, identity: str, message: str, hint: str = "") -> bool:
        line, column = (mark.line, mark.column) if mark else (0, 0)
        self._add(Problem(self._path, line + 1, column + 1, identity, message, self._line(line), hint=hint))
        return True

    def _end(self, mark: Any, identity: str, message: str) -> None:
        self._refuse(mark, identity, message)
        raise _End

    def _add(self, problem: Problem) -> None:
        self.problems.append(problem)
        if len(self.problems) == _MOST:
            self.problems.append(Problem(self._path, 1, 1, "too-many", f"more than {_MOST} refusals in this file"))
            raise _End


def _scalar(event: Any) -> str:
    """Return the text as typed; an unquoted null is an empty text."""
    return "" if event.style is None and event.value in ("~", "null", "Null", "NULL") else str(event.value)
