"""How long an answer takes, end to end."""

from tocsin.core.signal import Logs, Signal

SIGNAL = Signal(
    name="response_latency",
    summary="95th percentile of the end-to-end time of a response, in milliseconds.",
    unit="ms",
    sources=(
        Logs(
            table="AppTraces",
            where="tostring(Properties.event_name) == 'response.returned' and isnotempty(tostring(Properties.value))",
            # Over rows, not ItemCount: sampling keeps whole operations, and percentilew has no embedded counterpart.
            value="percentile(todouble(tostring(Properties.value)), 95)",
        ),
    ),
    needs="response.returned with its value; the request's own duration is near zero for streamed answers.",
)
