"""The share of the work that fails because the model service cannot be reached at all."""

from tocsin.core.causes import CONNECTION, REFUSED
from tocsin.core.signal import Logs, Signal

SIGNAL = Signal(
    name="model_unreachable",
    summary="Share of the responses and of the workers' runs that failed because no connection could be made. The same "
    "failures as in `transport_errors`, as a share: a total failure of an app with little traffic is no burst.",
    unit="ratio",
    sources=(
        Logs(
            table="AppTraces",
            # A worker may fail while the response still succeeds, so both count; what says nothing of itself does not.
            where="tostring(Properties.event_name) in ('response.returned', 'worker.completed') and "
            f"isnotnull(tobool(tostring(Properties.ok))) and not({REFUSED})",
            value="todouble(sumif(ItemCount, tobool(tostring(Properties.ok)) == false and "
            f"({CONNECTION}))) / sum(ItemCount)",
        ),
    ),
    needs="`response.returned` and `worker.completed`, whose `error` says that no connection could be made.",
)
