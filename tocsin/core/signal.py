"""What a signal is: something that can be measured on a target, in its telemetry or by reading the target itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

TOOLS = "{side_effect_tools}"
"""Stands in a ``where`` for the target's own list of tools that have side effects: ``… in {side_effect_tools}``."""


Says = Mapping[str, tuple[str, ...]]
"""Dimension → the values it can have."""


@dataclass(frozen=True, slots=True)
class Logs:
    """Rows of one workspace table.

    ``where`` is a KQL predicate that picks the rows, and may hold ``TOOLS``; ``value`` an aggregate over them that
    yields a number; ``events`` an aggregate that yields how many events were seen, for ``minimum``. Rows are sampled,
    so events are ``sum(ItemCount)``, never ``count()``. ``detail`` is an optional aggregate that yields one safe word
    of evidence: a word of the author's, never a text out of the telemetry.

    ``says`` lists the values that a dimension of its rows can have, where the author knows them all.

    One that ``denies`` is no measurement: where its value is not 0, a breach that the signal's other sources see is
    none. Of what they see less of it proves nothing. Its signal has no dimensions.
    """

    table: str
    where: str
    value: str
    events: str = "sum(ItemCount)"
    detail: str = ""
    denies: bool = False
    says: Says = field(default_factory=lambda: MappingProxyType({}), hash=False)


@dataclass(frozen=True, slots=True)
class Configured:
    """A finding in the target's container configuration; ``finding`` names a function of ``core.container``.

    ``says`` lists the values that its findings can have of a dimension: an alert of one of them is about the
    configuration alone, whatever telemetry says.
    """

    finding: str
    says: Says = field(default_factory=lambda: MappingProxyType({}), hash=False)


@dataclass(frozen=True, slots=True)
class Gauge:
    """Numbers that are read from somewhere else than the workspace: platform metrics, queues, probes.

    ``meter`` names who reads them, ``reading`` which of them is meant. Those of one window become one value by ``fold``
    (``rise``: by how much counters rose), times ``scale``. An ``instant`` gauge is read now and tells nothing of
    earlier; the others know their past.

    One that ``confirms`` is no measurement: a breach that the signal's other sources see stands only where it reads
    more than 0. Where it cannot be read nobody knows. Its signal has no dimensions.
    """

    meter: Literal["metrics", "queues", "probes", "approver", "switches"]
    reading: str
    fold: Literal["max", "min", "mean", "sum", "rise"] = "max"
    scale: float = 1.0
    instant: bool = True
    confirms: bool = False


Source = Logs | Configured | Gauge
"""Where a signal is measured."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Something that can be measured.

    ``unit`` is ``ratio``, ``ms``, ``s``, ``days``, ``usd`` or ``count``. With ``counting`` no rows mean zero (on a
    target whose telemetry is fresh); otherwise no rows mean nothing is known. ``dimensions`` are what rules split by:
    name → KQL expression over the row that yields a string (of a gauge: what the label is). A dimension's values reach
    messages, so a key under ``args_redacted.`` is one only where the signal's author lists it here.
    """

    name: str
    summary: str
    unit: str
    sources: tuple[Source, ...]
    counting: bool = False
    dimensions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    needs: str = ""
    """What telemetry must be wired for the signal to see anything, for ``doctor`` and the catalogue."""

    def asked(self, only: Says) -> tuple[Source, ...]:
        """Return the sources that can say anything about the values of ``only``."""
        return tuple(each for each in self.sources if isinstance(each, Gauge) or _can_say(each, only))

    @property
    def instant(self) -> bool:
        """Whether it is read now, so that nothing has to arrive first."""
        return all(isinstance(source, Gauge) and source.instant for source in self.sources)


def _can_say(source: Logs | Configured, only: Says) -> bool:
    return all(name not in source.says or set(source.says[name]) & set(values) for name, values in only.items())
