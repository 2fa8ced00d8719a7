"""An aggregate over a window taken apart, so that it can be put together from bins: sums add up, percentiles do not."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tocsin.core import kql

Fold = Literal["sum", "min", "max"]

_FOLDS: Mapping[str, Fold] = {
    "sum": "sum",
    "sumif": "sum",
    "count": "sum",
    "countif": "sum",
    "min": "min",
    "minif": "min",
    "max": "max",
    "maxif": "max",
}
_CALL = re.compile(r"(?<![\w.])([a-z]\w*)\s*\(")
_CASTS = ("todouble", "toreal")
_PERCENTILE = re.compile(r"\s*percentile\s*\((.*),\s*(\d{1,2}(?:\.\d+)?)\s*\)\s*$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Partial:
    """What is aggregated in each bin, and how bins become a window."""

    text: str
    fold: Fold


@dataclass(frozen=True, slots=True)
class Sum:
    """A value made of partials: ``outer`` is arithmetic over them, as ``_0``, ``_1``, …"""

    partials: tuple[Partial, ...]
    outer: ast.expr

    def of(self, columns: Mapping[str, Any]) -> Any:
        """Return the value of every window from its partials, by their text; what is divided by nothing is NaN."""
        names = {f"_{number}": columns[partial.text] for number, partial in enumerate(self.partials)}
        with np.errstate(divide="ignore", invalid="ignore"):
            return _evaluated(self.outer, names)


@dataclass(frozen=True, slots=True)
class Ranked:
    """A percentile: the smallest of the window's numbers that at least this share of them does not exceed."""

    text: str
    share: float


def apart(aggregate: str) -> Sum | Ranked | None:
    """Return how windows are made of bins; None for an aggregate of which that is not known."""
    found = _PERCENTILE.match(aggregate)
    if found and _closed(found[1]):
        return Ranked(found[1].strip(), float(found[2]) / 100)
    taken = _taken(aggregate)
    if taken is None:
        return None
    outer, partials = taken
    try:
        tree = ast.parse(outer.strip(), mode="eval").body
    except SyntaxError:
        return None
    return Sum(partials, tree) if _arithmetic(tree) else None


def _closed(text: str) -> bool:
    """Whether no bracket that is open before ends within the text, and none that it opens stays open."""
    depth = 0
    for letter in kql.code(text):
        depth += (letter in "([{") - (letter in ")]}")
        if depth < 0:
            return False
    return depth == 0


def _taken(aggregate: str) -> tuple[str, tuple[Partial, ...]] | None:
    """Return the text with a name in place of each aggregate call, and the calls."""
    code, outer, last, partials = kql.code(aggregate), "", 0, dict[Partial, int]()
    for found in _CALL.finditer(code):
        if found.start() < last or found[1] in _CASTS:
            continue
        end = _end(code, found.end())
        fold = _FOLDS.get(found[1])
        if end is None or fold is None:
            return None
        partial = Partial(aggregate[found.start() : end], fold)
        number = partials.setdefault(partial, len(partials))
        outer, last = f"{outer}{aggregate[last : found.start()]}_{number}", end
    return (outer + aggregate[last:], tuple(partials)) if partials else None


def _end(code: str, begin: int) -> int | None:
    depth = 1
    for at in range(begin, len(code)):
        depth += (code[at] == "(") - (code[at] == ")")
        if not depth:
            return at + 1
    return None


_OPERATIONS = (ast.Add, ast.Sub, ast.Mult, ast.Div)


def _arithmetic(tree: ast.expr) -> bool:
    """Whether a tree is made of names, numbers, the four operations and casts, and of nothing else."""
    if isinstance(tree, ast.BinOp):
        return isinstance(tree.op, _OPERATIONS) and _arithmetic(tree.left) and _arithmetic(tree.right)
    if isinstance(tree, ast.UnaryOp):
        return isinstance(tree.op, ast.USub) and _arithmetic(tree.operand)
    if isinstance(tree, ast.Call):
        named = isinstance(tree.func, ast.Name) and tree.func.id in _CASTS
        return named and len(tree.args) == 1 and not tree.keywords and _arithmetic(tree.args[0])
    if isinstance(tree, ast.Constant):
        return isinstance(tree.value, int | float)
    return isinstance(tree, ast.Name) and re.fullmatch(r"_\d+", tree.id) is not None


def _evaluated(tree: ast.expr, names: Mapping[str, Any]) -> Any:
    if isinstance(tree, ast.BinOp):
        return _operated(tree.op, _evaluated(tree.left, names), _evaluated(tree.right, names))
    if isinstance(tree, ast.UnaryOp):
        return -_evaluated(tree.operand, names)
    if isinstance(tree, ast.Call):
        return np.asarray(_evaluated(tree.args[0], names), dtype=float)
    if isinstance(tree, ast.Name):
        return names[tree.id]
    assert isinstance(tree, ast.Constant)
    return np.asarray(tree.value)


def _operated(operation: ast.operator, left: Any, right: Any) -> Any:
    if isinstance(operation, ast.Add):
        return left + right
    if isinstance(operation, ast.Sub):
        return left - right
    if isinstance(operation, ast.Mult):
        return left * right
    whole = np.issubdtype(np.asarray(left).dtype, np.integer) and np.issubdtype(np.asarray(right).dtype, np.integer)
    # Whole numbers divide to whole ones in KQL; nothing divided by nothing is no number in either.
    return np.where(right == 0, np.nan, np.trunc(left / right)) if whole else left / right
