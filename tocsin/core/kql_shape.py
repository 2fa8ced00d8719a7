"""What is wrong with a query in any dialect of KQL: brackets and quotation marks that do not match, an empty step.

Needs no parser, and never refuses what one would take; Microsoft's parser finds the rest.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""//[^\n]*|```.*?```|~~~.*?~~~|@"(?:[^"]|"")*"|@'(?:[^']|'')*'|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'"""
    r"""|(?P<mark>[()\[\]{}|"'])""",
    re.DOTALL,
)
_CLOSED = {")": "(", "]": "[", "}": "{"}


def broken(query: str) -> str:
    """Return why no parser would take the query, in words; empty when nothing of the kind is wrong."""
    opened: list[tuple[str, int]] = []
    for found in _TOKEN.finditer(query):
        mark, line = found["mark"], query.count("\n", 0, found.start()) + 1
        if mark in ("'", '"'):
            return f"the quotation mark {mark} in line {line} of the query is never closed"
        if mark in ("(", "[", "{"):
            opened.append((mark, line))
        elif mark in _CLOSED and (not opened or opened.pop()[0] != _CLOSED[mark]):
            return f"'{mark}' in line {line} of the query closes nothing"
    if opened:
        return f"'{opened[-1][0]}' in line {opened[-1][1]} of the query is never closed"
    bare = _TOKEN.sub(lambda found: "|" if found["mark"] == "|" else "" if found[0].startswith("//") else "x", query)
    if re.search(r"\|\s*(\||$)", bare):
        return "a step of the query is empty: nothing stands after a '|'"
    return ""
