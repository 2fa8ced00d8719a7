"""What the model calls cost."""

from types import MappingProxyType

from tocsin.core.signal import Logs, Signal

SIGNAL = Signal(
    name="cost",
    summary="Sum of what the model calls cost, in USD.",
    unit="usd",
    sources=(
        Logs(
            table="AppTraces",
            where="tostring(Properties.event_name) == 'cost.call' and isfinite(todouble(tostring(Properties.value)))",
            value="sum(todouble(tostring(Properties.value)) * ItemCount)",
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
