"""The share of answers that failed."""

from tocsin.core.signal import Logs, Signal

SIGNAL = Signal(
    name="response_errors",
    summary="Share of the responses that failed, of all that say whether they did.",
    unit="ratio",
    sources=(
        Logs(
            table="AppTraces",
            # Older forks write "False", newer ones "false"; an `ok` that is neither true nor false says nothing.
            where="tostring(Properties.event_name) == 'response.returned' and "
            "isnotnull(tobool(tostring(Properties.ok)))",
            value="todouble(sumif(ItemCount, tobool(tostring(Properties.ok)) == false)) / sum(ItemCount)",
        ),
    ),
    needs="`response.returned`, which every accelerator emits. It names no agent and no tool, so there is nothing to "
    "split by.",
)
