"""Stand-ins for what is wrong in a document, so that the rest of it is looked at in the same run.

A document with stand-ins is checked and never used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from tocsin.core.config import APP_KEYS
from tocsin.core.errors import nearest_of
from tocsin.core.node import Node
from tocsin.core.places import Path, choices_of, field_at, keys, steps
from tocsin.core.rule import CONDITIONS, Op

_TEXTS = (
    "x", "5m", "0.99", "1", "true", "P3", "UTC", "07:30", "2026-12-01", "1 per 1h", "1 target per 15m", "1 of 1",
    "severity=P3", "https://x.example/x", "x/x",
)  # fmt: skip
"""Values of which one at least fits each key that takes a text."""

_WHOLE: dict[str, dict[str, Any]] = {
    "when": {"kql": "x", "above": "0.99", "over": "1h"},
    "on": {"severity": "P3"},
    "do": {"": [{"x": {}}]},
    "guard": {"mode": "observe"},
    "routes": {"to": "x"},
}
"""What stands in for a mapping that is needed and is not there."""


@dataclass
class Mending:
    """A document and what has been done to it. ``touched`` are places of stand-ins, ``gone`` those taken out."""

    node: Node
    touched: set[Path] = field(default_factory=set)
    gone: set[Path] = field(default_factory=set)

    def follows(self, path: Path) -> bool:
        """Return whether an error there can come of what was mended, and is no mistake of the author's."""
        below = any(path[: len(each)] == each for each in self.touched)
        return below or any(each[:-1] == path for each in self.gone)

    def mend(self, model: type[BaseModel], errors: Sequence[ErrorDetails]) -> None:
        """Put a stand-in where each error is, or take out what is wrong where nothing can stand in."""
        # What is misspelt first: it is what seems to be missing.
        for error in sorted(errors, key=lambda each: each["type"] != "extra_forbidden"):
            path, _ = steps(self.node, error["loc"])
            if error["type"] == "missing" and self.node.at(*path).get(str(error["loc"][-1])) is not None:
                continue
            if error["type"] == "missing":
                self._supply(model, path, error)
            elif error["type"] == "extra_forbidden":
                self._respell(model, error, path)
            elif path in self.touched or not self._relax(error["type"], path):
                self._stand_in(model, error, path)

    def _supply(self, model: type[BaseModel], owner: Path, error: ErrorDetails) -> None:
        name = str(error["loc"][-1])
        if (*owner, name) in self.touched:
            self._take_out(owner)
        elif (text := _fitting(field_at(model, error["loc"]))) is not None:
            self._say(owner, name, text)
        elif name in _WHOLE:
            self._say(owner, name, _WHOLE[name].get("", _WHOLE[name]))
        else:
            self._take_out(owner)

    def _respell(self, model: type[BaseModel], error: ErrorDetails, path: Path) -> None:
        """Read a misspelt key as the one that was meant, so that its value is looked at, too."""
        owner, name = self.node.at(*path[:-1]), str(path[-1])
        meant = nearest_of(name, keys(model, error["loc"][:-1]))
        if path[-1] != error["loc"][-1] or not meant or owner.get(meant) is not None:
            self._take_out(path)
        else:
            self.touched.add(path)
            self.node = self.node.changed(path[:-1], lambda each: each.renamed(name, meant))

    def _relax(self, kind: str, path: Path) -> bool:
        """Make a whole of parts that do not fit together; return False where that is not known."""
        here = self.node.at(*path)
        said = {key.text or "" for key, _ in here.pairs or ()}
        if kind == "one-condition":
            found = [each for each in CONDITIONS if each in said]
            self._drop(path, found[1:])
            if not found:
                self._say(path, "above", "0.99")
        elif kind == "no-measure":
            self._drop(path, ["kql"] if "kql" in said else [])
            if "kql" not in said:
                self._say(path, "kql", "x")
        elif kind == "half-an-app":
            for name in set(APP_KEYS) - said:
                self._say(path, name, "x")
        elif kind == "bad-check" and "signal" in said:
            limits = [each.value for each in Op if each in said]
            self._drop(path, ["is", "container_env", *limits[1:]])
            if not limits:
                self._say(path, "at_most", "0.99")
        else:
            return False
        self.touched.add(path)
        return True

    def _stand_in(self, model: type[BaseModel], error: ErrorDetails, path: Path) -> None:
        """Put a value where one is wrong; where that has been tried, or none fits, take it out."""
        text = _fitting(field_at(model, error["loc"])) if path and path not in self.touched else None
        if text is None or not isinstance(path[-1], str):
            self._take_out(path)
            return
        self.touched.add(path)
        self.node = self.node.changed(path, lambda each: _valued(each, text))

    def _say(self, owner: Path, name: str, value: Any) -> None:
        self.touched.add((*owner, name))
        self.node = self.node.changed(owner, lambda each: each.saying(name, _valued(each, value)))

    def _drop(self, owner: Path, names: Sequence[str]) -> None:
        for name in names:
            self._take_out((*owner, name))

    def _take_out(self, path: Path) -> None:
        self.touched.add(path)
        self.gone.add(path)
        self.node = self.node.without(path)


def _valued(place: Node, value: Any) -> Node:
    """Return a value as a node at a place."""
    bare = replace(place, text=None, pairs=None, items=None, typed=None)
    if isinstance(value, dict):
        return replace(bare, pairs=tuple((_valued(place, key), _valued(place, each)) for key, each in value.items()))
    if isinstance(value, list):
        return replace(bare, items=tuple(_valued(place, each) for each in value))
    return replace(bare, text=str(value))


def _fitting(found: FieldInfo | None) -> str | None:
    """Return a text that a key takes; None where it takes none."""
    if found is None:
        return None
    wanted: Any = Annotated[(found.annotation, "as in the file", *found.metadata)]
    reader: TypeAdapter[Any] = TypeAdapter(wanted)
    return next((text for text in (*choices_of(found.annotation), *_TEXTS) if _takes(reader, text)), None)


def _takes(reader: TypeAdapter[Any], text: str) -> bool:
    try:
        reader.validate_python(text)
    except ValidationError:
        return False
    return True


def later(errors: Sequence[ErrorDetails], mending: Mending) -> Iterator[ErrorDetails]:
    """Yield the errors that were not seen while others were in the way."""
    for error in errors:
        path, _ = steps(mending.node, error["loc"])
        if not mending.follows(path) and error["type"] != "missing":
            yield error
