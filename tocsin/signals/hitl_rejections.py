"""A reviewer said no."""

from types import MappingProxyType

from tocsin.core.signal import Logs, Signal

SIGNAL = Signal(
    name="hitl_rejections",
    summary="Actions that a human reviewer rejected.",
    unit="count",
    sources=(
        Logs(
            table="AppTraces",
            where="tostring(Properties.event_name) == 'tool.hitl_rejected'",
            value="sum(ItemCount)",
        ),
    ),
    counting=True,
    dimensions=MappingProxyType({"tool": "tostring(Properties.external_system)"}),
    needs="`tool.hitl_rejected`, which the approval checkpoint emits.",
)
