"""A YAML document as the operator typed it: text, mappings and lists, each with its place."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tocsin.core.errors import Problem


@dataclass(frozen=True, slots=True)
class Node:
    """One value. ``text`` for a scalar, ``pairs`` for a mapping (key and value nodes), ``items`` for a list."""

    path: str
    line: int
    column: int
    source: str
    text: str | None = None
    pairs: tuple[tuple[Node, Node], ...] | None = None
    items: tuple[Node, ...] | None = None
    width: int = 1

    @property
    def kind(self) -> str:
        """What it is, in the words of a message."""
        return "a text" if self.text is not None else "a mapping" if self.pairs is not None else "a list"

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

    def without(self, paths: Collection[tuple[str | int, ...]]) -> Node:
        """Return the tree without the entries at these paths of one or two parts; a scalar goes whole."""
        pairs = []
        for key, value in self.pairs or ():
            inner = {path[1] for path in paths if path[0] == key.text and len(path) > 1}
            if (value.text is not None and inner) or (key.text,) in paths:
                continue
            pairs.append((key, value._dropping(inner)))
        return replace(self, pairs=tuple(pairs))

    def _dropping(self, names: Collection[str | int]) -> Node:
        if self.pairs is not None:
            return replace(self, pairs=tuple(pair for pair in self.pairs if pair[0].text not in names))
        if self.items is not None:
            return replace(self, items=tuple(item for at, item in enumerate(self.items) if at not in names))
        return self

    def problem(self, identity: str, message: str, hint: str = "", choices: tuple[str, ...] = ()) -> Problem:
        """Return a problem at this place."""
        return Problem(self.path, self.line, self.column, identity, message, self.source, self.width, hint, choices)


def _item(node: Node, index: int) -> Node | None:
    return node.items[index] if node.items is not None and index < len(node.items) else None


def with_texts(node: Node, texts: Mapping[int, str]) -> Node:
    """Return the tree with the scalars named by ``id`` holding other texts, at the same places."""
    if id(node) in texts:
        return replace(node, text=texts[id(node)])
    if node.pairs is not None:
        return replace(node, pairs=tuple((key, with_texts(value, texts)) for key, value in node.pairs))
    if node.items is not None:
        return replace(node, items=tuple(with_texts(item, texts) for item in node.items))
    return node


_COMPARISONS = frozenset({"above", "at_least", "below", "at_most", "change"})


def tuned(node: Node, changes: Node) -> Node:
    """Return a rule's tree with ``tuning``'s keys over it; what is tuned keeps its place in ``tocsin.yaml``.

    A comparison that is tuned takes the place of the rule's own, whichever that was.
    """
    given = {key.text for key, _ in changes.pairs or ()}
    dropped = _COMPARISONS if given & _COMPARISONS else frozenset()
    kept = [(key, value) for key, value in node.pairs or () if key.text not in given | dropped]
    added = [(key, _over(node.get(key.text or ""), value)) for key, value in changes.pairs or ()]
    return replace(node, pairs=(*kept, *added))


def _over(old: Node | None, new: Node) -> Node:
    return tuned(old, new) if old is not None and old.pairs is not None and new.pairs is not None else new
