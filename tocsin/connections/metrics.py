"""Platform metrics: the one module that knows azure-monitor-querymetrics."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tocsin.connections.bounded import transport
from tocsin.connections.identity import refuse_leak, request_options
from tocsin.connections.refusal import no_answer, unhurried
from tocsin.core.answer import NoAnswer

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.monitor.querymetrics import MetricsClient

_MOST_SERIES = 500
_LARGEST = 32 * 1024 * 1024
"""Bytes of an answer: as many series of a day's minutes take about so much."""

_GRAINS = ((timedelta(days=1), 1), (timedelta(days=7), 15), (timedelta(days=36500), 60))
"""How long a stretch may be → the minutes one value stands for."""


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


@dataclass(slots=True)
class Metrics:
    """The metrics that an identity may read, each from the endpoint of its resource's region.

    ``endpoint`` stands for every region's when given. Raises ValueError for a static token that would leave loopback.
    """

    credential: TokenCredential
    endpoint: str | None = None
    _clients: dict[str, MetricsClient] = field(default_factory=dict)
    _opening: threading.Lock = field(default_factory=threading.Lock)

    def series(self, asked: Asked, region: str, start: datetime, end: datetime) -> Sequence[Series] | NoAnswer:
        """Return what there is in ``[start, end)``; minutes without a value are left out."""
        where = self.endpoint or f"https://{region.lower().replace(' ', '')}.metrics.monitor.azure.com"
        refuse_leak(self.credential, where)
        minutes = next(grain for longest, grain in _GRAINS if end - start <= longest)
        try:
            results = self._client(where).query_resources(
                resource_ids=[asked.resource],
                metric_namespace=asked.namespace,
                metric_names=[asked.metric],
                timespan=(start, end),
                granularity=timedelta(minutes=minutes),
                aggregations=[asked.aggregation],
                filter=" and ".join(f"{name} eq '*'" for name in asked.dimensions) or None,
                max_results=_MOST_SERIES if asked.dimensions else None,
                **request_options(where),
            )
            metrics = [metric for result in results for metric in result.metrics]
            return [_series(each, asked) for metric in metrics for each in metric.timeseries]
        except Exception as error:
            return no_answer(error)

    def _client(self, where: str) -> MetricsClient:
        from azure.monitor.querymetrics import MetricsClient

        with self._opening:
            if where not in self._clients:
                self._clients[where] = MetricsClient(
                    where,
                    self.credential,
                    retry_policy=unhurried(1),
                    permit_redirects=False,
                    connection_timeout=10,
                    read_timeout=20,
                    transport=transport(_LARGEST, 20),
                )
            return self._clients[where]


def _series(found: object, asked: Asked) -> Series:
    named = {name.lower(): str(value) for name, value in found.metadata_values.items()}  # type: ignore[attr-defined]
    of = {name: named.get(name.lower(), "") for name in asked.dimensions}
    values = (
        (each.timestamp, getattr(each, asked.aggregation.lower()))
        for each in found.data  # type: ignore[attr-defined]
    )
    return Series(of, tuple((at, float(value)) for at, value in values if value is not None))
