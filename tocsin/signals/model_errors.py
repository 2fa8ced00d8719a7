"""The share of the work that fails because the model does not answer."""

from tocsin.core.causes import CONNECTION, FILTERED, MODEL_FAILED, REFUSED, only
from tocsin.core.signal import Logs, Signal

SIGNAL = Signal(
    name="model_errors",
    summary="Share of the responses and of the workers' runs that failed because the model service did: 429, 5xx, a "
    "time-out. What it refuses (400, 401, 403, 404) is `content_filtered` or `model_misconfigured`, and a connection "
    "that cannot be made is `transport_errors`.",
    unit="ratio",
    sources=(
        Logs(
            table="AppTraces",
            # A worker may fail while the response still succeeds, so both count; what says nothing of itself does not.
            where="tostring(Properties.event_name) in ('response.returned', 'worker.completed') and "
            f"isnotnull(tobool(tostring(Properties.ok))) and not({REFUSED})",
            value="todouble(sumif(ItemCount, tobool(tostring(Properties.ok)) == false and "
            f"({only(MODEL_FAILED, FILTERED, CONNECTION)}))) / sum(ItemCount)",
        ),
    ),
    needs="`response.returned` and `worker.completed`, whose `error` says what the model service answered.",
)
