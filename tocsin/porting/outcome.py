"""What became of one alert of the source: a rule's text with what differs in meaning, or why there is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tocsin.authoring.layout import Unchanged
from tocsin.core.errors import Problem
from tocsin.core.node import Node


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """One thing that is not the same afterwards. ``id`` is a row of ``docs/porting.md``, ``field`` the source's own."""

    id: str
    field: str
    line: int
    column: int
    words: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as values that JSON knows."""
        return {
            "id": self.id,
            "field": self.field,
            "line": self.line,
            "column": self.column,
            "words": self.words,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """One alert of the source. ``text`` is the rule's file, None where it was refused.

    ``carried`` are the source's fields that mean the same as before.
    """

    source: str
    rule: str
    path: str
    line: int
    text: str | None = None
    carried: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    refusals: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    def refused(self, *problems: Problem) -> Outcome:
        """Return the outcome without a rule, for these reasons besides its own."""
        return replace(self, text=None, refusals=(*self.refusals, *problems))

    def as_dict(self) -> dict[str, Any]:
        """Return it as values that JSON knows."""
        return {
            "source": self.source,
            "place": f"{self.path}:{self.line}",
            "rule": self.rule if self.text is not None else None,
            "carried": list(self.carried),
            "differences": [each.as_dict() for each in self.differences],
            "refused": [_short(each) for each in self.refusals],
            "warnings": [_short(each) for each in self.warnings],
        }


def _short(problem: Problem) -> dict[str, Any]:
    told = {"id": problem.id, "line": problem.line, "column": problem.column, "message": problem.message}
    return {**told, "hint": problem.hint} if problem.hint else told


class Unresolved(Exception):
    """A value is an expression that nothing here can evaluate; the message names what it needs."""


@dataclass
class Gathering:
    """What is found while one alert is translated."""

    carried: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    refusals: list[Problem] = field(default_factory=list)

    def differs(self, identity: str, name: str, node: Node, words: str) -> None:
        """Note that a field does not mean the same afterwards."""
        self.differences.append(Difference(identity, name, node.line, node.column, words))

    def refuse(self, identity: str, node: Node, words: str, hint: str = "") -> None:
        """Note why there can be no rule."""
        self.refusals.append(node.problem(identity, words, hint))

    def outcome(self, source: str, rule: str, node: Node, text: Callable[[], str]) -> Outcome:
        """Return what became of it; ``text`` is asked for where nothing refuses it."""
        made = None if self.refusals else self._written(node, text)
        seen: dict[tuple[str, str], Difference] = {}
        for each in self.differences:
            seen.setdefault((each.id, each.field), each)
        carried = tuple(dict.fromkeys(self.carried))
        # What could not be evaluated is not also of the wrong kind.
        lost = {(each.line, each.column) for each in self.refusals if each.id == "unresolved-expression"}
        kept = [each for each in self.refusals if each.id != "bad-field" or (each.line, each.column) not in lost]
        return Outcome(source, rule, node.path, node.line, made, carried, tuple(seen.values()), tuple(kept))

    def _written(self, node: Node, text: Callable[[], str]) -> str | None:
        try:
            return text()
        except Unchanged as error:
            self.refuse("not-accepted", node, f"the rule cannot be written: {error}")
            return None


class Fields:
    """A mapping of the source, of which every key has to be looked at: what nobody takes is refused at the end."""

    def __init__(
        self, node: Node, path: str, told: Gathering, resolve: Callable[[Node], Node] = lambda node: node
    ) -> None:
        self.node, self.path, self.told, self._resolve = node, path, told, resolve
        self._taken: set[str] = set()

    def raw(self, name: str) -> Node | None:
        """Return a value as it is written; its key counts as looked at. Small and capital letters are alike."""
        for key, value in self.node.pairs or ():
            if (key.text or "").casefold() == name.casefold():
                self._taken.add(key.text or "")
                return None if value.text == "" else value
        return None

    def take(self, name: str) -> Node | None:
        """Return a value with its expressions evaluated; refuses the alert where one cannot be."""
        found = self.raw(name)
        if found is None:
            return None
        try:
            return self._resolve(found)
        except Unresolved as error:
            self.told.refuse("unresolved-expression", found, f"`{self.named(name)}` cannot be evaluated: {error}")
            return None

    def loose(self, name: str) -> Node | None:
        """Return a value of no consequence to what is decided: one that cannot be evaluated stays as it is written."""
        found = self.raw(name)
        try:
            return None if found is None else self._resolve(found)
        except Unresolved:
            return found

    def text(self, name: str) -> str:
        """Return a scalar, empty where there is none; refuses anything else."""
        found = self.take(name)
        if found is None:
            return ""
        if found.text is None:
            self.told.refuse("bad-field", found, f"`{self.named(name)}` has to be a text, found {found.kind}")
            return ""
        return found.text

    def carry(self, name: str) -> str:
        """Return a scalar that means the same afterwards."""
        found = self.text(name)
        if found:
            self.told.carried.append(self.named(name))
        return found

    def inside(self, name: str) -> Fields | None:
        """Return a mapping below."""
        found = self.take(name)
        if found is not None and found.pairs is None:
            self.told.refuse("bad-field", found, f"`{self.named(name)}` has to be a mapping, found {found.kind}")
            return None
        return None if found is None else Fields(found, self.named(name), self.told, self._resolve)

    def items(self, name: str) -> tuple[Node, ...]:
        """Return the items of a list, evaluated."""
        found = self.take(name)
        if found is None:
            return ()
        if found.items is None:
            self.told.refuse("bad-field", found, f"`{self.named(name)}` has to be a list, found {found.kind}")
            return ()
        return tuple(self._each(item, name) for item in found.items)

    def below(self, node: Node, path: str) -> Fields:
        """Return the fields of another mapping of the same alert."""
        return Fields(node, path, self.told, self._resolve)

    def left(self, names: Sequence[str], identity: str, words: str) -> None:
        """Tell of fields that say nothing of what is decided."""
        for name in names:
            found = self.raw(name)
            if found is not None:
                self.told.differs(identity, self.named(name), found, words)

    def given_up(self) -> None:
        """Count every key as looked at: why the alert is refused has been said."""
        self._taken |= {key.text or "" for key, _ in self.node.pairs or ()}

    def finish(self) -> None:
        """Refuse the alert for every key that nobody looked at."""
        for key, _ in self.node.pairs or ():
            if (key.text or "") not in self._taken:
                words = f"`{self.named(key.text or '')}` is not known here, and may change what the alert means"
                self.told.refuse("unknown-field", key, words)

    def named(self, name: str) -> str:
        """Return a field's path."""
        return f"{self.path}.{name}" if self.path else name

    def place(self, name: str) -> Node:
        """Return where a field is, or where it would be."""
        return self.raw(name) or self.node

    def _each(self, item: Node, name: str) -> Node:
        try:
            return self._resolve(item)
        except Unresolved as error:
            self.told.refuse("unresolved-expression", item, f"`{self.named(name)}` cannot be evaluated: {error}")
            return item
