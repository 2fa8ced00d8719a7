"""The share of requests that nothing came of."""

from tocsin.core.causes import ERROR
from tocsin.core.signal import Logs, Signal

_RECEIVED = "sumif(ItemCount, tostring(Properties.event_name) == 'request.received')"
# What the workflow's switch refuses was never received.
_RETURNED = (
    "sumif(ItemCount, tostring(Properties.event_name) == 'response.returned' and "
    f"not({ERROR} startswith 'killswitch engaged: workflow'))"
)

SIGNAL = Signal(
    name="unanswered_requests",
    summary="By how much the responses, failed ones too, fall short of the requests, as a share of the requests. A "
    "client that goes away, as a closed browser does, ends its request without a response. Those still being answered "
    "count, too: choose a window much longer than an answer takes.",
    unit="ratio",
    sources=(
        Logs(
            table="AppTraces",
            where="tostring(Properties.event_name) in ('request.received', 'response.returned')",
            value=f"todouble({_RECEIVED} - {_RETURNED}) / {_RECEIVED}",
            events=_RECEIVED,
        ),
    ),
    needs="`request.received` and `response.returned`, which every accelerator emits.",
)
