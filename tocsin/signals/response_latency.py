"""How long an answer takes, end to end."""

from tocsin.core.causes import REFUSED
from tocsin.core.signal import Logs, Signal

SIGNAL = Signal(
    name="response_latency",
    summary="95th percentile of the end-to-end time of a response, in milliseconds; what an engaged killswitch "
    "refused at once is none. Each row counts once, however "
    "many events it stands for where telemetry is sampled.",
    unit="ms",
    sources=(
        Logs(
            table="AppTraces",
            where=f"tostring(Properties.event_name) == 'response.returned' and not({REFUSED}) and "
            "isfinite(todouble(tostring(Properties.value)))",
            # Not percentilew by ItemCount: the embedded engine has none, and what is tested must be what runs.
            value="percentile(todouble(tostring(Properties.value)), 95)",
        ),
    ),
    needs="`response.returned` with its `value`. The request's own duration will not do: it is near zero for streamed "
    "answers.",
)
