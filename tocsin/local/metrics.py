"""The platform metrics API on loopback: levels that a story sets, in the service's wire shapes."""

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

Series = Mapping[str, str]
"""The dimensions that one series is of."""


class MetricsStandIn:
    """Answers ``POST /subscriptions/{id}/metrics:getBatch``. A level holds from when it is set until the next one."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.faults = Faults()
        self.asked: list[Mapping[str, str]] = []
        self._levels: dict[str, list[tuple[Series, datetime, float]]] = {}
        self._mutex = threading.Lock()

    def set(self, metric: str, value: float, at: datetime, **of: str) -> None:
        """Set the level of one series of a metric from ``at`` on."""
        with self._mutex:
            self._levels.setdefault(metric, []).append((of, at, value))

    def routes(self) -> list[Route]:
        """Return the routes to mount."""
        return [Route("/subscriptions/{subscription}/metrics:getBatch", self._batch, methods=["POST"])]

    async def _batch(self, request: Request) -> Response:
        asked = dict(request.query_params)
        self.asked.append(asked)
        failed = await respond(
            self.faults.next(self.now(), asked.get("metricnames", "")), b'{"error":{"code":"Refused"}}'
        )
        if failed is not None:
            return failed
        if "authorization" not in request.headers:
            return JSONResponse({"error": {"code": "Unauthorized", "message": "no token"}}, 401)
        resources = (await request.json())["resourceids"]
        return JSONResponse({"values": [self._values(asked, resource) for resource in resources]})

    def _values(self, asked: Mapping[str, str], resource: str) -> dict[str, Any]:
        start, end = (datetime.fromisoformat(asked[name]) for name in ("starttime", "endtime"))
        metrics = [self._metric(name, asked, start, end) for name in asked["metricnames"].split(",")]
        return {
            "starttime": asked["starttime"],
            "endtime": asked["endtime"],
            "interval": asked["interval"],
            "namespace": asked["metricnamespace"],
            "resourceid": resource,
            "value": metrics,
        }

    def _metric(self, name: str, asked: Mapping[str, str], start: datetime, end: datetime) -> dict[str, Any]:
        with self._mutex:
            levels = list(self._levels.get(name, ()))
        split = "filter" in asked
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
        return {
            "id": name,
            "type": "Microsoft.Insights/metrics",
            "name": {"value": name, "localizedValue": name},
            "unit": "Count",
            "timeseries": found,
            "errorCode": "Success",
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
