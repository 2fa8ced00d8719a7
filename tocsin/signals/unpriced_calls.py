"""Model calls that cost something and are recorded as free."""

from types import MappingProxyType

from tocsin.core.signal import Logs, Signal


def _number(key: str) -> str:
    return f"todouble(tostring(Properties['{key}']))"


SIGNAL = Signal(
    name="unpriced_calls",
    summary="Model calls with tokens and a cost of 0: the app's price table lacks the model. Every signal of cost is "
    "blind to them.",
    unit="count",
    sources=(
        Logs(
            table="AppTraces",
            where=f"tostring(Properties.event_name) == 'cost.call' and {_number('value')} == 0.0 and "
            f"({_number('args_redacted.input_tokens')} > 0.0 or {_number('args_redacted.output_tokens')} > 0.0)",
            value="sum(ItemCount)",
        ),
    ),
    counting=True,
    dimensions=MappingProxyType(
        {
            "agent": "tostring(Properties['args_redacted.agent'])",
            "model": "tostring(Properties['args_redacted.model'])",
        }
    ),
    needs="`cost.call` with its tokens, which exists only where the partner wired it.",
)
