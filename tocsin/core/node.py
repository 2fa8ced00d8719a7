"""A YAML document as the operator typed it: text, mappings and lists, each with its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tocsin.core.errors import Problem


@dataclass(frozen=True, slots=True)
class Node:
    """One value. ``text`` for a scalar, ``pairs`` for a mapping (key and value nodes), ``items`` for a list.

    ``typed`` is what stands in the file where ``text`` holds the values of settings, which no message may repeat.
    """

    path: str
    line: int
    column: int
    source: str
    text: str | None = None
    pairs: tuple[tuple[Node, Node], ...] | None = None
    items: tuple[Node, ...] | None = None
    width: int = 1
    typed: str | None = None

    @property
    def kind(self) -> str:
        """What it is, in the words of a message."""
        if self.text is not None:
            return "a text" if self.text else "nothing"
        return "a mapping" if self.pairs is not None else "a list"

    def plain(self) -> Any:
        """Return the value as plain Python: every scalar is the text in the file."""
        if self.pairs is not None:
            return {key.text or "": value.plain() for key, value in self.pairs}
        return [item.plain() for item in self.items] if self.items is not None else self.text

    def get(self, name: str) -> Node | None:
        """Return the value of a key, or None."""
        return next((value for key, value in self.pairs or () if key.text == name), None)

    def key(self, name: str) -> Node | None:
        """Return the key itself, for its place."""
        return next((key for key, _ in self.pairs or () if key.text == name), None)

    def at(self, *path: str | int) -> Node:
        """Return the node at a path, or the nearest one above it that exists."""
        here = self
        for part in path:
            below = here.get(part) if isinstance(part, str) else _item(here, part)
            if below is None:
                return here
            here = below
        return here

    def scalars(self) -> Iterator[Node]:
        """Yield every scalar value below, and the node itself if it is one."""
        if self.text is not None:
            yield self
        for _, value in self.pairs or ():
            yield from value.scalars()
        for item in self.items or ():
            yield from item.scalars()

    def without(self, path: Sequence[str | int]) -> Node:
        """Return the tree without the entry or item at ``path``; without its nearest owner if there is none."""
        if not path:
            return replace(self, text=None, pairs=(), items=None)
        return self._with(path, lambda _: None)

    def changed(self, path: Sequence[str | int], change: Callable[[Node], Node]) -> Node:
        """Return the tree with what ``change`` makes of the node at ``path``."""
        return self._with(path, change) if path else change(self)

    def renamed(self, old: str, new: str) -> Node:
        """Return the mapping with another word for a key."""
        pairs = self.pairs or ()
        return replace(self, pairs=tuple((replace(k, text=new) if k.text == old else k, v) for k, v in pairs))

    def saying(self, name: str, value: Node) -> Node:
        """Return the mapping with a key and its value, in place of what it said; anything else as it is."""
        if self.pairs is None:
            return self
        kept = (pair for pair in self.pairs if pair[0].text != name)
        return replace(self, pairs=(*kept, (replace(self, text=name, pairs=None), value)))

    def having(self, path: Sequence[str | int], name: str, text: str) -> Node:
        """Return the tree in which the mapping at ``path`` says ``text`` for ``name``, in place of what it said."""
        return self.changed(path, lambda owner: owner.saying(name, replace(owner, text=text, pairs=None)))

    def _with(self, path: Sequence[str | int], change: Callable[[Node], Node | None]) -> Node:
        here, rest = path[0], path[1:]
        if self.pairs is not None and isinstance(here, str):
            changed = ((key, _changed(value, rest, change) if key.text == here else value) for key, value in self.pairs)
            return replace(self, pairs=tuple((key, value) for key, value in changed if value is not None))
        if self.items is not None and isinstance(here, int):
            found = (_changed(item, rest, change) if at == here else item for at, item in enumerate(self.items))
            return replace(self, items=tuple(item for item in found if item is not None))
        return self

    def problem(
        self, identity: str, message: str, hint: str = "", choices: tuple[str, ...] = (), listed: str = ""
    ) -> Problem:
        """Return a problem at this place."""
        if self.typed is not None and self.text:
            message, hint = message.replace(self.text, self.typed), ""
        at = (self.path, self.line, self.column)
        return Problem(*at, identity, message, self.source, self.width, hint, choices, listed)

    def warning(self, identity: str, message: str, hint: str = "") -> Problem:
        """Return a problem at this place that keeps nothing from running."""
        return replace(self.problem(identity, message, hint), severity="warning")


def _changed(node: Node, path: Sequence[str | int], change: Callable[[Node], Node | None]) -> Node | None:
    return node._with(path, change) if path else change(node)


def _item(node: Node, index: int) -> Node | None:
    return node.items[index] if node.items is not None and index < len(node.items) else None


def with_texts(node: Node, texts: Mapping[int, str]) -> Node:
    """Return the tree with the scalars named by ``id`` holding other texts, at the same places."""
    if id(node) in texts:
        return replace(node, text=texts[id(node)], typed=node.text)
    if node.pairs is not None:
        return replace(node, pairs=tuple((key, with_texts(value, texts)) for key, value in node.pairs))
    if node.items is not None:
        return replace(node, items=tuple(with_texts(item, texts) for item in node.items))
    return node


_INSTEAD = (
    frozenset({"above", "at_least", "below", "at_most", "change", "unusual", "burn_rate", "absent_for"}),
    frozenset({"signal", "kql"}),
    frozenset({"for", "in"}),
)
"""Keys of which a rule has one: tuning one of them takes the place of whichever the rule has."""


def tuned(node: Node, changes: Node) -> Node:
    """Return a rule's tree with ``tuning``'s keys over it; what is tuned keeps its place in ``tocsin.yaml``."""
    given = {key.text for key, _ in changes.pairs or ()}
    dropped = given.union(*(keys for keys in _INSTEAD if given & keys))
    kept = [(key, value) for key, value in node.pairs or () if key.text not in dropped]
    added = [(key, _over(node.get(key.text or ""), value)) for key, value in changes.pairs or ()]
    return replace(node, pairs=(*kept, *added))


def _over(old: Node | None, new: Node) -> Node:
    return tuned(old, new) if old is not None and old.pairs is not None and new.pairs is not None else new
