"""What to do about an error of YAML itself: the parser's words are about its grammar, an author needs the remedy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ruamel.yaml.error import MarkedYAMLError

_OPENED = {"[": "]", "{": "}"}
_QUOTE_IT = "quote the whole text"


def explained(error: Exception, lines: Sequence[str]) -> tuple[Any, str, str]:
    """Return the mark an error belongs to (None where it has none), what is wrong, and what to do about it."""
    if not isinstance(error, MarkedYAMLError):
        words = str(error).partition("\n")[0]
        return None, words, "a control character: delete it" if "special characters" in words else ""
    mark, context, problem = error.problem_mark or error.context_mark, str(error.context), str(error.problem)
    line = lines[mark.line] if mark is not None and mark.line < len(lines) else ""
    if "could not find expected ':'" in problem:
        return error.context_mark, "this line is no `key: value`", "after a colon comes a space, after a dash, too"
    if "quoted scalar" in context:
        return _quoted(error, problem)
    if "cannot start any token" in problem:
        return mark, *_beginning(line[mark.column : mark.column + 1])
    if (begun := error.context_mark) is not None and "flow" in context:
        bracket = lines[begun.line][begun.column : begun.column + 1] if begun.line < len(lines) else "["
        words = f"the '{bracket}' of line {begun.line + 1} has no '{_OPENED.get(bracket, ']')}', or a comma is missing"
        return mark, words, "a text with brackets, braces or ': ' in it needs quotes"
    return mark, *_structure(problem, context, line, mark.column if mark is not None else 0)


def _quoted(error: MarkedYAMLError, problem: str) -> tuple[Any, str, str]:
    begun = error.context_mark
    if "escape" in problem:
        return error.problem_mark, f"a backslash in double quotes: {problem}", "use single quotes, or write \\\\"
    return begun, "this quotation mark is never closed", "close it; within single quotes write '' for one"


def _beginning(letter: str) -> tuple[str, str]:
    if letter == "\t":
        return "a tab stands where only spaces may", "use spaces"
    return f"a text cannot begin with {letter}", _QUOTE_IT


def _structure(problem: str, context: str, line: str, column: int) -> tuple[str, str]:
    if "anchor" in context or "alias" in context:
        return f"a text cannot begin with {line[column - 1 : column] or '&'}", _QUOTE_IT
    if "mapping values are not allowed" in problem:
        before = line[:column]
        if ": " in before or re.search(r":\s*\S", before):
            return "a second ': ' on one line", f"{_QUOTE_IT}; what is below a key goes on its own line"
        return (
            "a key where none can be: the line above already holds a text",
            "indent it as its neighbours; after a colon comes a space",
        )
    if "block scalar" in context:
        return "a text after | or > begins on the next line", f"{_QUOTE_IT}, or begin it on the next line, indented"
    if "'<scalar>'" in problem and "block" in context:
        return "more text after a value that had ended", f"{_QUOTE_IT}; it begins with a quotation mark, [ or {{"
    if "expected <block end>" in problem:
        return "this line is indented unlike its neighbours", "align it with the key or the '- ' it belongs beside"
    if "sequence entries" in problem:
        return "a list begins on the line below its key", f"put '- ' on the next line; if it is a text, {_QUOTE_IT}"
    if "mapping keys" in problem:
        return "a text cannot begin with '? '", _QUOTE_IT
    if "node content" in problem:
        return f"'{line[column : column + 1]}' closes nothing", f"delete it, or {_QUOTE_IT}"
    return problem, "a text that begins with % needs quotes" if line.lstrip().startswith("%") else ""
