"""A rule that is being made from another one, and its file's text."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from tocsin.authoring.layout import laid_out
from tocsin.core.rule import Rule
from tocsin.core.units import spell

SCHEMA = "../schemas/rule.schema.json"
_LONGEST = 64


@dataclass
class Draft:
    """What the rule will say. ``when`` holds the keys beside ``kql`` as they will be written."""

    id: str
    title: str
    came_from: str
    severity: str = "P2"
    description: str = ""
    kql: str = ""
    when: dict[str, str] = field(default_factory=dict)
    by: tuple[str, ...] = ()
    for_: timedelta = timedelta()
    in_: str = ""
    keep: timedelta = timedelta()
    every: timedelta = timedelta(minutes=1)
    labels: dict[str, str] = field(default_factory=dict)
    runbook: str = ""
    summary: str = ""
    turned: bool = False
    """Whether the value it names is the rest of the share that the source named."""
    enabled: bool = True
    more: dict[str, str] = field(default_factory=dict)
    """Other keys, as they will be written."""


def name_of(text: str, taken: Collection[str] = ()) -> str:
    """Return a rule's name for a title, one that is not taken."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)
    made = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_") or "rule"
    made = (made if made[0].isalpha() else f"rule_{made}")[:_LONGEST].rstrip("_")
    if made not in taken:
        return made
    number = next(count for count in range(2, 10_000) if f"{made[: _LONGEST - 6]}_{count}" not in taken)
    return f"{made[: _LONGEST - 6]}_{number}"


def text_of(draft: Draft) -> str:
    """Return the file, laid out as `tocsin fmt` leaves it. Raises ``layout.Unchanged`` for what cannot be written."""
    summary = draft.summary or f"{plain(draft.title)}: {{value}} on {{target}} (limit {{threshold}} in {{window}})."
    lines = [
        f"# Imported from {_comment(draft.came_from)}; docs/porting.md says what differs.",
        f"summary: {quoted(summary[:500])}",
        *([f"description: {quoted(plain(draft.description)[:4000])}"] if draft.description else []),
        f"severity: {draft.severity}",
        *_when(draft),
        *([f"for: {spell(draft.for_)}"] if draft.for_ else []),
        *([f"in: {draft.in_}"] if draft.in_ else []),
        *([f"keep_firing_for: {spell(draft.keep)}"] if draft.keep else []),
        f"every: {spell(draft.every)}",
        *([f"labels: {_mapping(draft.labels)}"] if draft.labels else []),
        *([f"runbook: {quoted(draft.runbook)}"] if draft.runbook else []),
        *(f"{name}: {value}" for name, value in draft.more.items()),
        *([] if draft.enabled else ["enabled: false"]),
    ]
    return laid_out("\n".join(lines) + "\n", Rule, SCHEMA)


def shortened(draft: Draft) -> tuple[str, ...]:
    """Return which of its texts are longer than a rule's may be."""
    title = draft.summary or draft.title
    return (*(("summary",) if len(title) > 400 else ()), *(("description",) if len(draft.description) > 4000 else ()))


def _when(draft: Draft) -> list[str]:
    said = dict(draft.when)
    if draft.by:
        said["by"] = "[" + ", ".join(_word(name) for name in draft.by) + "]"
    if not draft.kql:
        return ["when: { " + ", ".join(f"{name}: {value}" for name, value in said.items()) + " }"]
    body = [f"    {line}".rstrip() for line in draft.kql.strip("\n").splitlines()]
    return ["when:", "  kql: |", *body, *(f"  {name}: {value}" for name, value in said.items())]


def _mapping(labels: Mapping[str, str]) -> str:
    return "{ " + ", ".join(f"{_word(name)}: {quoted(value)}" for name, value in labels.items()) + " }"


def _word(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z_][\w]*", text) else quoted(text)


def quoted(text: str) -> str:
    """Return a text as YAML reads it back, on one line."""
    clean = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    kept = "".join(each if each.isprintable() or each in "\n\t" else " " for each in clean)
    return json.dumps(kept, ensure_ascii=False)


def plain(text: str) -> str:
    """Return a text in which nothing looks like a name to be filled in."""
    return text.replace("{", "(").replace("}", ")")


def _comment(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)[:200]


def number(value: float) -> str:
    """Return a number as people write it."""
    return f"{value:.10g}" if abs(value) < 1e15 else repr(value)
