"""What the platform measures of a Container App: how busy it is, how often it restarts, how many replicas it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tocsin.connections.metrics import Asked, Metrics
from tocsin.core.answer import NoAnswer
from tocsin.core.config import Target
from tocsin.core.gauge import Reading

NAMESPACE = "Microsoft.App/containerapps"


@dataclass(frozen=True, slots=True)
class _Metric:
    name: str
    aggregation: str
    labels: Mapping[str, str]


METRICS: Mapping[str, _Metric] = {
    "cpu": _Metric("CpuPercentage", "Average", {"podName": "replica"}),
    "memory": _Metric("MemoryPercentage", "Average", {"podName": "replica"}),
    "restarts": _Metric("RestartCount", "Maximum", {"revisionName": "revision", "podName": "replica"}),
    "replicas": _Metric("Replicas", "Maximum", {"revisionName": "revision"}),
}
"""Reading → the platform's metric, and what its dimensions are called here."""


@dataclass(frozen=True, slots=True)
class ContainerAppMetrics:
    """Reads the metrics of a target's Container App."""

    metrics: Metrics

    def read(self, target: Target, reading: str, start: datetime, end: datetime) -> Sequence[Reading] | NoAnswer:
        """Return the minutes of one metric; none for a target without an app."""
        if not target.container_app:
            return ()
        metric = METRICS[reading]
        asked = Asked(target.app_id, NAMESPACE, metric.name, metric.aggregation, tuple(metric.labels))
        found = self.metrics.series(asked, start, end)
        if isinstance(found, NoAnswer):
            return found
        return [
            Reading(reading, value, {metric.labels[name]: label for name, label in series.of.items()}, at)
            for series in found
            for at, value in series.values
        ]
