"""Platform metrics, each read at the resource that it is of: a role at the resource's group is enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tocsin.connections.arm import ContainerApps
from tocsin.core.answer import NoAnswer

_METRICS = "/providers/Microsoft.Insights/metrics"
_VERSION = "2024-02-01"
_MOST_SERIES = 500
"""Azure returns ten where nothing is said."""

_GRAINS = ((timedelta(days=1), "PT1M"), (timedelta(days=7), "PT15M"), (timedelta(days=36500), "PT1H"))
"""How long a stretch may be → how long one value stands for."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which metric of which resource: ``dimensions`` are those that tell its series apart."""

    resource: str
    namespace: str
    metric: str
    aggregation: str
    dimensions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Series:
    """One series: the dimensions it is of, and its values by the minute in which each begins."""

    of: Mapping[str, str]
    values: tuple[tuple[datetime, float], ...]


@dataclass(frozen=True, slots=True)
class Metrics:
    """The metrics that an identity may read."""

    resources: ContainerApps

    def series(self, asked: Asked, start: datetime, end: datetime) -> Sequence[Series] | NoAnswer:
        """Return what there is in ``[start, end)``; minutes without a value are left out."""
        query = _query(asked, start, end)
        return self.resources.read(f"{asked.resource}{_METRICS}", query, lambda body: _series(body, asked))


def _query(asked: Asked, start: datetime, end: datetime) -> dict[str, str]:
    first, last = (f"{each.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" for each in (start, end))
    query = {
        "api-version": _VERSION,
        "metricnamespace": asked.namespace,
        "metricnames": asked.metric,
        "timespan": f"{first}/{last}",
        "interval": next(grain for longest, grain in _GRAINS if end - start <= longest),
        "aggregation": asked.aggregation,
    }
    if asked.dimensions:
        query |= {"$filter": " and ".join(f"{name} eq '*'" for name in asked.dimensions), "top": str(_MOST_SERIES)}
    return query


def _series(body: Mapping[str, Any], asked: Asked) -> list[Series]:
    """Return the series of an answer. Raises ValueError for a metric that was not read, whatever else was."""
    found = []
    for metric in body["value"]:
        code = metric.get("errorCode") or "Success"
        if code != "Success":
            raise ValueError(f"{asked.metric}: {code}: {metric.get('errorMessage') or 'no reason given'}")
        found += [_one(each, asked) for each in metric["timeseries"]]
    return found


def _one(series: Mapping[str, Any], asked: Asked) -> Series:
    named = {each["name"]["value"].lower(): str(each["value"]) for each in series.get("metadatavalues") or ()}
    of = {name: named.get(name.lower(), "") for name in asked.dimensions}
    values = ((each["timeStamp"], each.get(asked.aggregation.lower())) for each in series.get("data") or ())
    return Series(of, tuple((datetime.fromisoformat(at), float(value)) for at, value in values if value is not None))
