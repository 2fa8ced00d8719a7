"""Print ``requirements.txt``: of the whole lock, what the deployed function needs and what those need in turn.

python -m tools.export_requirements > requirements.txt
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_HEAD = "# Generated from requirements-dev.lock by `make lock`: what the deployed function needs, and no more.\n"
_PROJECT = "tocsin (pyproject.toml)"


def entries(lock: str) -> list[tuple[str, str, frozenset[str]]]:
    """Return the lock's entries: normalised name, text, and the names of what asked for it."""
    found = []
    for text in re.split(r"\n(?=[a-z0-9])", lock.strip()):
        name = re.match(r"[a-z0-9._-]+", text)
        asked = re.findall(r"^ +#(?: via)? +(\S.*)$", text, flags=re.MULTILINE)
        found.append((name[0] if name else "", text, frozenset(asked)))
    return found


def needed(lock: str, wanted: set[str]) -> list[str]:
    """Return the texts of the entries that ``wanted`` packages reach, in the lock's order."""
    parts, names = entries(lock), set(wanted)
    while grown := {name for name, _, asked in parts if name not in names and asked & names}:
        names |= grown
    return [_without(text, names) for name, text, _ in parts if name in names]


def _without(text: str, names: set[str]) -> str:
    """Drop the mention of packages that are not deployed from the comment of who asked."""
    return "\n".join(line for line in text.split("\n") if not _mentions_other(line, names))


def _mentions_other(line: str, names: set[str]) -> bool:
    asked = re.match(r"^ +#   (\S+)$", line)
    return bool(asked and asked[1] not in names and asked[1] != _PROJECT)


def export(lock: str, pyproject: str) -> str:
    """Return the whole text of ``requirements.txt``."""
    declared = tomllib.loads(pyproject)["project"]["dependencies"]
    names = {re.split(r"[<>=~!\[; ]", each)[0].lower().replace("_", "-") for each in declared}
    # ruamel.yaml is locked under its normalised name.
    wanted = {re.sub(r"[-_.]+", "-", name) for name in names}
    return _HEAD + "\n".join(needed(lock, wanted | names)) + "\n"


if __name__ == "__main__":
    print(export((ROOT / "requirements-dev.lock").read_text(), (ROOT / "pyproject.toml").read_text()), end="")
