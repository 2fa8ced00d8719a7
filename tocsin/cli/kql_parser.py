"""Microsoft's KQL parser, which knows every column and function: for authors' queries, where it is installed.

Needs Node and the npm package under ``tests/kql``; without them the names that Tocsin knows are looked for instead.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tocsin.core.errors import Problem
from tocsin.core.node import Node
from tocsin.core.read import Written
from tocsin.core.rule import Rule
from tocsin.core.schema import TABLES
from tocsin.linting.queries import at

FOLDER = Path(__file__).resolve().parent.parent.parent / "tests" / "kql"
_PATIENCE = 60


class ParserFailed(Exception):
    """The parser is there and did not answer; the message says what it said."""


def missing(folder: Path = FOLDER) -> str:
    """Return what the parser needs and is not here, with how it is had; empty when nothing is missing."""
    if shutil.which("node") is None:
        return "Node is not here"
    if not (folder / "node_modules" / "@kusto" / "language-service-next").is_dir():
        return f"Microsoft's KQL parser is not here: `make setup`, or npm ci --prefix {folder}"
    return ""


def problems(written: Written, folder: Path = FOLDER) -> tuple[Problem, ...]:
    """Return what the parser says of every rule's own query. Raises ParserFailed."""
    rules = [(rule, node) for rule, node in written.rules if rule.when.kql is not None]
    if not rules:
        return ()
    answers = _asked([rule.when.kql or "" for rule, _ in rules], folder)
    found = zip(rules, answers, strict=True)
    return tuple(
        each for (rule, node), answer in found for each in _told(rule, node, answer, written.texts.get(rule.file, ""))
    )


def _asked(queries: Sequence[str], folder: Path) -> list[Mapping[str, Any]]:
    tables = {name: dict(columns) for name, columns in TABLES.items()}
    lines = "".join(f"{json.dumps({'tables': tables, 'query': query})}\n" for query in queries)
    command = [shutil.which("node") or "node", str(folder / "bind.mjs")]
    try:
        done = subprocess.run(
            command, input=lines, capture_output=True, encoding="utf-8", timeout=_PATIENCE, check=True
        )
        answers = [json.loads(line) for line in done.stdout.splitlines()]
    except (OSError, subprocess.SubprocessError, json.JSONDecodeError) as error:
        raise ParserFailed(f"{type(error).__name__}") from None
    if len(answers) != len(queries):
        raise ParserFailed(f"{len(answers)} answers to {len(queries)} questions")
    return answers


def _told(rule: Rule, node: Node, answer: Mapping[str, Any], text: str) -> Iterator[Problem]:
    query, place = rule.when.kql or "", node.at("when", "kql")
    for each in answer["errors"]:
        here = at(place, text, query, each["start"], each["start"] + each["length"])
        yield here.problem("bad-kql", f"{each['message'].rstrip('.')} ({each['code']})")
    columns = {name for name, _ in answer["columns"]}
    lacking = [name for name in ("value", *rule.when.by) if name not in columns]
    if lacking and not answer["errors"]:
        words = f"it must end in `value` and what it is split by, and has no {' and '.join(lacking)}"
        yield replace(place.warning("missing-column", words), choices=tuple(sorted(columns)), listed="columns")
