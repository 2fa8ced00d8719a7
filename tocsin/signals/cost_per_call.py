"""What one model call costs."""

from types import MappingProxyType

from tocsin.core.signal import Logs, Signal

_VALUE = "todouble(tostring(Properties.value))"

SIGNAL = Signal(
    name="cost_per_call",
    summary="Mean cost of one model call, in USD.",
    unit="usd",
    sources=(
        Logs(
            table="AppTraces",
            # One row that says NaN, or less than nothing, would hide what all others cost.
            where=f"tostring(Properties.event_name) == 'cost.call' and {_VALUE} >= 0.0 and {_VALUE} < 1e12",
            value=f"sum({_VALUE} * ItemCount) / sum(ItemCount)",
        ),
    ),
    dimensions=MappingProxyType(
        {
            "agent": "tostring(Properties['args_redacted.agent'])",
            "model": "tostring(Properties['args_redacted.model'])",
        }
    ),
    needs="`cost.call`, which exists only where the partner wired it; without it this signal sees nothing for ever.",
)
