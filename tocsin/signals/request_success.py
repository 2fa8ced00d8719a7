"""The share of HTTP requests that the API answers without a failure of its own."""

from tocsin.core.causes import REFUSED
from tocsin.core.signal import Logs, Signal

SIGNAL = Signal(
    name="request_success",
    summary="Share of the HTTP requests that were answered and not by a server error, those of health checks aside. "
    "Says no breach while an engaged killswitch refuses at least half of what is asked.",
    unit="ratio",
    sources=(
        Logs(
            table="AppRequests",
            # Health checks are many and succeed longest: they would hide what users get.
            where="not(Name endswith '/healthz')",
            # A client's own mistakes (4xx) say nothing of the API.
            value="todouble(sumif(ItemCount, Success == true or ResultCode startswith '4')) / sum(ItemCount)",
        ),
        # A fork may answer 503 where the switch refuses. A request does not say why it failed; its response does.
        Logs(
            table="AppTraces",
            where="tostring(Properties.event_name) == 'response.returned'",
            # Whole numbers divide to whole ones: 0 where less than half was refused.
            value=f"2 * sumif(ItemCount, {REFUSED}) / sum(ItemCount)",
            denies=True,
        ),
    ),
    needs="`AppRequests`, which Azure Monitor OpenTelemetry exports. A streamed answer that fails later is a success "
    "here and an error of `response_errors`.",
)
