"""What the watcher says of itself: counts and its log, sent to Application Insights under a role name of its own.

Loaded only where a connection string is set. Nothing here may fail or hold up a tick: what is not taken within two
seconds goes on in the background, and what nobody takes is lost.
"""

from __future__ import annotations

import json
import logging
import math
import os
import socket
import threading
from contextlib import suppress
from functools import cache
from typing import Any, get_args

from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.monitor.opentelemetry.exporter import AzureMonitorLogExporter, AzureMonitorMetricExporter
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from tocsin import __version__
from tocsin.ports import Counted

PATIENCE = 2.0
"""Seconds a tick waits for what it has to say to be taken."""

NAME = "tocsin"
"""The logger whose records are sent, and what every metric's name begins with."""

_ANSWER_WITHIN = 5.0

_SILENCED = ("STATSBEAT_DISABLED_ALL", "SDKSTATS_DISABLED", "CONTROLPLANE_DISABLED")
"""What the exporter would otherwise tell Microsoft of itself, and fetch to be told how to behave."""


@cache
def connect(connection: str, role: str) -> Own:
    """Return the watcher's own telemetry, one for this process. Raises ValueError for a bad connection string."""
    for each in _SILENCED:
        os.environ.setdefault(f"APPLICATIONINSIGHTS_{each}", "true")
    options: dict[str, Any] = {
        "connection_string": connection,
        "disable_offline_storage": True,  # an instance's disk is gone with the instance
        "timeout": PATIENCE,
        "read_timeout": _ANSWER_WITHIN,
        "retry_total": 0,  # the next tick says more than a repetition would
        "http_logging_policy": SansIOHTTPPolicy(),  # the log does not tell of its own transport
    }
    # Not ``Resource.create``: what else the environment says of names is not the watcher's.
    own = Resource({"service.name": role, "service.version": __version__, "service.instance.id": socket.gethostname()})
    return Own(own, AzureMonitorMetricExporter(**options), AzureMonitorLogExporter(**options))


class Own:
    """A tally that sends what it counted, and what the log said meanwhile, whenever it is flushed."""

    def __init__(self, own: Resource, metrics: AzureMonitorMetricExporter, logs: AzureMonitorLogExporter) -> None:
        reader = PeriodicExportingMetricReader(metrics, export_interval_millis=math.inf)  # no thread: ``flush`` sends
        self._metrics = MeterProvider([reader], own, shutdown_on_exit=False)
        self._logs = LoggerProvider(own, shutdown_on_exit=False)
        self._logs.add_log_record_processor(BatchLogRecordProcessor(logs))
        meter = self._metrics.get_meter(NAME, __version__)
        self._counters = {what: meter.create_counter(f"{NAME}.{what}") for what in get_args(Counted)}
        self._seconds = meter.create_histogram(f"{NAME}.tick.duration", "s")
        self._one, self._sending = threading.Lock(), threading.Thread()
        self._handler = Handler(self._logs)
        log = logging.getLogger(NAME)
        log.addHandler(self._handler)
        if log.level == logging.NOTSET:  # the root logger's is WARNING where no host has set it
            log.setLevel(logging.INFO)

    def count(self, what: Counted, number: int = 1, /, **labels: str) -> None:
        """Add to a count; nothing is nothing to tell."""
        if number > 0:
            self._counters[what].add(number, labels)

    def ticked(self, seconds: float, /, **labels: str) -> None:
        """Note how long one tick took."""
        self._seconds.record(seconds, labels)

    def flush(self) -> None:
        """Send, and wait for it as long as patience lasts. While one sending is under way no other is begun."""
        with suppress(RuntimeError), self._one:  # an instance that is being stopped starts no thread
            if not self._sending.is_alive():
                self._sending = threading.Thread(target=self._send, name="tocsin-own-telemetry", daemon=True)
                self._sending.start()
        if self._sending.is_alive():
            self._sending.join(PATIENCE)

    def _send(self) -> None:
        for flush in (self._metrics.force_flush, self._logs.force_flush):
            with suppress(Exception):  # the SDK logs it under its own name
                flush()

    def close(self) -> None:
        """Let go of the logger and of the SDK's threads."""
        logging.getLogger(NAME).removeHandler(self._handler)
        self._logs.shutdown()
        self._metrics.shutdown()


class Handler(logging.Handler):
    """Hands records of the standard library's log to OpenTelemetry: the event is the message, its fields properties."""

    def __init__(self, provider: LoggerProvider) -> None:
        super().__init__(logging.INFO)
        self._logger = provider.get_logger(NAME, __version__)

    def emit(self, record: logging.LogRecord) -> None:
        """Hand one record over; a failure is no reason to stop what was being said."""
        with suppress(Exception):
            event, fields = taken_apart(record.getMessage())
            severity = SeverityNumber(min(record.levelno, logging.CRITICAL) * 4 // 10 + 1)
            at = int(record.created * 1e9)
            said = LogRecord(timestamp=at, severity_number=severity, body=event, attributes=fields)
            self._logger.emit(said)


def taken_apart(line: str) -> tuple[str, dict[str, Any]]:
    """Return a line's event and its fields, without those the record has anyway. A line that is no JSON is an event."""
    try:
        fields = json.loads(line)
        event = str(fields.pop("event"))
    except (ValueError, AttributeError, KeyError, TypeError):
        return line, {}
    kept = {key: value for key, value in fields.items() if key not in ("level", "timestamp") and value is not None}
    return event, {key: json.dumps(value) if isinstance(value, dict | list) else value for key, value in kept.items()}
