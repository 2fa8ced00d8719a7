"""The share of tool calls that fail."""

from tocsin.core.signal import Logs, Signal

# What the switch or a reviewer stopped did not fail: it did what was asked.
_STOPPED = " or ".join(
    f"tostring(Properties.error) startswith '{words}'"
    for words in ("killswitch engaged", "Reviewer denied", "HITL required")
)

SIGNAL = Signal(
    name="tool_failures",
    summary="Share of the tool calls that failed, those aside that the killswitch or the approval stopped.",
    unit="ratio",
    sources=(
        Logs(
            table="AppTraces",
            where=f"tostring(Properties.event_name) in ('tool.executed', 'tool.failed') and not({_STOPPED})",
            value="todouble(sumif(ItemCount, tostring(Properties.event_name) == 'tool.failed')) / sum(ItemCount)",
        ),
    ),
    needs="`tool.executed` and `tool.failed`. The latter names its tool among the arguments only, so there is nothing "
    "to split by.",
)
