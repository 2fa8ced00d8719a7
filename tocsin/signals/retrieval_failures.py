"""The share of searches that fail: the answers that follow are grounded in nothing."""

from tocsin.core.signal import Logs, Signal

SIGNAL = Signal(
    name="retrieval_failures",
    summary="Share of the retrievals that failed.",
    unit="ratio",
    sources=(
        Logs(
            table="AppTraces",
            where="tostring(Properties.event_name) == 'retrieval.returned'",
            # A successful one has a number of chunks and often no `ok`.
            value="todouble(sumif(ItemCount, tobool(tostring(Properties.ok)) == false)) / sum(ItemCount)",
        ),
    ),
    needs="`retrieval.returned`, which the accelerator emits for each search.",
)
