"""What a runbook says of its rule in figures, taken from the rule's file, so that neither contradicts the other.

A section of ``docs/operations.md`` holds a line ``<!-- facts: RULE -->``; the line below it is written here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tocsin.core.node import Node
from tocsin.document import parse

ROOT = Path(__file__).resolve().parent.parent
HEADINGS = (
    "Overview",
    "Symptoms",
    "Diagnosis",
    "Resolution",
    "Escalation",
    "Tracing",
    "Related",
    "Last reviewed",
)
"""The eight parts of every runbook, in this order."""

_MARKED = re.compile(r"^(<!-- facts: ([a-z0-9_]+) -->)\n.*\n", re.MULTILINE)
_COMPARED = {"above": "above", "at_least": "at least", "below": "below", "at_most": "at most"}
_MODES = {"off": "off", "observe": "observes", "ask": "asks", "act": "acts"}


@cache
def files(folder: str) -> Mapping[str, Any]:
    """Return the YAML files of a folder by name, with every scalar as the text its author wrote."""
    return {path.stem: written(path) for path in sorted((ROOT / folder).glob("*.yaml"))}


def written(path: Path) -> Any:
    """Return what a YAML file holds, every scalar as the text its author wrote: 5%, 15m, 0.55."""
    parsed = parse(path.name, path.read_bytes())
    assert parsed.node, path
    return _plain(parsed.node)


def _plain(node: Node) -> Any:
    if node.pairs is not None:
        return {key.text: _plain(value) for key, value in node.pairs}
    return [_plain(each) for each in node.items] if node.items is not None else node.text


def condition(when: Mapping[str, Any]) -> str:
    """Return when a rule is breached, in words and the author's own figures."""
    text = f"[`{when['signal']}`](signals.md#{when['signal']})"
    for key, words in _COMPARED.items():
        if key in when:
            text += f" is {words} {when[key]}"
    if change := when.get("change"):
        text += f" is more than {change['more_than']} above the same window {change['versus']} earlier"
    if burn := when.get("burn_rate"):
        text += f" burns the budget of {burn['objective']} too fast ({burn['alert']})"
    text += f" over {when['over']}" if "over" in when else ""
    for name, values in when.get("only", {}).items():
        text += f", `{name}` {' or '.join(f'`{each}`' for each in values)}"
    text += f", split by {', '.join(f'`{each}`' for each in when['by'])}" if "by" in when else ""
    return text + (f", of at least {when['minimum']}" if "minimum" in when else "")


def answers(name: str) -> list[str]:
    """Return the policies that answer a rule's alerts, each with its mode, or that it is off."""
    rule, found = files("rules")[name], []
    for policy, text in files("remediations").items():
        on, labels = text["on"], rule.get("labels", {})
        meant = on.get("rule", name) == name and on.get("severity", rule["severity"]) == rule["severity"]
        if meant and all(labels.get(key) == value for key, value in on.get("labels", {}).items()):
            mode = "off" if text.get("enabled") == "false" else _MODES[text["guard"]["mode"]]
            found.append(f"[`{policy}`](../remediations/{policy}.yaml) ({mode})")
    return found


def facts(name: str) -> str:
    """Return the line of figures of one rule."""
    rule = files("rules")[name]
    parts = [f"**{rule['severity']}** when {condition(rule['when'])}"]
    parts += [f"for {rule['for']}"] if "for" in rule else ["at once"]
    parts += [f"over after {rule['keep_firing_for']} clear"] if "keep_firing_for" in rule else []
    parts += [f"looked at every {rule.get('every', '1m')}"]
    parts += [f"where `{key}: {value}`" for key, value in rule.get("targets", {}).items()]
    parts += [f"answered by {', '.join(answers(name))}" if answers(name) else "no policy answers it"]
    files_of_it = f"[rule](../rules/{name}.yaml), [scenarios](../tests/rules/{name}.yaml)"
    return f"> {' · '.join(parts)} · {files_of_it}"


def filled(page: str) -> str:
    """Return the page with every line of figures as the rules have them now."""
    return _MARKED.sub(lambda found: f"{found[1]}\n{facts(found[2])}\n", page)


def sections(page: str) -> dict[str, str]:
    """Return the text of each second-level section by its heading."""
    parts = re.split(r"^## (.+)\n", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))
