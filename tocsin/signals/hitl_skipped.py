"""Side-effect tools ran without approval, because their own code says that they need none."""

from types import MappingProxyType

from tocsin.core.signal import Logs, Signal

SIGNAL = Signal(
    name="hitl_skipped",
    summary="Calls of tools that skipped approval (`tool.hitl_skipped`): they went through and nobody was asked.",
    unit="count",
    sources=(
        Logs(
            table="AppTraces",
            where="tostring(Properties.event_name) == 'tool.hitl_skipped'",
            value="sum(ItemCount)",
        ),
    ),
    counting=True,
    dimensions=MappingProxyType({"tool": "tostring(Properties.external_system)"}),
    needs="`tool.hitl_skipped`, which the approval checkpoint emits for a tool that its code exempts; "
    "and, for the shipped rule, `solution.hitl: required` in the target's `accelerator.yaml`.",
)
