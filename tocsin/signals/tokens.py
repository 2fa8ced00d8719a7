"""How much the models read and wrote."""

from types import MappingProxyType

from tocsin.core.signal import Logs, Signal

_READ = "coalesce(todouble(tostring(Properties['args_redacted.input_tokens'])), 0.0)"
_WROTE = "coalesce(todouble(tostring(Properties['args_redacted.output_tokens'])), 0.0)"

SIGNAL = Signal(
    name="tokens",
    summary="Sum of the tokens that model calls read and wrote.",
    unit="count",
    sources=(
        Logs(
            table="AppTraces",
            where="tostring(Properties.event_name) == 'cost.call'",
            value=f"sum(({_READ} + {_WROTE}) * ItemCount)",
        ),
    ),
    dimensions=MappingProxyType(
        {
            "agent": "tostring(Properties['args_redacted.agent'])",
            "model": "tostring(Properties['args_redacted.model'])",
        }
    ),
    needs="`cost.call` with its tokens, which exists only where the partner wired it; without it this signal sees "
    "nothing for ever.",
)
