"""Side-effect tools that ran."""

from types import MappingProxyType

from tocsin.core.signal import TOOLS, Logs, Signal

SIGNAL = Signal(
    name="side_effect_tools",
    summary="Executions of the tools that the target declares to have side effects.",
    unit="count",
    sources=(
        Logs(
            table="AppTraces",
            where="tostring(Properties.event_name) == 'tool.executed' and "
            f"tostring(Properties.external_system) in {TOOLS}",
            value="sum(ItemCount)",
        ),
    ),
    counting=True,
    dimensions=MappingProxyType({"tool": "tostring(Properties.external_system)"}),
    needs="`tool.executed`, and the target's `side_effect_tools` in `tocsin.yaml`.",
)
