"""How much the models read and wrote."""

from types import MappingProxyType

from tocsin.core.signal import Logs, Signal


def _tokens(name: str) -> str:
    """Return the number of a row, or 0 for what can be none: one row that says NaN would make the sum unknown."""
    said = f"todouble(tostring(Properties['args_redacted.{name}']))"
    return f"iff({said} >= 0.0 and {said} < 1e12, {said}, 0.0)"


_READ, _WROTE = _tokens("input_tokens"), _tokens("output_tokens")

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
