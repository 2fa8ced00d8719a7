"""The share of the work that fails because the model service refuses the calls as the app makes them."""

from tocsin.core.causes import CONNECTION, FILTERED, MISCONFIGURED, REFUSED, only
from tocsin.core.signal import Logs, Signal

SIGNAL = Signal(
    name="model_misconfigured",
    summary="Share of the responses and of the workers' runs that failed because the model service refused the call: "
    "401 or 403 (identity or role), 404 (an agent or a deployment that is not there), 400 (a prompt that is too long, "
    "a parameter that the model does not take).",
    unit="ratio",
    sources=(
        Logs(
            table="AppTraces",
            # A worker may fail while the response still succeeds, so both count; what says nothing of itself does not.
            where="tostring(Properties.event_name) in ('response.returned', 'worker.completed') and "
            f"isnotnull(tobool(tostring(Properties.ok))) and not({REFUSED})",
            value="todouble(sumif(ItemCount, tobool(tostring(Properties.ok)) == false and "
            f"({only(MISCONFIGURED, FILTERED, CONNECTION)}))) / sum(ItemCount)",
        ),
    ),
    needs="`response.returned` and `worker.completed`, whose `error` says what the model service answered.",
)
