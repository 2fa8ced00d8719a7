"""Patterns that read text from outside need time in proportion to its length, whatever it says.

A pattern that goes back, or begins anew at each letter, takes from ten seconds to hours for one of these texts, and one
that does not takes hundredths of one. What is counted is the processor's time, which no other program adds to.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import pkgutil
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tocsin
from tocsin.cli.output import harmless
from tocsin.connections import refusal
from tocsin.core import body, matching
from tocsin.core.text import normalize
from tocsin.notifiers import plain
from tocsin.porting import arm, prometheus
from tocsin.stores.decoding import said
from tocsin.telemetry import log_analytics

LENGTH = 100_000
MOST = 5.0
"""Seconds of the processor for one text."""
PIECES = (
    "a", "1", ".", "-", " ", '"', '\\"', "'", "a-", "a.", "a:", "ms-", ".xn--a-", "docs/a-", "eyJ-", "-eyJ", "bearer ",
    "https://", "sig=", "_", "<", "@", "{", "{{", "{{ ", "[", '"id": ', '"code":', "a=", "00", "é", "\u3000", ": ",
)  # fmt: skip
"""What is repeated: beginnings of what the patterns look for, and never the end of it."""
ENDS = ("", "!")

OUTSIDE = {
    "tocsin.actuators.rollback", "tocsin.cli.output", "tocsin.connections.refusal", "tocsin.core.body",
    "tocsin.core.group",
    "tocsin.core.matching", "tocsin.core.text", "tocsin.notifiers.email_acs", "tocsin.notifiers.email_smtp",
    "tocsin.notifiers.plain", "tocsin.notifiers.prometheus", "tocsin.notifiers.slack", "tocsin.scenarios.junit",
    "tocsin.stores.mirror_blob", "tocsin.telemetry.log_analytics", "tocsin.telemetry.values",
}  # fmt: skip
"""Modules with patterns that read telemetry, events, answers of services, stored rows, or what people send."""
WHOLE = {"_TIMESPAN", "email_smtp._HOST", "_WORDS", "_NAME", "_SHAPE", "_QUOTED", "GUARDS"}
"""Patterns that are held against whole texts alone, and never looked for within one."""
OURS = {
    "tocsin.actuators.model", "tocsin.authoring", "tocsin.backtest", "tocsin.connections.github",
    "tocsin.core.action", "tocsin.core.config", "tocsin.core.crosscheck", "tocsin.core.fields", "tocsin.core.fuse",
    "tocsin.core.kql", "tocsin.core.kql_shape", "tocsin.core.meant", "tocsin.core.template", "tocsin.core.units",
    "tocsin.diagnosing", "tocsin.files", "tocsin.linting", "tocsin.local", "tocsin.notifiers.mail", "tocsin.porting",
    "tocsin.telemetry.embedded",
}  # fmt: skip
"""Where patterns read the project's own files, queries and settings, an operator's arguments, or a practice world.

``tocsin.actuators.model`` reads the variable of an app only when it is a JSON map of texts: all are finished.
"""


def patterns() -> dict[tuple[str, str], re.Pattern[str]]:
    """Return every compiled pattern by the module that makes it and its name."""
    found = {}
    for each in pkgutil.walk_packages(tocsin.__path__, "tocsin."):
        if each.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(each.name)).items():
            found |= {(each.name, name): value} if isinstance(value, re.Pattern) else {}
    return found


def ours(module: str) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in OURS)


def hostile() -> Iterator[str]:
    """Yield the texts, each of which may take so long and no longer."""

    def late(*_: object) -> None:
        raise AssertionError(f"{piece!r} repeated takes more than {MOST} s")

    before = signal.signal(signal.SIGVTALRM, late)
    try:
        for piece, end in itertools.product(PIECES, ENDS):
            signal.setitimer(signal.ITIMER_VIRTUAL, MOST)
            yield piece * (LENGTH // len(piece)) + end
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def test_every_pattern_is_known_to_read_text_from_outside_or_our_own() -> None:
    assert {module for module, _ in patterns() if not ours(module)} == OUTSIDE


READING = sorted(each for each in patterns() if each[0] in OUTSIDE)


@pytest.mark.parametrize(("module", "name"), READING)
def test_no_text_makes_a_pattern_slow(module: str, name: str) -> None:
    pattern = patterns()[module, name]
    whole = name in WHOLE or f"{module}.{name}".endswith(tuple(each for each in WHOLE if "." in each))
    for text in hostile():
        pattern.fullmatch(text) if whole else pattern.sub("", text)


def kept(ask: Callable[[str], Any]) -> Callable[[str], None]:
    """Return a reader that may refuse a text."""

    def read(text: str) -> None:
        with contextlib.suppress(ValueError):
            ask(text)

    return read


READERS: dict[str, Callable[[str], Any]] = {
    "what is shown to people": plain.unlinked,
    "what a terminal shows": harmless,
    "a label": normalize,
    "a provider's words": refusal.words,
    "what a workspace refuses with": log_analytics._safe,
    "a stored row that is broken": lambda text: said(text, "id"),
    "a body": kept(lambda text: body.parsed(text.encode("utf-8", "replace"))),
    "a matcher": kept(matching.parse),
    "a matcher's value": kept(lambda text: matching.parse(f"agent={text}")),
    "an imported template": lambda text: prometheus._TEMPLATE.sub("", text),
    "an imported expression": arm._TOKEN.findall,
}


@pytest.mark.parametrize("reader", READERS)
def test_no_text_makes_a_reader_slow(reader: str) -> None:
    for text in hostile():
        READERS[reader](text)
