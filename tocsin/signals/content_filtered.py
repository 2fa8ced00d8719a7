"""The share of the work that the content filter of the model service stops."""

from tocsin.core.causes import FILTERED, REFUSED
from tocsin.core.signal import Logs, Signal

SIGNAL = Signal(
    name="content_filtered",
    summary="Share of the responses and of the workers' runs that the content filter of the model service stopped. A "
    "red-team run looks like this; so does a filter that became too strict.",
    unit="ratio",
    sources=(
        Logs(
            table="AppTraces",
            # A worker may fail while the response still succeeds, so both count; what says nothing of itself does not.
            where="tostring(Properties.event_name) in ('response.returned', 'worker.completed') and "
            f"isnotnull(tobool(tostring(Properties.ok))) and not({REFUSED})",
            value="todouble(sumif(ItemCount, tobool(tostring(Properties.ok)) == false and "
            f"({FILTERED}))) / sum(ItemCount)",
        ),
    ),
    needs="`response.returned` and `worker.completed`, whose `error` says what the model service answered.",
)
