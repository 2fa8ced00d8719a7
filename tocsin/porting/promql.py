"""PromQL, as far as alerts of known shapes are written in it: an expression becomes a tree, or it is said why not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "y": 31_536_000}
_TOKEN = re.compile(
    r"""(?:
    (?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
    |(?P<length>(?:\d+(?:ms|[smhdwy]))+)
    |(?P<number>0x[0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![a-zA-Z_]))
    |(?P<word>[a-zA-Z_:][\w:.]*)
    |(?P<mark>==|!=|>=|<=|=~|!~|[-+*/%^><=(){}\[\],:@])
    )""",
    re.VERBOSE,
)
_QUIET = re.compile(r"(?:\s|#[^\n]*)*")
_LEVELS = (("or",), ("and", "unless"), ("==", "!=", ">", ">=", "<", "<="), ("+", "-"), ("*", "/", "%"), ("^",))
AGGREGATIONS = frozenset({"sum", "avg", "min", "max", "count", "topk", "bottomk", "quantile", "stddev", "group"})


class NotPromql(Exception):
    """The text cannot be read; the message says where it ends to be understood."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number."""

    value: float


@dataclass(frozen=True, slots=True)
class Selector:
    """Series by name and labels: ``(label, operator, value)``; ``span`` where it is of a range."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...] = ()
    span: timedelta | None = None
    moved: bool = False
    """Whether it is of another time: ``offset``, ``@``, a subquery."""


@dataclass(frozen=True, slots=True)
class Call:
    """A function or an aggregation; ``by`` are the labels that are kept, ``without`` those that are not."""

    name: str
    args: tuple[Expr, ...]
    by: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binary:
    """Two sides and an operator; ``matching`` holds `on`, `ignoring`, `group_left` and `bool` as written."""

    op: str
    left: Expr
    right: Expr
    matching: str = ""


Expr = Number | Selector | Call | Binary


def length(text: str) -> timedelta | None:
    """Return a Prometheus duration such as ``1h30m``; None for what is none."""
    if text == "0":
        return timedelta()
    if not re.fullmatch(r"(?:\d+(?:ms|[smhdwy]))+", text):
        return None
    found = re.findall(r"(\d+)(ms|[smhdwy])", text)
    return timedelta(seconds=sum(int(count) * _UNITS[unit] for count, unit in found))


def parse(text: str) -> Expr:
    """Return an expression's tree, with constant arithmetic done. Raises NotPromql."""
    reader = _Reader(text)
    made = reader.level(0)
    if reader.peek():
        raise NotPromql(f"'{reader.peek()}' is not expected")
    return made


class _Reader:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        at = _QUIET.match(text, 0).end()  # type: ignore[union-attr]
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None or found.lastgroup is None:
                raise NotPromql(f"'{text[at : at + 20].strip()}' is not understood")
            self._tokens.append((found.lastgroup, found[found.lastgroup]))
            at = _QUIET.match(text, found.end()).end()  # type: ignore[union-attr]
        self._at = 0

    def peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _kind(self) -> str:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""

    def _take(self, wanted: str = "") -> str:
        found = self.peek()
        if not found or (wanted and found != wanted):
            raise NotPromql(f"'{wanted}' is missing before '{found}'" if wanted else "it ends too soon")
        self._at += 1
        return found

    def level(self, depth: int) -> Expr:
        """Read operators of one strength and of those above it."""
        if depth == len(_LEVELS):
            return self._unary()
        left = self.level(depth + 1)
        while self._kind() in ("mark", "word") and self.peek().lower() in _LEVELS[depth]:
            op = self._take().lower()
            matching = self._matching()
            left = _folded(Binary(op, left, self.level(depth + 1), matching))
        return left

    def _matching(self) -> str:
        said = []
        while self.peek() in ("bool", "on", "ignoring", "group_left", "group_right"):
            word = self._take()
            said.append(word if word == "bool" or self.peek() != "(" else f"{word}({', '.join(self._names())})")
        return " ".join(said)

    def _names(self) -> tuple[str, ...]:
        self._take("(")
        names = []
        while self.peek() != ")":
            names.append(self._take())
            if self.peek() == ",":
                self._take()
        self._take(")")
        return tuple(names)

    def _unary(self) -> Expr:
        if self.peek() in ("-", "+"):
            sign = self._take()
            inner = self._unary()
            return _folded(Binary("*", Number(-1.0 if sign == "-" else 1.0), inner))
        return self._after(self._atom())

    def _atom(self) -> Expr:
        kind, token = self._kind(), self.peek()
        if token == "(":
            self._take()
            made = self.level(0)
            self._take(")")
            return made
        if kind == "number":
            return Number(float(int(self._take(), 16) if token.startswith("0x") else self._take()))
        if token == "{":
            return Selector("", self._matchers())
        if kind != "word":
            raise NotPromql(f"'{token}' is not expected" if token else "it ends too soon")
        return self._named(self._take())

    def _named(self, word: str) -> Expr:
        if word in AGGREGATIONS and self.peek() in ("by", "without", "("):
            return self._aggregation(word)
        if self.peek() == "(":
            return Call(word, self._args())
        if word.lower() in ("inf", "nan"):
            return Number(float(word))
        return Selector(word, self._matchers() if self.peek() == "{" else ())

    def _aggregation(self, word: str) -> Expr:
        kept: dict[str, tuple[str, ...]] = {}
        args: tuple[Expr, ...] = ()
        while self.peek() in ("by", "without") or (self.peek() == "(" and not args):
            if self.peek() == "(":
                args = self._args()
            else:
                kind = self._take()
                kept[kind] = self._names()
        return Call(word, args, kept.get("by", ()), kept.get("without", ()))

    def _args(self) -> tuple[Expr, ...]:
        self._take("(")
        found: list[Expr] = []
        while self.peek() != ")":
            if self._kind() == "text":
                raise NotPromql("functions of texts are not understood")
            found.append(self.level(0))
            if self.peek() == ",":
                self._take()
        self._take(")")
        return tuple(found)

    def _matchers(self) -> tuple[tuple[str, str, str], ...]:
        self._take("{")
        found = []
        while self.peek() != "}":
            name, op, value = self._take(), self._take(), self._take()
            if op not in ("=", "!=", "=~", "!~"):
                raise NotPromql(f"'{op}' compares no labels")
            found.append((name.strip("\"'"), op, _unquoted(value)))
            if self.peek() == ",":
                self._take()
        self._take("}")
        return tuple(found)

    def _after(self, made: Expr) -> Expr:
        while self.peek() in ("[", "offset", "@"):
            mark = self._take()
            if not isinstance(made, Selector):
                raise NotPromql("a subquery is not understood")
            if mark == "[":
                span = length(self._take())
                moved = self.peek() != "]"
                while self.peek() != "]":
                    self._take()
                self._take("]")
                made = Selector(made.metric, made.matchers, span, made.moved or moved)
            else:
                while self.peek() == "-":
                    self._take()
                self._take()
                made = Selector(made.metric, made.matchers, made.span, True)
        return made


def _unquoted(text: str) -> str:
    return text[1:-1] if text[:1] == "`" else re.sub(r"\\(.)", r"\1", text[1:-1])


def _folded(made: Binary) -> Expr:
    """Do what is known beforehand: budgets are written as products."""
    if isinstance(made.left, Number) and isinstance(made.right, Number) and not made.matching:
        left, right = made.left.value, made.right.value
        done: Mapping[str, float] = {"+": left + right, "-": left - right, "*": left * right}
        if made.op in done:
            return Number(done[made.op])
        if made.op == "/" and right:
            return Number(left / right)
    return made
