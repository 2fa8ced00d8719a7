"""How late telemetry arrives."""

from tocsin.core.signal import Logs, Signal

SIGNAL = Signal(
    name="ingestion_lag",
    summary="99th percentile of the time from when a row was emitted to when it arrived, in seconds.",
    unit="s",
    sources=(
        Logs(
            table="AppTraces",
            where="isnotnull(TimeGenerated)",
            value="percentile((ingestion_time() - TimeGenerated) / 1s, 99)",
        ),
    ),
    needs="nothing but log records. Of the newest minutes only those rows are seen that were quick.",
)
