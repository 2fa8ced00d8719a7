"""The pages of the documentation, taken apart: what they show as code, name as a command, and link to."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.conftest import ROOT

_FENCE = re.compile(r"^( *)```(\S*)[^\n]*\n(.*?)^\1```\s*$", re.MULTILINE | re.DOTALL)
_INNER = re.compile(r"\$\(([^()]*)\)")
_NAMED = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """Fenced code: the page it is on, the line it begins at, its language ("" for none), and its text."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@cache
def pages() -> dict[str, str]:
    """Return every page by its path: those at the root, and everything under docs/."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in sorted(found)}


@cache
def blocks(*languages: str) -> tuple[Block, ...]:
    """Return the fenced blocks of these languages, or of all."""
    found = [
        Block(page, text.count("\n", 0, match.start()) + 1, match[2], match[3])
        for page, text in pages().items()
        for match in _FENCE.finditer(text)
    ]
    return tuple(each for each in found if not languages or each.language in languages)


def prose(page: str) -> str:
    """Return a page without its fenced code."""
    return _FENCE.sub("", pages()[page])


def spans() -> Iterator[tuple[str, str]]:
    """Yield what stands in backticks outside of fenced code, with its page."""
    for page in pages():
        for match in _NAMED.finditer(prose(page)):
            yield page, match[1]


def commands(block: Block) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of a shell block as ``page:line`` and its words; those within ``$(…)`` too."""
    text, at = re.sub(r"\\\n", "  ", block.text), block.line
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        for inner in _INNER.findall(stripped):
            yield f"{block.page}:{at + number}", shlex.split(inner)
        for part in re.split(r"\s(?:&&|\|\||\|)\s", _INNER.sub("VALUE", stripped)):
            words = shlex.split(part, comments=True)
            if words:
                yield f"{block.page}:{at + number}", words


@cache
def anchors(page: str) -> set[str]:
    """Return what a link to a place on the page may name, as GitHub makes it of headings."""
    text, found = prose(page), set(re.findall(r'<a id="([^"]+)">', pages()[page]))
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        base = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
        number = 0
        while (name := base if not number else f"{base}-{number}") in found:
            number += 1
        found.add(name)
    return found


def links(page: str) -> Iterator[tuple[Path, str]]:
    """Yield the file and the place on it of each link to a page of this repository."""
    for target, place in re.findall(r"\]\(([^)#:\s]*)(?:#([^)]*))?\)", prose(page)):
        yield ((ROOT / page).parent / target).resolve() if target else ROOT / page, place
