"""Platform metrics at a resource, as Azure Resource Manager answers them: levels that a story sets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tocsin.local.faults import Faults, respond

_MINUTE = timedelta(minutes=1)
_LATE = timedelta(minutes=1)
"""A minute's value is there this long after the minute."""

_FEWEST = 10
"""Series that are answered where ``top`` does not ask for more."""

Series = Mapping[str, str]
"""The dimensions that one series is of."""


class MetricsStandIn:
    """Answers ``GET {resource}/providers/Microsoft.Insights/metrics``. A level holds until the next is set.

    ``unread`` metrics are answered with 200 and an error of their own.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.faults = Faults()
        self.asked: list[Mapping[str, str]] = []
        self.unread: set[str] = set()
        self._levels: dict[str, list[tuple[Series, datetime, float]]] = {}
        self._mutex = threading.Lock()

    def set(self, metric: str, value: float, at: datetime, **of: str) -> None:
        """Set the level of one series of a metric from ``at`` on."""
        with self._mutex:
            self._levels.setdefault(metric, []).append((of, at, value))

    def routes(self) -> list[Route]:
        """Return the route to mount beside those of the apps."""
        return [Route("/{resource:path}/providers/Microsoft.Insights/metrics", self._list, methods=["GET"])]

    async def _list(self, request: Request) -> Response:
        asked = {**request.query_params, "resource": f"/{request.path_params['resource']}"}
        self.asked.append(asked)
        failed = await respond(
            self.faults.next(self.now(), asked.get("metricnames", "")), b'{"error":{"code":"Refused"}}'
        )
        if failed is not None:
            return failed
        if "authorization" not in request.headers:
            return JSONResponse({"error": {"code": "Unauthorized", "message": "no token"}}, 401)
        start, end = (datetime.fromisoformat(each) for each in asked["timespan"].split("/"))
        metrics = [self._metric(name, asked, start, end) for name in asked["metricnames"].split(",")]
        common = {"timespan": asked["timespan"], "interval": asked["interval"], "namespace": asked["metricnamespace"]}
        return JSONResponse({"cost": 0, **common, "resourceregion": "swedencentral", "value": metrics})

    def _metric(self, name: str, asked: Mapping[str, str], start: datetime, end: datetime) -> dict[str, Any]:
        with self._mutex:
            levels = list(self._levels.get(name, ()))
        split = "$filter" in asked
        series: list[Series] = []
        for of, _, _ in levels:
            series += [of] if of not in series else []
        found = [
            {
                "metadatavalues": [_named(key.lower(), value) for key, value in of.items()] if split else [],
                "data": self._data([each for each in levels if each[0] == of], asked["aggregation"], start, end),
            }
            for of in series
        ]
        most = int(asked.get("top", _FEWEST)) if split else len(found)
        failed = {"errorCode": "InvalidSamplingType", "errorMessage": "planned by the story"}
        return {
            "id": f"{asked['resource']}/providers/Microsoft.Insights/metrics/{name}",
            "type": "Microsoft.Insights/metrics",
            "name": {"value": name, "localizedValue": name},
            "unit": "Count",
            "timeseries": [] if name in self.unread else found[:most],
            **(failed if name in self.unread else {"errorCode": "Success"}),
        }

    def _data(
        self, levels: list[tuple[Series, datetime, float]], aggregation: str, start: datetime, end: datetime
    ) -> list[dict[str, Any]]:
        data, at = [], start.astimezone(UTC).replace(second=0, microsecond=0)
        while at < end:
            known = (
                [value for _, since, value in levels if since < at + _MINUTE]
                if at + _MINUTE + _LATE <= self.now()
                else []
            )
            data.append(
                {"timeStamp": f"{at:%Y-%m-%dT%H:%M:%SZ}", **({aggregation.lower(): known[-1]} if known else {})}
            )
            at += _MINUTE
        return data


def _named(name: str, value: str) -> dict[str, Any]:
    return {"name": {"value": name, "localizedValue": name}, "value": value}
