"""What one request costs."""

from tocsin.core.signal import Logs, Signal

_VALUE = "todouble(tostring(Properties.value))"
_CALL = "tostring(Properties.event_name) == 'cost.call'"
_REQUEST = "tostring(Properties.event_name) == 'request.received'"

SIGNAL = Signal(
    name="cost_per_call",
    summary="Mean cost of one request to the app, summed over its model calls, in USD: the unit of "
    "`acceptance.cost_per_call_usd`, one briefing. Requests are counted by `request.received`.",
    unit="usd",
    sources=(
        Logs(
            table="AppTraces",
            # One row that says NaN, or less than nothing, would hide what all others cost.
            where=f"{_REQUEST} or ({_CALL} and {_VALUE} >= 0.0 and {_VALUE} < 1e12)",
            value=f"sumif({_VALUE} * ItemCount, {_CALL}) / sumif(ItemCount, {_REQUEST})",
            # Where nobody wired `cost.call`, requests do not cost nothing: it is not known what they cost.
            events=f"sumif(ItemCount, {_CALL})",
        ),
    ),
    needs="`request.received`, and `cost.call`, which exists only where the partner wired it; without it this signal "
    "sees nothing for ever. An agent's or a model's part is `cost`.",
)
