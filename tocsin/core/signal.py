"""What a signal is: something that can be measured on a target, from telemetry rows or from its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

TOOLS = "{side_effect_tools}"
"""Stands in a ``where`` for the target's own list of tools that have side effects: ``… in {side_effect_tools}``."""


@dataclass(frozen=True, slots=True)
class Logs:
    """Rows of one workspace table.

    ``where`` is a KQL predicate that picks the rows, and may hold ``TOOLS``; ``value`` an aggregate over them that
    yields a number; ``events`` an aggregate that yields how many events were seen, for ``minimum``. Rows are sampled,
    so events are ``sum(ItemCount)``, never ``count()``. ``detail`` is an optional aggregate that yields one safe word
    of evidence: a word of the author's, never a text out of the telemetry.
    """

    table: str
    where: str
    value: str
    events: str = "sum(ItemCount)"
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Configured:
    """A finding in the target's container configuration; ``finding`` names a function of ``core.container``."""

    finding: str


@dataclass(frozen=True, slots=True)
class Signal:
    """Something that can be measured.

    ``unit`` is ``ratio``, ``ms``, ``usd`` or ``count``. With ``counting`` no rows mean zero (on a target whose
    telemetry is fresh); otherwise no rows mean nothing is known. ``dimensions`` are what a rule may split ``by``:
    name → KQL expression over the row that yields a string. A dimension's values reach messages, so a key under
    ``args_redacted.`` is one only where the signal's author lists it here.
    """

    name: str
    summary: str
    unit: str
    sources: tuple[Logs | Configured, ...]
    counting: bool = False
    dimensions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    needs: str = ""
    """What telemetry must be wired for the signal to see anything, for ``doctor`` and the catalogue."""
