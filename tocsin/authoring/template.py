"""A first rule: what an author has to decide, filled in, in the layout that `tocsin fmt` keeps."""

from __future__ import annotations

from dataclasses import dataclass

from tocsin.authoring.layout import laid_out
from tocsin.core.rule import Rule
from tocsin.core.signal import Logs, Signal

SCHEMA = "../schemas/rule.schema.json"
_FEW = 20
_SCARCE = frozenset({"replicas", "certificate_days"})
"""Signals of which little is bad."""

_LIMITS = {"ratio": "5%", "ms": "30000", "s": "300", "days": "14", "usd": "10", "count": "0"}


@dataclass(frozen=True, slots=True)
class Draft:
    """What an author says of a new rule."""

    signal: str
    severity: str
    threshold: str
    over: str
    owner: str
    below: bool = False


def usual(signal: Signal) -> tuple[str, str, bool]:
    """Return the limit and the window to begin with, and whether values below the limit are bad."""
    window = "15m" if any(isinstance(each, Logs) for each in signal.sources) else "5m"
    scarce = signal.name in _SCARCE
    limit = _LIMITS.get(signal.unit, "0")
    return "1" if scarce and limit == "0" else limit, window, scarce  # nothing is below 0


def rule(draft: Draft, signal: Signal, *, modeline: bool) -> str:
    """Return the text of a rule's file. What it says is not checked here."""
    share = signal.unit == "ratio" and any(isinstance(each, Logs) for each in signal.sources)
    condition = f"{'below' if draft.below else 'above'}: {draft.threshold}"
    least = f", minimum: {_FEW}" if share else ""
    lines = [
        f"# {signal.summary}",
        f'summary: "{{value}} on {{target}}: {signal.name} (limit {{threshold}} within {{window}})."',
        "# description: What to look at first.",
        f"severity: {draft.severity}",
        f"when: {{ signal: {draft.signal}, {condition}, over: {draft.over}{least} }}",
        "# How long it has to stay bad before anybody is told, and good before it is over.",
        "for: 5m",
        "keep_firing_for: 10m",
        "# targets: { env: prod }",
        *([f"owner: {draft.owner}"] if draft.owner else []),
    ]
    return laid_out("\n".join(lines) + "\n", Rule, SCHEMA if modeline else "")
