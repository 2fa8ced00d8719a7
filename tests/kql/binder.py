"""Asks Microsoft's KQL parser what a query means; with table schemas it knows every column and function."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tocsin.core.schema import TABLES

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Bound:
    """What the parser said: errors as ``code: message``, result columns with their types, the string literals."""

    errors: tuple[str, ...]
    columns: Mapping[str, str]
    texts: tuple[str, ...]


class Binder:
    """One Node process that answers line by line."""

    def __init__(self) -> None:
        node = shutil.which("node")
        if node is None:
            _absent("node is not here")
        if not (HERE / "node_modules" / "@kusto" / "language-service-next").is_dir():
            _absent("Microsoft's KQL parser is not here: npm ci --prefix tests/kql")
        self._process = subprocess.Popen(
            [node, str(HERE / "bind.mjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )

    def bind(self, query: str, tables: Mapping[str, Mapping[str, str]] = TABLES) -> Bound:
        """Return what the parser says of ``query`` in a workspace that has ``tables``."""
        schema = {name: dict(columns) for name, columns in tables.items()}
        found = self._ask({"tables": schema, "query": query})
        errors = tuple(f"{each['code']}: {each['message']}" for each in found["errors"])
        return Bound(errors, dict(found["columns"]), tuple(found["texts"]))

    def _ask(self, question: Mapping[str, Any]) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(timeout=10)
        self._process.stdout.close()


def _absent(why: str) -> NoReturn:
    """Skip the test, saying why; where every check must run, fail it."""
    if os.environ.get("CI"):
        pytest.fail(f"{why}; CI may not do without")
    pytest.skip(why)
