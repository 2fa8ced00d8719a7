"""The share of answers that failed."""

from types import MappingProxyType

from tocsin.core.signal import Logs, Signal

SIGNAL = Signal(
    name="response_errors",
    summary="Share of the responses that failed, of all that say whether they did.",
    unit="ratio",
    sources=(
        Logs(
            table="AppTraces",
            where="tostring(Properties.event_name) == 'response.returned' and isnotempty(tostring(Properties.ok))",
            # Older forks write "False", newer ones "false".
            value="todouble(sumif(ItemCount, tobool(tostring(Properties.ok)) == false)) / sum(ItemCount)",
        ),
    ),
    dimensions=MappingProxyType({}),
    needs="response.returned, which every accelerator emits; it names no agent or tool.",
)
