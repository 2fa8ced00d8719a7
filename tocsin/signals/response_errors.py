"""The share of answers that failed."""

from tocsin.core.causes import FILTERED, REFUSED
from tocsin.core.signal import Logs, Signal

SIGNAL = Signal(
    name="response_errors",
    summary="Share of the responses that failed, of all that say whether they did. What an engaged killswitch refused "
    "and what the content filter stopped count neither way: the app does what it should.",
    unit="ratio",
    sources=(
        Logs(
            table="AppTraces",
            # Older forks write "False", newer ones "false"; an `ok` that is neither true nor false says nothing.
            where="tostring(Properties.event_name) == 'response.returned' and "
            f"isnotnull(tobool(tostring(Properties.ok))) and not({REFUSED}) and not({FILTERED})",
            value="todouble(sumif(ItemCount, tobool(tostring(Properties.ok)) == false)) / sum(ItemCount)",
        ),
    ),
    needs="`response.returned`, which every accelerator emits. It names no agent and no tool, so there is nothing to "
    "split by.",
)
