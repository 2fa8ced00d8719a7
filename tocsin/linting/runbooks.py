"""Warnings about runbooks that are not where a rule says: whoever is woken at night finds nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from tocsin.core.errors import Problem, nearest
from tocsin.core.node import Node
from tocsin.core.rule import Rule

Reader = Callable[[str], str | None]
"""Gives the text of a file of the project by its path; None where there is none."""

_PATH = re.compile(r"([\w./-]+\.(?:md|markdown|txt|rst|html))(?:#(.*))?")


def lint(rule: Rule, node: Node, read: Reader) -> Iterator[Problem]:
    """Yield that a rule's runbook, or the section that it names, is not there. Addresses on the web are not asked."""
    found = _PATH.fullmatch(rule.runbook)
    if found is None:
        return
    path, anchor = found.groups()
    text = read(path)
    if text is None:
        yield node.at("runbook").warning("no-runbook", f"there is no file {path} in this project")
    elif anchor and anchor not in (known := anchors(text)):
        words = f"{path} has no section '#{anchor}'"
        yield node.at("runbook").warning("no-runbook", words, nearest(anchor, known))


def anchors(text: str) -> set[str]:
    """Return the anchors of a page in Markdown, as GitHub makes them of headings, and those in HTML."""
    found: set[str] = set(re.findall(r"<a\s+(?:id|name)=[\"']([^\"']+)", text))
    counted: dict[str, int] = {}
    for heading in re.findall(r"(?m)^#{1,6}\s+(.+?)\s*#*$", text):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).casefold()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = counted[slug] = counted.get(slug, -1) + 1
        found.add(f"{slug}-{number}" if number else slug)
    return found
