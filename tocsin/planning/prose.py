"""A plan as Markdown for a pull request, and in plain lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tocsin.core.errors import Problem, printable
from tocsin.core.text import scrub
from tocsin.planning.consequences import Query, Told
from tocsin.planning.differing import Difference

MARKER = "<!-- tocsin plan -->"
"""By this a pull request's comment is found again, to be replaced."""

MOST_LINES = 60
"""How many lines of one diff, or of one list, are shown."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a change means. ``replayed`` is the backtest's part in Markdown, or why there is none."""

    base: str
    differences: tuple[Difference, ...]
    queries: tuple[Query, ...]
    routing: tuple[Told, ...]
    problems: tuple[Problem, ...]
    replayed: str = ""
    backtest: dict[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        return {
            "base": self.base,
            "changes": [asdict(each) for each in self.differences],
            "queries": [asdict(each) for each in self.queries],
            "routing": [asdict(each) for each in self.routing],
            "problems": [each.as_dict() for each in self.problems],
            "backtest": self.backtest,
        }


def lines(plan: Plan) -> list[str]:
    """Return the plan without the backtest in plain lines."""
    if not plan.differences and not plan.problems:
        return ["nothing changes: no rule, no policy and nothing in tocsin.yaml differs"]
    found = [line for some in _alike(plan.differences) for line in _plain(some)]
    for rules, query in _same_queries(plan.queries):
        found += [f"query of {', '.join(rules)}:", *(f"  {line}" for line in _capped(query.diff.splitlines()))]
    return found + [f"told of {', '.join(each.rules)} ({each.severity}) on {', '.join(each.targets)}: {each.move}"
                    for each in _moves(plan.routing)]  # fmt: skip


def _alike(differences: Sequence[Difference]) -> list[list[Difference]]:
    """Return differences of one kind in which the same keys changed alike, together; anything else by itself."""
    found: dict[object, list[Difference]] = {}
    for each in differences:
        same = (each.kind, each.what, each.keys, each.beware) if each.keys or each.what == "removed" else id(each)
        found.setdefault(same, []).append(each)
    return list(found.values())


def _same_queries(queries: Sequence[Query]) -> list[tuple[list[str], Query]]:
    found: dict[str, list[Query]] = {}
    for each in queries:
        found.setdefault(each.diff, []).append(each)
    return [([each.rule for each in some], some[0]) for some in found.values()]


@dataclass(frozen=True, slots=True)
class Moved:
    """Rules of one severity of which others are told than before, alike on the same targets."""

    rules: tuple[str, ...]
    severity: str
    targets: tuple[str, ...]
    move: str


def _moves(told: Sequence[Told]) -> list[Moved]:
    targets: dict[tuple[str, str, str], list[str]] = {}
    for each in told:
        targets.setdefault((each.rule, each.severity, _move(each)), []).append(each.target)
    rules: dict[tuple[str, tuple[str, ...], str], list[str]] = {}
    for (rule, severity, move), where in targets.items():
        rules.setdefault((severity, tuple(where), move), []).append(rule)
    return [Moved(tuple(some), severity, where, move) for (severity, where, move), some in rules.items()]


def _plain(some: Sequence[Difference]) -> Iterator[str]:
    each = some[0]
    yield f"{_names(some)} {each.what}{f': {each.summary}' if each.what == 'added' else ''}"
    for key in _capped([str(key) for key in each.keys]):
        yield f"  {key}"
    for words in each.beware:
        yield f"  ! {words}"


def _names(some: Sequence[Difference]) -> str:
    first, kinds = some[0], {"rule": "rules", "policy": "policies"}
    return f"{kinds.get(first.kind, first.kind)} {', '.join(each.id for each in some)}" if some[1:] else _name(first)


def _name(each: Difference) -> str:
    return each.id if each.kind == "tocsin.yaml" else f"{each.kind} {each.id}"


def _move(each: Told) -> str:
    return f"{', '.join(each.before) or 'nobody'} → {', '.join(each.after) or 'nobody'}"


def _capped(some: Sequence[str]) -> list[str]:
    left = len(some) - MOST_LINES
    return [*some[:MOST_LINES], *([f"… {left} more"] if left > 0 else [])]


# Markdown


def markdown(plan: Plan) -> str:
    """Return the plan as one comment, with the marker by which it is found again."""
    parts = [MARKER, f"### Tocsin plan, against `{_code(plan.base)}`", *_changes(plan)]
    parts += _block("Queries that read otherwise", [_diff(*each) for each in _same_queries(plan.queries)])
    parts += _block("Who is told", _routing(plan.routing))
    parts += _block(f"Problems and warnings ({len(plan.problems)})", [_problem(each) for each in plan.problems])
    return "\n".join([*parts, "", plan.replayed]).rstrip() + "\n"


def _changes(plan: Plan) -> list[str]:
    if not plan.differences:
        return ["", "No rule, no policy and nothing in `tocsin.yaml` differs."]
    found = [""]
    for some in _alike(plan.differences):
        each = some[0]
        summary = f": {_text(each.summary)}" if each.what == "added" else ""
        found.append(f"- **{_text(_names(some))}** {each.what}{summary}")
        found += [f"  - {_keyed(str(key))}" for key in each.keys[:MOST_LINES]]
        found += [f"  - … {len(each.keys) - MOST_LINES} more"] if len(each.keys) > MOST_LINES else []
        found += [f"  - ⚠ {_text(words)}" for words in each.beware]
    return found


def _keyed(words: str) -> str:
    return f"`{_code(words)}`"


def _diff(rules: Sequence[str], query: Query) -> str:
    shown = "\n".join(map(printable, _capped(query.diff.splitlines())))
    fence = "`" * (max(3, _longest_run(shown) + 1))
    return f"{_listed(rules)} on `{_code(query.target)}`\n\n{fence}diff\n{shown}\n{fence}\n"


def _longest_run(text: str) -> int:
    longest = run = 0
    for letter in text:
        run = run + 1 if letter == "`" else 0
        longest = max(longest, run)
    return longest


def _routing(told: Sequence[Told]) -> list[str]:
    if not told:
        return []
    rows = [
        f"| {_listed(each.rules)} | {each.severity} | {_listed(each.targets)} | {_text(each.move)} |"
        for each in _moves(told)
    ]
    return ["| rule | severity | target | receivers |", "|---|---|---|---|", *_capped(rows)]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{_code(each)}`" for each in names)


def _problem(each: Problem) -> str:
    kind = "error" if each.is_error else "warning"
    return f"- {kind} `{_code(each.id)}` at `{_code(each.path)}:{each.line}`: {_text(each.message)}"


def _block(title: str, some: Sequence[str]) -> list[str]:
    return ["", "<details open>", f"<summary>{title}</summary>", "", *some, "", "</details>"] if some else []


def _code(text: str) -> str:
    """Return a text that cannot end the code it stands in."""
    return scrub(text, len(text) + 1).replace("`", "'").replace("|", "\\|")


def _text(text: str) -> str:
    letters = scrub(text, len(text) + 1)
    return "".join(f"&#{ord(letter)};" if letter in "\\`*[]()<>#!|~@" else letter for letter in letters)
